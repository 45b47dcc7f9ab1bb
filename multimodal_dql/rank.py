"""Rank the variants of a catalogue: who comes first, how sure, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.datasets.catalogue import Item
from multimodal_dql.explain import later_reason, reasons
from multimodal_dql.features import Features
from multimodal_dql.ranking import RankedItem, RankedVariant, Ranking, Reason, Verdict
from multimodal_dql.state import Candidates, candidate_table, record_features

__all__ = ["Belief", "believe", "mean_and_disagreement", "probability_best", "rank", "update_rate", "verdict"]

EVIDENCE = (
    "a simulated audience: clicks were drawn from an engagement model, not from your readers. Treat the order as a "
    "hypothesis for a live test"
)
EVIDENCE_ZH = "模拟受众：点击由互动模型产生，并非来自您的真实读者。请把排序当作线上测试的假设"
OWN_COUNTS = "the impressions and clicks in your catalogue, where there are any; for the rest "
OWN_COUNTS_ZH = "目录中已有的展示和点击记录；其余部分依据"
LOGGED = (
    "a log of {decisions} decisions with {clicks} clicks, made by others than the agent. Treat the order as a "
    "hypothesis for a live test"
)
LOGGED_ZH = (
    "一份包含 {decisions} 个决策、{clicks} 次点击的日志，决策并非由智能体作出。请把排序当作线上测试的假设"
)
USERS = 32
"""Typical users over which a ranking is averaged when the audience is not fixed."""
OVERDISPERSION = 1.78
"""Variance of click counts over the Poisson law's, measured on variants of equal content in real headline tests."""
DRAWS = 4096
"""Monte Carlo draws of a probability of being best: its error is below .008."""
Z90 = 1.6449
"""Half-width of a 90 % normal interval, in standard deviations."""


@dataclass(frozen=True)
class Belief:
    """What the agent believes of every candidate of every item, averaged over the audience; all (items, K).

    Attributes:
        q: mean Q in clicks, -inf where not available.
        q_sd: its error against the siblings: of the click now, and of what follows.
        log_rate: mean log click rate.
        own_sd: its error against the siblings.
        total_sd: its error, with what the siblings share.
    """

    q: NDArray[np.float64]
    q_sd: NDArray[np.float64]
    log_rate: NDArray[np.float64]
    own_sd: NDArray[np.float64]
    total_sd: NDArray[np.float64]


def believe(
    agent: Agent, candidates: Candidates, contexts: NDArray[np.float32], known: NDArray[np.int64]
) -> Belief:
    """Ask the members about every item, in front of `contexts` (users, C), and let the records correct them.

    Args:
        agent: the ensemble.
        candidates: of the catalogue, with records.
        contexts: one row a typical user.
        known: number of each item among the training stories, -1 when new. A story the agent was trained on is
            judged only by the members that did not learn from it, so that its confidence is as honest as for a new one.
    """
    items = np.arange(len(candidates.table))
    none = np.zeros_like(candidates.impressions)
    record = record_features(none, none, candidates.available, agent.base_rate)
    q, rate = np.zeros((2, agent.members, *candidates.available.shape))
    for context in contexts:
        found = agent.estimate(
            candidates.state(items, np.broadcast_to(context, (len(items), len(context))), record)
        )
        q += np.where(candidates.available, found.q, 0.0) / len(contexts)
        rate += found.click_rate / len(contexts)
    voters = agent.left_out(known)[:, :, None] & candidates.available[None]
    count = np.maximum(voters.sum(0), 1)
    mean, disagreement = mean_and_disagreement(np.log(np.where(voters, rate, 1.0)), voters)
    own = np.maximum(agent.spread.floor + agent.spread.factor * disagreement, 1e-9)
    from_content = np.exp(mean)
    # First what the counts of all siblings say about their story, then what each one's own counts say about it.
    shift, story = _story_update(from_content, own, agent.spread.story, candidates)
    updated, remaining = update_rate(from_content * shift, own, candidates.impressions, candidates.clicks)
    _, total = update_rate(from_content, own + story, candidates.impressions, candidates.clicks)
    # What follows a choice is known from simulation only: it fades as counts of real people come in. Its error is taken
    # as what sets one more member apart from the mean. An error of the log click rate moves Q by that share of a click.
    size = candidates.available.sum(1, keepdims=True)
    fade = (np.where(candidates.available, remaining / own, 0.0)).sum(1, keepdims=True) / size
    follows, apart = mean_and_disagreement(q - rate, voters)
    shared = follows.sum(1, keepdims=True) / size
    q_mean = updated + shared + fade * (follows - shared)
    q_sd = np.sqrt(remaining * updated**2 + fade**2 * apart * (1.0 + 1.0 / count))
    return Belief(
        np.where(candidates.available, q_mean, -np.inf),
        q_sd,
        np.log(updated),
        np.sqrt(remaining),
        np.sqrt(total),
    )


def _story_update(
    rate: NDArray[np.float64], own: NDArray[np.float64], story: float, candidates: Candidates
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By which factor the counts of a story move all its variants, (items, 1), and the variance that is left of it.

    Counts of few variants say little about the story, however many they are, because each variant has an error of its
    own: they weigh as if their precision were ``1 / (1 / clicks + own)``, own averaged over where they come from.
    """
    n = candidates.impressions.astype(np.float64)
    share = n / np.maximum(n.sum(1, keepdims=True), 1.0)
    expected = (n * rate).sum(1, keepdims=True)
    weight = 1.0 / (1.0 + expected / OVERDISPERSION * (share**2 * own).sum(1, keepdims=True))
    clicks = weight * candidates.clicks.sum(1, keepdims=True)
    return update_rate(np.ones_like(expected), np.full_like(expected, story), weight * expected, clicks)


def update_rate(
    rate: NDArray[np.float64],
    variance: NDArray[np.float64],
    impressions: NDArray[np.int64],
    clicks: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join what the content says with a variant's own counts (Gamma-Poisson, Gelman et al. 2013, section 2.6).

    The prior is a Gamma distribution with mean `rate` and, on the logarithm, about `variance`: worth ``1 / variance``
    clicks. Counts weigh less than a Poisson law would have it, because they are overdispersed (`OVERDISPERSION`).

    Args:
        rate: expected clicks an impression from content alone.
        variance: of its logarithm's error.
        impressions: of the record; or any measure of exposure, if `rate` is clicks a unit of it.
        clicks: of the record.

    Returns:
        the posterior mean, and the variance of its logarithm's error; without a record the arguments as they are.
    """
    shape = 1.0 / np.maximum(variance, 1e-9)
    seen, clicked = impressions / OVERDISPERSION, clicks / OVERDISPERSION
    posterior = (shape + clicked) / (shape / rate + seen)
    return posterior, 1.0 / (shape + clicked)


def mean_and_disagreement(
    values: NDArray[np.float64], voters: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of (M, items, K) over the voters, and the variance among them of what sets siblings apart: (items, K)."""
    count = np.maximum(voters.sum(0), 1)
    mean = np.where(voters, values, 0.0).sum(0) / count
    deviation = np.where(voters, values - mean, 0.0)
    siblings = np.maximum(voters.sum(2, keepdims=True), 1)
    deviation = np.where(voters, deviation - deviation.sum(2, keepdims=True) / siblings, 0.0)
    return mean, np.asarray((deviation**2).sum(0) / np.maximum(count - 1, 1))


def probability_best(
    q: NDArray[np.float64], sd: NDArray[np.float64], seed: int = 0, draws: int = DRAWS
) -> NDArray[np.float64]:
    """How often each candidate comes first when Q is drawn from independent normal errors.

    Args:
        q: (K,) mean.
        sd: (K,) standard deviation of the error.
        seed: of the draws.
        draws: how many.

    Returns:
        (K,), sums to 1.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 4]))
    winner = (q + sd * rng.standard_normal((draws, len(q)))).argmax(axis=1)
    return np.asarray(np.bincount(winner, minlength=len(q)) / draws)


def verdict(probability: NDArray[np.float64]) -> Verdict:
    """``winner`` from .8 on; ``lean`` from .5 on if twice as likely as the next; else ``no_clear_winner``."""
    first, second = np.sort(probability)[::-1][:2]
    if first >= 0.8:
        return "winner"
    return "lean" if first >= 0.5 and first >= 2 * second else "no_clear_winner"


def rank(
    agent: Agent,
    features: Features,
    context: Mapping[str, float] | None = None,
    *,
    shown: Mapping[str, str] | None = None,
) -> Ranking:
    """Rank every item of an encoded catalogue.

    Args:
        agent: trained with the same encoders.
        features: of the catalogue.
        context: fields of the audience that are fixed, as `ContextSpec.parse` gives; the others are averaged over.
        shown: the same as the user wrote it, for the report.

    Raises:
        RunError: the catalogue was encoded with other encoders.
    """
    candidates = candidate_table(features, agent.projection)
    contexts = agent.contexts(context or {})[:USERS]
    known = agent.known([item.item_id for item in features.catalogue.items])
    belief = believe(agent, candidates, contexts, known)
    evidence, evidence_zh = _evidence(agent)
    why = reasons(agent, features, candidates, contexts, known)
    items = tuple(
        _ranked(i, item, belief, candidates.available[i], why[i])
        for i, item in enumerate(features.catalogue.items)
    )
    return Ranking(
        items=items,
        evidence=(OWN_COUNTS if candidates.impressions.any() else "") + evidence,
        evidence_zh=(OWN_COUNTS_ZH if candidates.impressions.any() else "") + evidence_zh,
        context=dict(shown or {}),
        skipped=features.skipped,
        agent={str(k): str(v) for k, v in _facts(agent).items()},
    )


def _evidence(agent: Agent) -> tuple[str, str]:
    """What the agent's knowledge rests on, in English and in Chinese."""
    log = agent.facts.get("log")
    if not isinstance(log, Mapping):
        return EVIDENCE, EVIDENCE_ZH
    counts = {name: f"{int(log.get(name, 0)):,}" for name in ("decisions", "clicks")}
    return LOGGED.format(**counts), LOGGED_ZH.format(**counts)


def _ranked(i: int, item: Item, belief: Belief, available: NDArray[np.bool_], why: list[Any]) -> RankedItem:
    """One item's variants in order."""
    kept = np.flatnonzero(available)
    q, log_rate = belief.q[i, kept], belief.log_rate[i, kept]
    rate = np.exp(log_rate)
    chance = probability_best(q, belief.q_sd[i, kept], seed=i)
    own, total = belief.own_sd[i, kept], belief.total_sd[i, kept]
    average = log_rate.mean()
    # Q is the click now and all that follows: what is left of a difference in Q is what the choice does later.
    later = ((q - q.mean()) - (rate - rate.mean())) / rate.mean()
    variants = []
    for place, k in enumerate(np.lexsort((kept, -q)), start=1):
        variants.append(
            RankedVariant(
                variant_id=item.variants[k].variant_id,
                rank=place,
                q_value=float(q[k]),
                probability_best=float(chance[k]),
                click_rate=float(rate[k]),
                click_rate_low=float(rate[k] * np.exp(-Z90 * total[k])),
                click_rate_high=float(rate[k] * np.exp(Z90 * total[k])),
                lift=float(np.expm1(log_rate[k] - average)),
                lift_low=float(np.expm1(log_rate[k] - average - Z90 * own[k])),
                lift_high=float(np.expm1(log_rate[k] - average + Z90 * own[k])),
                reasons=_strongest_first([*why[kept[k]], later_reason(float(later[k]))]),
            )
        )
    return RankedItem(item.item_id, verdict(chance), tuple(variants))


def _strongest_first(found: Iterable[Reason | None]) -> tuple[Reason, ...]:
    """Neighbours explain an effect, so they come after every effect of the variant's own."""
    kept = [reason for reason in found if reason is not None]
    return tuple(sorted(kept, key=lambda reason: (reason.kind == "neighbour", -abs(reason.effect))))


def _facts(agent: Agent) -> dict[str, Any]:
    """What the foot of a report says about the agent."""
    training = agent.facts.get("training", {})
    return {
        "encoders": ", ".join(e.name for e in agent.projection.encoders),
        "stories": agent.facts.get("stories", "?"),
        "members": agent.members,
        "seed": training.get("seed", "?"),
        "iterations": training.get("iterations", "?"),
        "run": agent.facts.get("run", "-"),
    }
