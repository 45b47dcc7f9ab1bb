"""Logs whose truth is known: a small newsroom that chooses by chance, with the chances written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from multimodal_dql.datasets.events import event_schema

NAMES = ("甲", "b", "🙂", "د")


@dataclass(frozen=True)
class Newsroom:
    """Stories with click rates of their variants, padded with 0, and the chances with which the log shows them."""

    rates: np.ndarray[Any, Any]
    chances: np.ndarray[Any, Any]

    @property
    def uniform(self) -> float:
        """Clicks a decision of choosing evenly, stories being equally frequent."""
        return float(np.mean([r[c > 0].mean() for r, c in zip(self.rates, self.chances, strict=True)]))

    @property
    def logged(self) -> float:
        """Clicks a decision of the log."""
        return float((self.rates * self.chances).sum(axis=1).mean())

    @property
    def first(self) -> float:
        """Clicks a decision of always the first variant."""
        return float(self.rates[:, 0].mean())


ROOM = Newsroom(
    np.array([[0.30, 0.10, 0.20, 0.0], [0.05, 0.25, 0.0, 0.0], [0.10, 0.10, 0.40, 0.20]]),
    np.array([[0.10, 0.50, 0.40, 0.0], [0.70, 0.30, 0.0, 0.0], [0.25, 0.25, 0.10, 0.40]]),
)


def newsroom_log(rows: int, seed: int, room: Newsroom = ROOM, variants: Sequence[str] = NAMES) -> pa.Table:
    """`rows` decisions, about three a session, with the columns of `event_schema`."""
    rng = np.random.default_rng(seed)
    story = rng.integers(0, len(room.rates), rows)
    action = (rng.random(rows)[:, None] > room.chances[story].cumsum(axis=1)).sum(axis=1)
    click = rng.random(rows) < room.rates[story, action]
    sizes = (room.chances > 0).sum(axis=1)
    columns: dict[str, Any] = {
        "event_id": [f"e{i}" for i in range(rows)],
        "time": pa.array(1_700_000_000_000_000 + 60_000_000 * np.arange(rows), pa.timestamp("us", tz="UTC")),
        "session_id": [f"s{i}" for i in rng.integers(0, rows // 3 + 1, rows)],
        "item_id": [f"故事{i}" for i in story],
        "candidates": [list(variants[: sizes[i]]) for i in story],
        "action": [variants[a] for a in action],
        "probability": room.chances[story, action],
        "click": click.astype(np.int8),
        "dwell_seconds": np.where(click, 10.0 * (1 + story), np.nan),
        "policy": ["旧策略"] * rows,
        "schema_version": np.ones(rows, np.int32),
    }
    columns["dwell_seconds"] = pa.array(columns["dwell_seconds"], mask=~click)
    schema = pa.schema([event_schema().field(name) for name in columns])
    return pa.Table.from_arrays(
        [pa.array(v, schema.field(n).type) if not isinstance(v, pa.Array) else v for n, v in columns.items()],
        schema=schema,
    )
