"""Rank the variants of a catalogue: who comes first, how sure, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.belief import USERS, Belief, believe
from multimodal_dql.candidates import PAST, candidate_table
from multimodal_dql.datasets.catalogue import Item
from multimodal_dql.explain import later_reason, reasons
from multimodal_dql.features import Features
from multimodal_dql.ranking import RankedItem, RankedVariant, Ranking, Reason, Verdict

__all__ = ["Z90", "rank", "verdict"]

EVIDENCE = (
    "a simulated audience: clicks were drawn from an engagement model, not from your readers. Treat the order as a "
    "hypothesis for a live test"
)
EVIDENCE_ZH = "模拟受众：点击由互动模型产生，并非来自您的真实读者。请把排序当作线上测试的假设"
PREFERRING = (
    "what past A/B tests preferred, and a simulated audience that prefers the same: clicks were drawn from an "
    "engagement model, not from your readers. Treat the order as a hypothesis for a live test"
)
PREFERRING_ZH = (
    "过去 A/B 测试的偏好，与偏好相同的模拟受众：点击由模型产生，并非真实读者。请把排序当作线上测试的假设"
)
OWN_COUNTS = "the impressions and clicks in your catalogue, where there are any; for the rest "
OWN_COUNTS_ZH = "目录中已有的展示和点击记录；其余部分依据"
LOGGED = (
    "a log of {decisions} decisions with {clicks} clicks, made by others than the agent. Treat the order as a "
    "hypothesis for a live test"
)
LOGGED_ZH = (
    "一份包含 {decisions} 个决策、{clicks} 次点击的日志，决策并非由智能体作出。请把排序当作线上测试的假设"
)
Z90 = 1.6449
"""Half-width of a 90 % normal interval, in standard deviations."""


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
        ranked(i, item, belief, candidates.available[i], why[i])
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
        past = any(e.modality == PAST for e in agent.projection.encoders)
        return (PREFERRING, PREFERRING_ZH) if past else (EVIDENCE, EVIDENCE_ZH)
    counts = {name: f"{int(log.get(name, 0)):,}" for name in ("decisions", "clicks")}
    return LOGGED.format(**counts), LOGGED_ZH.format(**counts)


def ranked(
    i: int, item: Item, belief: Belief, available: NDArray[np.bool_], why: Sequence[Sequence[Reason | None]]
) -> RankedItem:
    """One item's variants in order.

    Args:
        i: row of the item in `belief`.
        item: whose variants they are.
        belief: about it.
        available: (K,).
        why: reasons of each variant, K.
    """
    kept = np.flatnonzero(available)
    q, log_rate = belief.q[i, kept], belief.log_rate[i, kept]
    rate = np.exp(log_rate)
    chance = belief.chance[i, kept]
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
        "encoders": ", ".join(agent.encoders),
        "stories": agent.facts.get("stories", "?"),
        "members": agent.members,
        "seed": training.get("seed", "?"),
        "iterations": training.get("iterations", "?"),
        "run": agent.facts.get("run", "-"),
    }
