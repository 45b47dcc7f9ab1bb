"""What the command line shares: language, progress on stderr, one result on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from multimodal_dql.errors import Lang, UnknownNameError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from multimodal_dql.datasets.quality import QualityReport

__all__ = ["Ticker", "announce", "emit", "language", "print_quality", "progress", "set_language", "table"]

_settings: dict[str, Lang] = {"lang": "en"}


def language() -> Lang:
    """The language of messages and reports."""
    return _settings["lang"]


def set_language(value: str) -> str:
    """Choose the language; raises `UnknownNameError` for any but ``en`` and ``zh``."""
    if value not in ("en", "zh"):
        raise UnknownNameError(kind="language", kind_zh="语言", name=value, known=("en", "zh"))
    _settings["lang"] = cast("Lang", value)
    return value


def announce(en: str, zh: str) -> None:
    """One line on stderr, in the chosen language."""
    sys.stderr.write((zh if language() == "zh" else en) + "\n")
    sys.stderr.flush()


def emit(as_json: bool, result: Any, show: Callable[[Console], None]) -> None:
    """Print the result: one JSON object, or what a person reads."""
    if as_json:
        # Where stdout cannot hold every character, escapes can.
        unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        sys.stdout.write(json.dumps(result, ensure_ascii=not unicode) + "\n")
    else:
        from rich.console import Console

        show(Console())
    sys.stdout.flush()  # here, so that a reader that has gone away is noticed while it can be handled


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A plain table."""
    from rich import box
    from rich.table import Table

    out = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        out.add_row(*(str(cell) for cell in row))
    return out


class Ticker:
    """Progress callbacks; shown as bars with counts and time left on a terminal, nothing elsewhere."""

    def __init__(self, bars: Any | None) -> None:
        self.bars, self.tasks = bars, cast("dict[str, Any]", {})

    def __call__(self, name: str, done: int, total: int) -> None:
        """For `multimodal_dql.features.features`."""
        if self.bars is None:
            return
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total)
        self.bars.update(self.tasks[name], completed=done, total=total)

    def training(self, done: int, total: int, metrics: dict[str, float]) -> None:
        """For `multimodal_dql.training.train`."""
        del metrics
        self("学习" if language() == "zh" else "learning", done, total)


@contextmanager
def progress() -> Iterator[Ticker]:
    """Progress bars on stderr while the block runs, when stderr is a terminal."""
    if not sys.stderr.isatty():
        yield Ticker(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Ticker(bars)


def print_quality(report: QualityReport, console: Console, lang: Lang) -> None:
    """Counts, then findings, errors first."""
    zh = lang == "zh"
    heads = ("模态", "有", "缺", "重复") if zh else ("modality", "present", "missing", "duplicates")
    rows = [
        (m, report.present[m], report.missing[m], report.duplicates[m]) for m in ("image", "caption", "audio")
    ]
    console.print(table(heads, rows))
    for problem in report.problems:
        mark = {"error": "必须修改" if zh else "must fix", "warning": "请留意" if zh else "look at"}[
            problem.severity
        ]
        console.print(f"{mark}: {problem.text(lang)}", markup=False, highlight=False, soft_wrap=True)
    if not report.problems:
        console.print("没有发现问题" if zh else "nothing to mend")
