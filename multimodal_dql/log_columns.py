"""The columns of a log of decisions as arrays that fit a catalogue; what does not fit is marked, not guessed.

Shape letters: ``N`` rows of the log, ``K`` candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.errors import InputError
from multimodal_dql.simulation.audience import CONTEXT

__all__ = ["MISFITS", "Records", "choices", "contexts", "left_out", "probabilities", "sessions"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Records:
    """Whether the candidates of a decision are those of the catalogue, (N,), and their counts, (N, K)."""

    fit: Bools
    impressions: Ints
    clicks: Ints


def choices(table: Any, catalogue: Catalogue, candidates: Candidates) -> tuple[Ints, Ints, Records]:
    """The story (N,) and the candidate shown (N,), -1 where unknown, and the candidates with their records.

    `table` is what `multimodal_dql.datasets.events.read_events` gave.
    """
    stories = {entry.item_id: i for i, entry in enumerate(catalogue.items)}
    slots = {
        (i, variant.variant_id): k
        for i, entry in enumerate(catalogue.items)
        for k, variant in enumerate(entry.variants)
    }
    item = _looked_up(table["item_id"], stories)
    lists = table["candidates"].combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy())
    row = np.repeat(np.arange(len(item)), lengths)
    slot = _slots(item[row], lists.flatten(), slots)
    shape = (len(item), candidates.size)
    present = np.zeros(shape, np.bool_)
    inside = slot >= 0
    present[row[inside], slot[inside]] = True
    size = candidates.available.sum(axis=1)[np.maximum(item, 0)]
    fit = (item >= 0) & (lengths == size) & (present.sum(axis=1) == size)
    counts = np.zeros((2, *shape), np.int64)
    held = table["records"].combine_chunks()
    # Reading left out what is not one record for each candidate; where there are none, the counts are unknown: 0.
    told = np.repeat(held.is_valid().to_numpy(zero_copy_only=False), lengths)
    for part, name in enumerate(("impressions", "clicks")):
        numbers = np.zeros(len(row), np.int64)
        numbers[told] = held.flatten().field(name).to_numpy(zero_copy_only=False)
        counts[part][row[inside], slot[inside]] = numbers[inside]
    shown = _slots(item, table["action"].combine_chunks(), slots)
    return item, shown, Records(fit, counts[0], counts[1])


def _looked_up(column: Any, known: dict[str, int]) -> Ints:
    """Numbers of texts, (N,), -1 for what is not known."""
    encoded = column.combine_chunks().dictionary_encode()
    numbers = np.array([known.get(text, -1) for text in encoded.dictionary.to_pylist()] or [-1], np.int64)
    return np.asarray(numbers[encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)])


def _slots(item: Ints, variants: Any, slots: dict[tuple[int, str], int]) -> Ints:
    """The place of each variant among its story's, -1 where there is none."""
    encoded = variants.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    pairs, back = np.unique(item * max(len(texts), 1) + code, return_inverse=True)
    found = [slots.get((int(pair // len(texts)), texts[pair % len(texts)]), -1) for pair in pairs]
    return np.asarray(np.array(found or [-1], np.int64)[back])


def contexts(table: Any) -> tuple[Array, Bools]:
    """Values of `CONTEXT`, (N, fields), and which rows have all of them."""
    held = table["context"].combine_chunks()
    row = np.repeat(np.arange(len(held)), np.diff(held.offsets.to_numpy()))
    keys = held.keys.dictionary_encode()
    names = np.array([*keys.dictionary.to_pylist(), None], dtype=object)[keys.indices.to_numpy()]
    texts = held.items
    out = np.full((len(held), len(CONTEXT.fields)), np.nan)
    for i, field in enumerate(CONTEXT.fields):
        here = np.flatnonzero(names == field.name)
        encoded = texts.take(_indices(here)).dictionary_encode()
        values = []
        for text in encoded.dictionary.to_pylist():
            try:
                values.append(field.parse(text))
            except InputError:
                values.append(np.nan)
        code = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
        out[row[here], i] = np.array([*values, np.nan])[code]
    return out, np.isfinite(out).all(axis=1)


def _indices(at: Ints) -> Any:
    import pyarrow as pa

    return pa.array(at)


MISFITS = {
    "stories that are not in the catalogue": "条目不在目录中",
    "candidates that are not those of the catalogue": "候选与目录不符",
    "a context that is incomplete or out of range": "上下文不完整或超出范围",
}
"""Why a decision that is right in itself cannot be used with a catalogue: English -> Chinese."""


def left_out(item: Ints, shown: Ints, fit: Bools, known: Bools) -> dict[str, int]:
    """Decisions that cannot be used, each by the first of `MISFITS`."""
    out: dict[str, int] = {}
    rest = np.ones(len(item), np.bool_)
    for reason, good in zip(MISFITS, (item >= 0, fit & (shown >= 0), known), strict=True):
        count = int((rest & ~good).sum())
        if count:
            out[reason] = count
        rest &= good
    return out


def sessions(table: Any, good: Bools) -> tuple[Ints, Bools]:
    """Rows in the order of sessions and time, (N,), and where a session ends, (N,)."""
    n = len(good)
    key = np.arange(n) + n  # without a session, a decision stands alone
    session = table["session_id"].combine_chunks().dictionary_encode().indices
    absent = session.is_null().to_numpy(zero_copy_only=False)
    who = session.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    texts = [p or "" for p in table["policy"].to_pylist()]
    policy = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    # Arms of a paired simulation share the numbers of their sessions.
    both = np.unique(who * (int(policy.max(initial=0)) + 1) + policy, return_inverse=True)[1]
    key = np.where(absent, key, both)
    time = table["time"].to_numpy().astype("datetime64[us]").astype(np.int64)
    order = np.lexsort((np.arange(n), time, key))
    order = order[good[order]]
    return order, np.append(key[order][1:] != key[order][:-1], True)


def probabilities(table: Any) -> Array:
    """Propensities, (N,); NaN where unknown."""
    return np.asarray(table["probability"].to_numpy(), np.float64)
