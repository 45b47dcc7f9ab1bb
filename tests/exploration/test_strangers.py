"""Numbers and noise of candidates, which are known by their content alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.exploration import strangers
from multimodal_dql.exploration.strangers import Acquaintance

CONTENT = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [5.0, 6.0]], np.float32)


def test_numbers_are_given_when_a_candidate_is_shown() -> None:
    people = Acquaintance(8, seed=0)
    keys = people.keys(CONTENT)
    assert people.known(keys).tolist() == [-1, -1, -1, -1]
    assert [people.meet(keys[3]), people.meet(keys[0]), people.meet(keys[3])] == [0, 1, 0]
    # The third has the content of the first: it is the same candidate.
    assert people.known(keys).tolist() == [1, -1, 1, 0]


def test_a_key_is_the_content_whatever_its_layout() -> None:
    people = Acquaintance(8, seed=0)
    assert people.keys(CONTENT.astype(np.float64)) == people.keys(np.asfortranarray(CONTENT))
    assert len(set(people.keys(CONTENT))) == 3


def test_the_last_number_is_shared() -> None:
    people = Acquaintance(8, seed=0, most=2)
    assert [people.meet(key) for key in people.keys(CONTENT)] == [0, 1, 0, 1]
    assert people.meet(people.keys(CONTENT + 100)[0]) == 1


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(12)), cut=st.integers(1, 11))
def test_noise_depends_neither_on_order_nor_on_batches(order: list[int], cut: int) -> None:
    content = np.arange(24, dtype=np.float32).reshape(12, 2)
    expected = Acquaintance(16, seed=5)
    whole = expected.noise(expected.keys(content))
    people = Acquaintance(16, seed=5)
    keys = people.keys(content[order])
    parts = np.concatenate([people.noise(keys[:cut]), people.noise(keys[cut:])])
    assert (parts == whole[order]).all()
    assert parts.dtype == np.float32


def test_noise_that_was_dropped_comes_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "KEPT", 2)
    people = Acquaintance(16, seed=5)
    keys = people.keys(np.arange(20, dtype=np.float32).reshape(10, 2))
    first = people.noise(keys)
    assert len(people._noise) == 2
    assert (people.noise(keys) == first).all()


def test_noise_is_standard_normal_and_of_its_own() -> None:
    """64,000 numbers: mean within 5 / 253, variance within 5 sqrt(2) / 253, no correlation between two candidates
    beyond 5 / sqrt(64): a false alarm in 100,000 runs."""
    people = Acquaintance(64, seed=5)
    drawn = people.noise(people.keys(np.arange(2000, dtype=np.float32).reshape(1000, 2))).astype(float)
    assert abs(drawn.mean()) < 5 / 253
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2) / 253
    near = np.mean(drawn[:-1] * drawn[1:], axis=1)
    assert np.abs(near).max() < 5 / 8
    other = Acquaintance(64, seed=6)
    assert (other.noise(other.keys(CONTENT)) != people.noise(people.keys(CONTENT))).mean() > 0.99
