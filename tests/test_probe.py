"""What is measured between iterations, against networks whose answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.probe import HIDDEN, PROBE, Probe, start_values
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.typical import typical_users
from multimodal_dql.train_config import TrainConfig
from multimodal_dql.transitions import session_returns

from .simulation.worlds import projection, world


@pytest.fixture(scope="module")
def probe() -> Probe:
    w = world(items=5, sizes=(2, 3))
    agent = Agent.create(projection(), CONTEXT, 0.02, {"hidden": 4, "members": 2}, 0)
    agent.audience = typical_users(Stage.of(w), 0)
    return Probe(agent, w.candidates)


def test_a_probe_by_hand(probe: Probe) -> None:
    """One network, changed step by step: what it likes, whom it silences."""
    net = probe.network
    first = probe.measure()
    assert first["churn"] == 0.0  # nothing happened
    assert first["dead_share"] < 0.5
    assert first["preference"] > 0.0
    # A slope of clicks along one direction of content orders the candidates by it; the opposite slope the other way.
    for sign, churn in ((1.0, None), (1.0, 0.0), (-1.0, 1.0)):
        slope = np.zeros(net.later.kernel.shape, np.float32)
        slope[:, 0] = 100.0 * sign
        net.later.kernel.assign(slope)
        found = probe.measure()
        direction = np.where(probe.state.available, sign * probe.state.content[..., 0], -np.inf)
        np.testing.assert_array_equal(probe.greedy, direction.argmax(axis=1))
        if churn is not None:
            assert found["churn"] == churn
    low = np.where(probe.state.available, probe.state.content[..., 0], np.inf).min(axis=1)
    high = np.where(probe.state.available, probe.state.content[..., 0], -np.inf).max(axis=1)
    assert found["preference"] == pytest.approx(100.0 * (high - low).max(), rel=0.05)
    # The last two of the four layers silenced, every unit of every member: half of the units, and those that were.
    for name in HIDDEN[2:]:
        norm = getattr(net, name)
        norm.gain.assign(norm.gain * 0.0)
        norm.offset.assign(norm.offset * 0.0 - 1.0)
    alone = probe.measure()["dead_share"]
    assert 0.5 <= alone < 1.0
    for name in HIDDEN[:2]:
        norm = getattr(net, name)
        norm.gain.assign(norm.gain * 0.0)
        norm.offset.assign(norm.offset * 0.0)  # 0 is not above 0
    assert probe.measure()["dead_share"] == 1.0
    for v in net.trainable_variables:
        v.assign(v * 0.0)
    assert probe.measure()["preference"] == 0.0
    assert len(probe.greedy) == PROBE


def test_measuring_changes_nothing(probe: Probe) -> None:
    before = [np.array(v.numpy()) for v in probe.network.variables]
    probe.measure()
    probe.renew()
    assert all("call" not in vars(getattr(probe.network, name)) for name in HIDDEN)
    for a, v in zip(before, probe.network.variables, strict=True):
        np.testing.assert_array_equal(a, v.numpy())


def test_returns_by_hand() -> None:
    """Clicks .02, .04 and, after the visit has ended, .5: at a base rate of .02 and a discount of .5, 1 + .5 x 2."""
    steps: Any = SimpleNamespace(
        active=np.array([[True, True, False], [True, False, False]]),
        click_probability=np.array([[0.02, 0.04, 0.5], [0.06, np.nan, np.nan]]),
        click=np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
    )
    np.testing.assert_allclose(session_returns(steps, 0.02, TrainConfig(discount=0.5)), [2.0, 3.0])
    np.testing.assert_allclose(
        session_returns(steps, 0.02, TrainConfig(discount=0.5, expected_reward=False)), [50.0, 0.0]
    )


def test_values_at_the_start_by_hand() -> None:
    """Four visits to two candidates. The greedy one is shown in the first and the third: Q 3 and 5, returns 2 and 6."""
    q = np.array([[3.0, 1.0], [4.0, 0.0], [1.0, 5.0], [2.0, 7.0]])
    agent: Any = SimpleNamespace(q_values=lambda state: q * 0.02, base_rate=0.02)
    steps: Any = SimpleNamespace(
        item=np.zeros((4, 2), int),
        context=np.zeros((4, 2, 1)),
        record=np.zeros((4, 2, 2, 3)),
        action=np.array([[0, 1], [1, 0], [1, 1], [99, 0]]),  # the last is not there
        active=np.ones((4, 2), bool),
    )
    candidates: Any = SimpleNamespace(state=lambda *a: None)
    found = start_values(agent, candidates, steps, np.array([2.0, 9.0, 6.0, 9.0]))
    assert found == {"q_mean": pytest.approx(4.0), "return_mean": pytest.approx(4.0)}
    steps.action[:] = 99
    found = start_values(agent, candidates, steps, np.ones(4))
    assert math.isnan(found["q_mean"])
    assert math.isnan(found["return_mean"])
