"""Every mistake this package can name, as one small class each.

    MultimodalDQLError                our fault unless a subclass says otherwise (exit code 1)
    └── InputError                    the user's input is wrong (exit code 2); one line, names the cure
        ├── UsageError                options that do not fit together
        ├── UnknownNameError          a name that is not in a list; suggests the nearest
        ├── CatalogueError            a catalogue that cannot be read
        │   └── CatalogueInvalid      rows that are wrong: all of them, each with line, field and cure
        ├── ABTestsError              past A/B tests that cannot be read or learned from
        │   └── ABTestsInvalid        rows that are wrong: all of them, each with line, field and cure
        ├── EventsError                   a log of decisions that cannot be read or learned from
        ├── RowFault                  one field of one row of a catalogue or of A/B tests
        ├── DataFinding               something the data-quality check noticed
        ├── DatasetCardError          a data set card that is wrong
        ├── MediaError                one picture or sound that cannot be used
        │   ├── MediaMissing          there is no such file
        │   ├── MediaNotAFile         a folder, FIFO, socket or device
        │   ├── MediaUnreadable       the file cannot be opened
        │   ├── MediaFormatError      empty, or not a picture or sound that is read here
        │   ├── MediaDamaged          the file is damaged or cut short
        │   ├── MediaTooLarge         more pixels, seconds or bytes than the budget
        │   ├── SoundInvalid          a sound with NaN, no samples, or an odd rate or channel count
        │   └── DecoderFailed         decoding crashed, hung or ran out of memory
        ├── MissingGlyphsError        no installed font can draw a text
        ├── OutputError               a report or export that cannot be written
        ├── EncoderError              an encoder that cannot be loaded, or breaks its contract
        ├── RunError                  a run directory that cannot be used
        │   └── CheckpointError       a checkpoint that cannot be resumed from
        └── TrainingError             training stopped; the last good weights are kept

A class carries its message as a template in English and Chinese, so that the command line and the report can
speak either; ``str(error)`` is English. An error that is collected instead of raised (a broken picture costs one
variant, not the run) is the same object, wrapped in a `Problem`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "ABTestsError",
    "ABTestsInvalid",
    "CatalogueError",
    "CatalogueInvalid",
    "CheckpointError",
    "DataFinding",
    "DatasetCardError",
    "DecoderFailed",
    "EncoderError",
    "EncoderUnavailable",
    "EventsError",
    "InputError",
    "Lang",
    "MediaDamaged",
    "MediaError",
    "MediaFormatError",
    "MediaMissing",
    "MediaNotAFile",
    "MediaTooLarge",
    "MediaUnreadable",
    "MissingGlyphsError",
    "MultimodalDQLError",
    "OutputError",
    "Problem",
    "RowFault",
    "RunError",
    "SoundInvalid",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
]

Lang = Literal["en", "zh"]


class MultimodalDQLError(Exception):
    """Base of every error raised on purpose by this package."""

    exit_code: ClassVar[int] = 1
    en: ClassVar[str] = "{detail}"
    zh: ClassVar[str] = "{detail}"

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        super().__init__(self.text("en"))

    def text(self, lang: Lang) -> str:
        """The message in `lang`, on one line."""
        template = self.zh if lang == "zh" else self.en
        return " ".join(template.format(**self.fields).split())

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.fields))


def _rebuild(kind: type[MultimodalDQLError], fields: dict[str, Any]) -> MultimodalDQLError:
    return kind(**fields)


class InputError(MultimodalDQLError):
    """The user's input is wrong; the message says how to mend it."""

    exit_code = 2


class UsageError(InputError):
    """Options or arguments that do not fit together. Fields: detail, detail_zh (optional)."""

    def text(self, lang: Lang) -> str:
        """The message in `lang`."""
        return str(
            self.fields.get("detail_zh")
            if lang == "zh" and "detail_zh" in self.fields
            else self.fields["detail"]
        )


class UnknownNameError(InputError):
    """A name that is not known. Fields: kind, kind_zh, name, known (iterable of str)."""

    def __init__(self, *, kind: str, name: str, known: Iterable[str], kind_zh: str | None = None) -> None:
        super().__init__(kind=kind, kind_zh=kind_zh or kind, name=name, known=sorted(known))

    def text(self, lang: Lang) -> str:
        """The message in `lang`, with the nearest known name when there is one."""
        name, known = self.fields["name"], self.fields["known"]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        listed = ", ".join(known) or "-"
        if lang == "zh":
            hint = f"是否想用 “{near[0]}”？" if near else f"可用的有：{listed}"
            return f"没有名为 “{name}” 的{self.fields['kind_zh']}；{hint}"
        hint = f"did you mean '{near[0]}'?" if near else f"known: {listed}"
        return f"no {self.fields['kind']} called '{name}'; {hint}"


class CatalogueError(InputError):
    """A catalogue that cannot be read. Fields: path, detail, detail_zh."""

    en = "{path}: {detail}"
    zh = "{path}：{detail_zh}"


class CatalogueInvalid(CatalogueError):
    """Rows that are wrong. Fields: path, problems (list of `Problem`)."""

    def text(self, lang: Lang) -> str:
        """A first line with the count, then one line for each problem."""
        return _listed(self.fields["path"], self.fields["problems"], lang)


def _listed(path: object, problems: list[Problem], lang: Lang) -> str:
    """A first line with the count, then the first 20 problems, one line each."""
    n = len(problems)
    head = f"{path}：{n} 处需要修改" if lang == "zh" else f"{path}: {n} thing{'s' * (n != 1)} to mend"
    shown = [problem.text(lang) for problem in problems[:20]]
    if n > len(shown):
        shown.append(f"……另有 {n - 20} 处" if lang == "zh" else f"... and {n - 20} more")
    return "\n  ".join([head, *shown])


class ABTestsError(InputError):
    """Past A/B tests that cannot be read or learned from. Fields: path, detail, detail_zh."""

    en = "{path}: {detail}"
    zh = "{path}：{detail_zh}"


class EventsError(InputError):
    """A log of decisions that cannot be read or learned from. Fields: path, detail, detail_zh."""

    en = "{path}: {detail}"
    zh = "{path}：{detail_zh}"


class ABTestsInvalid(ABTestsError):
    """Rows of A/B tests that are wrong. Fields: path, problems (list of `Problem`)."""

    def text(self, lang: Lang) -> str:
        """A first line with the count, then one line for each problem."""
        return _listed(self.fields["path"], self.fields["problems"], lang)


class MediaError(InputError):
    """One picture or sound that cannot be used. Fields: path, plus what the template of the subclass names."""

    en = "{path}: {detail}"
    zh = "{path}：{detail_zh}"


class EncoderError(InputError):
    """An encoder that cannot be loaded or breaks its contract. Fields: name, detail, detail_zh."""

    en = "encoder '{name}': {detail}"
    zh = "编码器 “{name}”：{detail_zh}"


class EncoderUnavailable(EncoderError):
    """An encoder whose files cannot be had here. Fields: name, detail, detail_zh."""


class RunError(InputError):
    """A run directory that cannot be used. Fields: path, detail, detail_zh."""

    en = "{path}: {detail}"
    zh = "{path}：{detail_zh}"


class CheckpointError(RunError):
    """A checkpoint that cannot be resumed from. Fields: path, detail, detail_zh."""


class TrainingError(MultimodalDQLError):
    """Training stopped; the last good weights are kept. Fields: detail, detail_zh."""

    en = "{detail}"
    zh = "{detail_zh}"


@dataclass(frozen=True)
class Problem:
    """One finding about the user's data: where it is, what it is, and whether it must be mended.

    Attributes:
        where: file and line, or item and variant, e.g. ``stories.csv, line 7, image``.
        error: what is wrong, never raised here.
        severity: ``error`` must be mended, ``warning`` should be looked at.
        item_id: the item concerned, if one is.
        variant_id: the variant concerned, if one is.
    """

    where: str
    error: InputError
    severity: Literal["error", "warning"] = "error"
    item_id: str | None = None
    variant_id: str | None = None

    def text(self, lang: Lang = "en") -> str:
        """One line in `lang`: the place, then the finding with its cure."""
        return (
            f"{self.where}：{self.error.text(lang)}"
            if lang == "zh"
            else f"{self.where}: {self.error.text(lang)}"
        )


class RowFault(InputError):
    """One field of one row is wrong. Fields: code, detail, detail_zh."""

    en = "{detail}"
    zh = "{detail_zh}"


class DataFinding(InputError):
    """Something the data-quality check noticed. Fields: code, detail, detail_zh."""

    en = "{detail}"
    zh = "{detail_zh}"


class DatasetCardError(InputError):
    """A data set card that is wrong. Fields: path, detail, detail_zh."""

    en = "{path}: {detail}"
    zh = "{path}：{detail_zh}"


class MediaMissing(MediaError):
    """There is no such file. Fields: path, code, detail, detail_zh."""


class MediaNotAFile(MediaError):
    """A folder, FIFO, socket or device where a file was expected. Fields: path, code, detail, detail_zh."""


class MediaUnreadable(MediaError):
    """The file cannot be opened. Fields: path, code, detail, detail_zh."""


class MediaFormatError(MediaError):
    """Empty, or not a picture or sound that is read here. Fields: path, code, detail, detail_zh."""


class MediaDamaged(MediaError):
    """The file is damaged or cut short. Fields: path, code, detail, detail_zh."""


class MediaTooLarge(MediaError):
    """More pixels, seconds or bytes than the budget. Fields: path, code, detail, detail_zh."""


class SoundInvalid(MediaError):
    """A sound with NaN, no samples, or an odd rate. Fields: path, code, detail, detail_zh."""


class DecoderFailed(MediaError):
    """Decoding crashed, hung or ran out of memory. Fields: path, code, detail, detail_zh."""


class OutputError(InputError):
    """A report or export that cannot be written. Fields: path, reason."""

    en = "{path} cannot be written ({reason}); name a place where you may write"
    zh = "无法写入 {path}（{reason}）；请换一个可以写入的位置"


class MissingGlyphsError(InputError):
    """No installed font can draw a text. Fields: characters, package (what to install)."""

    en = "no font here can draw {characters!r}; install the package {package}, e.g. apt-get install {package}"
    zh = "本机没有能显示 {characters!r} 的字体；请安装软件包 {package}，例如 apt-get install {package}"
