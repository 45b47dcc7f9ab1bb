"""What an encoder adds to the prediction of real outcomes, and what it costs: whether a bigger model pays.

Every combination of encoders predicts the arms of real A/B tests by the content prior, cross-validated so that linked
tests stay together (`prior.model.cross_validate`). What an encoder adds is the best combination with it minus the best
without it. Interval: the same bootstrap draws of components for every combination, the best chosen anew in each
draw, so that choosing among combinations is part of the uncertainty.

Shape letters: ``G`` tests, ``A`` arms, ``M`` pairs, ``S`` combinations, ``C`` components, ``R`` bootstrap draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.encoder_cost import encoder_cost
from multimodal_dql.bench.headlines import sampled
from multimodal_dql.datasets.ab_tests import ABTests, ab_tests_of, read_ab_tests
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant, read_catalogue
from multimodal_dql.datasets.media import media_digest
from multimodal_dql.encoders.base import EncoderInfo, Modality
from multimodal_dql.encoders.registry import encoder_info, encoder_states
from multimodal_dql.errors import ABTestsError, MediaError, UsageError
from multimodal_dql.features import Features, features
from multimodal_dql.prior import (
    BlockSettings,
    Contents,
    Pairs,
    cross_validate,
    pair_correct,
    pairs_of,
)
from multimodal_dql.prior.style import style, tokens

__all__ = ["METRICS", "bench_encoders", "chosen_combinations", "read_outcomes"]

Float = NDArray[np.float64]
Combination = tuple[str, ...]

METRICS = ("pairs", "pairs_significant", "lift")
"""Share of pairs of arms put in the observed order; of those that differ significantly; clicks of the arm named best
over those of an average arm, minus 1."""
QUICK_TESTS = 300
RESAMPLES = 2000
MINIMUM_TESTS = 30
"""Of which four fifths must be enough to learn from."""
_ALL_COMBINATIONS = 4
"""Encoders up to which every combination is tried; beyond, one alone, two together, all but one, all."""


def bench_encoders(
    path: Path,
    encoders: Sequence[str] | None = None,
    *,
    quick: bool = False,
    repeats: int = 1,
    seed: int = 0,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """What every encoder adds on real outcomes, and its cost.

    Args:
        path: A/B tests, or a catalogue with impressions and clicks.
        encoders: names; every one that is here and reads a modality of the file if None.
        quick: about 300 sampled tests.
        repeats: of the five-fold cross-validation.
        seed: of sample, folds and bootstrap.
        cache: folder of the embeddings.
        progress: called as (what, done, total).

    Raises:
        ABTestsError: no outcomes, or too few tests.
        UsageError: no encoder reads what the file has.
        EncoderError: an encoder cannot be used.
    """
    began = time.perf_counter()
    tests = read_outcomes(path)
    if quick:
        tests = sampled(tests, QUICK_TESTS, seed)
    arms = _arms(tests)
    infos = _readers(arms, encoders, path)
    say = progress or (lambda *_: None)
    found = features(arms, [info.name for info in infos], cache=cache, progress=progress)
    _all_there(found, infos)
    tests = _linked(tests, arms)
    contents = _contents(tests, found, arms)
    if (count := _comparable(contents)) < MINIMUM_TESTS:
        raise ABTestsError(
            path=path,
            detail=f"{count} tests have two arms that can be read and differ; it takes {MINIMUM_TESTS}",
            detail_zh=f"只有 {count} 个测试有两个可读且不同的变体；至少需要 {MINIMUM_TESTS} 个",
        )
    has_text = any(tests.headlines)
    scores: dict[Combination, Float] = {}
    todo = chosen_combinations([info.name for info in infos])
    for n, names in enumerate(todo):
        say("combinations", n, len(todo))
        scores[names] = _scores(tests, contents.only(names), has_text, repeats, seed)
    say("combinations", len(todo), len(todo))
    drawn = _Drawn.of(tests, scores, seed)
    costs = {}
    for n, info in enumerate(infos):
        say("cost", n, len(infos))
        costs[info.name] = asdict(encoder_cost(info.name, info.modality, _samples(arms, info.modality)))
    return {
        "path": str(path),
        "tests": tests.G,
        "arms": tests.A,
        "pairs": drawn.pairs,
        "significant_pairs": drawn.significant,
        "components": drawn.components,
        "protocol": f"{repeats} x 5 folds of components; {RESAMPLES} bootstrap draws of components; quick: {quick}",
        "baseline": "style and words of the headline" if has_text else "nothing: every arm alike",
        "encoders": [
            {
                "name": info.name,
                "modality": info.modality,
                "dim": info.dim,
                **costs[info.name],
                "adds": drawn.adds(info.name),
            }
            for info in infos
        ],
        "combinations": [{"encoders": list(names), **drawn.figures(names)} for names in todo],
        "best": list(drawn.best()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def read_outcomes(path: Path) -> ABTests:
    """A/B tests, or a catalogue with impressions and clicks as such.

    Raises `ABTestsError` (or `CatalogueError`) for a file that is neither, or holds no outcomes.
    """
    from multimodal_dql.datasets._ab_read import read_ab_table

    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith((".jsonl", ".ndjson")) or "item_id" in read_ab_table(path).columns:
        return ab_tests_of(read_catalogue(path))
    return read_ab_tests(path)


def chosen_combinations(names: Sequence[str]) -> list[Combination]:
    """None first; then all of them while they are few, else singles, pairs, all but one, and all."""
    n = len(names)
    sizes = range(n + 1) if n <= _ALL_COMBINATIONS else sorted({0, 1, 2, n - 1, n})
    return [found for size in sizes for found in combinations(names, size)]


def _arms(tests: ABTests) -> Catalogue:
    """The arms as variants of one item each of `features` reads, in order; a media file that does not exist is none."""
    folder = tests.path.parent

    def media(name: str | None) -> Path | None:
        if name is None:
            return None
        file = folder / name
        return file if file.is_file() else None

    rows = [
        Variant("arms", str(a), media(tests.images[a]), tests.headlines[a], media(tests.audios[a]))
        for a in range(tests.A)
    ]
    return Catalogue(tests.path, (Item("arms", tuple(rows)),))


def _reads(variant: Variant, modality: Modality) -> str | None:
    """What an encoder of `modality` reads of a variant."""
    if modality == "text":
        return variant.caption
    file = variant.image if modality == "image" else variant.audio
    return None if file is None else str(file)


def _samples(arms: Catalogue, modality: Modality) -> list[str]:
    return list(dict.fromkeys(s for v in arms.variants if (s := _reads(v, modality))))


def _readers(arms: Catalogue, names: Sequence[str] | None, path: Path) -> list[EncoderInfo]:
    """Facts of the encoders asked for, or of every one that is here, as far as the file has their modality."""
    has = {m for m in ("text", "image", "audio") if len(_samples(arms, m)) > 1}
    if names is None:
        return [
            info for info, state in encoder_states() if state != "needs the network" and info.modality in has
        ]
    infos = [encoder_info(name) for name in names]
    for info in infos:
        if info.modality not in has:
            raise UsageError(
                detail=f"{path} has no {info.modality} for the encoder '{info.name}'; leave it out of --encoders",
                detail_zh=f"{path} 中没有编码器 “{info.name}” 所需的 {info.modality}；请从 --encoders 中去掉它",
            )
    return infos


def _all_there(found: Features, infos: Sequence[EncoderInfo]) -> None:
    for info in infos:
        if info.name not in found.vectors:
            raise next(p.error for p in found.skipped if info.name in p.where)


def _linked(tests: ABTests, arms: Catalogue) -> ABTests:
    """Tests that share a picture or a sound are linked as those that share a headline are."""
    parent = {int(c): int(c) for c in tests.component}

    def root(c: int) -> int:
        while parent[c] != c:
            c = parent[c]
        return c

    first: dict[str, int] = {}
    for arm, variant in enumerate(arms.variants):
        component = int(tests.component[tests.test[arm]])
        for file in (variant.image, variant.audio):
            if file is None:
                continue
            try:
                digest = media_digest(file)
            except MediaError:
                continue
            a, b = root(component), root(first.setdefault(digest, component))
            parent[max(a, b)] = min(a, b)
    return replace(tests, component=np.array([root(int(c)) for c in tests.component], np.int64))


def _contents(tests: ABTests, found: Features, arms: Catalogue) -> Contents:
    """The arms as every encoder sees them; what one does not see is the mean of what it sees of the siblings.

    An arm counts if any encoder sees it.
    """
    place = {v.variant_id: n for n, v in enumerate(found.catalogue.variants)}
    row = np.array([place.get(v.variant_id, -1) for v in arms.variants])
    seen = {name: np.where(row >= 0, here[row], False) for name, here in found.present.items()}
    vectors = {
        name: _filled(np.asarray(v[row], np.float64), seen[name], tests) for name, v in found.vectors.items()
    }
    readable = np.array([bool(text and text.strip()) for text in tests.headlines], np.bool_)
    known = np.logical_or.reduce([readable, *seen.values()])
    return Contents(
        tests.test,
        vectors,
        known,
        _filled(style(tests.headlines), readable, tests),
        tuple(map(tokens, tests.headlines)),
    )


def _filled(columns: Float, seen: NDArray[np.bool_], tests: ABTests) -> Float:
    """Columns (A, P) with the rows that are not `seen` (A,) set to the mean of those of their test."""
    weight = seen.astype(np.float64)[:, None]
    count = np.maximum(np.add.reduceat(weight, tests.starts), 1.0)
    mean = np.add.reduceat(columns * weight, tests.starts) / count
    return np.where(weight > 0, columns, mean[tests.test])


def _comparable(contents: Contents) -> int:
    return int((np.bincount(contents.story, contents.known) > 1).sum())


def _scores(tests: ABTests, contents: Contents, has_text: bool, repeats: int, seed: int) -> Float:
    """Cross-validated expectations of one combination, (repeats, A)."""
    if not contents.vectors and not has_text:
        return np.zeros((1, tests.A))
    # Encoders are compared by what they say within a test.
    settings = BlockSettings(level=False) if has_text else BlockSettings(style=False, words=0, level=False)
    return cross_validate(tests, contents, settings, repeats=repeats, seed=seed).mean


@dataclass(frozen=True)
class _Drawn:
    """Figures of every combination on the data, and on each bootstrap draw.

    Attributes:
        names: S combinations.
        value: metric -> (S,), draws: metric -> (S, R).
        pairs, significant, components: counts.
    """

    names: tuple[Combination, ...]
    value: Mapping[str, Float]
    draws: Mapping[str, Float]
    pairs: int
    significant: int
    components: int

    @classmethod
    def of(cls, tests: ABTests, scores: Mapping[Combination, Float], seed: int) -> _Drawn:
        pairs = pairs_of(tests)
        _, component = np.unique(tests.component, return_inverse=True)
        count = int(component.max()) + 1
        rng = np.random.Generator(np.random.Philox(key=[seed, 43]))
        weights = rng.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(np.float64)
        value: dict[str, list[float]] = {metric: [] for metric in METRICS}
        draws: dict[str, list[Float]] = {metric: [] for metric in METRICS}
        for found in scores.values():
            for metric, (over, of) in _sums(found, tests, pairs, component, count).items():
                shift = 1.0 if metric == "lift" else 0.0
                value[metric].append(over.sum() / max(of.sum(), 1e-300) - shift)
                draws[metric].append((weights @ over) / np.maximum(weights @ of, 1e-300) - shift)
        return cls(
            tuple(scores),
            {metric: np.array(v) for metric, v in value.items()},
            {metric: np.stack(d) for metric, d in draws.items()},
            len(pairs.winner),
            int(pairs.significant.sum()),
            count,
        )

    def figures(self, names: Combination) -> dict[str, dict[str, float]]:
        """Each metric of one combination with its 95 % interval."""
        s = self.names.index(names)
        return {metric: _interval(self.value[metric][s], self.draws[metric][s]) for metric in METRICS}

    def best(self) -> Combination:
        """The combination that puts most pairs right; of those alike, the smallest."""
        return self.names[int(np.argmax(self.value["pairs"]))]

    def adds(self, name: str) -> dict[str, dict[str, float]]:
        """Best combination with an encoder minus best without it, by pairs put right, on each metric."""
        has = np.array([name in names for names in self.names])
        out = {}
        one = {
            flag: np.flatnonzero(has == flag)[np.argmax(self.value["pairs"][has == flag])]
            for flag in (True, False)
        }
        each = {
            flag: np.flatnonzero(has == flag)[np.argmax(self.draws["pairs"][has == flag], axis=0)]
            for flag in (True, False)
        }
        draw = np.arange(self.draws["pairs"].shape[1])
        for metric in METRICS:
            value = float(self.value[metric][one[True]] - self.value[metric][one[False]])
            change = self.draws[metric][each[True], draw] - self.draws[metric][each[False], draw]
            out[metric] = _interval(value, change)
        return out


def _interval(value: float, draws: Float) -> dict[str, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


def _sums(
    scores: Float, tests: ABTests, pairs: Pairs, component: NDArray[np.int64], count: int
) -> dict[str, tuple[Float, Float]]:
    """Metric -> numerator and denominator of each component, (C,) each."""
    correct = np.mean([pair_correct(row, pairs) for row in scores], axis=0)
    of_pair = component[pairs.test]
    named = np.mean([_named_rate(row, tests) for row in scores], axis=0)
    average = np.add.reduceat(tests.rates, tests.starts) / tests.sizes

    def total(index: NDArray[np.int64], values: Float) -> Float:
        return np.bincount(index, values, minlength=count).astype(np.float64)

    significant = pairs.significant.astype(np.float64)
    return {
        "pairs": (total(of_pair, correct), total(of_pair, np.ones(len(correct)))),
        "pairs_significant": (total(of_pair, correct * significant), total(of_pair, significant)),
        "lift": (total(component, named), total(component, average)),
    }


def _named_rate(scores: Float, tests: ABTests) -> Float:
    """Click rate of the arm with the highest score of each test, (G,); the mean of those that tie."""
    named = (scores == np.maximum.reduceat(scores, tests.starts)[tests.test]).astype(np.float64)
    return np.add.reduceat(named * tests.rates, tests.starts) / np.add.reduceat(named, tests.starts)
