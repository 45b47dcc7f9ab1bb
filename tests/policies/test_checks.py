"""The public checks: every built-in passes, and each check finds the fault it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal_dql.errors import InputError
from multimodal_dql.policies.base import Policy, PolicyError, Uniform
from multimodal_dql.policies.checks import Check, check_policy, example_states, iter_checks
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.policies.registry import make_policy, policy_names
from multimodal_dql.state import State

STATES = example_states()
Array = NDArray[np.float64]


@pytest.mark.parametrize("check", list(iter_checks()), ids=lambda check: check.name)
@pytest.mark.parametrize("name", policy_names())
def test_built_in(name: str, check: Check) -> None:
    for state in STATES:
        check(make_policy(name), state)


@pytest.mark.slow
def test_the_learned_policy_passes_too() -> None:
    from multimodal_dql.agent import Agent
    from multimodal_dql.simulation.audience import CONTEXT
    from tests.simulation.worlds import WIDTHS, projection

    agent = Agent.create(projection(), CONTEXT, 0.02, {"hidden": 8, "members": 2}, seed=0)
    states = [
        replace(s, present=np.repeat(s.present, len(WIDTHS), axis=2))
        for s in example_states(content=sum(WIDTHS), context=CONTEXT.width)[2:]
    ]
    check_policy(DqnPolicy(agent, epsilon=0.1), states)
    check_policy(DqnPolicy(agent, believed=True), states)
    # The last state holds twins: no order between them.
    p = DqnPolicy(agent).probabilities(states[-1])
    np.testing.assert_allclose(p, Uniform().probabilities(states[-1]), atol=1e-12)


@pytest.mark.slow
def test_what_follows_counts_as_far_as_the_last_layer_believes_it() -> None:
    """By hand from the members' estimates: at weight 0 the click alone decides, at weight 1 Q against the siblings."""
    from multimodal_dql.agent import Agent
    from multimodal_dql.simulation.audience import CONTEXT
    from tests.simulation.worlds import WIDTHS, projection

    agent = Agent.create(projection(), CONTEXT, 0.02, {"hidden": 8, "members": 3}, seed=3)
    rng = np.random.default_rng(0)
    for variable in agent.network.weights:  # new ones say nothing of what follows
        if variable.dtype == "float32":
            variable.assign(variable + 0.3 * rng.normal(size=variable.shape))
    B, K = 200, 4
    state = State(
        rng.normal(size=(B, K, sum(WIDTHS))).astype(np.float32),
        np.ones((B, K, len(WIDTHS)), np.float32),
        np.zeros((B, K, 3), np.float32),
        rng.normal(size=(B, CONTEXT.width)).astype(np.float32),
        np.arange(K) < rng.integers(2, K + 1, (B, 1)),
        np.zeros(B, np.int64),
    )
    found = agent.estimate(state)
    click = np.log(np.where(state.available, found.click_rate, 1.0)).mean(0)
    follows = np.where(state.available, found.q - found.click_rate, 0.0).mean(0)
    size = state.available.sum(1, keepdims=True)
    follows -= follows.sum(1, keepdims=True) / size
    chosen = {}
    for weight in (0.0, 1.0):
        later = agent.layer.later
        trust = replace(later, mean=np.full_like(later.mean, weight))
        agent.layer = replace(agent.layer, later=trust)
        chosen[weight] = DqnPolicy(agent, believed=True).probabilities(state).argmax(1)
        score = np.where(state.available, np.exp(click) + weight * follows, -np.inf)
        assert chosen[weight].tolist() == score.argmax(1).tolist()
    assert (chosen[0.0] != chosen[1.0]).any()


def test_the_example_states_cover_what_matters() -> None:
    assert [s.available.shape[1] for s in STATES] == [1, 2, 3, 4, 6, 4, 4]
    assert any(s.counts is None for s in STATES)
    assert any(not s.available.all() for s in STATES)
    counted = [s.counts for s in STATES if s.counts is not None]
    assert any(c.prior_rate is not None for c in counted)
    assert any(c.prior_rate is None for c in counted)
    assert all((c.impressions[0] == 0).all() for c in counted)
    assert max(c.impressions.max() for c in counted) > 10_000
    assert example_states(content=5, context=7)[0].content.shape[2] == 5


class Nameless(Uniform):
    name = ""


class Narrow(Uniform):
    def probabilities(self, state: State) -> Array:
        return super().probabilities(state)[:, :-1]


class Doubled(Uniform):
    def probabilities(self, state: State) -> Array:
        return super().probabilities(state) * (1 + 1e-9)


class Negative(Uniform):
    def probabilities(self, state: State) -> Array:
        p = super().probabilities(state)
        p[:, 0] -= 2
        p[:, -1] += 2
        return p


class Unmasked(Policy):
    name = "unmasked"

    def probabilities(self, state: State) -> Array:
        b, k = state.available.shape
        return np.full((b, k), 1 / k)


class Moody(Uniform):
    calls = 0

    def probabilities(self, state: State) -> Array:
        self.calls += 1
        out = super().probabilities(state)
        favourite = np.eye(out.shape[1])[state.available.argmax(axis=1)]
        return out if self.calls % 2 else favourite


class Hesitant(Uniform):
    def probabilities(self, state: State) -> Array:
        if state.available.shape[1] == 1:
            return np.zeros(state.available.shape)
        return super().probabilities(state)


class ReadsNeighbours(Uniform):
    symmetric = False

    def probabilities(self, state: State) -> Array:
        if len(state.item) == 1:
            return super().probabilities(state)
        return np.eye(state.available.shape[1])[state.available.argmax(axis=1)]


class CountsPadding(Uniform):
    def probabilities(self, state: State) -> Array:
        p = super().probabilities(state)
        share = 1 / state.available.shape[1]
        first = np.eye(p.shape[1])[state.available.argmax(axis=1)]
        return share * first + (1 - share) * p

    symmetric = False


class Positional(Uniform):
    def probabilities(self, state: State) -> Array:
        return np.eye(state.available.shape[1])[state.available.argmax(axis=1)]


class Writes(Uniform):
    def probabilities(self, state: State) -> Array:
        p = super().probabilities(state)
        state.context[:] = 3.0
        return p


class Remembers(Uniform):
    last = -1

    def update(self, state: State, action: NDArray[np.int64], reward: Array) -> None:
        self.last = int(action[0])

    def probabilities(self, state: State) -> Array:
        if self.last < 0:
            return super().probabilities(state)
        return np.eye(state.available.shape[1])[state.available.argmax(axis=1)]


class Crashes(Uniform):
    def probabilities(self, state: State) -> Array:
        raise KeyError("clicks")


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        (Nameless, "facts", "set `name`"),
        (Narrow, "shape", "return float64 of shape"),
        (Doubled, "sums_to_one", "off by 1e-09"),
        (Negative, "sums_to_one", "negative"),
        (Unmasked, "masked_is_zero", "multiply by"),
        (Moody, "deterministic", "two calls differ"),
        (Hesitant, "one_candidate", "must have probability 1"),
        (ReadsNeighbours, "batch_invariant", "neighbours"),
        (CountsPadding, "padding_invariant", "padded"),
        (Positional, "permutation", "split ties evenly"),
        (Writes, "leaves_input_alone", "work on a copy"),
        (Remembers, "learns_and_forgets", "`reset` must undo"),
        (Crashes, "shape", "it raised KeyError"),
    ],
)
def test_each_check_finds_its_fault(broken: type[Policy], check: str, said: str) -> None:
    found = {c.name: c for c in iter_checks()}[check]
    states = iter(STATES)
    with pytest.raises(PolicyError) as caught:  # the states run out if no check objects
        all(found(broken(), state) is None for state in states)
    assert isinstance(caught.value, InputError)
    assert f"{check}: " in str(caught.value)
    assert said in str(caught.value)
    assert "违反约定" in caught.value.text("zh")


def test_check_policy_names_the_first_fault_and_what_passes_is_left_as_new() -> None:
    with pytest.raises(PolicyError, match="sums_to_one"):
        check_policy(Doubled(), STATES[3:])
    policy = make_policy("linucb")
    check_policy(policy)
    assert policy.model is None  # type: ignore[attr-defined]
