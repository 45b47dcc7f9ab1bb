"""Rank the variants of a catalogue from past A/B tests alone: no agent, no simulated audience."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.belief import Belief, correct_by_record, probability_best
from multimodal_dql.datasets.catalogue import Catalogue, Item
from multimodal_dql.prior.model import ContentPrior
from multimodal_dql.prior.scoring import Score
from multimodal_dql.rank import ranked
from multimodal_dql.ranking import RankedItem, Ranking, Reason

__all__ = ["rank_by_prior"]

Float = NDArray[np.float64]

EVIDENCE = (
    "{tests} past A/B tests of headlines: what their clicks say of the texts here. Pictures, sounds and the audience "
    "are not looked at"
)
EVIDENCE_ZH = "过去 {tests} 个标题 A/B 测试：依据其点击推断这里的文字。未考虑图片、声音与受众"
SEEING = (
    "{tests} past A/B tests: what their clicks say of the texts and pictures here. Sounds and the audience are not "
    "looked at"
)
SEEING_ZH = "过去 {tests} 个 A/B 测试：依据其点击推断这里的文字与图片。未考虑声音与受众"
OWN_COUNTS = "; corrected by the impressions and clicks in your catalogue"
OWN_COUNTS_ZH = "；并用目录中已有的展示和点击加以修正"
STORY_SD = 0.643
"""Standard deviation of the logit of the click rate between stories [fitted to the Upworthy Research Archive,
`simulation.engagement`]; siblings share it, so that it does not move their order."""
TYPICAL_RATE = 0.0135
"""Where a prior does not say which click rate its tests had [the same archive]."""


def rank_by_prior(prior: ContentPrior, catalogue: Catalogue, scores: Sequence[Score]) -> Ranking:
    """Rank every item.

    Args:
        prior: fitted to past tests.
        catalogue: what to rank; counts in it correct the scores.
        scores: of its variants, in the order of `Catalogue.variants` by line (`prior.scoring.score_rows`).
    """
    by_line = sorted(catalogue.variants, key=lambda variant: variant.line)
    found = {(v.item_id, v.variant_id): s for v, s in zip(by_line, scores, strict=True)}
    base = float(prior.facts.get("base_rate", TYPICAL_RATE))
    items = [_ranked(i, item, base, found) for i, item in enumerate(catalogue.items)]
    counted = any(v.impressions for v in by_line)
    seeing = bool(prior.blocks.pictures)
    tests = f"{int(prior.facts.get('tests', 0)):,}"
    return Ranking(
        items=tuple(items),
        evidence=(SEEING if seeing else EVIDENCE).format(tests=tests) + (OWN_COUNTS if counted else ""),
        evidence_zh=(SEEING_ZH if seeing else EVIDENCE_ZH).format(tests=tests)
        + (OWN_COUNTS_ZH if counted else ""),
        agent={"encoders": ", ".join((*prior.blocks.encoders, *prior.blocks.pictures)), "past_tests": tests},
    )


def _ranked(i: int, item: Item, base: float, found: dict[tuple[str, str], Score]) -> RankedItem:
    """One item: a normal prior on the log click rates, independent but for what the story shares, then its counts."""
    own = [found[v.item_id, v.variant_id] for v in item.variants]
    k = len(own)
    score = np.array([s.score for s in own])
    sd = np.array([s.sd for s in own])
    logit = np.log(base / (1.0 - base)) + score
    rate = 1.0 / (1.0 + np.exp(-logit))
    # An error of the logit moves the logarithm of the rate by 1 - rate of it.
    covariance = (np.diag(sd**2) + STORY_SD**2) * np.outer(1.0 - rate, 1.0 - rate)
    counts = np.array([[v.impressions, v.clicks] for v in item.variants], np.int64)
    mean, left = correct_by_record(
        np.log(rate)[None], covariance[None], counts[None, :, 0], counts[None, :, 1]
    )
    none = np.zeros(k)
    chance = probability_best(mean, left, none, np.zeros((k, k)), seed=i)
    apart = np.eye(k) - 1.0 / k
    belief = Belief(
        q=np.exp(mean),
        chance=chance[None],
        log_rate=mean,
        own_sd=np.sqrt(np.maximum(np.diag(apart @ left[0] @ apart), 0.0))[None],
        total_sd=np.sqrt(np.diag(left[0]))[None],
    )
    why = [[_reason(s)] for s in own]
    return ranked(0, item, belief, np.ones(k, np.bool_), why)


def _reason(score: Score) -> Reason:
    """What past tests say of a text."""
    if not score.known:
        return Reason(
            "past",
            0.0,
            "no encoder can read its text, so past tests say nothing of it",
            "编码器无法读取其文字，过去的测试不能说明它",
        )
    effect = float(np.expm1(score.score))
    return Reason(
        "past",
        effect,
        f"past tests expect {effect:+.0%} clicks of such a text against its siblings",
        f"过去的测试预计此类文字相对同组的点击为 {effect:+.0%}",
    )
