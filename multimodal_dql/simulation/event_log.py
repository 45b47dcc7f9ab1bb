"""Simulated sessions as events, in the form in which real decisions are logged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.datasets.events import EVENTS_VERSION, event_schema
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.experiment import Block
from multimodal_dql.simulation.kernels import CONTEXT_AT

__all__ = ["events_of"]

START_SECONDS = 1_767_225_600  # 2026-01-01 00:00 UTC: simulated time has to begin somewhere
SECONDS_A_SESSION, SECONDS_A_STORY = 1, 30


def events_of(block: Block, catalogue: Catalogue, *, model_version: str, fingerprint: str) -> Any:
    """The decisions of a block as a `pyarrow.Table` with the columns of `event_schema`, session by session.

    Time is simulated: session number in seconds after 2026-01-01, half a minute a story.
    """
    import pyarrow as pa

    sessions = block.sessions
    if sessions.log is None:
        raise ValueError("no log was kept")
    on = np.arange(sessions.log.shape[1]) < sessions.lengths[:, None]
    row, step = np.nonzero(on)
    ids = sessions.ids[row]
    field = {name: sessions.field(name)[on] for name in _NUMBERS}
    item, action = sessions.field("item")[on].astype(np.int64), sessions.field("action")[on].astype(np.int64)
    variants = [[v.variant_id for v in entry.variants] for entry in catalogue.items]
    sizes = np.array([len(v) for v in variants])
    time = (START_SECONDS + ids * SECONDS_A_SESSION + step * SECONDS_A_STORY) * 1_000_000
    count = len(item)
    columns = {
        "event_id": [f"{block.arm.name}-{s}-{t}" for s, t in zip(ids.tolist(), step.tolist(), strict=True)],
        "time": pa.array(time, pa.timestamp("us", tz="UTC")),
        "session_id": [f"s{s}" for s in ids.tolist()],
        "item_id": np.array([entry.item_id for entry in catalogue.items], dtype=object)[item],
        "context": _context(sessions.log[on][:, CONTEXT_AT:]),
        "candidates": _nested(pa.array([v for of in variants for v in of], pa.string()), item, sizes),
        "records": _records(block, item, sizes),
        "action": [variants[i][a] for i, a in zip(item.tolist(), action.tolist(), strict=True)],
        "click": field.pop("click").astype(np.int8),
        **field,
        "policy": _same(block.arm.name, count),
        "model_version": _same(model_version, count),
        "catalogue_fingerprint": _same(fingerprint, count),
        "schema_version": np.full(count, EVENTS_VERSION, dtype=np.int32),
    }
    schema = event_schema()
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, schema.field(name).type)
        for name, column in ((name, columns[name]) for name in schema.names)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


_NUMBERS = (
    "probability", "click", "dwell_seconds", "satisfaction", "conversion_value", "conversion_delay_hours",
)  # fmt: skip


def _same(text: str, count: int) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text], pa.string()))


def _spans(item: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Offsets of lists of candidates, (B + 1,), and where each entry lies in the lists of all stories end to end."""
    first = np.cumsum(sizes) - sizes
    offsets = np.concatenate([[0], np.cumsum(sizes[item])]).astype(np.int32)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes[item])
    return offsets, np.repeat(first[item], sizes[item]) + within


def _nested(values: Any, item: NDArray[np.int64], sizes: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    offsets, at = _spans(item, sizes)
    return pa.ListArray.from_arrays(pa.array(offsets), values.take(pa.array(at)))


def _records(block: Block, item: NDArray[np.int64], sizes: NDArray[np.int64]) -> Any:
    """Impressions and clicks of each candidate when the decision fell."""
    import pyarrow as pa

    kept = np.arange(block.ledger.impressions.shape[1]) < sizes[:, None]
    offsets, at = _spans(item, sizes)
    counts = [pa.array(table[kept][at]) for table in (block.ledger.impressions, block.ledger.clicks)]
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.StructArray.from_arrays(counts, ["impressions", "clicks"])
    )


def _context(told: NDArray[np.float64]) -> Any:
    """What the policy was told, as a map from name to text, categories by their names."""
    import pyarrow as pa

    columns = []
    for k, spec in enumerate(CONTEXT.fields):
        value = told[:, k]
        if spec.kind == "category":
            columns.append(np.array(spec.values, dtype=object)[value.astype(np.int64)])
        else:
            columns.append(np.array([f"{v:.6g}" for v in value.tolist()], dtype=object))
    width = len(CONTEXT.fields)
    names = pa.array([spec.name for spec in CONTEXT.fields] * len(told), pa.string())
    texts = pa.array(np.stack(columns, axis=1).ravel() if len(told) else [], pa.string())
    offsets = pa.array(np.arange(len(told) + 1, dtype=np.int32) * width)
    return pa.MapArray.from_arrays(offsets, names, texts)
