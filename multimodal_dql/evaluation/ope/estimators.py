"""The classic estimators of a policy's value from another policy's log.

w = target[action] / propensity, r reward, q predicted reward of what was shown, d = sum_k target_k predicted_k; sums
run over the n decisions. `value` of each class is the formula of the paper named there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.evaluation.ope.base import Estimator
from multimodal_dql.evaluation.ope.decisions import Decisions

__all__ = ["DM", "DR", "IPS", "SNDR", "SNIPS", "Replay"]

Array = NDArray[np.float64]


class IPS(Estimator):
    """Inverse propensity score, ``sum(w r) / n`` (Horvitz & Thompson 1952; Dudik et al. 2014, eq. 2).

    Unbiased when the propensities are true and the log could show whatever the target shows; biased towards 0 by the
    target's mass on what the log never shows. Its variance grows with the largest weights.
    """

    name = "ips"

    def rows(self, batch: Decisions) -> Array:
        """Terms: w r."""
        return (batch.weight * batch.reward)[:, None]

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        return np.asarray(sums[..., 0] / count)


class SNIPS(Estimator):
    """Self-normalised IPS, ``sum(w r) / sum(w)`` (Swaminathan & Joachims 2015, eq. 6).

    Bias of order 1 / n, which vanishes as the log grows; unchanged by adding a constant to the rewards, and never
    outside their range. NaN when no row has a weight.
    """

    name, width = "snips", 2

    def rows(self, batch: Decisions) -> Array:
        """Terms: w r, w."""
        return np.stack([batch.weight * batch.reward, batch.weight], 1)

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., 0] / sums[..., 1])


class DM(Estimator):
    """Direct method, ``sum(d) / n`` (Dudik et al. 2014, eq. 1).

    Biased by whatever the reward model gets wrong on average over the target's choices; its interval covers the
    sampling of contexts only, and the bias does not vanish as the log grows.
    """

    name, needs_model = "dm", True

    def rows(self, batch: Decisions) -> Array:
        """Terms: d."""
        return batch.direct[:, None]

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        return np.asarray(sums[..., 0] / count)


class DR(Estimator):
    """Doubly robust, ``sum(d + w (r - q)) / n`` (Dudik et al. 2014, eq. 3).

    Unbiased when the propensities are true and every choice of the target could be logged, however bad the model, which
    must not have seen the row's unit; biased when both propensities and model are wrong.
    """

    name, needs_model = "dr", True

    def rows(self, batch: Decisions) -> Array:
        """Terms: d + w (r - q)."""
        return (batch.direct + batch.weight * batch.residual)[:, None]

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        return np.asarray(sums[..., 0] / count)


class SNDR(Estimator):
    """Self-normalised DR, ``sum(d) / n + sum(w (r - q)) / sum(w)`` (the weighted form of Thomas & Brunskill 2016).

    Bias of order 1 / n, smaller variance than DR where the mean weight strays from 1.
    """

    name, width, needs_model = "sndr", 3, True

    def rows(self, batch: Decisions) -> Array:
        """Terms: d, w (r - q), w."""
        return np.stack([batch.direct, batch.weight * batch.residual, batch.weight], 1)

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., 0] / count + sums[..., 1] / sums[..., 2])


class Replay(Estimator):
    """Replay, ``sum(m r) / sum(m)``, m = target[action] (Li, Chu, Langford & Wang 2011).

    The mean reward of the rows on which the target would have shown the same; for a randomised target, of the rows
    weighted by the chance of that. Biased unless the log chose uniformly. NaN when nothing matches.
    """

    name, width = "replay", 2

    def rows(self, batch: Decisions) -> Array:
        """Terms: m r, m."""
        return np.stack([batch.chosen * batch.reward, batch.chosen], 1)

    def value(self, sums: Array, count: Array) -> Array:
        """See the class."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., 0] / sums[..., 1])


PLAIN: dict[str, Callable[[], Estimator]] = {e.name: e for e in (IPS, SNIPS, DM, DR, SNDR, Replay)}
