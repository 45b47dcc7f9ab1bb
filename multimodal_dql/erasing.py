"""Removing a person from everything that may hold them: logs, runs that learned from these, reports.

What each place can hold:

- a log: their rows. Removed.
- checkpoints and the interrupted training of a run that learned from such a log: the replay holds its decisions as
  numbers, theirs among them and not to be told apart. Removed whole; such a training could not be resumed anyway,
  because its log is now another one.
- ``config.json`` of such a run: contexts of 256 decisions drawn from the log, as typical users. Those equal to one of
  theirs are removed.
- weights and metrics of such a run: sums over all decisions. They cannot be unlearned by editing: train anew.
- reports and other texts: their id, if anything. Replaced by ``[erased]``.
- the feature cache, prior and allocation runs, runs in front of a simulated audience: texts, pictures and counts of
  variants. Nothing of a person.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_dql.checkpoint import MANIFEST, checkpoints
from multimodal_dql.datasets.events.erasing import ErasedLog, Person, erase_from_log, find_person
from multimodal_dql.datasets.events.files import SUFFIXES, Source, find_sources
from multimodal_dql.datasets.events.schema import Note
from multimodal_dql.errors import EventsError, InputError, UsageError
from multimodal_dql.run_file import WEIGHTS, read_file, write_file
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.unfinished import CHECKPOINTS, UNFINISHED

__all__ = ["Erased", "erase"]

TEXTS = (".html", ".htm", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".md", ".svg")
_OF_RUNS = ("config.json", "audience.json", MANIFEST)
"""Numbers and names of the catalogue, no ids of persons, and whole only as they were written."""
LARGEST_TEXT = 1 << 28
"""Bytes of a text that is searched."""
SHORTEST = 3
"""Characters of an id that is replaced in texts; a shorter one, or a number, stands for other things there."""
MARK = b"[erased]"


@dataclass
class Erased:
    """What was removed and from where, or would be.

    Attributes:
        logs: every log, with the rows of the person.
        removed: other files and folders, and what was removed from each.
        retrain: runs that learned from the person.
        kept: places that stay as they are, and why.
    """

    logs: list[ErasedLog] = field(default_factory=list)
    removed: list[tuple[Path, Note]] = field(default_factory=list)
    retrain: list[tuple[Path, Note]] = field(default_factory=list)
    kept: list[tuple[Path, Note]] = field(default_factory=list)

    def as_dict(self, lang: str) -> dict[str, Any]:
        """For JSON; the id itself is not repeated."""
        return {
            "logs": [{"path": str(e.path), "rows": e.rows, "removed": e.removed} for e in self.logs],
            **{
                name: [{"path": str(path), "what": note.text(lang)} for path, note in getattr(self, name)]
                for name in ("removed", "retrain", "kept")
            },
        }


def erase(paths: Sequence[Path], subject: str, *, dry_run: bool = False) -> Erased:
    """Remove the person whose id is `subject` from `paths`: logs, runs, caches, report folders, or folders of these.

    Everything is looked at before anything is changed, and every file is replaced whole.

    Raises:
        EventsError: there is no such path, or a damaged log; nothing was changed.
        OutputError: a file cannot be replaced; those before it are.
    """
    if not subject.strip():
        raise UsageError(
            detail="--subject is empty; give the id as it stands in the log",
            detail_zh="--subject 为空；请给出日志中的编号",
        )
    found = _Found()
    for path in paths:
        if not path.exists():
            raise EventsError(
                path=path,
                detail="there is no such file; correct the path",
                detail_zh="没有这个文件；请改正路径",
            )
        found.look(path)
    person, out = Person(subject), Erased()
    for source in found.logs.values():
        find_person(source, person)
    # A first round that changes nothing: a damaged file is met before another was rewritten.
    out.logs = [erase_from_log(source, person, dry_run=True) for source in found.logs.values()]
    if not dry_run:
        out.logs = [erase_from_log(source, person) for source in found.logs.values()]
    digests = _digests(paths, out.logs)
    for text in found.texts:
        _erase_from_text(text, subject, out, dry_run)
    for run in found.runs:
        _erase_from_run(run, digests, person, out, dry_run)
    out.kept += found.kept
    return out


class _Found:
    """What lies under the paths."""

    def __init__(self) -> None:
        self.logs: dict[Path, Source] = {}
        self.runs: list[Path] = []
        self.texts: list[Path] = []
        self.kept: list[tuple[Path, Note]] = []

    def look(self, path: Path, inside_run: bool = False) -> None:
        if path.is_dir():
            self._look_into(path, inside_run)
        elif path.is_file():
            name = path.name.lower()
            if name.endswith(SUFFIXES) and not inside_run:
                self.logs[path.resolve()] = find_sources([path])[0]
            elif name.endswith(TEXTS) and not (inside_run and name in _OF_RUNS):
                self.texts.append(path)
            elif not inside_run:
                self.kept.append((path, _OTHER))

    def _look_into(self, folder: Path, inside_run: bool) -> None:
        if (folder / "about.json").is_file() and (folder / "index.bin").is_file():
            self.kept.append((folder, _CACHE))
            return
        run = (folder / WEIGHTS).is_file() or (folder / UNFINISHED).is_dir()
        if run:
            self.runs.append(folder)
        for path in sorted(folder.iterdir()):
            if not path.is_symlink() and not path.name.startswith("."):
                self.look(path, inside_run or run)


_OTHER = Note("is no log and no text, and was not searched", "既不是日志也不是文本，未搜索")
_CACHE = Note(
    "holds embeddings of variants under the hash of their content; nothing of a person",
    "只有按内容哈希存放的变体嵌入；没有个人信息",
)
_TOO_SHORT = Note(
    f"holds the id, which may mean something else there (a number, or fewer than {SHORTEST} characters); look yourself",
    f"含有该编号，但可能另有所指（纯数字，或少于 {SHORTEST} 个字符）；请自行查看",
)
_LEARNED = Note(
    "learned from a log that held the person; their share of the weights cannot be taken out: train anew",
    "从含有此人的日志学习；权重中的影响无法单独去除：请用新日志重新训练",
)
_STRANGE = Note(
    "learned from a log that is not among the paths; if the person was in it, train anew",
    "从未列出的日志学习；如果其中有此人，请重新训练",
)
_CLEAN = Note("learned from a log that never held the person", "从不含此人的日志学习")
_SIMULATED = Note(
    "learned from no log: weights from a simulated audience or from counts of variants hold nothing of a person",
    "不是从日志学习：由模拟受众或变体次数得到的权重不含个人信息",
)
_REPLAY = Note(
    "checkpoints, whose replay held all decisions of the log, theirs among them",
    "检查点：其回放含有日志的全部决策，包括此人的",
)
_TABLE = Note(
    "is a table that names the person; only their id was replaced: remove their rows, or import it anew as a log",
    "是含有此人的表格；只替换了编号：请删除其行，或重新导入为日志",
)


def _digests(paths: Sequence[Path], logs: Sequence[ErasedLog]) -> dict[str, bool]:
    """SHA-256 by which runs know a log, file or folder -> whether it held the person."""
    out = {log.sha256: log.removed > 0 for log in logs}
    by_place = {log.path.resolve(): log for log in logs}
    for path in paths:
        folders = [path, *(p for p in path.rglob("*") if p.is_dir())] if path.is_dir() else []
        for folder in folders:
            try:
                parts = [by_place[source.path.resolve()] for source in find_sources([folder])]
            except (EventsError, KeyError):
                continue  # no log
            joined = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
            out[joined] = any(part.removed for part in parts)
    return out


def _erase_from_run(run: Path, digests: dict[str, bool], person: Person, out: Erased, dry_run: bool) -> None:
    """Checkpoints go, typical users that are theirs go, and what is left is said."""
    config = _json(run / "config.json")
    facts = config.get("facts") if isinstance(config, dict) else None
    log = facts.get("log") if isinstance(facts, dict) else None
    digest = log.get("sha256") if isinstance(log, dict) else None
    theirs = digests.get(str(digest)) if digest else None
    audiences = {
        hashlib.sha256(f"log {known}".encode()).hexdigest() for known, held in digests.items() if held
    }
    for folder in (run / UNFINISHED, run / CHECKPOINTS):
        made = [path for path in checkpoints(folder) if theirs or _audience(path) in audiences]
        if made:
            out.removed.append((folder, _REPLAY))
            if folder.name == UNFINISHED and (run, _LEARNED) not in out.retrain:
                out.retrain.append((run, _LEARNED))
            if not dry_run:
                shutil.rmtree(folder)
    if theirs:
        if (run, _LEARNED) not in out.retrain:
            out.retrain.append((run, _LEARNED))
        _erase_users(run, config, person, out, dry_run)
    elif config is not None:
        out.kept.append((run, _SIMULATED if log is None else _STRANGE if theirs is None else _CLEAN))


def _erase_users(run: Path, config: Any, person: Person, out: Erased, dry_run: bool) -> None:
    """Typical users of a run that are equal to the person in one of their decisions."""
    users, fields = config.get("audience"), [f.name for f in CONTEXT.fields]
    if not isinstance(users, list):
        return
    known = []
    for context in person.contexts:
        try:
            known.append([f.parse(context[f.name]) for f in CONTEXT.fields])
        except (InputError, KeyError):
            continue  # such a decision was left out of the training too
    kept = [user for user in users if user not in known]
    if len(kept) == len(users) or len(users[0]) != len(fields):
        return
    count = len(users) - len(kept)
    out.removed.append(
        (
            run / "config.json",
            Note(
                f"{count} typical users with a context that the person had",
                f"{count} 个与此人上下文相同的典型用户",
            ),
        )
    )
    if not dry_run:
        # A run needs one: the first value of every field, which is nobody's.
        config["audience"] = kept or [[0.0 if f.kind == "category" else f.low for f in CONTEXT.fields]]
        write_file(run / "config.json", json.dumps(config, ensure_ascii=False, indent=1).encode())


def _erase_from_text(path: Path, subject: str, out: Erased, dry_run: bool) -> None:
    """Replace the id of the person where it stands by itself."""
    if path.stat().st_size > LARGEST_TEXT:
        out.kept.append((path, _OTHER))
        return
    data = path.read_bytes()
    # As it is, and as JSON and HTML write what is not ASCII or not safe.
    forms = {
        subject,
        json.dumps(subject)[1:-1],
        json.dumps(subject, ensure_ascii=False)[1:-1],
        _as_html(subject),
    }
    pattern = b"|".join(re.escape(form.encode()) for form in sorted(forms, key=len, reverse=True))
    mended, count = re.subn(rb"(?<![0-9A-Za-z_+/=-])(?:" + pattern + rb")(?![0-9A-Za-z_+/=-])", MARK, data)
    if not count:
        return
    if len(subject) < SHORTEST or subject.isdigit():
        out.kept.append((path, _TOO_SHORT))
        return
    out.removed.append((path, Note(f"their id, {count} times", f"其编号，{count} 处")))
    if path.suffix.lower() in (".csv", ".tsv"):
        out.kept.append((path, _TABLE))
    if not dry_run:
        write_file(path, mended)


def _as_html(text: str) -> str:
    import html

    return html.escape(text)


def _audience(checkpoint: Path) -> Any:
    """The hash by which a checkpoint knows its log; None for a damaged one."""
    manifest = _json(checkpoint / MANIFEST)
    try:
        return manifest["body"]["facts"]["audience"]
    except (KeyError, TypeError):
        return None


def _json(path: Path) -> Any:
    try:
        return json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        return None
