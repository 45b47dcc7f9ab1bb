"""The advantages of a trained allocation network, in NumPy: what is left of a `CandidateQNetwork` that sees no content.

Shape letters: ``B`` tests, ``K`` arms, ``R`` features of an arm, ``C`` features of a test, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["AllocationNetwork"]

Float = NDArray[np.float32]

EPSILON = np.float32(1e-5)
ROWS = 4096
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
        b, k, r = arms.shape
        live = np.flatnonzero(available)
        rows = ((arms.reshape(-1, r)[live] - self.record_mean) / self.record_sd) @ self.fuse + self.fuse_bias
        hidden: Any = _relu(_norm(rows, self.fuse_gain, self.fuse_offset))
        context = (tests - self.context_mean) / self.context_sd
        audience: Any = context @ self.audience + self.audience_bias
        audience = _relu(_norm(audience, self.audience_gain, self.audience_offset))
        gamma, beta = np.split(audience @ self.film + self.film_bias, 2, axis=1)
        test = live // k
        hidden = hidden * (1.0 + gamma[test]) + beta[test]
        starts = np.searchsorted(test, np.arange(b))
        mean = np.add.reduceat(hidden, starts, axis=0) / available.sum(
            axis=1, keepdims=True, dtype=np.float32
        )
        peak = np.maximum(np.maximum.reduceat(hidden, starts, axis=0), LOWEST)
        around = np.concatenate([mean, peak], axis=1) @ self.siblings + self.siblings_bias
        scored = hidden @ self.own + self.own_bias + around[test]
        out = np.zeros(b * k, np.float32)
        out[live] = _relu(_norm(scored, self.set_gain, self.set_offset)) @ self.ahead
        return out.reshape(b, k)


def _norm(x: NDArray[Any], gain: Float, offset: Float) -> Float:
    """Layer normalisation over the last axis."""
    x = x - x.mean(axis=-1, keepdims=True)
    x *= 1.0 / np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[1]) + EPSILON)
    return np.asarray(x * gain + offset)


def _relu(x: Float) -> Float:
    return np.maximum(x, 0.0, out=x)
