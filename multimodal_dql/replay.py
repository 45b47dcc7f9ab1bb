"""Replay: past transitions, embeddings by reference (a variant's embedding is never copied into a transition)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Replay", "n_step"]


def n_step(
    reward: NDArray[np.float64], active: NDArray[np.bool_], done: NDArray[np.bool_], discount: float, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sum up to `n` rewards from every step, and say where to bootstrap (Sutton & Barto 2018, eq. 7.1).

    ``G_t = r_t + g r_{t+1} + ... + g^(m-1) r_{t+m-1} + g^m (1 - done) max_a Q(s_{t+m}, a)``, m = n or fewer where
    the session ends.

    Args:
        reward: (S, T).
        active: (S, T) steps that happened.
        done: (S, T) the session ended after this step.
        discount: g.
        n: steps, at least 1.

    Returns:
        the sum (S, T); the factor of the bootstrap (S, T), 0 when the session ended; its step (S, T).
    """
    steps = reward.shape[1]
    total = np.zeros_like(reward, dtype=np.float64)
    factor = np.ones_like(total)
    alive = active.copy()
    column = np.broadcast_to(np.arange(steps), reward.shape)
    at = column.copy()
    for k in range(n):
        index = np.minimum(column + k, steps - 1)
        here = alive & (column + k < steps)
        total += np.where(here, factor * np.take_along_axis(reward, index, 1), 0.0)
        factor = np.where(here, factor * discount, factor)
        at = np.where(here, column + k + 1, at)
        alive = here & ~np.take_along_axis(done, index, 1)
    # Only a chain that is still alive after its last reward has a state to bootstrap from.
    return total, np.where(alive & (at < steps), factor, 0.0), np.minimum(at, steps - 1)


class Replay:
    """A ring of transitions in NumPy arrays, all of one capacity; memory is fixed at construction.

    Args:
        capacity: transitions kept; the oldest is overwritten.
        fields: name -> (shape of one entry, dtype).
    """

    def __init__(self, capacity: int, fields: dict[str, tuple[tuple[int, ...], Any]]) -> None:
        self.capacity = capacity
        self.data = {name: np.zeros((capacity, *shape), dtype) for name, (shape, dtype) in fields.items()}
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def bytes_per_transition(self) -> int:
        """Memory of one transition."""
        return sum(a.nbytes for a in self.data.values()) // self.capacity

    def add(self, batch: dict[str, NDArray[Any]]) -> None:
        """Append a batch, field by field; every array has the batch as its first axis."""
        n = len(next(iter(batch.values())))
        at = (self.added + np.arange(n)) % self.capacity
        for name, store in self.data.items():
            store[at] = batch[name]
        self.added += n

    def state(self) -> dict[str, NDArray[Any]]:
        """The transitions held, by field; not a copy."""
        return {name: store[: len(self)] for name, store in self.data.items()}

    def restore(self, state: Mapping[str, NDArray[Any]], added: int) -> None:
        """Take up where a replay of the same capacity and fields was left.

        Args:
            state: what `state` gave.
            added: transitions ever added, which says where the next one goes.

        Raises:
            ValueError: another field, shape, type or length.
        """
        length = min(added, self.capacity)
        if set(state) != set(self.data) or added < 0:
            raise ValueError("other fields")
        for name, store in self.data.items():
            if state[name].shape != (length, *store.shape[1:]) or state[name].dtype != store.dtype:
                raise ValueError(f"{name}: {state[name].dtype} {state[name].shape}")
        for name, store in self.data.items():
            store[:length] = state[name]
        self.added = added

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        """Draw transitions uniformly with replacement; every field comes as ``shape + entry``."""
        index = rng.integers(0, len(self), size=shape)
        return {name: store[index] for name, store in self.data.items()}
