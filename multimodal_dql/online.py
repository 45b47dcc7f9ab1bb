"""An agent that learns while it decides: the candidate network under a Bayesian last layer, from a stream of decisions.

    Q(s, a) = V(s) + A(s, a) - mean A(s, .),   V = w_v . [1, context],
    A = w_a . content + context' W content + u_a + c * network(s, a)

The last layer is linear in all of that, and knows how sure it is of every weight
(`multimodal_dql.exploration.posterior`); the network's part is cross-fitted (`multimodal_dql.opinion`). V is the same
for every candidate, so it explains clicks without taking part in the choice.

Shape letters as in `multimodal_dql.state`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.exploration.features import HeadFeatures
from multimodal_dql.exploration.head import BayesianHead, HeadConfig
from multimodal_dql.exploration.posterior import PosteriorConfig, expected_reward
from multimodal_dql.exploration.strangers import Acquaintance
from multimodal_dql.opinion import Decisions, Opinion, OpinionConfig
from multimodal_dql.policies.base import Policy, check_option
from multimodal_dql.state import State

__all__ = ["OnlineAgent", "OnlineConfig", "online_policy", "stacking_gain"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of an `OnlineAgent`.

    Attributes:
        head: the Bayesian last layer.
        network: the network's part; None leaves it out. It learns from clicks, so the identity link goes without.
        own_effects: whether a candidate may differ from what its features say; needed where variants recur.
        seed: of everything.
    """

    head: HeadConfig = field(default_factory=HeadConfig)
    network: OpinionConfig | None = field(default_factory=OpinionConfig)
    own_effects: bool = True
    seed: int = 0


class OnlineAgent(Policy):
    """Thompson sampling under the dueling head, one decision after the other. See the module.

    Content and context should be scaled alike for all columns; their typical length is measured at the first decision.

    Args:
        config: settings.
        widths: columns of each encoder; all content is of one encoder by default.
    """

    name = "online"

    def __init__(self, config: OnlineConfig | None = None, widths: tuple[int, ...] | None = None) -> None:
        self.config, self.widths = config or OnlineConfig(), widths
        if self.config.network is not None and self.config.head.posterior.link == "identity":
            self.config = replace(self.config, network=None)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._head: BayesianHead | None = None
        self._waiting: list[tuple[State, int, int, float]] = []
        self._seen: tuple[State | None, dict[int, tuple[Float, list[bytes]]]] = (None, {})

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        out = np.zeros(state.available.shape)
        for b in range(len(out)):
            kept = state.available[b]
            out[b, kept] = (
                1.0 / kept.sum() if self._head is None else self._decide(self._head, state, b, kept)
            )
        return out

    def update(self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64]) -> None:
        """Learn from a batch of decisions; see `Policy`."""
        clicks = self.config.head.posterior.link == "logistic"
        if not np.isfinite(reward).all() or (clicks and not np.isin(reward, (0.0, 1.0)).all()):
            raise UsageError(
                detail="online agent: rewards are finite numbers, and 0 or 1 for clicks; "
                "for other rewards set the link to 'identity'",
                detail_zh="在线智能体：奖励必须是有限的数，点击奖励为 0 或 1；其他奖励请把 link 设为 'identity'",
            )
        for b in range(len(action)):
            row = (state, b, int(action[b]), float(reward[b]))
            if self._head is not None:
                self._learn(self._head, *row)
                continue
            self._waiting.append(row)
            if len(self._waiting) >= self.config.head.posterior.first_batch:
                self._open()

    def expected(self, state: State) -> NDArray[np.float64]:
        """Expected reward of each candidate, (B, K), 0 where not available or nothing is learned yet."""
        out = np.zeros(state.available.shape)
        for b in range(len(out)):
            kept = state.available[b]
            if self._head is not None:
                features, keys = self._features(state, b, kept)
                out[b, kept] = self._head.expected(features, self._numbers(keys))
        return out

    @property
    def head(self) -> BayesianHead | None:
        """The last layer; None before the first batch of decisions was learned from."""
        return self._head

    def _open(self) -> None:
        """Lay out the last layer for the widths of the first decisions, measure their scale, and learn from them."""
        c, first = self.config, self._waiting[0][0]
        content = np.concatenate([s.content[b][s.available[b]] for s, b, _, _ in self._waiting])
        context = np.stack([s.context[b] for s, b, _, _ in self._waiting])
        self._unit = _length(content), _length(context)
        self._layout = HeadFeatures(content.shape[1], context.shape[1], int(c.network is not None), c.seed)
        self._head = BayesianHead(self._layout.blocks, replace(c.head, seed=c.seed))
        self._met = Acquaintance(c.head.posterior.samples, c.seed)
        self._past = Decisions(c.head.capacity)
        self._opinion, self._heard = None, False
        if c.network is not None:
            widths = self.widths or (first.content.shape[2],)
            self._opinion = Opinion(widths, context.shape[1], replace(c.network, seed=c.seed))
        for row in self._waiting:
            self._learn(self._head, *row)
        self._waiting.clear()

    def _features(self, state: State, b: int, kept: NDArray[np.bool_]) -> tuple[Float, list[bytes]]:
        """Features and keys of the available candidates; kept until another state is asked about."""
        if self._seen[0] is not state:
            self._seen = (state, {})
        found = self._seen[1].get(b)
        if found is None:
            content, context, said = state.content[b][kept], state.context[b], None
            if self._opinion is not None:
                said = np.zeros((len(content), 1), np.float32)
                if self._heard:
                    shown, record = self._present(state, b, kept), state.record[b][kept]
                    said[:, 0] = self._opinion.score(content, shown, record, context)
            features = self._layout(content / self._unit[0], context / self._unit[1], said)
            found = (features, self._met.keys(content))
            self._seen[1][b] = found
        return found

    def _present(self, state: State, b: int, kept: NDArray[np.bool_]) -> Float:
        if self.widths is None:
            return np.ones((int(kept.sum()), 1), np.float32)
        return np.asarray(state.present[b][kept], np.float32)

    def _numbers(self, keys: list[bytes]) -> NDArray[np.int64]:
        return self._met.known(keys) if self.config.own_effects else np.full(len(keys), -1)

    def _decide(
        self, head: BayesianHead, state: State, b: int, kept: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        features, keys = self._features(state, b, kept)
        own = self._numbers(keys)
        noise = _NONE
        if (own < 0).any():
            noise = self._met.noise(keys) * np.float32(self.config.own_effects)
        return head.probabilities(features, own, noise)

    def _learn(self, head: BayesianHead, state: State, b: int, action: int, reward: float) -> None:
        kept = state.available[b]
        features, keys = self._features(state, b, kept)
        place = int(kept[:action].sum())
        own = self._met.meet(keys[place]) if self.config.own_effects else 0
        head.learn(features[place], own, reward)
        if self._opinion is not None:
            shown = self._present(state, b, kept)
            self._past.append(
                keys, state.content[b][kept], shown, state.record[b][kept], state.context[b], place
            )
            if head.rows.total >= self._opinion.next:
                self._consult(head, self._opinion)

    def _consult(self, head: BayesianHead, opinion: Opinion) -> None:
        """Let the network learn what the last layer leaves open; hear it if rows it never saw are predicted better."""
        column = self._layout.blocks["hidden"]
        rows = head.rows
        x = rows.x[: rows.kept].copy()
        x[:, column] = 0.0
        offset = head.active.score_left_out(x, slice(0, rows.kept))
        reward = rows.reward[: rows.kept]
        said = opinion.learn(self._past, reward, offset)
        self._heard = stacking_gain(said, reward, offset) > LEAST_GAIN
        head.replace(column, (said if self._heard else np.zeros_like(said))[:, None])
        opinion.next = max(int(rows.total * opinion.config.growth), rows.total + 1)
        self._seen = (None, {})


def online_policy(scale: float = 0.1, floor: float = 0.001, network: int = 1, seed: int = 0) -> OnlineAgent:
    """An `OnlineAgent` from the options of a spec such as ``online:scale=.2``; ``network=0`` leaves the network out."""
    check_option(OnlineAgent.name, "scale", scale, 0.0, 10.0)
    check_option(OnlineAgent.name, "floor", floor, 0.0, 1.0)
    head = HeadConfig(PosteriorConfig(scale=scale), floor=floor)
    return OnlineAgent(OnlineConfig(head, OpinionConfig() if network else None, seed=seed))


def stacking_gain(said: Float, click: NDArray[np.float64], offset: NDArray[np.float64]) -> float:
    """By how many nats clicks are likelier with the best multiple of a score added to their logit.

    ``max_{c >= 0} sum log p(click | offset + c said) - sum log p(click | offset)``, by projected Newton steps; a
    useless score gains a quarter of a nat by luck, on average. No negative multiples (Breiman 1996, "Stacked
    regressions"): a network that learned what the last layer leaves open, rows left out, is no guide in reverse.

    Args:
        said: (n,) cross-fitted scores.
        click: (n,) 0 or 1.
        offset: (n,) logits without the score.
    """
    x, weight = said.astype(np.float64), 0.0
    for _ in range(NEWTON_STEPS):
        p = expected_reward(offset + weight * x, "logistic")
        curvature = float(np.sum(p * (1.0 - p) * x**2))
        step = float(np.clip(np.sum((click - p) * x) / (curvature + 1e-9), -1.0, 1.0))
        weight = max(weight + step, 0.0)

    def likelihood(score: NDArray[np.float64]) -> float:
        return float(np.sum(click * score - np.logaddexp(0.0, score)))

    return likelihood(offset + weight * x) - likelihood(offset)


NEWTON_STEPS = 8
LEAST_GAIN = 5.0
"""Nats; by luck alone a useless score passes this in 1 of 1,300 cases (half a chi-square of one degree
of freedom, one-sided)."""
_NONE = np.zeros((0, 0), np.float32)


def _length(rows: Float) -> np.float32:
    """Typical Euclidean length, 1 if all are zero."""
    found = float(np.sqrt(np.mean(np.sum(rows.astype(np.float64) ** 2, axis=-1))))
    return np.float32(found if np.isfinite(found) and found > 0 else 1.0)
