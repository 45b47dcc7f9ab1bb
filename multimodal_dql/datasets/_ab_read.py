"""A file of A/B tests as rows of text: CSV, TSV (both also gzipped) or Parquet."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from contextlib import ExitStack
from pathlib import Path

from multimodal_dql.datasets._faults import shown
from multimodal_dql.datasets._files import open_regular
from multimodal_dql.datasets._refusals import Refusal
from multimodal_dql.datasets._tables import WholeTable, _cannot_open, _read_csv, _read_parquet
from multimodal_dql.errors import ABTestsError, CatalogueError

__all__ = ["read_ab_table"]

_MAX_BYTES = 4 << 30
_MAX_UNPACKED = 2 << 30  # a gzip file may unpack to a thousand times its size
_READERS = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".pq": _read_parquet}


def read_ab_table(path: Path) -> WholeTable:
    """Read all of `path` by its suffix. Raises `ABTestsError` for files that cannot be read as a whole."""
    packed = path.suffix.lower() == ".gz"
    suffix = path.with_suffix("").suffix if packed else path.suffix
    reader = _READERS.get(suffix.lower())
    try:
        fd, _ = open_regular(path, _MAX_BYTES)
    except Refusal as refusal:
        raise _refused(path, refusal) from None
    with ExitStack() as open_files:
        file = open_files.enter_context(os.fdopen(fd, "rb"))
        if reader is None or (packed and reader is _read_parquet):
            name = shown("".join(path.suffixes[-2:]) if packed else path.suffix)
            raise ABTestsError(
                path=path,
                detail=f"'{name}' files are not read; save it as .csv, .csv.gz or .parquet",
                detail_zh=f"不支持扩展名 “{name}”；请存为 .csv、.csv.gz 或 .parquet",
            )
        try:
            return WholeTable.of(reader(path, _unpacked(path, file) if packed else file, open_files))
        except CatalogueError as error:  # raised by the readers that catalogues share
            raise ABTestsError(**error.fields) from None


def _refused(path: Path, refusal: Refusal) -> ABTestsError:
    if refusal.code == "empty":
        return ABTestsError(
            path=path,
            detail="the file is empty; write one row an arm: test, variant, impressions, clicks",
            detail_zh="文件是空的；每个变体写一行：test、variant、impressions、clicks",
        )
    fields = _cannot_open(path, refusal).fields
    swap = {name: str(fields[name]).replace(".jsonl", ".csv.gz") for name in ("detail", "detail_zh")}
    return ABTestsError(**(fields | swap))


def _unpacked(path: Path, file: io.BufferedReader) -> io.BufferedReader:
    """The content of a gzip file, in memory."""
    try:
        with gzip.GzipFile(fileobj=file) as unpacking:
            data = unpacking.read(_MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ABTestsError(
            path=path,
            detail=f"is not a whole gzip file ({shown(error, 60)}); download or pack it again",
            detail_zh=f"不是完整的 gzip 文件（{shown(error, 60)}）；请重新下载或压缩",
        ) from None
    if len(data) > _MAX_UNPACKED:
        raise ABTestsError(
            path=path,
            detail=f"unpacks to more than {_MAX_UNPACKED >> 30} GB; split it into smaller files",
            detail_zh=f"解压后超过 {_MAX_UNPACKED >> 30} GB；请拆成较小的文件",
        )
    return io.BufferedReader(io.BytesIO(data))
