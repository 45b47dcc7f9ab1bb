"""The UCI Mushroom table: 22 categorical columns a mushroom, and whether it is poisonous.

Source: Mushroom (1981), UCI Machine Learning Repository, https://doi.org/10.24432/C5959T, CC BY 4.0. Not shipped here.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["FILES", "Mushrooms", "read_mushrooms"]

FILES = ("mushroom.data.gz", "mushroom.data", "agaricus-lepiota.data")
"""Names under which the table is looked for, in the folder itself and in a folder ``mushroom`` in it."""
COLUMNS = 22


@dataclass(frozen=True)
class Mushrooms:
    """The table, one-hot.

    Attributes:
        features: (N, D) float32 of 0 and 1, 22 ones a row; D is 117 for the whole table.
        poisonous: (N,).
    """

    features: NDArray[np.float32]
    poisonous: NDArray[np.bool_]


def read_mushrooms(path: Path) -> Mushrooms:
    """Read the table from a file, or from a folder that holds it under one of the names in `FILES`.

    The first column is ``e`` (edible) or ``p`` (poisonous), the others are categories; a question mark is one of them.

    Raises:
        UsageError: there is no such file, or a row that is none.
    """
    file = _find(path)
    rows = [line.split(",") for line in _text(file).splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != COLUMNS + 1 or row[0] not in ("e", "p"):
            raise UsageError(
                detail=f"{file}, line {number}: a row is e or p and {COLUMNS} categories, separated by commas; "
                "download the file again",
                detail_zh=f"{file} 第 {number} 行：每行应为 e 或 p 加 {COLUMNS} 个以逗号分隔的类别；请重新下载该文件",
            )
    if not rows:
        raise UsageError(
            detail=f"{file} is empty; download it again", detail_zh=f"{file} 是空文件；请重新下载"
        )
    table = np.array(rows)
    hot = [column[:, None] == np.unique(column) for column in table[:, 1:].T]
    return Mushrooms(np.concatenate(hot, axis=1).astype(np.float32), table[:, 0] == "p")


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for folder in (path, path / "mushroom"):
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
    raise UsageError(
        detail=f"{path} holds no {FILES[-1]} or {FILES[0]}; `datasets show mushroom` says how to get it",
        detail_zh=f"{path} 中没有 {FILES[-1]} 或 {FILES[0]}；`datasets show mushroom` 说明如何获取",
    )


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UsageError(
            detail=f"{file} cannot be read ({error}); download it again",
            detail_zh=f"无法读取 {file}（{error}）；请重新下载",
        ) from None
