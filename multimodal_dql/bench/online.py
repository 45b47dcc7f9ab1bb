"""How well an agent chooses that starts from nothing and learns from single clicks, in worlds of five kinds.

Each world has 500 candidates with random unit vectors (P = 32), 20 of which are offered at a time to a random context
(C = 8); one is shown, and clicked or not. Scores, standardised and stretched to a standard deviation of 1.35 so that a
random choice is clicked 5 times in 100:

- ``linear``: ``theta . a``
- ``bilinear``: ``theta . a / 2 + x' W a``
- ``mild``: ``m . tanh(M_x x + M_a a)``, 24 hidden units
- ``curved``: six squared projections of (x, a) with random signs
- ``drift``: bilinear, with other weights after half of the rounds

The measure is the summed click probability of what was chosen over that of the best candidates. Every agent meets the
same contexts, candidates and coin flips.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.quality import StreamLearner
from multimodal_dql.errors import UnknownNameError
from multimodal_dql.exploration.head import DriftConfig, HeadConfig
from multimodal_dql.exploration.posterior import PosteriorConfig
from multimodal_dql.online import OnlineConfig

__all__ = ["KINDS", "PARTS", "World", "bench_online", "draw_world", "play"]

Array = NDArray[np.float64]

KINDS = ("linear", "bilinear", "mild", "curved", "drift")
ITEMS, OFFERED, CONTENT, CONTEXT = 500, 20, 32, 8
SPREAD = 1.35
"""Standard deviation of the scores, in logits."""
RANDOM_RATE = 0.05
"""Click probability of a random choice."""

PARTS: Mapping[str, Callable[[OnlineConfig], OnlineConfig]] = {
    "network": lambda c: replace(c, network=None),
    "own_effects": lambda c: replace(c, own_effects=False),
    "forgetting": lambda c: replace(c, head=replace(c.head, drift=DriftConfig(watch=False))),
    "evidence": lambda c: replace(c, head=replace(c.head, posterior=_held(c.head))),
    "small_steps": lambda c: replace(c, head=replace(c.head, posterior=_full_width(c.head))),
}
"""What can be left out: the network, own effects of candidates, the watch over drift, block scales learned from the
data, and sampling at a tenth of the posterior's width."""


def _held(head: HeadConfig) -> PosteriorConfig:
    return replace(head.posterior, pseudo_weights=1e9)


def _full_width(head: HeadConfig) -> PosteriorConfig:
    return replace(head.posterior, scale=1.0)


@dataclass(frozen=True)
class World:
    """Everything that will happen, drawn beforehand.

    Attributes:
        items: (ITEMS, CONTENT) float32.
        context: (T, CONTEXT) float32.
        offered: (T, OFFERED) numbers of items.
        rate: (T, OFFERED) click probability of each.
        luck: (T,) uniform; a candidate shown in round t is clicked when it is below its rate.
        draw: (T,) uniform, from which an agent's choice is drawn.
    """

    items: NDArray[np.float32]
    context: NDArray[np.float32]
    offered: NDArray[np.int64]
    rate: Array
    luck: Array
    draw: Array


def draw_world(kind: str, seed: int, rounds: int) -> World:
    """A world of a kind; see the module. Raises `UnknownNameError`."""
    if kind not in KINDS:
        raise UnknownNameError(kind="world", kind_zh="世界", name=kind, known=KINDS)
    rng = np.random.Generator(np.random.Philox(key=[seed, 60 + KINDS.index(kind)]))
    items = rng.standard_normal((ITEMS, CONTENT))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    context = rng.standard_normal((rounds, CONTEXT)) / np.sqrt(CONTEXT)
    offered = np.stack([rng.choice(ITEMS, OFFERED, replace=False) for _ in range(rounds)])
    first, second = _score(kind, rng), _score(kind, rng)
    change = rounds // 2 if kind == "drift" else rounds
    score = np.concatenate(
        [
            rule(context[start : start + 1000], items[offered[start : start + 1000]])
            for rule, begin, end in ((first, 0, change), (second, change, rounds))
            for start in range(begin, end, 1000)
        ]
    )[:rounds]
    score = SPREAD * (score - score.mean()) / score.std()
    rate = 1.0 / (1.0 + np.exp(-(score + _base(score))))
    return World(
        items.astype(np.float32),
        context.astype(np.float32),
        offered,
        rate,
        rng.random(rounds),
        rng.random(rounds),
    )


def _score(kind: str, rng: np.random.Generator) -> Callable[[Array, Array], Array]:
    """A random rule from contexts (B, C) and candidates (B, K, P) to scores (B, K)."""
    theta, weights = rng.standard_normal(CONTENT), rng.standard_normal((CONTEXT, CONTENT))
    of_context, of_content = rng.standard_normal((CONTEXT, 24)), rng.standard_normal((CONTENT, 24))
    out = rng.standard_normal(24)
    rules: dict[str, Callable[[Array, Array], Array]] = {
        "linear": lambda x, a: a @ theta,
        "bilinear": lambda x, a: a @ theta / 2 + np.einsum("bp,bkp->bk", x @ weights, a),
        "mild": lambda x, a: np.tanh(1.2 * (x @ of_context)[:, None] + 1.6 * a @ of_content) @ out,
        "curved": lambda x, a: (
            ((x @ of_context[:, :6])[:, None] + a @ of_content[:, :6]) ** 2 @ np.sign(out[:6])
        ),
    }
    rules["drift"] = rules["bilinear"]
    return rules[kind]


def _base(score: Array) -> float:
    """The logit at which a random choice is clicked `RANDOM_RATE` of the time."""
    from scipy.optimize import brentq

    return float(brentq(lambda m: np.mean(1.0 / (1.0 + np.exp(-(score + m)))) - RANDOM_RATE, -20.0, 10.0))


def play(world: World, learner: Any) -> dict[str, Any]:
    """Let a learner (``predict``, ``learn``) go through a world.

    Returns:
        ``ratio`` of all rounds, its ``curve`` at every tenth of them (cumulated), ``rounds_per_second``.
    """
    rounds = len(world.context)
    chosen, best = np.zeros(rounds), world.rate.max(axis=1)
    start = time.perf_counter()
    for t in range(rounds):
        content = world.items[world.offered[t]]
        p = learner.predict(world.context[t], content)
        k = min(int(np.searchsorted(np.cumsum(p), world.draw[t] * p.sum(), side="right")), OFFERED - 1)
        chosen[t] = world.rate[t, k]
        learner.learn(world.context[t], content, k, float(p[k]), float(world.luck[t] < world.rate[t, k]))
    seconds = time.perf_counter() - start
    marks = [rounds * i // 10 for i in range(1, 11)]
    return {
        "ratio": float(chosen.sum() / best.sum()),
        "random": float(world.rate.mean() / best.mean()),
        "curve": [round(float(chosen[:m].sum() / best[:m].sum()), 4) for m in marks if m],
        "rounds_per_second": rounds / seconds,
    }


def bench_online(
    kinds: Sequence[str] = KINDS,
    seeds: int = 3,
    rounds: int = 20_000,
    without: Sequence[str] = (),
    first: int = 0,
) -> dict[str, Any]:
    """Play every kind of world with the default agent, and once more with each part left out.

    Args:
        kinds: of worlds.
        seeds: worlds of each kind.
        rounds: T.
        without: names of `PARTS`, each left out by itself.
        first: first seed.

    Raises:
        UnknownNameError: no such world or part.
    """
    for name in without:
        if name not in PARTS:
            raise UnknownNameError(kind="part", kind_zh="组成部分", name=name, known=tuple(PARTS))
    agents: dict[str, Callable[[OnlineConfig], OnlineConfig]] = {
        "default": lambda c: c,
        **{f"without_{n}": PARTS[n] for n in without},
    }
    out: dict[str, Any] = {"rounds": rounds, "seeds": [first + i for i in range(seeds)], "worlds": {}}
    for kind in kinds:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in agents}
        for seed in out["seeds"]:
            world = draw_world(kind, seed, rounds)
            for name, change in agents.items():
                found[name].append(play(world, StreamLearner(change(OnlineConfig(seed=seed)))))
        out["worlds"][kind] = {
            "random": float(np.mean([r["random"] for r in found["default"]])),
            **{
                name: {
                    "ratio": float(np.mean([r["ratio"] for r in results])),
                    "per_seed": [round(r["ratio"], 4) for r in results],
                    "curve": np.round(np.mean([r["curve"] for r in results], axis=0), 4).tolist(),
                    "rounds_per_second": float(np.mean([r["rounds_per_second"] for r in results])),
                }
                for name, results in found.items()
            },
        }
    return out
