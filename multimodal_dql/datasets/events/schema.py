"""The columns of a log of decisions, and which of them somebody needs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from multimodal_dql.errors import EventsError

__all__ = [
    "EVENTS_VERSION",
    "HELPFUL",
    "NEEDED",
    "REQUIRED",
    "REWARD_PARTS",
    "SUBJECT_COLUMNS",
    "Note",
    "event_schema",
    "refused",
]

EVENTS_VERSION = 1

REQUIRED = ("event_id", "time", "item_id", "candidates", "action", "probability", "click")
"""What a policy can be judged from."""
NEEDED = ("item_id", "context", "candidates", "action", "click")
"""What an agent can learn from."""
HELPFUL = ("event_id", "session_id", "time", "records", "policy", "probability")
"""What makes it learn more when it is there."""
REWARD_PARTS = ("click", "dwell_seconds", "satisfaction", "conversion_value", "conversion_delay_hours")
SUBJECT_COLUMNS = ("session_id", "subject", "subject_id", "user_id")
"""Columns, or names in a context, that may say whose decision it was; the schema's own is ``session_id``."""


def event_schema() -> pa.Schema:
    """The columns of a log of decisions, as a `pyarrow.Schema`.

    ``session_id`` is opaque: nothing in it says who a person is. ``context`` is what the policy was told about the
    audience; ``candidates`` are variant ids, ``records`` their impressions and clicks when the decision fell,
    ``action`` the variant shown and ``probability`` that of showing it. Embeddings come from the catalogue.
    """
    record = pa.struct([pa.field("impressions", pa.int64()), pa.field("clicks", pa.int64())])
    return pa.schema(
        [
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("session_id", pa.string()),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("context", pa.map_(pa.string(), pa.string())),
            pa.field("candidates", pa.list_(pa.string()), nullable=False),
            pa.field("records", pa.list_(record)),
            pa.field("action", pa.string(), nullable=False),
            pa.field("probability", pa.float64(), nullable=False),
            pa.field("click", pa.int8(), nullable=False),
            pa.field("dwell_seconds", pa.float64()),
            pa.field("satisfaction", pa.float64()),
            pa.field("conversion_value", pa.float64()),
            pa.field("conversion_delay_hours", pa.float64()),
            pa.field("policy", pa.dictionary(pa.int32(), pa.string())),
            pa.field("model_version", pa.dictionary(pa.int32(), pa.string())),
            pa.field("catalogue_fingerprint", pa.dictionary(pa.int32(), pa.string())),
            pa.field("schema_version", pa.int32(), nullable=False),
        ]
    )


class Note(str):
    """Something worth saying about a log that excludes no row: an English text with its Chinese counterpart."""

    zh: str

    def __new__(cls, en: str, zh: str) -> Note:
        """A text in both languages."""
        self = super().__new__(cls, en)
        self.zh = zh
        return self

    def text(self, lang: str) -> str:
        """In ``en`` or ``zh``."""
        return self.zh if lang == "zh" else str(self)


def refused(path: Path | str, en: str, zh: str) -> EventsError:
    """Why a log cannot be used, and the cure."""
    return EventsError(path=path, detail=en, detail_zh=zh)
