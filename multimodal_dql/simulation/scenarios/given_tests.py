"""Tests that a caller gives to HeadlineTest-v0 instead of drawn ones: real ones, held-out ones, hand-made ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.scenarios.base import require

__all__ = ["GIVEN", "GivenTests"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

GIVEN = (
    "tests",
    "rates",
    "impressions",
    "clicks",
    "horizon",
    "prior_mean",
    "prior_sd",
    "seen_impressions",
    "seen_clicks",
)
"""Names of the options."""


@dataclass(frozen=True)
class GivenTests:
    """True rates, and what else is given of the tests.

    Options by name: ``rates``, or ``impressions`` and ``clicks`` of finished tests, whose observed rates are
    then taken as true; or ``tests``, a `SimulatedTests` with its true rates. The others are optional.

    Attributes:
        rates: (G, A) clicks an impression; NaN where there is no arm (``impressions`` 0 says so, too).
        horizon: (G,) impressions of the allocation, at least 1; as drawn when None.
        prior_mean: (G, A) predicted logit effects of a content prior; 0 when None.
        prior_sd: (G, A) their standard deviations; that of effects when None.
        seen_impressions: (G, A) of an experiment that is already under way; they do not count towards the horizon.
        seen_clicks: (G, A) the same.
    """

    rates: Array
    horizon: Ints | None = None
    prior_mean: Array | None = None
    prior_sd: Array | None = None
    seen_impressions: Ints | None = None
    seen_clicks: Ints | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], most_arms: int) -> GivenTests:
        """Read options of `reset`. Raises `UsageError` for what does not fit."""
        rates = _rates(options)
        g, arms = rates.shape if rates.ndim == 2 else (0, 0)
        known = ~np.isnan(rates)
        require(
            g > 0 and 1 <= arms <= most_arms and bool(known.any(axis=1).all()),
            f"rates: give (G, A) with at most most_arms = {most_arms} arms and one arm or more in every test, "
            f"not {rates.shape}; a larger most_arms in the configuration makes room",
            f"rates：应为 (G, A)，变体不超过 most_arms = {most_arms} 个，且每个测试至少有一个变体；现为 {rates.shape}，"
            "可在配置中增大 most_arms",
        )
        require(
            bool(((rates >= 0) & (rates <= 1))[known].all()),
            "rates lie between 0 and 1, NaN where there is no arm",
            "rates 应在 0 与 1 之间，没有变体处为 NaN",
        )
        shapes = {
            "horizon": (g,),
            "prior_mean": (g, arms),
            "prior_sd": (g, arms),
            "seen_impressions": (g, arms),
            "seen_clicks": (g, arms),
        }
        kept: dict[str, Any] = {}
        for name, shape in shapes.items():
            if options.get(name) is None:
                continue
            kept[name] = np.asarray(options[name], np.float64)
            require(
                kept[name].shape == shape,
                f"{name}: give {shape}, not {kept[name].shape}",
                f"{name}：应为 {shape}，而不是 {kept[name].shape}",
            )
            if not name.startswith("prior"):
                kept[name] = np.nan_to_num(kept[name]).astype(np.int64)
        require(
            bool((kept.get("horizon", np.ones(1)) >= 1).all()),
            "horizon: 1 impression or more",
            "horizon：至少 1 次展示",
        )
        seen, clicked = kept.get("seen_impressions"), kept.get("seen_clicks")
        fits = seen is None and clicked is None
        if seen is not None and clicked is not None:
            fits = bool(((clicked >= 0) & (clicked <= seen)).all())
        require(
            fits,
            "give seen_impressions and seen_clicks together, clicks between 0 and the impressions",
            "请同时给出 seen_impressions 与 seen_clicks，点击数应在 0 与展示数之间",
        )
        return cls(rates, **kept)


def _rates(options: Mapping[str, Any]) -> Array:
    """True rates (G, A) from whichever of the three forms is there."""
    tests = options.get("tests")
    if tests is not None:
        place = np.arange(tests.A) - np.repeat(np.cumsum(tests.sizes) - tests.sizes, tests.sizes)
        out = np.full((tests.G, int(tests.sizes.max())), np.nan)
        out[tests.test, place] = tests.true_rates
        return out
    if options.get("rates") is not None:
        return np.asarray(options["rates"], np.float64)
    require(
        options.get("impressions") is not None and options.get("clicks") is not None,
        "to run given tests, give rates, or impressions and clicks, or tests",
        "要运行给定的测试，请给出 rates，或 impressions 与 clicks，或 tests",
    )
    n, s = np.asarray(options["impressions"], np.float64), np.asarray(options["clicks"], np.float64)
    require(
        n.shape == s.shape and bool(((s >= 0) & (s <= n) | (n == 0)).all()),
        f"clicks: give {n.shape}, between 0 and the impressions",
        f"clicks：应为 {n.shape}，在 0 与展示数之间",
    )
    return np.where(n > 0, s / np.maximum(n, 1.0), np.nan)
