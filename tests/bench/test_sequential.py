"""The value of looking ahead, measured in the small: what is compared with what, and how it is summed up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.bench.sequential import SCENARIOS, bench_sequential, returns
from multimodal_dql.errors import UnknownNameError
from multimodal_dql.simulation.scenarios.generation import GenerationConfig, GenerationVectorEnv
from tests.conftest import Call


def first_allowed(_: object, told: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(told["mask"].argmax(axis=1))


def test_returns_do_not_depend_on_how_many_environments_run_side_by_side() -> None:
    config = GenerationConfig(stages=5)
    few = returns(GenerationVectorEnv(2, config), first_allowed, 7, seed=3)
    many = returns(GenerationVectorEnv(7, config), first_allowed, 7, seed=3)
    for kind in ("expected", "paid"):
        np.testing.assert_allclose(few[kind], many[kind])
    assert len(set(few["expected"].tolist())) == 7


def test_a_return_is_the_sum_of_an_episode() -> None:
    """One environment, stepped by hand until its first episode is over."""
    env = GenerationVectorEnv(1, GenerationConfig(stages=5))
    told, _ = env.reset(seed=3)
    total, over = 0.0, np.array([False])
    while not over[0]:
        told, reward, over, _, _ = env.step(first_allowed(None, told))
        total += reward[0]
    again = returns(GenerationVectorEnv(3, GenerationConfig(stages=5)), first_allowed, 3, seed=3)
    assert again["paid"][0] == pytest.approx(total)


def test_an_unknown_scenario_is_refused(call: Call) -> None:
    with pytest.raises(UnknownNameError, match="Generation"):
        bench_sequential(["Generatoin"], 2)
    done = call("bench", "sequential", "--scenario", "Generatoin")
    assert done.code == 2
    assert "did you mean 'Generation'" in done.lines[-1]


@pytest.mark.slow
def test_both_agents_meet_the_same_episodes() -> None:
    """Two tiny trainings: the figures fit together; the policy that knows every rate beats random choices."""
    usual = SCENARIOS["Generation"]
    small = replace(usual.training, steps=256, rollout=8, minibatch=64, hidden=8, stagger=0)
    settings = {
        "Generation": replace(usual, groups=1, environments=16, episodes=16, evaluated=16, training=small)
    }
    heard: list[tuple[str, int]] = []
    found = bench_sequential(
        ["Generation"], 2, settings=settings, progress=lambda name, seed, _: heard.append((name, seed))
    )["scenarios"]["Generation"]
    assert heard == [("Generation", 0), ("Generation", 1)]
    by = found["by_seed"]
    difference = found["ahead_over_myopic"]["expected"]
    mean = np.mean(by["ahead"]["expected"]) - np.mean(by["myopic"]["expected"])
    assert difference["mean"] == pytest.approx(mean)
    assert difference["relative"]["mean"] == pytest.approx(mean / np.mean(by["myopic"]["expected"]))
    assert difference["low"] <= difference["mean"] <= difference["high"]
    for knowing, random in zip(by["greedy_on_truth"]["expected"], by["uniform"]["expected"], strict=True):
        assert knowing > random
    assert found["setting"]["training"]["discount"] == usual.training.discount
