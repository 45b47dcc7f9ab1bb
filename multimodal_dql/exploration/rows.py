"""The rows that posteriors learn from, at most so many, numbered from the first ever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Observations"]


class Observations:
    """Rows that a posterior learns from: features (F,), the candidate's number, the reward; at most `capacity`.

    Rows are numbered from the first ever; the oldest quarter is dropped when the store is full, which bounds memory
    at ``capacity * (4 F + 12)`` bytes.
    """

    def __init__(self, width: int, capacity: int) -> None:
        self.capacity = capacity
        self.x = np.zeros((min(1024, capacity), width), np.float32)
        self.own = np.zeros(len(self.x), np.int32)
        self.reward = np.zeros(len(self.x))
        self.dropped = 0
        self.kept = 0

    @property
    def total(self) -> int:
        """Rows ever seen."""
        return self.dropped + self.kept

    def append(self, x: NDArray[np.float32], own: int, reward: float) -> None:
        """Add a row."""
        if self.kept == len(self.x):
            self._make_room()
        self.x[self.kept], self.own[self.kept], self.reward[self.kept] = x, own, reward
        self.kept += 1

    def rows(self, start: int, stop: int | None = None) -> slice:
        """Rows `start` to `stop` of all time that are still kept, as a slice of the arrays."""
        last = self.total if stop is None else stop
        return slice(max(start - self.dropped, 0), max(last - self.dropped, 0))

    def _make_room(self) -> None:
        if len(self.x) < self.capacity:
            size = min(2 * len(self.x), self.capacity)
            self.x = np.resize(self.x, (size, self.x.shape[1]))
            self.own, self.reward = np.resize(self.own, size), np.resize(self.reward, size)
            return
        gone = max(self.capacity // 4, 1)
        for array in (self.x, self.own, self.reward):
            array[: self.kept - gone] = array[gone : self.kept].copy()
        self.kept -= gone
        self.dropped += gone
