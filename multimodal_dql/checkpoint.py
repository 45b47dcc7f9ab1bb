"""Checkpoints of a training: written whole or not at all, checked before anything in them is believed.

A checkpoint is a folder ``checkpoint-00000040`` with one safetensors file for each part and ``manifest.json``, which
holds the size and SHA-256 of every part, and its own. It is written beside its place and renamed into it; files and
folders reach the disk first. The last two are kept, so that an interrupted or failed write never costs the one before.
Nothing is unpickled. Sizes are compared with what the training expects before a file is read into memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from multimodal_dql.errors import CheckpointError
from multimodal_dql.run_file import read_file, sync_folder

__all__ = [
    "CHECKPOINT_VERSION",
    "MANIFEST",
    "PARTS",
    "Checkpoint",
    "checkpoints",
    "latest_checkpoint",
    "read_checkpoint",
    "write_checkpoint",
]

CHECKPOINT_VERSION = 1
PARTS = ("online", "target", "optimizer", "replay")
KEPT = 2
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 1 << 26
"""Bytes. Findings of monitors and random state are some kilobytes."""
HEADER_ALLOWANCE = 1 << 20
"""Bytes of names and shapes that a part may have beside its numbers."""
_NAME = re.compile(r"checkpoint-(\d{8})")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an iteration.

    Attributes:
        iteration: iterations done.
        facts: JSON values: settings, random state, position of the metrics, what monitors remember.
        arrays: ``part/name`` -> array, the part one of `PARTS`.
    """

    iteration: int
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first; half-written ones do not count."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), reverse=True)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into `folder`, and remove all older ones but the last.

    Raises:
        OSError: it could not be written. Older checkpoints are as they were, and nothing of this one is left.
    """
    from safetensors.numpy import save as to_bytes

    place = folder / f"checkpoint-{checkpoint.iteration:08d}"
    beside = folder / f".{place.name}.{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        parts = {}
        for part in PARTS:
            data = to_bytes(
                {n: a for n, a in checkpoint.arrays.items() if n.startswith(f"{part}/")}
            )  # the names keep their part: none can be taken for another's
            _write(beside / f"{part}.safetensors", data)
            parts[part] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        body = {"iteration": checkpoint.iteration, "parts": parts, "facts": dict(checkpoint.facts)}
        manifest = {"checkpoint_version": CHECKPOINT_VERSION, "sha256": _digest(body), "body": body}
        _write(beside / MANIFEST, json.dumps(manifest).encode())
        sync_folder(beside)
        _move(beside, place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _clean(folder, place)
    return place


def _move(beside: Path, place: Path) -> None:
    """Rename a finished folder into its place; what was there is a refused one of the same iteration."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    beside.rename(place)
    sync_folder(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _clean(folder: Path, newest: Path) -> None:
    """Remove what is not needed once `newest` is on the disk; failing to is no reason to stop a training."""
    older = [p for p in checkpoints(folder) if p.name <= newest.name]
    half = [p for p in folder.iterdir() if p.name.startswith(".checkpoint-")]
    for path in (*older[KEPT:], *half):
        shutil.rmtree(path, ignore_errors=True)


def latest_checkpoint(folder: Path, limit: int) -> tuple[Checkpoint | None, list[CheckpointError]]:
    """The newest checkpoint that can be trusted, and why newer ones cannot.

    Args:
        folder: of the checkpoints.
        limit: as in `read_checkpoint`.
    """
    refused: list[CheckpointError] = []
    for path in checkpoints(folder):
        try:
            return read_checkpoint(path, limit), refused
        except CheckpointError as error:
            refused.append(error)
    return None, refused


def read_checkpoint(path: Path, limit: int) -> Checkpoint:
    """Read a checkpoint, or say in one line why it is refused.

    Args:
        path: its folder.
        limit: bytes of numbers that a part may hold at most.

    Raises:
        CheckpointError: it is incomplete, cut short, altered, too large or from a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    with _refusing(path):
        manifest = path / MANIFEST
        data = json.loads(read_file(manifest, LARGEST_MANIFEST))
        version = data["checkpoint_version"]
        if isinstance(version, int) and version > CHECKPOINT_VERSION:
            raise CheckpointError(
                path=path,
                detail=f"was written by a newer version (format {version}, this one reads up to {CHECKPOINT_VERSION}); "
                "upgrade multimodal-dql",
                detail_zh=f"由更新的版本写成（格式 {version}，当前最多支持 {CHECKPOINT_VERSION}）；"
                "请升级 multimodal-dql",
            )
        body = data["body"]
        if version != CHECKPOINT_VERSION or data["sha256"] != _digest(body):
            raise ValueError("its manifest was altered")
        arrays: dict[str, NDArray[Any]] = {}
        for part in PARTS:
            file, told = path / f"{part}.safetensors", body["parts"][part]
            size = file.stat().st_size
            if size != told["bytes"]:
                raise ValueError(f"{file.name} has {size} bytes, not {told['bytes']}")
            if size > limit + HEADER_ALLOWANCE:
                raise ValueError(f"{file.name} is larger than this training can need")
            content = read_file(file, limit + HEADER_ALLOWANCE)
            if hashlib.sha256(content).hexdigest() != told["sha256"]:
                raise ValueError(f"{file.name} was altered")
            try:
                found = from_bytes(content)
            except SafetensorError as error:
                raise ValueError(f"{file.name} is no safetensors file") from error
            if not all(name.startswith(f"{part}/") for name in found):
                raise ValueError(f"{file.name} holds something else")
            arrays |= found
        return Checkpoint(int(body["iteration"]), dict(body["facts"]), arrays)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what can go wrong with a file into one line."""
    try:
        yield
    # RecursionError: a thousand brackets; OverflowError: Infinity as a number.
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, FileNotFoundError):
            found = f"{Path(str(error.filename)).name} is missing"
        elif isinstance(error, OSError):
            found = error.strerror or "it cannot be read"
        elif isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            found = "its manifest is cut short"
        elif isinstance(error, ValueError):
            found = str(error)
        else:
            found = "its manifest is no manifest"
        raise CheckpointError(
            path=path,
            detail=f"cannot be resumed from: {found}",
            detail_zh=f"无法用来继续训练：{found}",
        ) from error


def _digest(body: Any) -> str:
    """Of a manifest's body, however it was written down."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
