"""The shared linear model, LinUCB and linear Thompson sampling, against loops and exact normal probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import InputError, UsageError
from multimodal_dql.policies.base import PolicyError, choose
from multimodal_dql.policies.linear import JointFeatures, LinearThompson, LinUcb, RidgeModel
from multimodal_dql.state import State
from tests.policies.references import LinearLoop, highest, joint
from tests.policies.states import plain


def contextual(seed: int, b: int, k: int, p: int = 3, c: int = 2) -> State:
    rng = np.random.default_rng(seed)
    available = rng.random((b, k)) < 0.8
    available[np.arange(b), rng.integers(0, k, b)] = True
    return plain(
        b,
        k,
        available=available.tolist(),
        content=rng.standard_normal((b, k, p)),
        context=rng.standard_normal((b, c)),
    )


def taught(policy: LinUcb | LinearThompson, seed: int = 0, batches: int = 3, k: int = 4) -> LinearLoop:
    """Teach `policy` a few batches, and a plain loop the same rows one by one."""
    rng = np.random.default_rng(seed)
    loop = LinearLoop(12, policy.ridge)
    for i in range(batches):
        state = contextual(seed + i, 20, k)
        action = state.available.argmax(axis=1)
        reward = rng.random(20)
        policy.update(state, action, reward)
        for b in range(20):
            loop.learn(joint(state.content[b, action[b]], state.context[b]), reward[b])
    return loop


def test_few_products_are_taken_all() -> None:
    features = JointFeatures(2, 2, seed=0)
    out = features(np.array([[2.0, 3.0]]), np.array([[5.0, 7.0]]))
    np.testing.assert_array_equal(out, [[1, 2, 3, 5, 7, 10, 14, 15, 21]])
    assert features.width == 9


def test_many_products_are_sketched_without_bias() -> None:
    """Inner products of 400 independent sketches average to the exact one within 4.5 standard errors (7e-6)."""
    rng = np.random.default_rng(0)
    content, context = rng.standard_normal((2, 20)), rng.standard_normal((2, 9))
    exact = float((content[0] @ content[1]) * (context[0] @ context[1]))
    found = []
    for seed in range(400):
        features = JointFeatures(20, 9, seed)
        rows = features(content, context)[:, 30:]
        assert rows.shape == (2, 64)
        found.append(rows[0] @ rows[1])
    assert abs(np.mean(found) - exact) < 4.5 * np.std(found) / math.sqrt(400)
    assert features.width == 1 + 20 + 9 + 64


def test_ridge_by_hand() -> None:
    # One column, ridge 1; rows 1 and 2 with rewards 3 and 1: A = 1 + 1 + 4 = 6, b = 3 + 2 = 5.
    model = RidgeModel(1, ridge=1.0)
    model.learn(np.array([[1.0], [2.0]]), np.array([3.0, 1.0]))
    theta, inverse = model.solution()
    np.testing.assert_allclose(theta, [5 / 6])
    np.testing.assert_allclose(inverse**2, [[1 / 6]])
    model.learn(np.array([[1.0]]), np.array([0.0]))
    np.testing.assert_allclose(model.solution()[0], [5 / 7])


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_linucb_agrees_with_a_sherman_morrison_loop(k: int) -> None:
    policy = LinUcb(alpha=0.7, ridge=2.0)
    loop = taught(policy, k=k)
    state = contextual(99, 30, k)
    p = policy.probabilities(state)
    for b in range(30):
        slots = np.flatnonzero(state.available[b])
        index = loop.linucb([joint(state.content[b, s], state.context[b]) for s in slots], 0.7)
        np.testing.assert_allclose(p[b, slots], highest(index), atol=1e-12)


def test_linucb_is_curious_first_and_greedy_later() -> None:
    content = np.array([[[1.0], [0.1]]])
    state = plain(1, 2, content=content)
    policy = LinUcb(alpha=1.0)
    np.testing.assert_array_equal(policy.probabilities(state), [[1, 0]])  # less known: larger content
    for _ in range(200):
        policy.update(state, np.array([0]), np.array([0.0]))
        policy.update(state, np.array([1]), np.array([1.0]))
    np.testing.assert_array_equal(policy.probabilities(state), [[0, 1]])
    policy.reset()
    np.testing.assert_array_equal(policy.probabilities(state), [[1, 0]])


def test_linucb_with_epsilon_has_no_propensity_of_zero() -> None:
    p = LinUcb(epsilon=0.2).probabilities(contextual(0, 50, 3))
    state = contextual(0, 50, 3)
    sizes = np.broadcast_to(state.available.sum(axis=1, keepdims=True), p.shape)
    assert (p >= 0.2 / sizes - 1e-12)[state.available].all()
    assert not p[~state.available].any()


def test_two_candidates_have_the_exact_normal_probability() -> None:
    policy = LinearThompson(noise=0.5, ridge=2.0, epsilon=0.0)
    loop = taught(policy)
    state = contextual(5, 40, 2)
    p = policy.probabilities(state)
    for b in np.flatnonzero(state.available.all(axis=1)):
        d = joint(state.content[b, 0], state.context[b]) - joint(state.content[b, 1], state.context[b])
        z = (d @ loop.theta) / (0.5 * math.sqrt(d @ loop.inverse @ d))
        assert p[b, 0] == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), abs=1e-9)
    assert (p[~state.available.all(axis=1)].max(axis=1) == 1).all()


def test_several_candidates_agree_with_plain_draws() -> None:
    """400,000 draws against 20,000, standard errors .0008 and .0035: 80 comparisons within 5 of both, alarm 5e-5."""
    policy = LinearThompson(noise=0.5, ridge=2.0, epsilon=0.0, draws=20_000)
    loop = taught(policy)
    state = contextual(6, 20, 4)
    p = policy.probabilities(state)
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(loop.inverse)
    theta = loop.theta[:, None] + 0.5 * root @ rng.standard_normal((12, 400_000))
    for b in range(20):
        slots = np.flatnonzero(state.available[b])
        rows = np.array([joint(state.content[b, s], state.context[b]) for s in slots])
        share = np.bincount((rows @ theta).argmax(axis=0), minlength=len(slots)) / 400_000
        error = np.sqrt(share * (1 - share) * (1 / 400_000 + 1 / 20_000)) + 1e-4
        assert (np.abs(p[b, slots] - share) < 5 * error).all()


def test_three_of_which_two_are_one_share_what_the_pair_gets() -> None:
    content = np.zeros((1, 3, 2))
    content[0, 0], content[0, 1:] = (1.0, 0.0), (0.0, 1.0)
    policy = LinearThompson(epsilon=0.0, draws=50_000)
    p = policy.probabilities(plain(1, 3, content=content))
    assert p[0, 1] == p[0, 2]
    # Standard error .0022, five of them.
    assert p[0, 0] == pytest.approx(0.5, abs=0.011)


def test_actions_are_drawn_from_the_reported_probabilities_though_no_draw_favours_one() -> None:
    state = plain(3, 3, content=np.array([[[4.0], [0.0], [-4.0]]] * 3))
    policy = LinearThompson(epsilon=0.03)
    for _ in range(50):
        policy.update(state, np.array([0, 1, 2]), np.array([1.0, 0.5, 0.0]))
    p = policy.probabilities(state)
    np.testing.assert_allclose(p[0], [0.98, 0.01, 0.01], atol=1e-12)
    action, probability = choose(policy, state, np.array([0.0, 0.985, 0.995]))
    np.testing.assert_array_equal(action, [0, 1, 2])
    np.testing.assert_allclose(probability, [0.98, 0.01, 0.01])


@pytest.mark.parametrize("make", [LinUcb, LinearThompson])
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6))
def test_permuting_the_candidates_permutes_the_probabilities(
    make: type[LinUcb | LinearThompson], seed: int, k: int
) -> None:
    policy = make(seed=seed)
    taught(policy, seed % 1000, batches=1, k=k)
    state = contextual(seed, 10, k)
    order = np.random.default_rng(seed).permutation(k)
    other = plain(
        10,
        k,
        available=state.available[:, order].tolist(),
        content=state.content[:, order],
        context=state.context,
    )
    p = policy.probabilities(state)
    np.testing.assert_allclose(p[:, order], policy.probabilities(other), atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    assert not p[~state.available].any()


def test_the_seed_fixes_the_draws_and_learning_renews_them() -> None:
    state = contextual(3, 20, 4)
    one, same, other = (LinearThompson(seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.probabilities(state), same.probabilities(state))
    assert (one.probabilities(state) != other.probabilities(state)).any()
    nothing = plain(0, 4, content=np.zeros((0, 4, 3)), context=np.zeros((0, 2)))
    before = one.probabilities(state)
    one.update(nothing, np.zeros(0, dtype=np.int64), np.zeros(0))
    assert (one.probabilities(state) != before).any()
    np.testing.assert_allclose(one.probabilities(state), before, atol=0.15)


def test_other_columns_than_learned_are_refused_with_the_cure() -> None:
    policy = LinUcb()
    taught(policy)
    with pytest.raises(PolicyError, match=r"3 content and 2 context columns.*has 5 and 2; reset") as caught:
        policy.probabilities(contextual(0, 2, 2, p=5))
    assert isinstance(caught.value, InputError)
    assert "reset" in caught.value.text("zh")
    policy.reset()
    policy.probabilities(contextual(0, 2, 2, p=5))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="ridge is 0"):
        LinUcb(ridge=0)
    with pytest.raises(UsageError, match="draws is 1;"):
        LinearThompson(draws=1)
