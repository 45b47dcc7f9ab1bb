"""Records and counts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.state import Counts, State, record_features


def test_no_record_reads_nothing_known() -> None:
    zero = np.zeros((1, 3), dtype=np.int64)
    np.testing.assert_allclose(
        record_features(zero, zero, np.ones((1, 3), bool), 0.02), [[[0, 1, 0]] * 3], atol=1e-7
    )


def test_record_by_hand() -> None:
    # 200 impressions each, 8 and 0 clicks, base rate .02: pooled (8 + 4) / (400 + 200) = .02;
    # rates (8 + 4) / 400 = .03 and 4 / 400 = .01; spread sqrt(200 / 400).
    n, s = np.array([[200, 200]]), np.array([[8, 0]])
    out = record_features(n, s, np.ones((1, 2), bool), 0.02)[0]
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    np.testing.assert_allclose(out[:, 0], [logit(0.03) - logit(0.02), logit(0.01) - logit(0.02)], rtol=1e-5)
    np.testing.assert_allclose(out[:, 1], np.sqrt(0.5), rtol=1e-6)
    np.testing.assert_allclose(out[:, 2], np.log(201) / np.log(1e4), rtol=1e-6)


def test_padding_has_no_record() -> None:
    n = np.array([[100, 7_000]])
    out = record_features(n, n // 10, np.array([[True, False]]), 0.02)
    assert not out[0, 1].any()
    alone = record_features(n[:, :1], n[:, :1] // 10, np.array([[True]]), 0.02)
    np.testing.assert_array_equal(out[:, :1], alone)


def test_counts_are_never_an_input_of_the_network() -> None:
    z = np.zeros((2, 3, 1), np.float32)
    available = np.ones((2, 3), bool)
    without = State(z, z, z, z[:, 0], available, np.arange(2))
    assert without.counts is None
    with_counts = State(z, z, z, z[:, 0], available, np.arange(2), Counts.zeros(2, 3))
    assert without.inputs().keys() == with_counts.inputs().keys()
    assert "counts" not in without.inputs()


def test_no_counts_are_zero_and_open_ended() -> None:
    counts = Counts.zeros(2, 3)
    assert counts.impressions.shape == counts.clicks.shape == (2, 3)
    assert not counts.impressions.any()
    assert not counts.elapsed.any()
    assert np.isinf(counts.horizon).all()
    assert counts.prior_rate is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clicks": [[0, 0], [3, 0]]}, r"decision 1 has \[3, 0\] clicks on \[2, 2\] impressions"),
        ({"clicks": [[0, -1], [0, 0]]}, "decision 0 has"),
        ({"clicks": [[0], [0]]}, r"these are \(2, 2\) against \[\(2, 1\)\]"),
        ({"elapsed": [1.0]}, r"against \[\(1,\)\]"),
        ({"prior_rate": [0.1, 0.2]}, "prior_rate alike"),
        ({"impressions": [2, 2]}, "give impressions"),
    ],
)
def test_counts_that_cannot_be_are_refused(change: dict[str, list[object]], said: str) -> None:
    fields = {
        "impressions": [[1, 0], [2, 2]],
        "clicks": [[1, 0], [2, 0]],
        "elapsed": [1.0, 4.0],
        "horizon": [9.0, 9.0],
    }
    Counts(**{name: np.array(value) for name, value in fields.items()})
    with pytest.raises(UsageError, match=said) as caught:
        Counts(**{name: np.array(value) for name, value in (fields | change).items()})
    assert "计数" in caught.value.text("zh")
