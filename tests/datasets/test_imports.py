from __future__ import annotations

import subprocess
import sys

import pytest

import multimodal_dql.datasets


def test_every_public_name_is_there() -> None:
    for name in multimodal_dql.datasets.__all__:
        assert getattr(multimodal_dql.datasets, name).__name__ == name
        assert name in dir(multimodal_dql.datasets)
    with pytest.raises(AttributeError, match="no attribute 'catalog'"):
        multimodal_dql.datasets.catalog


def test_reading_a_catalogue_loads_nothing_heavy() -> None:
    heavy = (
        "tensorflow",
        "keras",
        "transformers",
        "librosa",
        "sklearn",
        "pyarrow",
        "soundfile",
        "scipy",
        "PIL",
    )
    code = (
        "import sys; "
        "from multimodal_dql.datasets import check_catalogue, read_catalogue, MediaLoader, dataset_cards; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
