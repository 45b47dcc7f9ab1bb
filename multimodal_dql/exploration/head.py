"""The Bayesian head: Thompson sampling with propensities that are reported before the action is drawn from them.

The probability of a candidate is the share of S posterior samples in which it scores highest, mixed with a floor, so
that the action is drawn from exactly what is logged (Russo et al. 2018, "A tutorial on Thompson sampling").

Drift is met in two steps. A one-sided CUSUM (Page 1954) of the log likelihood ratio "rewards are only 60 % of what
is predicted" sounds the alarm. Then a rival posterior, which learns only from rows since the change, races against
the old one: whichever predicts the coming rewards better stays. A false alarm costs a little time and no knowledge,
because what forgets too much predicts worse.

Shape letters: ``F`` features, ``K`` candidates, ``S`` samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.exploration.posterior import (
    Link,
    Observations,
    Posterior,
    PosteriorConfig,
    expected_reward,
    log_likelihood,
)

__all__ = ["BayesianHead", "DriftConfig", "HeadConfig", "Race", "share_best"]

LARGEST_VOTE = 1.0
"""Nats that one reward of the identity link may add to a CUSUM or a race."""


@dataclass(frozen=True)
class DriftConfig:
    """When to suspect that the world has changed, and how to decide whether it has.

    Attributes:
        watch: off, nothing is ever forgotten but what the row store drops.
        fall: the alternative of the CUSUM: rewards are this share of what is predicted (identity link: lower by
            ``1 - fall`` standard deviations of the noise).
        alarm: CUSUM in nats that starts a race.
        lead: by how many nats one posterior must predict better than the other to win the race.
        longest: rows after which a race without a winner goes to the old posterior.
        settle: rows that a posterior learns from before it can be doubted.
    """

    watch: bool = True
    fall: float = 0.6
    alarm: float = 8.0
    lead: float = 5.0
    longest: int = 300
    settle: int = 300


@dataclass(frozen=True)
class HeadConfig:
    """Settings of a `BayesianHead`.

    Attributes:
        posterior: see `PosteriorConfig`.
        drift: see `DriftConfig`.
        floor: epsilon; no available candidate has a probability below ``epsilon / K``.
        capacity: rows kept.
        seed: of the samples.
    """

    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    floor: float = 0.001
    capacity: int = 65_536
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor <= 1.0:
            raise UsageError(
                detail=f"head: floor {self.floor:g} is no share; give one from 0 to 1",
                detail_zh=f"探索头：floor {self.floor:g} 不是比例；请给出 0 到 1 之间的数",
            )
        least = 2 * self.posterior.batch
        if self.capacity < least:
            raise UsageError(
                detail=f"head: capacity {self.capacity} drops rows before they are learned; give at least {least}, "
                "two batches",
                detail_zh=f"探索头：capacity {self.capacity} 会在学习之前丢弃数据行；请至少取 {least}（两个批次）",
            )


@dataclass(frozen=True)
class Race:
    """A race that has ended: row at its end, first row of the rival, and whether the old rows were forgotten."""

    row: int
    since: int
    forgot: bool


def share_best(
    scores: NDArray[np.float32], available: NDArray[np.bool_] | None = None, floor: float = 0.0
) -> NDArray[np.float64]:
    """How often each candidate is the highest, mixed with the uniform: ``(1 - floor) share + floor / K``.

    Args:
        scores: (K, S), a column a sample.
        available: (K,); a candidate that is not available gets 0. All are by default.
        floor: epsilon.

    Returns:
        (K,), sums to 1.
    """
    if available is not None and not available.all():
        out = np.zeros(len(scores))
        out[available] = share_best(scores[available], None, floor)
        return out
    k, s = scores.shape
    top = scores.max(axis=0)
    # Twins score alike but for rounding; they share a sample, so that their order does not matter.
    best = scores >= top - 1e-6 * (1.0 + np.abs(top))
    share = (best / best.sum(axis=0)).sum(axis=1) / s
    return np.asarray((1.0 - floor) * share + floor / k)


class BayesianHead:
    """Two posteriors at the most, the row store they share, and the watch over drift.

    Args:
        blocks: name -> columns of the features, as `HeadFeatures.blocks`.
        config: settings.

    Attributes:
        races: every race that has ended.
    """

    def __init__(self, blocks: Mapping[str, slice], config: HeadConfig) -> None:
        self.blocks, self.config = dict(blocks), config
        width = max(part.stop for part in blocks.values())
        self.rng = np.random.Generator(np.random.Philox(key=[config.seed, 23]))
        self.rows = Observations(width, config.capacity)
        self.champion = self._posterior(0)
        self.rival: Posterior | None = None
        self.races: list[Race] = []
        self._cusum, self._since, self._lead, self._raced_from = 0.0, 0, 0.0, 0

    @property
    def link(self) -> Link:
        """See `PosteriorConfig`."""
        return self.config.posterior.link

    @property
    def active(self) -> Posterior:
        """The posterior that decides now: in a race, the one that predicts better so far."""
        return self.rival if self.rival is not None and self._lead > 0 else self.champion

    def probabilities(
        self,
        features: NDArray[np.float32],
        own: NDArray[np.int64],
        noise: NDArray[np.float32],
        available: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """See `share_best`.

        Args:
            features: (K, F).
            own: (K,), number of a candidate among those shown before, -1 for a new one.
            noise: (K, S) standard normal: what a new candidate may be beyond its features, drawn once and for all from
                what it shows, so that neither order nor batches matter. Read only where `own` is -1.
            available: (K,).
        """
        posterior = self.active
        scores = features @ posterior.weights
        new = own < 0
        scores += posterior.effects[own] if not new.any() else self._own(posterior, own, new, noise)
        return share_best(scores, available, self.config.floor)

    def expected(self, features: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.float64]:
        """Expected reward of candidates, (K,), from the posterior's mean."""
        return np.asarray(expected_reward(self.active.score(features, own), self.link), np.float64)

    def learn(self, features: NDArray[np.float32], own: int, reward: float) -> None:
        """Add what a decision brought: features (F,) and number of the candidate that was shown.

        Raises:
            UsageError: a reward that is not finite, or neither 0 nor 1 where clicks are expected. Nothing is learned.
        """
        self._check(reward)
        self._grow(own + 1)
        told = [self._surprise(p, features, own, reward) for p in (self.champion, self.rival) if p]
        self.rows.append(features, own, reward)
        if self.rival is None:
            self._watch(features, own, reward, told[0])
        else:
            self._lead += self._bounded(told[1] - told[0])
            self.rival.advance()
            self._end_race()
        self.champion.advance()

    def replace(self, columns: slice, values: NDArray[np.float32]) -> None:
        """Exchange columns of all kept rows, because the network that made them has learned; then refit.

        Args:
            columns: of phi.
            values: (kept rows, width of the columns).
        """
        self.rows.x[: self.rows.kept, columns] = values
        for posterior in (self.champion, self.rival):
            if posterior is not None:
                posterior.mean[columns] = 0.0
                posterior.refit()

    def _check(self, reward: float) -> None:
        if self.link == "logistic" and reward not in (0.0, 1.0):
            raise UsageError(
                detail=f"a reward of {reward:g} is no click; give 0 or 1, or choose the identity link",
                detail_zh=f"奖励 {reward:g} 不是点击；请给出 0 或 1，或改用 identity 连接",
            )
        if not math.isfinite(reward):
            raise UsageError(
                detail=f"a reward of {reward:g} cannot be learned from; leave out what was not observed",
                detail_zh=f"无法从奖励 {reward:g} 中学习；请去掉未观测到的数据",
            )

    def _own(
        self, p: Posterior, own: NDArray[np.int64], new: NDArray[np.bool_], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        out = noise * np.float32(p.config.spread / np.sqrt(p.precision["own"]))
        out[~new] = p.effects[own[~new]]
        return np.asarray(out)

    def _posterior(self, start: int) -> Posterior:
        return Posterior(self.rows, self.blocks, start, self.config.posterior, self.rng)

    def _grow(self, candidates: int) -> None:
        for posterior in (self.champion, self.rival):
            if posterior is not None:
                posterior.grow(candidates)

    def _surprise(self, p: Posterior, features: NDArray[np.float32], own: int, reward: float) -> float:
        mean = float(expected_reward(float(p.score(features, own)), self.link))
        return log_likelihood(reward, mean, p.noise, self.link)

    def _bounded(self, nats: float) -> float:
        """A single reward far off a normal law must not decide alone; a click has no such tail."""
        return nats if self.link == "logistic" else float(np.clip(nats, -LARGEST_VOTE, LARGEST_VOTE))

    def _watch(self, features: NDArray[np.float32], own: int, reward: float, told: float) -> None:
        """Update the CUSUM; start a race when it passes the alarm."""
        c, p = self.config.drift, self.champion
        if not c.watch:
            return
        mean = float(expected_reward(float(p.score(features, own)), self.link))
        lower = c.fall * mean if self.link == "logistic" else mean - (1 - c.fall) * np.sqrt(p.noise)
        self._cusum += self._bounded(log_likelihood(reward, lower, p.noise, self.link) - told)
        if self._cusum <= 0:
            self._cusum, self._since = 0.0, self.rows.total
        if self._cusum > c.alarm and self.rows.total - p.start > c.settle:
            self.rival = self._posterior(self._since)
            self.rival.grow(len(p.own_mean))
            self.rival.refit()
            # An alarm may be the fault of the approximation between refits: give the old posterior a fair start.
            p.refit()
            self._lead, self._raced_from = 0.0, self.rows.total

    def _end_race(self) -> None:
        c = self.config.drift
        won, rival = self._lead > c.lead, self.rival
        late = self.rows.total - self._raced_from > c.longest
        if rival is None or not (won or self._lead < -c.lead or late):
            return
        self.races.append(Race(self.rows.total, rival.start, won))
        if won:
            self.champion = rival
        self.rival, self._cusum, self._since = None, 0.0, self.rows.total
