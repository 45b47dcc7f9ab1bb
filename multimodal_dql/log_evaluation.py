"""What policies would have earned on a log: two passes over it, one result.

The first pass fits a reward model (`RewardModel`), the second gives every policy the same decisions; estimators of
kinds of variants take one between them, for a model of choices (`ChoiceModel`). A policy is asked decision by decision,
and told what the log says was known then; nothing of what came of it is told.

Shape letters: ``B`` decisions, ``K`` candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import (
    EMBEDDED,
    SNIPS,
    ChoiceModel,
    ClusteredDecisions,
    Decisions,
    Estimate,
    Evaluation,
    EvaluationResult,
    RewardModel,
)
from multimodal_dql.log_states import LogBatch, LogStates
from multimodal_dql.policies.base import Policy, check_probabilities

__all__ = [
    "LOGGED",
    "ActionShare",
    "LogEvaluation",
    "PolicyEvaluation",
    "TimePoint",
    "check_policy",
    "evaluate_log",
]

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

LOGGED = "logged"
"""The policy that wrote the log."""
PERIODS = 20
"""Parts of equal length that the time of a log is cut into."""
LISTED = 20
"""Variants listed in the table of overlap: those that the policy would show most."""


@dataclass(frozen=True)
class ActionShare:
    """How one variant was shown, and how the policy would show it.

    Attributes:
        item_id: the story.
        variant_id: the variant.
        shown: decisions in which the log showed it.
        logged: share of the decisions in which it could be shown and was.
        target: the policy's mean probability of it in those.
        effective: effective sample size behind the policy's choices of it, Kish: (sum w)^2 / sum w^2 where shown.
        mean: reward a time it was shown; NaN when it never was.
    """

    item_id: str
    variant_id: str
    shown: int
    logged: float
    target: float
    effective: float
    mean: float


@dataclass(frozen=True)
class TimePoint:
    """A part of the log's time.

    Attributes:
        start: seconds since 1970 at which it begins.
        decisions: in it.
        value: what the policy would have earned a decision (SNIPS), with its interval.
        low: lower end.
        high: upper end.
        logged: what the log earned a decision.
    """

    start: float
    decisions: int
    value: float
    low: float
    high: float
    logged: float


@dataclass(frozen=True)
class PolicyEvaluation:
    """One policy on the log.

    Attributes:
        name: of the policy.
        result: every estimate, the diagnostics, and whether the log can answer.
        against: name of another policy -> difference of the headline to it, on the same decisions.
        actions: variants that it would show most.
        over_time: the log's time in parts; empty where it has no times.
    """

    name: str
    result: EvaluationResult
    against: Mapping[str, Estimate]
    actions: tuple[ActionShare, ...]
    over_time: tuple[TimePoint, ...]

    @property
    def headline(self) -> Estimate:
        """The estimate to read, chosen without knowing the truth."""
        return self.result.estimates[self.result.headline]


@dataclass(frozen=True)
class LogEvaluation:
    """The whole answer.

    Attributes:
        reward: the column that is earned.
        decisions: that were used.
        read: rows of the log.
        excluded: rows left out by the checks of the log, by reason.
        left_out: decisions left out because they do not fit the question, by reason.
        notes: what is worth knowing of the log.
        logged: what it earned a decision.
        policies: in the order asked for.
    """

    reward: str
    decisions: int
    read: int
    excluded: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: tuple[Any, ...]
    logged: Estimate
    policies: tuple[PolicyEvaluation, ...]

    def comparable(self, policy: PolicyEvaluation, other: str) -> bool:
        """Whether the log can answer for both: a difference to what nobody knows is not known either."""
        both = (policy, *(p for p in self.policies if p.name == other))
        return all(p.result.verdict.answerable for p in both)


class Log(Protocol):
    """What `multimodal_dql.datasets.events.EventLog` offers; every call of `batches` counts anew."""

    read: int
    excluded: dict[str, int]

    @property
    def notes(self) -> Any:
        """What is worth knowing."""

    def batches(self, rows: int) -> Iterator[Any]:
        """Tables of rows that passed the checks."""


def check_policy(name: str, policy: Policy) -> None:
    """Refuse a policy that a log cannot judge: one that changes by what it earns as it goes.

    Raises:
        UsageError: it learns in `Policy.update`; its later choices would rest on rewards that the log does not hold.
    """
    if type(policy).update is not Policy.update:
        raise UsageError(
            detail=f"policy '{name}' learns from each outcome, and a log does not hold those of its own choices; "
            f"simulate it: multimodal-dql simulate CATALOGUE --policies {name},uniform",
            detail_zh=f"策略 “{name}” 会从每次结果中学习，而日志中没有它自己选择的结果；"
            f"请改用模拟：multimodal-dql simulate CATALOGUE --policies {name},uniform",
        )


def evaluate_log(
    log: Log,
    states: LogStates,
    policies: Mapping[str, Policy],
    *,
    estimators: Sequence[str],
    against: Sequence[str] = (LOGGED,),
    bootstraps: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    rows: int = 65_536,
    progress: Callable[[int, int], None] | None = None,
) -> LogEvaluation:
    """Evaluate policies on a log that can be read twice.

    Args:
        log: read twice, from its beginning; three times for estimators of kinds.
        states: turns its tables into decisions; its counters are those of the last pass afterwards. Estimators of kinds
            need variants that have some (`KnownVariants`).
        policies: by name.
        estimators: names, see `multimodal_dql.evaluation.ope`.
        against: names of policies, or `LOGGED`, that every other one is compared with.
        bootstraps: resamples of the percentile intervals.
        confidence: of all intervals.
        seed: of the resamples.
        rows: of the log in memory at a time.
        progress: called with the rows read so far, of both passes, and the last number it expects.

    Raises:
        EventsError: a log that cannot be used.
        UsageError: nothing in it fits the question.
    """
    for name, policy in policies.items():
        check_policy(name, policy)
    first = _First()
    of_kinds = bool(EMBEDDED.keys() & set(estimators))
    passes = 2 + of_kinds
    for table in log.batches(rows):
        batch = states(table)
        first.add(batch)
        if progress:
            progress(log.read, passes * log.read)
    if not first.decisions:
        reason = max(
            {**log.excluded, **states.left_out}.items(), key=lambda pair: pair[1], default=("no decisions", 0)
        )[0]
        raise UsageError(
            detail=f"the log holds no decision that can be evaluated ({reason}); see: multimodal-dql events check LOG",
            detail_zh=f"日志中没有可评估的决策（{reason}）；请运行：multimodal-dql events check LOG",
        )
    rows_read = log.read
    if of_kinds:
        for table in log.batches(rows):
            first.add_choices(states(table))
            if progress:
                progress(rows_read + log.read, passes * rows_read)
    states.left_out.clear()
    make = _maker(estimators, states, bootstraps, confidence, seed)
    logged = make()
    seen = {name: _Seen(make(), first) for name in policies}
    own = _Periods(first)
    for table in log.batches(rows):
        batch = states(table)
        if not len(batch):
            continue
        predicted = first.model.predict(batch.keys, batch.item, batch.unit)
        posterior = first.posterior(batch) if of_kinds else None
        as_logged = _as_logged(batch, predicted, of_kinds)
        logged.update(as_logged)
        own.add(batch, as_logged)
        for name, policy in policies.items():
            target = check_probabilities(policy, batch.state)
            told = (batch.unit, batch.reward, batch.action, batch.propensity, target, predicted)
            decisions = (
                Decisions(*told) if posterior is None else ClusteredDecisions(*told, batch.kinds, posterior)
            )
            seen[name].add(batch, decisions)
        if progress:
            progress((passes - 1) * rows_read + log.read, passes * rows_read)
    everyone = {LOGGED: logged, **{name: s.evaluation for name, s in seen.items()}}
    return LogEvaluation(
        reward=states.reward,
        decisions=first.decisions,
        read=log.read,
        excluded=dict(log.excluded),
        left_out=dict(states.left_out),
        notes=tuple(log.notes),
        logged=logged.result().estimates["ips"],
        policies=tuple(s.result(name, everyone, against, states.names, own) for name, s in seen.items()),
    )


def _maker(
    estimators: Sequence[str], states: LogStates, bootstraps: int, confidence: float, seed: int
) -> Callable[[], Evaluation]:
    names = list(dict.fromkeys(["ips", *estimators]))
    # Only clicks have bounds that are known beforehand; the largest value of a log bounds nothing that is to come.
    bounds = (0.0, 1.0) if states.reward == "click" else None

    def make() -> Evaluation:
        return Evaluation(
            names,
            bootstraps=bootstraps,
            confidence=confidence,
            seed=seed,
            reward_range=bounds,
            unit_rows=None if states.sessions else 1,
        )

    return make


@dataclass
class _First:
    """What the first pass finds out: a model of rewards, and the time that the log covers; then a model of choices."""

    model: RewardModel = field(default_factory=RewardModel)
    choices: ChoiceModel = field(default_factory=lambda: ChoiceModel(candidate=3))
    decisions: int = 0
    time: tuple[float, float] = (np.inf, -np.inf)

    def add(self, batch: LogBatch) -> None:
        if not len(batch):
            return
        self.model.update(batch.keys, batch.item, batch.action, batch.reward, batch.unit)
        self.decisions += len(batch)
        self.time = _widened(self.time, batch.time[np.isfinite(batch.time)])

    def add_choices(self, batch: LogBatch) -> None:
        """Learn which of the candidates of one kind are shown."""
        if len(batch):
            offset, features = self._of_kind(batch)
            self.choices.update(batch.unit, batch.action, offset, candidate=features)

    def posterior(self, batch: LogBatch) -> Floats:
        """Probability of what was shown among the candidates of its kind, (B,)."""
        offset, features = self._of_kind(batch)
        chances = self.choices.predict(batch.unit, offset, candidate=features)
        return np.asarray(chances[np.arange(len(batch)), batch.action], np.float64)

    def _of_kind(self, batch: LogBatch) -> tuple[Floats, Floats]:
        """How often candidates of the kind of what was shown were shown before, and their records and place."""
        assert batch.kinds is not None
        kind = batch.kinds[np.arange(len(batch)), batch.action]
        same = (batch.kinds == kind[:, None]) & batch.state.available
        often = np.log(self.model.shown(batch.keys, batch.unit) + 0.5)
        counts = batch.state.counts
        assert counts is not None
        rate = (counts.clicks + 1) / (counts.impressions + 20)
        place = np.broadcast_to(np.arange(same.shape[1]), same.shape)
        features = np.stack([np.log1p(counts.impressions), np.log(rate), place], axis=2)
        return np.where(same, often, -np.inf), features


def _widened(held: tuple[float, float], values: Floats) -> tuple[float, float]:
    if not len(values):
        return held
    return min(held[0], float(values.min())), max(held[1], float(values.max()))


def _as_logged(batch: LogBatch, predicted: Floats, of_kinds: bool) -> Decisions:
    """The policy that wrote the log, which shows what was shown: every weight is 1."""
    target = np.zeros(batch.keys.shape)
    target[np.arange(len(batch)), batch.action] = 1.0
    one = np.ones(len(batch))
    told = (batch.unit, batch.reward, batch.action, one, target, predicted)
    return ClusteredDecisions(*told, batch.kinds, one) if of_kinds else Decisions(*told)


class _Seen:
    """One policy on the decisions so far."""

    def __init__(self, evaluation: Evaluation, first: _First) -> None:
        self.evaluation, self.shares, self.periods = evaluation, _Shares(), _Periods(first)

    def add(self, batch: LogBatch, decisions: Decisions) -> None:
        self.evaluation.update(decisions)
        self.shares.add(batch, decisions)
        self.periods.add(batch, decisions)

    def result(
        self,
        name: str,
        everyone: Mapping[str, Evaluation],
        against: Sequence[str],
        names: Mapping[int, tuple[str, str]],
        logged: _Periods,
    ) -> PolicyEvaluation:
        result = self.evaluation.result()
        against_them = {
            other: self.evaluation.difference(everyone[other])[result.headline]
            for other in against
            if other != name
        }
        return PolicyEvaluation(
            name, result, against_them, self.shares.largest(names), self.periods.points(logged)
        )


class _Periods:
    """Self-normalised estimates of parts of the log's time, equally long."""

    def __init__(self, first: _First) -> None:
        self.start, end = first.time
        self.length = (end - self.start) / PERIODS if end > self.start else 0.0
        self.parts = [SNIPS() for _ in range(PERIODS)]

    def add(self, batch: LogBatch, decisions: Decisions) -> None:
        if not self.length:
            return
        with np.errstate(invalid="ignore"):
            part = np.floor((batch.time - self.start) / self.length)
        part = np.where(np.isfinite(part), np.clip(part, 0, PERIODS - 1), -1).astype(np.int64)
        for k in np.unique(part[part >= 0]).tolist():
            self.parts[k].update(decisions.only(part == k))

    def points(self, logged: _Periods) -> tuple[TimePoint, ...]:
        """Those with any decision."""
        found = []
        for k, (ours, theirs) in enumerate(zip(self.parts, logged.parts, strict=True)):
            if ours.table.rows.any():
                e = ours.result()
                earned = theirs.result().value
                found.append(TimePoint(self.start + k * self.length, e.n, e.value, e.low, e.high, earned))
        return tuple(found)


class _Shares:
    """Sums over the decisions in which a variant could be shown, one row a variant."""

    TERMS = 6  # could be shown, target, shown, reward, weight, weight squared

    def __init__(self) -> None:
        self.keys = np.zeros(0, np.uint64)
        self.sums = np.zeros((0, self.TERMS))

    def add(self, batch: LogBatch, d: Decisions) -> None:
        free, chosen = batch.state.available, (np.arange(len(batch)), batch.action)
        keys, at = np.unique(batch.keys[free], return_inverse=True)
        n = len(keys)
        place = np.zeros(free.shape, np.int64)
        place[free] = at
        shown = place[chosen]
        sums = [
            np.bincount(at, minlength=n),
            np.bincount(at, d.target[free], n),
            np.bincount(shown, minlength=n),
        ]
        sums += [np.bincount(shown, values, n) for values in (d.reward, d.weight, d.weight**2)]
        every = np.union1d(self.keys, keys)
        if len(every) > len(self.keys):
            grown = np.zeros((len(every), self.TERMS))
            grown[np.searchsorted(every, self.keys)] = self.sums
            self.keys, self.sums = every, grown
        self.sums[np.searchsorted(every, keys)] += np.stack(sums, axis=1)

    def largest(self, names: Mapping[int, tuple[str, str]]) -> tuple[ActionShare, ...]:
        """The variants that the policy would show most, the most first."""
        found: list[ActionShare] = []
        for row in np.argsort(-self.sums[:, 1], kind="stable").tolist():
            key = int(self.keys[row])
            if key in names and len(found) < LISTED:
                could, target, shown, reward, weight, square = self.sums[row].tolist()
                found.append(
                    ActionShare(
                        *names[key],
                        shown=int(shown),
                        logged=shown / could,
                        target=target / could,
                        effective=weight**2 / square if square else 0.0,
                        mean=reward / shown if shown else float("nan"),
                    )
                )
        return tuple(found)
