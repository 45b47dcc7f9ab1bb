"""Eat it or leave it: normalised regret on the Mushroom table, of the Bayesian head and of linear Thompson sampling.

Mushrooms are drawn with replacement. Eating a safe one earns 5, a poisonous one 5 or -35 at even odds, leaving it 0
(Blundell et al. 2015, "Weight uncertainty in neural networks", section 5.3; Riquelme, Tucker, Snoek 2018, "Deep
Bayesian bandits showdown"). Regret is the expected reward of the best action minus that of the chosen one, summed, in
per cent of what choosing evenly loses on the same table. Both policies meet the same mushrooms with the same luck.

Shape letters: ``T`` rounds, ``N`` mushrooms, ``F`` features; candidate 0 eats, candidate 1 leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.mushroom import Mushrooms, read_mushrooms
from multimodal_dql.exploration.features import HeadFeatures
from multimodal_dql.exploration.head import BayesianHead, HeadConfig
from multimodal_dql.exploration.posterior import PosteriorConfig
from multimodal_dql.policies.linear import LinearThompson
from multimodal_dql.state import State

__all__ = [
    "HEAD",
    "REFERENCE",
    "Rounds",
    "bench_mushroom",
    "draw_rounds",
    "play_head",
    "play_linear",
    "regret_percent",
]

Float = NDArray[np.float32]

SAFE, LUCKY, UNLUCKY = 5.0, 5.0, -35.0
POISON = (LUCKY + UNLUCKY) / 2
"""Expected reward of eating a poisonous one: -15."""
REFERENCE = {
    "linear Thompson sampling, published": "2.37",
    "neural Thompson sampling, published": "2.22",
    "model of creative ranking, published": "1.85-1.93",
}
"""Normalised regret in % of others, 50,000 rounds."""
HEAD = HeadConfig(posterior=PosteriorConfig(link="identity"))
BATCH = 32
"""Rounds after which the reference learns, as the head does."""
LINEAR_NOISE, LINEAR_RIDGE = 8.0, 0.1
"""Settings of the reference: of (8, 1), (8, .1), (4, .1) and (4, .01) the best on seeds that are not reported."""


@dataclass(frozen=True)
class Rounds:
    """What happens in T rounds, whoever plays.

    Attributes:
        mushroom: (T,) row of the table.
        lucky: (T,) whether a poisonous one would do no harm.
        choice: (T,) uniform in [0, 1): eaten if below the probability of eating.
    """

    mushroom: NDArray[np.int64]
    lucky: NDArray[np.bool_]
    choice: NDArray[np.float64]


def draw_rounds(table: Mushrooms, rounds: int, seed: int) -> Rounds:
    """The same for every policy; Philox keyed by the seed."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 61]))
    mushroom = rng.integers(0, len(table.poisonous), rounds)
    return Rounds(mushroom, rng.random(rounds) < 0.5, rng.random(rounds))


def reward_of(table: Mushrooms, played: Rounds, t: int, eaten: bool) -> float:
    """Of round t."""
    if not eaten:
        return 0.0
    if not table.poisonous[played.mushroom[t]]:
        return SAFE
    return LUCKY if played.lucky[t] else UNLUCKY


def regret_percent(table: Mushrooms, played: Rounds, eaten: NDArray[np.bool_]) -> float:
    """Summed regret of `eaten` (T,) in % of what choosing evenly is expected to lose in as many rounds."""
    poisonous = table.poisonous[played.mushroom]
    lost = np.where(poisonous, -POISON * eaten, SAFE * ~eaten).sum()
    even = np.where(table.poisonous, -POISON / 2, SAFE / 2).mean()
    return float(100.0 * lost / (even * len(eaten)))


def joint_rows(table: Mushrooms) -> tuple[HeadFeatures, Float]:
    """Features of every mushroom with each candidate, (N, 2, F).

    What eating offers is the mushroom, its one-hot row at unit length; leaving offers nothing, zeros.
    """
    content = table.features / np.sqrt(table.features.sum(axis=1, keepdims=True))
    layout = HeadFeatures(content=content.shape[1], context=0)
    nothing = np.zeros(0, np.float32)
    return layout, np.stack([layout(np.stack([row, 0 * row]), nothing) for row in content])


def play_head(table: Mushrooms, played: Rounds, config: HeadConfig) -> NDArray[np.bool_]:
    """Which mushrooms the Bayesian head eats, (T,)."""
    layout, rows = joint_rows(table)
    head = BayesianHead(layout.blocks, config)
    own = np.full(2, -1)
    # What a candidate never shown may be worth beyond its features; each is shown within a few rounds.
    rng = np.random.Generator(np.random.Philox(key=[config.seed, 62]))
    noise = rng.standard_normal((2, config.posterior.samples), dtype=np.float32)
    eaten = np.zeros(len(played.mushroom), np.bool_)
    for t, i in enumerate(played.mushroom):
        p = head.probabilities(rows[i], own, noise)
        eaten[t] = played.choice[t] < p[0]
        shown = 0 if eaten[t] else 1
        if own[shown] < 0:
            own[shown] = own.max() + 1
        head.learn(rows[i, shown], int(own[shown]), reward_of(table, played, t, bool(eaten[t])))
    return eaten


def play_linear(table: Mushrooms, played: Rounds, floor: float, seed: int) -> NDArray[np.bool_]:
    """The same of linear Thompson sampling on the same features, learning every `BATCH` rounds."""
    _, rows = joint_rows(table)
    rows = rows[:, :, 1:]  # the policy adds the intercept itself
    policy = LinearThompson(noise=LINEAR_NOISE, ridge=LINEAR_RIDGE, epsilon=floor, seed=seed)
    total = len(played.mushroom)
    eaten = np.zeros(total, np.bool_)
    for start in range(0, total, BATCH):
        part = np.arange(start, min(start + BATCH, total))
        state = _state(rows[played.mushroom[part]])
        eaten[part] = played.choice[part] < policy.probabilities(state)[:, 0]
        earned = [reward_of(table, played, int(t), bool(eaten[t])) for t in part]
        policy.update(state, np.where(eaten[part], 0, 1), np.array(earned))
    return eaten


def bench_mushroom(
    path: Path, *, seeds: int = 30, rounds: int = 50_000, first: int = 0, config: HeadConfig = HEAD
) -> dict[str, Any]:
    """Both policies over many seeds.

    Args:
        path: see `read_mushrooms`.
        seeds: how many; each has its own mushrooms, luck and posterior samples.
        rounds: T of each.
        first: the first seed; the settings were tuned on seeds from 900 on.
        config: of the head; its seed is replaced.
    """
    from threadpoolctl import threadpool_limits

    table = read_mushrooms(path)
    names: dict[str, Callable[[Rounds, int], NDArray[np.bool_]]] = {
        "head": lambda played, seed: play_head(table, played, replace(config, seed=seed)),
        "linear_thompson": lambda played, seed: play_linear(table, played, config.floor, seed),
    }
    found: dict[str, list[float]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    # The matrices are small: a second thread costs more than it brings.
    with threadpool_limits(limits=1):
        for seed in range(first, first + seeds):
            played = draw_rounds(table, rounds, seed)
            for name, play in names.items():
                start = time.perf_counter()
                found[name].append(regret_percent(table, played, play(played, seed)))
                seconds[name] += time.perf_counter() - start
    return {
        name: {**_summary(found[name]), "seconds_a_run": round(seconds[name] / seeds, 1)} for name in names
    } | {
        "unit": "regret in % of choosing evenly",
        "rounds": rounds,
        "seeds": [first, first + seeds - 1],
        "mushrooms": len(table.poisonous),
        "one_hot_features": table.features.shape[1],
        "floor": config.floor,
        "reference": REFERENCE,
    }


def _summary(values: list[float]) -> dict[str, Any]:
    """Mean with a 95 % Student interval over the seeds, and every seed."""
    from scipy.stats import t

    mean = float(np.mean(values))
    half = float("nan")
    if len(values) > 1:
        half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    interval = None if np.isnan(half) else [round(mean - half, 3), round(mean + half, 3)]
    return {"mean": round(mean, 3), "interval": interval, "per_seed": [round(v, 3) for v in values]}


def _state(rows: Float) -> State:
    """Joint rows (B, 2, F) as content, with nothing else known."""
    b, k, _ = rows.shape
    nothing = np.zeros((b, k, 0), np.float32)
    available = np.ones((b, k), np.bool_)
    return State(rows, nothing, nothing, np.zeros((b, 0), np.float32), available, np.zeros(b, np.int64))
