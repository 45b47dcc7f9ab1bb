"""Logs that the tests of off-policy evaluation share."""

from __future__ import annotations

from typing import Any

import numpy as np

from multimodal_dql.evaluation.ope import Decisions, Steps

# Three decisions of two candidates. Weights 1/.5 = 2, .5/.25 = 2, .2/.8 = .25.
THREE = Decisions(
    unit=np.arange(3, dtype=np.uint64),
    reward=np.array([1.0, 0.0, 1.0]),
    action=np.array([0, 1, 0]),
    propensity=np.array([0.5, 0.25, 0.8]),
    target=np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]]),
    predicted=np.array([[0.6, 0.2], [0.4, 0.8], [0.5, 0.25]]),
)


def draw(n: int = 500, K: int = 3, seed: int = 0, unit_rows: int = 1) -> Decisions:
    """A log of a random policy with a random target, rewards in [0, 1]."""
    rng = np.random.default_rng(seed)
    logging, target = rng.dirichlet(np.ones(K), n), rng.dirichlet(np.ones(K), n)
    logging = 0.7 * logging + 0.3 / K
    action = (rng.random(n)[:, None] > logging.cumsum(1)).sum(1)
    return Decisions(
        unit=(np.arange(n) // unit_rows).astype(np.uint64),
        reward=rng.random(n),
        action=action,
        propensity=logging[np.arange(n), action],
        target=target,
        predicted=rng.random((n, K)),
    )


def take(d: Decisions, rows: Any) -> Decisions:
    """Some rows of a log."""
    predicted = None if d.predicted is None else d.predicted[rows]
    return Decisions(
        d.unit[rows], d.reward[rows], d.action[rows], d.propensity[rows], d.target[rows], predicted
    )


def padded(steps: Steps, more: int = 2) -> Steps:
    """The same sessions with `more` steps that nothing was shown in."""
    fill = {"reward": 0, "propensity": 1, "chosen": 1, "shown": 0, "direct": 0, "alone": 1}
    longer = {
        name: None
        if getattr(steps, name) is None
        else np.pad(getattr(steps, name), ((0, 0), (0, more)), constant_values=value)
        for name, value in fill.items()
    }
    return Steps(unit=steps.unit, **longer)
