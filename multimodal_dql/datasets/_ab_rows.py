"""Rows of A/B tests: which column is which, and each row validated; everything that is wrong is collected."""

from __future__ import annotations

import datetime
import difflib
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import PydanticCustomError

from multimodal_dql.datasets._faults import row_fault, shown
from multimodal_dql.datasets._rows import _count, _text
from multimodal_dql.datasets._tables import WholeTable
from multimodal_dql.datasets.upworthy import ARM_COLUMNS, created_of, in_risk_window, is_upworthy
from multimodal_dql.errors import ABTestsError, ABTestsInvalid, Problem, RowFault

__all__ = ["GENERIC_COLUMNS", "ArmRow", "arm_rows", "normalised_headline"]

GENERIC_COLUMNS = ("test", "variant", "impressions", "clicks", "headline", "image", "audio", "created")
"""Of a publisher's own file."""
_GENERIC = {name: name for name in GENERIC_COLUMNS}
_NEEDED = ("test", "variant", "impressions", "clicks")
_MAX_ID = 200  # characters


@dataclass(frozen=True)
class ArmRow:
    """One row of the file: an arm of a test, before arms of one content are pooled."""

    test: str
    arm: str
    headline: str | None
    image: str | None
    audio: str | None
    impressions: int
    clicks: int
    created: np.datetime64
    risk: bool
    line: int


def normalised_headline(text: str) -> str:
    r"""A headline for comparison: compatibility forms unified (NFKC), case folded, white space collapsed.

    >>> normalised_headline("  Ｗhat\tNOW? ")
    'what now?'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def arm_rows(path: Path, table: WholeTable) -> list[ArmRow]:
    """The rows of `table`, validated.

    Raises:
        ABTestsError: no rows, or columns are missing (names which, and the column that looks like it).
        ABTestsInvalid: rows are wrong; all of them, each with line, field and cure.
    """
    upworthy = is_upworthy(table.columns)
    columns = ARM_COLUMNS if upworthy else _GENERIC
    _check_columns(path, table, columns)
    problems, rows = list(table.problems), list[ArmRow]()
    seen: dict[tuple[str, str], int] = {}
    places: dict[str, int] = {}
    for line, values in table.rows:
        found: dict[str, Any] = {}
        faults: list[tuple[str, RowFault]] = []
        for name, read in _READ.items():
            try:
                found[name] = read(values.get(columns[name])) if name in columns else None
            except PydanticCustomError as error:
                told = error.context or {}
                faults.append((columns[name], row_fault(told["code"], **told["fields"])))
            except RowFault as fault:
                faults.append((columns[name], fault))
        if "impressions" in found and "clicks" in found and found["clicks"] > found["impressions"]:
            counts = {"clicks": found["clicks"], "impressions": found["impressions"]}
            faults.append((columns["clicks"], row_fault("clicks_over", **counts)))
        if upworthy and "test" in found:
            # The archive numbers no arms: their place in the test does.
            places[found["test"]] = place = places.get(found["test"], 0) + 1
            found |= {"variant": str(place), "created": created_of(found["test"])}
        elif "test" in found and "variant" in found:
            key = (found["test"], found["variant"])
            if key in seen:
                faults.append((columns["variant"], _twice(key, table.unit, seen[key])))
            seen.setdefault(key, line)
        if faults:
            problems += [
                Problem(f"{path.name}, {table.unit} {line}, {field}", fault) for field, fault in faults
            ]
        else:
            rows.append(_arm_row(found, values, line, upworthy=upworthy))
    if problems:
        raise ABTestsInvalid(path=path, problems=problems)
    return rows


def _arm_row(found: Mapping[str, Any], values: Mapping[str, Any], line: int, *, upworthy: bool) -> ArmRow:
    return ArmRow(
        test=found["test"],
        arm=found["variant"],
        headline=found["headline"],
        image=found["image"],
        audio=found["audio"],
        impressions=found["impressions"],
        clicks=found["clicks"],
        created=found["created"],
        risk=upworthy and in_risk_window(values.get("srm_window_risk"), found["created"]),
        line=line,
    )


def _check_columns(path: Path, table: WholeTable, columns: Mapping[str, str]) -> None:
    if not table.rows and not table.problems:
        raise ABTestsError(
            path=path,
            detail="there are no rows; write one row an arm: test, variant, impressions, clicks",
            detail_zh="没有任何数据行；每个变体写一行：test、variant、impressions、clicks",
        )
    wanted = [columns[name] for name in _NEEDED if name in columns]
    missing = [name for name in wanted if name not in table.columns]
    if not missing:
        return
    free = [name for name in table.columns if name and name not in columns.values()]
    hints = [(name, _near(name, free)) for name in missing]
    en = [
        f"'{name}'" + (f" (did you mean '{shown(near)}'? rename it)" if near else "") for name, near in hints
    ]
    zh = [f"“{name}”" + (f"（是否即 “{shown(near)}”？请改名）" if near else "") for name, near in hints]
    have = shown(", ".join(name for name in table.columns if name), 200)
    raise ABTestsError(
        path=path,
        detail=f"there is no column {' and no column '.join(en)}; the columns are: {have}",
        detail_zh=f"缺少列 {'和'.join(zh)}；现有的列：{have}",
    )


def _near(name: str, columns: list[str]) -> str | None:
    """The column that looks most like `name`: spelt nearly so, or `name` with an addition (``test_id``)."""
    plain = {column.lower().replace(" ", "").replace("_", "").replace("-", ""): column for column in columns}
    near = difflib.get_close_matches(name, plain, n=1, cutoff=0.7)
    longer = [key for key in plain if key.startswith(name)] or [
        key for key in plain if name.rstrip("s") in key
    ]
    return plain[near[0]] if near else plain[longer[0]] if longer else None


def _twice(key: tuple[str, str], unit: str, line: int) -> RowFault:
    test, arm = map(shown, key)
    return RowFault(
        code="duplicate",
        detail=f"variant '{arm}' of test '{test}' is already on {unit} {line}; rename or remove one",
        detail_zh=f"测试 “{test}” 的变体 “{arm}” 已在第 {line} 行；请改名或删除其一",
    )


def _empty(value: Any) -> bool:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return missing or (isinstance(value, str) and not value.strip())


def _id(value: Any) -> str:
    text = (_text(value) or "").strip()
    if not text or len(text) > _MAX_ID:
        length = len(text)
        raise RowFault(
            code="id_too_long" if text else "needed",
            detail=f"has {length} characters; use at most {_MAX_ID}"
            if text
            else "is empty; give every arm its test and its variant",
            detail_zh=f"有 {length} 个字符；最多 {_MAX_ID} 个"
            if text
            else "为空；每个变体都需要 test 和 variant",
        )
    return text


def _content(value: Any) -> str | None:
    return (_text(value) or "").strip() or None


def _number(value: Any) -> int:
    """A count. Unlike in a catalogue, a missing one is a mistake: it would read as an arm that nobody saw."""
    if _empty(value):
        raise RowFault(
            code="no_count",
            detail="is empty; write the number, 0 if there were none",
            detail_zh="为空；请写数字，没有则写 0",
        )
    return _count(value)


def _created(value: Any) -> np.datetime64:
    """A time in UTC, to the second; ISO 8601 text or the date types of Parquet."""
    if _empty(value):
        return np.datetime64("NaT", "s")
    try:
        moment = (
            value if isinstance(value, datetime.date) else datetime.datetime.fromisoformat(str(value).strip())
        )
        if isinstance(moment, datetime.datetime) and moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        return np.datetime64(moment, "s")
    except (ValueError, OverflowError):
        raise RowFault(
            code="not_time",
            detail=f"'{shown(value)}' is not a time; write it as 2024-05-31 or 2024-05-31T18:30:00",
            detail_zh=f"“{shown(value)}” 不是时间；请写成 2024-05-31 或 2024-05-31T18:30:00",
        ) from None


# In the order in which their mistakes are reported.
_READ = {
    "test": _id,
    "variant": _id,
    "headline": _content,
    "image": _content,
    "audio": _content,
    "impressions": _number,
    "clicks": _number,
    "created": _created,
}
