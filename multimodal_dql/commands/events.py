"""`events check|import|join|erase`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.options import JsonOpt, LangOpt
from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.terminal import emit, language, table

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Logs of decisions: check, import, join rewards, erase a person."
)

LogsArg = Annotated[
    list[Path], typer.Argument(metavar="LOG...", help="Parquet or JSONL (also .gz), or folders of these.")
]
OutLogOpt = Annotated[
    Path, typer.Option("--out", metavar="LOG", help="The log to write: .parquet, .jsonl or .jsonl.gz.")
]
PersonalOpt = Annotated[
    bool, typer.Option("--allow-personal", help="Go on although values in the log look personal.")
]


def _say(console: Any, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_counts(console: Any, heading: str, counts: dict[str, int], zh: dict[str, str]) -> None:
    """A small table, the largest first."""
    if counts:
        chinese = language() == "zh"
        rows = [
            (zh.get(reason, reason) if chinese else reason, f"{count:,}")
            for reason, count in sorted(counts.items(), key=lambda pair: -pair[1])
        ]
        console.print(table((heading, "行数" if chinese else "rows"), rows))


@app.command("check")
def check(
    logs: LogsArg,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Rows searched for identifiers; 0 searches all.")
    ] = 0,
    allow_personal: PersonalOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Rows that cannot be used and why, and columns that look personal; exits 2 when the log is not clean."""
    from multimodal_dql.datasets.events.checking import check_log
    from multimodal_dql.datasets.events.checks import REASONS

    report, zh = check_log(logs, sample=sample), language() == "zh"
    must_fix = report.must_fix(allow_personal)
    result = report.as_dict(language()) | {"clean": not must_fix}

    def show(console: Any) -> None:
        _say(
            console,
            f"{report.files} 个文件，{report.read:,} 行，其中 {report.usable:,} 行可用"
            if zh
            else f"{report.files} file{'s' * (report.files != 1)}, {report.read:,} rows, {report.usable:,} can be used",
        )
        _print_counts(console, "略去的原因" if zh else "left out because", report.excluded, REASONS)
        for note in report.notes:
            _say(console, ("请留意：" if zh else "look at: ") + note.text(language()))
        for finding in report.personal:
            _say(console, ("疑似个人信息：" if zh else "looks personal: ") + finding.text(language()))
        how = f"{report.searched:,} 行" if zh else f"{report.searched:,} rows"
        _say(
            console,
            f"已在{'全部 ' if report.searched >= report.read else '抽样的 '}{how}中查找个人信息"
            if zh
            else f"searched for identifiers: {'all ' if report.searched >= report.read else 'a sample of '}{how}",
        )

    emit(json_output, result, show)
    if must_fix:
        raise typer.Exit(2)


@app.command("import")
def import_(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="open-bandit, vw-dsjson or csv.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of open-bandit.")],
    out: OutLogOpt,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="OURS=THEIRS", help="csv: what a column is called there; repeatable."
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context", metavar="COLUMN", help="csv: a column that belongs to the context; repeatable."
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option("--candidates", help="csv: candidates of all rows, between separators."),
    ] = None,
    separator: Annotated[str, typer.Option("--separator", help="csv: between candidates.")] = "|",
    item_id: Annotated[
        str | None, typer.Option("--item-id", help="csv, vw-dsjson: the story that all rows are about.")
    ] = None,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Turn logs of other formats into one log; rows that cannot be used are left out and counted."""
    from multimodal_dql.datasets.events.importing import FORMATS, Importer, import_events

    if format_ not in FORMATS:
        raise UnknownNameError(kind="format", kind_zh="格式", name=format_, known=FORMATS)
    if format_ != "csv" and (column or context or candidates or separator != "|"):
        raise UsageError(
            detail=f"--column, --context, --candidates and --separator are about csv; leave them out for {format_}",
            detail_zh=f"--column、--context、--candidates 和 --separator 只用于 csv；导入 {format_} 时请去掉",
        )
    importer: Importer
    if format_ == "open-bandit":
        from multimodal_dql.datasets.events.open_bandit_log import OpenBanditImporter

        if item_id is not None:
            raise UsageError(
                detail="--item-id is not for open-bandit, whose campaigns are the stories; leave it out",
                detail_zh="--item-id 不用于 open-bandit（活动即条目）；请去掉",
            )
        importer = OpenBanditImporter()
    elif format_ == "vw-dsjson":
        from multimodal_dql.datasets.events.dsjson_log import DsjsonImporter

        importer = DsjsonImporter(item_id or "dsjson")
    else:
        from multimodal_dql.datasets.events.csv_log import CsvImporter

        importer = CsvImporter(
            _pairs(column or []),
            context or [],
            separator=separator,
            candidates=candidates.split(separator) if candidates and separator else (),
            item_id=item_id or "csv",
        )
    done, zh = import_events(importer, files, out), language() == "zh"
    result = {
        "log": str(out),
        "rows": done.read,
        "written": done.written,
        "excluded": done.excluded,
        "excluded_zh": {done.reasons_zh.get(r, r): n for r, n in done.excluded.items()},
        "notes": [note.text(language()) for note in done.notes],
    }

    def show(console: Any) -> None:
        _say(
            console,
            f"读取 {done.read:,} 行，写入 {done.written:,} 行：{out}"
            if zh
            else f"{done.read:,} rows read, {done.written:,} written: {out}",
        )
        _print_counts(console, "略去的原因" if zh else "left out because", done.excluded, done.reasons_zh)
        for note in done.notes:
            _say(console, ("请留意：" if zh else "look at: ") + note.text(language()))

    emit(json_output, result, show)


def _pairs(column: list[str]) -> dict[str, str]:
    """OURS=THEIRS as a dictionary."""
    out = {}
    for pair in column:
        ours, equals, theirs = pair.partition("=")
        if not equals or not theirs:
            raise UsageError(
                detail=f"--column {pair}: write it as OURS=THEIRS, for example action=arm",
                detail_zh=f"--column {pair}：请写成 我方列名=表中列名，例如 action=arm",
            )
        out[ours.strip()] = theirs
    return out


@app.command("join")
def join(
    decisions: Annotated[Path, typer.Argument(metavar="DECISIONS", help="A log, file or folder.")],
    rewards: Annotated[
        list[Path], typer.Argument(metavar="REWARDS...", help="Parquet or JSONL: event_id, time, rewards.")
    ],
    out: OutLogOpt,
    wait: Annotated[float, typer.Option("--wait", metavar="HOURS", help="How long a reward may take.")],
    default_reward: Annotated[
        float, typer.Option("--default-reward", help="What a decision without a reward gets.")
    ] = 0.0,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="When the data ends (ISO 8601); the latest time in it."),
    ] = None,
    allow_personal: PersonalOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Join decisions with rewards that came later; late, repeated and stray ones are counted."""
    from multimodal_dql.datasets.events.checks import REASONS
    from multimodal_dql.datasets.events.joined_log import EMPTY, join_log
    from multimodal_dql.datasets.events.joining import COUNTS

    done, zh = (
        join_log(
            [decisions],
            rewards,
            out,
            wait_hours=wait,
            default_reward=default_reward,
            until=None if until is None else _microseconds(until),
            allow_personal=allow_personal,
        ),
        language() == "zh",
    )
    result = {
        "log": str(out),
        "written": done.written,
        "parts": done.parts,
        "counts": done.counts,
        "excluded": done.excluded,
        "excluded_rewards": done.excluded_rewards,
        "notes": [note.text(language()) for note in done.notes],
    }

    def show(console: Any) -> None:
        _say(
            console,
            f"写入 {done.written:,} 个决策（{'、'.join(done.parts)}）：{out}"
            if zh
            else f"{done.written:,} decisions written with {', '.join(done.parts)}: {out}",
        )
        counts = {name: n for name, n in done.counts.items() if n}
        _print_counts(console, "计数" if zh else "counted", counts, COUNTS)
        texts = REASONS | {EMPTY: "没有数值的奖励"}
        _print_counts(console, "略去的决策" if zh else "decisions left out because", done.excluded, texts)
        _print_counts(
            console, "略去的奖励" if zh else "rewards left out because", done.excluded_rewards, texts
        )
        for note in done.notes:
            _say(console, ("请留意：" if zh else "look at: ") + note.text(language()))

    emit(json_output, result, show)


def _microseconds(text: str) -> int:
    from datetime import UTC, datetime

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            detail=f"--until {text} is no time; write it as 2026-01-31T12:00:00Z",
            detail_zh=f"--until {text} 不是时间；请写成 2026-01-31T12:00:00Z",
        ) from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1e6)


@app.command("erase")
def erase(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Logs, runs, caches, reports, or folders of these."),
    ],
    subject: Annotated[
        str,
        typer.Option("--subject", metavar="ID", help="The person: a session_id, or what a log has instead."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and change nothing.")
    ] = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Remove a person from logs, from runs that learned from them, and from reports; says what to train anew."""
    from multimodal_dql.erasing import erase as remove

    done, zh = remove(paths, subject, dry_run=dry_run), language() == "zh"
    removed = sum(log.removed for log in done.logs)

    def show(console: Any) -> None:
        would = ("将删除" if dry_run else "已删除") if zh else ("would be removed" if dry_run else "removed")
        for log in done.logs:
            _say(
                console,
                f"{log.path}：{log.rows:,} 行中{would} {log.removed:,} 行"
                if zh
                else f"{log.path}: {log.removed:,} of {log.rows:,} rows {would}",
            )
        for path, note in done.removed:
            _say(console, f"{path}：{would}：{note.zh}" if zh else f"{path}: {would}: {note}")
        for path, note in done.retrain:
            _say(console, f"需重新训练 {path}：{note.zh}" if zh else f"train anew {path}: {note}")
        for path, note in done.kept:
            _say(console, f"保持不变 {path}：{note.zh}" if zh else f"kept {path}: {note}")
        _say(
            console,
            "未涉及：备份、其他位置的副本、磁盘上已释放的块"
            if zh
            else "not reached: backups, copies elsewhere, and blocks that a disk has freed but not overwritten",
        )

    emit(json_output, {"dry_run": dry_run, "rows_removed": removed} | done.as_dict(language()), show)
