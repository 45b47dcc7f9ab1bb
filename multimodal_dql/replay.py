"""Replay: past transitions, embeddings by reference (a variant's embedding is never copied into a transition)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.learning.graph_replay import GraphReplay, PriorityConfig

__all__ = ["PrioritisedReplay", "Replay", "n_step"]


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
    def nbytes(self) -> int:
        """Memory of all."""
        return sum(a.nbytes for a in self.data.values())

    @property
    def bytes_per_transition(self) -> int:
        """Memory of one transition."""
        return self.nbytes // self.capacity

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


class PrioritisedReplay:
    """A replay that draws in proportion to the TD error (`GraphReplay`); arguments as of `Replay`, and the seed."""

    def __init__(
        self, capacity: int, fields: Mapping[str, tuple[tuple[int, ...], Any]], seed: int = 0
    ) -> None:
        self.graph = GraphReplay(capacity, fields, priority=PriorityConfig(), seed=seed)
        self.nbytes = sum(array.nbytes for array in self.state().values())

    def __len__(self) -> int:
        return int(self.graph.size)

    @property
    def added(self) -> int:
        """Transitions ever added."""
        return int(self.graph.added)

    def add(self, batch: dict[str, NDArray[Any]]) -> None:
        """Append a batch, field by field, at the highest priority so far."""
        self.graph.add(batch)

    def draw(self, count: int, correction: float) -> tuple[dict[str, NDArray[Any]], Any]:
        """A batch with its importance weights as the field ``importance``, and its places.

        Args:
            count: B.
            correction: b of the importance weights.
        """
        drawn = self.graph.sample(count, correction=correction)
        rows = {name: array.numpy() for name, array in drawn.rows.items()}
        return rows | {"importance": drawn.weight.numpy()}, drawn.index

    def set_priorities(self, index: Any, size: NDArray[np.float32]) -> None:
        """Give the transitions at `index` (B,) the priority of a TD error of `size` (B,)."""
        self.graph.set_priorities(index, size)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that later draws depend on, by name."""
        return {name: np.array(variable.numpy()) for name, variable in self.graph.state.items()}

    def restore(self, state: Mapping[str, NDArray[Any]], added: int) -> None:
        """Take up where a replay of the same capacity and fields was left. Raises ValueError as `Replay.restore`."""
        variables = self.graph.state
        if set(state) != set(variables) or int(state["added"]) != added:
            raise ValueError("other fields")
        for name, variable in variables.items():
            if state[name].shape != tuple(variable.shape) or state[name].dtype != variable.numpy().dtype:
                raise ValueError(f"{name}: {state[name].dtype} {state[name].shape}")
        for name, variable in variables.items():
            variable.assign(state[name])
