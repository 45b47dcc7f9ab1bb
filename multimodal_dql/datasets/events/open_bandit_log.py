"""The Open Bandit Dataset as a log of decisions; `multimodal_dql.datasets.open_bandit` has it as arrays.

A campaign is the story, its items are the candidates, the policy is named by the folder above the campaign's. The
position of a recommendation was not chosen and belongs to the context (``position``, 1 to 3), as do the user features.
Affinities between user and item are left out: a context has no values for single candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyarrow import csv

from multimodal_dql.datasets.events.columns import cast_column
from multimodal_dql.datasets.events.importing import Part
from multimodal_dql.datasets.events.schema import Note, refused
from multimodal_dql.datasets.open_bandit import ITEMS, find_tables

__all__ = ["OpenBanditImporter"]

BLOCK = 1 << 24
"""Bytes of a table at a time."""
_NAMES = {"timestamp": "time", "item_id": "action", "propensity_score": "probability", "click": "click"}


class OpenBanditImporter:
    """See the module. Paths are folders of one campaign, or its tables of decisions."""

    reasons_zh: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self._affinities = 0

    def notes(self) -> list[Note]:
        """What was not taken over."""
        if not self._affinities:
            return []
        return [
            Note(
                f"{self._affinities} columns of affinities between user and item were left out",
                f"略去了 {self._affinities} 列用户与商品的亲和度",
            )
        ]

    def parts(self, path: Path) -> Iterator[Part]:
        """The rows of one campaign in the order of the file."""
        table, items = find_tables(path if path.is_dir() else path.parent)
        if not path.is_dir():
            table = path
        campaign, policy = table.parent.name, table.parent.resolve().parent.name
        candidates = self._items(items)
        start = 0
        try:
            with csv.open_csv(
                table, csv.ReadOptions(block_size=BLOCK), convert_options=_texts(table)
            ) as reader:
                self._affinities = sum("affinity" in name for name in reader.schema.names)
                for batch in reader:
                    yield self._part(table, batch, campaign, policy, candidates, start)
                    start += batch.num_rows
        except (OSError, EOFError, pa.ArrowException) as error:
            raise refused(
                table,
                "cannot be read as a table of the Open Bandit Dataset, or is damaged; download it again",
                "无法作为 Open Bandit 数据集的表读取，或已损坏；请重新下载",
            ) from error

    def _items(self, path: Path) -> list[str]:
        """Names of the candidates."""
        try:
            table = csv.read_csv(path)
            return [str(item) for item in table["item_id"].to_pylist()]
        except (OSError, EOFError, KeyError, pa.ArrowException) as error:
            raise refused(path, f"is no {ITEMS}; download it again", f"不是 {ITEMS}；请重新下载") from error

    def _part(
        self, path: Path, batch: Any, campaign: str, policy: str, candidates: list[str], start: int
    ) -> Part:
        n, names = batch.num_rows, batch.schema.names
        lacking = [name for name in (*_NAMES, "position") if name not in names]
        if lacking:
            raise refused(
                path,
                f"lacks {', '.join(lacking)}; download it again",
                f"缺少列 {'、'.join(lacking)}；请重新下载",
            )
        arrays = {new: cast_column(path, new, batch.column(old))[0] for old, new in _NAMES.items()}
        told = ["position", *(name for name in names if name.startswith("user_feature"))]
        values = pa.concat_arrays([batch.column(name).cast(pa.string()) for name in told])
        across = (np.arange(n)[:, None] + np.arange(len(told)) * n).ravel()
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * len(told))
        arrays["context"] = pa.MapArray.from_arrays(
            offsets, pa.array(told * n, pa.string()), values.take(pa.array(across))
        )
        every = pa.array(candidates, pa.string()).take(pa.array(np.tile(np.arange(len(candidates)), n)))
        arrays["candidates"] = pa.ListArray.from_arrays(
            pa.array(np.arange(n + 1, dtype=np.int32) * len(candidates)), every
        )
        arrays["event_id"] = pa.array([f"{policy}-{campaign}-{start + i}" for i in range(n)], pa.string())
        arrays["item_id"] = pa.array([campaign] * n, pa.string())
        arrays["policy"] = pa.array([policy] * n, pa.string())
        return Part(pa.Table.from_arrays(list(arrays.values()), names=list(arrays)), n)


def _texts(path: Path) -> Any:
    """What is named as a text stays one; an empty cell of any kind is null. Affinities are never decoded."""
    with csv.open_csv(path) as reader:
        names = reader.schema.names
    kinds = {name: pa.string() for name in names if name.startswith("user_feature") or name == "timestamp"}
    kinds |= {"item_id": pa.string(), "position": pa.string()}
    kinds |= {"click": pa.float64(), "propensity_score": pa.float64()}
    return csv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
