"""The linear models: against least squares written out, fixed points that are known, and what they are fitted for."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import FQE, CascadeDR, ConjunctModel, FittedQ, PerDecisionDR, Steps
from multimodal_dql.evaluation.ope.fitted import folds_of

from .worlds import CLUSTERS, OF_CANDIDATE, OF_CLUSTER, Chain, Slates, embedded

CHAIN = Chain.made()


def chain_log(n: int, T: int, seed: int) -> tuple[np.ndarray, ...]:
    states, actions, rewards, lived = CHAIN.draw(n, T, seed)
    hot, mean = CHAIN.features(states, actions, lived)
    return np.arange(n, dtype=np.uint64), hot, rewards, mean


def test_one_hot_features_by_counting() -> None:
    """With one feature a state and action, no ridge, q is the fixed point of the empirical chain, fold by fold."""
    unit, hot, reward, mean = chain_log(400, 8, 0)
    found = FittedQ(6, discount=0.8, ridge=0.0, folds=3).update(unit, hot, reward, mean).weights()[:, 0]
    fold = folds_of(unit, 3)
    for k in range(3):
        q = np.zeros(6)
        for _ in range(300):  # value iteration over the rows of the other folds, in plain loops of counts
            total, count = np.zeros(6), np.zeros(6)
            f, r, v = hot[fold != k], reward[fold != k], (mean @ q)[fold != k]
            for t in range(8):
                ahead = v[:, t + 1] if t < 7 else np.zeros(len(v))
                at = f[:, t].argmax(1)
                there = f[:, t].any(1)
                np.add.at(total, at[there], (r[:, t] + 0.8 * ahead)[there])
                np.add.at(count, at[there], 1)
            q = total / count
        assert found[k] == pytest.approx(q, abs=1e-9)


def test_iterations_end_at_the_fixed_point() -> None:
    unit, hot, reward, mean = chain_log(300, 8, 1)
    fixed = FittedQ(6, discount=0.8).update(unit, hot, reward, mean).weights()
    near, far = (
        FittedQ(6, discount=0.8, iterations=n).update(unit, hot, reward, mean).weights() for n in (3, 200)
    )
    assert far == pytest.approx(fixed, abs=1e-9)
    assert np.abs(near - fixed).max() > 1e-3


def test_the_fitted_values_are_near_the_true_ones() -> None:
    """20,000 sessions of at most 25 steps (.7^25 = .01 % last longer): q and the value to 3 %."""
    unit, hot, reward, mean = chain_log(20_000, 25, 2)
    model = FittedQ(6, discount=0.9).update(unit, hot, reward, mean)
    truth = CHAIN.q(CHAIN.target, 0.9).ravel()
    assert model.weights()[:, 0] == pytest.approx(np.tile(truth, (5, 1)), rel=0.03)
    shown, direct = model.predict(unit, hot, mean)
    one = np.ones_like(reward)
    value = FQE().update(Steps(unit, reward, one, one, shown, direct)).result()
    assert value.value == pytest.approx(CHAIN.value(CHAIN.target, 0.9), rel=0.02)


def test_cross_fitted_dr_of_sessions() -> None:
    """Within 4 standard errors of the value of the twelve steps that are logged."""
    states, actions, rewards, lived = CHAIN.draw(4000, 12, 3)
    hot, mean = CHAIN.features(states, actions, lived)
    bare = CHAIN.steps(states, actions, rewards, lived, None)
    shown, direct = (
        FittedQ(6, discount=0.9).update(bare.unit, hot, rewards, mean).predict(bare.unit, hot, mean)
    )
    steps = Steps(bare.unit, rewards, bare.propensity, bare.chosen, shown, direct)
    found = PerDecisionDR(0.9).update(steps).result()
    assert abs(found.value - CHAIN.value(CHAIN.target, 0.9, 12)) < 4 * found.standard_error


def test_a_model_of_each_position() -> None:
    """Slates with one feature for every item below every other: each position's q is met as rows grow."""
    world = Slates.made()
    _, above, items = world.draw(30_000, 0)
    steps, _, _ = world.draw(30_000, 0)
    at = np.eye(4)
    features = at[above * 2 + items]
    mean = sum(world.target[np.arange(3), above, b][..., None] * at[above * 2 + b] for b in (0, 1))
    model = FittedQ(4, steps=3).update(steps.unit, features, steps.reward, mean)
    q = world.q(world.target).reshape(3, 4)
    seen = np.ones((3, 4), bool)
    seen[0, 2:] = False  # nothing stands above the first position
    # About 24,000 rows over 4 cells: a standard error of at most .02.
    assert np.abs(model.weights() - q)[:, seen].max() < 0.08
    shown, direct = model.predict(steps.unit, features, mean)
    full = Steps(steps.unit, steps.reward, steps.propensity, steps.chosen, shown, direct)
    found = CascadeDR().update(full).result()
    assert abs(found.value - world.value(world.target)) < 4 * found.standard_error


def test_conjunct_model_as_pairs_and_means() -> None:
    """h is least squares over all pairs of rows of a cluster, each divided by the cluster's rows; g by hand."""
    rng = np.random.default_rng(0)
    n, C = 60, 3
    unit = np.arange(n, dtype=np.uint64)
    f, c, r = rng.normal(size=(n, 2)), rng.integers(0, C, n), rng.random(n)
    h, g = ConjunctModel(2, C, ridge=0.5, prior=4.0, folds=2).update(unit, f, c, r).fitted()
    fold = folds_of(unit, 2)
    for k in (0, 1):
        rows = np.flatnonzero(fold != k)
        gram, goal = 0.5 * np.eye(2), np.zeros(2)
        for of in range(C):
            own = [i for i in rows if c[i] == of]
            for i in own:
                for j in own:
                    gram += np.outer(f[i] - f[j], f[i] - f[j]) / (2 * len(own))
                    goal += (f[i] - f[j]) * (r[i] - r[j]) / (2 * len(own))
        by_pairs = np.linalg.solve(gram, goal)
        assert h[k] == pytest.approx(by_pairs, abs=1e-10)
        left = r - f @ by_pairs
        for of in range(C):
            own = [i for i in rows if c[i] == of]
            shrunk = (left[own].sum() + 4 * left[rows].mean()) / (len(own) + 4)
            assert g[k, of] == pytest.approx(shrunk, abs=1e-10)


def test_conjunct_model_learns_the_own_effect() -> None:
    """With the candidates' own effect as the feature, h is 1 to 4 standard errors of .3 / (.19 sqrt(6,400))."""
    d, _ = embedded(8000, 0, 1.0, np.zeros(24))
    features = OF_CANDIDATE[:, None]
    model = ConjunctModel(1, 6).update(d.unit, features[d.action], CLUSTERS[d.action], d.reward)
    h, g = model.fitted()
    assert h == pytest.approx(np.ones((5, 1)), abs=4 * 0.3 / (0.15 * 80))
    assert g == pytest.approx(np.tile(OF_CLUSTER, (5, 1)), abs=0.08)
    predicted = model.predict(d.unit, np.tile(features, (8000, 1, 1)), np.tile(CLUSTERS, (8000, 1)))
    assert predicted == pytest.approx(
        h[folds_of(d.unit, 5)] * OF_CANDIDATE + g[folds_of(d.unit, 5)][:, CLUSTERS]
    )


def test_models_merge() -> None:
    unit, hot, reward, mean = chain_log(200, 5, 4)
    whole = FittedQ(6, discount=0.9).update(unit, hot, reward, mean)
    half = FittedQ(6, discount=0.9).update(unit[:70], hot[:70], reward[:70], mean[:70])
    half.merge(FittedQ(6, discount=0.9).update(unit[70:], hot[70:], reward[70:], mean[70:]))
    assert half.weights() == pytest.approx(whole.weights(), rel=1e-10)
    d, _ = embedded(300, 1, 1.0, np.zeros(24))
    f, c = OF_CANDIDATE[d.action, None], CLUSTERS[d.action]
    one = ConjunctModel(1, 6).update(d.unit, f, c, d.reward)
    two = ConjunctModel(1, 6).update(d.unit[:99], f[:99], c[:99], d.reward[:99])
    two.merge(ConjunctModel(1, 6).update(d.unit[99:], f[99:], c[99:], d.reward[99:]))
    for found, known in zip(two.fitted(), one.fitted(), strict=True):
        assert found == pytest.approx(known, rel=1e-10)


def test_a_unit_does_not_see_itself() -> None:
    """Its own rewards change the predictions of others only."""
    unit, hot, reward, mean = chain_log(100, 5, 5)
    before, _ = FittedQ(6).update(unit, hot, reward, mean).predict(unit, hot, mean)
    reward[7] += 5
    after, _ = FittedQ(6).update(unit, hot, reward, mean).predict(unit, hot, mean)
    fold = folds_of(unit, 5)
    same = (before == after).all(1)
    assert same[fold == fold[7]].all()
    assert not same[fold != fold[7]].any()


def test_folds_are_even_whatever_the_keys() -> None:
    """Keys that are all multiples of five: 200 of 1,000 in each fold, standard deviation 12.6."""
    count = np.bincount(folds_of(5 * np.arange(1000, dtype=np.uint64), 5), minlength=5)
    assert np.abs(count - 200).max() < 64


def test_refusals() -> None:
    unit, hot, reward, mean = chain_log(20, 5, 6)
    with pytest.raises(UsageError, match="ridge"):
        FittedQ(6, ridge=0.0).update(unit, hot * 0, reward, mean).weights()
    with pytest.raises(UsageError, match="shape"):
        FittedQ(6, steps=4).update(unit, hot, reward, mean)
    with pytest.raises(UsageError, match="not both"):
        FittedQ(6, steps=4, iterations=3)
    with pytest.raises(UsageError, match="folds"):
        FittedQ(6, folds=1)
    with pytest.raises(UsageError, match="merged"):
        FittedQ(6).merge(FittedQ(6, discount=0.5))
    with pytest.raises(UsageError, match="ridge"):
        ConjunctModel(2, 3, ridge=0.0).update(
            unit, np.ones((20, 2)), np.zeros(20, int), reward[:, 0]
        ).fitted()
