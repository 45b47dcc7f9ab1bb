"""Problems whose answer is known: what is learned must be it."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.learning import targets
from multimodal_dql.learning.losses import cql_penalty, squared_error
from multimodal_dql.learning.parallel import ParallelConfig, train_parallel
from multimodal_dql.network import dueling

from .tabular import Mdp, TabularEnv, choose, learn_from_replay, learn_in_parallel


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("watkins", [True, False], ids=["watkins", "peng"])
def test_parallel_environments_find_the_optimal_values(seed: int, watkins: bool) -> None:
    """Peng's form learns the values of what it does, so it explores by random first actions alone."""
    mdp = Mdp.random(seed)
    q, _ = learn_in_parallel(mdp, seed, 600, watkins=watkins, epsilon=0.3 * watkins, envs=4096, steps=3)
    np.testing.assert_allclose(q, mdp.solve(), atol=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_replay_with_double_q_and_a_target_finds_the_optimal_values(seed: int) -> None:
    mdp = Mdp.random(seed)
    q, logged = learn_from_replay(mdp, seed, 3000)
    np.testing.assert_allclose(q, logged.solve(), atol=1e-2)
    np.testing.assert_allclose(logged.solve(), mdp.solve(), atol=0.1)


def test_terminal_steps_matter() -> None:
    """The same process without its ends has other values, by far more than what is learned is off."""
    mdp = Mdp.random(0)
    endless = Mdp(mdp.move / mdp.move.sum(axis=2, keepdims=True), mdp.reward, mdp.discount)
    assert (endless.solve() - mdp.solve()).min() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("advantage", ["whole", "reward_and_later"])
def test_the_network_finds_the_optimal_values(advantage: str) -> None:
    """The dueling network itself in parallel environments, deterministic moves."""
    mdp = Mdp.chain(4, discount=0.8)
    settings = ParallelConfig(
        steps=80_000, rollout=8, minibatch=128, discount=0.8, epsilon_end=0.3, learning_rate=3e-3,
        weight_decay=0.0, hidden=32, trace=0.0, advantage=advantage,
    )  # fmt: skip
    agent = train_parallel(TabularEnv(mdp, 128), settings)
    k = mdp.reward.shape[1]
    told = {
        "state": np.eye(4, dtype=np.float32),
        "action": np.broadcast_to(np.eye(k, dtype=np.float32), (4, k, k)),
        "mask": np.ones((4, k), np.int8),
    }
    np.testing.assert_allclose(agent.q_values(told), mdp.solve(), atol=1e-2)
    np.testing.assert_array_equal(agent.greedy(told), 1)


def test_a_longer_trace_needs_fewer_updates_on_a_chain() -> None:
    """Reward 1 after ten steps: rounds until the start knows it to 1 %, in every one of ten seeds."""
    mdp = Mdp.chain(10)
    answer = mdp.solve()[0, 1]

    def rounds(trace: float, seed: int) -> int:
        return learn_in_parallel(
            mdp, seed, 400, trace=trace, watkins=False, epsilon=0.0, envs=64, steps=10,
            stop=lambda q: abs(q[0, 1] - answer) < 0.01 * answer,
        )[1]  # fmt: skip

    for seed in range(10):
        one_step, usual, long = (rounds(trace, seed) for trace in (0.0, 0.65, 0.9))
        assert one_step < 400
        assert usual <= 0.6 * one_step, (seed, one_step, usual)
        assert long <= 0.4 * one_step, (seed, one_step, long)


def left_share(double: bool, runs: int = 2000, episodes: int = 100, arms: int = 10) -> float:
    """Share of left choices in Sutton & Barto 2018, example 6.7, over `episodes` of `runs` agents.

    Right ends with 0. Left leads to a state whose actions all end with a reward of mean -.1 and sd 1: never worth it.
    """
    rng = np.random.default_rng(0)
    tables = [(np.zeros((runs, 2)), np.zeros((runs, arms))) for _ in range(2)]
    lefts, each = 0, np.arange(runs)
    for _ in range(episodes):
        mean = [(a + b) / 2 for a, b in zip(*tables, strict=True)] if double else tables[0]
        first = choose(mean[0], 0.1, rng)
        lefts += (first == 0).sum()
        second = choose(mean[1], 0.1, rng)
        paid = rng.normal(-0.1, 1.0, runs)
        coin = rng.random(runs) < 0.5 if double else np.ones(runs, bool)
        for mine, other, who in ((tables[0], tables[1], coin), (tables[1], tables[0], ~coin)):
            end = np.where(first == 0, 1.0, 0.0)
            if double:
                y = targets.double_q(np.zeros(runs), end, mine[1], other[1], np.ones((runs, arms), bool))
            else:
                y = targets.one_step(np.zeros(runs), end, mine[1], np.ones((runs, arms), bool))
            mine[0][each[who], first[who]] += 0.1 * (np.asarray(y) - mine[0][each, first])[who]
            went = who & (first == 0)
            mine[1][each[went], second[went]] += 0.1 * (paid - mine[1][each, second])[went]
    return float(lefts) / (runs * episodes)


def test_double_q_is_not_lured_by_the_largest_of_many_noisy_values() -> None:
    """2,000 agents, so each share has a standard error below .01; the optimum under epsilon = .1 is .05."""
    plain, double = left_share(False), left_share(True)
    assert plain > 0.45
    assert double < plain - 0.15


def test_what_a_second_copy_of_a_candidate_may_change() -> None:
    """All values by one constant, the change of the mean; no difference between candidates, so no choice."""
    value, advantage = np.array([[2.0]]), np.array([[1.0, 3.0, 8.0]])
    once = np.asarray(dueling(value, advantage, np.ones((1, 3))))
    twice = np.asarray(dueling(value, np.array([[1.0, 3.0, 8.0, 8.0]]), np.ones((1, 4))))
    np.testing.assert_allclose(twice[:, :3] - once, 4.0 - 5.0)  # means 4 and 5
    assert twice[0, 3] == twice[0, 2]


def offline(alpha: float) -> np.ndarray:
    """Q of a log in which state 1 only ever saw action 0: 0 -> 1 -> end, paid 1; what action 1 pays, nobody knows.

    Nothing tells the value of the second action of state 1; it starts, as in a network that generalises, with a guess.
    """
    import keras
    import tensorflow as tf

    table = tf.Variable([[0.0, 0.0], [0.0, 2.0]])
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build([table])
    s, a = tf.constant([0, 0, 1]), tf.constant([0, 1, 0])
    r, g = tf.constant([0.0, 0.0, 1.0]), tf.constant([0.9, 0.0, 0.0])
    after, free = tf.constant([1, 0, 0]), tf.ones((3, 2), tf.bool)

    @tf.function
    def learn() -> None:
        for _ in tf.range(600):
            y = targets.one_step(r, g, tf.gather(table, after), free)
            with tf.GradientTape() as tape:
                q = tf.gather(table, s)
                error = squared_error(tf.reduce_sum(q * tf.one_hot(a, 2), axis=1), tf.stop_gradient(y))
                loss = tf.reduce_mean(error + alpha * cql_penalty(q, a, free))
            gradient = tf.convert_to_tensor(tape.gradient(loss, table))
            optimizer.apply_gradients([(gradient, table)])

    learn()
    return table.numpy()


def test_conservative_q_learning_does_not_believe_in_an_action_nobody_took() -> None:
    plain, careful = offline(0.0), offline(0.1)
    # Plain Q chooses what was never tried and passes the illusion on: .9 x 2 instead of .9 x 1.
    assert plain[1].argmax() == 1
    assert plain[0, 0] == pytest.approx(1.8, abs=0.02)
    assert careful[1].argmax() == 0
    assert careful[1, 1] < 0.5
    assert careful[0, 0] == pytest.approx(0.9, abs=0.1)
