"""Cartoon caption contests: one picture, many captions, votes from funny to unfunny.

Source: Jain, Jamieson, Mankoff, Nowak, Sievert, The New Yorker Cartoon Caption Contest Dataset,
https://nextml.github.io/caption-contest-data/. Votes CC BY 4.0; the cartoons belong to their artists and are read as
inputs only. Nothing of it is shipped here.

A vote gives a caption two points for funny, one for somewhat funny, none for unfunny: a contest becomes a test whose
arms are captions, with two impressions a vote and a click for each point, so that the rate of an arm is its mean score
between 0 and 1. Points of one vote go together, which makes them scatter `overdispersion` times as widely as clicks.

What is usable under which collection policy: the file name tells how captions were chosen to be shown. Given its number
of votes, the votes of a caption may be compared under every policy; the number itself never, because an adaptive policy
(LilUCB, KLUCB) shows the captions more often that have done well. It is the precision of a score here and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticCustomError

from multimodal_dql.datasets._ab_clean import by_headline, components, gather, pooled
from multimodal_dql.datasets._ab_read import read_ab_table
from multimodal_dql.datasets._ab_rows import ArmRow
from multimodal_dql.datasets._faults import row_fault, shown
from multimodal_dql.datasets._rows import _count
from multimodal_dql.datasets._tables import WholeTable
from multimodal_dql.datasets.ab_tests import ABTests, Replicates
from multimodal_dql.errors import ABTestsError, ABTestsInvalid, Problem

__all__ = ["CaptionContests", "point_overdispersion", "read_caption_contests"]

_VOTES = ("funny", "somewhat_funny", "unfunny")
_JOINED = ("contest", "file", "caption", *_VOTES)
_SUMMARY = re.compile(r"(?P<contest>\d+)[^_]*_summary_(?P<policy>[A-Za-z]+)(?:_(?P<question>[A-Za-z]+))?")
"""``560_summary_KLUCB_original``: contest, collection policy, and the question if it was not how funny."""
_PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class CaptionContests:
    """What was read.

    Attributes:
        tests: contests (each round and policy apart) as tests; ``images`` are paths of files that exist, or None.
        policy: (G,) collection policy of each.
        overdispersion: variance of the points of a vote over that of two independent clicks of the same rate, pooled
            over captions by votes.
    """

    tests: ABTests
    policy: tuple[str, ...]
    overdispersion: float


def read_caption_contests(path: Path) -> CaptionContests:
    """Read contests from a folder with vote tables and a folder ``images`` of cartoons named by contest.

    Tables: one ``captions*.csv`` (also ``.csv.gz``) with the columns ``contest, file, caption, funny, somewhat_funny,
    unfunny``, or the ``*_summary_*.csv`` of the source, which say contest and policy in their names. Other columns,
    above all the number of votes and ranks, are ignored. A folder ``caption_contest`` in `path` is looked into.

    Left out and counted: votes on another question than how funny (``_original``), tables in which nobody found
    anything funny (a lost column), captions without votes, contests with one caption. The same caption twice in a
    contest is one arm.

    Raises:
        ABTestsError: no table, missing columns, or nothing left to compare.
        ABTestsInvalid: rows are wrong; all of them, each with line, field and cure.
    """
    folder = next((p for p in (path / "caption_contest", path) if p.is_dir()), path.parent)
    rows: list[ArmRow] = []
    votes: list[tuple[int, int, int]] = []
    problems: list[Problem] = []
    cleaning = {"rows": 0, "rows_of_another_question": 0}
    for file, table in _tables(path if path.is_file() else folder):
        cleaning["rows"] += len(table.rows)
        problems += table.problems
        for line, values in table.rows:
            told = _row(file, table, line, values, problems)
            if told is None:
                continue
            if _question(told[0].test) not in (None, "funny"):
                cleaning["rows_of_another_question"] += 1
                continue
            rows.append(told[0])
            votes.append(told[1])
    if problems:
        raise ABTestsInvalid(path=path, problems=problems)
    return _contests(path, folder, rows, np.array(votes, np.int64).reshape(-1, 3), cleaning)


def _contests(
    path: Path, folder: Path, rows: list[ArmRow], votes: NDArray[np.int64], cleaning: dict[str, int]
) -> CaptionContests:
    points: dict[str, int] = {}
    for row in rows:
        points[row.test] = points.get(row.test, 0) + row.clicks
    dead = {test for test, count in points.items() if not count}
    keep = np.array([bool(row.impressions) and row.test not in dead for row in rows], np.bool_)
    used = [row for row, kept in zip(rows, keep.tolist(), strict=True) if kept]
    tests = gather(used)
    # Rounds of one contest go together, and so do contests that share a caption.
    linked = components(tests, lambda row: (*by_headline(row), f"\0{_contest(row.test)}"))
    arms = [pooled(test.rows, "text") for test in tests]
    kept = [g for g, found in enumerate(arms) if len(found) > 1]
    if not kept:
        raise ABTestsError(
            path=path,
            detail="no contest has two captions with votes; `datasets show caption_contest` says how to get them",
            detail_zh="没有任何比赛有两条带投票的配文；`datasets show caption_contest` 说明如何获取",
        )
    flat = [(i, g, arm) for i, g in enumerate(kept) for arm in arms[g]]
    pictures = {g: _picture(folder, _contest(tests[g].test)) for g in kept}
    cleaning |= {
        "files_without_a_funny_vote": len(dead),
        "rows_without_a_funny_vote": sum(row.test in dead for row in rows),
        "rows_without_votes": sum(not row.impressions and row.test not in dead for row in rows),
        "rows_pooled": len(used) - sum(map(len, arms)),
        "contests_with_one_caption": len(tests) - len(kept),
        "contests_without_picture": sum(picture is None for picture in pictures.values()),
        "contests": len(kept),
        "captions": len(flat),
        "votes": sum(arm.impressions for _, _, arm in flat) // 2,
    }
    nothing = np.zeros(0, np.int64)
    made = ABTests(
        path=path,
        pool="text",
        test_ids=tuple(tests[g].test for g in kept),
        created=np.full(len(kept), np.datetime64("NaT", "s")),
        component=np.array([linked[g] for g in kept], np.int64),
        test=np.array([i for i, _, _ in flat], np.int64),
        arm_ids=tuple(arm.arm for _, _, arm in flat),
        headlines=tuple(arm.headline for _, _, arm in flat),
        images=tuple(pictures[g] for _, g, _ in flat),
        audios=(None,) * len(flat),
        impressions=np.array([arm.impressions for _, _, arm in flat], np.int64),
        clicks=np.array([arm.clicks for _, _, arm in flat], np.int64),
        risky=np.zeros(len(kept), np.bool_),
        confounded=np.zeros(len(kept), np.bool_),
        replicates=Replicates(nothing, nothing, nothing),
        cleaning=cleaning,
    )
    return CaptionContests(
        made, tuple(_policy(name) for name in made.test_ids), point_overdispersion(votes[keep])
    )


def point_overdispersion(votes: NDArray[np.int64]) -> float:
    """Variance of the points of a vote over ``2 p (1 - p)``, pooled over captions by votes.

    Args:
        votes: (N, 3) funny, somewhat funny, unfunny; at least one vote a row.

    A vote that is funny or unfunny but never between scatters twice as widely as two clicks of its own:

    >>> point_overdispersion(np.array([[5, 0, 5]]))
    2.0
    """
    n = votes.sum(axis=1)
    p = (2 * votes[:, 0] + votes[:, 1]) / (2 * n)
    variance = (4 * votes[:, 0] + votes[:, 1]) / n - (2 * p) ** 2
    scatter = float((n * 2 * p * (1 - p)).sum())
    return max(1.0, float((n * variance).sum()) / scatter) if scatter > 0 else 1.0


def _tables(path: Path) -> Iterator[tuple[str | None, WholeTable]]:
    """Tables to read, each with the name of its file where the name says what the rows do not."""
    if path.is_file():
        joined, summaries = [path], list[Path]()
    else:
        joined = sorted(p for p in path.glob("captions*.csv*") if p.is_file())[:1]
        summaries = [] if joined else sorted(p for p in path.glob("**/*_summary_*.csv*") if p.is_file())
    if not joined and not summaries:
        raise ABTestsError(
            path=path,
            detail="there is no captions*.csv and no *_summary_*.csv in it; `datasets show caption_contest` says how"
            " to get them",
            detail_zh="其中没有 captions*.csv 或 *_summary_*.csv；`datasets show caption_contest` 说明如何获取",
        )
    for file in joined:
        table = read_ab_table(file)
        _check(file, table, _JOINED)
        yield None, table
    for file in summaries:
        table = read_ab_table(file)
        _check(file, table, _JOINED[2:])
        yield file.name.split(".csv")[0], table


def _check(path: Path, table: WholeTable, wanted: tuple[str, ...]) -> None:
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        have = shown(", ".join(name for name in table.columns if name), 200)
        raise ABTestsError(
            path=path,
            detail=f"there is no column '{missing[0]}'; wanted are {', '.join(wanted)}; the columns are: {have}",
            detail_zh=f"缺少列 “{missing[0]}”；需要 {'、'.join(wanted)}；现有的列：{have}",
        )


def _row(
    file: str | None, table: WholeTable, line: int, values: Mapping[str, Any], problems: list[Problem]
) -> tuple[ArmRow, tuple[int, int, int]] | None:
    """A row as an arm, with its votes; None, and a problem more, if it is wrong."""
    name = file or str(values["file"])
    text = str(values["caption"] or "").strip()
    if not text or not _SUMMARY.fullmatch(name):
        field = "file" if text else "caption"
        fault = row_fault("no_summary", name=shown(name, 60)) if text else row_fault("no_caption")
        problems.append(Problem(f"{name}, {table.unit} {line}, {field}", fault))
        return None
    counts = []
    for column in _VOTES:
        try:
            counts.append(_count(values[column]))
        except PydanticCustomError as error:
            told = error.context or {}
            fault = row_fault(told["code"], **told["fields"])
            problems.append(Problem(f"{name}, {table.unit} {line}, {column}", fault))
            return None
    funny, somewhat, unfunny = counts
    arm = ArmRow(
        test=name,
        arm=str(line),
        headline=text,
        image=None,
        audio=None,
        impressions=2 * (funny + somewhat + unfunny),
        clicks=2 * funny + somewhat,
        created=np.datetime64("NaT", "s"),
        risk=False,
        line=line,
    )
    return arm, (funny, somewhat, unfunny)


def _part(name: str, group: str) -> str | None:
    found = _SUMMARY.fullmatch(name)
    return found[group] if found else None


def _contest(name: str) -> str:
    return _part(name, "contest") or name


def _policy(name: str) -> str:
    return _part(name, "policy") or ""


def _question(name: str) -> str | None:
    return _part(name, "question")


def _picture(folder: Path, contest: str) -> str | None:
    """The cartoon of a contest, if its file is there."""
    found = (folder / "images" / f"{contest}{suffix}" for suffix in _PICTURES)
    return next((str(path.absolute()) for path in found if path.is_file()), None)
