"""The Open Bandit Dataset: logged fashion recommendations with the propensity of each choice.

Source: Saito, Aihara, Matsutani, Narita (2021), Open Bandit Dataset and Pipeline, NeurIPS Datasets and Benchmarks,
https://arxiv.org/abs/2008.07146. Not shipped here. Arrays and order of rows are those of ``OpenBanditDataset`` in
obp 0.5.7 (Apache-2.0), so that published numbers can be compared with.

Shape letters: ``N`` decisions, ``F`` columns of the context, ``A`` actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import EventsError

__all__ = ["OpenBandit", "find_tables", "read_open_bandit"]

ITEMS = "item_context.csv"
"""The table of items, beside that of decisions."""
USER = "user_feature"
NUMBERS = ("item_id", "position", "click", "propensity_score")


@dataclass(frozen=True)
class OpenBandit:
    """One campaign under one policy, in the order of time.

    Attributes:
        action: (N,) the item shown.
        position: (N,) from 0, left to right.
        reward: (N,) clicks, 0 or 1.
        pscore: (N,) propensity of the item at its position.
        n_actions: A.
        context: (N, F) one-hot user features, the first category of each (in the order of the alphabet) left out.
        action_context: (A, 4) the three categories of an item as numbers in the order of the alphabet, then
            ``item_feature_0``.
    """

    action: NDArray[np.int64]
    position: NDArray[np.int64]
    reward: NDArray[np.float64]
    pscore: NDArray[np.float64]
    n_actions: int
    context: NDArray[np.float64]
    action_context: NDArray[np.float64]


def read_open_bandit(folder: Path) -> OpenBandit:
    """Read one campaign, e.g. the folder ``random/all`` with ``all.csv`` and ``item_context.csv`` (or ``.csv.gz``).

    Rows come in the order of obp: sorted by the text of the time with NumPy's quicksort, which is not stable. Times
    that are equal are therefore in no order of their own, but in the same one each time.

    Raises:
        EventsError: a file is missing or damaged, or a value is none of this data set.
    """
    decisions, items = find_tables(folder)
    table = _read(decisions, ("timestamp", *NUMBERS), USER)
    order = np.array(table["timestamp"].to_pylist(), dtype=object).argsort(kind="quicksort")
    values = {name: _numbers(decisions, table, name)[order] for name in NUMBERS}
    action, click, pscore = values["item_id"], values["click"], values["propensity_score"]
    _refuse_wrong(decisions, values)
    hot = []
    for name in (name for name in table.column_names if name.startswith(USER)):
        code, size = _categories(table[name])
        hot.append(code[order][:, None] == np.arange(1, size))
    held = _read(items, ("item_id", "item_feature_0"), "item_feature_")
    names = [name for name in held.column_names if name.startswith("item_feature_") and name[-2:] != "_0"]
    columns = [_categories(held[name])[0] for name in names] + [_numbers(items, held, "item_feature_0")]
    return OpenBandit(
        action=action.astype(np.int64),
        position=np.unique(values["position"], return_inverse=True)[1].astype(np.int64),
        reward=click,
        pscore=pscore,
        n_actions=int(action.max()) + 1,
        context=np.concatenate(hot or [np.zeros((len(order), 0), np.bool_)], axis=1).astype(np.float64),
        action_context=np.stack(columns, axis=1).astype(np.float64),
    )


def find_tables(folder: Path) -> tuple[Path, Path]:
    """The tables of decisions and of items in a folder. Raises `EventsError` where one is missing or not the only."""
    tables = sorted(folder.glob("*.csv")) + sorted(folder.glob("*.csv.gz")) if folder.is_dir() else []
    items = [path for path in tables if path.name.removesuffix(".gz") == ITEMS]
    decisions = [path for path in tables if path not in items]
    if len(decisions) > 1:  # the name of the campaign decides
        decisions = [path for path in decisions if path.name.split(".")[0] == folder.name][:1]
    if not items or len(decisions) != 1:
        raise EventsError(
            path=folder,
            detail=f"is no campaign of the Open Bandit Dataset (a folder such as random/all with all.csv and {ITEMS}, "
            "or the same as .csv.gz); `datasets show open_bandit` says how to get it",
            detail_zh=f"不是 Open Bandit 数据集的活动文件夹（如 random/all，内含 all.csv 和 {ITEMS}，或 .csv.gz）；"
            "`datasets show open_bandit` 说明如何获取",
        )
    return decisions[0], items[0]


def _read(path: Path, needed: tuple[str, ...], prefix: str) -> Any:
    """The columns needed and those that begin with `prefix`, as texts."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        with csv.open_csv(path) as reader:
            names = reader.schema.names
        wanted = [name for name in names if name in needed or name.startswith(prefix)]
        convert = csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()))
        table = csv.read_csv(path, convert_options=convert)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise _damaged(path) from error
    lacking = [name for name in needed if name not in wanted]
    if lacking or not table.num_rows:
        raise EventsError(
            path=path,
            detail=f"lacks {', '.join(lacking) if lacking else 'rows'}; download it again",
            detail_zh=f"缺少{'列 ' + '、'.join(lacking) if lacking else '数据行'}；请重新下载",
        )
    return table


def _numbers(path: Path, table: Any, name: str) -> NDArray[np.float64]:
    import pyarrow as pa

    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise _damaged(path) from error


def _categories(column: Any) -> tuple[NDArray[np.int64], int]:
    """Numbers of texts in the order of the alphabet, (N,), and how many texts there are."""
    texts, code = np.unique(np.array(column.to_pylist(), dtype=object), return_inverse=True)
    return code.astype(np.int64), len(texts)


def _refuse_wrong(path: Path, values: dict[str, NDArray[np.float64]]) -> None:
    action, click, pscore = values["item_id"], values["click"], values["propensity_score"]
    for name, good in (
        ("item_id", (action >= 0) & (action == np.floor(action)) & (action < 1e6)),
        ("position", np.isfinite(values["position"])),
        ("click", (click == 0) | (click == 1)),
        ("propensity_score", (pscore > 0) & (pscore <= 1)),
    ):
        if not good.all():
            count = int((~good).sum())
            raise EventsError(
                path=path,
                detail=f"column {name} is wrong in {count} rows; download it again, or leave them out",
                detail_zh=f"列 {name} 有 {count} 行的值有误；请重新下载，或删去这些行",
            )


def _damaged(path: Path) -> EventsError:
    return EventsError(
        path=path,
        detail="cannot be read as a table of the Open Bandit Dataset, or is damaged; download it again",
        detail_zh="无法作为 Open Bandit 数据集的表读取，或已损坏；请重新下载",
    )
