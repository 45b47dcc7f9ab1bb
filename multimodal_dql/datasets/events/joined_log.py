"""A log of decisions and a table of later rewards, joined into one log; decisions stream, rewards stay in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from multimodal_dql.datasets.events.checks import BAD_LINE, REASONS, row_faults
from multimodal_dql.datasets.events.files import Source, find_sources
from multimodal_dql.datasets.events.joining import Rewards
from multimodal_dql.datasets.events.reading import PART, EventLog
from multimodal_dql.datasets.events.schema import REQUIRED, REWARD_PARTS, Note, event_schema, refused
from multimodal_dql.datasets.events.writing import EventWriter
from multimodal_dql.errors import UsageError

__all__ = ["JoinedLog", "join_log"]

HOUR = 3_600_000_000
"""Microseconds."""
EMPTY = "a reward without a value"
NO_DEFAULT = ("conversion_delay_hours",)
"""Parts that say when something happened, and are unknown where nothing did."""


@dataclass(frozen=True)
class JoinedLog:
    """What became of decisions and rewards.

    Attributes:
        written: decisions in the new log.
        parts: of the rewards.
        counts: as `multimodal_dql.datasets.events.joining.COUNTS`.
        excluded: decisions left out because they are wrong, by reason.
        excluded_rewards: rewards left out because they are wrong, by reason.
        notes: of the decisions.
    """

    written: int
    parts: list[str]
    counts: dict[str, int]
    excluded: dict[str, int]
    excluded_rewards: dict[str, int]
    notes: list[Note]


def join_log(
    decisions: Sequence[Path],
    rewards: Sequence[Path],
    out: Path,
    *,
    wait_hours: float,
    default_reward: float = 0.0,
    until: int | None = None,
    allow_personal: bool = False,
) -> JoinedLog:
    """Write the decisions whose wait has ended, with their rewards.

    Args:
        decisions: a log; a click in it is replaced where the rewards tell of clicks.
        rewards: Parquet or JSONL: event_id, time, and any of `REWARD_PARTS`.
        out: the log to write.
        wait_hours: how long a reward may take.
        default_reward: what a decision without a reward gets, in every part that the rewards have, delays excepted.
        until: when the data ends, microseconds since 1970; the latest time in it by default.
        allow_personal: as in `EventLog`.

    Raises:
        EventsError: a file cannot be read, or no decision is left.
        UsageError: a wait or default that is none.
        OutputError: the log cannot be written.
    """
    if not 0 <= wait_hours <= 1e6:
        raise UsageError(
            detail=f"--wait {wait_hours:g} is no number of hours; give 0 or more",
            detail_zh=f"--wait {wait_hours:g} 不是有效的小时数；请给出 0 或更大的值",
        )
    ids, times, parts, excluded = _rewards(rewards)
    if not np.isfinite(default_reward) or ("click" in parts and default_reward not in (0, 1)):
        raise UsageError(
            detail=f"--default-reward {default_reward:g} is no click; the rewards tell of clicks, give 0 or 1",
            detail_zh=f"--default-reward {default_reward:g} 不是点击值；奖励中含有点击，请给出 0 或 1",
        )
    needed = [name for name in REQUIRED if name != "click" or "click" not in parts]
    log = EventLog(list(decisions), allow_personal=allow_personal, needed=needed)
    places = {source.path.resolve() for source in (*log.sources, *find_sources(rewards))}
    if out.resolve() in places:
        raise refused(
            out, "is read and written at once; give --out another name", "不能同时读写；请给 --out 另一个名称"
        )
    end = max(_last(log.sources), int(times.max(initial=0))) if until is None else until
    default = {name: default_reward for name in parts if name not in NO_DEFAULT}
    held = Rewards(ids, times, parts, wait=round(wait_hours * HOUR), default=default, end=end)
    with EventWriter(out) as writer:
        for table in log.batches(PART):
            when = table["time"].cast(pa.int64()).to_numpy()
            joined = held.join(table["event_id"], when)
            if "click" in joined.parts:  # a reward may tell of something else only
                click = joined.parts["click"]
                joined.parts["click"] = np.where(np.isnan(click), default_reward, click)
            for name, values in joined.parts.items():
                at = table.schema.get_field_index(name)
                kind = table.schema.field(name)
                column = pa.array(values, mask=np.isnan(values)).cast(kind.type)
                table = table.set_column(at, kind, column)  # noqa: PLW2901
            writer.write(table.filter(pa.array(~joined.censored)).cast(event_schema()))
        if not writer.rows:
            raise refused(
                log.path,
                f"holds no decision whose wait of {wait_hours:g} hours has ended when the data ends; give a shorter "
                "--wait, or wait for more data",
                f"没有决策的等待期（{wait_hours:g} 小时）在数据结束前完成；请缩短 --wait，或等待更多数据",
            )
    return JoinedLog(writer.rows, list(parts), held.counts, dict(log.excluded), excluded, log.notes)


def _rewards(
    paths: Sequence[Path],
) -> tuple[Any, NDArray[np.int64], dict[str, NDArray[np.float64]], dict[str, int]]:
    """Ids, times and parts of the rewards that are right, and how many are not, by reason."""
    names = ("event_id", "time", *REWARD_PARTS)
    excluded: dict[str, int] = {}
    tables = []
    reasons = list(REASONS)
    for source in find_sources(paths):
        here = source.names()
        if here is not None and (lacking := [name for name in names[:2] if name not in here]):
            raise refused(
                source.path,
                f"lacks the columns {', '.join(lacking)}; rewards have event_id, time and any of "
                f"{', '.join(REWARD_PARTS)}",
                f"缺少列 {'、'.join(lacking)}；奖励需要 event_id、time 以及 {'、'.join(REWARD_PARTS)} 中的任意几项",
            )
        for raw in source.batches(names, PART):
            fault = row_faults(raw.table, names[:2], raw.wrong_type)
            for place, count in enumerate(np.bincount(fault, minlength=len(reasons) + 1)[1:].tolist()):
                _add(excluded, reasons[place], count)
            _add(excluded, BAD_LINE, raw.bad_lines)
            table = raw.table.select(list(names)).filter(pa.array(fault == 0))
            some = np.zeros(table.num_rows, np.bool_)
            for part in REWARD_PARTS:
                some |= table[part].is_valid().to_numpy().astype(np.bool_)
            _add(excluded, EMPTY, int((~some).sum()))
            tables.append(table.filter(pa.array(some)))
    whole = pa.concat_tables(tables).combine_chunks()
    parts = {name: whole[name].to_numpy() for name in REWARD_PARTS if whole[name].null_count < whole.num_rows}
    if not parts:
        raise refused(
            paths[0],
            f"holds no reward; give rows with event_id, time and any of {', '.join(REWARD_PARTS)}",
            f"没有奖励；请给出含有 event_id、time 以及 {'、'.join(REWARD_PARTS)} 中任意几项的行",
        )
    return whole["event_id"], whole["time"].cast(pa.int64()).to_numpy(), parts, excluded


def _add(counts: dict[str, int], reason: str, count: int) -> None:
    if count:
        counts[reason] = counts.get(reason, 0) + count


def _last(sources: Sequence[Source]) -> int:
    """The latest time of all decisions, microseconds."""
    last = 0
    for source in sources:
        for raw in source.batches(["time"], PART):
            found = pc.max(raw.table["time"].cast(pa.int64())).as_py()
            last = max(last, found or 0)
    return last
