"""Estimators that weigh what a candidate is like instead of which one it is: many candidates, few kinds of them.

Notation as in `estimators`. A candidate's embedding e may be random given the candidate; the shown one is observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.base import Estimator
from multimodal_dql.evaluation.ope.decisions import Decisions

__all__ = [
    "MIPS",
    "SNMIPS",
    "ClusteredDecisions",
    "EmbeddedDecisions",
    "OffCEM",
    "cluster",
    "likelihood",
    "same_cluster",
]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class EmbeddedDecisions(Decisions):
    """Decisions whose candidates have an embedding.

    Attributes:
        logging: (B, K) the logging policy's probabilities; rows sum to 1.
        likelihood: (B, K) probability (or density) of the embedding that was seen, were the candidate shown: 1 or 0 for
            "of the same cluster" (`same_cluster`), a product of tables for several categories (`likelihood`), or a
            p(candidate | context, embedding) fitted by `ChoiceModel` and divided by `logging`, 0 where that is 0. A
            factor of the row's own cancels.

    Raises:
        UsageError: also where `logging` disagrees with `propensity`, or what was shown could not have its embedding.
    """

    logging: Array | None = None
    likelihood: Array | None = None

    def __post_init__(self) -> None:
        for name in ("logging", "likelihood"):
            if np.shape(getattr(self, name)) != np.shape(self.target):
                raise UsageError(
                    detail=f"decisions do not agree in shape: {name}",
                    detail_zh=f"决策数据的形状不一致：{name}",
                )
        super().__post_init__()
        for part in self.parts():
            _check(part)

    @cached_property
    def marginal_weight(self) -> Array:
        """p(e | x, target) / p(e | x, logging), (B,) (Saito & Joachims 2022, section 3.1)."""
        assert self.logging is not None
        assert self.likelihood is not None
        over = np.einsum("bk,bk->b", self.target, self.likelihood)
        return np.asarray(over / np.einsum("bk,bk->b", self.logging, self.likelihood), np.float64)


@dataclass(frozen=True)
class ClusteredDecisions(Decisions):
    """Decisions whose candidates fall into kinds, from a log that holds nothing but the propensity of what was shown.

    By Bayes' rule the log shows the kind of what was shown with probability propensity / `posterior`, so that no other
    propensity is needed. The weight is in the mean what it should be whatever model gives the posterior; a better one
    makes it vary less.

    Attributes:
        kinds: (B, K) of the candidates; padding may have any.
        posterior: (B,) probability of what was shown among the candidates of its kind, by a model that has not seen the
            unit, in (0, 1].

    Raises:
        UsageError: also for another shape or a posterior outside its range.
    """

    kinds: Integers | None = None
    posterior: Array | None = None

    def __post_init__(self) -> None:
        shapes = [np.shape(x) if x is not None else None for x in (self.kinds, self.posterior)]
        if shapes != [np.shape(self.target), np.shape(self.unit)]:
            raise UsageError(
                detail="decisions do not agree in shape: kinds, posterior",
                detail_zh="决策数据的形状不一致：kinds、posterior",
            )
        super().__post_init__()
        assert self.posterior is not None
        if not ((self.posterior > 0) & (self.posterior <= 1 + 1e-9)).all():
            raise UsageError(
                detail="the probability of what was shown among its kind lies above 0 and up to 1",
                detail_zh="所展示候选在其类别内的概率应大于 0 且不超过 1",
            )

    @cached_property
    def marginal_weight(self) -> Array:
        """The target's probability of the kind over the logging policy's, propensity / posterior, (B,)."""
        assert self.kinds is not None
        assert self.posterior is not None
        kind = np.einsum("bk,bk->b", self.target, same_cluster(self.kinds, self.action))
        return np.asarray(kind * self.posterior / self.propensity, np.float64)


def _check(d: EmbeddedDecisions) -> None:
    assert d.logging is not None
    assert d.likelihood is not None
    rows = np.arange(len(d))
    sums = np.abs(d.logging.sum(1) - 1) <= 1e-6
    own = np.abs(d.logging[rows, d.action] - d.propensity) <= 1e-6
    faults = (
        (
            bool((d.logging >= 0).all() and sums.all() and own.all()),
            "the logging policy's probabilities must be 0 or more, sum to 1 and hold the logged propensity",
            "日志策略的概率必须非负、总和为 1，并与日志中的倾向概率一致",
        ),
        (
            bool(
                (np.isfinite(d.likelihood) & (d.likelihood >= 0)).all()
                and (d.likelihood[rows, d.action] > 0).all()
            ),
            "a candidate was shown with an embedding that it cannot have",
            "展示的候选具有它不可能具有的嵌入",
        ),
    )
    for good, detail, detail_zh in faults:
        if not good:
            raise UsageError(detail=detail, detail_zh=detail_zh)


def _weight(batch: Decisions) -> Array:
    if not isinstance(batch, EmbeddedDecisions | ClusteredDecisions):
        raise UsageError(
            detail="mips and offcem weigh embeddings: give EmbeddedDecisions or ClusteredDecisions, or use ips or dr",
            detail_zh="mips 与 offcem 按嵌入加权：请提供 EmbeddedDecisions 或 ClusteredDecisions，或改用 ips、dr",
        )
    return batch.marginal_weight


class MIPS(Estimator):
    """Marginalised IPS, ``sum(w_e r) / n``, w_e the `marginal_weight` (Saito & Joachims 2022, eq. 7).

    Unbiased when candidates of the same embedding earn the same, and the log could show every embedding that the target
    shows, even if not every candidate. Otherwise biased by the candidates' own effect; its variance grows with the
    number of embeddings, not of candidates.
    """

    name = "mips"

    def rows(self, batch: Decisions) -> Array:
        """Terms: w_e r."""
        return (_weight(batch) * batch.reward)[:, None]

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        return np.asarray(sums[..., 0] / count)


class SNMIPS(Estimator):
    """Self-normalised MIPS, ``sum(w_e r) / sum(w_e)``. NaN when no row has a weight."""

    name, width = "snmips", 2

    def rows(self, batch: Decisions) -> Array:
        """Terms: w_e r, w_e."""
        weight = _weight(batch)
        return np.stack([weight * batch.reward, weight], 1)

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., 0] / sums[..., 1])


class OffCEM(Estimator):
    """Off-policy evaluation by the conjunct effect, ``sum(d + w_e (r - q)) / n`` (Saito, Ren & Joachims 2023, eq. 4).

    The weight corrects what the model gets wrong about clusters, the model says what distinguishes candidates within
    one. Unbiased when the model's error is the same for all candidates of a cluster (of the row's context) and the log
    could show every cluster that the target shows. `ConjunctModel` fits for that.
    """

    name, needs_model = "offcem", True

    def rows(self, batch: Decisions) -> Array:
        """Terms: d + w_e (r - q)."""
        return (batch.direct + _weight(batch) * batch.residual)[:, None]

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        return np.asarray(sums[..., 0] / count)


def same_cluster(clusters: Integers, action: Integers) -> Array:
    """`EmbeddedDecisions.likelihood` of clusters, (B, K): whether each candidate is of the shown one's.

    Args:
        clusters: (B, K) of the candidates; padding may have any.
        action: (B,) column of the candidate that was shown.
    """
    own = clusters[np.arange(len(action)), action]
    return np.asarray(clusters == own[:, None], np.float64)


def likelihood(tables: list[Array], seen: Integers) -> Array:
    """`EmbeddedDecisions.likelihood` of independent categories, (B, K): the product of p(category | candidate).

    Args:
        tables: for each category its probabilities given the candidate, (K, values).
        seen: (B, categories) values of the shown candidate's embedding.
    """
    found = np.ones((len(seen), len(tables[0])))
    for table, value in zip(tables, seen.T, strict=True):
        found *= table[:, value].T
    return found


def cluster(embeddings: Array, clusters: int, *, seed: int = 0, rounds: int = 100) -> Integers:
    """Clusters of a catalogue's embeddings, (A,): k-means (Lloyd 1982) on directions, begun by k-means++.

    Directions, because encoders' lengths say little. The choice of clusters must not look at rewards, or the weights
    would no longer be independent of them; their number trades the candidates' own effect (few) against variance.

    Args:
        embeddings: (A, D).
        clusters: how many, at most; as many as there are different directions where those are fewer.
        seed: of the first centres.
        rounds: at most.
    """
    if clusters < 1 or np.ndim(embeddings) != 2 or not len(embeddings) or not np.isfinite(embeddings).all():
        raise UsageError(
            detail="clusters are made of finite embeddings (items, width), 1 cluster or more",
            detail_zh="聚类需要有限数值的嵌入（条目数，维数），且至少 1 个簇",
        )
    rng = np.random.Generator(np.random.Philox(key=[seed, 31]))
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    points = embeddings / np.where(length > 0, length, 1)
    centres = points[[rng.integers(len(points))]]
    while len(centres) < clusters:
        distance = _squares(points, centres).min(1)
        distance[distance < 1e-12] = 0.0
        if not distance.any():
            break
        chosen = rng.choice(len(points), p=distance / distance.sum())
        centres = np.concatenate([centres, points[[chosen]]])
    found = _squares(points, centres).argmin(1)
    for _ in range(rounds):
        for c in np.unique(found):
            centres[c] = points[found == c].mean(0)
        again = _squares(points, centres).argmin(1)
        if (again == found).all():
            break
        found = again
    return np.asarray(np.unique(found, return_inverse=True)[1], np.int64)


def _squares(points: Array, centres: Array) -> Array:
    """Squared distances, (A, C)."""
    cross = points @ centres.T
    return np.asarray((points**2).sum(1)[:, None] - 2 * cross + (centres**2).sum(1), np.float64)
