"""Regret curves on small simulated bandits: what is shipped against the plain loops, replication by replication.

Both sides run on independent randomness. Mean regrets at three moments must agree within 4.5 standard errors of their
difference: 9 comparisons in this file, false alarm 9 * 6.8e-6 = 6e-5 over all seeds that could have been picked.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from multimodal_dql.policies.bandits import Ucb
from multimodal_dql.policies.base import Policy, choose
from multimodal_dql.policies.linear import LinUcb
from multimodal_dql.policies.thompson import Thompson
from tests.policies.references import LinearLoop, bound, highest, joint
from tests.policies.states import counted, plain

RATES = np.array([0.2, 0.3, 0.35, 0.5])
STEPS, RUNS = 200, 400
MOMENTS = [49, 99, 199]


def shipped_regret(policy: Policy, seed: int) -> np.ndarray:
    """Cumulated regret (RUNS, STEPS), every replication one row of the batch."""
    rng = np.random.default_rng(seed)
    n, s = np.zeros((RUNS, 4), np.int64), np.zeros((RUNS, 4), np.int64)
    regret, row = np.zeros((RUNS, STEPS)), np.arange(RUNS)
    for t in range(STEPS):
        action, _ = choose(policy, counted(n, s), rng.random(RUNS))  # type: ignore[arg-type]
        regret[:, t] = RATES.max() - RATES[action]
        n[row, action] += 1
        s[row, action] += rng.random(RUNS) < RATES[action]
    return regret.cumsum(axis=1)


def thompson_loop(rng: np.random.Generator) -> list[float]:
    """One replication: draw each posterior, show the highest; 1 % evenly."""
    n, s, out = [0] * 4, [0] * 4, []
    for _ in range(STEPS):
        drawn = [rng.beta(1 + s[k], 1 + n[k] - s[k]) for k in range(4)]
        arm = int(rng.integers(4)) if rng.random() < 0.01 else drawn.index(max(drawn))
        n[arm] += 1
        s[arm] += int(rng.random() < RATES[arm])
        out.append(RATES.max() - RATES[arm])
    return out


def ucb_loop(rng: np.random.Generator) -> list[float]:
    n, s, out = [0] * 4, [0] * 4, []
    for t in range(STEPS):
        p = highest([bound(n[k], s[k], t, 0.5) for k in range(4)])
        arm = int(rng.choice(4, p=p))
        n[arm] += 1
        s[arm] += int(rng.random() < RATES[arm])
        out.append(RATES.max() - RATES[arm])
    return out


def agree(one: np.ndarray, other: np.ndarray, moments: list[int]) -> None:
    a, b = one[:, moments], other[:, moments]
    error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
    assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("policy", "loop"),
    [(Thompson(prior_clicks=1, prior_misses=1), thompson_loop), (Ucb(z=0.5), ucb_loop)],
    ids=["thompson", "ucb"],
)
def test_bandits(policy: Policy, loop: object) -> None:
    shipped = shipped_regret(policy, seed=0)
    rng = np.random.default_rng(1)
    plain_runs = np.cumsum([loop(rng) for _ in range(RUNS)], axis=1)  # type: ignore[operator]
    agree(shipped, plain_runs, MOMENTS)
    # And both learn: less than half the regret of choosing evenly, .1625 a step.
    assert shipped[:, -1].mean() < 0.5 * STEPS * (RATES.max() - RATES.mean())


THETA = np.array([0.4, 0.15, -0.1, 0.05, 0.0, 0.0, 0.1, 0.0, -0.1, 0.0, 0.05, 0.0])
"""Of [1, three content columns, two context columns, six products]: click probabilities mostly within 0 and 1."""


def linear_run(seed: int, steps: int, shipped: bool) -> tuple[np.ndarray, list[list[float]]]:
    """One LinUCB replication: regret of each step, and the probabilities it gave."""
    rng = np.random.default_rng(seed)
    policy, loop = LinUcb(alpha=0.5), LinearLoop(12, 1.0)
    regret, given = np.zeros(steps), []
    for t in range(steps):
        content, context = rng.standard_normal((4, 3)), rng.standard_normal(2)
        content, context = content.astype(np.float32), context.astype(np.float32)
        rows = [joint(x, context) for x in content]
        state = plain(1, 4, content=content[None], context=context[None])
        p = policy.probabilities(state)[0].tolist() if shipped else highest(loop.linucb(rows, 0.5))
        arm = int(rng.choice(4, p=np.array(p) / math.fsum(p)))
        rate = np.clip([THETA @ x for x in rows], 0.0, 1.0)
        reward = float(rng.random() < rate[arm])
        if shipped:
            policy.update(state, np.array([arm]), np.array([reward]))
        else:
            loop.learn(rows[arm], reward)
        regret[t] = rate.max() - rate[arm]
        given.append(p)
    return regret.cumsum(), given


def test_linucb_gives_the_loops_choices_on_the_same_luck() -> None:
    for seed in range(3):
        one, other = linear_run(seed, 150, shipped=True), linear_run(seed, 150, shipped=False)
        np.testing.assert_allclose(one[1], other[1], atol=1e-9)
        np.testing.assert_allclose(one[0], other[0])


def test_linucb_regret() -> None:
    shipped = np.array([linear_run(seed, 80, shipped=True)[0] for seed in range(1000, 1100)])
    looped = np.array([linear_run(seed, 80, shipped=False)[0] for seed in range(2000, 2100)])
    agree(shipped, looped, [19, 39, 79])
    first, last = shipped[:, 19].mean() / 20, (shipped[:, 79] - shipped[:, 59]).mean() / 20
    assert last < 0.6 * first
