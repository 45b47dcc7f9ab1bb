"""A store of embeddings: memory-mapped, append-only, checked row by row, safe under several processes.

One folder for each encoder (its name, fingerprint and dimension) holds three files::

    rows.f32   float32 rows of `dim` numbers, one after the other
    index.bin  one record for each row, in the same order: 32 bytes key, 16 bytes checksum of key and row
    about.json name, dimension and fingerprint, for people

A writer locks the folder, cuts off what a crashed writer left half done, appends rows and then their
records. A reader takes no lock: a row counts once its record is whole and its checksum fits, so that damage
of any kind makes rows missing, never wrong.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
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
_RECORD = np.dtype([("key", np.uint8, (KEY_BYTES,)), ("check", np.uint8, (_CHECK_BYTES,))])
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

    def read(self, keys: Collection[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Key -> vector (dim,) for those of `keys` that are here and whole; of two whole rows the newer one.

        The vectors are views of the memory-mapped file: nothing is loaded before it is used.
        """
        rows, index = self._mapped()
        wanted = set(keys)
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(_record_keys(index)):
            if key in wanted:
                places.setdefault(key, []).append(place)
        found: dict[bytes, NDArray[np.float32]] = {}
        for key, candidates in places.items():
            for place in reversed(candidates):
                if _checksum(key, rows[place]) == index["check"][place].tobytes():
                    found[key] = rows[place]
                    break
        return found

    def append(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Adds key -> vector (dim,); durable when this returns."""
        if not vectors:
            return
        block = np.stack([np.ascontiguousarray(vector, np.float32) for vector in vectors.values()])
        records = np.empty(len(block), _RECORD)
        for record, key, row in zip(records, vectors, block, strict=True):
            record["key"] = np.frombuffer(key, np.uint8)
            record["check"] = np.frombuffer(_checksum(key, row), np.uint8)
        with self._locked():
            with self._rows.open("ab") as rows, self._index.open("ab") as index:
                whole = min(rows.tell() // (_FLOAT_BYTES * self.dim), index.tell() // _RECORD.itemsize)
                _cut(rows.fileno(), whole * _FLOAT_BYTES * self.dim)
                _cut(index.fileno(), whole * _RECORD.itemsize)
                rows.write(block.tobytes())
                rows.flush()
                os.fsync(rows.fileno())
                index.write(records.tobytes())
                index.flush()
                os.fsync(index.fileno())
            about = self.folder / "about.json"
            if not about.exists():
                facts = {"encoder": self._info.name, "fingerprint": self._info.fingerprint, "dim": self.dim}
                with atomic_write(about) as out:
                    out.write(json.dumps(facts, ensure_ascii=False).encode())

    def _mapped(self) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """Rows (n, dim) and records (n,), for as many as both files hold in full."""
        try:
            index_bytes, row_bytes = self._index.stat().st_size, self._rows.stat().st_size
        except FileNotFoundError:
            index_bytes = row_bytes = 0
        n = min(index_bytes // _RECORD.itemsize, row_bytes // (_FLOAT_BYTES * self.dim))
        if n == 0:  # an empty file cannot be mapped
            return np.empty((0, self.dim), np.float32), np.empty(0, _RECORD)
        rows = np.memmap(self._rows, np.float32, "r", shape=(n, self.dim))
        index: NDArray[np.void] = np.memmap(self._index, _RECORD, "r", shape=(n,))
        return rows, index

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
            rows = (about.parent / "index.bin").stat().st_size // _RECORD.itemsize
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


def _record_keys(index: NDArray[np.void]) -> Iterator[bytes]:
    block = 65_536
    for start in range(0, len(index), block):
        keys = np.ascontiguousarray(index["key"][start : start + block]).tobytes()
        yield from (keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))


def _checksum(key: bytes, row: NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(key + row.tobytes(), digest_size=_CHECK_BYTES).digest()


def _cut(descriptor: int, size: int) -> None:
    if os.fstat(descriptor).st_size != size:
        os.ftruncate(descriptor, size)
