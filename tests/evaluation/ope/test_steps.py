"""Slates and sessions: by hand, by the papers' recursions in plain Python, and against worlds with known answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import (
    FQE,
    IIPS,
    RIPS,
    CascadeDR,
    Estimator,
    PerDecisionDR,
    PerDecisionIPS,
    SlateIPS,
    Steps,
)

from .logs import padded
from .worlds import Chain, Slates

# One slate of two positions: w = .5 / .25 = 2, .2 / .4 = .5, so W = 2, 1.
ONE = Steps(
    unit=np.zeros(1, np.uint64),
    reward=np.array([[1.0, 3.0]]),
    propensity=np.array([[0.25, 0.4]]),
    chosen=np.array([[0.5, 0.2]]),
    shown=np.array([[2.0, 2.5]]),
    direct=np.array([[1.5, 2.0]]),
    alone=np.array([[2.0, 0.25]]),
)
EVERY: list[Callable[[], Estimator]] = [
    SlateIPS,
    IIPS,
    RIPS,
    CascadeDR,
    FQE,
    lambda: PerDecisionIPS(0.9),
    lambda: PerDecisionDR(0.9),
]


@pytest.mark.parametrize(
    ("estimator", "by_hand"),
    [
        (SlateIPS(), 1 * (1 + 3)),
        (IIPS(), 2 * 1 + 0.25 * 3),
        (RIPS(), 2 * 1 + 1 * 3),
        (PerDecisionIPS(0.5), 2 * 1 + 0.5 * 1 * 3),
        # 2 (1 - 2) + 1 (1.5) + 1 (3 - 2.5) + 2 (2)
        (CascadeDR(), -2 + 1.5 + 0.5 + 4),
        (PerDecisionDR(0.5), -2 + 1.5 + 0.5 * (0.5 + 4)),
        (FQE(0.5), 1.5),
    ],
    ids=lambda x: x.name if isinstance(x, Estimator) else "",
)
def test_one_row_by_hand(estimator: Estimator, by_hand: float) -> None:
    assert estimator.update(ONE).result().value == pytest.approx(by_hand, rel=1e-14)


def random_steps(n: int, T: int, seed: int) -> Steps:
    rng = np.random.default_rng(seed)
    return Steps(
        unit=(np.arange(n) // 2).astype(np.uint64),
        reward=rng.random((n, T)),
        propensity=rng.uniform(0.2, 1, (n, T)),
        chosen=rng.random((n, T)),
        shown=rng.random((n, T)),
        direct=rng.random((n, T)),
        alone=rng.random((n, T)),
    )


def recursion(steps: Steps, discount: float, model: bool) -> float:
    """Jiang & Li (2016), equations 5 and 10: from the last step to the first; without a model q = v = 0."""
    total = 0.0
    assert steps.shown is not None
    assert steps.direct is not None
    for i in range(len(steps)):
        ahead = 0.0
        for t in reversed(range(steps.reward.shape[1])):
            w = float(steps.chosen[i, t]) / float(steps.propensity[i, t])
            q, v = (float(steps.shown[i, t]), float(steps.direct[i, t])) if model else (0.0, 0.0)
            ahead = v + w * (float(steps.reward[i, t]) + discount * ahead - q)
        total += ahead
    return total / len(steps)


@pytest.mark.parametrize("discount", [1.0, 0.8, 0.0])
def test_as_the_recursion(discount: float) -> None:
    steps = random_steps(60, 4, 1)
    for estimator, model in ((PerDecisionIPS(discount), False), (PerDecisionDR(discount), True)):
        assert estimator.update(steps).result().value == pytest.approx(
            recursion(steps, discount, model), rel=1e-12
        )


def test_as_plain_python() -> None:
    steps = random_steps(50, 3, 2)
    whole = alone = 0.0
    assert steps.alone is not None
    for i in range(50):
        product = math.prod(
            float(c) / float(p) for c, p in zip(steps.chosen[i], steps.propensity[i], strict=True)
        )
        whole += product * math.fsum(map(float, steps.reward[i]))
        alone += math.fsum(float(a) * float(r) for a, r in zip(steps.alone[i], steps.reward[i], strict=True))
    assert SlateIPS().update(steps).result().value == pytest.approx(whole / 50, rel=1e-12)
    assert IIPS().update(steps).result().value == pytest.approx(alone / 50, rel=1e-12)


@pytest.mark.parametrize("make", EVERY)
def test_pieces_equal_the_whole(make: Callable[[], Estimator]) -> None:
    steps = random_steps(200, 3, 4)
    whole, pieces = make().update(steps).result(bootstraps=20), make()
    for start, stop in itertools.pairwise((0, 11, 12, 150, 200)):
        pieces.merge(make().update(steps.part(start, stop)))
    found = pieces.result(bootstraps=20)
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=1e-11)


@pytest.mark.parametrize("make", EVERY)
def test_padding_adds_nothing(make: Callable[[], Estimator]) -> None:
    steps = random_steps(40, 3, 5)
    assert make().update(padded(steps)).result().value == pytest.approx(
        make().update(steps).result().value, rel=1e-13
    )


SLATES = Slates.made()
RUNS, ROWS = 300, 200


def errors(make: Callable[[], Estimator], q: np.ndarray | None = None) -> tuple[float, float]:
    """Mean error over logs of slates in standard errors of that mean, and the standard deviation of one."""
    truth = SLATES.value(SLATES.target)
    found = [make().update(SLATES.draw(ROWS, seed, q)[0]).result().value - truth for seed in range(RUNS)]
    deviation = float(np.std(found, ddof=1))
    return float(np.mean(found)) / (deviation / math.sqrt(RUNS)), deviation


def test_slates_with_a_known_answer() -> None:
    """Means within 4 standard errors: one false alarm in 15,000 each. Items act on those below, so IIPS is biased."""
    off, of_whole = errors(SlateIPS)
    assert abs(off) < 4
    off, of_rips = errors(RIPS)
    assert abs(off) < 4
    assert abs(errors(IIPS)[0]) > 5
    off, of_dr = errors(CascadeDR, SLATES.q(SLATES.target))
    assert abs(off) < 4
    assert abs(errors(CascadeDR, np.full((3, 2, 2), 0.7))[0]) < 4  # whatever the model
    assert of_dr < 0.8 * of_rips < 0.8 * of_whole


CHAIN, DISCOUNT, STEPS = Chain.made(), 0.9, 12


def sessions(make: Callable[[float], Estimator], q: np.ndarray | None, truth: float) -> tuple[float, float]:
    found = []
    for seed in range(RUNS):
        states, actions, rewards, lived = CHAIN.draw(ROWS, STEPS, seed)
        found.append(
            make(DISCOUNT).update(CHAIN.steps(states, actions, rewards, lived, q)).result().value - truth
        )
    deviation = float(np.std(found, ddof=1))
    return float(np.mean(found)) / (deviation / math.sqrt(RUNS)), deviation


def test_sessions_with_a_known_answer() -> None:
    """Means within 4 standard errors of the value of the first twelve steps; q is of endless sessions."""
    truth = CHAIN.value(CHAIN.target, DISCOUNT, STEPS)
    q = CHAIN.q(CHAIN.target, DISCOUNT)
    off, of_ips = sessions(PerDecisionIPS, None, truth)
    assert abs(off) < 4
    off, of_dr = sessions(PerDecisionDR, q, truth)
    assert abs(off) < 4
    assert of_dr < 0.6 * of_ips
    # The logging policy's own value is another: the test can fail.
    assert abs(sessions(PerDecisionDR, q, CHAIN.value(CHAIN.logging, DISCOUNT, STEPS))[0]) > 10


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("propensity", [[0.0, 0.4]], "propensity"),
        ("propensity", [[math.nan, 0.4]], "propensity"),
        ("chosen", [[1.5, 0.2]], "between 0 and 1"),
        ("reward", [[math.inf, 1.0]], "finite"),
        ("alone", [[-1.0, 1.0]], "negative"),
        ("shown", None, "pairs"),
        ("direct", [[1.0]], "direct"),
        ("unit", [0, 1], "shape"),
    ],
)
def test_a_bad_value_is_refused(field: str, value: object, says: str) -> None:
    names = ("unit", "reward", "propensity", "chosen", "shown", "direct", "alone")
    given = {name: getattr(ONE, name) for name in names}
    with pytest.raises(UsageError, match=says) as refused:
        Steps(**{**given, field: value if value is None else np.asarray(value)})
    assert refused.value.text("zh") != str(refused.value)


def test_refusals_of_an_accumulator() -> None:
    bare = Steps(ONE.unit, ONE.reward, ONE.propensity, ONE.chosen)
    with pytest.raises(UsageError, match="FittedQ"):
        CascadeDR().update(bare)
    with pytest.raises(UsageError, match="alone"):
        IIPS().update(bare)
    with pytest.raises(UsageError, match="discount"):
        PerDecisionIPS(1.5)
    with pytest.raises(UsageError, match="merged"):
        PerDecisionIPS(0.5).merge(PerDecisionIPS(0.9))
