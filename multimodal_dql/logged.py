"""Learning from logged decisions: what was shown, in front of whom, and whether it was clicked; nothing is simulated.

Rewards are the clicks of the log, 0 or 1. What the log did not try is unknown, so that its value must not be believed
too soon: `TrainConfig.cql`. n-step rewards follow the choices of the log, not the agent's, as in most replay learning.

Shape letters: ``N`` decisions, ``S`` sessions, ``K`` candidates, ``M`` members.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.belief import OVERDISPERSION, features_of, score
from multimodal_dql.candidates import Candidates
from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.datasets.events import read_events
from multimodal_dql.errors import EventsError
from multimodal_dql.evaluation.statistics import ratio_interval
from multimodal_dql.experience import Met
from multimodal_dql.last_layer import LastLayer, Rows, fit_regression
from multimodal_dql.log_columns import choices, contexts, left_out, probabilities, sessions
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.state import record_features
from multimodal_dql.train_config import TrainConfig

__all__ = ["Logged", "LoggedValue"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HIDDEN = 0.5
"""Share of the sessions whose records are hidden, so that the agent learns to choose from content alone."""
MISSED = 0.1
"""The weights of inverse propensity have the mean 1 where a log tried everything; this far from it nothing is said."""
USERS = 256
"""Typical users kept with the agent."""
ROUNDS = 4
"""Of estimating the noise and weighing the counts by it."""
TYPICAL_SPREAD = 0.05
"""Variance of a logarithmic click rate among siblings: the order of what real headline tests show."""


@dataclass(frozen=True)
class _Rows:
    """Decisions end to end as a single row of `Visits`, (1, N, ...); a session's last one is `done`."""

    active: Bools
    item: Ints
    action: Ints
    click: Array
    done: Bools
    context: NDArray[np.float32]
    record: NDArray[np.float32]

    @property
    def click_probability(self) -> Array:
        """Nobody knows it: NaN, which is refused wherever it would be learned from."""
        return np.full(self.click.shape, np.nan)

    def first_of(self, at: Ints) -> _Rows:
        """The decisions at `at` (S,) as sessions of one step, (S, 1, ...)."""
        return _Rows(*(getattr(self, name)[0, at][:, None] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class LoggedValue:
    """What the log says of an agent's choices, by inverse propensity (Horvitz & Thompson 1952).

    ``sum of 1{agent chooses what was shown} / probability x click`` over the clicks of the log, minus 1;
    each story is decided by the members that did not learn from it, records hidden.

    Attributes:
        uplift: of clicks an impression, over the choices of the log.
        low: 95 % interval over stories.
        high: its upper end.
        followed: share of the decisions, certain ones left out, in which the agent would have shown the same.
    """

    uplift: float
    low: float
    high: float
    followed: float


class Logged:
    """A log of decisions on the stories of a catalogue; a `Source` for `multimodal_dql.training_loop`.

    Args:
        path: a file or folder as `multimodal_dql.datasets.events.event_schema` describes.
        catalogue: the stories.
        candidates: the same as a table.
        seed: says which sessions show their records.
        allow_personal: learn although values in the log look as if they named a person.

    Attributes:
        left_out: decisions that could not be used, by reason: what is wrong with a row, then what does not fit the
            catalogue.

    Raises:
        EventsError: no log, or nothing in it that can be learned from.
    """

    valued = 4096  # clicks are coins, and few

    def __init__(
        self,
        path: Path,
        catalogue: Catalogue,
        candidates: Candidates,
        seed: int,
        *,
        allow_personal: bool = False,
    ) -> None:
        events = read_events(path, allow_personal=allow_personal)
        table = events.table
        self.candidates = candidates
        item, shown, records = choices(table, catalogue, candidates)
        context, known = contexts(table)
        click = np.asarray(table["click"].to_numpy(), np.int64)
        self.left_out = events.excluded | left_out(item, shown, records.fit, known)
        good = (item >= 0) & (shown >= 0) & records.fit & known
        if not good.any():
            reason = max(self.left_out, key=lambda name: self.left_out[name], default="no decisions")
            raise EventsError(
                path=path,
                detail=f"holds nothing to learn from ({reason}); give the log of this catalogue, with the context "
                f"{', '.join(f.name for f in CONTEXT.fields)}",
                detail_zh=f"没有可学习的内容（{reason}）；请提供该目录的日志，上下文须包含 "
                f"{'、'.join(f.name for f in CONTEXT.fields)}",
            )
        order, last = sessions(table, good)
        self._context, click = context[order], click[order]
        self.base_rate = float(click.mean())
        if not 0.0 < self.base_rate < 1.0:
            raise EventsError(
                path=path,
                detail=f"has {len(click)} decisions and {int(click.sum())} clicks, so that no choice can be told from "
                "another; give a longer log",
                detail_zh=f"共 {len(click)} 个决策、{int(click.sum())} 次点击，无法区分不同的选择；请提供更长的日志",
            )
        item, action = item[order], shown[order]
        starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
        self._starts = starts
        rng = np.random.Generator(np.random.Philox(key=[seed, 25]))
        hide = np.repeat(rng.random(len(starts)) < HIDDEN, np.diff(np.append(starts, len(item))))
        counts = [np.where(hide[:, None], 0, part[order]) for part in (records.impressions, records.clicks)]
        record = record_features(counts[0], counts[1], candidates.available[item], self.base_rate)
        encoded = CONTEXT.encode({f.name: self._context[:, i] for i, f in enumerate(CONTEXT.fields)})
        self.rows = _Rows(
            active=np.ones((1, len(item)), np.bool_),
            item=item[None],
            action=action[None],
            click=click[None].astype(np.float64),
            done=last[None],
            context=encoded[None],
            record=record[None],
        )
        self.probability = probabilities(table)[order]
        policies = {policy or "?" for policy in table["policy"].unique().to_pylist()}
        self.facts: dict[str, Any] = {
            "log": {
                "decisions": len(item),
                "sessions": len(starts),
                "clicks": int(click.sum()),
                "left_out": self.left_out,
                "policies": sorted(policies),
                "sha256": events.digest,
            }
        }
        self.origin = f"log {events.digest}"

    def users(self, seed: int) -> Array:
        """Users of the log at random, (users, fields of the context)."""
        rng = np.random.Generator(np.random.Philox(key=[seed, 26]))
        return np.asarray(self._context[rng.integers(0, len(self._context), USERS)])

    def room(self, config: TrainConfig) -> int:
        """All of the log."""
        return len(self.rows.item[0])

    def largest_return(self, config: TrainConfig) -> float:
        """See `multimodal_dql.experience.Source`."""
        return float(self._returns(config.discount).max())

    def meet(self, agent: Agent, iteration: int, config: TrainConfig, rng: np.random.Generator) -> Met:
        """All of the log in the first iteration; then only session starts, some others each time, to be valued."""
        some = np.arange(
            iteration * self.valued, iteration * self.valued + min(self.valued, len(self._starts))
        )
        at = self._starts[some % len(self._starts)]
        row = {"click_rate": self.base_rate}
        fresh = self.rows if iteration == 0 else None
        return Met(fresh, self.rows.first_of(at), self._returns(config.discount)[at], row)

    def _returns(self, discount: float) -> Array:
        """Discounted return from every decision to the end of its session, (N,), in average clicks."""
        reward, last = self.rows.click[0] / self.base_rate, self.rows.done[0]
        out, ahead = np.empty(len(reward)), 0.0
        for t in range(len(reward) - 1, -1, -1):
            ahead = out[t] = reward[t] + (0.0 if last[t] else discount * ahead)
        return out

    def calibrate(self, agent: Agent) -> LastLayer:
        """As `multimodal_dql.calibration.calibrate`, with the click counts of the log in the place of the truth.

        With c clicks of a variant where its left-out members expected e, and r the same ratio of its story,
        ``log rate + c / (e r) - 1`` estimates the true log rate with the variance ``OVERDISPERSION / (e r)`` of the
        count, so that it weighs the less against the noise. What follows a choice a log does not tell.
        """
        c, items = self.candidates, np.arange(len(self.candidates.table))
        found = score(agent, c, agent.contexts({})[:64], items)
        seen, clicks = np.zeros((2, *c.table.shape))
        np.add.at(seen, (self.rows.item[0], self.rows.action[0]), 1.0)
        np.add.at(clicks, (self.rows.item[0], self.rows.action[0]), self.rows.click[0])
        expected = np.where(c.available, seen * np.exp(found.log_rate), 0.0)
        ratio = clicks.sum(1) / np.maximum(expected.sum(1), 1e-9)
        used = (ratio > 0)[:, None] & (expected > 0)
        scaled = np.where(used, expected * ratio[:, None], 1.0)
        story, slot = np.nonzero(used)
        y = (found.log_rate + clicks / scaled - 1.0)[used]
        variance = OVERDISPERSION / scaled[used]
        x, noise = features_of(found, c)[story, slot], TYPICAL_SPREAD
        fold = agent.fold[story] if len(agent.fold) else None
        for _ in range(ROUNDS):
            rows = Rows(x, y, story, noise / (noise + variance))
            click = fit_regression(rows, agent.projection.widths, fold)
            noise = float(click.noise[-1])
        some = ratio > 0
        apart = np.log(ratio[some]) ** 2 - OVERDISPERSION / np.maximum(clicks.sum(1)[some], 1.0)
        unknown = LastLayer.prior(0, len(click.mean))
        shared = min(max(float(apart.mean()), 0.0), 10.0)
        return LastLayer(click, unknown.audience, unknown.later, shared).rounded()

    def value(self, agent: Agent) -> LoggedValue | None:
        """See `LoggedValue`; None where the log does not know its probabilities, or did not try enough."""
        # A choice that was certain says nothing about the others.
        tried = (self.probability > 0) & (self.probability < 1)
        item, clicks = self.rows.item[0][tried], self.rows.click[0][tried]
        if len(np.unique(item)) < 2 or not clicks.any():
            return None
        probability = self.probability[tried]
        same = self._choices_of(agent)[tried] == self.rows.action[0][tried]
        if abs(float((same / probability).mean()) - 1.0) > MISSED:
            return None
        n = len(self.candidates.table)
        ours = np.bincount(item, weights=same / probability * clicks, minlength=n)
        theirs = np.bincount(item, weights=clicks, minlength=n)
        met = np.bincount(item, minlength=n) > 0
        uplift, low, high = ratio_interval(ours[met].astype(np.float64), theirs[met].astype(np.float64))
        return LoggedValue(uplift, low, high, float(same.mean()))

    def _choices_of(self, agent: Agent) -> Ints:
        """What the agent would have shown at every decision, (N,): stories by members that left them out."""
        item, context = self.rows.item[0], self.rows.context[0]
        out = np.empty(len(item), np.int64)
        for start in range(0, len(item), 4096):
            part = slice(start, start + 4096)
            free = self.candidates.available[item[part]]
            none = np.zeros(free.shape, np.int64)
            record = record_features(none, none, free, self.base_rate)
            q = agent.estimate(self.candidates.state(item[part], context[part], record)).q
            voters = agent.left_out(item[part])[:, :, None]
            mean = np.where(free, np.where(voters & free, q, 0.0).sum(0), -np.inf)
            out[part] = mean.argmax(axis=1)
        return out
