"""Logs with a known truth, for measuring off-policy evaluation: stories, variants, and segments the model cannot see.

J stories, C segments of the audience, K variants of a story. Rewards lie in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.evaluation.ope import Decisions, RewardModel
from multimodal_dql.evaluation.ope.decisions import mixed

__all__ = ["Setting", "World", "draw_setting", "grid"]

Array = NDArray[np.float64]
STORIES, SEGMENTS = 30, 3


@dataclass(frozen=True)
class Setting:
    """One kind of log.

    Attributes:
        rows: decisions.
        actions: variants of a story, K.
        floor: of the logging policy's choices, the share that is drawn at random; little floor, little overlap.
        steepness: how decidedly the logging policy follows its own scores, which are not the target's.
        noisy: rewards are clicks; else numbers close to the rate.
        deterministic: the target always shows its favourite; else it prefers it.
        insight: correlation of the target's scores with what a segment likes; the model's bias grows with it.
        unit_rows: decisions of a visitor, who shares a liking of clicks.
    """

    rows: int
    actions: int
    floor: float
    steepness: float = 2.0
    noisy: bool = True
    deterministic: bool = False
    insight: float = 0.5
    unit_rows: int = 1


@dataclass(frozen=True)
class World:
    """Rates and policies of a setting: all (J, C, K)."""

    setting: Setting
    rates: Array
    logging: Array
    target: Array

    @classmethod
    def draw(cls, setting: Setting, seed: int) -> World:
        """Draw the rates and the scores of both policies."""
        rng = np.random.default_rng([seed, 71])
        shape = (STORIES, SEGMENTS, setting.actions)
        logit = rng.normal(-2.3, 0.5, (STORIES, 1, 1)) + rng.normal(0, 0.4, (STORIES, 1, setting.actions))
        taste = rng.normal(
            size=shape
        )  # what a segment likes: the model cannot see it, the target has an idea
        rates = 1 / (1 + np.exp(-(logit + 0.4 * taste)))
        own = rng.normal(size=shape)
        theirs = setting.insight * taste + np.sqrt(1 - setting.insight**2) * rng.normal(size=shape)
        logging = _softmax(setting.steepness * own)
        logging = (1 - setting.floor) * logging + setting.floor / setting.actions
        favourite = np.eye(setting.actions)[theirs.argmax(-1)]
        target = favourite if setting.deterministic else _softmax(2 * theirs)
        return cls(setting, np.minimum(rates, 0.6), logging, target)

    @property
    def truth(self) -> float:
        """Mean reward of the target."""
        return float((self.rates * self.target).sum(-1).mean())

    def log(self, seed: int, model: bool = True) -> Decisions:
        """A log of the setting's size, with rewards predicted by a cross-fitted model of stories and variants."""
        s, rng = self.setting, np.random.default_rng([seed, 72])
        visitor = np.arange(s.rows) // s.unit_rows
        visitors = int(visitor[-1]) + 1
        segment = rng.integers(0, SEGMENTS, visitors)[visitor]
        liking = rng.choice([0.5, 1.5], visitors)[visitor] if s.unit_rows > 1 else np.ones(s.rows)
        story = rng.integers(0, STORIES, s.rows)
        logging = self.logging[story, segment]
        action = (rng.random(s.rows)[:, None] > logging.cumsum(-1)[:, :-1]).sum(-1)
        rate = self.rates[story, segment, action] * liking
        clicks = rng.random(s.rows) < rate
        reward = clicks.astype(np.float64) if s.noisy else rng.beta(40 * rate, 40 * (1 - rate))
        unit = mixed(visitor.astype(np.uint64), seed)
        predicted = None
        if model:
            item = story.astype(np.uint64)
            keys = np.asarray(story[:, None] * s.actions + np.arange(1, s.actions + 1), np.uint64)
            fitted = RewardModel(bits=10).update(keys, item, action, reward, unit)
            predicted = fitted.predict(keys, item, unit)
        return Decisions(
            unit=unit,
            reward=reward,
            action=action,
            propensity=logging[np.arange(s.rows), action],
            target=self.target[story, segment],
            predicted=predicted,
        )


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def draw_setting(seed: int) -> Setting:
    """A setting at random: 300 to 20,000 rows, 2 to 10 variants, overlap from ample to next to none."""
    rng = np.random.default_rng([seed, 73])
    return Setting(
        rows=int(300 * (20_000 / 300) ** rng.random()),
        actions=int(rng.integers(2, 11)),
        floor=float(0.01 * 100 ** rng.random()),
        steepness=float(rng.uniform(0, 3)),
        noisy=bool(rng.random() < 0.7),
        deterministic=bool(rng.random() < 0.4),
        insight=float(rng.random()),
        unit_rows=3 if rng.random() < 0.25 else 1,
    )


def grid() -> list[Setting]:
    """24 settings: overlap x rows x actions x kind of target, with the two kinds of reward in turn."""
    found: list[Setting] = []
    for overlap, floor in enumerate((0.5, 0.15, 0.03)):
        for size, rows in enumerate((1000, 10_000)):
            for few, actions in enumerate((3, 10)):
                for deterministic in (False, True):
                    noisy = (overlap + size + few + deterministic) % 2 == 0
                    found.append(Setting(rows, actions, floor, 2.0, noisy, deterministic))
    return found
