"""Whether an id was met before, exactly and in bounded memory, however many there are.

A 64-bit hash stands for an id: among 100 million different ids two share one with a chance of 1 in 3,700.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Seen", "hash_texts"]

Hashes = NDArray[np.uint64]
Bools = NDArray[np.bool_]

LONG = 256
"""Bytes of an id from which on it is hashed by itself."""
IN_MEMORY = 1 << 23
"""Hashes kept in memory: 64 MB, twice that while runs are merged."""
RECENT = 1 << 20
"""Of the hashes beyond, how many of the latest are kept too."""
PARTS = 64


def hash_texts(texts: Any) -> Hashes:
    """A hash of each text of a `pyarrow` string array, (N,), eight bytes of all texts at a time.

    Every step maps the state one to one, so that texts of one length that differ in one word never meet.
    """
    _, offsets, data = texts.buffers()
    at = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    length, start = np.diff(at), at[:-1] - (at[0] if len(at) else 0)
    held = np.frombuffer(data, np.uint8)[at[0] : at[-1]] if data is not None else np.zeros(0, np.uint8)
    padded = np.concatenate([held, np.zeros(8, np.uint8)])
    words = np.ndarray(shape=(len(padded) - 7,), dtype="<u8", buffer=padded.data, strides=(1,))
    out = _mixed(length.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    long = np.flatnonzero(length > LONG)
    rest = np.where(length > LONG, 0, length)
    for k in range(0, int(rest.max(initial=0)), 8):
        here = np.flatnonzero(rest > k)
        bits = (8 * np.minimum(rest[here] - k, 8)).astype(np.uint64)
        word = words[start[here] + k] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - bits))
        out[here] = _mixed(out[here] ^ word)
    for i in long.tolist():
        text = held[start[i] : start[i] + length[i]].tobytes()
        out[i] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return out


def _mixed(h: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014), a bijection."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(h ^ (h >> np.uint64(31)))


class _Runs:
    """A set of hashes as sorted runs, each at least twice as long as the next: merging costs log N a hash."""

    def __init__(self) -> None:
        self.runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self.runs)

    def has(self, ordered: Hashes) -> Bools:
        out = np.zeros(len(ordered), np.bool_)
        for run in self.runs:
            at = np.searchsorted(run, ordered)
            out |= run[np.minimum(at, len(run) - 1)] == ordered
        return out

    def add(self, ordered: Hashes) -> None:
        if not len(ordered):
            return
        self.runs.append(ordered)
        while len(self.runs) > 1 and 2 * len(self.runs[-1]) > len(self.runs[-2]):
            merged = np.concatenate([self.runs.pop(), self.runs.pop()])
            merged.sort()  # in place: the parts are gone by now
            self.runs.append(merged)


class Seen:
    """Hashes met so far; use it in a ``with`` block, for its temporary files.

    The first `limit` are kept in memory, and repeats of them found at once. Later ones go to temporary files, and of
    them the latest stay in memory: a repeat among them that is not close by shows only in `far_repeats`, at the end.

    Args:
        limit: hashes in memory.
        recent: of the others, how many of the latest.
    """

    def __init__(self, limit: int = IN_MEMORY, recent: int = RECENT) -> None:
        self.limit, self.recent = limit, recent
        self._kept, self._new, self._old = _Runs(), _Runs(), _Runs()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._parts: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._parts:
            file.close()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, hashes: Hashes) -> Bools:
        """Remember `hashes` (N,), and say which were met before, (N,), here or in the same call."""
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        repeated = np.append(False, ordered[1:] == ordered[:-1])[: len(ordered)]
        for known in (self._kept, self._new, self._old):
            repeated |= known.has(ordered)
        fresh = ordered[~repeated]
        if not self._parts and len(self._kept) + len(fresh) <= self.limit:
            self._kept.add(fresh)
        elif len(fresh):
            self._spill(fresh)
        out = np.zeros(len(hashes), np.bool_)
        out[order] = repeated
        return out

    def _spill(self, ordered: Hashes) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="multimodal-dql-")
            self._parts = [(Path(self._folder.name) / str(k)).open("w+b") for k in range(PARTS)]
        edges = np.searchsorted(ordered >> np.uint64(58), np.arange(PARTS + 1, dtype=np.uint64))
        for k, file in enumerate(self._parts):
            file.write(ordered[edges[k] : edges[k + 1]].tobytes())
        self._new.add(ordered)
        if len(self._new) >= self.recent:
            self._old, self._new = self._new, _Runs()

    def far_repeats(self) -> int:
        """Repeats that `add` could not see."""
        count = 0
        for file in self._parts:
            file.seek(0)
            held = np.frombuffer(file.read(), np.uint64)
            count += len(held) - len(np.unique(held))
        return count
