"""Is this catalogue fit to learn from? Counts and findings, each with its place and its cure.

Severity ``error`` is for what costs a variant (broken media) and makes ``must_fix`` true; everything else
is a ``warning``. Missing modalities are counted only: a catalogue of headlines is complete without sounds.
Something that all variants of an item share is the constant of a controlled test and no finding; something
that only some share is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._captions import normalised, suspicious
from multimodal_dql.datasets._faults import data_finding, shown
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.datasets.media import MediaLoader, media_digest
from multimodal_dql.errors import InputError, MediaError, Problem

__all__ = ["QualityReport", "check_catalogue"]

_P_UNEQUAL = 0.001  # the usual threshold of sample-ratio checks: one false alarm in a thousand items
_SILENT = 1e-4  # peak, full scale 1: below the last bit but one of a 16-bit sound

Modality = Literal["image", "caption", "audio"]
_MODALITIES: tuple[Modality, ...] = ("image", "caption", "audio")


@dataclass(frozen=True)
class QualityReport:
    """What was counted and found.

    Attributes:
        path: the catalogue. items: how many. variants: how many. present: modality to the number of
        variants that name it. missing: modality to the number of variants that do not. duplicates:
        ``caption``, ``image``, ``audio`` (the same content in a sibling), ``variant`` (the same in every
            way) and ``headline`` (the same in another item) to the number of variants concerned beyond the
            first.
        media_checked: media files that were decoded; 0 without media checks.
        media_broken: those that cannot be used.
        problems: errors first, each group in the order of the catalogue.

    """

    path: Path
    items: int
    variants: int
    present: Mapping[str, int]
    missing: Mapping[str, int]
    duplicates: Mapping[str, int]
    media_checked: int
    media_broken: int
    problems: tuple[Problem, ...]

    @property
    def must_fix(self) -> bool:
        """Whether anything costs a variant."""
        return any(problem.severity == "error" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON; findings in both languages."""
        return {
            "path": str(self.path),
            "items": self.items,
            "variants": self.variants,
            "present": dict(self.present),
            "missing": dict(self.missing),
            "duplicates": dict(self.duplicates),
            "media_checked": self.media_checked,
            "media_broken": self.media_broken,
            "must_fix": self.must_fix,
            "problems": [
                {
                    "severity": problem.severity,
                    "code": problem.error.fields.get("code"),
                    "where": problem.where,
                    "item_id": problem.item_id,
                    "variant_id": problem.variant_id,
                    "en": problem.text("en"),
                    "zh": problem.text("zh"),
                }
                for problem in self.problems
            ],
        }


def check_catalogue(
    catalogue: Catalogue, media: bool = True, *, loader: MediaLoader | None = None
) -> QualityReport:
    """Check a catalogue that could be read; `media` decodes every picture and sound once.

    Give a `loader` to choose limits and the number of decoder processes; it stays open.
    """
    findings: list[Problem] = list(catalogue.problems)
    broken: dict[tuple[Modality, Path], MediaError] = {}
    checked: set[tuple[Modality, Path]] = set()
    if media:
        with nullcontext(loader) if loader is not None else MediaLoader() as decoders:
            checked, broken, silent = _decode_all(catalogue, decoders)
        findings += _media_problems(catalogue, broken, silent)
    contents = _contents(catalogue, by_bytes=media)
    counts: dict[str, int] = dict.fromkeys(("image", "caption", "audio", "variant", "headline"), 0)
    for item in catalogue.items:
        findings += _duplicates(catalogue, item, contents, counts)
        findings += _unequal(catalogue, item)
    findings += _headlines(catalogue, counts)
    for variant in catalogue.variants:
        if variant.caption is not None:
            found = suspicious(variant.caption)
            findings += [_problem(catalogue, finding, variant, "caption") for finding in found]
    total = len(catalogue.variants)
    present: dict[str, int] = {
        name: sum(getattr(v, name) is not None for v in catalogue.variants) for name in _MODALITIES
    }
    return QualityReport(
        path=catalogue.path,
        items=len(catalogue.items),
        variants=total,
        present=present,
        missing={name: total - n for name, n in present.items()},
        duplicates=counts,
        media_checked=len(checked),
        media_broken=len(broken),
        problems=tuple(sorted(findings, key=lambda problem: problem.severity != "error")),
    )


def _problem(
    catalogue: Catalogue,
    error: InputError,
    variant: Variant,
    field: str,
    severity: Literal["error", "warning"] = "warning",
) -> Problem:
    unit = "row" if catalogue.path.suffix.lower() in (".parquet", ".pq") else "line"
    where = f"{catalogue.path.name}, {unit} {variant.line}, {field}"
    return Problem(where, error, severity, variant.item_id, variant.variant_id)


def _item_problem(catalogue: Catalogue, error: InputError, item: Item) -> Problem:
    where = f"{catalogue.path.name}, item '{shown(item.item_id)}'"
    return Problem(where, error, "warning", item.item_id)


_Media = tuple[Modality, Path]


def _decode_all(
    catalogue: Catalogue, loader: MediaLoader
) -> tuple[set[_Media], dict[_Media, MediaError], set[_Media]]:
    """Decode each file once: (all files, those that are broken and why, sounds that are silent)."""
    broken: dict[_Media, MediaError] = {}
    silent: set[_Media] = set()
    pictures = list(dict.fromkeys(v.image for v in catalogue.variants if v.image is not None))
    sounds = list(dict.fromkeys(v.audio for v in catalogue.variants if v.audio is not None))
    for path, picture in zip(pictures, loader.images(pictures), strict=True):
        if isinstance(picture, MediaError):
            broken["image", path] = picture
    for path, sound in zip(sounds, loader.audios(sounds), strict=True):
        if isinstance(sound, MediaError):
            broken["audio", path] = sound
        elif _is_silent(sound):
            silent.add(("audio", path))
    checked: set[_Media] = {("image", path) for path in pictures} | {("audio", path) for path in sounds}
    return checked, broken, silent


def _is_silent(sound: NDArray[np.float32]) -> bool:
    return float(np.abs(sound).max()) < _SILENT


def _media_problems(
    catalogue: Catalogue, broken: Mapping[_Media, MediaError], silent: set[_Media]
) -> Iterator[Problem]:
    for variant in catalogue.variants:
        if variant.image is not None and ("image", variant.image) in broken:
            yield _problem(catalogue, broken["image", variant.image], variant, "image", "error")
        if variant.audio is not None and ("audio", variant.audio) in broken:
            yield _problem(catalogue, broken["audio", variant.audio], variant, "audio", "error")
        elif variant.audio is not None and ("audio", variant.audio) in silent:
            yield _problem(catalogue, data_finding("silent"), variant, "audio")


def _contents(catalogue: Catalogue, *, by_bytes: bool) -> Mapping[Path, Hashable]:
    """What is in each media file, as something to compare: its SHA-256, or its path if it cannot or shall
    not be read.
    """
    contents: dict[Path, Hashable] = {}
    for path in {p for v in catalogue.variants for p in (v.image, v.audio) if p is not None}:
        contents[path] = path
        if by_bytes:
            try:
                contents[path] = media_digest(path)
            except MediaError:  # reported by the decoder already
                continue
    return contents


def _groups(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Positions that share a key, groups of two and more; None never matches."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key is not None:
            found[key].append(position)
    return [group for group in found.values() if len(group) > 1]


def _duplicates(
    catalogue: Catalogue, item: Item, contents: Mapping[Path, Hashable], counts: dict[str, int]
) -> Iterator[Problem]:
    """Variants that are the same in every way, and content that some but not all variants of the item
    share.
    """

    def names(group: list[int]) -> str:
        return shown(", ".join(f"'{item.variants[n].variant_id}'" for n in group), 100)

    keys: dict[Modality, list[Hashable | None]] = {
        "image": [None if v.image is None else contents[v.image] for v in item.variants],
        "caption": [normalised(v.caption) or None if v.caption else None for v in item.variants],
        "audio": [None if v.audio is None else contents[v.audio] for v in item.variants],
    }
    same = _groups(zip(*keys.values(), strict=True))
    for group in same:
        counts["variant"] += len(group) - 1
        yield _item_problem(catalogue, data_finding("same_variant", variants=names(group)), item)
    for name in _MODALITIES:
        for group in _groups(keys[name]):
            counts[name] += len(group) - 1
            if len(group) < len(item.variants) and group not in same:
                yield _item_problem(catalogue, data_finding(f"same_{name}", variants=names(group)), item)


def _headlines(catalogue: Catalogue, counts: dict[str, int]) -> Iterator[Problem]:
    """Headlines that stand in more than one item."""
    items_of: defaultdict[str, dict[str, Variant]] = defaultdict(dict)
    for variant in catalogue.variants:
        if variant.caption and (caption := normalised(variant.caption)):
            items_of[caption].setdefault(variant.item_id, variant)
    for owners in items_of.values():
        if len(owners) > 1:
            first, *others = owners.values()
            counts["headline"] += len(others)
            items = shown(", ".join(f"'{v.item_id}'" for v in others), 100)
            caption = f"'{shown(first.caption, 40)}'"
            yield _problem(
                catalogue, data_finding("headline_elsewhere", caption=caption, items=items), first, "caption"
            )


def _unequal(catalogue: Catalogue, item: Item) -> Iterator[Problem]:
    """Sample-ratio check: Pearson's chi-square against equal shares, K - 1 degrees of freedom."""
    impressions = np.array([variant.impressions for variant in item.variants], dtype=np.float64)
    if len(impressions) < 2 or impressions.sum() == 0:
        return
    from scipy.special import chdtrc

    expected = impressions.mean()
    p = float(chdtrc(len(impressions) - 1, ((impressions - expected) ** 2 / expected).sum()))
    if p < _P_UNEQUAL:
        counts = shown(", ".join(f"{int(n):,}" for n in impressions), 80)
        yield _item_problem(catalogue, data_finding("unequal", counts=counts, p=p), item)
