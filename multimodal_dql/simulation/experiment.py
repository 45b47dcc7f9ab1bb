"""Offline A/B simulation: arms in front of the same audience, block by block, in constant memory.

Two designs. `paired`: every session meets every arm with the same user and the same luck (common random numbers), which
no live test can do and which narrows the interval. `randomised`: each session meets one arm, as in a live test, and
the sample-ratio check, CUPED and the rules for stopping early apply.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.evaluation.moments import Moments, Summary
from multimodal_dql.simulation.arms import CHUNK, Arm
from multimodal_dql.simulation.audience import DEVICES, SEGMENTS
from multimodal_dql.simulation.compiled import compiled, uniforms
from multimodal_dql.simulation.ledger import Ledger
from multimodal_dql.simulation.sessions import METRICS, Sessions, Stage, run_table

__all__ = ["Block", "Collected", "Design", "Plan", "assign", "collect"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Design = Literal["paired", "randomised"]

EVALUATION = 1 << 32
"""Added to the seed, so that no evaluation session is one of the training sessions."""
OF_ARM = 5  # stream of the draw that assigns a session to an arm
HISTOGRAM = 12
"""Clicks a session are counted from 0 up to this many; the last bar holds all above."""


@dataclass(frozen=True)
class Plan:
    """How an experiment is run.

    Attributes:
        sessions: in all; each is met by every arm (paired) or by one (randomised).
        design: see the module.
        seed: of users, luck and assignment.
        shares: of the sessions for each arm (randomised); even when empty.
        refresh: sessions after which policies that learn see what was counted.
        looks: times at which the results are looked at, evenly spaced; an experiment that may stop early stops at one.
        workers: threads; any number gives the same results.
    """

    sessions: int
    design: Design = "paired"
    seed: int = 0
    shares: tuple[float, ...] = ()
    refresh: int = 1000
    looks: int = 20
    workers: int = 0

    def __post_init__(self) -> None:
        if self.sessions < 1:
            raise UsageError(
                detail=f"{self.sessions} sessions show nothing; simulate at least 100",
                detail_zh=f"{self.sessions} 个会话无法说明任何问题；请至少模拟 100 个",
            )
        if self.design not in ("paired", "randomised"):
            raise UnknownNameError(
                kind="design", kind_zh="实验设计", name=self.design, known=("paired", "randomised")
            )


@dataclass(frozen=True)
class Block:
    """Some sessions of every arm, as they are handed to whoever writes a log.

    Attributes:
        arm: which.
        sessions: outcomes and log.
        ledger: what was counted when they were decided.
    """

    arm: Arm
    sessions: Sessions
    ledger: Ledger


@dataclass
class Collected:
    """Everything an analysis needs, in constant memory. Variables are named ``arm:metric``.

    Attributes:
        plan: as run.
        arms: names in order.
        design: see `Plan`.
        whole: moments over all sessions; for the paired design one accumulator under the name ``""``, for
        the randomised
            one for each arm.
        groups: the same for each ``segment=...`` and ``device=...``.
        counts: sessions of each arm.
        by_variant: (N + 1, 3) of each arm.
        histogram: sessions of each arm by number of clicks, (HISTOGRAM + 1,).
        looks: sessions so far at each look, and the summaries then.
        segments: whether `groups` are kept.
        readings: what an analysis has read at earlier looks, so that a look costs the same however many came before.
    """

    plan: Plan
    arms: tuple[str, ...]
    whole: dict[str, Moments] = field(default_factory=dict)
    groups: dict[str, dict[str, Moments]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    by_variant: dict[str, Array] = field(default_factory=dict)
    histogram: dict[str, Array] = field(default_factory=dict)
    looks: list[tuple[int, dict[str, Summary]]] = field(default_factory=list)
    segments: bool = True
    readings: dict[tuple[str, str, int], Any] = field(default_factory=dict)

    def summaries(self) -> dict[str, Summary]:
        """The moments so far."""
        return {name: moments.result() for name, moments in self.whole.items()}

    def add(self, outcomes: dict[str, Sessions]) -> None:
        """Take in one block of every arm."""
        if self.plan.design == "paired":
            rows = np.concatenate([outcomes[name].metrics for name in self.arms], axis=1)
            self._book("", names_of(self.arms), rows, next(iter(outcomes.values())))
        for name in self.arms:
            part = outcomes[name]
            if self.plan.design == "randomised":
                self._book(name, names_of((name,)), part.metrics, part)
            self.counts[name] = self.counts.get(name, 0) + len(part.ids)
            self.by_variant[name] = self.by_variant.get(name, 0.0) + part.by_variant
            clicks = np.minimum(part.metric("clicks").astype(np.int64), HISTOGRAM)
            bars = np.bincount(clicks, minlength=HISTOGRAM + 1).astype(np.float64)
            self.histogram[name] = self.histogram.get(name, 0.0) + bars

    def _book(self, key: str, names: tuple[str, ...], rows: Array, part: Sessions) -> None:
        self.whole.setdefault(key, Moments(names)).update(rows)
        if not self.segments:
            return
        for attribute, labels in (("segment", SEGMENTS), ("device", DEVICES)):
            value = part.metric(attribute).astype(np.int64)
            for i, label in enumerate(labels):
                group = self.groups.setdefault(f"{attribute}={label}", {})
                group.setdefault(key, Moments(names)).update(rows[value == i])


def names_of(arms: Sequence[str]) -> tuple[str, ...]:
    """The variables of some arms, ``arm:metric``."""
    return tuple(f"{arm}:{metric}" for arm in arms for metric in METRICS)


@compiled
def _assign(seed: int, ids: Ints, cumulated: Array) -> Ints:
    out = np.zeros(len(ids), dtype=np.int64)
    for i in range(len(ids)):
        u = uniforms(seed, ids[i], OF_ARM, 0)[0] * cumulated[-1]
        while out[i] < len(cumulated) - 1 and u >= cumulated[out[i]]:
            out[i] += 1
    return out


def assign(seed: int, ids: Ints, shares: Sequence[float]) -> Ints:
    """The arm of each session, (S,), drawn with the given shares; the same for a session whenever it is asked for."""
    return np.asarray(_assign(seed, ids, np.cumsum(np.asarray(shares, dtype=np.float64))))


def collect(
    stage: Stage,
    arms: Sequence[Arm],
    plan: Plan,
    *,
    segments: bool = True,
    stop: Callable[[Collected], bool] | None = None,
    keep: Callable[[Block], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Run an experiment.

    Args:
        stage: the world.
        arms: at least one; names are unique.
        plan: how.
        segments: keep results by group of users, too.
        stop: asked at every look whether the experiment ends here.
        keep: given every block with its log, for example to write events.
        progress: called with sessions done and sessions planned.
    """
    names = tuple(arm.name for arm in arms)
    shares = plan.shares or (1.0,) * len(arms)
    if len(set(names)) != len(names) or len(shares) != len(arms) or min(shares) <= 0:
        raise UsageError(
            detail="name each policy once, and give each a share above 0",
            detail_zh="每个策略只能列出一次，且份额必须大于 0",
        )
    seed, horizon = plan.seed + EVALUATION, _impressions_a_story(stage, plan)
    for arm in arms:
        if arm.policy is not None:
            arm.policy.reset()
    ledgers = {arm.name: Ledger.empty(stage.world, horizon, shown=arm.records) for arm in arms}
    out = Collected(plan, names, segments=segments)
    looks = set(
        np.linspace(0, plan.sessions, min(plan.looks, plan.sessions) + 1)[1:].round().astype(int).tolist()
    )
    block = plan.refresh if any(arm.adaptive for arm in arms) else 8 * CHUNK
    workers = plan.workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        for ids in _blocks(plan.sessions, block, looks):
            chosen = assign(seed, ids, shares)
            outcomes = {}
            for i, arm in enumerate(arms):
                own = ids if plan.design == "paired" else ids[chosen == i]
                before = ledgers[arm.name].copy() if keep else ledgers[arm.name]
                outcomes[arm.name] = arm.run(stage, seed, own, ledgers[arm.name], pool, log=keep is not None)
                if keep:
                    keep(Block(arm, outcomes[arm.name], before))
            out.add(outcomes)
            done = int(ids[-1]) + 1
            if progress:
                progress(done, plan.sessions)
            if done in looks:
                out.looks.append((done, out.summaries()))
                if stop and stop(out):
                    break
    return out


def _blocks(sessions: int, size: int, looks: set[int]) -> list[Ints]:
    """Numbers of the sessions block by block; a block ends at every multiple of `size` and at every look."""
    ends = sorted({*range(size, sessions, size), *looks, sessions})
    return [np.arange(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _impressions_a_story(stage: Stage, plan: Plan) -> float:
    """Impressions that a story will have had at the end, roughly; for policies that plan ahead."""
    available = stage.world.candidates.available
    uniform = available / available.sum(axis=1, keepdims=True)
    length = run_table(stage, plan.seed + EVALUATION, np.arange(512), uniform).metric("impressions").mean()
    return float(length * plan.sessions / len(stage.items))
