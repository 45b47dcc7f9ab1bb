"""A store of embeddings: memory-mapped, append-only, checked row by row, safe under several processes.

One folder for each encoder (its name, fingerprint and dimension) holds four files::

    rows.f32   float32 rows of `dim` numbers, one after the other
    index.bin  one record for each row, in the same order: 32 bytes key, 16 bytes checksum of key and row
    count.bin  how many of these are valid (8 bytes), and a checksum of that (8 bytes)
    about.json name, dimension and fingerprint, for people

A writer locks the folder, cuts off what a killed writer left half done, appends rows, then their records, then
writes the count: of what is appended together a reader sees all or nothing. A reader takes no lock: a row counts
once the count covers it and its checksum fits, so that damage of any kind makes rows missing, never wrong.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import struct
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.encoders.sources import atomic_write

__all__ = ["KEY_BYTES", "StoreInfo", "VectorStore", "clear_stores", "store_infos"]

KEY_BYTES = 32
_CHECK_BYTES = 16
_RECORD_BYTES = KEY_BYTES + _CHECK_BYTES
_RECORDS_AT_ONCE = 16_384
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class StoreInfo:
    """What one folder of the store holds: `rows` that were written, on `size_bytes` of disk."""

    encoder: str
    fingerprint: str
    dim: int
    rows: int
    size_bytes: int
    folder: Path


class VectorStore:
    """Embeddings of one encoder by content key.

    Args:
        root: folder of all stores; made when the first row is written.
        info: whose embeddings these are; another name or fingerprint is another folder.

    """

    def __init__(self, root: Path, info: EncoderInfo) -> None:
        self.dim = info.dim
        # The name, too: two strangers may both call their first version "1".
        digest = hashlib.sha256(f"{info.name}\n{info.fingerprint}\n{info.dim}".encode()).hexdigest()[:32]
        self.folder = root / digest
        self._info = info
        self._rows = self.folder / "rows.f32"
        self._index = self.folder / "index.bin"
        self._count = self.folder / "count.bin"
        self._places = PlacesByKey()
        self._looking = threading.Lock()  # one thread appends while another asks what is here

    def read(self, keys: Collection[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Key -> vector (dim,) for those of `keys` that are here and whole; of two whole rows the newer one.

        The vectors are views of the memory-mapped file: nothing is loaded before it is used.
        """
        found: dict[bytes, NDArray[np.float32]] = {}
        with self._opened() as (rows, index, n):
            if n == 0:  # an empty file cannot be mapped
                return found
            mapped = np.memmap(self._rows, np.float32, "r", shape=(n, self.dim))
            for key, place in self._whole_places(keys, rows, index):
                found[key] = mapped[place]
        return found

    def holds(self, keys: Collection[bytes]) -> set[bytes]:
        """Those of `keys` that are here and whole. Unlike `read` it maps nothing, so its memory does not grow."""
        with self._opened() as (rows, index, n):
            return {key for key, _ in self._whole_places(keys, rows, index)} if n else set()

    def append(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Adds key -> vector (dim,), all or nothing; durable when this returns.

        What another process has added meanwhile is not added again.
        """
        if not vectors:
            return
        with self._locked():
            here = self.holds(vectors)
            fresh = {key: np.asarray(row, np.float32) for key, row in vectors.items() if key not in here}
            if not fresh:
                return
            block = np.stack(list(fresh.values()))
            rows = block.data.cast("B")
            width = _FLOAT_BYTES * self.dim
            records = b"".join(
                key + _checksum(key, rows[at : at + width])
                for key, at in zip(fresh, range(0, len(rows), width), strict=True)
            )
            n = self._whole()
            _write_at(self._rows, n * width, rows)
            _write_at(self._index, n * _RECORD_BYTES, records)
            _write_at(self._count, 0, _counted(n + len(block)))
            about = self.folder / "about.json"
            if not about.exists():
                facts = {"encoder": self._info.name, "fingerprint": self._info.fingerprint, "dim": self.dim}
                with atomic_write(about) as out:
                    out.write(json.dumps(facts, ensure_ascii=False).encode())

    def _whole(self) -> int:
        """Rows that both files hold in full and that the count covers."""
        try:
            index_bytes, row_bytes = self._index.stat().st_size, self._rows.stat().st_size
        except FileNotFoundError:
            return 0
        n = min(index_bytes // _RECORD_BYTES, row_bytes // (_FLOAT_BYTES * self.dim))
        try:
            counted = self._count.read_bytes()
        except FileNotFoundError:
            return n
        valid = int.from_bytes(counted[:8], "little")
        return min(n, valid) if counted == _counted(valid) else n  # a damaged count counts for nothing

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, int, int]]:
        """Descriptors of rows and index, and how many rows are valid; `_places` knows all of these."""
        n = self._whole()
        if n == 0:
            yield -1, -1, 0
            return
        with self._looking, self._rows.open("rb") as rows, self._index.open("rb") as index:
            self._places.follow(index.fileno(), n)
            yield rows.fileno(), index.fileno(), n

    def _whole_places(self, keys: Collection[bytes], rows: int, index: int) -> Iterator[tuple[bytes, int]]:
        """Those of `keys` that have a whole row, and the number of the newest."""
        width = _FLOAT_BYTES * self.dim
        for key, places in self._places.of(keys):
            for place in places:
                record = os.pread(index, _RECORD_BYTES, place * _RECORD_BYTES)
                if record == key + _checksum(key, os.pread(rows, width, place * width)):
                    yield key, place
                    break

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one writer at a time; the kernel lets go of the lock when a process dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def store_infos(root: Path) -> list[StoreInfo]:
    """What the stores below `root` hold, by encoder name."""
    found = []
    for about in sorted(root.glob("*/about.json")):
        try:
            facts = json.loads(about.read_text("utf-8"))
            encoder, fingerprint, dim = str(facts["encoder"]), str(facts["fingerprint"]), int(facts["dim"])
            rows = (about.parent / "index.bin").stat().st_size // _RECORD_BYTES
            size = sum(file.stat().st_size for file in about.parent.iterdir())
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a folder half written or half deleted
        found.append(StoreInfo(encoder, fingerprint, dim, rows, size, about.parent))
    return sorted(found, key=lambda info: (info.encoder, info.fingerprint))


def clear_stores(root: Path) -> int:
    """Deletes every store below `root`; the bytes given back. Folders that are no store stay."""
    freed = 0
    for index in sorted(root.glob("*/index.bin")):
        freed += sum(file.stat().st_size for file in index.parent.iterdir())
        shutil.rmtree(index.parent, ignore_errors=True)
    return freed


class PlacesByKey:
    """Key -> places in the index, newest first, in 16 bytes a row: only the first 8 bytes of a key are kept, so the
    caller compares the rest.
    """

    def __init__(self) -> None:
        self._forget(None)

    def _forget(self, file: tuple[int, int] | None) -> None:
        self._file, self._known = file, 0
        self._starts, self._sorted = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._recent: dict[int, list[int]] = {}

    def follow(self, index: int, n: int) -> None:
        """Takes in the records up to the `n`-th of the file behind the descriptor `index`."""
        status = os.fstat(index)
        if (status.st_dev, status.st_ino) != self._file or n < self._known:
            self._forget((status.st_dev, status.st_ino))
        while self._known < n:
            many = min(n - self._known, _RECORDS_AT_ONCE)
            block = os.pread(index, many * _RECORD_BYTES, self._known * _RECORD_BYTES)
            many = len(block) // _RECORD_BYTES
            if many == 0:  # cut short at this moment: what is missing is made again
                return
            starts = np.frombuffer(block, np.uint8, many * _RECORD_BYTES).reshape(many, _RECORD_BYTES)
            prefixes = np.ascontiguousarray(starts[:, :8]).view("<u8").ravel()
            for place, prefix in enumerate(prefixes.tolist(), self._known):
                self._recent.setdefault(prefix, []).append(place)
            self._known += many
            if self._known - len(self._sorted) > max(_RECORDS_AT_ONCE, len(self._sorted) // 32):
                self._merge()

    def of(self, keys: Collection[bytes]) -> Iterator[tuple[bytes, list[int]]]:
        """Those of `keys` that may be here, with the places that begin as they do, newest first."""
        prefixes = np.frombuffer(b"".join(key[:8] for key in keys), "<u8")
        low = np.searchsorted(self._starts, prefixes, "left").tolist()
        high = np.searchsorted(self._starts, prefixes, "right").tolist()
        for key, prefix, first, end in zip(keys, prefixes.tolist(), low, high, strict=True):
            places = [*self._sorted[first:end].tolist(), *self._recent.get(prefix, ())]
            if places:
                yield key, places[::-1]

    def _merge(self) -> None:
        recent = [(prefix, place) for prefix, places in self._recent.items() for place in places]
        starts = np.concatenate([self._starts, np.array([prefix for prefix, _ in recent], np.uint64)])
        places = np.concatenate([self._sorted, np.array([place for _, place in recent], np.int64)])
        order = np.argsort(starts, kind="stable")
        self._starts, self._sorted, self._recent = starts[order], places[order], {}


def _checksum(key: bytes, row: bytes | memoryview) -> bytes:
    checked = hashlib.blake2b(key, digest_size=_CHECK_BYTES)
    checked.update(row)
    return checked.digest()


def _counted(n: int) -> bytes:
    """The content of ``count.bin``: small enough to be written in one piece."""
    number = struct.pack("<Q", n)
    return number + hashlib.blake2b(number, digest_size=8).digest()


def _write_at(path: Path, at: int, content: bytes | memoryview) -> None:
    """`content` from byte `at` to the end of the file, whatever was there; durable."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if os.fstat(descriptor).st_size > at + len(content):
            os.ftruncate(descriptor, at + len(content))
        view, done = memoryview(content), 0
        while done < len(content):
            done += os.pwrite(descriptor, view[done:], at + done)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
