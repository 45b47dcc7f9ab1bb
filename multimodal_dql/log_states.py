"""Batches of a log as the states that policies decide on, in the order in which the log lists the candidates.

Nothing here knows what a policy would do, and nothing is learned. With a catalogue the candidates have content; without
one they have only what the log says of them, which is enough for every policy that reads counts or positions.

Shape letters: ``B`` decisions, ``K`` candidates (padded, masked).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.datasets.events.ids import hash_texts
from multimodal_dql.evaluation.ope import cluster
from multimodal_dql.evaluation.ope.decisions import mixed
from multimodal_dql.log_columns import contexts
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.state import RECORD_WIDTH, Counts, State, record_features

__all__ = ["KnownVariants", "LogBatch", "LogStates"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Bools = NDArray[np.bool_]

NAMED = 100_000
"""Variants whose names are kept, so that the memory does not grow with the log."""


def within(item: Keys, variant: Keys) -> Keys:
    """Keys of variants within their stories: the same text may name variants of several stories."""
    return mixed(item) ^ variant


@dataclass(frozen=True)
class LogBatch:
    """Decisions of a log, ready for a policy and for an estimator.

    Attributes:
        state: what the policy is told; candidates stand as in the log.
        item: (B,) key of the story.
        keys: (B, K) key of each candidate within its story, 0 for padding.
        unit: (B,) key of the independent unit: the session, or the decision where no session is known.
        action: (B,) column of the candidate that was shown.
        propensity: (B,) its logged probability.
        reward: (B,).
        time: (B,) seconds since 1970, NaN where unknown.
        kinds: (B, K) of each candidate, -1 for padding; None where variants have none.
    """

    state: State
    item: Keys
    keys: Keys
    unit: Keys
    action: Ints
    propensity: Floats
    reward: Floats
    time: Floats
    kinds: Ints | None = None

    def __len__(self) -> int:
        return len(self.action)


class KnownVariants:
    """Where the variants of a catalogue lie in its `Candidates`, found by the keys of story and variant.

    Args:
        item_ids: of the stories.
        variant_ids: of each story's variants.
        candidates: of the same stories and variants.
        kinds: into how many kinds the variants are grouped, by what sets their content apart from their siblings'; 0
            for none.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        variant_ids: Sequence[Sequence[str]],
        candidates: Candidates,
        kinds: int = 0,
    ) -> None:
        import pyarrow as pa

        items = hash_texts(pa.array(list(item_ids), pa.string()))
        story = np.repeat(np.arange(len(item_ids)), [len(of) for of in variant_ids])
        variants = hash_texts(pa.array([v for of in variant_ids for v in of], pa.string()))
        slot = np.concatenate([np.arange(len(of)) for of in variant_ids])
        keys = within(items[story], variants)
        order = np.argsort(keys)
        self._keys, self._row = keys[order], candidates.table[story, slot][order]
        by_item = np.argsort(items)
        self._items, self._story = items[by_item], by_item
        self.candidates = candidates
        self.kinds = _kinds(candidates, kinds) if kinds else None

    def rows(self, keys: Keys) -> Ints:
        """Rows of `Candidates.content`, as `keys`; -1 where the catalogue has no such variant."""
        return _found(self._keys, self._row, keys)

    def stories(self, items: Keys) -> Ints:
        """Numbers of the stories, -1 where the catalogue has no such story."""
        return _found(self._items, self._story, items)


class LogStates:
    """Turns tables of a log into `LogBatch` es.

    Args:
        reward: the column that is earned.
        known: variants of a catalogue; without it the candidates have no content.
        base_rate: clicks an impression that the record features are relative to (`record_features`).

    Attributes:
        left_out: decisions that could not be used so far, by reason.
        names: (item_id, variant_id) of the first `NAMED` keys.
        sessions: whether any decision so far says of which session it is.
    """

    def __init__(self, reward: str, known: KnownVariants | None = None, base_rate: float = 0.05) -> None:
        self.reward, self.known, self.base_rate = reward, known, base_rate
        self.left_out: Counter[str] = Counter()
        self.names: dict[int, tuple[str, str]] = {}
        self.sessions = False

    @classmethod
    def columns(cls, reward: str) -> tuple[str, ...]:
        """The columns of the log that are read."""
        needed = ("event_id", "session_id", "time", "item_id", "context", "candidates", "records")
        return (*needed, "action", "probability", "click", *(() if reward == "click" else (reward,)))

    def __call__(self, table: Any) -> LogBatch:
        """A `pyarrow.Table` of rows that passed the checks of `multimodal_dql.datasets.events`."""
        lists = table["candidates"].combine_chunks()
        sizes = np.diff(lists.offsets.to_numpy()).astype(np.int64)
        item = hash_texts(table["item_id"].combine_chunks())
        names = hash_texts(lists.flatten())
        row, slot = _places(sizes)
        self._name(table["item_id"], lists.flatten(), row, within(item[row], names))
        shape = (len(sizes), max(int(sizes.max(initial=1)), 1))
        free = np.arange(shape[1]) < sizes[:, None]
        keys = np.zeros(shape, np.uint64)
        keys[row, slot] = within(item[row], names)
        action = (keys == within(item, hash_texts(table["action"].combine_chunks()))[:, None]) & free
        reward, priced = self._rewards(table)
        content, kinds, good = self._content(item, keys, free)
        context, told = self._context(table)
        counts = self._counts(table, sizes, row, slot, shape)
        used = self._used(
            {
                "candidates that are not in the catalogue": good,
                "a context that is incomplete or out of range": told,
                f"a click without {self.reward}": priced,
            }
        )
        record = np.zeros((*shape, RECORD_WIDTH), np.float32)
        if self.known is not None:
            record = record_features(counts.impressions, counts.clicks, free, self.base_rate)
        story = self.known.stories(item) if self.known is not None else np.zeros(len(item), np.int64)
        state = State(*content, record, context, free, story, counts)
        batch = LogBatch(
            state=state,
            item=item,
            keys=keys,
            unit=self._units(table),
            action=action.argmax(axis=1),
            propensity=np.asarray(table["probability"].to_numpy(), np.float64),
            reward=reward,
            time=_seconds(table),
            kinds=kinds,
        )
        return batch if used.all() else _only(batch, used)

    def _content(self, item: Keys, keys: Keys, free: Bools) -> tuple[tuple[Any, Any], Ints | None, Bools]:
        """Content, presence and kinds of the candidates; which decisions have only variants of the catalogue."""
        if self.known is None:
            none = np.zeros((*keys.shape, 0), np.float32)
            return (none, none), None, np.ones(len(keys), np.bool_)
        rows = np.where(free, self.known.rows(keys), -1)
        good = ((rows >= 0) == free).all(axis=1)
        table = self.known.candidates
        kinds = None if self.known.kinds is None else self.known.kinds[rows]
        return (table.content[rows], table.present[rows]), kinds, good  # the last row, -1, is padding

    def _context(self, table: Any) -> tuple[NDArray[np.float32], Bools]:
        """What an agent is told of the audience; nothing for the others."""
        if self.known is None:
            return np.zeros((table.num_rows, 0), np.float32), np.ones(table.num_rows, np.bool_)
        values, told = contexts(table)
        columns = {f.name: np.where(told, values[:, i], 0.0) for i, f in enumerate(CONTEXT.fields)}
        return CONTEXT.encode(columns), told

    def _rewards(self, table: Any) -> tuple[Floats, Bools]:
        """What each decision earned; without a click nothing else is earned, so that an empty cell then means 0."""
        click = np.asarray(table["click"].to_numpy(), np.float64)
        if self.reward == "click":
            return click, np.ones(len(click), np.bool_)
        value = np.asarray(table[self.reward].fill_null(np.nan).to_numpy(), np.float64)
        return np.where(np.isnan(value), 0.0, value), ~np.isnan(value) | (click == 0)

    def _counts(self, table: Any, sizes: Ints, row: Ints, slot: Ints, shape: tuple[int, int]) -> Counts:
        """Impressions and clicks of the candidates when the decision fell; zero where the log has none."""
        out = np.zeros((2, *shape), np.int64)
        held = table["records"].combine_chunks() if "records" in table.column_names else None
        if held is not None and held.null_count == 0:
            given = np.diff(held.offsets.to_numpy())
            if np.array_equal(given, sizes):
                flat = held.flatten()
                for part, name in enumerate(("impressions", "clicks")):
                    out[part][row, slot] = flat.field(name).fill_null(0).to_numpy(zero_copy_only=False)
        impressions = np.maximum(out[0], out[1])
        return Counts(
            impressions, out[1], impressions.sum(axis=1).astype(np.float64), np.full(shape[0], np.inf)
        )

    def _name(self, items: Any, variants: Any, row: Ints, keys: Keys) -> None:
        found, first = np.unique(keys, return_index=True)
        new = [i for i, key in enumerate(found.tolist()) if key not in self.names]
        at = first[new[: max(NAMED - len(self.names), 0)]]
        texts = zip(items.take(row[at]).to_pylist(), variants.take(at).to_pylist(), strict=True)
        self.names.update(zip(keys[at].tolist(), texts, strict=True))

    def _units(self, table: Any) -> Keys:
        """Keys of sessions; a decision without one is a unit of its own."""
        own = hash_texts(table["event_id"].combine_chunks())
        if "session_id" not in table.column_names:
            return own
        session = table["session_id"].combine_chunks()
        absent = session.is_null().to_numpy(zero_copy_only=False)
        self.sessions |= not bool(absent.all())
        return np.where(absent, own, hash_texts(session))

    def _used(self, conditions: dict[str, Bools]) -> Bools:
        """Decisions that meet all conditions; the others are counted by the first that they fail."""
        rest = np.ones(len(next(iter(conditions.values()))), np.bool_)
        for reason, good in conditions.items():
            failed = int((rest & ~good).sum())
            if failed:
                self.left_out[reason] += failed
            rest &= good
        return rest


def _only(batch: LogBatch, used: Bools) -> LogBatch:
    state, counts = batch.state, batch.state.counts
    fields = {name: getattr(state, name)[used] for name in (*state.inputs(), "item")}
    if counts is not None:
        counts = Counts(
            counts.impressions[used], counts.clicks[used], counts.elapsed[used], counts.horizon[used]
        )
    rest = {
        name: getattr(batch, name)[used]
        for name in ("item", "keys", "unit", "action", "propensity", "reward", "time")
    }
    kinds = None if batch.kinds is None else batch.kinds[used]
    return LogBatch(state=State(**fields, counts=counts), kinds=kinds, **rest)


def _kinds(candidates: Candidates, kinds: int) -> Ints:
    """Kind of each row of `Candidates.content`, -1 for padding."""
    of = candidates.content[candidates.table].astype(np.float64)
    free = candidates.available[..., None]
    centre = (of * free).sum(1, keepdims=True) / np.maximum(free.sum(1, keepdims=True), 1)
    apart = (of - centre)[candidates.available]
    found = np.full(len(candidates.content), -1, np.int64)
    found[candidates.table[candidates.available]] = cluster(apart, kinds)
    return found


def _places(sizes: Ints) -> tuple[Ints, Ints]:
    """Row and column, in a padded table, of every entry of lists of these sizes laid end to end."""
    row = np.repeat(np.arange(len(sizes)), sizes)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _found(sorted_keys: Keys, values: Ints, keys: Keys) -> Ints:
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.asarray(np.where(sorted_keys[at] == keys, values[at], -1))


def _seconds(table: Any) -> Floats:
    if "time" not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table["time"].to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6)
