"""The replay in the graph: the ring, draws in the right proportions, weights by hand, constant memory."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.dueling_mlp import DuelingMLP
from multimodal_dql.learning.graph_replay import BLOCK, GraphReplay, PriorityConfig
from multimodal_dql.learning.learner import Learner
from multimodal_dql.learning.update import Transitions, UpdateConfig, Updater

FIELD = {"x": ((), np.int32)}


def filled(n: int, capacity: int | None = None, **more: Any) -> GraphReplay:
    replay = GraphReplay(capacity or n, FIELD, **more)
    replay.add({"x": np.arange(n)})
    return replay


def chi_square(counts: Any, expected: Any) -> float:
    return float((np.square(counts - expected) / expected).sum())


def test_the_ring_overwrites_the_oldest() -> None:
    replay = GraphReplay(4, FIELD)
    replay.add({"x": np.arange(3)})
    assert int(replay.size) == 3
    replay.add({"x": np.arange(3, 6)})
    assert int(replay.size) == 4
    assert sorted(replay.data["x"].numpy()) == [2, 3, 4, 5]
    assert set(replay.sample(400).rows["x"].numpy()) == {2, 3, 4, 5}  # one missing: 4 (3/4)^400 < 1e-49


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(1, 25), min_size=1, max_size=4))
def test_the_ring_holds_the_latest(capacity: int, sizes: list[int]) -> None:
    replay, start = GraphReplay(capacity, FIELD, priority=PriorityConfig()), 0
    for size in sizes:
        replay.add({"x": np.arange(start, start + size)})
        start += size
    held = min(start, capacity)
    assert sorted(replay.data["x"].numpy()[:held]) == list(range(start - held, start))
    assert int(replay.size) == held
    assert int(tf.math.count_nonzero(replay.priorities)) == held
    assert float(tf.reduce_sum(replay.sums)) == held


def test_only_what_was_added_is_drawn() -> None:
    for priority in (None, PriorityConfig()):
        replay = filled(3, 1000, priority=priority)
        assert set(replay.sample(500).rows["x"].numpy()) == {0, 1, 2}


def test_uniform_draws_are_uniform() -> None:
    """Chi-square with 49 degrees of freedom exceeds 99.8 in 2 of 100,000 seeds."""
    sample = filled(50).sample(100_000)
    counts = np.bincount(sample.index, minlength=50)
    assert chi_square(counts, np.full(50, 2000.0)) < 99.8
    np.testing.assert_array_equal(sample.weight, np.ones(100_000))


def test_draws_follow_the_priorities() -> None:
    """Three blocks, priorities 1 to 150; strata only narrow the spread. Chi-square with 149 degrees of freedom exceeds
    225 in 1 of 10,000 seeds."""
    n = 2 * BLOCK + 22
    replay = filled(n, priority=PriorityConfig(exponent=1.0, correction=1.0, floor=1e-9))
    error = np.arange(1, n + 1, dtype=np.float32)
    replay.set_priorities(tf.range(n), tf.constant(error))
    sample = replay.sample(200_000)
    share = error / error.sum()
    counts = np.bincount(sample.index, minlength=n)
    assert chi_square(counts, share * 200_000) < 225
    # With b = 1 a mean with weights is the plain mean again: (n - 1) / 2.
    weight = sample.weight.numpy().astype(np.float64)
    mean = (weight * sample.index.numpy()).sum() / weight.sum()
    assert abs(mean - (n - 1) / 2) < 1.0


def test_priorities_and_weights_by_hand() -> None:
    """p = |d|^.5: 1, 2, 3 of 6. P = 1/6, 1/3, 1/2; (3 P)^-.5 = sqrt 2, 1, sqrt(2/3), over the largest drawn."""
    replay = filled(3, priority=PriorityConfig(exponent=0.5, correction=0.5, floor=1e-12))
    replay.set_priorities(tf.constant([0, 1, 2]), tf.constant([1.0, -4.0, 9.0]))
    sample = replay.sample(6)
    # Six strata of width 1 of a sum of 6: one draw in place 0, two in place 1, three in place 2.
    assert sample.index.numpy().tolist() == [0, 1, 1, 2, 2, 2]
    wanted = np.array([np.sqrt(2), 1, 1, *[np.sqrt(2 / 3)] * 3]) / np.sqrt(2)
    np.testing.assert_allclose(sample.weight, wanted, rtol=1e-6)
    plain = replay.sample(6, correction=0.0)
    np.testing.assert_allclose(plain.weight, np.ones(6))


def test_new_transitions_get_the_largest_priority_seen() -> None:
    replay = GraphReplay(4, FIELD, priority=PriorityConfig(exponent=1.0, floor=1e-9))
    replay.add({"x": [0, 1]})
    replay.set_priorities(
        tf.constant([0, 1]), tf.constant([[7.0, 0.5], [9.0, 0.5]])
    )  # (M, B): the mean counts
    replay.add({"x": [2, 3]})
    np.testing.assert_allclose(replay.priorities[0, :4], [8.0, 0.5, 8.0, 8.0], rtol=1e-6)
    np.testing.assert_allclose(replay.sums, [24.5], rtol=1e-6)


def test_sums_of_blocks_stay_exact() -> None:
    replay = filled(1000, priority=PriorityConfig(exponent=1.0))
    rng = np.random.default_rng(0)
    run = tf.function(replay.set_priorities)
    for _ in range(300):
        index = tf.constant(rng.integers(0, 1000, 32), tf.int32)
        run(index, tf.constant(rng.lognormal(0, 4, 32), tf.float32))
    np.testing.assert_allclose(
        replay.sums, replay.priorities.numpy().astype(np.float64).sum(axis=1), rtol=1e-12
    )


def test_an_exponent_of_zero_is_uniform() -> None:
    replay = filled(100, priority=PriorityConfig(exponent=0.0, correction=1.0))
    replay.set_priorities(tf.range(100), tf.range(100, dtype=tf.float32))
    sample = replay.sample(100)
    assert sorted(sample.index.numpy()) == list(range(100))
    np.testing.assert_allclose(sample.weight, np.ones(100))


def test_the_same_seed_draws_the_same_and_a_restored_one_goes_on() -> None:
    for priority in (None, PriorityConfig()):
        first, second, other = (filled(500, priority=priority, seed=s) for s in (3, 3, 4))
        one, two = first.sample(64).index.numpy(), first.sample(64).index.numpy()
        assert not np.array_equal(one, two)
        np.testing.assert_array_equal(one, second.sample(64).index)
        assert not np.array_equal(one, other.sample(64).index.numpy())
        fresh = GraphReplay(500, FIELD, priority=priority, seed=3)
        for name, variable in fresh.state.items():
            variable.assign(second.state[name])
        np.testing.assert_array_equal(two, fresh.sample(64).index)


def test_bytes_per_transition_and_no_copies_of_embeddings() -> None:
    fields = {"row": ((20,), np.int32), "reward": ((), np.float32)}
    assert GraphReplay(10, fields).bytes_per_transition == 84
    assert GraphReplay(10, fields, priority=PriorityConfig()).bytes_per_transition == 88
    replay = GraphReplay(1000, fields)
    held = sum(v.numpy().nbytes for name, v in replay.state.items() if name.startswith("field"))
    assert held == 1000 * replay.bytes_per_transition


def test_mistakes_name_their_cure() -> None:
    with pytest.raises(UsageError, match="capacity of 0"):
        GraphReplay(0, FIELD)
    replay = GraphReplay(4, FIELD | {"y": ((), np.float32)})
    with pytest.raises(UsageError, match=r"give \['x', 'y'\], all of one length"):
        replay.add({"x": [1]})
    with pytest.raises(UsageError, match="all of one length"):
        replay.add({"x": [1], "y": [1.0, 2.0]})
    with pytest.raises(UsageError, match="correction 2 from 0 to 1"):
        PriorityConfig(correction=2.0)


def small_learner(**more: Any) -> Learner:
    rng = np.random.default_rng(0)
    table = tf.Variable(rng.normal(size=(40, 6)).astype(np.float32), trainable=False)
    scalar = dict.fromkeys(("row", "next_row", "action"), ((), np.int32))
    replay = GraphReplay(64, scalar | dict.fromkeys(("reward", "factor"), ((), np.float32)), **more)
    rows, actions = rng.integers(0, 40, (2, 64)), rng.integers(0, 3, 64)
    rest = {"action": actions, "reward": rng.normal(size=64), "factor": np.full(64, 0.5)}
    replay.add({"row": rows[0], "next_row": rows[1], **rest})

    def observe(r: Any) -> Transitions:
        seen, after = tf.gather(table, r["row"]), tf.gather(table, r["next_row"])
        return Transitions(seen, r["action"], r["reward"], r["factor"], after, weight=r["weight"])

    networks = [DuelingMLP(6, 3, (8,), seed=1) for _ in range(2)]
    return Learner(Updater(networks[0], networks[1], UpdateConfig(shards=2), observe=observe), replay, 16)


@pytest.mark.parametrize("priority", [None, PriorityConfig()])
def test_one_call_of_many_updates_is_many_calls_of_one(priority: PriorityConfig | None) -> None:
    together, apart = small_learner(priority=priority), small_learner(priority=priority)
    found = together.learn(6)
    each = [apart.learn(1) for _ in range(6)]
    np.testing.assert_allclose(found["loss"], np.mean([e["loss"] for e in each]), rtol=1e-5)
    for name, variable in together.state.items():
        np.testing.assert_array_equal(variable.numpy(), apart.state[name].numpy(), err_msg=name)


def test_learning_goes_on_bit_for_bit_after_a_restart() -> None:
    whole, stopped = small_learner(priority=PriorityConfig()), small_learner(priority=PriorityConfig())
    whole.learn(5)
    whole.learn(4)
    stopped.learn(5)
    kept = {name: variable.numpy() for name, variable in stopped.state.items()}
    fresh = small_learner(priority=PriorityConfig())
    for name, variable in fresh.state.items():
        variable.assign(kept[name])
    fresh.learn(4)
    for name, variable in whole.state.items():
        np.testing.assert_array_equal(variable.numpy(), fresh.state[name].numpy(), err_msg=name)


def test_errors_become_priorities() -> None:
    learner = small_learner(priority=PriorityConfig())
    before = learner.replay.priorities.numpy()
    learner.learn(1)
    assert 1 <= (before != learner.replay.priorities.numpy()).sum() <= 16


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.slow
def test_memory_does_not_grow() -> None:
    """800 calls of add and learn; a leak of one batch a call would be 80 KB a call."""
    learner = small_learner(priority=PriorityConfig())
    batch = {name: np.zeros(2048) for name in ("row", "next_row", "action", "reward", "factor")}

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def work(calls: int) -> None:
        for _ in range(calls):
            learner.replay.add(batch)
            learner.learn(2)

    work(200)
    start = resident()
    work(800)
    assert resident() - start < 24 << 20
    assert learner._run.experimental_get_tracing_count() == 1
