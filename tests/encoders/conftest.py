import sys
from functools import cache

import pytest

from multimodal_dql.encoders.registry import load_encoder
from multimodal_dql.errors import EncoderUnavailable


@cache
def _loaded(name):
    try:
        return load_encoder(name)
    except EncoderUnavailable as error:
        return error


@pytest.fixture(scope="session")
def built_in():
    """A function from a name to the built-in encoder, loaded once; skips where its files cannot be had."""

    def load(name):
        found = _loaded(name)
        if isinstance(found, EncoderUnavailable):
            pytest.skip(str(found))
        return found

    return load


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a package whose entry points are plug-ins."""
    names = []

    def install(package, module, **points):
        site = tmp_path / "site"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("[multimodal_dql.encoders]\n" + "\n".join(lines))
        (site / f"{package}.py").write_text(module)
        monkeypatch.syspath_prepend(str(site))
        names.append(package)

    yield install
    for name in names:
        sys.modules.pop(name, None)
