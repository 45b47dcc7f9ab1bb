"""Encoding a catalogue file of any size: the embeddings go to the cache, and only bookkeeping stays in memory.

`features` gives the arrays that training and ranking need, and holds them; this fills the same cache with the
same bytes and holds some 50 bytes a row.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_dql.datasets.catalogue import Variant
from multimodal_dql.datasets.scan import CatalogueScan, scan_catalogue
from multimodal_dql.encoders.base import Encoder, EncoderInfo, Modality
from multimodal_dql.encoders.inputs import content_key
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.registry import DEFAULT_ENCODERS
from multimodal_dql.encoding import MODALITIES, Active, Engine, LocalEngine, Row, Vectors, encode_rows
from multimodal_dql.errors import EncoderUnavailable, InputError, MediaError, Problem
from multimodal_dql.features import Progress, distinct, loss, nothing_left, too_few

__all__ = ["Encoded", "encode_file"]


@dataclass(frozen=True)
class Encoded:
    """What was done.

    Attributes:
        items: that keep two variants or more.
        variants: of these items, with an embedding for all that they have.
        encoders: without those that are not available here.
        skipped: one finding for each variant, item or encoder that was left out.
        encoded: embeddings made now, one for each encoder and distinct content.
        cached: embeddings that were in the cache before.
        seconds: wall-clock time.

    """

    items: int
    variants: int
    encoders: tuple[EncoderInfo, ...]
    skipped: tuple[Problem, ...]
    encoded: int
    cached: int
    seconds: float


def encode_file(
    path: str | Path,
    encoders: Sequence[str | Encoder] = DEFAULT_ENCODERS,
    *,
    cache: Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Encoded:
    """Encodes what the cache lacks of the catalogue at `path`.

    Args:
        path: a catalogue.
        encoders: names, or encoders made by the caller.
        cache: folder of the embeddings; the user's cache folder if None.
        strict: raise the first finding instead of going on without the variant or encoder concerned.
        progress: called as (encoder name, rows done, rows in all), cached ones included.
        engine: where the work is done; this process if None.

    Raises: what `read_catalogue` and `features` raise.

    """
    began = time.perf_counter()
    scan = scan_catalogue(path)
    root = cache if cache is not None else cache_root() / "features"
    active = [Active.of(encoder, root) for encoder in distinct(encoders)]
    run = _Run(scan, active, strict, progress, engine or LocalEngine())
    for modality in MODALITIES:
        run.encode(modality)
    return run.result(began)


class _Run:
    """The state of one call of `encode_file`."""

    def __init__(
        self,
        scan: CatalogueScan,
        active: list[Active],
        strict: bool,
        progress: Progress | None,
        engine: Engine,
    ) -> None:
        self.scan, self.active, self.strict = scan, active, strict
        self.progress, self.engine = progress, engine
        self.skipped: list[Problem] = []
        self.lost: set[int] = set()
        self.encoded = 0
        self.tried: Counter[str] = Counter()
        # 8 bytes of each content key tell how many are different; two that meet would be a miscount, no more.
        self.keys = {active.info.name: array("Q") for active in active}

    def encode(self, modality: Modality) -> None:
        """One walk over the catalogue for all encoders of a modality."""
        users = [active for active in self.active if active.info.modality == modality]
        if users and self.scan.named[modality]:
            encode_rows(
                modality,
                users,
                self._rows(modality, users),
                self.engine,
                available=self._available,
                lost=lambda variant, error: self._lose(variant, modality, error),
                stored=self._stored,
            )

    def _rows(self, modality: Modality, users: list[Active]) -> Iterator[Row]:
        done = 0
        for variant in self.scan.variants():
            try:
                key = content_key(variant, modality)
            except MediaError as error:
                key = None
                self._lose(variant, modality, error)
            if key is not None:
                for active in users:
                    if active.covers(variant):
                        self.keys[active.info.name].append(int.from_bytes(key[:8], "little"))
            done += key is not None
            yield variant, key
            if self.progress is not None and key is not None:
                for active in users:
                    self.progress(active.info.name, done, self.scan.named[modality])

    def _available(self, active: Active) -> bool:
        try:
            self.engine.ready(active)
        except EncoderUnavailable as error:
            if self.strict or len(self.active) == 1:
                raise
            self.active.remove(active)
            self.skipped.append(Problem(f"encoder {active.info.name}", error, "warning"))
            return False
        return True

    def _stored(self, active: Active, vectors: Vectors, contents: int) -> None:
        self.encoded += len(vectors)
        self.tried[active.info.name] += contents

    def _lose(self, variant: Variant, modality: Modality, error: InputError) -> None:
        if self.strict:
            raise error
        if variant.line not in self.lost:
            self.lost.add(variant.line)
            self.skipped.append(loss(variant, modality, error))

    def result(self, began: float) -> Encoded:
        """The counts, after the items that lost too much are named."""
        left = self.scan.sizes.copy()
        if self.lost or (left < 2).any():
            for n, variant in enumerate(self.scan.variants()):
                left[self.scan.item_of[n]] -= variant.line in self.lost
            self._name_small_items(left)
        if not (left >= 2).any():
            raise nothing_left(self.scan.path, self.skipped)
        cached = 0
        for active in self.active:
            contents = np.unique(np.array(self.keys[active.info.name]))
            cached += len(contents) - self.tried[active.info.name]
        return Encoded(
            int((left >= 2).sum()),
            int(left[left >= 2].sum()),
            tuple(active.info for active in self.active),
            tuple(self.skipped),
            self.encoded,
            cached,
            time.perf_counter() - began,
        )

    def _name_small_items(self, left: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
        named: set[int] = set()
        for n, variant in enumerate(self.scan.variants()):
            item = int(self.scan.item_of[n])
            if left[item] < 2 and item not in named:
                named.add(item)
                error = too_few(self.scan.path, variant.item_id, int(left[item]), int(self.scan.sizes[item]))
                if self.strict:
                    raise error
                self.skipped.append(Problem(variant.item_id, error, "error", variant.item_id))
