"""Counter-based random numbers: known answers, uniform, normal, and kept apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multimodal_dql.simulation.compiled import normals, philox, uniforms

from . import plain

WORD = st.integers(0, 2**32 - 1)
LIMIT = 1e-6
"""Every p-value below is allowed to be this small: about 40 of them raise a false alarm once in 25,000 seeds."""


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_known_answers_of_random123(counter: str, key: str, answer: str) -> None:
    words = [int(word, 16) for word in (counter + " " + key).split()]
    expected = tuple(int(word, 16) for word in answer.split())
    assert philox(*words) == expected
    assert plain.philox(words[:4], words[4:]) == expected


@settings(deadline=None)  # the first call compiles
@given(WORD, WORD, WORD, WORD, WORD, WORD)
def test_any_counter_and_key(a: int, b: int, c: int, d: int, x: int, y: int) -> None:
    assert philox(a, b, c, d, x, y) == plain.philox((a, b, c, d), (x, y))


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_every_bit_of_seed_session_stream_and_index_counts(
    seed: int, session: int, stream: int, index: int
) -> None:
    u = uniforms(seed, session, stream, index)
    assert u == plain.draws(seed, session, stream, index)
    assert all(0 < x < 1 for x in u)


@settings(deadline=None)  # the first call compiles
@given(st.floats(1e-12, 1.0 - 1e-12), st.floats(0.0, 1.0))
def test_normals_are_box_and_muller(u: float, v: float) -> None:
    x, y = normals(u, v)
    assert x * x + y * y == pytest.approx(-2 * np.log(u), rel=1e-9)
    np.testing.assert_allclose((x, y), plain.normal_pair(u, v), rtol=1e-12, atol=1e-12)


def grid(sessions: int, indices: int, stream: int = 1, seed: int = 0) -> np.ndarray:
    """(sessions, indices, 4) numbers."""
    return np.array([[uniforms(seed, s, stream, i) for i in range(indices)] for s in range(sessions)])


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    return grid(4000, 5)


def test_numbers_are_uniform(numbers: np.ndarray) -> None:
    """Each word of each index over sessions, and all together: 21 Kolmogorov-Smirnov tests."""
    for column in [*numbers.reshape(len(numbers), -1).T, numbers.ravel()]:
        assert stats.kstest(column, "uniform").pvalue > LIMIT


def test_numbers_are_normal(numbers: np.ndarray) -> None:
    """Both of a pair, and their radius; 3 tests."""
    pairs = np.array([normals(u, v) for u, v in numbers.reshape(-1, 2)])
    for column in pairs.T:
        assert stats.kstest(column, "norm").pvalue > LIMIT
    assert stats.kstest((pairs**2).sum(axis=1), stats.chi2(2).cdf).pvalue > LIMIT


def test_neighbouring_draws_do_not_know_each_other(numbers: np.ndarray) -> None:
    """Correlations of 4,000 between words, indices, sessions, streams and seeds: 16 tests of z = r sqrt(n)."""
    bound = float(stats.norm.isf(LIMIT / 2))
    same = numbers[:, 0, :]
    others = (
        [(same[:, i], same[:, j]) for i in range(4) for j in range(i)]
        + [(same[:, 0], numbers[:, k, 0]) for k in range(1, 5)]
        + [(same[:-1, i], same[1:, i]) for i in range(4)]
        + [(same[:, 0], grid(4000, 1, stream=2)[:, 0, 0]), (same[:, 0], grid(4000, 1, seed=1)[:, 0, 0])]
    )
    for a, b in others:
        assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(len(a)) < bound


def test_no_number_comes_twice(numbers: np.ndarray) -> None:
    """80,000 numbers of 2^32: equal words are expected .7 times; 12 or more once in 10^11 seeds."""
    assert numbers.size - np.unique(numbers).size < 12


CALLED = (
    "from multimodal_dql.simulation.compiled import compiled\n\n\n@compiled\ndef f(x):\n    return x + {}\n"
)
CALLING = (
    "from multimodal_dql.simulation.compiled import compiled\nimport called\n\n\n"
    "@compiled\ndef g(x):\n    return 2.0 * called.f(x)\n"
)


@pytest.mark.slow
def test_what_is_kept_on_disk_is_not_used_after_a_change_in_another_file(tmp_path: Path) -> None:
    """Numba itself looks at the file of a function alone, not at the files of what it calls."""
    (tmp_path / "calling.py").write_text(CALLING)

    def answer() -> float:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import calling; print(calling.g(1.0), sum(calling.g.stats.cache_hits.values()))",
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        )
        value, hits = done.stdout.split()
        kept.append(hits != "0")
        return float(value)

    kept: list[bool] = []
    answers = []
    for added in ("1.0", "1.0", "5.0", "1.0"):
        (tmp_path / "called.py").write_text(CALLED.format(added))
        answers.append(answer())
    assert answers == [4.0, 4.0, 12.0, 4.0]
    # The second and the last run found their machine code on disk.
    assert kept == [False, True, False, True]
