"""Does a precision learn as well as another? A small decision process whose values are known, learned by many seeds.

A process of `STATES` states with random features; every action leads to one of a few states, pays a fixed reward, and
ends the session with probability `END`. Q and the value of any policy follow from linear algebra. What is learned is
compared with that: the error of Q, and how much of the best policy's return its greedy policy earns.

Shape letters: ``S`` states, ``A`` actions.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.peers.serving import keep_to, serve
from multimodal_dql.learning.dueling_mlp import DuelingMLP
from multimodal_dql.learning.graph_replay import GraphReplay
from multimodal_dql.learning.learner import Learner
from multimodal_dql.learning.threads import one_thread_a_shard
from multimodal_dql.learning.update import Transitions, UpdateConfig, Updater

__all__ = ["DISCOUNT", "Outcome", "Process", "compare", "learn", "policy_value"]

STATES, FEATURES, ACTIONS, BRANCHES, END, DISCOUNT = 150, 24, 5, 3, 0.02, 0.8
TRANSITIONS, BATCH, HIDDEN = 60_000, 128, (64, 64)
MARGIN_ERROR, MARGIN_RETURN = 0.02, 0.01
"""How far two precisions may lie apart and still count as equal: in the spread of Q, in the best return."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Process:
    """The decision process of a seed.

    Attributes:
        features: (S, F) what an observation shows of a state.
        reward: (S, A).
        moves: (S, A, S) probability of the next state, if the session goes on.
        best: (S, A) optimal Q, by value iteration to 1e-10.
    """

    features: Float
    reward: Float
    moves: Float
    best: Float

    @classmethod
    def draw(cls, seed: int) -> Process:
        """Features and rewards are normal; each action leads to `BRANCHES` states at random, with random odds."""
        rng = np.random.Generator(np.random.Philox(key=[seed, 14]))
        features = rng.standard_normal((STATES, FEATURES))
        reward = rng.standard_normal((STATES, ACTIONS))
        moves = np.zeros((STATES, ACTIONS, STATES))
        for s in range(STATES):
            for a in range(ACTIONS):
                moves[s, a, rng.choice(STATES, BRANCHES, replace=False)] = rng.dirichlet(np.ones(BRANCHES))
        best = np.zeros_like(reward)
        going = DISCOUNT * (1.0 - END)
        for _ in range(math.ceil(math.log(1e-11) / math.log(going))):
            best = reward + going * moves @ best.max(axis=1)
        return cls(features, reward, moves, best)


@dataclass(frozen=True)
class Outcome:
    """What one seed learned: root mean squared error of Q over its standard deviation; return over the best return."""

    error: float
    share: float


def policy_value(process: Process, choice: NDArray[np.int64]) -> Float:
    """Value (S,) of always choosing `choice` (S,): ``(I - g (1 - END) P)^-1 r``."""
    at = np.arange(STATES)
    going = DISCOUNT * (1.0 - END) * process.moves[at, choice]
    return np.asarray(np.linalg.solve(np.eye(STATES) - going, process.reward[at, choice]), np.float64)


def learn(seed: int, precision: Literal["float32", "bfloat16"], updates: int) -> Outcome:
    """Learn from transitions of random choices; the same ones, in the same order, whatever the precision."""
    import tensorflow as tf

    process = Process.draw(seed)
    rng = np.random.Generator(np.random.Philox(key=[seed, 15]))
    state, action = rng.integers(0, STATES, TRANSITIONS), rng.integers(0, ACTIONS, TRANSITIONS)
    ladder = process.moves[state, action].cumsum(axis=1)
    after = (rng.random((TRANSITIONS, 1)) * ladder[:, -1:] >= ladder).sum(axis=1)
    factor = DISCOUNT * (rng.random(TRANSITIONS) >= END)
    kinds = {
        "state": np.int32,
        "after": np.int32,
        "action": np.int32,
        "reward": np.float32,
        "factor": np.float32,
    }
    replay = GraphReplay(TRANSITIONS, {name: ((), kind) for name, kind in kinds.items()}, seed=seed)
    rewards = process.reward[state, action]
    replay.add({"state": state, "after": after, "action": action, "reward": rewards, "factor": factor})
    table = tf.Variable(tf.cast(process.features.astype(np.float32), precision), trainable=False)

    def observe(r: Any) -> Transitions:
        seen, next_seen = tf.gather(table, r["state"]), tf.gather(table, r["after"])
        return Transitions(seen, r["action"], r["reward"], r["factor"], next_seen)

    networks = [DuelingMLP(FEATURES, ACTIONS, HIDDEN, precision=precision, seed=seed) for _ in range(2)]
    config = UpdateConfig(learning_rate=2e-3, decay_updates=updates, target_rate=0.02)
    Learner(Updater(networks[0], networks[1], config, observe=observe), replay, BATCH).learn(updates)
    q = networks[0](table).numpy().astype(np.float64)
    error = math.sqrt(np.square(q - process.best).mean()) / float(process.best.std())
    ideal = policy_value(process, process.best.argmax(axis=1)).mean()
    return Outcome(error, float(policy_value(process, q.argmax(axis=1)).mean() / ideal))


def compare(found: dict[str, list[Outcome]]) -> dict[str, Any]:
    """Means of both precisions and their paired difference with a 95 % interval (Student's t over the seeds).

    ``equal`` says that both whole intervals lie within `MARGIN_ERROR` and `MARGIN_RETURN` (two one-sided tests at
    2.5 %: Schuirmann 1987); it needs at least two seeds.
    """
    from scipy import stats

    seeds = len(found["float32"])
    out: dict[str, Any] = {"seeds": seeds, "margin": {"error": MARGIN_ERROR, "return_share": MARGIN_RETURN}}
    equal = seeds > 1
    for name, key, margin in (("error", "error", MARGIN_ERROR), ("return_share", "share", MARGIN_RETURN)):
        values = {p: np.array([getattr(o, key) for o in outcomes]) for p, outcomes in found.items()}
        difference = values["bfloat16"] - values["float32"]
        half = float("inf")
        if seeds > 1:
            half = float(stats.t.ppf(0.975, seeds - 1) * difference.std(ddof=1) / math.sqrt(seeds))
        low, high = difference.mean() - half, difference.mean() + half
        equal = equal and bool(-margin <= low and high <= margin)
        out[name] = {p: round(float(v.mean()), 4) for p, v in values.items()}
        out[name]["difference"] = round(float(difference.mean()), 4)
        out[name]["low"], out[name]["high"] = (round(float(x), 4) if seeds > 1 else None for x in (low, high))
    return out | {"equal": equal}


def main() -> None:
    """Compare on request: ``python -m multimodal_dql.bench.training_check THREADS UPDATES``, then seeds on stdin."""
    threads, updates = map(int, sys.argv[1:3])
    keep_to(threads)
    one_thread_a_shard(threads)

    def run(seeds: int) -> dict[str, Any]:
        kinds: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
        return compare({p: [learn(seed, p, updates) for seed in range(seeds)] for p in kinds})

    serve(run)


if __name__ == "__main__":
    main()
