"""The advantages of a trained allocation network, in NumPy: what is left of a `CandidateQNetwork` that sees no content.

Shape letters: ``B`` tests, ``K`` arms, ``R`` features of an arm, ``C`` features of a test, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["AllocationNetwork"]

Float = NDArray[np.float32]

EPSILON = np.float32(1e-5)
ROWS = 512
"""Tests scored at once: what lies between the products stays in the processor's cache."""
LOWEST = np.float32(-1e3)
"""Where `multimodal_dql.network` bounds the maximum over arms."""


@dataclass(frozen=True)
class AllocationNetwork:
    """Weights by layer; see `multimodal_dql.network.CandidateQNetwork`. Features are standardised inside.

    Attributes:
        record_mean: (R,), record_sd: (R,).
        context_mean: (C,), context_sd: (C,).
        fuse: (R, H), fuse_bias: (H,), fuse_gain: (H,), fuse_offset: (H,).
        audience: (C, H), audience_bias, audience_gain, audience_offset: (H,).
        film: (H, 2 H), film_bias: (2 H,).
        own: (H, H), own_bias: (H,).
        siblings: (2 H, H), siblings_bias: (H,).
        set_gain: (H,), set_offset: (H,).
        ahead: (H,).
    """

    record_mean: Float
    record_sd: Float
    context_mean: Float
    context_sd: Float
    fuse: Float
    fuse_bias: Float
    fuse_gain: Float
    fuse_offset: Float
    audience: Float
    audience_bias: Float
    audience_gain: Float
    audience_offset: Float
    film: Float
    film_bias: Float
    own: Float
    own_bias: Float
    siblings: Float
    siblings_bias: Float
    set_gain: Float
    set_offset: Float
    ahead: Float

    @classmethod
    def of(cls, network: Any, adapter: Any) -> Self:
        """From a trained one-member network with the advantage ``whole`` and its `ObservationAdapter`."""
        tensors = {v.path.split("/", 1)[1]: np.asarray(v.numpy()) for v in network.weights}

        def one(name: str) -> Float:
            return np.array(tensors[name][0], np.float32).squeeze()

        h = network.config.hidden
        # Content is never present: its part of the fusion is zero, and so is the flag that says so.
        kernel = one("fuse/kernel")[h + 1 :]
        parts = {
            "record_mean": adapter.record_mean,
            "record_sd": adapter.record_sd,
            "context_mean": adapter.context_mean,
            "context_sd": adapter.context_sd,
            "fuse": kernel,
            "film": one("film/kernel"),
            "film_bias": one("film/bias"),
            "ahead": one("ahead/kernel"),
            "set_gain": one("set_norm/gain"),
            "set_offset": one("set_norm/offset"),
        }
        for name in ("fuse", "audience"):
            parts[f"{name}_gain"], parts[f"{name}_offset"] = (
                one(f"{name}_norm/gain"),
                one(f"{name}_norm/offset"),
            )
        for name in ("audience", "own", "siblings"):
            parts[name] = one(f"{name}/kernel")
        for name in ("fuse", "audience", "own", "siblings"):
            parts[f"{name}_bias"] = one(f"{name}/bias")
        return cls.from_tensors(parts)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Arrays by name, every shape held against the others. Raises ValueError or KeyError."""
        r, h = tensors["fuse"].shape
        c = tensors["audience"].shape[0]
        shapes = {
            **dict.fromkeys(("record_mean", "record_sd"), (r,)),
            **dict.fromkeys(("context_mean", "context_sd"), (c,)),
            "fuse": (r, h),
            "audience": (c, h),
            "film": (h, 2 * h),
            "film_bias": (2 * h,),
            "own": (h, h),
            "siblings": (2 * h, h),
        }
        if set(tensors) != {f.name for f in fields(cls)}:
            raise ValueError("the arrays are not those of an allocation network")
        for name, array in tensors.items():
            if array.shape != shapes.get(name, (h,)) or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.shape}, not {shapes.get(name, (h,))}, or not finite")
        if min(tensors["record_sd"].min(), tensors["context_sd"].min()) <= 0:
            raise ValueError("a standard deviation is not positive")
        return cls(**{name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()})

    def tensors(self) -> dict[str, Float]:
        """The arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def advantages(self, arms: Float, tests: Float, available: NDArray[np.bool_]) -> Float:
        """What sending the next stage to each arm is worth, up to a number that the arms of a test share.

        Args:
            arms: (B, K, R), as `simulation.scenarios.allocation_features.describe` fills it.
            tests: (B, C).
            available: (B, K).

        Returns:
            (B, K), meaningless where not available.
        """
        out = np.empty(available.shape, np.float32)
        for start in range(0, len(arms), ROWS):
            part = slice(start, start + ROWS)
            out[part] = self._advantages(arms[part], tests[part], available[part])
        return out

    def _advantages(self, arms: Float, tests: Float, available: NDArray[np.bool_]) -> Float:
        record = (arms - self.record_mean) / self.record_sd
        context = (tests - self.context_mean) / self.context_sd
        fuse, fuse_bias, audience, audience_bias, own, siblings, set_bias = self._centred
        hidden: Any = _relu(_norm(record @ fuse + fuse_bias, self.fuse_gain, self.fuse_offset))
        heard: Any = _norm(context @ audience + audience_bias, self.audience_gain, self.audience_offset)
        gamma, beta = np.split(_relu(heard) @ self.film + self.film_bias, 2, axis=1)
        hidden *= 1.0 + gamma[:, None]
        hidden += beta[:, None]
        around = np.concatenate(_pool(hidden, available), axis=1) @ siblings + set_bias
        scored = hidden @ own
        scored += around[:, None]
        return np.asarray(_relu(_norm(scored, self.set_gain, self.set_offset)) @ self.ahead)

    @cached_property
    def _centred(self) -> tuple[Float, ...]:
        """Kernels and biases in front of a normalisation, each less its mean over H: what they make has mean 0."""
        before = (self.fuse, self.fuse_bias, self.audience, self.audience_bias, self.own, self.siblings)
        both = self.own_bias + self.siblings_bias
        return tuple(x - x.mean(axis=-1, keepdims=True) for x in (*before, both))


def _pool(hidden: Float, available: NDArray[np.bool_]) -> tuple[Float, Float]:
    """Mean and maximum over the available arms: (B, K, H) to two of (B, H)."""
    if available.all():
        mean, peak = hidden.sum(axis=1) / np.float32(hidden.shape[1]), hidden.max(axis=1)
    else:
        live = available[:, :, None]
        mean = np.where(live, hidden, np.float32(0.0)).sum(axis=1) / live.sum(axis=1, dtype=np.float32)
        peak = np.where(live, hidden, LOWEST).max(axis=1)
    return mean, np.maximum(peak, LOWEST)


def _norm(x: NDArray[Any], gain: Float, offset: Float) -> Float:
    """Layer normalisation over the last axis of what has mean 0 there; in place."""
    x *= 1.0 / np.sqrt(np.einsum("...j,...j->...", x, x)[..., None] / np.float32(x.shape[-1]) + EPSILON)
    x *= gain
    x += offset
    return x


def _relu(x: Float) -> Float:
    return np.maximum(x, 0.0, out=x)
