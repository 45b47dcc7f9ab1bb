"""Which kinds of text get clicked, from the click rates of whole tests: one more column for the content prior.

Tests differ in click rate far more than the arms of one do, and every test tells something about its kind of text, also
one that has a single headline. What holds between tests need not hold within one (Mundlak 1978, "On the pooling of time
series and cross section data"): topics that get clicked are not the words that win. So the slope found between tests
is no prior mean; it makes a column, and the evidence within tests decides what that is worth.

Click rates drift over the months, as audiences and pages do: tests are compared with those of about the same time only.

Shape letters: ``G`` tests, ``A`` arms, ``P`` columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests
from multimodal_dql.prior.ridge import Hyperparameters, Targets, fit_hyperparameters, posterior

__all__ = ["MINIMUM_TESTS", "PERIOD", "fit_level", "periods"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

PERIOD = 50
"""Tests that follow each other in time and are compared with each other."""
MINIMUM_TESTS = 2 * PERIOD
"""Tests below which nothing is learned between them."""


def periods(created: NDArray[np.datetime64]) -> Int:
    """Group of each test, (G,): `PERIOD` tests that follow each other, the last ones with those before them.

    Tests without a time are a group of their own.
    """
    timed = ~np.isnat(created)
    order = np.argsort(created, kind="stable")[: int(timed.sum())]
    out = np.full(len(created), -1, np.int64)
    out[order] = np.minimum(np.arange(len(order)) // PERIOD, max(len(order) // PERIOD - 1, 0))
    return out


def fit_level(
    parts: Mapping[str, Float],
    tests: ABTests,
    known: Bool,
    overdispersion: float,
    start: Hyperparameters | None = None,
) -> tuple[dict[str, Float], Hyperparameters | None]:
    """Weights (P,) of the columns of each part (A, P): how the logit of a test's click rate rises with its mean text.

    A Bayesian linear regression (`prior.ridge`) whose groups are periods and whose rows are tests; every part has a
    prior variance of its own, and tests differ beyond what texts explain.

    Args:
        parts: columns of the arms by name.
        tests: G tests, with any number of arms.
        known: (A,) arms whose columns mean something.
        overdispersion: of clicks.
        start: hyperparameters near those looked for, to save time.

    Returns:
        the weights, and the hyperparameters; nothing when there are fewer than `MINIMUM_TESTS` tests or no parts.
    """
    n = np.bincount(tests.test, tests.impressions * known, minlength=tests.G)
    s = np.bincount(tests.test, tests.clicks * known, minlength=tests.G)
    used = np.flatnonzero(n > 0)
    if len(used) < MINIMUM_TESTS or not parts:
        return {}, None
    period = periods(tests.created)[used]
    rows = used[np.argsort(period, kind="stable")]
    share = (tests.impressions * known / np.maximum(n, 1.0)[tests.test])[:, None]
    means, scales = [], []
    for part in parts.values():
        mean = np.add.reduceat(part * share, tests.starts, axis=0)[rows]
        size = np.sqrt(np.square(mean - mean.mean(axis=0)).sum(axis=1).mean())
        scales.append(1.0 / size if size > 1e-9 else 0.0)
        means.append(mean * scales[-1])
    block = np.repeat(np.arange(len(means)), [mean.shape[1] for mean in means])
    typical = s.sum() / n.sum()
    # One click at the typical rate keeps a test without clicks from looking exact.
    rate = (s[rows] + 1.0) / (n[rows] + 1.0 / max(typical, 1e-9))
    given = Targets(
        np.sort(period),
        np.log((s[rows] + 0.5) / (n[rows] - s[rows] + 0.5)),
        overdispersion / (n[rows] * rate * (1.0 - rate)),
    )
    x = np.hstack(means)
    hyper = fit_hyperparameters(x, block, given, start)
    weights = posterior(x, block, given, hyper).mean
    found = np.split(weights, np.cumsum([mean.shape[1] for mean in means])[:-1])
    return {name: scale * w for name, scale, w in zip(parts, scales, found, strict=True)}, hyper
