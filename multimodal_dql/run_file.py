"""The files of a run directory, read without trust and without any library.

What ``config.json`` says is not checked here: `multimodal_dql.run_config` checks all of it,
`multimodal_dql.decider_file`, which must load fast, the part that it needs.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from multimodal_dql.errors import RunError

__all__ = ["SCHEMA_VERSION", "incomplete", "read_file", "read_settings"]

SCHEMA_VERSION = 1
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


def read_file(path: Path) -> bytes:
    """A file of a run directory. Raises OSError when it is missing, ValueError when it is no ordinary file or huge."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode) or info.st_size > LARGEST_FILE:
        raise ValueError("not an ordinary file of reasonable size")
    return path.read_bytes()


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
