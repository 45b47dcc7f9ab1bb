"""The gate: whether a 95 % interval from this log can be believed, and if not, what log would answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from multimodal_dql.evaluation.ope.diagnostics import Diagnostics

__all__ = ["Gate", "Verdict", "rounded", "shortfall", "verdict"]


@dataclass(frozen=True)
class Verdict:
    """Whether the log can answer, and why not.

    Attributes:
        answerable: intervals can be believed.
        reason: one sentence.
        reason_zh: the same in Chinese.
        needed: what log would answer; empty when this one does.
        needed_zh: the same in Chinese.
        rows_needed: decisions at this overlap; None when rows would not help, or none are missing.
    """

    answerable: bool
    reason: str
    reason_zh: str
    needed: str = ""
    needed_zh: str = ""
    rows_needed: int | None = None


@dataclass(frozen=True)
class Gate:
    """Least evidence on which intervals from synthetic logs kept their promise (`bench ope-coverage`).

    Attributes:
        units: independent units.
        effective: effective sample size of the weights.
        effective_rewards: effective number of rewards (of w r).
        largest_share: of the sum of weights, by one row, at most.
        calibration_p: p-value of the mean weight below which propensities or support are not believed.
        action_p: the same for a single action, where it is off by more than .01; heavy weights reach .001 by chance too
            often.
        missing: target's mass without support, at most: columns never logged, or what the mean weight lacks to 1.
    """

    units: float = 50.0
    effective: float = 100.0
    effective_rewards: float = 25.0
    largest_share: float = 0.02
    calibration_p: float = 0.001
    action_p: float = 1e-5
    missing: float = 0.1


def shortfall(
    gate: Gate,
    *,
    units: float,
    effective: float,
    effective_rewards: float,
    largest_share: float,
    mean_weight: float,
) -> float:
    """How many times more rows of this overlap the gate asks for; 1 or less if these do."""
    short = max(
        gate.units / max(units, 1e-300),
        gate.effective / max(effective, 1e-300),
        gate.effective_rewards / max(effective_rewards, 1e-300),
        largest_share / gate.largest_share,
    )
    if short <= 1 and abs(mean_weight - 1) > gate.missing:
        short = (abs(mean_weight - 1) / gate.missing) ** 2
    return short


def verdict(d: Diagnostics, gate: Gate | None = None) -> Verdict:
    """Judge a log by its diagnostics; the reasons are tried in the order in which mending one would help."""
    g = gate or Gate()
    if d.unlogged_target > 0.01:
        never = [a.action for a in d.actions if a.logged == 0 and a.target > 0]
        places = ", ".join(str(action + 1) for action in never[:5])  # people count from 1
        more, more_zh = (" ...", "……") if len(never) > 5 else ("", "")
        return Verdict(
            False,
            f"the policy gives {d.unlogged_target:.0%} of its choices to candidates that the log never shows",
            f"该策略有 {d.unlogged_target:.0%} 的选择落在日志从未展示过的候选上",
            f"a log that sometimes shows the candidates in position {places}{more}",
            f"换用一份偶尔会展示第 {places.replace(', ', '、')}{more_zh} 位候选的日志",
        )
    if d.calibration_p < g.calibration_p:
        return Verdict(
            False,
            f"the weights have the mean {d.mean_weight:.3f} instead of 1 (p = {d.calibration_p:.2g}): the logged "
            "probabilities are wrong, or the log cannot show some of what the policy shows",
            f"权重均值为 {d.mean_weight:.3f} 而非 1（p = {d.calibration_p:.2g}）：记录的概率有误，"
            "或日志无法展示该策略的部分选择",
            "a log with the probabilities that were used when it was made, and some chance for every candidate",
            "换用一份记录了当时真实概率、且每个候选都有机会被展示的日志",
        )
    off = [a for a in d.actions if a.p < g.action_p and abs(a.weighted - a.target) > 0.01]
    if off:
        worst = max(off, key=lambda a: abs(a.weighted - a.target))
        return Verdict(
            False,
            f"the candidate in position {worst.action + 1} carries {worst.weighted:.1%} of the weight where the policy "
            f"gives it {worst.target:.1%}: its logged probabilities are wrong, or it is not always on offer",
            f"第 {worst.action + 1} 位候选的权重占 {worst.weighted:.1%}，而该策略给它 {worst.target:.1%}："
            "其记录的概率有误，或它并非总是可选",
            "a log with the probabilities that were used when it was made, and some chance for every candidate",
            "换用一份记录了当时真实概率、且每个候选都有机会被展示的日志",
        )
    short = shortfall(
        g,
        units=d.units,
        effective=d.effective,
        effective_rewards=d.effective_rewards,
        largest_share=d.largest_share,
        mean_weight=d.mean_weight,
    )
    if short > 1:
        rows = d.n * short
        rows_needed = math.ceil(rows) if rows < 1e15 and d.effective_rewards > 0 else None
        about = f"about {rounded(rows):,} such decisions" if rows_needed else "far more decisions"
        about_zh = f"约 {rounded(rows):,} 条这样的决策" if rows_needed else "多得多的决策"
        share = max(d.effective_share, 1e-12)
        return Verdict(
            False,
            f"too little overlap: {d.n:,} decisions count as {d.effective:,.0f} of this policy's own "
            f"({share:.2g} each), with {d.effective_rewards:,.0f} rewards among them",
            f"重叠太少：{d.n:,} 条决策只相当于该策略自己的 {d.effective:,.0f} 条（每条折合 {share:.2g}），"
            f"其中奖励约 {d.effective_rewards:,.0f} 次",
            f"{about}, or a log that shows more often what this policy would show",
            f"{about_zh}，或一份更常展示该策略所选内容的日志",
            rows_needed,
        )
    return Verdict(
        True,
        f"{d.n:,} decisions count as {d.effective:,.0f} of this policy's own",
        f"{d.n:,} 条决策相当于该策略自己的 {d.effective:,.0f} 条",
    )


def rounded(rows: float) -> int:
    """Two significant digits, upwards."""
    scale = 10 ** max(math.floor(math.log10(max(rows, 1.0))) - 1, 0)
    return int(math.ceil(rows / scale) * scale)
