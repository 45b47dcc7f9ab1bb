"""`events check`: everything that is known about a log before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_dql.datasets.events.checks import reason_text
from multimodal_dql.datasets.events.identifiers import Finding, Identifiers
from multimodal_dql.datasets.events.reading import PART, EventLog
from multimodal_dql.datasets.events.schema import Note, event_schema
from multimodal_dql.datasets.events.session_ids import SessionIds

__all__ = ["LogReport", "check_log"]


@dataclass(frozen=True)
class LogReport:
    """What was found.

    Attributes:
        files: of the log.
        read: rows met.
        usable: rows that can be used.
        excluded: reason -> rows that cannot.
        notes: what excludes nothing.
        personal: columns that look personal.
        searched: rows searched for that.
        names: column -> value -> rows, of policy, model version and catalogue fingerprint.
    """

    files: int
    read: int
    usable: int
    excluded: dict[str, int]
    notes: list[Note]
    personal: list[Finding]
    searched: int
    names: dict[str, dict[str, int]]

    def must_fix(self, allow_personal: bool = False) -> bool:
        """Whether the log must not be used as it is: wrong rows, no right ones, or something personal."""
        return bool(self.excluded) or not self.usable or (bool(self.personal) and not allow_personal)

    def as_dict(self, lang: str) -> dict[str, Any]:
        """For JSON; texts in ``en`` or ``zh``, the keys of `excluded` always in English."""
        return {
            "files": self.files,
            "rows": self.read,
            "usable": self.usable,
            "excluded": self.excluded,
            "excluded_zh": {reason_text(r, "zh"): n for r, n in self.excluded.items()},
            "notes": [note.text(lang) for note in self.notes],
            "personal": [
                {"column": f.column, "kind": f.kind, "values": f.values, "example": f.example}
                for f in self.personal
            ],
            "personal_rows_searched": self.searched,
            "personal_search": "full" if self.searched >= self.read else "sample",
            "values": self.names,
        }


def check_log(paths: Sequence[Path], *, sample: int = 0) -> LogReport:
    """Read all of a log; search it for identifiers, all or about `sample` rows spread over it.

    Raises:
        EventsError: it cannot be read.
    """
    log = EventLog(list(paths), allow_personal=True)
    usable = sum(table.num_rows for table in log.stream())
    found, sessions, searched, met = Identifiers(), SessionIds(), 0, 0
    every = max(log.read // sample, 1) if sample else 1
    names = [name for name in event_schema().names if name != "schema_version"]
    for source in log.sources:
        # Batches as large as the step: of each the first is looked at.
        for raw in source.batches(names, PART, extra=True):
            sessions.add(raw.table, raw.extra)
            if every > 1:
                at = range(-met % every, raw.table.num_rows, every)
                met += raw.table.num_rows
                found.look_at(raw.table.take(list(at)), {k: v[: len(at)] for k, v in raw.extra.items()})
                searched += len(at)
            else:
                found.look_at(raw.table, raw.extra)
                searched += raw.read
    return LogReport(
        files=len(log.sources),
        read=log.read,
        usable=usable,
        excluded=dict(log.excluded),
        notes=[*log.notes, *sessions.notes],
        personal=[*found.findings, *sessions.findings],
        searched=searched,
        names=log.names,
    )
