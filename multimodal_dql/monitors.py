"""Monitors of a training: what is watched, from which value on, and the one thing that is done about it.

| monitor        | speaks when                                                                  | action |
|----------------|------------------------------------------------------------------------------|--------|
| `settings`     | a setting lies outside its range (`multimodal_dql.train_config`)             | refuse |
| `inputs`       | an embedding is not finite, a story has no variant, a member has no story    | refuse |
| `transitions`  | simulated transitions are not finite, out of range or name what is not there | skip   |
| `batch`        | a batch drawn from the replay holds such an entry                            | skip   |
| `starved`      | an iteration has no sound transition or no sound batch                       | stop   |
| `not_finite`   | a loss, gradient, Q value or weight is NaN or infinite                       | stop   |
| `exploding_q`  | the largest absolute Q is above `Limits.q`                                   | stop   |
| `loss`         | the loss is above `Limits.loss` times the median of the iterations before    | lower  |
| `dead`         | no gradient, or too many hidden units or all preferences are zero            | lower  |
| `lowered`      | the learning rate was lowered `Limits.lowered` times and it happens again    | stop   |
| `overestimate` | mean maximal Q is above `Limits.overestimate` times the realised return      | warn   |
| `churn`        | greedy choices change as often at the end as at the start                    | warn   |
| `checkpoint`   | a checkpoint cannot be written                                               | warn   |

refuse: nothing starts, one line names the value and the cure. stop: the training ends, and the weights from the last
iteration that passed are kept in the run directory. skip: what is damaged is left out, the rest is learned from.
lower: weights, target and optimiser go back to the last iteration that passed and the learning rate is divided by
`LOWER`; the replay keeps what was simulated. warn: nothing changes, the report says it.

An overestimate (Thrun & Schwartz 1993; against realised returns as in van Hasselt et al. 2016, figure 3) shifts all
candidates of a decision alike, so that the order may still be right: hence a warning. Greedy choices that keep changing
are policy churn (Schaul et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates, ContentProjection
from multimodal_dql.errors import EncoderError, UsageError

__all__ = ["ACTIONS", "LOWER", "Action", "Finding", "Limits", "Watch", "check_inputs"]

Action = Literal["stop", "lower", "skip", "warn"]
ACTIONS: Mapping[str, Action] = {
    "transitions": "skip",
    "batch": "skip",
    "starved": "stop",
    "not_finite": "stop",
    "exploding_q": "stop",
    "loss": "lower",
    "dead": "lower",
    "lowered": "stop",
    "overestimate": "warn",
    "churn": "warn",
    "checkpoint": "warn",
}
"""What each monitor does; `settings` and `inputs` raise before there is anything to act on."""
LOWER = 3.0


@dataclass(frozen=True)
class Limits:
    """Where monitors speak.

    Attributes:
        q: in average clicks; a visit of 8 stories earns about 8, a thousand times that is no estimate any more.
        loss: times the median loss of up to `window` iterations before. With the defaults the loss of one iteration
            stays within half and twice that median.
        window: iterations that a loss is compared with; from a quarter of them on.
        dead: share of hidden units that are zero on every probe decision. A fresh network has about none.
        lowered: how often the learning rate may be lowered.
        overestimate: mean maximal Q over realised return, averaged over `window` iterations. Realised returns are those
            of a policy that still explores, so that a sound Q may lie somewhat above them.
        churn: share of probe decisions below which changing choices need no remark.
    """

    q: float = 1e4
    loss: float = 10.0
    window: int = 12
    dead: float = 0.9
    lowered: int = 3
    overestimate: float = 2.0
    churn: float = 0.05


@dataclass(frozen=True)
class Finding:
    """A monitor spoke.

    Attributes:
        monitor: its name in the table.
        iteration: counted from 1; 0 is before the first.
        value: what was measured.
        limit: what it was compared with.
    """

    monitor: str
    iteration: int
    value: float
    limit: float

    @property
    def action(self) -> Action:
        """What is done about it."""
        return ACTIONS[self.monitor]


@dataclass
class Watch:
    """What monitors remember from one iteration to the next; saved with every checkpoint.

    Attributes:
        limits: where they speak.
        losses: of the last iterations that passed.
        ratios: mean maximal Q over realised return of the last iterations.
        churn: share of probe decisions whose greedy choice changed, one number an iteration.
        lowered: how often the learning rate was lowered.
        findings: everything they said.
    """

    limits: Limits = field(default_factory=Limits)
    losses: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    churn: list[float] = field(default_factory=list)
    lowered: int = 0
    findings: list[Finding] = field(default_factory=list)

    def note(self, monitor: str, iteration: int, value: float, limit: float = 0.0) -> Finding:
        """Write down what a monitor outside `judge` found."""
        found = Finding(monitor, iteration, float(value), float(limit))
        self.findings.append(found)
        return found

    def judge(self, iteration: int, row: Mapping[str, float], finite: bool) -> Finding | None:
        """The gravest finding on an iteration, written down; None when it passed or a warning is all.

        Args:
            iteration: counted from 1.
            row: its metrics: ``loss, gradient_norm, q_largest, dead_share, preference, q_mean, return_mean``.
            finite: whether all weights are.
        """
        grave = self._grave(iteration, row, finite)
        if grave is not None:
            self.findings.append(grave)
            if grave.action != "lower":
                return grave
            if self.lowered >= self.limits.lowered:
                return self.note("lowered", iteration, self.lowered + 1, self.limits.lowered)
            self.lowered += 1
            return grave
        self.losses = [*self.losses, row["loss"]][-self.limits.window :]
        self.churn.append(row["churn"])
        self._overestimate(iteration, row)
        return None

    def _grave(self, iteration: int, row: Mapping[str, float], finite: bool) -> Finding | None:
        limits = self.limits
        for name in ("loss", "gradient_norm", "q_largest"):
            if not math.isfinite(row[name]):
                return Finding("not_finite", iteration, row[name], 0.0)
        if not finite:
            return Finding("not_finite", iteration, math.nan, 0.0)
        if row["q_largest"] > limits.q:
            return Finding("exploding_q", iteration, row["q_largest"], limits.q)
        if len(self.losses) >= limits.window / 4:
            usual = median(self.losses)
            if row["loss"] > limits.loss * usual:
                return Finding("loss", iteration, row["loss"], limits.loss * usual)
        if row["gradient_norm"] == 0.0 or row["preference"] == 0.0 or row["dead_share"] > limits.dead:
            return Finding("dead", iteration, row["dead_share"], limits.dead)
        return None

    def _overestimate(self, iteration: int, row: Mapping[str, float]) -> None:
        """Warn once when Q has been too high for a whole window."""
        if math.isfinite(row["q_mean"]) and row["return_mean"] > 0.0:
            self.ratios = [*self.ratios, row["q_mean"] / row["return_mean"]][-self.limits.window :]
        full = len(self.ratios) == self.limits.window
        if full and not self.spoke("overestimate") and fmean(self.ratios) > self.limits.overestimate:
            self.note("overestimate", iteration, fmean(self.ratios), self.limits.overestimate)

    def finish(self, iteration: int) -> None:
        """Judge what only the whole training, of `iteration` iterations, shows."""
        quarter = len(self.churn) // 4
        if not quarter:
            return
        early, late = fmean(self.churn[:quarter]), fmean(self.churn[-quarter:])
        if late >= early and late > self.limits.churn:
            self.note("churn", iteration, late, early)

    def spoke(self, monitor: str) -> bool:
        """Whether a monitor found something."""
        return any(found.monitor == monitor for found in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "losses": self.losses,
            "ratios": self.ratios,
            "churn": self.churn,
            "lowered": self.lowered,
            "findings": [asdict(found) for found in self.findings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Watch:
        """What `to_dict` gave. Raises KeyError, TypeError or ValueError when it is something else."""
        found = [Finding(**entry) for entry in data["findings"]]
        if not all(f.monitor in ACTIONS for f in found):
            raise ValueError("a monitor that is not known")
        losses, ratios, churn = ([float(v) for v in data[name]] for name in ("losses", "ratios", "churn"))
        return cls(Limits(), losses, ratios, churn, int(data["lowered"]), found)


def check_inputs(candidates: Candidates, projection: ContentProjection, bags: NDArray[np.bool_]) -> None:
    """Refuse a catalogue that nothing can be learned from.

    Args:
        candidates: the variants of every story.
        projection: of their embeddings.
        bags: (M, items) whether a member learns from a story.

    Raises:
        EncoderError: an embedding is not finite.
        UsageError: a story without variants, or a member without stories.
    """
    c, start = candidates, 0
    for encoder, width in zip(projection.encoders, projection.widths, strict=True):
        good = np.isfinite(c.content[:, start : start + width]).all(axis=1)
        start += width
        if not good.all():
            raise EncoderError(
                name=encoder.name,
                detail=f"gave NaN or infinity for {int((~good).sum())} variants; check it (encoders check), then "
                "encode again",
                detail_zh=f"给 {int((~good).sum())} 个变体的输出含 NaN 或无穷大；请用 encoders check 检查后重新编码",
            )
    empty = int((~c.available.any(axis=1)).sum())
    if empty:
        raise UsageError(
            detail=f"{empty} stories have no variant to show; leave them out of the catalogue",
            detail_zh=f"有 {empty} 个条目没有可展示的变体；请从目录中去掉",
        )
    idle = np.flatnonzero(~bags.any(axis=1))
    if len(idle):
        raise UsageError(
            detail=f"member {int(idle[0])} of the ensemble has no story to learn from; add stories, or set fewer folds",
            detail_zh=f"集成成员 {int(idle[0])} 没有可以学习的条目；请增加条目或减少 folds",
        )
