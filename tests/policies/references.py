"""Every policy once more, as plain loops over one decision: slow, and easy to hold against the formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.state import State

Array = NDArray[np.float64]
Arm = tuple[int, int, float]
"""Impressions, clicks, predicted rate (NaN without one)."""
Index = Callable[[Sequence[Arm], float, float], list[float]]
"""Arms, elapsed, horizon -> one index each."""


def rows(state: State, decide: Callable[[Sequence[Arm], float, float], list[float]]) -> Array:
    """`decide` on each decision's available candidates, laid out as (B, K)."""
    out = np.zeros(state.available.shape)
    c = state.counts
    for b, mask in enumerate(state.available):
        slots = [k for k, there in enumerate(mask) if there]
        if c is None:
            arms, elapsed, horizon = [(0, 0, math.nan)] * len(slots), 0.0, math.inf
        else:
            prior = c.prior_rate
            arms = [
                (
                    int(c.impressions[b, k]),
                    int(c.clicks[b, k]),
                    math.nan if prior is None else float(prior[b, k]),
                )
                for k in slots
            ]
            elapsed, horizon = float(c.elapsed[b]), float(c.horizon[b])
        for k, p in zip(slots, decide(arms, elapsed, horizon), strict=True):
            out[b, k] = p
    return out


def highest(index: Sequence[float]) -> list[float]:
    """Probability 1 split among the highest."""
    top = max(index)
    winners = [i == top or math.isclose(i, top, rel_tol=1e-10) for i in index]
    return [w / sum(winners) for w in winners]


def mixed(p: Sequence[float], epsilon: float) -> list[float]:
    return [(1 - epsilon) * x + epsilon / len(p) for x in p]


def epsilon_greedy(epsilon: float) -> Index:
    return lambda arms, t, horizon: mixed(highest([(s + 1.383) / (n + 97.483) for n, s, _ in arms]), epsilon)


def bound(n: float, s: float, t: float, z: float) -> float:
    return s / n + z * math.sqrt(math.log(t + 2) / n) if n else math.inf


def ucb(z: float) -> Index:
    return lambda arms, t, horizon: highest([bound(n, s, t, z) for n, s, _ in arms])


def lola(z: float, n_aux: float) -> Index:
    def decide(arms: Sequence[Arm], t: float, horizon: float) -> list[float]:
        shown, clicked = sum(n for n, _, _ in arms), sum(s for _, s, _ in arms)
        predicted = [r for _, _, r in arms if not math.isnan(r)]
        siblings = sum(predicted) / len(predicted) if predicted else 0.0
        otherwise = clicked / shown if shown else siblings
        index = []
        for n, s, r in arms:
            rate = otherwise if math.isnan(r) else r
            index.append(min(bound(n, s, t, z), bound(n + n_aux, s + n_aux * rate, t, z)))
        return highest(index)

    return decide


def eb_ucb(c: float, prior_n: float) -> Index:
    def decide(arms: Sequence[Arm], t: float, horizon: float) -> list[float]:
        shown, clicked = sum(n for n, _, _ in arms), sum(s for _, s, _ in arms)
        m = clicked / shown if shown else 0.0
        left = max(1 - t / max(horizon, 1), 0)
        return highest(
            [
                (m * prior_n + s) / (prior_n + n) + c * math.sqrt(left) * math.sqrt(m / (prior_n + n))
                for n, s, _ in arms
            ]
        )

    return decide


def explore_then_follow(share: float, open_horizon: float) -> Index:
    """Explore-commit before anything is committed."""

    def decide(arms: Sequence[Arm], t: float, horizon: float) -> list[float]:
        if t < share * (open_horizon if math.isinf(horizon) else horizon):
            return [1 / len(arms)] * len(arms)
        return highest([s / n if n else 0.0 for n, s, _ in arms])

    return decide


def thompson_by_quadrature(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """P(arm is best) by adaptive quadrature of each density times the other distribution functions, to about 1e-9."""
    from scipy.integrate import quad
    from scipy.stats import beta

    ends = sorted(
        {
            float(q)
            for x, y in zip(a, b, strict=True)
            for q in beta.ppf([0, 1e-9, 1e-4, 0.02, 0.2, 0.5, 0.8, 0.98, 1 - 1e-4, 1 - 1e-9, 1], x, y)
        }
    )
    out = []
    for k in range(len(a)):

        def integrand(x: float, k: int = k) -> float:
            others = [beta.cdf(x, a[j], b[j]) for j in range(len(a)) if j != k]
            return float(beta.pdf(x, a[k], b[k]) * math.prod(others))

        out.append(
            sum(quad(integrand, lo, hi, epsabs=1e-10, limit=60)[0] for lo, hi in zip(ends, ends[1:]))  # noqa: B905, RUF007
        )
    return out


def better_of_two(a1: float, b1: float, a2: int, b2: float) -> float:
    """P(x2 > x1) for Beta(a1, b1) and Beta(a2, b2), a2 whole: the sum of Cook (2005) and Miller (2015)."""
    from scipy.special import betaln

    i = np.arange(a2)
    return float(np.exp(betaln(a1 + i, b1 + b2) - np.log(b2 + i) - betaln(1 + i, b2) - betaln(a1, b1)).sum())


class LinearLoop:
    """Ridge regression kept as an explicit inverse, one Sherman-Morrison step a row (Li et al. 2010, algorithm 1)."""

    def __init__(self, width: int, ridge: float) -> None:
        self.inverse = np.eye(width) / ridge
        self.b = np.zeros(width)

    def learn(self, x: Array, reward: float) -> None:
        ax = self.inverse @ x
        self.inverse -= np.outer(ax, ax) / (1.0 + x @ ax)
        self.b += reward * x

    @property
    def theta(self) -> Array:
        return np.asarray(self.inverse @ self.b)

    def linucb(self, candidates: Sequence[Array], alpha: float) -> list[float]:
        return [float(self.theta @ x + alpha * math.sqrt(max(x @ self.inverse @ x, 0.0))) for x in candidates]


def joint(content: Array, context: Array) -> Array:
    """``[1, content, context, every product]``."""
    products = [float(c) * float(d) for c in content for d in context]
    return np.array([1.0, *content, *context, *products])
