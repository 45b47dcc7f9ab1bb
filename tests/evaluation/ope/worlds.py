"""Small worlds whose answers are known: candidates with embeddings, slates read from the top, a Markov chain."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.evaluation.ope import EmbeddedDecisions, Steps, same_cluster

Array = NDArray[np.float64]

CLUSTERS = np.arange(24) // 4
"""24 candidates in six clusters of four."""
OF_CLUSTER = np.array([0.1, 0.5, 0.3, 0.7, 0.2, 0.6])
OF_CANDIDATE = 0.25 * np.tile([-1.0, -0.2, 0.2, 1.0], 6)
LOGGING = np.kron(np.array([1, 2, 2, 3, 3, 4]) / 15, np.array([1, 2, 6, 12]) / 21)
TARGET = np.kron(np.array([2, 3, 1, 4, 2, 3]) / 15, np.array([12, 6, 2, 1]) / 21)


def embedded(n: int, seed: int, own: float, predicted: Array) -> tuple[EmbeddedDecisions, float]:
    """A log without contexts, and the target's value; `own` scales the candidates' effect within their cluster."""
    rng = np.random.default_rng(seed)
    mean = OF_CLUSTER[CLUSTERS] + own * OF_CANDIDATE
    action = rng.choice(24, n, p=LOGGING)
    return (
        EmbeddedDecisions(
            unit=np.arange(n, dtype=np.uint64),
            reward=mean[action] + 0.3 * rng.standard_normal(n),
            action=action,
            propensity=LOGGING[action],
            target=np.tile(TARGET, (n, 1)),
            predicted=np.tile(predicted, (n, 1)),
            logging=np.tile(LOGGING, (n, 1)),
            likelihood=same_cluster(np.tile(CLUSTERS, (n, 1)), action),
        ),
        float(TARGET @ mean),
    )


@dataclass(frozen=True)
class Slates:
    """Three positions of two items each; both policies look at the item above.

    logging[t, a, b] is the probability of b at position t below a; at the first position a is 0.
    """

    logging: Array
    target: Array
    reward: Array  # [t, above, item]
    positions: int = 3

    @classmethod
    def made(cls) -> Slates:
        """Below a 1 the logging policy prefers 0; what pays depends on what stands above."""
        logging = np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.4, 0.6], [0.7, 0.3]], [[0.5, 0.5], [0.6, 0.4]]])
        target = np.array([[[0.2, 0.8], [0.2, 0.8]], [[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.1, 0.9]]])
        reward = np.array([[[0.1, 0.3], [0.1, 0.3]], [[0.5, 0.2], [0.1, 0.9]], [[0.2, 0.4], [0.6, 0.9]]])
        return cls(logging, target, reward)

    def value(self, policy: Array) -> float:
        """By enumeration of all slates."""
        total = 0.0
        for slate in itertools.product((0, 1), repeat=self.positions):
            chance, earned, above = 1.0, 0.0, 0
            for t, item in enumerate(slate):
                chance *= policy[t, above, item]
                earned += self.reward[t, above, item]
                above = item
            total += chance * earned
        return total

    def alone(self, policy: Array) -> Array:
        """Probability of each item at each position, whatever stands above, (T, 2)."""
        found, above = [], np.array([1.0, 0.0])
        for t in range(self.positions):
            above = above @ policy[t]
            found.append(above)
        return np.array(found)

    def q(self, policy: Array) -> Array:
        """Return from each position on, [t, above, item], by backward induction."""
        q, ahead = np.zeros_like(self.reward), np.zeros(2)
        for t in reversed(range(self.positions)):
            q[t] = self.reward[t] + ahead[None, :]
            ahead = (policy[t] * q[t]).sum(1)
        return q

    def draw(self, n: int, seed: int, q: Array | None = None) -> tuple[Steps, Array, Array]:
        """Logged slates with rewards 0 or 1 and predictions `q`; the items above (n, T) and chosen (n, T)."""
        rng = np.random.default_rng(seed)
        above, items, rewards = np.zeros((3, n, self.positions), np.int64)
        last = np.zeros(n, np.int64)
        for t in range(self.positions):
            above[:, t] = last
            last = (rng.random(n) > self.logging[t, last, 0]).astype(np.int64)
            items[:, t] = last
            rewards[:, t] = rng.random(n) < self.reward[t, above[:, t], last]
        at = np.arange(self.positions)
        ratio = self.alone(self.target) / self.alone(self.logging)
        steps = Steps(
            unit=np.arange(n, dtype=np.uint64),
            reward=rewards.astype(np.float64),
            propensity=self.logging[at, above, items],
            chosen=self.target[at, above, items],
            shown=None if q is None else q[at, above, items],
            direct=None if q is None else (self.target[at, above] * q[at, above]).sum(2),
            alone=ratio[at, items],
        )
        return steps, above, items


@dataclass(frozen=True)
class Chain:
    """A Markov decision process of three states and two actions that ends with probability `end` a step."""

    move: Array  # [s, a, s'], rows sum to 1
    reward: Array  # [s, a]
    logging: Array  # [s, a]
    target: Array
    start: Array
    end: float = 0.3

    @classmethod
    def made(cls) -> Chain:
        """Action 1 earns little now and leads to the state that pays."""
        move = np.array(
            [[[0.8, 0.2, 0], [0.1, 0.6, 0.3]], [[0.6, 0.4, 0], [0, 0.3, 0.7]], [[0.5, 0, 0.5], [0.2, 0, 0.8]]]
        )
        reward = np.array([[0.5, 0.1], [0.4, 0.0], [0.2, 1.0]])
        logging = np.array([[0.6, 0.4], [0.5, 0.5], [0.7, 0.3]])
        target = np.array([[0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
        return cls(move, reward, logging, target, np.array([0.5, 0.3, 0.2]))

    def value(self, policy: Array, discount: float, steps: int = 1000) -> float:
        """Of the first `steps` steps, by going through them."""
        P = np.einsum("sa,sat->st", policy, self.move)
        at, total = self.start, 0.0
        for _ in range(steps):
            total += float(at @ (policy * self.reward).sum(1))
            at = discount * (1 - self.end) * at @ P
        return total

    def q(self, policy: Array, discount: float) -> Array:
        """Q of every state and action, (3, 2)."""
        P = np.einsum("sa,sat->st", policy, self.move)
        v = np.linalg.solve(np.eye(3) - discount * (1 - self.end) * P, (policy * self.reward).sum(1))
        return self.reward + discount * (1 - self.end) * self.move @ v

    def draw(self, n: int, T: int, seed: int) -> tuple[Array, Array, Array, Array]:
        """States, actions, rewards and whether the step was lived, (n, T) each; ended sessions are padded."""
        rng = np.random.default_rng(seed)
        states, actions = np.zeros((2, n, T), np.int64)
        rewards, lived = np.zeros((n, T)), np.zeros((n, T), bool)
        state, alive = rng.choice(3, n, p=self.start), np.ones(n, bool)
        for t in range(T):
            action = (rng.random(n) > self.logging[state, 0]).astype(np.int64)
            states[:, t], actions[:, t], lived[:, t] = state, action, alive
            noisy = self.reward[state, action] + 0.1 * rng.standard_normal(n)
            rewards[:, t] = np.where(alive, noisy, 0)
            state = (rng.random(n)[:, None] > self.move[state, action].cumsum(1)).sum(1).clip(0, 2)
            alive = alive & (rng.random(n) > self.end)
        return states, actions, rewards, lived

    def steps(self, states: Array, actions: Array, rewards: Array, lived: Array, q: Array | None) -> Steps:
        """The log as `Steps`, with predictions from q (3, 2)."""
        one = np.ones_like(rewards)
        n = len(rewards)
        return Steps(
            unit=np.arange(n, dtype=np.uint64),
            reward=rewards,
            propensity=np.where(lived, self.logging[states, actions], one),
            chosen=np.where(lived, self.target[states, actions], one),
            shown=None if q is None else np.where(lived, q[states, actions], 0),
            direct=None if q is None else np.where(lived, (self.target * q).sum(1)[states], 0),
        )

    def features(self, states: Array, actions: Array, lived: Array) -> tuple[Array, Array]:
        """One-hot (state, action) of what was done, and the target's mean of it, (n, T, 6)."""
        hot = np.eye(6)[states * 2 + actions] * lived[..., None]
        mean = np.zeros((3, 6))
        for s in range(3):
            mean[s, 2 * s : 2 * s + 2] = self.target[s]
        return hot, mean[states] * lived[..., None]
