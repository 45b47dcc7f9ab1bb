"""The three endings and the gate before them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.endings import Ending, ending, non_inferior


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.01, 0.08, Ending("winner", "treatment")),
        (0.03, 0.08, Ending("winner", "treatment")),
        (-0.08, -0.01, Ending("winner", "control")),
        (-0.01, 0.015, Ending("no meaningful difference")),
        (0.001, 0.015, Ending("no meaningful difference")),  # real, and too small to matter
        (-0.03, 0.015, Ending("not enough data")),
        (-0.5, 0.5, Ending("not enough data")),
        (0.0, 0.5, Ending("not enough data")),
        (-math.inf, math.inf, Ending("not enough data")),
        (math.nan, math.nan, Ending("not enough data")),
    ],
)
def test_endings(low: float, high: float, told: Ending) -> None:
    assert ending(low, high, 0.02) == told
    assert ending(low, high, 0.02, sample_ratio_p=0.001) == told
    assert ending(low, high, 0.02, sample_ratio_p=0.0009) == Ending("invalid: sample ratio")


def test_a_sample_ratio_that_cannot_be_told_is_a_failed_one() -> None:
    assert ending(0.1, 0.2, 0.02, sample_ratio_p=math.nan).name == "invalid: sample ratio"


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_swapping_the_arms_swaps_the_side(low: float, width: float, minimum: float) -> None:
    side = {None: None, "treatment": "control", "control": "treatment"}
    one, other = ending(low, low + width, minimum), ending(-low - width, -low, minimum)
    assert (other.name, other.side) == (one.name, side[one.side])
    assert (one.side is None) == (one.name != "winner")


def test_guardrail() -> None:
    assert non_inferior(-0.009, 0.01)
    assert not non_inferior(-0.01, 0.01)
    assert not non_inferior(-math.inf, 0.01)
    assert not non_inferior(math.nan, 0.01)


def test_mistakes_are_named() -> None:
    for low, high, minimum in ((0.2, 0.1, 0.02), (0.1, 0.2, -0.02), (0.1, 0.2, math.nan)):
        with pytest.raises(UsageError):
            ending(low, high, minimum)
    with pytest.raises(UsageError):
        non_inferior(0.1, 0.0)
