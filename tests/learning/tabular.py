"""Markov decision processes small enough to solve exactly, and tables that learn them with the package's targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multimodal_dql.learning import targets
from multimodal_dql.replay import Replay

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mdp:
    """Transition probabilities (S, A, S), what is missing to 1 ends the episode; rewards (S, A); discount."""

    move: Array
    reward: Array
    discount: float

    @classmethod
    def random(cls, seed: int, states: int = 5, actions: int = 3, discount: float = 0.8) -> Mdp:
        rng = np.random.default_rng(seed)
        move = rng.dirichlet(np.full(states, 0.5), (states, actions)) * rng.uniform(
            0.7, 1.0, (states, actions, 1)
        )
        return cls(move, rng.uniform(0.0, 1.0, (states, actions)), discount)

    @classmethod
    def chain(cls, states: int, discount: float = 0.95) -> Mdp:
        """Action 1 goes on and is paid 1 at the end, action 0 goes back to the start."""
        move = np.zeros((states, 2, states))
        move[:, 0, 0] = 1.0
        move[np.arange(states - 1), 1, np.arange(1, states)] = 1.0
        reward = np.zeros((states, 2))
        reward[-1, 1] = 1.0
        return cls(move, reward, discount)

    def solve(self) -> Array:
        """Value iteration, (S, A): ``Q(s, a) = r + g sum_s' P(s' | s, a) max_a' Q(s', a')``."""
        q = np.zeros_like(self.reward)
        for _ in range(1000):
            q = self.reward + self.discount * self.move @ q.max(axis=1)
        return q

    def step(
        self, s: NDArray[np.int64], a: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Array, NDArray[np.bool_]]:
        """Next states, rewards and ends, (N,) each."""
        edges = np.cumsum(self.move[s, a], axis=1)
        after = (rng.random(len(s))[:, None] >= edges).sum(axis=1)
        over = after >= len(self.move)
        return np.where(over, 0, after), self.reward[s, a], over


def choose(q: Array, epsilon: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Epsilon-greedy, ties broken at random; (N, A) -> (N,)."""
    best = (q + 1e-9 * rng.random(q.shape)).argmax(axis=1)
    return np.where(rng.random(len(q)) < epsilon, rng.integers(0, q.shape[1], len(q)), best)


def learn_in_parallel(
    mdp: Mdp,
    seed: int,
    rounds: int,
    *,
    trace: float = 0.65,
    watkins: bool = True,
    epsilon: float = 0.3,
    envs: int = 256,
    steps: int = 8,
    stop: Any = None,
) -> tuple[Array, int]:
    """Mode A on a table: rollouts from random states, Q(lambda) targets, a step towards their mean in each cell.

    Returns the table, averaged over the second half of the rounds (Polyak & Juditsky 1992), and the rounds it took;
    `stop` may end it early.
    """
    rng = np.random.default_rng(seed)
    states, actions = mdp.reward.shape
    q = np.zeros((states, actions))
    mean = np.zeros_like(q)
    every = np.ones((envs, actions), bool)
    for i in range(rounds):
        s = rng.integers(0, states, envs)
        rows = []
        action = rng.integers(
            0, actions, envs
        )  # a random first action: every cell is met also without epsilon
        for _ in range(steps):
            after, reward, over = mdp.step(s, action, rng)
            rows.append((s, action, reward, over, targets.greedy_value(q[after], every)))
            s = np.where(over, rng.integers(0, states, envs), after)
            action = np.where(over, rng.integers(0, actions, envs), choose(q[s], epsilon, rng))
        s_t, a_t, r_t, over_t, v_tp1 = (np.stack(c) for c in zip(*rows, strict=True))
        discount, goes_on = targets.chain(over_t, np.zeros_like(over_t), mdp.discount)
        lam = np.full(r_t.shape, trace)
        if watkins:
            free = np.ones((*a_t[1:].shape, actions), bool)
            lam[:-1] = targets.watkins_trace(q[s_t[1:]], a_t[1:], free, trace)
        g = targets.q_lambda(r_t, discount, v_tp1, lam * goes_on)
        total, count = np.zeros_like(q), np.zeros_like(q)
        np.add.at(total, (s_t, a_t), g - q[s_t, a_t])
        np.add.at(count, (s_t, a_t), 1.0)
        q = q + max(1.0 / (1.0 + i / 5.0), 0.005) * total / np.maximum(count, 1.0)
        if stop is not None and stop(q):
            return q, i + 1
        mean += q * (i >= rounds // 2)
    return mean / (rounds - rounds // 2), rounds


def learn_from_replay(mdp: Mdp, seed: int, updates: int, batch: int = 1024) -> tuple[Array, Mdp]:
    """Mode B on a table: random behaviour in a `Replay`, double Q with a slowly following target table.

    Returns the table, averaged over the second half of the updates, and the process as the replay has it: what is to
    be learned from a finite log.
    """
    rng = np.random.default_rng(seed)
    states, actions = mdp.reward.shape
    kinds = {
        "s": ((), np.int64),
        "a": ((), np.int64),
        "r": ((), np.float64),
        "over": ((), bool),
        "after": ((), np.int64),
    }
    replay = Replay(100_000, kinds)
    s, a = rng.integers(0, states, 100_000), rng.integers(0, actions, 100_000)
    after, reward, over = mdp.step(s, a, rng)
    replay.add({"s": s, "a": a, "r": reward, "over": over, "after": after})
    seen = np.zeros_like(mdp.move)
    np.add.at(seen, (s[~over], a[~over], after[~over]), 1.0)
    met = np.zeros_like(mdp.reward)
    np.add.at(met, (s, a), 1.0)
    online = rng.normal(0.0, 0.1, (states, actions))
    slow, mean = online.copy(), np.zeros_like(online)
    free = np.ones((batch, actions), bool)
    for i in range(updates):
        b = replay.sample(rng, (batch,))
        discount, _ = targets.chain(b["over"], np.zeros(batch, bool), mdp.discount)
        y = np.asarray(targets.double_q(b["r"], discount, online[b["after"]], slow[b["after"]], free))
        total, count = np.zeros_like(online), np.zeros_like(online)
        np.add.at(total, (b["s"], b["a"]), y - online[b["s"], b["a"]])
        np.add.at(count, (b["s"], b["a"]), 1.0)
        online = online + max(0.3 * (1.0 - i / updates), 0.01) * total / np.maximum(count, 1.0)
        slow = slow + 0.1 * (online - slow)
        mean += online * (i >= updates // 2)
    mean /= updates - updates // 2
    return mean, Mdp(seen / met[..., None], mdp.reward, mdp.discount)


class TabularEnv:
    """An `Mdp` as a vector environment for `train_parallel`: the state as a one-hot vector, an action as another."""

    def __init__(self, mdp: Mdp, num_envs: int) -> None:
        self.mdp, self.num_envs = mdp, num_envs
        self.single_action_space = spaces.Discrete(mdp.reward.shape[1])
        self.over = np.zeros(num_envs, bool)

    def reset(self, *, seed: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.rng = np.random.default_rng(seed)
        self.state = self.rng.integers(0, len(self.mdp.reward), self.num_envs)
        self.over[:] = False
        return self._told(), {}

    def _told(self) -> dict[str, Any]:
        k = self.mdp.reward.shape[1]
        return {
            "state": np.eye(len(self.mdp.reward), dtype=np.float32)[self.state],
            "action": np.broadcast_to(np.eye(k, dtype=np.float32), (self.num_envs, k, k)),
            "mask": np.ones((self.num_envs, k), np.int8),
        }

    def step(self, action: NDArray[np.int64]) -> tuple[Any, ...]:
        """As Gymnasium with resets in the next step: that step counts for nothing."""
        fresh = self.over
        after, reward, over = self.mdp.step(self.state, action, self.rng)
        begin = self.rng.integers(0, len(self.mdp.reward), self.num_envs)
        self.state = np.where(fresh, begin, after)
        self.over = over & ~fresh
        reward = np.where(fresh, 0.0, reward)
        none = np.zeros(self.num_envs, bool)
        return self._told(), reward, self.over.copy(), none, {"expected_reward": reward}
