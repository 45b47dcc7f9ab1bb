"""Estimators for decisions made of steps: slates filled from the top, sessions lived from the start.

Shape letters: B slates or sessions, T positions or steps (padded; padding has reward 0, both probabilities 1 and
predictions 0). w_t = chosen_t / propensity_t, W_t = w_1 ... w_t, W_0 = 1, r_t reward, q_t and v_t predicted return from
step t on of what was chosen and of the target policy, g discount.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.base import Estimator
from multimodal_dql.evaluation.ope.decisions import Batch

__all__ = ["FQE", "IIPS", "RIPS", "CascadeDR", "PerDecisionDR", "PerDecisionIPS", "SlateIPS", "Steps"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Steps(Batch):
    """Slates or sessions.

    Attributes:
        unit: (B,) key of the independent unit.
        reward: (B, T) finite.
        propensity: (B, T) logged probability of what was chosen given all before it, in (0, 1].
        chosen: (B, T) the target policy's, in [0, 1].
        shown: (B, T) predicted return from the step on after what was chosen, by a model that has not seen the unit; or
            None. `FittedQ` makes both.
        direct: (B, T) predicted return under the target policy's choices, or None.
        alone: (B, T) weight of each position by itself, the target's over the logging policy's probability of the item
            at that position whatever stands above it; or None.

    Raises:
        UsageError: for another shape, or a value outside its range.
    """

    reward: Array
    propensity: Array
    chosen: Array
    shown: Array | None = None
    direct: Array | None = None
    alone: Array | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.reward)
        held = {n: getattr(self, n) for n in ("propensity", "chosen", "shown", "direct", "alone")}
        wrong = [n for n, value in held.items() if value is not None and np.shape(value) != shape]
        if np.shape(self.unit) != shape[:1] or len(shape) != 2 or not shape[1] or wrong:
            raise UsageError(
                detail=f"steps do not agree in shape: {', '.join(wrong) or 'unit and reward'}",
                detail_zh=f"步骤数据的形状不一致：{'、'.join(wrong) or 'unit 与 reward'}",
            )
        if (self.shown is None) != (self.direct is None):
            raise UsageError(
                detail="predictions come in pairs: give both shown and direct, or neither",
                detail_zh="预测须成对给出：同时提供 shown 与 direct，或两者都不提供",
            )
        known = [value for value in (self.reward, self.shown, self.direct, self.alone) if value is not None]
        faults = (
            (
                ((self.propensity > 0) & (self.propensity <= 1)).all(),
                "a logged propensity is missing, 0 or above 1; such rows cannot be weighted",
                "日志中的倾向概率缺失、为 0 或大于 1；这些行无法加权",
            ),
            (
                ((self.chosen >= 0) & (self.chosen <= 1 + 1e-6)).all(),
                "the target policy's probabilities lie between 0 and 1",
                "目标策略的概率应在 0 与 1 之间",
            ),
            (
                all(np.isfinite(value).all() for value in known)
                and (self.alone is None or (self.alone >= 0).all()),
                "a reward, a prediction or a weight is not a finite number, or a weight is negative",
                "奖励、预测或权重不是有限数值，或权重为负",
            ),
        )
        for good, detail, detail_zh in faults:
            if not good:
                raise UsageError(detail=detail, detail_zh=detail_zh)

    @cached_property
    def weights(self) -> Array:
        """W_t, (B, T)."""
        return np.asarray(np.cumprod(self.chosen / self.propensity, 1), np.float64)

    @cached_property
    def before(self) -> Array:
        """W_(t-1), (B, T)."""
        return np.concatenate([np.ones((len(self), 1)), self.weights[:, :-1]], 1)

    def predictions(self) -> tuple[Array, Array]:
        """Q and v; raises `UsageError` when there are none."""
        if self.shown is None or self.direct is None:
            raise UsageError(
                detail="this estimator needs predicted returns; fit a FittedQ, or use sips, rips or pdis",
                detail_zh="该估计量需要回报预测；请先拟合 FittedQ，或改用 sips、rips、pdis",
            )
        return self.shown, self.direct


class _Discounted(Estimator):
    """A mean of sums over steps.

    Args:
        discount: g in [0, 1].
    """

    def __init__(self, discount: float = 1.0) -> None:
        if not 0 <= discount <= 1:
            raise UsageError(
                detail=f"a discount lies between 0 and 1, not {discount:g}",
                detail_zh=f"折扣应在 0 与 1 之间，而不是 {discount:g}",
            )
        self.discount = float(discount)
        super().__init__()

    def settings(self) -> tuple[Any, ...]:
        """The discount."""
        return (self.discount,)

    def value(self, sums: Array, count: Array) -> Array:
        """The mean of the terms."""
        return np.asarray(sums[..., 0] / count)

    def summed(self, terms: Array) -> Array:
        """sum_t g^(t-1) terms_t, (B, 1)."""
        return np.asarray((terms @ self.discount ** np.arange(terms.shape[1]))[:, None], np.float64)


class SlateIPS(_Discounted):
    """IPS of whole slates or sessions, ``sum_t g^(t-1) W_T r_t`` a row (Precup, Sutton & Singh 2000; "SIPS").

    Unbiased without any assumption on how positions act on each other; one weight of T factors, so a huge variance.
    """

    name = "sips"

    def rows(self, batch: Steps) -> Array:
        """See the class."""
        return self.summed(batch.weights[:, -1:] * batch.reward)


class IIPS(_Discounted):
    """Independent IPS, ``sum_t g^(t-1) alone_t r_t`` a row (Li, Abbasi-Yadkori, Kveton et al. 2018).

    Unbiased only if what a position earns depends on its own item alone.
    """

    name = "iips"

    def rows(self, batch: Steps) -> Array:
        """See the class."""
        if batch.alone is None:
            raise UsageError(
                detail="iips needs each position's weight by itself (alone); or use rips",
                detail_zh="iips 需要每个位置单独的权重（alone）；或改用 rips",
            )
        return self.summed(batch.alone * batch.reward)


class PerDecisionIPS(_Discounted):
    """Per-decision IPS, ``sum_t g^(t-1) W_t r_t`` a row (Precup, Sutton & Singh 2000).

    Unbiased when no reward depends on what is chosen after it; the variance still grows with the steps.
    """

    name = "pdis"

    def rows(self, batch: Steps) -> Array:
        """See the class."""
        return self.summed(batch.weights * batch.reward)


class RIPS(PerDecisionIPS):
    """Reward-interaction IPS: per-decision IPS of a slate read from the top (McInerney et al. 2020)."""

    name = "rips"

    def __init__(self) -> None:
        super().__init__()


class PerDecisionDR(_Discounted):
    """Doubly robust of sequences, ``sum_t g^(t-1) (W_t (r_t - q_t) + W_(t-1) v_t)`` a row.

    The recursion ``V_t = v_t + w_t (r_t + g V_(t+1) - q_t)`` of Jiang & Li (2016, eq. 10), written out. Unbiased with
    true propensities, however bad the model, under the assumption of per-decision IPS. As q and v are of the whole
    return from t on, a good model takes away the variance of all later steps.
    """

    name, needs_model = "pddr", True

    def rows(self, batch: Steps) -> Array:
        """See the class."""
        shown, direct = batch.predictions()
        return self.summed(batch.weights * (batch.reward - shown) + batch.before * direct)


class CascadeDR(PerDecisionDR):
    """Cascade-DR: per-decision DR of a slate read from the top (Kiyohara et al. 2022, eq. 9)."""

    name = "cascade_dr"

    def __init__(self) -> None:
        super().__init__()


class FQE(_Discounted):
    """Fitted-Q evaluation, the mean of v_1 (Le, Voloshin & Yue 2019): the direct method of sequences.

    Biased by whatever the model gets wrong; its interval covers the sampling of first states only.
    """

    name, needs_model = "fqe", True

    def rows(self, batch: Steps) -> Array:
        """See the class."""
        return batch.predictions()[1][:, :1]
