"""The settings of a training run, and the refusal of those that cannot work, before anything is simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from multimodal_dql.errors import UnknownNameError, UsageError

__all__ = ["TrainConfig", "check_settings"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run, saved in it.

    Attributes:
        iterations: rounds of simulate-then-learn.
        sessions: simulated in each iteration.
        updates: gradient steps in each iteration.
        batch: transitions in a gradient step.
        discount: worth of a click one story later. Where what follows hardly depends on what is shown, as by default,
            a larger one brings more noise than foresight (docs/evidence.md).
        n_step: rewards summed before bootstrapping.
        learning_rate: of Adam, decaying to a tenth along a cosine.
        weight_decay: AdamW (Loshchilov & Hutter 2019).
        clip_norm: largest gradient norm.
        target_rate: share of the online weights mixed into the target network after each step (Polyak averaging).
        epsilon: share of random choices at the start; falls linearly to `epsilon_end` over half the run.
        epsilon_end: share of random choices at the end.
        replay: transitions kept.
        folds: stories are dealt into this many folds and each member leaves one out, so that every story can be
            judged by members that never learned from it.
        expected_reward: learn from the click probability the simulator knows instead of the coin flip. Legitimate
            here because the world is simulated; never used with logs.
        value_loss: of Q. ``mse``, ``(Q - y)^2``; or ``hl_gauss``, the cross-entropy between the target as a Gaussian
            over 51 bins and the network's bins, Q being their mean (Farebrother et al. 2024, "Stop regressing"; Imani &
            White 2018, eq. 4). The bins reach from 0 to the largest discounted return of a pilot of random sessions, or
            of the log, and three further on each side.
        replay_sampling: ``uniform``; or ``prioritised``, ``P(i) = p_i^a / sum p^a`` with ``p_i = |TD error| + 1e-6``
            and a = .6, and importance weights ``(n P(i))^-b / max`` with b from .4 to 1 (Schaul et al. 2016, sections
            3.3 and 3.4).
        cql: alpha of ``alpha (log sum_a exp Q(s, a) - Q(s, a_t))``, Q in average clicks, added to the loss when
            learning from a log (Kumar et al. 2020, eq. 4): it presses down what the log did not do. 0 where sessions
            are simulated.
        hidden: width of the network.
        members: size of the ensemble.
        modality_dropout: probability of hiding a modality in training.
        content_noise: standard deviation of noise on the content in training.
        seed: of everything.
        checkpoint_every: iterations between two checkpoints in the run directory; 0 writes none.
    """

    iterations: int = 40
    sessions: int = 256
    updates: int = 16
    batch: int = 128
    discount: float = 0.5
    n_step: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    clip_norm: float = 5.0
    target_rate: float = 0.02
    epsilon: float = 1.0
    epsilon_end: float = 0.1
    replay: int = 60_000
    folds: int = 3
    expected_reward: bool = True
    value_loss: str = "mse"
    replay_sampling: str = "uniform"
    cql: float = 0.0
    hidden: int = 32
    members: int = 9
    modality_dropout: float = 0.1
    content_noise: float = 0.5
    seed: int = 0
    checkpoint_every: int = 0

    def epsilon_at(self, iteration: int) -> float:
        """The exploration of an iteration."""
        share = min(iteration / max(self.iterations / 2, 1), 1.0)
        return self.epsilon + share * (self.epsilon_end - self.epsilon)


@dataclass(frozen=True)
class _Range:
    """Numbers a setting may have, ends included unless open."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        if self.whole and not isinstance(value, int):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def words(self, lang: str) -> str:
        zh = lang == "zh"
        kind = ("整数" if zh else "a whole number") if self.whole else ("数字" if zh else "a number")
        low = (
            f"{'大于' if self.open_low else '不小于'} {self.low:g}"
            if zh
            else f"{'above' if self.open_low else 'of at least'} {self.low:g}"
        )
        if math.isinf(self.high):
            return f"{low} 的{kind}" if zh else f"{kind} {low}"
        if zh:
            return f"{low} 且{'小于' if self.open_high else '不大于'} {self.high:g} 的{kind}"
        return f"{kind} {low} and {'below' if self.open_high else 'at most'} {self.high:g}"


_COUNT = _Range(1, whole=True)
_SHARE = _Range(0, 1)
_RANGES = {
    "iterations": _COUNT,
    "sessions": _COUNT,
    "updates": _COUNT,
    "batch": _COUNT,
    # At 1 the worth of a visit that never ends has no bound, and the target no fixed point.
    "discount": _Range(0, 1, open_high=True),
    "n_step": _COUNT,
    "learning_rate": _Range(0, open_low=True),
    "weight_decay": _Range(0),
    "clip_norm": _Range(0, open_low=True),
    # At 0 the target never moves: the agent would learn one step ahead of its first guess, forever.
    "target_rate": _Range(0, 1, open_low=True),
    "epsilon": _SHARE,
    "epsilon_end": _SHARE,
    "replay": _COUNT,
    # A single fold would be left out by every member: nobody would learn.
    "folds": _Range(2, whole=True),
    "cql": _Range(0),
    "hidden": _Range(1, 4096, whole=True),
    "members": _Range(2, 256, whole=True),
    "modality_dropout": _Range(0, 1, open_high=True),
    "content_noise": _Range(0),
    "seed": _Range(0, 2**31 - 1, whole=True),
    "checkpoint_every": _Range(0, whole=True),
}


_CHOICES = {"value_loss": ("mse", "hl_gauss"), "replay_sampling": ("uniform", "prioritised")}


def check_settings(config: TrainConfig) -> None:
    """Refuse settings that cannot work.

    Raises:
        UsageError: names the setting, its value and what it may be.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _RANGES and not _RANGES[field.name].holds(value):
            allowed = _RANGES[field.name]
            raise UsageError(
                detail=f"{field.name} is {value!r}; give {allowed.words('en')}",
                detail_zh=f"{field.name} 为 {value!r}；请给出{allowed.words('zh')}",
            )
    for name, known in _CHOICES.items():
        if getattr(config, name) not in known:
            raise UnknownNameError(kind=name, kind_zh=f" {name} ", name=getattr(config, name), known=known)
    if config.cql and config.expected_reward:
        raise UsageError(
            detail=f"cql is {config.cql:g}, and sessions are simulated, where every choice can be tried; leave it "
            "out, or learn from a log with --log",
            detail_zh=f"cql 为 {config.cql:g}，而会话是模拟的，任何选择都可以尝试；请去掉它，或用 --log 从日志学习",
        )
    if config.folds > config.members:
        raise UsageError(
            detail=f"folds is {config.folds} and members {config.members}; give at most as many folds as members, or "
            "the stories of a fold would be judged by nobody",
            detail_zh=f"folds 为 {config.folds}，members 为 {config.members}；folds 不能多于 members，"
            "否则有一折的条目无人评判",
        )
