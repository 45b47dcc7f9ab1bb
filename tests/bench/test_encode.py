import numpy as np
import pytest

from multimodal_dql.bench.bare import bare_calls
from multimodal_dql.bench.encode import GOALS, REFERENCE, bench_encode
from multimodal_dql.encoders.registry import load_encoder


@pytest.mark.slow
def test_the_shape_of_the_answer():
    measured = bench_encode(repeats=1)
    assert set(measured) == {"text", "image", "audio", "bare", "reference", "goals", "threads"}
    assert measured["threads"] == 1
    assert set(measured["text"]) == {"use-multilingual", "minilm"}
    assert set(measured["image"]) == {"efficientnet-lite0", "decode_720p"}
    assert set(measured["audio"]) == {"speech-embedding"}
    assert all(rate > 0 for kind in ("text", "image", "audio") for rate in measured[kind].values())
    for found in measured["bare"].values():
        assert set(found) == {"runtime", "encoder", "command", "encoder_share", "command_share"}
        assert min(found.values()) > 0


@pytest.mark.parametrize(
    ("name", "items", "calls"),
    [
        ("use-multilingual", ["A headline", "另一个标题", "three"], 1),
        ("minilm", ["One headline", "Two headlines", "three"], 2),  # texts of one length go together
        ("efficientnet-lite0", [np.full((90, 120, 3), level, np.uint8) for level in (10, 200)], 2),
        ("speech-embedding", [np.sin(np.arange(n, dtype=np.float32)) for n in (16_000, 40_000)], 4),
    ],
)
def test_the_bare_calls_are_those_that_the_encoder_makes(name, items, calls):
    encoder = load_encoder(name)
    before = dict(vars(encoder))
    made = bare_calls(encoder, [items])
    assert dict(vars(encoder)) == before
    outputs = [call() for call in made]
    computing = [out for out in outputs if arrays(out)]
    assert len(computing) == calls
    if name in ("use-multilingual", "efficientnet-lite0"):  # what the runtime gives is the embedding
        np.testing.assert_array_equal(
            encoder.encode(items)[-1], arrays(computing[-1])[0].reshape(-1, encoder.dim)[-1]
        )


def arrays(value):
    """Every array in nested lists, tuples and dictionaries; names and shapes are none."""
    if isinstance(value, np.ndarray):
        return [value] if value.dtype == np.float32 else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [found for part in inner for found in arrays(part)]


def test_every_goal_has_a_reference_of_the_same_order():
    for kind, goals in GOALS.items():
        for name, goal in goals.items():
            low, high = REFERENCE[kind][name]
            assert low <= high
            assert goal <= high
