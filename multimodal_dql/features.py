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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.encoders.base import Encoder, EncoderInfo, Modality
from multimodal_dql.encoders.inputs import checked_encode, content_key, decoded_chunks
from multimodal_dql.encoders.languages import covers
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.registry import DEFAULT_ENCODERS, encoder_info, encoder_languages, load_encoder
from multimodal_dql.encoders.store import StoreInfo, VectorStore, clear_stores, store_infos
from multimodal_dql.errors import (
    CatalogueError,
    EncoderError,
    EncoderUnavailable,
    InputError,
    MediaError,
    Problem,
    UsageError,
)

__all__ = ["Features", "cache_info", "clear_cache", "features"]

Progress = Callable[[str, int, int], None]


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

    """

    catalogue: Catalogue
    encoders: tuple[EncoderInfo, ...]
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    skipped: tuple[Problem, ...]
    encoded: int
    cached: int
    seconds: float


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
    run = _Run(catalogue, [_Active.of(encoder, root) for encoder in _distinct(encoders)], strict, progress)
    for active in run.active:
        run.look_up(active)
    for modality in ("text", "image", "audio"):
        run.encode(modality)
    return run.result(time.perf_counter() - began)


def cache_info(cache: Path | None = None) -> list[StoreInfo]:
    """What the feature cache holds, one entry for each encoder fingerprint."""
    return store_infos(cache if cache is not None else cache_root() / "features")


def clear_cache(cache: Path | None = None) -> int:
    """Empties the feature cache; the bytes given back."""
    return clear_stores(cache if cache is not None else cache_root() / "features")


@dataclass(eq=False)
class _Active:
    """One encoder in a run: its facts, its store, what was found, and the model once it is needed."""

    info: EncoderInfo
    languages: tuple[str, ...]
    store: VectorStore
    model: Encoder | None
    found: dict[bytes, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    missing: dict[bytes, Variant] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, encoder: str | Encoder, root: Path) -> _Active:
        if isinstance(encoder, Encoder):
            return cls(encoder.info, tuple(encoder.languages), VectorStore(root, encoder.info), encoder)
        info = encoder_info(encoder)
        return cls(info, encoder_languages(encoder), VectorStore(root, info), None)

    def load(self) -> Encoder:
        if self.model is None:
            self.model = load_encoder(self.info.name)
        return self.model


class _Run:
    """The state of one call of `features`."""

    def __init__(
        self, catalogue: Catalogue, active: list[_Active], strict: bool, progress: Progress | None
    ) -> None:
        self.catalogue, self.active, self.strict, self.progress = catalogue, active, strict, progress
        self.skipped: list[Problem] = []
        self.lost: set[tuple[str, str]] = set()
        self.encoded = self.cached = 0
        self.keys: dict[Modality, list[bytes | None]] = {}
        self.bad_keys: dict[bytes, InputError] = {}

    def look_up(self, active: _Active) -> None:
        """Splits the distinct contents for one encoder into those found in its store and those to be made."""
        wanted = {
            key: variant
            for key, variant in zip(self._keys(active.info.modality), self.catalogue.variants, strict=True)
            if key is not None and self._covered(active, variant) and _id(variant) not in self.lost
        }
        active.found = active.store.read(wanted)
        active.missing = {key: variant for key, variant in wanted.items() if key not in active.found}
        self.cached += len(active.found)

    def encode(self, modality: Modality) -> None:
        """Makes what is missing in one modality; each file is decoded once for all of its encoders."""
        users = [active for active in self.active if active.info.modality == modality and active.missing]
        users = [active for active in users if self._available(active)]
        todo: dict[bytes, Variant] = {}
        for active in users:
            todo.update(active.missing)
            self._report(active, 0)
        done = dict.fromkeys((active.info.name for active in users), 0)
        for chunk in decoded_chunks(modality, todo):
            readable: dict[bytes, Any] = {}
            for key, decoded in chunk.items():
                if isinstance(decoded, InputError):
                    self._lose_content(modality, key, decoded)
                else:
                    readable[key] = decoded
            for active in users:
                mine = {key: item for key, item in readable.items() if key in active.missing}
                made = self._vectors(active, mine)
                active.store.append(made)
                active.found.update(made)
                self.encoded += len(made)
                done[active.info.name] += sum(key in active.missing for key in chunk)
                self._report(active, done[active.info.name])

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
            for n, (old, variant) in enumerate(zip(order, kept.variants, strict=True)):
                key = self._keys(active.info.modality)[old]
                if key is not None and key in active.found and self._covered(active, variant):
                    rows[n], here[n] = active.found[key], True
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

    def _covered(self, active: _Active, variant: Variant) -> bool:
        return active.info.modality != "text" or covers(active.languages, variant.caption or "")

    def _available(self, active: _Active) -> bool:
        """Loads the encoder; one whose files cannot be had here leaves the run, unless it was the last."""
        try:
            active.load()
        except EncoderUnavailable as error:
            if self.strict or len(self.active) == 1:
                raise
            self.active.remove(active)
            self.cached -= len(active.found)
            self.skipped.append(Problem(f"encoder {active.info.name}", error, "warning"))
            return False
        return True

    def _vectors(self, active: _Active, items: Mapping[bytes, Any]) -> dict[bytes, NDArray[np.float32]]:
        """Key -> vector; if a chunk fails, its items are tried one by one, so a bad one costs only itself."""
        if not items:
            return {}
        try:
            return dict(zip(items, checked_encode(active.load(), list(items.values())), strict=True))
        except EncoderError as error:
            if len(items) == 1:
                ((key, _),) = items.items()
                self._lose_content(active.info.modality, key, error)
                return {}
            failed = error
        made: dict[bytes, NDArray[np.float32]] = {}
        for key, item in items.items():
            made.update(self._vectors(active, {key: item}))
        if not made and not active.found:
            raise _useless(failed, len(items))
        return made

    def _lose_content(self, modality: Modality, key: bytes, error: InputError) -> None:
        for variant, own in zip(self.catalogue.variants, self._keys(modality), strict=True):
            if own == key:
                self._lose(variant, modality, error)

    def _lose(self, variant: Variant, modality: Modality, error: InputError) -> None:
        if self.strict:
            raise error
        if _id(variant) not in self.lost:
            self.lost.add(_id(variant))
            where = f"{variant.item_id} / {variant.variant_id}, {modality}"
            self.skipped.append(Problem(where, error, "error", variant.item_id, variant.variant_id))

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
            error = CatalogueError(
                path=self.catalogue.path,
                detail=f"of item '{item.item_id}' {len(variants)} of {len(item.variants)} variants can be "
                "used; it takes two to compare",
                detail_zh=f"条目 “{item.item_id}” 只有 {len(variants)} 个可用变体；至少需要两个才能比较",
            )
            if self.strict:
                raise error
            self.skipped.append(Problem(item.item_id, error, "error", item.item_id))
        if not items:
            first = self.skipped[0].text() if self.skipped else "the catalogue is empty"
            first_zh = self.skipped[0].text("zh") if self.skipped else "清单为空"
            raise CatalogueError(
                path=self.catalogue.path,
                detail=f"no item with two usable variants is left; first finding: {first}",
                detail_zh=f"没有剩下任何拥有两个可用变体的条目；首个问题：{first_zh}",
            )
        return dataclasses.replace(self.catalogue, items=tuple(items))

    def _report(self, active: _Active, done: int) -> None:
        if self.progress is not None:
            self.progress(active.info.name, done, len(active.missing))


def _distinct(encoders: Sequence[str | Encoder]) -> list[str | Encoder]:
    names = [encoder.name if isinstance(encoder, Encoder) else encoder for encoder in encoders]
    if not names:
        raise UsageError(detail="name at least one encoder", detail_zh="请至少指定一个编码器")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            detail=f"encoder '{twice[0]}' is named twice; name it once",
            detail_zh=f"编码器 “{twice[0]}” 重复；请只写一次",
        )
    return list(encoders)


def _useless(error: EncoderError, items: int) -> EncoderError:
    """An encoder that failed on every item is to blame, not the catalogue."""
    name = error.fields["name"]
    return EncoderError(
        name=name,
        detail=f"it failed on all of the first {items} items ({error.fields['detail']}); leave it out of --encoders,"
        f" or see: multimodal-dql encoders check {name}",
        detail_zh=f"它在前 {items} 项上全部失败（{error.fields['detail_zh']}）；请从 --encoders 中去掉它，"
        f"或运行：multimodal-dql encoders check {name}",
    )


def _id(variant: Variant) -> tuple[str, str]:
    return variant.item_id, variant.variant_id
