"""The worlds in which an agent learns from nothing, and the command that plays them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from multimodal_dql.bench.online import KINDS, OFFERED, PARTS, bench_online, draw_world, play
from multimodal_dql.errors import UnknownNameError
from tests.conftest import Call


class Knows:
    """Reads the truth off the world instead of learning."""

    def __init__(self, world) -> None:
        self.world, self.round = world, 0

    def predict(self, x, candidates):
        p = np.zeros(OFFERED)
        p[self.world.rate[self.round].argmax()] = 1.0
        return p

    def learn(self, *_) -> None:
        self.round += 1


class Blind(Knows):
    def predict(self, x, candidates):
        return np.full(OFFERED, 1.0 / OFFERED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_world_is_what_it_says(kind: str) -> None:
    world = draw_world(kind, 0, 1500)
    assert world.rate.mean() == pytest.approx(0.05, abs=1e-6)
    logit = np.log(world.rate / (1 - world.rate))
    assert logit.std() == pytest.approx(1.35, abs=1e-6)
    assert np.allclose(np.linalg.norm(world.items, axis=1), 1.0, atol=1e-6)
    assert all(len(set(row)) == OFFERED for row in world.offered)
    assert play(world, Knows(world))["ratio"] == 1.0
    # A uniform draw takes the mean rate up to its luck: standard error .06 / sqrt(1500) over best rates of some .25.
    blind = play(world, Blind(world))
    assert blind["ratio"] == pytest.approx(blind["random"], abs=0.05)


def test_the_linear_world_is_linear_and_the_curved_one_is_not() -> None:
    for kind, fits in (("linear", True), ("curved", False)):
        world = draw_world(kind, 1, 2000)
        logit = np.log(world.rate / (1 - world.rate)).ravel()
        a = world.items[world.offered].reshape(-1, world.items.shape[1])
        x = np.concatenate([np.ones((len(a), 1)), a], axis=1)
        rest = logit - x @ np.linalg.lstsq(x, logit, rcond=None)[0]
        assert bool(rest.std() < 1e-3) == fits


def test_drift_changes_the_rule_at_half_time() -> None:
    world = draw_world("drift", 2, 2000)
    logit = np.log(world.rate / (1 - world.rate))
    mean = np.zeros((2, len(world.items)))
    for half, part in enumerate((slice(0, 1000), slice(1000, 2000))):
        for item in range(len(world.items)):
            mean[half, item] = logit[part][world.offered[part] == item].mean()
    assert abs(np.corrcoef(mean)[0, 1]) < 0.4  # 500 items, unrelated weights in 32 dimensions


@pytest.fixture(scope="module")
def left_out() -> dict[str, dict[str, Any]]:
    """400 rounds of one world: the default agent, and one without each part."""
    found: dict[str, dict[str, Any]] = bench_online(["bilinear"], seeds=1, rounds=400, without=list(PARTS))
    return found["worlds"]["bilinear"]


@pytest.mark.parametrize("name", list(PARTS))
def test_a_part_left_out_is_another_agent(left_out: dict[str, dict[str, Any]], name: str) -> None:
    assert set(left_out) == {"random", "default", *(f"without_{part}" for part in PARTS)}
    if name == "forgetting":  # nothing is doubted so early
        assert left_out["default"]["ratio"] == left_out[f"without_{name}"]["ratio"]
    else:
        assert left_out["default"]["ratio"] != left_out[f"without_{name}"]["ratio"]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="linear"):
        draw_world("liner", 0, 10)
    with pytest.raises(UnknownNameError, match="network"):
        bench_online(without=["netwrk"])


def test_command(call: Call) -> None:
    done = call("bench", "online", "--world", "linear", "--seeds", 1, "--rounds", 300, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["worlds"]["linear"]["default"]
    assert 0.1 < found["ratio"] <= 1.0
    assert len(found["curve"]) == 10
    wrong = call("bench", "online", "--world", "flat")
    assert wrong.code == 2
    assert "linear" in wrong.err
