"""What happens in Generation-v0, compiled: variants arrive, are shown, wear out and are retired.

Shape letters: ``N`` environments, ``K`` slots, ``P`` content width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled, normals, uniforms
from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.scenarios.arm_features import Evidence
from multimodal_dql.simulation.scenarios.draws import click_count, heavy_tailed, prior_of

__all__ = ["Items", "Rules", "draw", "novelty_and_wear", "play", "rates"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OF_ITEM, OF_VARIANT, OF_CONTENT, OF_STAGE = 0, 1, 2, 3
"""Streams of random numbers of an episode."""


class Rules(NamedTuple):
    """The configuration in the form the compiled functions take."""

    base_mean: float
    base_sd: float
    within_sd: float
    within_df: float
    phi: float
    initial: int
    stages: int
    stage_impressions: int
    arrival_rate: float
    content_share: float
    correlation: float
    novelty: float
    novelty_impressions: float
    wear_out: float
    wear_impressions: float
    expected: bool
    weights: Array


class Items(NamedTuple):
    """All items; (N, K, P), (N, K) and (N,)."""

    content: Array
    logit: Array
    evidence: Evidence
    born: Ints
    stage: Ints
    variants: Ints
    life: Ints


@compiled
def novelty_and_wear(n: int, novelty: float, fades: float, wear_out: float, wears: float) -> float:
    """What `n` exposures do to a variant's logit: ``novelty e^(-n / fades) - wear_out log(1 + n / wears)``."""
    return novelty * math.exp(-n / fades) - wear_out * math.log1p(n / wears)


@compiled
def _arrive(r: Rules, t: Items, i: int, k: int, episode: int, key: int) -> None:
    """Put the next variant of an item into a slot."""
    v, width = t.variants[i], t.content.shape[2]
    a, b, _, _ = uniforms(key, episode, OF_ITEM, 0)
    base = r.base_mean + r.base_sd * normals(a, b)[0]
    told = 0.0
    for p in range(width):
        a, b, _, _ = uniforms(key, episode, OF_CONTENT, v * width + p)
        t.content[i, k, p] = min(max(normals(a, b)[0], -4.0), 4.0)
        told += r.weights[p] * t.content[i, k, p]
    a, b, _, _ = uniforms(key, episode, OF_VARIANT, 2 * v)
    effect = math.sqrt(r.content_share) * told + math.sqrt(1.0 - r.content_share) * heavy_tailed(
        a, b, r.within_df
    )
    effect *= r.within_sd
    a, b, _, _ = uniforms(key, episode, OF_VARIANT, 2 * v + 1)
    e = t.evidence
    e.prior_mean[i, k] = prior_of(effect, r.within_sd, r.correlation, normals(a, b)[0])
    e.prior_sd[i, k] = r.within_sd * math.sqrt(1.0 - r.correlation * r.correlation)
    e.impressions[i, k], e.clicks[i, k], e.live[i, k] = 0, 0, True
    t.logit[i, k], t.born[i, k] = base + effect, t.stage[i]
    t.variants[i] = v + 1


@compiled
def _clear(t: Items, i: int, k: int) -> None:
    """Empty a slot."""
    t.content[i, k, :] = 0.0
    t.logit[i, k], t.born[i, k] = 0.0, 0
    e = t.evidence
    e.live[i, k] = False
    e.prior_mean[i, k], e.prior_sd[i, k] = 0.0, 0.0
    e.impressions[i, k], e.clicks[i, k] = 0, 0


@compiled
def draw(r: Rules, t: Items, envs: Ints, episodes: Ints, key: int) -> None:
    """Start the life of an item in each of these environments."""
    for i in envs:
        t.stage[i], t.variants[i], t.life[i] = 0, 0, r.stages
        for k in range(t.logit.shape[1]):
            _clear(t, i, k)
        for k in range(r.initial):
            _arrive(r, t, i, k, episodes[i], key)


@compiled
def _rate(r: Rules, t: Items, i: int, k: int) -> float:
    """Click rate of a live variant now."""
    n = t.evidence.impressions[i, k]
    return logistic(
        t.logit[i, k] + novelty_and_wear(n, r.novelty, r.novelty_impressions, r.wear_out, r.wear_impressions)
    )


@compiled
def rates(r: Rules, t: Items, out: Array) -> None:
    """Fill `out` (N, K) with the click rates now, of live variants."""
    for i in range(len(out)):
        for k in range(out.shape[1]):
            if t.evidence.live[i, k]:
                out[i, k] = _rate(r, t, i, k)


@compiled
def play(
    r: Rules, t: Items, actions: Ints, live: Bools, episodes: Ints, key: int, out: Array, over: Bools
) -> None:
    """One action in each live environment; `out` is (N, 4): reward, expected reward, rate, clicks."""
    slots, e = t.logit.shape[1], t.evidence
    for i in range(len(live)):
        if not live[i]:
            continue
        k = actions[i]
        if k >= slots:
            _clear(t, i, k - slots)
            continue
        u, v, _, _ = uniforms(key, episodes[i], OF_STAGE, t.stage[i])
        rate = _rate(r, t, i, k)
        clicks = click_count(u, r.stage_impressions, rate, r.phi)
        out[i, 1], out[i, 2], out[i, 3] = rate * r.stage_impressions, rate, clicks
        out[i, 0] = out[i, 1] if r.expected else clicks
        e.impressions[i, k] += r.stage_impressions
        e.clicks[i, k] += clicks
        t.stage[i] += 1
        over[i] = t.stage[i] >= r.stages
        if v < r.arrival_rate and not over[i]:
            for j in range(slots):
                if not e.live[i, j]:
                    _arrive(r, t, i, j, episodes[i], key)
                    break
