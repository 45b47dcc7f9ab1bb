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
