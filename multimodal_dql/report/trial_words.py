"""An offline A/B simulation in sentences and written numbers, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from multimodal_dql.report import numbers
from multimodal_dql.report.texts import TEXTS, Texts
from multimodal_dql.report.trial import sessions_to_settle

if TYPE_CHECKING:
    from multimodal_dql.simulation.analysis import ArmComparison
    from multimodal_dql.simulation.trial import Trial

__all__ = ["STATES", "State", "Words", "capital", "facts", "p_value", "percents", "state"]

State = Literal["ahead", "behind", "same", "open", "invalid"]
STATES: tuple[State, ...] = ("ahead", "behind", "same", "open", "invalid")
_SHARES = ("click_rate", "return")
"""Outcomes that are written in percent."""
_EVEN = 0.0005
"""A relative difference that is written as 0.0 %."""

Triple = tuple[float, float, float]


def state(c: ArmComparison) -> State:
    """How a comparison ended, from the side of its arm."""
    if c.ending == "winner":
        return "ahead" if c.winner == c.arm else "behind"
    known: dict[str, State] = {"no meaningful difference": "same", "invalid: sample ratio": "invalid"}
    return known.get(c.ending, "open")


def percents(value: float, low: float, high: float) -> tuple[str, str, str]:
    """An effect and its interval with as many decimals as the interval deserves: two digits of its half width."""
    digits = _decimals((high - low) / 2 * 100, 1, 3)
    a, b, c = (numbers.signed_percent(x, digits, minus="−") for x in (value, low, high))
    return a, b, c


def _decimals(half_width: float, least: int, most: int) -> int:
    if not math.isfinite(half_width) or half_width <= 0:
        return least
    return min(most, max(least, 1 - math.floor(math.log10(half_width) + 1e-9)))


def p_value(p: float) -> str:
    """``= 0.034`` or ``< 0.001``."""
    if not math.isfinite(p):
        return f"= {numbers.MISSING}"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


class Words:
    """Sentences about one trial in one language.

    Args:
        trial: what they are about.
        t: the language.
    """

    def __init__(self, trial: Trial, t: Texts) -> None:
        self.trial, self.t = trial, t
        self.verdict, self.analysis = trial.verdict, trial.verdict.analysis
        self.outcome = self.analysis.outcome
        self.noun = t.named("outcome", self.outcome)
        self.level = f"{100 * (1 - self.analysis.alpha):.4g}%"
        self.minimum = f"{100 * self.analysis.minimum_effect:.3g}%"
        plain = {name: _policy(name, t) for name in self.verdict.arms}
        taken = list(plain.values())
        self._names = {name: word if taken.count(word) == 1 else name for name, word in plain.items()}

    @property
    def invalid(self) -> bool:
        """Whether nothing may be read from the effects."""
        return any(state(c) == "invalid" for c in self.verdict.comparisons)

    def name(self, arm: str) -> str:
        """What an arm is called; two that would be called the same keep their own names."""
        return self._names.get(arm, arm)

    def value(self, outcome: str, triple: Triple) -> tuple[str, str]:
        """A mean and its interval, e.g. ``("0.135", "0.131–0.139")``; one without width says nothing and is
        left out.
        """
        share = outcome in _SHARES
        value, low, high = (100 * x for x in triple) if share else triple
        if not math.isfinite(value):
            return numbers.MISSING, ""
        half, unit = (high - low) / 2, "%" if share else ""
        if not (math.isfinite(half) and half > 0):
            digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2
            return f"{value:,.{digits}f}{unit}".replace("-", "−"), ""
        digits = _decimals(half, 0, 6)
        a, b, c = (f"{x:,.{digits}f}".replace("-", "−") for x in (value, low, high))
        return f"{a}{unit}", f"{b}–{c}{unit}"

    def deck(self) -> str:
        """The whole result in one sentence."""
        comparisons = self.verdict.comparisons
        if not comparisons:
            return self.t("trial_deck_alone")
        if len(comparisons) == 1:
            return self.sentence(comparisons[0])
        states = [state(c) for c in comparisons]
        tally = [self.t(f"trial_tally_{s}", n=states.count(s)) for s in STATES if s in states]
        return self.t(
            "trial_deck",
            n=len(comparisons),
            against=self.name(self.analysis.against),
            tally=self.t("comma").join(tally),
        )

    def sentence(self, c: ArmComparison) -> str:
        """How a comparison ended and what may be said about it."""
        t, ended = self.t, state(c)
        effect, low, high = percents(c.effect, c.low, c.high)
        bounded = math.isfinite(c.low) and math.isfinite(c.high)
        said = t(
            f"trial_say_{ended if bounded or ended == 'invalid' else 'unbounded'}",
            arm=self.name(c.arm),
            against=self.name(c.against),
            outcome=self.noun,
            effect=effect,
            size=effect.lstrip("+−"),
            more=t.named("more", self.outcome),
            fewer=t.named("fewer", self.outcome),
            level=self.level,
            low=low,
            high=high,
            minimum=self.minimum,
            p=p_value(self.verdict.sample_ratio_p if self.verdict.sample_ratio_p is not None else math.nan),
        )
        return self._joined([said, self._addition(c, ended)])

    def _addition(self, c: ArmComparison, ended: State) -> str:
        """What keeps a sentence from being read as more, or less, than it says."""
        t, least = self.t, self.analysis.minimum_effect
        if ended in ("ahead", "behind") and min(abs(c.low), abs(c.high)) < least:
            return t("trial_small", minimum=self.minimum)
        if ended == "same" and c.low * c.high > 0:
            return t("trial_tiny")
        if ended == "open" and math.isfinite(c.low) and math.isfinite(c.high):
            needed = sessions_to_settle(c, self.trial)
            return t("trial_settle", n=numbers.count(needed)) if needed else t("trial_settle_never")
        return ""

    def stories(self) -> str:
        """Whether the effects would hold for other stories; empty where it is not known."""
        t, found = self.t, self.trial.stories
        if not found or self.invalid:
            return ""
        arms = [
            {"arm": self.name(c.arm), **dict(zip(("effect", "low", "high"), ends, strict=True))}
            for c, ends in ((c, percents(c.uplift, c.low, c.high)) for c in found)
        ]
        shared = {"n": len(found[0].item_ids), "against": self.name(self.analysis.against)}
        if len(arms) == 1:
            said = t("trial_stories_alone", **shared, **arms[0])
        else:
            effects = t("semicolon").join(t("trial_stories_arm", **arm) for arm in arms)
            said = t("trial_stories_all", **shared, effects=effects)
        unsure = any(not (c.low > 0 or c.high < 0) for c in found)
        return self._joined([said, t("trial_stories_unsure") if unsure else ""])

    def trust(self) -> list[str]:
        """How much the design sharpened the intervals, whether it held, and what is corrected for."""
        t, v = self.t, self.verdict
        said = []
        if v.stopped_early:
            planned = numbers.count(self.trial.collected.plan.sessions)
            said.append(t("trial_stopped", sessions=numbers.count(v.sessions), planned=planned))
        if v.sample_ratio_p is not None:
            passed = "failed" if self.invalid else "passed"
            said.append(t(f"trial_ratio_{passed}", p=p_value(v.sample_ratio_p)))
        if self.invalid:
            return said
        ratios = _known([c.crn_variance_ratio for c in v.comparisons], above=0.0)
        if ratios:
            width = self._range([f"{100 * math.sqrt(r):.0f}%" for r in ratios])
            said.append(
                t("trial_crn", width=width, times=self._range([f"{1 / r:.1f}" for r in ratios[::-1]]))
            )
        explained = _known([c.cuped_variance_reduction for c in v.comparisons])
        if explained:
            narrower = self._range([numbers.rate(1 - math.sqrt(max(0.0, 1 - r))) for r in explained])
            shares = self._range([numbers.rate(r) for r in explained])
            said.append(t("trial_cuped", explained=shares, narrower=narrower))
        if len(v.comparisons) > 1:
            said.append(t("trial_corrected", n=len(v.comparisons)))
        return said

    def _range(self, ends: Sequence[str]) -> str:
        """The first and the last of ordered numbers."""
        first, last = ends[0], ends[-1]
        return first if first == last else self.t("trial_range", low=first, high=last)

    def references(self) -> list[str]:
        """What the arms miss of the oracle, and what the long term is worth."""
        t = self.t
        by_name = {r.name: r for r in self.trial.references}
        oracle, myopic = by_name.get("oracle"), by_name.get("myopic")
        if oracle is None or self.invalid:
            return []
        best = oracle.outcomes[self.outcome]
        arms = [
            t("trial_regret_arm", arm=self.name(arm), gap=numbers.signed_percent(-regret, minus="−"))
            for arm, regret in oracle.regret.items()
        ]
        value = self.value(self.outcome, (best, math.nan, math.nan))[0]
        said = [t("trial_regret", value=value, outcome=self.noun, arms=t("comma").join(arms))]
        if myopic is not None and best:
            missed = 1 - myopic.outcomes[self.outcome] / best
            said.append(
                t("trial_long_term", size=numbers.rate(missed))
                if missed >= _EVEN
                else t("trial_no_long_term")
            )
        return said

    def _joined(self, sentences: Sequence[str]) -> str:
        return ("" if self.t.lang == "zh" else " ").join(s for s in sentences if s)


def _known(values: Sequence[float | None], above: float = -math.inf) -> list[float]:
    return sorted(v for v in values if v is not None and math.isfinite(v) and v > above)


def _policy(name: str, t: Texts) -> str:
    """The word for a policy, with the options of a spec like ``ucb:z=.04`` in brackets; an unknown name stays."""
    kind, _, options = name.partition(":")
    if f"arm_{kind}" not in TEXTS:
        return name
    word = t(f"arm_{kind}")
    return f"{word} [{options}]" if options else word


def capital(text: str) -> str:
    """`text` with a capital, as it begins a line of a table."""
    return text[:1].upper() + text[1:]


def facts(words: Words) -> list[tuple[str, str]]:
    """How it was run and read."""
    t, v, plan = words.t, words.verdict, words.trial.collected.plan
    done = numbers.count(v.sessions)
    sessions = t("trial_sessions_of", done=done, planned=numbers.count(plan.sessions))
    known: Sequence[tuple[str, str]] = [
        (t("trial_design"), t(f"trial_design_{v.design}")),
        (t("trial_outcome"), capital(words.noun)),
        (t("trial_against"), words.name(words.analysis.against)),
        (t("sessions"), sessions if v.stopped_early else done),
        (t("trial_rule"), t(f"trial_rule_{words.analysis.rule}")),
        (t("trial_looks"), numbers.count(plan.looks)),
        (t("trial_alpha"), f"{words.analysis.alpha:g}"),
        (t("trial_minimum"), words.minimum),
        (t("trial_refresh"), t("trial_refresh_every", n=numbers.count(plan.refresh))),
        (t("fact_seed"), str(plan.seed)),
    ]
    if v.sample_ratio_p is None:
        return list(known)
    counts = t("comma").join(
        f"{words.name(a)} {numbers.count(int(n))}" for a, n in words.trial.collected.counts.items()
    )
    return [
        *known,
        (t("trial_shares"), counts),
        (t("trial_ratio"), p_value(v.sample_ratio_p).removeprefix("= ")),
    ]
