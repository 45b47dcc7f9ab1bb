"""Losses of Q-learning: squared error, cross-entropy over bins of the value (HL-Gauss), and a brake on unseen actions.

Written with Keras operations, so that they work on NumPy arrays and inside a compiled graph alike. Shape letters:
``K`` actions, ``Z`` bins; ``...`` is any number of further axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras import ops

from multimodal_dql.errors import UsageError

__all__ = ["Bins", "bin_cross_entropy", "cql_penalty", "expectation", "hl_gauss", "squared_error"]

NEVER = -1e30


def squared_error(prediction: Any, target: Any) -> Any:
    """``(prediction - target)^2``, elementwise.

    With Adam it does better than the Huber loss with RMSProp (Obando-Ceron & Castro 2021, "Revisiting Rainbow").
    """
    return ops.square(prediction - target)


@dataclass(frozen=True)
class Bins:
    """A histogram over values.

    Attributes:
        low: lower edge of the first bin.
        high: upper edge of the last bin.
        count: Z [51: Bellemare et al. 2017, "A distributional perspective on reinforcement learning"].
        spread: standard deviation of the Gaussian over the width of a bin [.75: Farebrother et al. 2024, "Stop
            regressing", section 3].
    """

    low: float
    high: float
    count: int = 51
    spread: float = 0.75

    def __post_init__(self) -> None:
        if not (self.low < self.high and self.count >= 2 and self.spread > 0.0):
            raise UsageError(
                detail="bins: low lies below high, there are 2 bins or more, and spread is above 0",
                detail_zh="分箱：low 应小于 high，至少 2 个箱，spread 应大于 0",
            )

    @classmethod
    def around(cls, low: float, high: float) -> Bins:
        """For values from `low` to `high`, with three more bins on each side.

        Three bins are four standard deviations, so that the Gaussian around no value is cut, and `expectation` gives
        back the mean of many values without a bias.
        """
        plain = cls(low, high)
        width = (high - low) / (plain.count - 6)
        return cls(low - 3 * width, high + 3 * width)

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / self.count

    @property
    def centres(self) -> tuple[float, ...]:
        """Of the bins, (Z,)."""
        return tuple(self.low + (i + 0.5) * self.width for i in range(self.count))


def hl_gauss(value: Any, bins: Bins) -> Any:
    """A value as the probabilities that a Gaussian around it gives to the bins, (...) -> (..., Z).

    ``p_i = [F(e_{i+1}) - F(e_i)] / [F(e_Z) - F(e_0)]``, F the distribution function of a Gaussian around the value,
    cut off at the ends (Imani & White 2018, "Improving regression performance with distributional losses", eq. 4). A
    value outside the bins counts as one at the nearest end.
    """
    edges = ops.convert_to_tensor([bins.low + i * bins.width for i in range(bins.count + 1)], dtype="float32")
    value = ops.clip(ops.cast(value, "float32"), bins.low, bins.high)
    scale = bins.spread * bins.width * math.sqrt(2.0)
    below = 0.5 * ops.erf((edges - value[..., None]) / scale)
    mass = below[..., 1:] - below[..., :-1]
    return mass / (below[..., -1:] - below[..., :1])


def expectation(probabilities: Any, bins: Bins) -> Any:
    """``sum_i p_i centre_i``, (..., Z) -> (...): the value back from `hl_gauss`, to about a bin's width at the ends."""
    return ops.sum(probabilities * ops.convert_to_tensor(bins.centres, dtype="float32"), axis=-1)


def bin_cross_entropy(logits: Any, probabilities: Any) -> Any:
    """``-sum_i p_i log softmax(logits)_i``, (..., Z) twice -> (...)."""
    return -ops.sum(probabilities * ops.log_softmax(logits, axis=-1), axis=-1)


def cql_penalty(q: Any, action: Any, available: Any) -> Any:
    """``log sum_a exp q(s, a) - q(s, a_t)``, the sum over AVAILABLE actions: (..., K), (...), (..., K) -> (...).

    Times a small alpha it is the conservative term for discrete actions: it presses down whatever the log did not do
    (Kumar et al. 2020, "Conservative Q-learning for offline reinforcement learning", eq. 4). Never negative.
    """
    masked = ops.where(ops.cast(available, "bool"), q, NEVER)
    taken = ops.take_along_axis(q, action[..., None], axis=-1)[..., 0]
    return ops.logsumexp(masked, axis=-1) - taken
