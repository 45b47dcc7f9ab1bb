"""What a trained agent believes of the values of a story's variants: means, errors, and who is best how likely.

Shape letters: ``K`` candidates, ``J`` levels of noise, ``P`` content width, ``C`` context width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import BATCH, Agent
from multimodal_dql.candidates import Candidates
from multimodal_dql.state import record_features

__all__ = [
    "DRAWS",
    "USERS",
    "Belief",
    "Scores",
    "believe",
    "correct_by_record",
    "features_of",
    "follows_of",
    "probability_best",
    "score",
]

USERS = 32
"""Typical users over which a ranking is averaged when the audience is not fixed."""
OVERDISPERSION = 1.78
"""Variance of click counts over the Poisson law's, measured on variants of equal content in real headline tests."""
DRAWS = 4096
"""Monte Carlo draws of a probability of being best: its error is below .008."""
NEWTON_STEPS = 60
LARGEST_STEP = 1.0
"""Of a log click rate in one Newton step: an exponential overshoots from far away."""
SMALLEST = 1e-18
"""A variance that is none, in clicks squared."""


@dataclass(frozen=True)
class Scores:
    """What the members that may judge a story say of its variants, averaged over an audience; all (items, K).

    Attributes:
        log_rate: mean of the members' log click rates, 0 where not available.
        follows: mean clicks that follow a choice.
    """

    log_rate: NDArray[np.float64]
    follows: NDArray[np.float64]


@dataclass(frozen=True)
class Belief:
    """What the agent believes of every candidate of every item, averaged over the audience; all (items, K).

    Attributes:
        q: mean Q in clicks, -inf where not available.
        chance: of being best, 0 where not available.
        log_rate: mean log click rate.
        own_sd: its error against the mean of the siblings.
        total_sd: its error, with what the siblings share.
    """

    q: NDArray[np.float64]
    chance: NDArray[np.float64]
    log_rate: NDArray[np.float64]
    own_sd: NDArray[np.float64]
    total_sd: NDArray[np.float64]


def score(
    agent: Agent, candidates: Candidates, contexts: NDArray[np.float32], known: NDArray[np.int64]
) -> Scores:
    """Ask the members about every item, records hidden, in front of `contexts` (users, C); see `believe`."""
    shape = candidates.available.shape
    none = np.zeros_like(candidates.impressions)
    record = record_features(none, none, candidates.available, agent.base_rate)
    q, rate = np.zeros((2, agent.members, *shape))
    # Batches are padded: a small catalogue is asked about for several users at once.
    together = max(BATCH // len(none), 1)
    for start in range(0, len(contexts), together):
        part = contexts[start : start + together]
        items = np.tile(np.arange(len(none)), len(part))
        found = agent.estimate(candidates.state(items, np.repeat(part, len(none), axis=0), record[items]))
        every = (agent.members, len(part), *shape)
        q += np.where(candidates.available, found.q.reshape(every), 0.0).sum(1) / len(contexts)
        rate += found.click_rate.reshape(every).sum(1) / len(contexts)
    voters = agent.left_out(known)[:, :, None] & candidates.available[None]
    count = np.maximum(voters.sum(0), 1)
    log_rate = np.log(np.where(voters, rate, 1.0)).sum(0) / count
    return Scores(log_rate, np.where(voters, q - rate, 0.0).sum(0) / count)


def believe(
    agent: Agent, candidates: Candidates, contexts: NDArray[np.float32], known: NDArray[np.int64]
) -> Belief:
    """What the members say, as far as the last layer trusts it, corrected by the records.

    Args:
        agent: the ensemble.
        candidates: of the catalogue, with records.
        contexts: one row a typical user.
        known: number of each item among the training stories, -1 when new. A story the agent was trained on is
            judged only by the members and the last layer that did not learn from it, so that its confidence is as
            honest as for a new one.
    """
    c, available, layer = candidates, candidates.available, agent.layer
    which = layer.which(known, agent.fold)
    found = score(agent, c, contexts, known)
    everyone = agent.contexts({})[: len(contexts)]
    fixed = not np.array_equal(everyone, contexts)
    usual = score(agent, c, everyone, known) if fixed else found
    size = available.sum(1, keepdims=True)
    level = found.log_rate.sum(1, keepdims=True) / size
    mean, unit = layer.click.predict(which, features_of(usual, c), available)
    shared = np.where(available[:, :, None] & available[:, None], layer.story, 0.0)
    if fixed:
        apart = (found.log_rate - usual.log_rate)[..., None]
        shift, extra = layer.audience.predict(which, apart, available)
        mean, shared = mean + shift, shared + layer.audience.noise[which, None, None] * extra
    mean = np.where(available, level + mean, 0.0)
    levels = layer.click.levels()[:, which, None, None]
    prior = levels * unit + shared  # (J, items, K, K)
    log_rate, covariance = correct_by_record(
        np.broadcast_to(mean, prior.shape[:-1]), prior, c.impressions, c.clicks
    )
    own, before = (_apart(matrix, available) for matrix in (covariance, prior))
    centre = log_rate.mean(0)
    rate = np.where(available, np.exp(centre), 0.0)
    # What follows a choice is known from simulation only: it fades as counts of real people come in.
    fade = own.mean(0).sum(1, keepdims=True) / np.maximum(before.mean(0).sum(1, keepdims=True), SMALLEST)
    unit_clicks = np.exp(level)
    later, later_unit = layer.later.predict(which, follows_of(found, available), available)
    later, scale = fade * unit_clicks * later, (fade * unit_clicks) ** 2 * layer.later.noise[which, None]
    chance = np.zeros_like(mean)
    for i, kept in enumerate(available):
        block = np.ix_(kept, kept)
        chance[i, kept] = probability_best(
            log_rate[:, i, kept],
            covariance[:, i][:, *block],
            later[i, kept],
            scale[i] * later_unit[i][block],
            seed=i,
        )
    total = np.diagonal(covariance, axis1=-2, axis2=-1).mean(0) + log_rate.var(0)
    follows = found.follows.sum(1, keepdims=True) / size
    return Belief(
        np.where(available, rate + follows + later, -np.inf),
        chance,
        centre,
        np.sqrt(own.mean(0) + log_rate.var(0)),
        np.sqrt(total),
    )


def features_of(found: Scores, candidates: Candidates) -> NDArray[np.float64]:
    """Features of the last layer for the click rate: the score, then the content, (items, K, 1 + P)."""
    content = candidates.content[candidates.table].astype(np.float64)
    return np.concatenate([found.log_rate[..., None], content], axis=-1)


def follows_of(found: Scores, available: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The feature of the last layer for what follows: clicks that follow as a share of the story's click rate."""
    level = np.exp(found.log_rate.sum(1, keepdims=True) / available.sum(1, keepdims=True))
    return np.asarray((found.follows / level)[..., None])


def _apart(covariance: NDArray[np.float64], available: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Variance of each error against the siblings' mean: (..., K, K) -> (..., K), 0 where not available."""
    size = available.sum(1)
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    rows = covariance.sum(-1) / size[:, None]
    out = own - 2.0 * rows + rows.sum(-1, keepdims=True) / size[:, None]
    return np.where(available, np.maximum(out, 0.0), 0.0)


def correct_by_record(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    impressions: NDArray[np.int64],
    clicks: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join what content says of the log click rates of siblings with their counts (Laplace approximation).

    Clicks are Poisson, and weigh less than that because they are overdispersed (`OVERDISPERSION`). The errors of
    siblings are correlated, so the counts of one tell of the others what they share and no more. Newton's method on
    ``l = mean + covariance (clicks - impressions e^l) / OVERDISPERSION``.

    Args:
        mean: of the log click rates, (..., items, K).
        covariance: of their error, (..., items, K, K); 0 in rows of padding.
        impressions: (items, K); or any measure of exposure, if rates are clicks a unit of it.
        clicks: (items, K).

    Returns:
        the posterior mode and covariance; without a record the arguments as they are.
    """
    mode, left = mean.copy(), covariance.copy()
    seen = np.flatnonzero(impressions.any(axis=1))
    if not len(seen):
        return mode, left
    n, s = impressions[seen] / OVERDISPERSION, clicks[seen] / OVERDISPERSION
    m, v = mean[..., seen, :], covariance[..., seen, :, :]
    at, eye = m.copy(), np.eye(v.shape[-1])
    for _ in range(NEWTON_STEPS):
        expected = n * np.exp(at)
        pull = s - expected + expected * (at - m)
        system = eye + v * expected[..., None, :]
        step = m + np.linalg.solve(system, np.einsum("...kl,...l->...k", v, pull)[..., None])[..., 0] - at
        size = np.abs(step).max(axis=-1, keepdims=True)
        at = at + step * np.minimum(1.0, LARGEST_STEP / np.maximum(size, SMALLEST))
        if size.max() < 1e-10:
            break
    mode[..., seen, :] = at
    after = np.linalg.solve(eye + v * (n * np.exp(at))[..., None, :], v)
    left[..., seen, :, :] = 0.5 * (after + np.swapaxes(after, -1, -2))
    return mode, left


def probability_best(
    log_rate: NDArray[np.float64],
    covariance: NDArray[np.float64],
    later: NDArray[np.float64],
    later_covariance: NDArray[np.float64],
    seed: int = 0,
    draws: int = DRAWS,
) -> NDArray[np.float64]:
    """How often each sibling has the highest value in joint draws: the click now, and the clicks that follow.

    Args:
        log_rate: mean at each of J equally likely levels of noise, (J, K).
        covariance: of its error, (J, K, K).
        later: mean of the clicks that follow, (K,).
        later_covariance: of its error, (K, K).
        seed: of the draws.
        draws: how many, shared by the levels.

    Returns:
        (K,), sums to 1.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 4]))
    levels, k = log_rate.shape
    each = max(draws // levels, 1)
    z = rng.standard_normal((2, levels, each, k))
    now = np.exp(log_rate[:, None] + z[0] @ np.swapaxes(_root(covariance), -1, -2))
    value = now + later + z[1] @ _root(later_covariance).T
    winner = value.reshape(-1, k).argmax(axis=1)
    return np.asarray(np.bincount(winner, minlength=k) / (each * levels))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Cholesky factor, also where rounding has left a variance of 0."""
    return np.asarray(np.linalg.cholesky(covariance + SMALLEST * np.eye(covariance.shape[-1])))
