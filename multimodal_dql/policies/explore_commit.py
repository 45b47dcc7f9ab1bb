"""Explore, then commit: what a newsroom does when it stops a test and publishes the winner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, Uniform, available_counts, check_option, split_best
from multimodal_dql.state import State

__all__ = ["ExploreCommit"]

Array = NDArray[np.float64]


class ExploreCommit(Policy):
    """Evenly for a share of the horizon, then the candidate of best rate ``s / n`` for good.

    Lattimore and Szepesvari, Bandit Algorithms, 2020, chapter 6; the baseline "explore and commit" of the LOLA paper
    (Marketing Science 2025). Candidates of equal rate share what is left evenly; one never shown counts as rate 0.

    The commitment of an experiment is made in `update`, at the first batch past the exploration, and remembered by
    `State.item`: items must tell experiments apart, and the candidates of one keep their order. A policy that is never
    updated does not commit; it follows the best rate so far, which is explore-then-keep-learning.

    Args:
        explore: share of the horizon; .2 as in the LOLA paper.
        open_horizon: impressions taken as the horizon of an open-ended experiment; 16,000, about the mean of the
            headline tests in the Upworthy archive.
    """

    name = "explore-commit"
    reads_context = False

    def __init__(self, explore: float = 0.2, open_horizon: float = 16_000.0) -> None:
        self.explore = check_option(self.name, "explore", explore, 0.0, 1.0)
        self.open_horizon = check_option(self.name, "open_horizon", open_horizon, 1.0)
        self.reset()

    def reset(self) -> None:
        """Forget every commitment."""
        self._item: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # ascending
        self._share: Array = np.zeros((0, 0))

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        exploring, found, row = self._phase(state)
        out = np.where(exploring[:, None], Uniform().probabilities(state), _best_rate(state))
        width = max(out.shape[1], self._share.shape[1])
        kept = _widen(self._share, width)[row[found], : out.shape[1]] * state.available[found]
        total = kept.sum(axis=1, keepdims=True)
        # A winner that was taken down is succeeded by the best of those left.
        out[found] = np.where(total > 0, kept / np.where(total > 0, total, 1.0), out[found])
        return out

    def update(self, state: State, action: NDArray[np.int64], reward: Array) -> None:
        """Commit the experiments of this batch whose exploration is over. The outcomes are in `State.counts`."""
        exploring, found, _ = self._phase(state)
        new = np.flatnonzero(~exploring & ~found)
        if not len(new):
            return
        # An experiment may stand in a batch more than once: its earliest decision commits it.
        _, _, counts = available_counts(state)
        new = new[np.argsort(counts.elapsed[new], kind="stable")]
        item, first = np.unique(state.item[new], return_index=True)
        share = _best_rate(state)[new[first]]
        width = max(share.shape[1], self._share.shape[1])
        both = np.concatenate([_widen(self._share, width), _widen(share, width)])
        items = np.concatenate([self._item, item])
        order = np.argsort(items)
        self._item, self._share = items[order], both[order]

    def _phase(self, state: State) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
        """Each decision (B,): is it exploring, is its experiment committed, and in which row of the memory."""
        _, _, counts = available_counts(state)
        horizon = np.where(np.isfinite(counts.horizon), counts.horizon, self.open_horizon)
        row = np.searchsorted(self._item, state.item)
        inside = np.minimum(row, max(len(self._item) - 1, 0))
        found = (
            self._item[inside] == state.item if len(self._item) else np.zeros(len(state.item), dtype=np.bool_)
        )
        return (counts.elapsed < self.explore * horizon) & ~found, found, inside


def _best_rate(state: State) -> Array:
    """The candidate of best rate so far, (B, K)."""
    n, s, _ = available_counts(state)
    return split_best(s / np.maximum(n, 1.0), state.available)


def _widen(share: Array, width: int) -> Array:
    """(items, K) to (items, width), padded with zero."""
    return np.pad(share, ((0, 0), (0, width - share.shape[1])))
