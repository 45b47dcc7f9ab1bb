"""Who a candidate is: numbered when it is first shown, known by its content alone before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Acquaintance"]

KEPT = 65_536
"""Candidates whose noise is kept; beyond, it is drawn again from the same key."""


class Acquaintance:
    """Numbers for the candidates that were shown, and noise for those that were not.

    A candidate is its content: the same vector is the same candidate, wherever it stands.

    Args:
        samples: S.
        seed: of the noise.
        most: candidates that may get a number; the last number is shared by all further ones.
    """

    def __init__(self, samples: int, seed: int, most: int = 4096) -> None:
        self.samples, self.seed, self.most = samples, seed, most
        self.number: dict[bytes, int] = {}
        self._noise: dict[bytes, NDArray[np.float32]] = {}

    @staticmethod
    def keys(content: NDArray[np.float32]) -> list[bytes]:
        """One key a candidate of (K, P)."""
        rows = np.ascontiguousarray(content, np.float32)
        return [row.tobytes() for row in rows]

    def known(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Numbers (K,), -1 for a candidate that was never shown."""
        return np.array([self.number.get(key, -1) for key in keys], dtype=np.int64)

    def noise(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Standard normal numbers (K, S), always the same for the same candidate."""
        return np.stack([self._draw(key) for key in keys])

    def meet(self, key: bytes) -> int:
        """The number of a candidate that is shown, a new one if need be."""
        found = self.number.get(key)
        if found is None:
            found = min(len(self.number), self.most - 1)
            self.number[key] = found
        return found

    def _draw(self, key: bytes) -> NDArray[np.float32]:
        kept = self._noise.get(key)
        if kept is None:
            word = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
            rng = np.random.Generator(np.random.Philox(key=[self.seed, word]))
            kept = rng.standard_normal(self.samples, dtype=np.float32)
            if len(self._noise) >= KEPT:
                self._noise.pop(next(iter(self._noise)))
            self._noise[key] = kept
        return kept
