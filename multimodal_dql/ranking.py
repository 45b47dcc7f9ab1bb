"""What a ranking says: the variants of each item in order, how sure the agent is, why, and on what evidence.

These are results, frozen and without behaviour beyond small conveniences; `multimodal_dql.agent` fills them and
`multimodal_dql.report` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from multimodal_dql.errors import Lang, Problem

__all__ = ["RankedItem", "RankedVariant", "Ranking", "Reason", "Verdict"]

Verdict = Literal["winner", "lean", "no_clear_winner"]


@dataclass(frozen=True)
class Reason:
    """One thing that speaks for or against a variant, as a number and a sentence in both languages.

    Attributes:
        kind: ``modality`` (leave one modality out), ``agreement`` (picture or sound against
            headline), ``later`` (what it changes about the rest of the visit),
            ``neighbour`` (nearest known winner), ``record`` (own counts) or ``past`` (past A/B tests).
        effect: change of expected clicks, as a share of the story's mean (0.04 is "4 % more clicks").
        en: the sentence in English.
        zh: the sentence in Chinese.
    """

    kind: Literal["modality", "agreement", "later", "neighbour", "record", "past"]
    effect: float
    en: str
    zh: str

    def text(self, lang: Lang) -> str:
        """The sentence in `lang`."""
        return self.zh if lang == "zh" else self.en


@dataclass(frozen=True)
class RankedVariant:
    """One variant in its place.

    Attributes:
        variant_id: as in the catalogue.
        rank: 1 is shown first.
        q_value: expected discounted return of showing it, in the units of the run's reward.
        probability_best: probability that no sibling has a higher value; sums to 1 over the item.
        click_rate: expected clicks an impression.
        click_rate_low: lower end of the 90 % interval of `click_rate`.
        click_rate_high: upper end of the 90 % interval of `click_rate`.
        lift: click rate against the mean of the story's variants, 0.08 is "8 % more".
        lift_low: lower end of the 90 % interval of `lift`; narrower than that of `click_rate`, because what the
            siblings share does not count.
        lift_high: upper end of the 90 % interval of `lift`.
        reasons: strongest first.
    """

    variant_id: str
    rank: int
    q_value: float
    probability_best: float
    click_rate: float
    click_rate_low: float
    click_rate_high: float
    lift: float = 0.0
    lift_low: float = 0.0
    lift_high: float = 0.0
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class RankedItem:
    """The variants of one item in order, and whether the first one can be trusted to be first.

    Attributes:
        item_id: as in the catalogue.
        verdict: ``winner`` (probability of being best at least .8), ``lean`` (at least .5 and twice the second), else
            ``no_clear_winner``.
        variants: best first.
    """

    item_id: str
    verdict: Verdict
    variants: tuple[RankedVariant, ...]


@dataclass(frozen=True)
class Ranking:
    """Every item of a catalogue, ranked.

    Attributes:
        items: in the order of the catalogue.
        evidence: what the numbers rest on, e.g. ``simulated audience``; a sentence in English.
        evidence_zh: the same in Chinese.
        context: the audience that was asked for; empty means the average audience.
        skipped: variants and items that could not be ranked, each with its reason.
        agent: facts about the agent (run, seed, encoders, training steps) for the foot of a report.
    """

    items: tuple[RankedItem, ...]
    evidence: str
    evidence_zh: str
    context: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Problem, ...] = ()
    agent: Mapping[str, str] = field(default_factory=dict)
