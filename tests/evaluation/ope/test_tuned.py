"""Estimators with a parameter: by hand at fixed values, the choice of SLOPE and of the scores, merging."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import DM, DR, IPS, ClippedIPS, Decisions, DRos, SwitchDR, Tuned
from multimodal_dql.evaluation.ope.tuned import mse_bound, slope

from .logs import THREE, draw, take


# Weights 2, 2, .25; d = .6, .6, .3; w (r - q) = .8, -1.6, .125; w r = 2, 0, .25 (see test_estimators).
@pytest.mark.parametrize(
    ("estimator", "by_hand"),
    [
        (SwitchDR(1.0), (1.5 + 0.125) / 3),
        (SwitchDR(2.0), (1.5 + 0.8 - 1.6 + 0.125) / 3),  # at the threshold the weight is used
        # lambda w / (w^2 + lambda): at 4, 2 * 4 / 8 = 1 instead of 2; .25 * 4 / 4.0625
        (DRos(4.0), (1.5 + 0.4 - 0.8 + 0.5 * (0.25 * 4 / 4.0625)) / 3),
        (DRos(math.inf), (1.5 + 0.8 - 1.6 + 0.125) / 3),
        (DRos(0.0), 1.5 / 3),
        (ClippedIPS(1.5), (1.5 + 0 + 0.25) / 3),
    ],
    ids=lambda x: f"{x.name}-{x.grid[0]}" if isinstance(x, Tuned) else "",
)
def test_three_rows_by_hand(estimator: Tuned, by_hand: float) -> None:
    found = estimator.update(THREE).result()
    assert found.value == pytest.approx(by_hand, rel=1e-14)
    assert found.details["lambda"] == estimator.grid[0]


@pytest.mark.parametrize("kind", [ClippedIPS, SwitchDR, DRos])
@pytest.mark.parametrize("parameter", [0.7, 1.5, 40.0])
def test_as_plain_python(kind: type[Tuned], parameter: float) -> None:
    """The formulas again, row by row."""
    d, terms = draw(300, 4, seed=8), []
    assert d.predicted is not None
    for i in range(300):
        a = int(d.action[i])
        w = float(d.target[i, a]) / float(d.propensity[i])
        direct = math.fsum(float(p) * float(q) for p, q in zip(d.target[i], d.predicted[i], strict=True))
        residual = float(d.reward[i]) - float(d.predicted[i, a])
        used = {
            "cips": min(w, parameter),
            "switch_dr": w if w <= parameter else 0.0,
            "dr_os": parameter * w / (w * w + parameter),
        }[kind.name]
        terms.append(used * float(d.reward[i]) if kind is ClippedIPS else direct + used * residual)
    assert kind(parameter).update(d).result().value == pytest.approx(math.fsum(terms) / 300, rel=1e-13)


def test_clipping_says_how_much_was_cut() -> None:
    """Two of three rows cut from 2 to 1.5: mean weight 4.25 / 3 before, 3.25 / 3 after; rewards are at most 1."""
    details = ClippedIPS(1.5).update(THREE).result().details
    assert details["clipped_rows"] == pytest.approx(2 / 3)
    assert details["clipped_weight"] == pytest.approx(1 / 3)
    assert details["bias_bound"] == pytest.approx(1 / 3)


def test_weight_that_was_never_drawn_counts_as_cut() -> None:
    """All weights .5, none cut, but half of the target is missing: the bound is half of the largest reward."""
    d = Decisions(
        np.arange(2, dtype=np.uint64), np.ones(2), np.zeros(2, np.int64), np.ones(2), np.full((2, 2), 0.5)
    )
    assert ClippedIPS(10.0).update(d).result().details["bias_bound"] == pytest.approx(0.5)
    assert ClippedIPS(math.inf).update(d).result().details["bias_bound"] == 0.0


def test_ends_of_the_grid_are_the_classics() -> None:
    d = draw(500, 4, seed=2)
    dr, dm, ips = (e.update(d).result().value for e in (DR(), DM(), IPS()))
    for kind in (SwitchDR, DRos):
        assert kind(math.inf).update(d).result().value == pytest.approx(dr, rel=1e-13)
        assert kind(0.0).update(d).result().value == pytest.approx(dm, rel=1e-13)
    assert ClippedIPS(math.inf).update(d).result().value == pytest.approx(ips, rel=1e-13)


@pytest.mark.parametrize(
    ("values", "errors", "chosen"),
    [
        ([1.0, 1.1, 1.2], [0.5, 0.3, 0.1], 2),  # all within reach of the first
        ([1.0, 1.1, 2.0], [0.5, 0.3, 0.1], 1),  # the last is 1 away, .5 + .1 would do
        ([1.0, 2.0, 1.0], [0.1, 0.1, 0.1], 0),  # what comes back after a miss does not count
        ([1.0, 1.5, 0.6], [0.3, 0.3, 0.1], 1),  # meets the first but not the second
    ],
)
def test_slope_by_hand(values: list[float], errors: list[float], chosen: int) -> None:
    assert slope(np.array(values), np.array(errors)) == chosen


def test_score_by_hand() -> None:
    """Variance .04, bias .3: .13; with E w^2 = 2, max 5, n = 100, delta = 2 / e: extra .2 + 1 / 30."""
    score = mse_bound(np.array([0.7]), np.array([0.04]), 1.0, 100, 2.0, 5.0, 0.0)
    assert score == pytest.approx([0.13])
    score = mse_bound(np.array([0.7]), np.array([0.04]), 1.0, 100, 2.0, 5.0, 2 / math.e)
    assert score == pytest.approx([0.04 + (0.3 + 0.2 + 1 / 30) ** 2])


@pytest.mark.parametrize("tuning", ["mse", "mse-bound"])
def test_scores_from_sums_equal_scores_from_rows(tuning: str) -> None:
    d, grid = draw(800, 5, seed=6), (0.5, 2.0, 8.0, math.inf)
    found = SwitchDR(grid, tuning=tuning).update(d)  # type: ignore[arg-type]
    found.result()
    w, n = d.weight, len(d)
    scores = []
    for threshold in grid:
        x = d.direct + (w <= threshold) * w * d.residual
        bias = abs(((w - (w <= threshold) * w) * d.residual).mean())
        if tuning == "mse-bound":
            bias += math.sqrt(2 * (w**2).mean() * math.log(2 / 0.05) / n) + 2 * w.max() * math.log(
                2 / 0.05
            ) / (3 * n)
        scores.append(x.var() / n + bias**2)
    assert found.index == int(np.argmin(scores))


@pytest.mark.parametrize(
    "make", [SwitchDR, DRos, ClippedIPS, lambda: DRos((1.0, 10.0, math.inf), tuning="mse-bound")]
)
@given(cuts=st.lists(st.integers(0, 200), max_size=4), merged=st.booleans())
@settings(max_examples=20, deadline=None)
def test_pieces_equal_the_whole(make: Callable[[], Tuned], cuts: list[int], merged: bool) -> None:
    d = draw(200, 3, seed=11)
    whole, pieces = make().update(d).result(), make()
    for start, stop in itertools.pairwise([0, *sorted(cuts), 200]):
        part = take(d, slice(start, stop))
        pieces = pieces.merge(make().update(part)) if merged else pieces.update(part)
    found = pieces.result()
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.details == pytest.approx(whole.details, rel=1e-10, abs=1e-13)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="different values"):
        DRos(())
    with pytest.raises(UsageError, match="different values"):
        SwitchDR((1.0, -1.0))
    with pytest.raises(UsageError, match="tuning"):
        SwitchDR(tuning="luck")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="merged"):
        DRos((1.0, 2.0)).merge(DRos((1.0, 3.0)))
