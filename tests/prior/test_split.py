"""The leak detector and the split by time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.errors import ABTestsError
from multimodal_dql.prior.split import LeakError, apart_from, check_no_leak, time_split
from tests.prior.planted import make_tests


def six_tests(headlines: str = "abcdefghijkl"):
    n = np.full(12, 100)
    return make_tests(np.full(6, 2), n, np.arange(12), list(headlines))


def test_a_clean_split_passes() -> None:
    tests = six_tests()
    check_no_leak(tests.subset(np.arange(6) < 3), tests.subset(np.arange(6) >= 3), ("length", "words"))


@pytest.mark.parametrize("column", ["winner", "significance", "first_place", "clicks"])
def test_columns_from_after_a_test_are_refused(column: str) -> None:
    tests = six_tests()
    with pytest.raises(LeakError, match=f"{column}.*only after a test"):
        check_no_leak(tests.subset(np.arange(6) < 3), tests.subset(np.arange(6) >= 3), ["length", column])


def test_shared_tests_and_headlines_are_refused() -> None:
    tests = six_tests("abcdefghijkA")  # the last headline is the first one in capitals
    with pytest.raises(LeakError, match=r"1 headlines are on both sides.*'a'") as caught:
        check_no_leak(tests.subset(np.arange(6) < 3), tests.subset(np.arange(6) >= 3))
    assert "连通分量" in caught.value.text("zh")
    assert caught.value.exit_code == 2
    with pytest.raises(LeakError, match="2 tests are on both sides"):
        check_no_leak(tests.subset(np.arange(6) < 4), tests.subset(np.arange(6) > 1))


def test_the_past_predicts_the_future_and_links_are_cut() -> None:
    tests = replace(six_tests(), component=np.array([0, 1, 2, 3, 4, 0]))
    before, after = time_split(tests, 0.6)
    assert after.tolist() == [False] * 4 + [True] * 2
    assert before.tolist() == [False, True, True, True, False, False]  # test 0 is linked to test 5
    check_no_leak(tests.subset(before), tests.subset(after))


def test_tests_without_times_cannot_be_split_by_time() -> None:
    tests = replace(six_tests(), created=np.full(6, np.datetime64("NaT", "s")))
    with pytest.raises(ABTestsError, match="created"):
        time_split(tests)


def test_tests_apart_from_others_by_hand() -> None:
    tests = six_tests("abcdefghijkA")  # the last test shares a headline with the first, whatever the case
    first = np.arange(6) == 0
    assert apart_from(tests, tests.subset(first)).tolist() == [False, True, True, True, True, False]
    left = tests.subset(apart_from(tests, tests.subset(first)))
    check_no_leak(left, tests.subset(first))
    textless = replace(tests, headlines=(None,) * 12)
    assert apart_from(textless, textless.subset(first)).tolist() == [False, True, True, True, True, True]
