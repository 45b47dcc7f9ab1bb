"""What the benchmark of headline tests has to learn before it can measure, kept in a folder for the next time.

Everything that is used on a test was learned without its component: the content prior in five folds, the allocation in
two halves (it learns from simulated tests and needs only a few numbers of the real ones: click rates, their spread).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.allocation.file import read_allocation, write_allocation
from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.allocation.training import AllocationConfig, train_allocation
from multimodal_dql.bench.allocation import Truth
from multimodal_dql.bench.headline_words import FOLDS, tf_idf_scores, tf_idf_transfer
from multimodal_dql.datasets.ab_tests import ABTests, component_folds
from multimodal_dql.prior import (
    BlockSettings,
    Contents,
    apart_from,
    check_no_leak,
    cross_validate,
    fit_prior,
    headline_contents,
    pairs_of,
    recalibrated,
    targets,
)
from multimodal_dql.prior.model import CrossValidated
from multimodal_dql.run_file import read_file, write_file
from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.engagement_noise import overdispersion

__all__ = ["Case", "Kept", "Learning", "crossfitted_effects"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

HALVES = 2
SCHEMA = 1
LINEAR = BlockSettings(style=False, words=0, topics=0, level=False, directions=8192)
"""Ridge regression on whole embeddings."""


@dataclass(frozen=True)
class Kept:
    """A folder of things learned, by name and by what they were learned from; None keeps nothing.

    What was learned from other tests, or with other settings, stays beside it and is not used.
    """

    folder: Path | None
    identity: str
    found: list[str] = field(default_factory=list)

    @property
    def reused(self) -> list[str]:
        """Names of what did not have to be learned again."""
        return sorted(self.found)

    @classmethod
    def of(cls, folder: Path | None, tests: ABTests, **settings: Any) -> Kept:
        """`settings` are whatever else changes what is learned."""
        text = hashlib.sha256()
        for array in (tests.impressions, tests.clicks, tests.test, tests.component):
            text.update(np.ascontiguousarray(array).tobytes())
        text.update("\0".join(headline or "" for headline in tests.headlines).encode())
        text.update(json.dumps([SCHEMA, settings], sort_keys=True, default=str).encode())
        return cls(folder, text.hexdigest())

    def arrays(self, name: str, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """Arrays under a name; `make` is called when they are not there."""
        from safetensors import SafetensorError
        from safetensors.numpy import load, save

        if self.folder is None:
            return make()
        path = self.folder / f"{name}-{self.identity[:16]}.safetensors"
        try:
            read = dict(load(read_file(path)))
            self.found.append(name)
            return read
        except (OSError, ValueError, SafetensorError):
            made = make()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(path, save({k: np.ascontiguousarray(array) for k, array in made.items()}))
            return made

    def allocation(self, name: str, make: Callable[[], AllocationPolicy]) -> AllocationPolicy:
        """A policy under a name; `make` is called when it is not there."""
        if self.folder is None:
            return make()
        folder = self.folder / f"{name}-{self.identity[:16]}"
        if folder.exists():
            self.found.append(name)
            return read_allocation(folder)
        made = make()
        write_allocation(made, folder, {"learned_from": self.identity})
        return made


def predictions(
    tests: ABTests,
    contents: Contents,
    settings: BlockSettings | None,
    *,
    repeats: int,
    seed: int,
    noise: float,
    kept: Kept,
    name: str,
) -> CrossValidated:
    """`cross_validate`, or what is kept of it, of the tests that may be judged."""

    def make() -> dict[str, NDArray[Any]]:
        found = cross_validate(
            tests,
            contents,
            settings,
            folds=FOLDS,
            repeats=repeats,
            seed=seed,
            scored=tests.judged,
            noise=noise,
        )
        return asdict(found)

    found = CrossValidated(**kept.arrays(f"predictions-{name}-{repeats}", make))
    arms = tests.judged[tests.test]
    return replace(found, mean=found.mean[:, arms], sd=found.sd[:, arms], fold=found.fold[:, tests.judged])


def crossfitted_allocation(
    tests: ABTests,
    config: AllocationConfig,
    *,
    seed: int,
    kept: Kept,
    say: Callable[[str], None],
) -> tuple[dict[int, AllocationPolicy], Int, Float]:
    """A policy for each half of the tests, learned from the model of the other half.

    Returns:
        policy by half; the half of each test (G,); the base rate (G,) of the model that its policy knows.
    """
    half = component_folds(tests, HALVES, seed + 1000)
    learned: dict[int, AllocationPolicy] = {}
    base = np.zeros(tests.G)
    for h in range(HALVES):
        model = EngagementModel.fit(tests.subset(half != h), seed=seed)
        base[half == h] = logistic(model.base_logit_mean)
        say(f"learning to allocate, half {h + 1}")
        learned[h] = kept.allocation(
            f"allocation-{h}",
            lambda m=model: train_allocation(m, config, seed=seed),  # type: ignore[misc]
        )
    return learned, half, base


@dataclass(frozen=True)
class Case:
    """Tests to measure on, with what was learned without them.

    Attributes:
        tests: G.
        scores: (R, A) by model, ``prior`` among them.
        mean: (A,) effects that the prior expects, sd: (A,) their standard deviation; recalibrated.
        single: mean and sd of a prior on one encoder, by name.
        learned: allocation by part.
        part: (G,) which one has not seen the test.
        base: (G,) typical click rate, where a predicted one starts.
    """

    tests: ABTests
    scores: dict[str, Float]
    mean: Float
    sd: Float
    single: dict[str, tuple[Float, Float]]
    learned: dict[int, AllocationPolicy]
    part: Int
    base: Float

    def truth(self, rates: Float, mean: Float | None = None, sd: Float | None = None) -> Truth:
        """For a replay at `rates` (S, G, K), with another prior if need be."""
        place = np.arange(self.tests.A) - self.tests.starts[self.tests.test]
        prior_mean, prior_sd = np.zeros(rates.shape[1:]), np.ones(rates.shape[1:])
        prior_mean[self.tests.test, place] = self.mean if mean is None else mean
        prior_sd[self.tests.test, place] = self.sd if sd is None else sd
        return Truth(rates, prior_mean, prior_sd, self.base, self.tests.component, self.part)


@dataclass(frozen=True)
class Learning:
    """What to learn from, and how; see `bench_headlines`.

    Attributes:
        tests: G, those that may be judged: two arms or more, outside the risk window.
        everything: the same and all others of the file, which the content prior learns from, too.
        contents: of `everything`.
    """

    tests: ABTests
    everything: ABTests
    contents: Contents
    settings: BlockSettings | None
    config: AllocationConfig
    repeats: int
    seed: int
    kept: Kept
    say: Callable[[str], None]

    def crossfitted(self) -> Case:
        """Every test judged by what was learned without its component."""
        tests, scores, single = self.tests, {}, {}
        noise = overdispersion(tests.replicates, seed=self.seed)[0]
        for name, encoders, settings, past in self._models():
            self.say(f"predictions of {name}")
            found = predictions(
                past,
                self.contents_of(past).only(encoders),
                settings,
                repeats=self.repeats,
                seed=self.seed,
                noise=noise,
                kept=self.kept,
                name=name,
            )
            scores[name], single[name] = found.mean, crossfitted_effects(tests, found, noise)
        pairs = pairs_of(tests)
        folds = [component_folds(tests, FOLDS, self.seed + r) for r in range(self.repeats)]
        scores["tfidf"] = np.stack([tf_idf_scores(tests, pairs, fold) for fold in folds])
        mean, sd = single.pop("prior")
        del single["ridge_all"]
        learned, half, base = crossfitted_allocation(
            tests, self.config, seed=self.seed, kept=self.kept, say=self.say
        )
        return Case(tests, scores, mean, sd, single, learned, half, base)

    def for_tests(self, other: ABTests, cache: Path | None) -> Case:
        """Everything learned from all tests, for `other` ones. Raises `LeakError` if they share something."""
        tests, scores, single = self.tests, {}, {}
        check_no_leak(tests, other)
        contents = headline_contents(other, self.contents.encoders, cache=cache)
        noise = overdispersion(tests.replicates, seed=self.seed)[0]
        for name, encoders, settings, past in self._models():
            self.say(f"predictions of {name}")
            own = self.contents_of(past).only(encoders)
            found = predictions(
                past, own, settings, repeats=1, seed=self.seed, noise=noise, kept=self.kept, name=name
            )
            shrink, factor = recalibrated(targets(tests, noise), found.mean[0], found.sd[0])
            apart = past.subset(apart_from(past, other))
            fitted = fit_prior(
                apart, self.contents_of(apart).only(encoders), settings, noise=noise, seed=self.seed
            )
            said = fitted.predict(contents.only(encoders))
            scores[name] = said.mean[None]
            single[name] = shrink * said.mean, factor * said.sd
        scores["tfidf"] = tf_idf_transfer(tests, other)[None]
        mean, sd = single.pop("prior")
        del single["ridge_all"]
        self.say("allocation")
        model = EngagementModel.fit(tests, seed=self.seed)
        policy = self.kept.allocation(
            "allocation", lambda: train_allocation(model, self.config, seed=self.seed)
        )
        nothing = np.zeros(other.G, np.int64)
        base = np.full(other.G, logistic(model.base_logit_mean))
        return Case(other, scores, mean, sd, single, {0: policy}, nothing, base)

    def contents_of(self, past: ABTests) -> Contents:
        """Those of some of the tests."""
        arms = np.isin(self.everything.test_ids, past.test_ids)[self.everything.test]
        return replace(self.contents.take(arms), story=past.test)

    def _models(self) -> list[tuple[str, tuple[str, ...], BlockSettings | None, ABTests]]:
        """Name, encoders, blocks and past tests of the prior and of its plain rivals."""
        every, tests = self.contents.encoders, self.tests
        plain = [(f"ridge_{name.split('-')[0]}", (name,), LINEAR, tests) for name in every]
        return [
            ("prior", every, self.settings, self.everything),
            *plain,
            ("ridge_all", every, LINEAR, tests),
        ]


def crossfitted_effects(tests: ABTests, found: CrossValidated, noise: float) -> tuple[Float, Float]:
    """Mean and sd (A,) of the first repeat with two factors, which come from the folds that the arm is not in."""
    mean, sd = found.mean[0].copy(), found.sd[0].copy()
    fold = found.fold[0][tests.test]
    for f in np.unique(fold):
        others = fold != f
        given = targets(tests.subset(found.fold[0] != f), noise)
        shrink, factor = recalibrated(given, found.mean[0][others], found.sd[0][others])
        mean[fold == f] *= shrink
        sd[fold == f] *= factor
    return mean, sd
