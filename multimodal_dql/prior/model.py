"""The content prior: what past A/B tests say about variants that nobody has seen yet.

    contents = headline_contents(tests, encoders)
    prior = fit_prior(tests, contents)
    expected = prior.predict(contents_of_a_new_story)     # mean and sd of each variant's logit effect

The effect of a variant is the logit of its true click rate minus the mean over its siblings. The prior is a Bayesian
linear regression on blocks of columns (`prior.blocks`, `prior.ridge`), so that its mean comes with a
standard deviation:
what content cannot explain (tau), and what the tests could not settle. As impressions come in, a prior of sd ``sd`` is
worth ``pseudo_impressions(sd, rate)`` of them and fades accordingly.

Shape letters: ``G`` tests, ``A`` arms, ``N`` variants, ``P`` columns, ``R`` repeats.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from multimodal_dql.datasets.ab_tests import ABTests, component_folds
from multimodal_dql.errors import ABTestsError
from multimodal_dql.prior.blocks import Blocks, BlockSettings, fit_blocks, level_parts, with_level
from multimodal_dql.prior.contents import Contents
from multimodal_dql.prior.level import fit_level
from multimodal_dql.prior.ridge import (
    Hyperparameters,
    Posterior,
    Targets,
    fit_hyperparameters,
    posterior,
    targets,
)
from multimodal_dql.prior.split import check_no_leak
from multimodal_dql.simulation.engagement_noise import overdispersion

__all__ = [
    "MINIMUM_TESTS",
    "ContentPrior",
    "CrossValidated",
    "Prediction",
    "cross_validate",
    "fit_prior",
    "pseudo_impressions",
]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

_MOST_AT_ONCE = 4
"""Folds learned side by side: each takes half a gigabyte."""
MINIMUM_TESTS = 20
"""Tests below which nothing is learned."""
CONFOUNDED_SD = 0.2
"""Standard deviation, in logits, that pictures add to the effects of headlines in a test where both differ [by the
restricted likelihood of the Upworthy Research Archive, where 9 tests of 100 are such; 0 is 17 nats worse]."""
_ROWS = 4096
"""Variants predicted at once: bounds memory."""


@dataclass(frozen=True)
class Prediction:
    """What is expected of variants before any of them is shown.

    Attributes:
        mean: (N,) logit effect, with mean 0 over the known variants of a story.
        sd: (N,) standard deviation of the true effect around it.
        known: (N,) whether the encoders could read it; where not, the mean is 0 and the sd that of any variant.
    """

    mean: Float
    sd: Float
    known: Bool


@dataclass(frozen=True)
class ContentPrior:
    """A fitted prior.

    Attributes:
        blocks: how columns are made of contents.
        block: (P,) block of each column.
        hyper: variances.
        weights: posterior of the columns' effects.
        level: variances of the regression between tests (`prior.level`), if there was one; not kept in files.
        overdispersion: of clicks, with which it was fitted.
        shrink: factor of the means, and
        sd_factor: of the sds, so that both fit tests outside training (`prior.reliability.recalibrated`).
        fingerprints: encoder name -> fingerprint of the embeddings it was fitted to.
        facts: what it was fitted to and how it did, for people; JSON.
    """

    blocks: Blocks
    block: Int
    hyper: Hyperparameters
    weights: Posterior
    overdispersion: float
    shrink: float = 1.0
    sd_factor: float = 1.0
    fingerprints: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    level: Hyperparameters | None = None

    @property
    def blank_sd(self) -> float:
        """Standard deviation of the effect of a variant of which nothing is known."""
        used = np.array(list(self.blocks.scales.values())) > 0
        return float(self.sd_factor * np.sqrt(self.hyper.tau**2 + np.exp(self.hyper.log_s)[used].sum()))

    def predict(self, contents: Contents) -> Prediction:
        """Expected effects of variants, each next to its siblings.

        Raises ValueError for contents of other encoders or other dimensions.
        """
        wanted = (*self.blocks.encoders, *self.blocks.pictures)
        if set(contents.encoders) != set(wanted):
            raise ValueError(f"vectors of {wanted} are wanted, not {contents.encoders}")
        blank = self.blank_sd / self.sd_factor
        mean, sd = np.zeros(contents.N), np.full(contents.N, blank)
        for rows in _story_chunks(contents.story):
            part = contents.take(rows)
            x, _ = self.blocks.columns(part)
            unsettled = np.square(x.astype(np.float32) @ self.weights.root.T).sum(axis=1, dtype=np.float64)
            mean[rows] = x @ self.weights.mean
            sd[rows] = np.where(part.known, np.sqrt(self.hyper.tau**2 + unsettled), blank)
        return Prediction(self.shrink * mean, self.sd_factor * sd, contents.known.copy())


@dataclass(frozen=True)
class CrossValidated:
    """Predictions of every arm by priors that never saw its component.

    Attributes:
        mean: (R, A), sd: (R, A).
        fold: (R, G).
    """

    mean: Float
    sd: Float
    fold: Int


def pseudo_impressions(sd: Float, rate: Float | float) -> Float:
    """Impressions that tell as much about a rate as a prior with standard deviation `sd` (logits) does.

    The information of n impressions about a logit is ``n p (1 - p)``, that of the prior ``1 / sd^2``.

    >>> pseudo_impressions(np.array([0.25]), 0.0135).round().tolist()
    [1201.0]
    """
    rate = np.asarray(rate, np.float64)
    return np.asarray(1.0 / (np.asarray(sd) ** 2 * rate * (1.0 - rate)))


def fit_prior(
    tests: ABTests,
    contents: Contents,
    settings: BlockSettings | None = None,
    *,
    start: ContentPrior | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> ContentPrior:
    """Learn from tests whose arms are `contents`, in the same order.

    Tests with one arm tell the block ``level`` alone something. Those of the archive's risk window fit like all others:
    a variance of their own makes their likelihood lower.

    Args:
        tests: G tests.
        contents: their headlines (`headline_contents`).
        settings: blocks.
        start: a prior whose variances are near those looked for, to save time.
        noise: overdispersion of clicks; measured on the replicates of `tests` if None.
        seed: of the bootstrap behind the measured noise; changes no number of the fit.

    Raises:
        ABTestsError: fewer than `MINIMUM_TESTS` tests have two headlines that the encoders can read.
        ValueError: contents of other arms.
    """
    if contents.N != tests.A or not np.array_equal(contents.story, tests.test):
        raise ValueError("the contents are not those of the arms of these tests")
    phi = overdispersion(tests.replicates, seed=seed)[0] if noise is None else noise
    arms = contents.known & (np.bincount(tests.test, contents.known)[tests.test] > 1)
    count = len(np.unique(tests.test[arms]))
    if count < MINIMUM_TESTS:
        raise ABTestsError(
            path=tests.path,
            detail=f"only {count} tests have two headlines that the encoders can read; it takes {MINIMUM_TESTS}",
            detail_zh=f"只有 {count} 个测试有两条编码器可读的标题；至少需要 {MINIMUM_TESTS} 个",
        )
    settings = settings or BlockSettings()
    compared = contents.take(arms)
    blocks = fit_blocks(compared, settings)
    between = None
    if settings.level:
        level, between = fit_level(
            level_parts(blocks, contents), tests, contents.known, phi, start.level if start else None
        )
        blocks = with_level(blocks, level, compared)
    x, block = blocks.columns(compared)
    given = targets(tests, phi)
    noise_of = given.v + CONFOUNDED_SD**2 * tests.confounded[tests.test]
    used = Targets(given.test[arms], given.z[arms], noise_of[arms])
    hyper = fit_hyperparameters(x, block, used, start.hyper if start else None)
    weights = posterior(x, block, used, hyper)
    facts = {"tests": count, "tests_of_level": 0, "arms": int(arms.sum()), "seed": seed}
    if blocks.level:
        facts["tests_of_level"] = len(np.unique(tests.test[contents.known]))
    return ContentPrior(blocks, block, hyper, weights, phi, facts=facts, level=between)


def cross_validate(
    tests: ABTests,
    contents: Contents,
    settings: BlockSettings | None = None,
    *,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
    scored: Bool | None = None,
    noise: float | None = None,
) -> CrossValidated:
    """Predict each arm from tests of other components; everything is fitted anew on every training side.

    Tests (G,) that are not `scored` only ever train: their predictions stay 0. `noise` as in `fit_prior`.
    """
    scored = np.ones(tests.G, np.bool_) if scored is None else scored
    mean, sd = np.zeros((repeats, tests.A)), np.zeros((repeats, tests.A))
    fold = np.stack([component_folds(tests, folds, seed + r) for r in range(repeats)])
    phi = overdispersion(tests.replicates, seed=seed)[0] if noise is None else noise

    def judge(place: int, start: ContentPrior | None) -> ContentPrior:
        r, k = divmod(place, folds)
        held = (fold[r] == k) & scored
        # Whatever is in no component of the held side trains, also tests that are never scored.
        trains = ~np.isin(tests.component, tests.component[held])
        train = tests.subset(trains)
        check_no_leak(train, tests.subset(held), pictures=bool(contents.pictures))
        arms = held[tests.test]
        own = _renumbered(contents.take(trains[tests.test]), train)
        prior = fit_prior(train, own, settings, start=start, noise=phi)
        found = prior.predict(contents.take(arms))
        mean[r, arms], sd[r, arms] = found.mean, found.sd
        return prior

    # Side by side, each on one thread: much of a fit is not matrix products. All others start at the first one's
    # variances, so that which is ready first changes nothing.
    workers = min(len(os.sched_getaffinity(0)), _MOST_AT_ONCE)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        first = judge(0, None)

        def another(place: int) -> None:
            judge(place, first)

        list(pool.map(another, range(1, repeats * folds)))
    return CrossValidated(mean, sd, fold)


def _renumbered(contents: Contents, tests: ABTests) -> Contents:
    return replace(contents, story=tests.test)


def _story_chunks(story: Int) -> list[Bool]:
    """Masks (N,) of whole stories, about `_ROWS` rows each."""
    if not len(story):
        return []
    _, index = np.unique(story, return_inverse=True)
    first = np.flatnonzero(np.diff(index, prepend=-1))
    chunk = (first // _ROWS)[index]
    return [chunk == c for c in np.unique(chunk)]
