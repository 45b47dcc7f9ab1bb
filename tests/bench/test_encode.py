import pytest

from multimodal_dql.bench.encode import GOALS, REFERENCE, bench_encode


@pytest.mark.slow
def test_the_shape_of_the_answer():
    measured = bench_encode(repeats=1)
    assert set(measured) == {"text", "image", "audio", "reference", "goals", "threads"}
    assert measured["threads"] == 1
    assert set(measured["text"]) == {"use-multilingual", "minilm"}
    assert set(measured["image"]) == {"efficientnet-lite0", "decode_720p"}
    assert set(measured["audio"]) == {"speech-embedding"}
    assert all(rate > 0 for kind in ("text", "image", "audio") for rate in measured[kind].values())


def test_every_goal_has_a_reference_of_the_same_order():
    for kind, goals in GOALS.items():
        for name, goal in goals.items():
            low, high = REFERENCE[kind][name]
            assert low <= high
            assert goal <= high
