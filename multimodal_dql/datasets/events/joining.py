"""Decisions and the rewards that came later, joined.

The rule, whatever the order in which rows arrive:

- a reward belongs to the decision with its ``event_id`` and counts if ``0 <= its time - the decision's <= wait``;
- later it is late, earlier it is early (clocks disagree), without a decision it is an orphan: counted, not used;
- the first by time wins, the others are duplicates; of equal times the smallest by its parts in order, a missing part
  last; rows that agree in everything count once, and as repeated;
- a decision without such a reward gets the default;
- a decision whose wait had not ended when the data ends is censored: left out, with a reward or without, for those
  with one are not like the others.

Shape letters: ``N`` decisions, ``M`` rewards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from multimodal_dql.datasets.events.ids import hash_texts

__all__ = ["COUNTS", "Joined", "Rewards", "join_rewards"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COUNTS = {
    "rewards": "奖励行",
    "used": "已使用",
    "late": "晚到，未使用",
    "early": "早于决策，未使用",
    "duplicate": "与先到者不同的重复，未使用",
    "repeated": "完全相同的重复，计一次",
    "orphan": "没有对应的决策",
    "of censored decisions": "其决策的等待期未结束，未使用",
    "decisions": "决策",
    "with a reward": "有奖励的决策",
    "default": "取默认值的决策",
    "censored": "等待期未结束而略去的决策",
}
"""What is counted, English -> Chinese. Every reward is one of used to of censored decisions; every decision one of
with a reward, default, censored."""


@dataclass(frozen=True)
class Joined:
    """Rewards of decisions.

    Attributes:
        parts: name -> (N,), NaN where the reward has no such part, and where the decision is censored.
        rewarded: (N,) a reward came in time.
        censored: (N,) the wait had not ended when the data ends.
    """

    parts: dict[str, Array]
    rewarded: Bools
    censored: Bools


class Rewards:
    """Rewards to be joined with decisions, batch by batch; `counts` are complete when all decisions were joined.

    Args:
        event_id: (M,) whose rewards.
        time: (M,) microseconds since 1970.
        parts: name -> (M,), NaN where missing; finite otherwise.
        wait: microseconds a reward may take, inclusive.
        default: name -> value of a decision without a reward; NaN for parts that are not named.
        end: time at which the data ends, microseconds.
    """

    def __init__(
        self,
        event_id: Any,
        time: Ints,
        parts: Mapping[str, Array],
        *,
        wait: int,
        default: Mapping[str, float],
        end: int,
    ) -> None:
        ids = _texts(event_id)
        self.wait, self.end = wait, end
        self.default = {name: float(default.get(name, np.nan)) for name in parts}
        hashes = hash_texts(ids)
        # By id, then time, then parts: the first that is in time wins. NaN sorts last.
        keys = [np.asarray(values, np.float64) for values in reversed(list(parts.values()))]
        order = np.lexsort((*keys, np.asarray(time, np.int64), hashes))
        self._ids, self._hash = ids.take(pa.array(order)), hashes[order]
        self._time = np.asarray(time, np.int64)[order]
        self._parts = {name: np.asarray(values, np.float64)[order] for name, values in parts.items()}
        self._same = _as_before(self._hash, self._time, self._parts)
        self._met = np.zeros(len(order), np.bool_)
        self.counts = dict.fromkeys(COUNTS, 0)
        self.counts["rewards"] = self.counts["orphan"] = len(order)

    def join(self, event_id: Any, time: Ints) -> Joined:
        """The rewards of decisions (N,), no id among them twice, here or in an earlier call."""
        ids, when = _texts(event_id), np.asarray(time, np.int64)
        hashes = hash_texts(ids)
        low = np.searchsorted(self._hash, hashes, "left")
        size = np.searchsorted(self._hash, hashes, "right") - low
        censored = when > self.end - self.wait
        # One entry for each pair of a decision and a reward with its id.
        row = np.repeat(np.arange(len(when)), size)
        at = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size) + np.repeat(low, size)
        if len(row):  # two ids with one hash are still two
            same = pc.equal(ids.take(pa.array(row)), self._ids.take(pa.array(at)))
            same = same.to_numpy(zero_copy_only=False).astype(np.bool_)
            row, at = row[same], at[same]
        late = self._time[at] - when[row] > self.wait
        early = self._time[at] < when[row]
        inside = ~late & ~early & ~censored[row]
        first = np.full(len(when), -1)
        hit = np.flatnonzero(inside)[::-1]
        first[row[hit]] = at[hit]  # the last assignment stays: the first in time
        rewarded = first >= 0
        extra = inside & (first[row] != at)
        self._count(row, at, late, early, censored, extra, rewarded)
        parts = {}
        for name, values in self._parts.items():
            parts[name] = np.where(censored, np.nan, self.default[name])
            parts[name][rewarded] = values[first[rewarded]]
        return Joined(parts, rewarded, censored)

    def _count(
        self, row: Ints, at: Ints, late: Bools, early: Bools, censored: Bools, extra: Bools, rewarded: Bools
    ) -> None:
        # As the row before it in the order, which is then of the same decision and inside too.
        repeated = extra & self._same[at]
        for name, count in (
            ("late", (late & ~censored[row]).sum()),
            ("early", (early & ~censored[row]).sum()),
            ("of censored decisions", censored[row].sum()),
            ("repeated", repeated.sum()),
            ("duplicate", (extra & ~repeated).sum()),
            ("used", rewarded.sum()),
            ("decisions", len(censored)),
            ("with a reward", rewarded.sum()),
            ("censored", censored.sum()),
            ("default", (~rewarded & ~censored).sum()),
            ("orphan", -len(row)),
        ):
            self.counts[name] += int(count)


def join_rewards(
    event_id: Any,
    time: Ints,
    reward_id: Any,
    reward_time: Ints,
    parts: Mapping[str, Array],
    *,
    wait: int,
    default: Mapping[str, float],
    end: int | None = None,
) -> tuple[Joined, dict[str, int]]:
    """Join all at once; arguments as of `Rewards`, `end` by default the latest time of all rows.

    >>> joined, counts = join_rewards(["a", "b"], [0, 5], ["a"], [2], {"click": [1.0]}, wait=3, default={"click": 0})
    >>> joined.parts["click"].tolist(), joined.censored.tolist()
    ([1.0, nan], [False, True])
    """
    times = np.concatenate([np.asarray(time, np.int64), np.asarray(reward_time, np.int64)])
    last = int(times.max(initial=0)) if end is None else end
    rewards = Rewards(
        reward_id, np.asarray(reward_time, np.int64), parts, wait=wait, default=default, end=last
    )
    return rewards.join(event_id, np.asarray(time, np.int64)), rewards.counts


def _as_before(hashes: Any, time: Ints, parts: Mapping[str, Array]) -> Bools:
    """(M,) whether a row is the same as the one before it in everything."""
    same = np.append(False, (hashes[1:] == hashes[:-1]) & (time[1:] == time[:-1]))[: len(hashes)]
    for values in parts.values():
        alike = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        same[1:] &= alike
    return same


def _texts(ids: Any) -> Any:
    """One `pyarrow` string array."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    return ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
