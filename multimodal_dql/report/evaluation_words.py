"""Sentences about policies on a log, the same in the terminal and on the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from multimodal_dql.report import numbers
from multimodal_dql.report.texts import TEXTS, Texts
from multimodal_dql.report.trial_words import p_value

if TYPE_CHECKING:
    from multimodal_dql.log_evaluation import LogEvaluation, PolicyEvaluation

__all__ = ["Side", "Words"]

LOGGED = "logged"
SAMPLING_ONLY = frozenset({"cips", "dm", "switch_dr", "dr_os", "replay", "mips", "snmips"})
"""Estimators that are biased on purpose: their intervals do not hold the truth 95 times of 100 (docs/ope.md)."""
MARK = "†"
Side = Literal["ahead", "behind", "same", "none"]


class Words:
    """What can be said of `found` in the language of `t`."""

    def __init__(self, found: LogEvaluation, t: Texts) -> None:
        self.found, self.t = found, t
        self.shares = found.reward == "click"
        ends = [found.logged.value, *(p.headline.value for p in found.policies)]
        self._digits = numbers.rate_digits(*(x for x in ends if math.isfinite(x))) + 1
        self._decimals = numbers.decimals(*(x for x in ends if math.isfinite(x)))

    @property
    def noun(self) -> str:
        """What is earned."""
        if self.shares:
            return self.t("evaluation_noun_click")
        return self.t("evaluation_noun_other", reward=self.found.reward)

    @property
    def level(self) -> str:
        """Of the intervals."""
        return f"{100 * self.found.logged.confidence:g}%"

    def number(self, value: float) -> str:
        """A reward a decision: clicks in percent."""
        return numbers.rate(value, self._digits) if self.shares else numbers.fixed(value, self._decimals)

    def signed(self, value: float) -> str:
        """A difference of rewards with its sign."""
        text = self.number(value)
        return f"+{text}" if value > 0 and math.isfinite(value) else text

    def side(self, policy: PolicyEvaluation) -> Side:
        """Where it stands against the log."""
        if not policy.result.verdict.answerable:
            return "none"
        gap = policy.against.get(LOGGED)
        if gap is None or not gap.low * gap.high > 0:
            return "same"
        return "ahead" if gap.low > 0 else "behind"

    def sentences(self, policy: PolicyEvaluation) -> list[str]:
        """The answer, and a comparison with every other policy that was asked for."""
        t, verdict, e = self.t, policy.result.verdict, policy.headline
        if not verdict.answerable:
            said = (verdict.reason, verdict.needed), (verdict.reason_zh, verdict.needed_zh)
            reason, needed = said[t.lang == "zh"]
            return [t("evaluation_say_none", policy=policy.name, reason=reason, needed=needed)]
        fields = {
            "policy": policy.name,
            "value": self._with_unit(e.value),
            "low": self.number(e.low),
            "high": self.number(e.high),
            "level": self.level,
            "logged": self.number(self.found.logged.value),
        }
        gap = policy.against.get(LOGGED)
        if gap is None:
            out = [t("evaluation_say_alone", **fields)]
        else:
            key = "same" if self.side(policy) == "same" else "ahead"
            relative, low, high = (
                self._relative(x, self.found.logged.value) for x in (gap.value, gap.low, gap.high)
            )
            out = [t(f"evaluation_say_{key}", **fields, relative=relative, gap_low=low, gap_high=high)]
        for other, pair in policy.against.items():
            if other != LOGGED and self.found.comparable(policy, other):
                earned = next(p.headline.value for p in self.found.policies if p.name == other)
                three = (self._relative(x, earned) for x in (pair.value, pair.low, pair.high))
                ends = dict(zip(("gap", "low", "high"), three, strict=True))
                out.append(
                    t("evaluation_say_pair", policy=policy.name, other=other, level=self.level, **ends)
                )
        return out

    def _with_unit(self, value: float) -> str:
        kind = "click" if self.shares else "other"
        return self.t(f"evaluation_value_{kind}", value=self.number(value), reward=self.found.reward)

    def _relative(self, gap: float, earned: float) -> str:
        return numbers.signed_percent(gap / earned) if earned > 0 else self.signed(gap)

    def estimator(self, name: str) -> str:
        """In words."""
        return self.t(f"estimator_{name}") if f"estimator_{name}" in TEXTS else name

    def ends(self, name: str, low: float, high: float) -> str:
        """An interval, marked where it leaves out the bias of the method; empty where there is none."""
        if not math.isfinite(low):
            return ""
        return f"[{self.number(low)}, {self.number(high)}]{MARK if name in SAMPLING_ONLY else ''}"

    def trust(self, policy: PolicyEvaluation) -> list[str]:
        """Effective sample size, weights, and how the estimate was chosen."""
        t, d = self.t, policy.result.diagnostics
        chosen = t(
            "evaluation_trust_tuned", policy=policy.name, estimator=self.estimator(policy.result.headline)
        )
        return [
            t(
                "evaluation_trust_ess",
                policy=policy.name,
                n=numbers.count(d.n),
                effective=numbers.count(round(d.effective)),
                share=numbers.rate(d.effective_share),
                top=numbers.rate(d.top_share),
                largest=numbers.rate(d.largest_share, 2),
            ),
            t(
                "evaluation_trust_mean",
                policy=policy.name,
                mean=f"{d.mean_weight:.3f}",
                error=f"{d.mean_weight_error:.3f}",
                p=p_value(d.calibration_p),
            ),
            self._at_all_looks(policy),
            *([chosen] if policy.result.verdict.answerable else []),
        ]

    def _at_all_looks(self, policy: PolicyEvaluation) -> str:
        """The any-time interval of ips and what it rests on, or why there is none."""
        t, e = self.t, policy.result.estimates["ips"]
        if "anytime" not in e.intervals:
            return t("evaluation_trust_no_anytime", policy=policy.name, reward=self.found.reward)
        low, high = map(self.number, e.intervals["anytime"])
        fields = {"policy": policy.name, "low": low, "high": high, "level": self.level}
        if "anytime_unit_rows" not in e.details:
            return t("evaluation_trust_anytime", **fields)
        rows = numbers.count(round(e.details["anytime_unit_rows"]))
        return t("evaluation_trust_anytime_sessions", **fields, rows=rows)

    def log(self) -> list[str]:
        """Rows used and left out, and notes."""
        from multimodal_dql.datasets.events import reason_text

        t, found = self.t, self.found
        used = t("evaluation_log_used", used=numbers.count(found.decisions), read=numbers.count(found.read))
        out = [
            t("evaluation_log_out", n=numbers.count(n), reason=reason_text(reason, t.lang))
            for reason, n in (*found.excluded.items(), *found.left_out.items())
        ]
        return [used, *out, *(note.text(t.lang) for note in found.notes)]
