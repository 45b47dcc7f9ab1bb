"""The files of a run directory, read without trust and without any library.

What ``config.json`` says is not checked here: `multimodal_dql.run_config` checks all of it,
`multimodal_dql.decider_file`, which must load fast, the part that it needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_dql.errors import RunError

__all__ = [
    "HASHES",
    "LAYER",
    "SCHEMA_VERSION",
    "WEIGHTS",
    "incomplete",
    "read_file",
    "read_settings",
    "read_tensors",
    "sync_folder",
    "write_file",
    "write_run",
]

SCHEMA_VERSION = 2
WEIGHTS, LAYER = "weights.safetensors", "last_layer.safetensors"
HASHES = {WEIGHTS: "weights_sha256", LAYER: "last_layer_sha256"}
"""Where the configuration holds the hash of a file of tensors."""
LARGEST_FILE = 1 << 30
"""Bytes of a file in a run directory; a run over a hundred thousand stories stays far below."""


def read_settings(folder: Path) -> dict[str, Any]:
    """``config.json`` as it is, of a version that this package reads. Raises `RunError`."""
    if not (folder / "config.json").is_file():
        raise RunError(
            path=folder,
            detail="is not a run directory (no config.json); make one with: multimodal-dql train CATALOGUE --out RUN",
            detail_zh="不是运行目录（没有 config.json）；请先执行：multimodal-dql train CATALOGUE --out RUN",
        )
    try:
        data: dict[str, Any] = json.loads(read_file(folder / "config.json"))
        version = int(data["schema_version"])
    # RecursionError: a thousand brackets; OverflowError: Infinity as a version.
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise incomplete(folder, "") from error
    if version > SCHEMA_VERSION:
        raise RunError(
            path=folder,
            detail=f"was written by a newer version (schema {version}, this one reads up to {SCHEMA_VERSION}); "
            "upgrade multimodal-dql",
            detail_zh=f"由更新的版本写成（架构 {version}，当前最多支持 {SCHEMA_VERSION}）；请升级 multimodal-dql",
        )
    return data


def read_file(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """A file of a run directory. Raises OSError when it is missing, ValueError when it is no ordinary file or huge."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode) or info.st_size > largest:
        raise ValueError("not an ordinary file of reasonable size")
    return path.read_bytes()


def read_tensors(folder: Path, name: str, sha256: str) -> bytes:
    """A file that the configuration vouches for, in its place or not yet. Raises OSError or ValueError."""
    for path in (_new(folder, name), folder / name):
        if path.name == name or path.exists():
            data = read_file(path)
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
    raise ValueError("hash")


def write_run(folder: Path, files: Mapping[str, bytes], config: bytes) -> None:
    """Write files of tensors beside the old ones, the configuration that holds their hashes, then rename the files.

    Interrupted at any moment, the folder still holds a whole run: the old one or the new one.

    Args:
        folder: of the run.
        files: by name, each one of `HASHES`.
        config: ``config.json``.
    """
    _settle(folder)
    for name, data in files.items():
        write_file(_new(folder, name), data)
    write_file(folder / "config.json", config)
    for name in files:
        _new(folder, name).replace(folder / name)
    sync_folder(folder)


def _new(folder: Path, name: str) -> Path:
    """Where a file is until the configuration that vouches for it is in place."""
    return folder / f".{name}.new"


def _settle(folder: Path) -> None:
    """Finish a write that was interrupted just before its last steps, or drop what it left."""
    for name, key in HASHES.items():
        new = _new(folder, name)
        if not new.exists():
            continue
        try:
            sha256 = json.loads(read_file(folder / "config.json"))[key]
            whole = hashlib.sha256(read_file(new)).hexdigest() == sha256
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if whole:
            new.replace(folder / name)
        else:
            new.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write to a neighbour, then rename: a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def incomplete(folder: Path, found: str) -> RunError:
    """A configuration that does not hold what it must, with what was found."""
    # What was found may quote the file; keep it short and printable.
    told = "".join(c if c.isprintable() else "?" for c in found.removeprefix("Value error, "))[:160]
    told = f" ({told})" if told else ""
    return RunError(
        path=folder / "config.json",
        detail=f"is not a complete configuration{told}; copy the run again or train anew",
        detail_zh=f"配置不完整{told}；请重新复制该运行或重新训练",
    )
