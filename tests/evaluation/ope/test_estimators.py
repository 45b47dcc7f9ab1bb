"""Each estimator against numbers worked by hand, against plain Python, and against itself in pieces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import DM, DR, IPS, SNDR, SNIPS, Decisions, Estimator, Replay

from .logs import THREE, draw, take

MAKERS: list[Callable[[], Estimator]] = [IPS, SNIPS, DM, DR, SNDR, Replay]


@pytest.mark.parametrize(
    ("estimator", "by_hand"),
    [
        (IPS(), (2 * 1 + 2 * 0 + 0.25 * 1) / 3),  # .75
        (SNIPS(), 2.25 / 4.25),
        # d = .6, .5*.4 + .5*.8 = .6, .2*.5 + .8*.25 = .3
        (DM(), 1.5 / 3),
        # w (r - q) = 2 (1 - .6) = .8, 2 (0 - .8) = -1.6, .25 (1 - .5) = .125
        (DR(), (1.5 + 0.8 - 1.6 + 0.125) / 3),  # .275
        (SNDR(), 1.5 / 3 - 0.675 / 4.25),
        # m = 1, .5, .2
        (Replay(), 1.2 / 1.7),
    ],
    ids=lambda x: x.name if isinstance(x, Estimator) else "",
)
def test_three_rows_by_hand(estimator: Estimator, by_hand: float) -> None:
    assert estimator.update(THREE).result().value == pytest.approx(by_hand, rel=1e-14)


def plain(name: str, d: Decisions) -> float:
    """The formulas again, row by row in plain Python."""
    assert d.predicted is not None
    w, m, direct, correction, r = [], [], [], [], []
    for i in range(len(d)):
        a = int(d.action[i])
        weight = float(d.target[i, a]) / float(d.propensity[i])
        w.append(weight)
        m.append(float(d.target[i, a]))
        direct.append(
            math.fsum(float(p) * float(q) for p, q in zip(d.target[i], d.predicted[i], strict=True))
        )
        correction.append(weight * (float(d.reward[i]) - float(d.predicted[i, a])))
        r.append(float(d.reward[i]))
    n = len(d)
    ips = math.fsum(x * y for x, y in zip(w, r, strict=True))
    return {
        "ips": ips / n,
        "snips": ips / math.fsum(w),
        "dm": math.fsum(direct) / n,
        "dr": math.fsum(direct + correction) / n,
        "sndr": math.fsum(direct) / n + math.fsum(correction) / math.fsum(w),
        "replay": math.fsum(x * y for x, y in zip(m, r, strict=True)) / math.fsum(m),
    }[name]


@pytest.mark.parametrize("make", MAKERS)
def test_as_plain_python(make: Callable[[], Estimator]) -> None:
    d = draw(400, 4, seed=5)
    assert make().update(d).result().value == pytest.approx(plain(make().name, d), rel=1e-13)


@pytest.mark.parametrize("make", MAKERS)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=6),
    order=st.randoms(use_true_random=False),
    merged=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_pieces_equal_the_whole(
    make: Callable[[], Estimator], cuts: list[int], order: object, merged: bool
) -> None:
    d = draw(300, 3, seed=1, unit_rows=2)
    whole = make().update(d).result(bootstraps=50)
    rows = list(range(300))
    order.shuffle(rows)  # type: ignore[attr-defined]
    at = [0, *sorted(cuts), 300]
    pieces = make()
    for start, stop in itertools.pairwise(at):
        part = take(d, np.array(rows[start:stop], np.int64))
        pieces = pieces.merge(make().update(part)) if merged else pieces.update(part)
    found = pieces.result(bootstraps=50)
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=1e-11)
    for name, ends in whole.intervals.items():
        assert found.intervals[name] == pytest.approx(ends, rel=1e-11)


def test_sums_survive_a_large_cancellation() -> None:
    """1e16 + 1 - 1e16 over three batches is 1, not 0."""
    ips, unit = IPS(), np.zeros(1, np.uint64)
    for reward in (1e16, 1.0, -1e16):
        ips.update(Decisions(unit, np.array([reward]), np.array([0]), np.ones(1), np.ones((1, 1))))
    assert ips.result().value == pytest.approx(1 / 3, rel=1e-15)


def test_parts_of_a_long_batch_equal_small_batches() -> None:
    d = draw(70_000, 2, seed=3)
    small = DR()
    for start in range(0, len(d), 999):
        small.update(take(d, slice(start, start + 999)))
    assert DR().update(d).result().value == pytest.approx(small.result().value, rel=1e-13)


def test_standard_error_of_a_mean_is_the_textbook_one() -> None:
    """One unit a group at most: the jackknife of a mean is sd / sqrt(n), exactly."""
    unit = np.arange(4000, dtype=np.uint64)
    group = Decisions(unit, np.zeros(4000), np.zeros(4000, np.int64), np.ones(4000), np.ones((4000, 1))).group
    _, first = np.unique(group, return_index=True)
    d = take(draw(4000, 2, seed=8), first)
    x = d.weight * d.reward
    assert IPS().update(d).result().standard_error == pytest.approx(
        x.std(ddof=1) / math.sqrt(len(x)), rel=1e-12
    )


def test_rows_of_a_unit_stay_together() -> None:
    """Every row four times within its unit: the same value and the same error, not half of it."""
    d = draw(600, 2, seed=4)
    four = take(d, np.repeat(np.arange(600), 4))
    once, often = DR().update(d).result(bootstraps=200), DR().update(four).result(bootstraps=200)
    assert often.value == pytest.approx(once.value, rel=1e-12)
    assert often.standard_error == pytest.approx(once.standard_error, rel=1e-10)
    assert often.intervals["bootstrap"] == pytest.approx(once.intervals["bootstrap"], rel=1e-10)


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    found = SNDR().update(draw(20_000, 3, seed=9)).result(bootstraps=2000, method="bootstrap")
    assert (found.low, found.high) == found.intervals["bootstrap"]
    width = np.diff(found.intervals["normal"])[0]
    # The percentiles of 2,000 draws are known to about 5 % of the width, and 1,024 groups to another 3 %.
    assert np.diff(found.intervals["bootstrap"])[0] == pytest.approx(width, rel=0.12)


@pytest.mark.parametrize("make", [IPS, DR])
def test_unbiased(make: Callable[[], Estimator]) -> None:
    """The mean over 400 logs is within 4 standard errors of the truth: one false alarm in 15,000."""
    rng = np.random.default_rng(0)
    K, logging, target = 3, np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    rates = np.array([0.2, 0.5, 0.9])
    found = []
    for _ in range(400):
        action = rng.choice(K, 200, p=logging)
        reward = (rng.random(200) < rates[action]).astype(float)
        d = Decisions(
            unit=np.arange(200, dtype=np.uint64),
            reward=reward,
            action=action,
            propensity=logging[action],
            target=np.tile(target, (200, 1)),
            predicted=np.tile([0.9, 0.1, 0.3], (200, 1)),
        )
        found.append(make().update(d).result().value)
    error = np.std(found) / math.sqrt(400)
    assert abs(np.mean(found) - target @ rates) < 4 * error


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("propensity", [0.5, 0.0, 0.8], "propensity"),
        ("propensity", [0.5, math.nan, 0.8], "propensity"),
        ("propensity", [0.5, 1.5, 0.8], "propensity"),
        ("action", [0, 2, 0], "candidates"),
        ("action", [0, -1, 0], "candidates"),
        ("reward", [0.0, math.inf, 0.0], "reward"),
        ("reward", [0.0, 1.0], "shape"),
        ("target", [[1.0, 0.0], [0.5, 0.6], [0.2, 0.8]], "sum to 1"),
        ("target", [[1.5, -0.5], [0.5, 0.5], [0.2, 0.8]], "sum to 1"),
        ("predicted", [[math.nan, 0.0], [0.5, 0.6], [0.2, 0.8]], "predicted"),
        ("predicted", [[0.0], [0.5], [0.2]], "shape"),
    ],
)
def test_a_bad_value_is_refused(field: str, value: object, says: str) -> None:
    fields = {n: getattr(THREE, n) for n in ("unit", "reward", "action", "propensity", "target", "predicted")}
    with pytest.raises(UsageError, match=says) as refused:
        Decisions(**{**fields, field: np.asarray(value)})
    assert refused.value.text("zh") != str(refused.value)


def test_refusals_of_an_accumulator() -> None:
    with pytest.raises(UsageError, match="empty"):
        IPS().result()
    with pytest.raises(UsageError, match="merged"):
        IPS().merge(DR())
    with pytest.raises(UsageError, match="confidence"):
        IPS().update(THREE).result(confidence=95)
    bare = Decisions(THREE.unit, THREE.reward, THREE.action, THREE.propensity, THREE.target)
    with pytest.raises(UsageError, match="RewardModel"):
        DR().update(bare)


def test_no_weight_no_value() -> None:
    """A target that never does what the log did: IPS says 0, SNIPS that it does not know."""
    d = Decisions(
        np.arange(4, dtype=np.uint64),
        np.ones(4),
        np.zeros(4, np.int64),
        np.full(4, 0.5),
        np.tile([0.0, 1.0], (4, 1)),
    )
    assert IPS().update(d).result().value == 0.0
    found = SNIPS().update(d).result(bootstraps=10)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (-math.inf, math.inf)
