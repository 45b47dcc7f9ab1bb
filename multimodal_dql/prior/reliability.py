"""Whether a content prior knows how much it knows: its effects and sds held against tests it did not see.

What is observed of an arm is its true effect and noise. With the weights ``w = 1 / (sd^2 + v)`` the residual, centred
in its test, has the variance ``1 / w - 1 / sum(w)`` if the sd is right, so that standardised residuals have variance 1.

Shape letters: ``G`` tests, ``A`` arms.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.prior.ridge import Targets

__all__ = ["Bin", "PriorCalibration", "calibration", "recalibrated"]

Float = NDArray[np.float64]
_BINS = 8
_LEVELS = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Bin:
    """Arms of similar predicted effect: means of predicted and observed effect, standard error, and how many."""

    predicted: float
    observed: float
    standard_error: float
    arms: int


@dataclass(frozen=True)
class PriorCalibration:
    """How well predictions fit.

    Attributes:
        residual_variance: of standardised residuals, by degrees of freedom; 1 if the sd is right, above if too small.
        blank_variance: the same if the mean had been 0 everywhere: what the content takes away.
        slope: of observed on predicted effects; 1 if they are as large as they should be, below if too large; 1 also if
            none is predicted.
        coverage: nominal level -> share of residuals inside it.
        table: reliability, by predicted effect.
    """

    residual_variance: float
    blank_variance: float
    slope: float
    coverage: dict[str, float]
    table: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def calibration(given: Targets, mean: Float, sd: Float) -> PriorCalibration:
    """Hold predictions (A,) against observed logits with known noise."""
    from scipy.special import ndtri

    w = 1.0 / (sd**2 + given.v)
    _, index = np.unique(given.test, return_inverse=True)
    total, sizes = np.bincount(index, w), np.bincount(index)

    def centred(values: Float) -> Float:
        return np.asarray(values - (np.bincount(index, w * values) / total)[index])

    observed, predicted = centred(given.z), centred(mean)
    freedom = len(w) - len(total)
    spread = np.sqrt(np.maximum(1.0 / w - (1.0 / total)[index], 1e-12))
    alone = sizes[index] < 2
    standardised = np.where(alone, 0.0, (observed - predicted) / spread)[~alone]
    signal = float((w * predicted**2).sum())
    return PriorCalibration(
        residual_variance=float((w * (observed - predicted) ** 2).sum() / freedom),
        blank_variance=float((w * observed**2).sum() / freedom),
        slope=float((w * predicted * observed).sum() / signal) if signal > 0 else 1.0,
        coverage={
            f"{level:g}": float((abs(standardised) <= ndtri((1 + level) / 2)).mean()) for level in _LEVELS
        },
        table=_table(predicted[~alone], observed[~alone], w[~alone]),
    )


def recalibrated(given: Targets, mean: Float, sd: Float) -> tuple[float, float]:
    """Factors of the mean and of the sd with which predictions (A,) have slope 1 and residual variance 1.

    Two numbers measured on predictions of tests outside training; where they cannot be measured, 1. The mean is neither
    turned round nor enlarged, and the sd is changed by a factor of 2 at most.
    """
    slope = calibration(given, mean, sd).slope
    shrink = float(np.clip(slope, 0.0, 1.0))
    low, high = 0.5, 2.0
    for _ in range(30):  # the residual variance falls as the sd grows
        middle = float(np.sqrt(low * high))
        if calibration(given, shrink * mean, middle * sd).residual_variance > 1.0:
            low = middle
        else:
            high = middle
    return shrink, float(np.sqrt(low * high))


def _table(predicted: Float, observed: Float, w: Float) -> tuple[Bin, ...]:
    parts = np.array_split(np.argsort(predicted, kind="stable"), _BINS)
    return tuple(
        Bin(
            float(np.average(predicted[rows], weights=w[rows])),
            float(np.average(observed[rows], weights=w[rows])),
            float(1.0 / np.sqrt(w[rows].sum())),
            len(rows),
        )
        for rows in parts
        if len(rows)
    )
