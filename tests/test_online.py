"""The agent that learns while it decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql import online
from multimodal_dql.bench.quality import StreamLearner, factory
from multimodal_dql.errors import UsageError
from multimodal_dql.exploration.head import HeadConfig
from multimodal_dql.exploration.posterior import PosteriorConfig
from multimodal_dql.online import OnlineAgent, OnlineConfig, stacking_gain
from multimodal_dql.opinion import OpinionConfig
from multimodal_dql.policies.checks import Check, example_states, iter_checks
from multimodal_dql.state import State

PLAIN = OnlineConfig(network=None)
EARLY = HeadConfig(PosteriorConfig(batch=4, first_batch=4))


def decisions(rng: np.random.Generator, b: int, k: int = 5, p: int = 4, c: int = 3) -> State:
    """Decisions among new candidates."""
    return State(
        content=rng.standard_normal((b, k, p)).astype(np.float32) / np.float32(np.sqrt(p)),
        present=np.ones((b, k, 1), np.float32),
        record=np.zeros((b, k, 3), np.float32),
        context=rng.standard_normal((b, c)).astype(np.float32) / np.float32(np.sqrt(c)),
        available=np.ones((b, k), bool),
        item=np.zeros(b, np.int64),
    )


def play(agent: OnlineAgent, rounds: int, seed: int, curved: bool = False) -> np.ndarray:
    """Click probability of each choice minus the average candidate's.

    Clicks come with ``sigmoid(-1 + 2 x_0)``, or curved ``sigmoid(-1 + 2 x_0 x_1)``, x standard normal.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
    gain = np.zeros(rounds)
    for t in range(rounds):
        state = decisions(rng, 1)
        x = state.content[0] * 2.0
        rate = 1 / (1 + np.exp(1.0 - 2.0 * (x[:, 0] * x[:, 1] if curved else x[:, 0])))
        p = agent.probabilities(state)[0]
        action = int(rng.choice(len(p), p=p / p.sum()))
        gain[t] = rate[action] - rate.mean()
        agent.update(state, np.array([action]), np.array([float(rng.random() < rate[action])]))
    return gain


@pytest.mark.parametrize("check", list(iter_checks()), ids=lambda c: c.name)
def test_contract_of_a_policy(check: Check) -> None:
    agent = OnlineAgent(replace(PLAIN, head=EARLY))
    for state in example_states():
        check(agent, state)


@pytest.mark.parametrize(
    "check", [c for c in iter_checks() if c.name not in ("facts", "learns_and_forgets")], ids=lambda c: c.name
)
def test_contract_of_a_policy_that_has_learned(check: Check) -> None:
    """The same after 40 decisions, but for the two checks that begin by forgetting."""
    for state in example_states():
        agent = OnlineAgent(replace(PLAIN, head=EARLY))
        for _ in range(4):
            action = state.available.argmax(axis=1)
            agent.update(state, action, (np.arange(len(action)) % 2).astype(np.float64))
        assert agent.head is not None
        check(agent, state)


def test_it_learns_what_is_clicked() -> None:
    """Ten seeds, 400 rounds: the last 200 choices are better than chance by .15 of click probability at the least.

    The best candidate is .35 better than the average one; chance has a standard error of .01.
    """
    for seed in range(10):
        assert play(OnlineAgent(replace(PLAIN, seed=seed)), 400, seed)[200:].mean() > 0.15


def test_the_same_seed_gives_the_same_agent() -> None:
    agents = [OnlineAgent(replace(PLAIN, seed=s)) for s in (5, 5, 6)]
    for agent in agents:
        play(agent, 120, 3)
    state = decisions(np.random.default_rng(0), 50)
    first, again, other = (agent.probabilities(state) for agent in agents)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_candidate_keeps_its_floor() -> None:
    agent = OnlineAgent(replace(PLAIN, head=HeadConfig(floor=0.1)))
    play(agent, 300, 0)
    p = agent.probabilities(decisions(np.random.default_rng(0), 50))
    assert p.min() >= 0.1 / 5 - 1e-12
    assert np.allclose(p.sum(axis=1), 1.0)


def test_own_effects_find_what_content_cannot_say() -> None:
    """Two candidates of nearly the same content, one clicked four times as often: only own effects tell them apart."""
    state = replace(
        decisions(np.random.default_rng(1), 1, k=2),
        content=np.float32([[[1.0, 0.0, 0.0, 0.0], [1.0, 1e-3, 0.0, 0.0]]]),
    )
    found = {}
    for own in (True, False):
        rng = np.random.Generator(np.random.Philox(key=[0, 2]))
        agent = OnlineAgent(replace(PLAIN, own_effects=own))
        for t in range(1500):
            action = t % 2
            agent.update(state, np.array([action]), np.array([float(rng.random() < (0.1, 0.4)[action])]))
        found[own] = agent.probabilities(state)[0, 1]
    assert found[True] > 0.9
    assert found[True] > found[False]


@pytest.mark.parametrize("reward", [np.nan, np.inf, 0.5, -1.0])
def test_a_reward_that_is_no_click_is_refused(reward: float) -> None:
    agent = OnlineAgent(PLAIN)
    state = decisions(np.random.default_rng(0), 1)
    before = agent.probabilities(state)
    with pytest.raises(UsageError, match="identity"):
        agent.update(state, np.array([0]), np.array([reward]))
    assert np.array_equal(agent.probabilities(state), before)


def test_rewards_of_any_size_with_the_identity_link() -> None:
    """The candidate that pays 7 on average is preferred to those that pay 3, with noise of 2."""
    agent = OnlineAgent(OnlineConfig(head=HeadConfig(PosteriorConfig(link="identity", scale=1.0))))
    rng = np.random.Generator(np.random.Philox(key=[0, 3]))
    state = decisions(np.random.default_rng(2), 1)
    for _ in range(300):
        action = int(rng.integers(5))
        agent.update(
            state, np.array([action]), np.array([(7.0 if action == 2 else 3.0) + 2 * rng.standard_normal()])
        )
    assert agent.probabilities(state)[0].argmax() == 2
    assert agent.expected(state)[0, 2] == pytest.approx(7.0, abs=1.0)


@pytest.mark.slow
def test_the_network_joins_in_and_is_trusted_where_it_helps() -> None:
    """New candidates at every decision and a world of products: the linear part is blind, the network is not.

    3,000 rounds; the last 1,000 choices gain .04 more with the network than without (standard error about .012).
    """
    network = OpinionConfig(first=400, growth=1.6, updates=300)
    with_it = play(OnlineAgent(OnlineConfig(network=network)), 3000, 0, curved=True)
    without = play(OnlineAgent(PLAIN), 3000, 0, curved=True)
    assert with_it[-1000:].mean() - without[-1000:].mean() > 0.01


def test_a_score_is_heard_only_if_it_predicts() -> None:
    """By hand: no offset, a score that is right 3 times of 4 has weight log 3 and gains 4 (log 2 - H), H = .5623 nats.

    Turned round it gains nothing. A score drawn apart from the clicks: above 5 nats in 1 of 1,300; among 50 seeds twice
    or more in 1 of 1,300 runs.
    """
    said = np.float32([1, 1, 1, 1])
    gain = stacking_gain(said, np.array([1.0, 1.0, 1.0, 0.0]), np.zeros(4))
    assert gain == pytest.approx(4 * (np.log(2) - 0.562335), abs=1e-4)
    assert stacking_gain(-said, np.array([1.0, 1.0, 1.0, 0.0]), np.zeros(4)) == 0.0
    passed = 0
    for seed in range(50):
        rng = np.random.Generator(np.random.Philox(key=[seed, 9]))
        click = (rng.random(500) < 0.3).astype(np.float64)
        passed += stacking_gain(rng.standard_normal(500).astype(np.float32), click, np.full(500, -0.85)) > 5.0
    assert passed < 2


@pytest.mark.parametrize(("gain", "heard"), [(4.9, False), (5.1, True)])
def test_what_does_not_predict_has_no_column(
    gain: float, heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below five nats the network's column is zero in every row and at every decision."""
    monkeypatch.setattr(online, "stacking_gain", lambda *_: gain)
    network = OpinionConfig(hidden=8, first=40, updates=3, batch=8, growth=100.0)
    agent = OnlineAgent(OnlineConfig(network=network))
    play(agent, 60, 0)
    assert agent.head is not None
    column = agent.head.blocks["hidden"]
    assert bool(agent.head.rows.x[:60, column].any()) is heard


def test_adapter_for_streams_of_single_decisions() -> None:
    """`factory` gives the default agent; probabilities are those of the agent, rewards reach it."""
    rng = np.random.default_rng(0)
    learner = factory(3, 2, 4)
    assert isinstance(learner, StreamLearner)
    assert learner.agent.config == OnlineConfig(seed=3)
    items = rng.standard_normal((6, 4))
    for _ in range(40):
        p = learner.predict(rng.standard_normal(2), items)
        assert p.shape == (6,)
        assert p.sum() == pytest.approx(1.0)
        k = int(rng.choice(6, p=p))
        learner.learn(np.zeros(2), items, k, float(p[k]), float(k == 0))
    assert learner.agent.head is not None
    assert learner.agent.head.rows.total == 40
