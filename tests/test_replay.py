"""n-step sums held against sums by hand, and the ring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.replay import Replay, n_step


def test_n_step_by_hand() -> None:
    # One session of three steps that ends at the third; discount 1/2, two steps.
    reward = np.array([[1.0, 2.0, 4.0, 9.0]])
    active = np.array([[True, True, True, False]])
    done = np.array([[False, False, True, True]])
    total, factor, at = n_step(reward, active, done, 0.5, 2)
    np.testing.assert_allclose(total[0, :3], [1 + 0.5 * 2, 2 + 0.5 * 4, 4])
    np.testing.assert_allclose(factor[0, :3], [0.25, 0.0, 0.0])
    assert at[0, 0] == 2


def test_nothing_is_bootstrapped_past_a_terminal_step() -> None:
    reward, done = np.ones((1, 1)), np.array([[True]])
    total, factor, _ = n_step(reward, np.array([[True]]), done, 0.9, 5)
    assert total[0, 0] == 1.0
    assert factor[0, 0] == 0.0


@given(st.integers(1, 6), st.integers(1, 8), st.floats(0.0, 0.99), st.integers(0, 2**31))
def test_n_step_agrees_with_a_plain_loop(n: int, steps: int, discount: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, steps + 1))
    active = np.arange(steps)[None] < length
    done = np.arange(steps)[None] >= length - 1
    reward = rng.normal(size=(1, steps))
    total, factor, at = n_step(reward, active, done, discount, n)
    for t in range(length):
        end = min(t + n, length)
        expected = sum(discount ** (k - t) * reward[0, k] for k in range(t, end))
        np.testing.assert_allclose(total[0, t], expected, atol=1e-12)
        if t + n < length:
            np.testing.assert_allclose(factor[0, t], discount**n)
            assert at[0, t] == t + n
        else:
            assert factor[0, t] == 0.0


def test_the_ring_overwrites_the_oldest_and_keeps_its_size() -> None:
    replay = Replay(4, {"x": ((), np.int32)})
    replay.add({"x": np.arange(3)})
    assert len(replay) == 3
    replay.add({"x": np.arange(3, 6)})
    assert len(replay) == 4
    assert set(replay.data["x"]) == {2, 3, 4, 5}
    drawn = replay.sample(np.random.default_rng(0), (50, 20))["x"]
    assert drawn.shape == (50, 20)
    assert set(np.unique(drawn)) == {2, 3, 4, 5}
    assert replay.bytes_per_transition == 4


def test_a_replay_is_taken_up_where_it_was_left() -> None:
    """Three entries added to a ring of four, two more after reading it back: the oldest is overwritten."""
    fields = {"x": ((2,), np.float32), "n": ((), np.int32)}

    def batch(*numbers: int) -> dict[str, np.ndarray]:
        n = np.array(numbers, np.int32)
        return {"x": np.stack([n, -n], axis=1).astype(np.float32), "n": n}

    one, two = Replay(4, fields), Replay(4, fields)
    one.add(batch(1, 2, 3))
    two.restore({name: np.array(a) for name, a in one.state().items()}, one.added)
    for replay in (one, two):
        replay.add(batch(4, 5))
        assert replay.data["n"].tolist() == [5, 2, 3, 4]
    three = Replay(4, fields)
    three.restore(one.state(), one.added)
    three.add(batch(6))
    assert three.data["n"].tolist() == [5, 6, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((3, 3), np.float32)},
        {"n": np.zeros(3, np.int64)},
        {"n": np.zeros(2, np.int32)},
        {"y": np.zeros(3, np.int32)},
    ],
)
def test_a_replay_of_another_kind_is_refused_whole(change: dict[str, np.ndarray]) -> None:
    replay = Replay(4, {"n": ((), np.int32), "x": ((2,), np.float32)})
    state = {"n": np.ones(3, np.int32), "x": np.ones((3, 2), np.float32)}
    with pytest.raises(ValueError, match=r"x: |n: |other fields"):
        replay.restore(state | change, 3)
    assert len(replay) == 0
    assert not replay.data["n"].any()
    replay.restore(state, 3)
    assert len(replay) == 3
