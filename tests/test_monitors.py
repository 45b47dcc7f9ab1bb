"""Monitors by hand: each speaks where its table says, and not before."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from multimodal_dql import monitors
from multimodal_dql.errors import EncoderError, UsageError
from multimodal_dql.monitors import ACTIONS, Finding, Watch, check_inputs
from multimodal_dql.stability import summarise
from multimodal_dql.train_config import TrainConfig, check_settings
from multimodal_dql.transitions import sound

from .simulation.worlds import projection, world

FINE = {
    "loss": 10.0,
    "gradient_norm": 3.0,
    "q_largest": 5.0,
    "dead_share": 0.1,
    "preference": 0.5,
    "q_mean": 2.0,
    "return_mean": 2.0,
    "churn": 0.1,
}


def watch(rounds: int = 12) -> Watch:
    """One that has seen some iterations pass."""
    w = Watch()
    for i in range(rounds):
        assert w.judge(i + 1, FINE, finite=True) is None
    assert w.findings == []
    return w


@pytest.mark.parametrize(
    ("change", "monitor", "action"),
    [
        ({"loss": math.nan}, "not_finite", "stop"),
        ({"gradient_norm": math.inf}, "not_finite", "stop"),
        ({"q_largest": math.nan}, "not_finite", "stop"),
        ({"q_largest": 10_001.0}, "exploding_q", "stop"),
        ({"loss": 100.1}, "loss", "lower"),
        ({"gradient_norm": 0.0}, "dead", "lower"),
        ({"preference": 0.0}, "dead", "lower"),
        ({"dead_share": 0.91}, "dead", "lower"),
    ],
)
def test_each_speaks_above_its_limit(change: dict[str, float], monitor: str, action: str) -> None:
    w = watch()
    found = w.judge(13, FINE | change, finite=True)
    assert found is not None
    assert (found.monitor, found.action, found.iteration) == (monitor, action, 13)
    assert w.findings == [found]


@pytest.mark.parametrize(
    "change", [{"q_largest": 10_000.0}, {"loss": 100.0}, {"dead_share": 0.9}, {"preference": 1e-9}]
)
def test_none_speaks_at_its_limit(change: dict[str, float]) -> None:
    assert watch().judge(13, FINE | change, finite=True) is None


def test_weights_that_are_not_finite_stop_it() -> None:
    found = watch().judge(13, FINE, finite=False)
    assert found is not None
    assert found.monitor == "not_finite"


def test_a_loss_needs_something_to_be_compared_with() -> None:
    """A quarter of the window, 3 losses, must have passed; the median of 1, 2, 30 is 2."""
    w = Watch()
    for loss in (1.0, 30.0):
        assert w.judge(1, FINE | {"loss": loss}, finite=True) is None
    assert w.judge(3, FINE | {"loss": 2.0}, finite=True) is None
    assert w.judge(4, FINE | {"loss": 20.0}, finite=True) is None  # 10 times 2, not above
    w.losses.pop()
    found = w.judge(4, FINE | {"loss": 20.1}, finite=True)
    assert found is not None
    assert found.limit == pytest.approx(20.0)


def test_a_loss_that_did_not_pass_is_not_what_the_next_is_compared_with() -> None:
    w = watch()
    for _ in range(3):
        assert w.judge(13, FINE | {"loss": 1e4}, finite=True) is not None
    assert w.losses == [10.0] * 12


def test_the_fourth_repair_stops_it() -> None:
    w = watch()
    for _ in range(3):
        found = w.judge(13, FINE | {"loss": 1e4}, finite=True)
        assert found is not None
        assert found.action == "lower"
    found = w.judge(13, FINE | {"loss": 1e4}, finite=True)
    assert found is not None
    assert (found.monitor, found.action) == ("lowered", "stop")
    assert [f.monitor for f in w.findings] == ["loss"] * 4 + ["lowered"]


def test_an_overestimate_is_a_warning_once_after_a_whole_window() -> None:
    """Twelve ratios, each 3: the eleventh says nothing yet, the twelfth warns, the thirteenth not again."""
    w, high = Watch(), FINE | {"q_mean": 6.0}
    for i in range(11):
        assert w.judge(i + 1, high, finite=True) is None
    assert w.findings == []
    assert w.judge(12, high, finite=True) is None
    assert w.findings == [Finding("overestimate", 12, 3.0, 2.0)]
    assert w.findings[0].action == "warn"
    assert w.judge(13, high, finite=True) is None
    assert len(w.findings) == 1


def test_unknown_returns_say_nothing_about_q() -> None:
    w = Watch()
    for value in (math.nan, 0.0, -1.0):
        for _ in range(20):
            assert w.judge(1, FINE | {"q_mean": 99.0, "return_mean": value}, finite=True) is None
    assert w.ratios == []


@pytest.mark.parametrize(
    ("churn", "warns"),
    [
        ([0.5, 0.3, 0.2, 0.1], False),  # falls
        ([0.2, 0.2, 0.2, 0.3], True),
        ([0.2, 0.1, 0.1, 0.2], True),  # no less than early
        ([0.01, 0.02, 0.03, 0.04], False),  # too little to matter
        ([0.1, 0.9], False),  # too short to say
    ],
)
def test_churn_that_does_not_fall_is_a_warning(churn: list[float], warns: bool) -> None:
    w = Watch(churn=churn)
    w.finish(len(churn))
    assert [f.monitor for f in w.findings] == (["churn"] if warns else [])


def test_a_watch_is_read_back_as_it_was() -> None:
    w = watch()
    w.judge(13, FINE | {"loss": 1e4}, finite=True)
    w.note("checkpoint", 14, 28)
    assert Watch.from_dict(w.to_dict()) == w
    with pytest.raises(ValueError, match="not known"):
        Watch.from_dict(
            w.to_dict() | {"findings": [{"monitor": "x", "iteration": 1, "value": 1, "limit": 1}]}
        )


def test_the_table_says_what_is_done() -> None:
    """Every monitor has a row with its action, and there is no other row."""
    rows = dict(re.findall(r"^\| `(\w+)` .*\| (\w+) +\|$", monitors.__doc__ or "", re.MULTILINE))
    assert rows == {**ACTIONS, "settings": "refuse", "inputs": "refuse"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; give a number above 0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001; give a number above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"discount": 1.0}, "discount is 1.0; give a number of at least 0 and below 1"),
        ({"discount": 1.5}, "discount is 1.5"),
        ({"discount": -0.1}, "discount is -0.1"),
        ({"n_step": 0}, "n_step is 0; give a whole number of at least 1"),
        ({"n_step": 2.5}, "n_step is 2.5"),
        ({"target_rate": 0.0}, "target_rate is 0.0; give a number above 0 and at most 1"),
        ({"target_rate": 1.1}, "target_rate is 1.1"),
        ({"batch": True}, "batch is True"),
        ({"clip_norm": math.inf}, "clip_norm is inf"),
        ({"epsilon": "much"}, "epsilon is 'much'"),
        ({"folds": 1}, "folds is 1; give a whole number of at least 2"),
        ({"folds": 4, "members": 3}, "folds is 4 and members 3"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_settings(replace(TrainConfig(), **change))
    assert str(refused.value).startswith(words)
    assert "请" in refused.value.text("zh") or "folds" in words


def test_settings_at_their_limits_pass() -> None:
    check_settings(TrainConfig())
    check_settings(
        replace(TrainConfig(), discount=0.0, target_rate=1.0, n_step=1, epsilon=0.0, members=2, folds=2)
    )


def test_inputs_are_refused_by_name() -> None:
    w = world(items=6)
    bags = np.ones((3, 6), bool)
    check_inputs(w.candidates, projection(), bags)
    bags[1] = False
    with pytest.raises(UsageError, match="member 1 of the ensemble has no story to learn from"):
        check_inputs(w.candidates, projection(), bags)
    bags[1] = True
    w.candidates.content[2, 7] = np.inf
    with pytest.raises(EncoderError, match="encoder 'i': gave NaN or infinity for 1 variants"):
        check_inputs(w.candidates, projection(), bags)
    w.candidates.content[2, 7] = 0.0
    w.candidates.available[4] = False
    with pytest.raises(UsageError, match="1 stories have no variant to show"):
        check_inputs(w.candidates, projection(), bags)


def transitions() -> dict[str, Any]:
    """Three of two stories with two and one candidates."""
    f32, i32 = np.float32, np.int32
    return {
        "item": np.array([0, 0, 1], i32),
        "context": np.zeros((3, 2), f32),
        "record": np.zeros((3, 2, 3), f32),
        "action": np.array([0, 1, 0], i32),
        "reward": np.ones(3, f32),
        "factor": np.full(3, 0.5, f32),
        "click": np.zeros(3, f32),
        "next_item": np.array([1, 1, 0], i32),
        "next_context": np.zeros((3, 2), f32),
        "next_record": np.zeros((3, 2, 3), f32),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reward", np.nan), ("reward", -np.inf), ("reward", 1.1e4), ("context", np.nan), ("record", np.inf),
        ("next_record", np.nan), ("factor", 1.01), ("factor", -0.1), ("click", 3.0), ("click", -1.0),
        ("item", 2), ("item", -1), ("next_item", 9), ("action", 2), ("action", -1), ("action", 1),
    ],
)  # fmt: skip
def test_one_transition_is_unsound(field: str, value: float) -> None:
    """The last; its story has one candidate, so that action 1 is not available. It is so in batches of batches too."""
    available = np.array([[True, True], [True, False]])
    batch = transitions()
    assert sound(batch, available).all()
    batch[field][2] = value
    assert sound(batch, available).tolist() == [True, True, False]
    stacked = {name: np.stack([array, transitions()[name]]) for name, array in batch.items()}
    assert sound(stacked, available).tolist() == [[True, True, False], [True, True, True]]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ((), "steady"),
        (("churn",), "watch"),
        (("churn", "batch"), "repaired"),
        (("loss", "churn"), "repaired"),
        (("loss", "lowered", "churn"), "stopped"),
    ],
)
def test_the_verdict_is_the_gravest(said: tuple[str, ...], verdict: str) -> None:
    found = [Finding(name, 1, 1.0, 1.0) for name in said]
    values = {"q_mean": [1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 5.0, 7.0], "return_mean": [math.nan] * 6 + [2.0, 4.0]}
    stability = summarise(values, found)
    assert stability.verdict == verdict
    assert (stability.q_mean, stability.return_mean, stability.overestimate) == (6.0, 3.0, 2.0)
    assert math.isnan(stability.churn)
