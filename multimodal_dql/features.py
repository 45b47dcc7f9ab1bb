"""Catalogue -> embeddings, each made once.

An embedding is cached under what it was made from (the bytes of the file, or the text) and by what it was
made (the encoder's fingerprint), so that renaming a file, moving a catalogue or adding a variant encodes
nothing twice. Encoders whose embeddings are all cached are never loaded.

Letters: `N` variants in the order of the catalogue, `D` length of an embedding.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.encoders.base import Encoder, EncoderInfo, Modality
from multimodal_dql.encoders.inputs import content_key
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.registry import DEFAULT_ENCODERS
from multimodal_dql.encoders.store import StoreInfo, clear_stores, store_infos
from multimodal_dql.encoding import MODALITIES, Active, LocalEngine, encode_rows
from multimodal_dql.errors import (
    CatalogueError,
    EncoderUnavailable,
    InputError,
    MediaError,
    Problem,
    UsageError,
)

__all__ = [
    "Features",
    "PastEffects",
    "Progress",
    "cache_info",
    "clear_cache",
    "distinct",
    "features",
    "loss",
    "nothing_left",
    "too_few",
]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PastEffects:
    """What past A/B tests expect of the variants of a catalogue (`multimodal_dql.past_tests`).

    Attributes:
        fingerprint: of the content prior that says so.
        effect: (N,) expected logit of a click against the siblings, 0 where nothing is known.
        known: (N,).
    """

    fingerprint: str
    effect: NDArray[np.float64]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Features:
    """The embeddings of a catalogue, and what had to be left out.

    Attributes:
        catalogue: only the N variants that are kept, in order.
        encoders: in the order asked for, without those that are not available here.
        vectors: encoder name -> float32 (N, D); the row of an absent input is 0.
        present: encoder name -> bool (N,); False where the variant has no such input, or a text in no
            language of the encoder.
        skipped: one finding for each variant, item or encoder that was left out.
        encoded: embeddings made by this call (one for each encoder and distinct content).
        cached: embeddings found in the cache.
        seconds: wall-clock time of this call.
        past: what past tests expect of the variants, if they were asked.

    """

    catalogue: Catalogue
    encoders: tuple[EncoderInfo, ...]
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    skipped: tuple[Problem, ...]
    encoded: int
    cached: int
    seconds: float
    past: PastEffects | None = None


def features(
    catalogue: Catalogue,
    encoders: Sequence[str | Encoder] = DEFAULT_ENCODERS,
    *,
    cache: Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Features:
    """Embeddings of every variant of `catalogue` by every one of `encoders`.

    Args:
        catalogue: what to encode; the caption is the text.
        encoders: names, or encoders made by the caller; several may share a modality.
        cache: folder of the embeddings; the user's cache folder if None.
        strict: raise the first finding instead of going on without the variant or encoder concerned.
        progress: called as (encoder name, done, total) before the first and after each chunk of new
            embeddings.

    Raises:
        UnknownNameError: an encoder is not known.
        UsageError: no encoder, or one of them twice.
        EncoderError: an encoder is broken, or none is available.
        CatalogueError: no item is left with two variants.

    """
    began = time.perf_counter()
    root = cache if cache is not None else cache_root() / "features"
    run = _Run(catalogue, [Active.of(encoder, root) for encoder in distinct(encoders)], strict, progress)
    for active in run.active:
        run.look_up(active)
    for modality in MODALITIES:
        run.encode(modality)
    return run.result(time.perf_counter() - began)


def cache_info(cache: Path | None = None) -> list[StoreInfo]:
    """What the feature cache holds, one entry for each encoder fingerprint."""
    return store_infos(cache if cache is not None else cache_root() / "features")


def clear_cache(cache: Path | None = None) -> int:
    """Empties the feature cache; the bytes given back."""
    return clear_stores(cache if cache is not None else cache_root() / "features")


class _Run:
    """The state of one call of `features`."""

    def __init__(
        self, catalogue: Catalogue, active: list[Active], strict: bool, progress: Progress | None
    ) -> None:
        self.catalogue, self.active, self.strict, self.progress = catalogue, active, strict, progress
        self.found: dict[str, dict[bytes, NDArray[np.float32]]] = {}
        self.missing: dict[str, int] = {}
        self.skipped: list[Problem] = []
        self.lost: set[tuple[str, str]] = set()
        self.encoded = self.cached = 0
        self.keys: dict[Modality, list[bytes | None]] = {}

    def look_up(self, active: Active) -> None:
        """Finds what the store of an encoder holds of the distinct contents, and counts what it lacks."""
        wanted = self._wanted(active)
        found = active.store.read(wanted)
        self.found[active.info.name], self.missing[active.info.name] = found, len(wanted) - len(found)
        self.cached += len(found)

    def _wanted(self, active: Active) -> set[bytes]:
        """Keys of the contents that the encoder covers."""
        keys = self._keys(active.info.modality)
        return {
            key
            for key, variant in zip(keys, self.catalogue.variants, strict=True)
            if key is not None and active.covers(variant)
        }

    def encode(self, modality: Modality) -> None:
        """Makes what is missing in one modality; each file is decoded once for all of its encoders."""
        users = [active for active in self.active if active.info.modality == modality]
        users = [active for active in users if self.missing[active.info.name]]
        done = dict.fromkeys((active.info.name for active in users), 0)

        def stored(active: Active, vectors: dict[bytes, NDArray[np.float32]], contents: int) -> None:
            self.found[active.info.name].update(vectors)
            self.encoded += len(vectors)
            done[active.info.name] += contents
            self._report(active, done[active.info.name])

        if users:
            # In the order of the file, as `encode` walks through it.
            rows = sorted(
                zip(self.catalogue.variants, self._keys(modality), strict=True), key=lambda row: row[0].line
            )
            encode_rows(
                modality,
                users,
                rows,
                LocalEngine(),
                available=self._available,
                lost=lambda variant, error: self._lose(variant, modality, error),
                stored=stored,
            )
            for active in self.active:
                if active.info.modality == modality:
                    self._take_over(active)

    def _take_over(self, active: Active) -> None:
        """Reads what another process stored between `look_up` and now: `encode_rows` does not make it again."""
        found = self.found[active.info.name]
        more = active.store.read(self._wanted(active) - found.keys())
        found.update(more)
        self.cached += len(more)

    def result(self, seconds: float) -> Features:
        """The arrays over the variants that are left."""
        kept = self._without_lost()
        place = {_id(variant): n for n, variant in enumerate(self.catalogue.variants)}
        order = [place[_id(variant)] for variant in kept.variants]
        vectors: dict[str, NDArray[np.float32]] = {}
        present: dict[str, NDArray[np.bool_]] = {}
        for active in self.active:
            rows = np.zeros((len(order), active.info.dim), np.float32)
            here = np.zeros(len(order), np.bool_)
            found = self.found[active.info.name]
            for n, (old, variant) in enumerate(zip(order, kept.variants, strict=True)):
                key = self._keys(active.info.modality)[old]
                if key is not None and key in found and active.covers(variant):
                    rows[n], here[n] = found[key], True
            vectors[active.info.name], present[active.info.name] = rows, here
        infos = tuple(active.info for active in self.active)
        return Features(
            kept, infos, vectors, present, tuple(self.skipped), self.encoded, self.cached, seconds
        )

    def _keys(self, modality: Modality) -> list[bytes | None]:
        """Content key of each variant, (N,); None where it has no such input or the file cannot be read."""
        if modality not in self.keys:
            keys: list[bytes | None] = []
            for variant in self.catalogue.variants:
                try:
                    keys.append(content_key(variant, modality))
                except MediaError as error:
                    keys.append(None)
                    self._lose(variant, modality, error)
            self.keys[modality] = keys
        return self.keys[modality]

    def _available(self, active: Active) -> bool:
        """Loads the encoder; one whose files cannot be had here leaves the run, unless it was the last."""
        try:
            active.load()
        except EncoderUnavailable as error:
            if self.strict or len(self.active) == 1:
                raise
            self.active.remove(active)
            self.cached -= len(self.found[active.info.name])
            self.skipped.append(Problem(f"encoder {active.info.name}", error, "warning"))
            return False
        self._report(active, 0)
        return True

    def _lose(self, variant: Variant, modality: Modality, error: InputError) -> None:
        if self.strict:
            raise error
        if _id(variant) not in self.lost:
            self.lost.add(_id(variant))
            self.skipped.append(loss(variant, modality, error))

    def _without_lost(self) -> Catalogue:
        items: list[Item] = []
        for item in self.catalogue.items:
            variants = tuple(variant for variant in item.variants if _id(variant) not in self.lost)
            if len(variants) >= 2:
                items.append(
                    item
                    if len(variants) == len(item.variants)
                    else dataclasses.replace(item, variants=variants)
                )
                continue
            error = too_few(self.catalogue.path, item.item_id, len(variants), len(item.variants))
            if self.strict:
                raise error
            self.skipped.append(Problem(item.item_id, error, "error", item.item_id))
        if not items:
            raise nothing_left(self.catalogue.path, self.skipped)
        return dataclasses.replace(self.catalogue, items=tuple(items))

    def _report(self, active: Active, done: int) -> None:
        if self.progress is not None:
            self.progress(active.info.name, done, self.missing[active.info.name])


def distinct(encoders: Sequence[str | Encoder]) -> list[str | Encoder]:
    """`encoders`, if there is one and none twice; raises `UsageError`."""
    names = [encoder.name if isinstance(encoder, Encoder) else encoder for encoder in encoders]
    if not names:
        raise UsageError(detail="name at least one encoder", detail_zh="请至少指定一个编码器")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            detail=f"encoder '{twice[0]}' is named twice; name it once",
            detail_zh=f"编码器 “{twice[0]}” 重复；请只写一次",
        )
    return list(encoders)


def loss(variant: Variant, modality: Modality, error: InputError) -> Problem:
    """The finding that costs a variant."""
    where = f"{variant.item_id} / {variant.variant_id}, {modality}"
    return Problem(where, error, "error", variant.item_id, variant.variant_id)


def too_few(path: Path, item_id: str, left: int, variants: int) -> CatalogueError:
    """The error of an item of which less than two variants are left."""
    return CatalogueError(
        path=path,
        detail=f"of item '{item_id}' {left} of {variants} variants can be used; it takes two to compare",
        detail_zh=f"条目 “{item_id}” 只有 {left} 个可用变体；至少需要两个才能比较",
    )


def nothing_left(path: Path, skipped: Sequence[Problem]) -> CatalogueError:
    """The error of a catalogue of which no item is left."""
    first = skipped[0].text() if skipped else "the catalogue is empty"
    first_zh = skipped[0].text("zh") if skipped else "清单为空"
    return CatalogueError(
        path=path,
        detail=f"no item with two usable variants is left; first finding: {first}",
        detail_zh=f"没有剩下任何拥有两个可用变体的条目；首个问题：{first_zh}",
    )


def _id(variant: Variant) -> tuple[str, str]:
    return variant.item_id, variant.variant_id
