"""Logged decisions: one row each, with the probability of what was shown (its propensity).

Parquet or JSONL, one file or a folder of parts; `docs/logs.md` has the rules. Reading checks every row; other formats
come in through `events import`.
"""

from __future__ import annotations

from multimodal_dql.datasets.events.checks import REASONS, reason_text
from multimodal_dql.datasets.events.reading import EventLog, Events, read_events
from multimodal_dql.datasets.events.schema import EVENTS_VERSION, Note, event_schema
from multimodal_dql.datasets.events.writing import EventWriter

__all__ = [
    "EVENTS_VERSION",
    "REASONS",
    "EventLog",
    "EventWriter",
    "Events",
    "Note",
    "event_schema",
    "read_events",
    "reason_text",
]
