"""From the observations of a scenario to the inputs of `CandidateQNetwork`.

Every scenario tells what it knows as a dict of arrays: some by candidate, some of the whole decision, and a mask of
actions. Shape letters: ``N`` environments, ``A`` actions, ``K`` candidates (A, or A / 2 when each can be shown or
retired), ``P`` content width, ``R`` features of an action, ``C`` features of the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["ObservationAdapter"]

Floats = NDArray[np.float32]
SMALLEST_SD = 1e-3
"""A feature that hardly moves is not blown up."""


@dataclass(frozen=True)
class ObservationAdapter:
    """Arrays by name in, network inputs out; features of actions and decisions are standardised.

    ``content`` (K, P) and ``present`` (K, E) keep their meaning, several encoders count as one. Every other array
    with a row for each candidate is a feature of the candidate, every array without is a feature of the decision. With
    twice as many actions as candidates, action ``K + k`` does something else with candidate k: it has the same
    features, and one more that says so.

    Attributes:
        by_candidate: names of the features of candidates, sorted.
        by_decision: names of the features of decisions, sorted.
        content_width: P, at least 1; zeros where a scenario shows no content.
        actions: A.
        repeats: A / K, 1 or 2.
        record_mean: (R,).
        record_sd: (R,).
        context_mean: (C,).
        context_sd: (C,).
    """

    by_candidate: tuple[str, ...]
    by_decision: tuple[str, ...]
    content_width: int
    actions: int
    repeats: int
    record_mean: Floats
    record_sd: Floats
    context_mean: Floats
    context_sd: Floats

    @classmethod
    def fit(cls, samples: Sequence[Mapping[str, NDArray[Any]]]) -> ObservationAdapter:
        """From observations of a vector environment, (N, ...) each, as random actions meet them.

        Raises `UsageError` for observations that do not have the form that the class describes.
        """
        first = samples[0]
        actions = first["mask"].shape[1] if "mask" in first else 0
        names = sorted(name for name in first if name not in ("mask", "content", "present"))
        wide = tuple(name for name in names if first[name].ndim == 3)
        narrow = tuple(name for name in names if first[name].ndim == 2)
        rows = {first[name].shape[1] for name in (*wide, "content") if name in first}
        if (
            len(rows) != 1
            or actions not in (max(rows), 2 * max(rows))
            or len(wide) + len(narrow) < len(names)
        ):
            raise UsageError(
                detail="observations: give a mask (A,), arrays with one row for each of A or A / 2 candidates, and plain "
                f"vectors; these are { {name: array.shape[1:] for name, array in first.items()} }",
                detail_zh="观测：需要掩码 (A,)、每个候选一行（A 行或 A/2 行）的数组以及一维向量；"
                f"现为 { {name: array.shape[1:] for name, array in first.items()} }",
            )
        width = first["content"].shape[2] if "content" in first else 1
        plain = cls(wide, narrow, width, actions, actions // max(rows), *(np.zeros(0, np.float32),) * 4)
        record = np.concatenate([plain._record(o)[o["mask"] > 0] for o in samples])
        context = np.concatenate([plain._context(o) for o in samples])
        found = []
        for table in (record, context):
            sd = table.std(axis=0)
            found += [table.mean(axis=0), np.where(sd < SMALLEST_SD, 1.0, sd).astype(np.float32)]
        return cls(wide, narrow, width, actions, actions // max(rows), *found)

    def inputs(self, told: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the network takes, (N, A, ...) and (N, C); see the class."""
        n, a = told["mask"].shape
        content = np.zeros((n, a, self.content_width), np.float32)
        present = np.zeros((n, a, 1), np.float32)
        if "content" in told:
            content[:] = self._repeat(told["content"])
            seen = told["present"].max(axis=2, keepdims=True) if "present" in told else np.float32(1.0)
            present[:] = self._repeat(seen) if np.ndim(seen) else seen
        return {
            "content": content,
            "present": present,
            "record": (self._record(told) - self.record_mean) / self.record_sd,
            "context": (self._context(told) - self.context_mean) / self.context_sd,
            "available": told["mask"] > 0,
        }

    def _record(self, told: Mapping[str, NDArray[Any]]) -> Floats:
        n, a = told["mask"].shape
        parts = [self._repeat(told[name]) for name in self.by_candidate]
        if self.repeats > 1:
            parts.append(np.broadcast_to((np.arange(a) >= a // 2)[None, :, None], (n, a, 1)))
        if not parts:
            parts.append(np.zeros((n, a, 1)))
        return np.concatenate(parts, axis=2, dtype=np.float32)

    def _context(self, told: Mapping[str, NDArray[Any]]) -> Floats:
        n = len(told["mask"])
        parts = [told[name] for name in self.by_decision] or [np.zeros((n, 1))]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _repeat(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([array, array], axis=1) if self.repeats > 1 else array
