"""The reference tables: the draws, the tuning rule, and the published figures."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.bench.ope_draws import (
    bts_distribution,
    cross_fitted,
    digits_log,
    logistic,
    open_bandit_log,
    read_bts_prior,
    synthetic_log,
)
from multimodal_dql.bench.ope_reference import (
    ESTIMATORS,
    PUBLISHED,
    bench_ope_reference,
    relative_errors,
    slope_plus,
)
from multimodal_dql.datasets.open_bandit import read_open_bandit
from multimodal_dql.errors import EventsError

PRIOR = "all:\n  alpha:\n    - 2.0\n    - 3.5\n  beta:\n    - 10.0\n    - 4\nmen:\n  alpha:\n    - 1.0\n"


def test_prior_of_a_campaign(tmp_path: Path) -> None:
    path = tmp_path / "prior.yaml"
    path.write_text(PRIOR)
    alpha, beta = read_bts_prior(path, "all")
    assert (alpha.tolist(), beta.tolist()) == ([2.0, 3.5], [10.0, 4.0])


@pytest.mark.parametrize(
    ("text", "campaign"),
    [
        (PRIOR, "men"),  # no beta
        (PRIOR, "women"),
        (PRIOR.replace("3.5", "x"), "all"),
        (PRIOR.replace("3.5", "-3.5"), "all"),
        (PRIOR.replace("    - 3.5\n", ""), "all"),  # fewer alphas than betas
        ("- 1\n", "all"),
        (None, "all"),
    ],
)
def test_a_wrong_prior_is_refused(tmp_path: Path, text: str | None, campaign: str) -> None:
    path = tmp_path / "prior.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EventsError, match=r"prior\.yaml.*obp") as refused:
        read_bts_prior(path, campaign)
    assert refused.value.text("zh") != str(refused.value)


def test_thompson_screens_one_by_one() -> None:
    """The same as drawing a screen at a time, an item at a time, and sorting it."""
    alpha, beta = np.array([5.0, 1.0, 3.0, 2.0]), np.array([20.0, 3.0, 9.0, 11.0])
    rng = np.random.RandomState(7)
    counts = np.zeros((4, 2))
    for _ in range(500):
        rates = [rng.beta(a, b) for a, b in zip(alpha, beta, strict=True)]
        first, second = sorted(range(4), key=lambda k: -rates[k])[:2]
        counts[first, 0] += 1
        counts[second, 1] += 1
    found = bts_distribution(alpha, beta, positions=2, draws=500, seed=7)
    assert (found == counts / 500).all()


def test_thompson_two_items_by_symmetry() -> None:
    """Equal priors: each comes first half the time; 40,000 screens have a standard error of .0025."""
    found = bts_distribution(np.ones(2), np.ones(2), positions=2, draws=40_000)
    assert found.sum(0) == pytest.approx([1, 1])
    assert found == pytest.approx(np.full((2, 2), 0.5), abs=0.01)


def test_predictions_come_from_models_that_have_not_seen_the_row() -> None:
    """Changing one row's reward changes predictions of other folds only, and of its position only."""
    rng = np.random.default_rng(0)
    context, features = rng.normal(size=(240, 2)), np.eye(3)
    action, reward = rng.integers(0, 3, 240), (rng.random(240) < 0.4).astype(float)
    position = np.arange(240) % 2
    before = cross_fitted(context, features, action, reward, position)
    other = reward.copy()
    other[10] = 1 - other[10]
    moved = (np.abs(cross_fitted(context, features, action, other, position) - before) > 1e-9).any(1)
    assert not moved[10]
    assert not moved[position == 1].any()
    # Its fold is a third of the rows of its position, about 40 of 120.
    assert 60 < moved.sum() < 100


def test_a_prediction_is_the_models_own() -> None:
    """One position, any action: the sum of two products equals what the fitted model says of the whole row."""
    log = np.random.default_rng(1)
    context, features = log.normal(size=(90, 2)), log.normal(size=(3, 2))
    action, reward = log.integers(0, 3, 90), (log.random(90) < 0.5).astype(float)
    found = cross_fitted(context, features, action, reward)
    order = np.random.RandomState(12345).permutation(90)
    test = np.sort(order[:30])
    train = np.sort(order[30:])
    model = logistic().fit(np.c_[context[train], features[action[train]]], reward[train])
    for a in range(3):
        rows = np.c_[context[test], np.tile(features[a], (30, 1))]
        assert found[test, a] == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-12)


def test_slope_by_hand() -> None:
    """Four rows. The wide column has mean 0 and half width t(.95, 3) sqrt(1 / 3) = 2.3534 / 1.7321 = 1.3587.

    A column without spread is kept while its mean is within (sqrt(6) - 1) 1.3587 = 1.9695 of that.
    """
    wide, near, far = [-1.0, 1.0, -1.0, 1.0], [1.96] * 4, [1.98] * 4
    assert slope_plus(np.array([near, wide]).T) == 0
    assert slope_plus(np.array([far, wide]).T) == 1
    # The first that fails ends it, however good the next one is.
    small = [1.9801, 1.9799, 1.9801, 1.9799]
    assert slope_plus(np.array([near, small, wide]).T) == 2


def test_the_synthetic_world_says_its_truth() -> None:
    """The target's value is that of its own expected rewards, which IPS finds within its error."""
    log = synthetic_log(0, rows=2000, actions=5, width=2)
    assert log.target.sum(1) == pytest.approx(np.ones(2000))
    w = log.target[np.arange(2000), log.action] / log.propensity
    terms = w * log.reward
    assert abs(terms.mean() - log.truth) < 4 * terms.std() / math.sqrt(2000)
    # Positive rewards are worth more under beta < 0: the log prefers what earns less.
    assert log.truth > log.reward.mean()


def test_first_synthetic_run_as_published() -> None:
    """One of the twenty runs, with the figures that the whole table came out right with."""
    found = relative_errors(synthetic_log(0))
    assert list(found) == list(ESTIMATORS)
    known = (0.095505, 0.006392, 0.001448, 0.002713, 0.003435, 0.002713)
    for name, value in zip(ESTIMATORS, known, strict=False):
        assert found[name] == pytest.approx(value, abs=2e-5)


@pytest.mark.slow
def test_synthetic_table(tmp_path: Path) -> None:
    found = bench_ope_reference(tmp_path, tables=["synthetic"])
    assert {n: round(v, 4) for n, v in found["synthetic"].items()} == {
        n: round(v, 4) for n, v in PUBLISHED["synthetic"].items()
    }
    assert all(abs(of) < 2e-5 for of in found["difference"]["synthetic"].values())


@pytest.mark.slow
def test_digits_come_near() -> None:
    """Two runs; where the multinomial fits stop moves single guesses, so the table is met to a thousandth only."""
    errors = [relative_errors(digits_log(run)) for run in (0, 1)]
    mean = {name: np.mean([e[name] for e in errors]) for name in ESTIMATORS}
    # Standard deviation of a run of the direct method as published: .0176.
    assert mean["dm"] == pytest.approx(PUBLISHED["digits"]["dm"], abs=4 * 0.0176 / math.sqrt(2))
    assert mean["dr"] < 0.1


@pytest.mark.realdata
def test_first_open_bandit_run() -> None:
    """The self-normalised error of the first resample is the one that obp 0.5.7 gives, .155954."""
    data = Path(os.environ["MULTIMODAL_DQL_DATA"]) / "open_bandit"
    logged = read_open_bandit(data / "random" / "all")
    truth = read_open_bandit(data / "bts" / "all").reward.mean()
    alpha, beta = read_bts_prior(data / "prior_bts.yaml", "all")
    distribution = bts_distribution(alpha, beta, positions=3, draws=20_000)
    log = open_bandit_log(logged, distribution, truth, 0)
    assert truth == pytest.approx(0.0042)
    assert log.reward.sum() == logged.reward[np.random.RandomState(0).choice(10_000, 10_000)].sum()
    assert log.target.sum(1) == pytest.approx(np.ones(10_000))
    found = relative_errors(log)
    # With 20,000 screens in place of a million the target's probabilities are within .004 (about .5 %).
    assert found["snipw"] == pytest.approx(0.155954, abs=0.03)


@pytest.mark.realdata
@pytest.mark.slow
def test_open_bandit_table() -> None:
    data = Path(os.environ["MULTIMODAL_DQL_DATA"]) / "open_bandit"
    found = bench_ope_reference(data, tables=["open_bandit"])
    assert {n: round(v, 4) for n, v in found["open_bandit"].items()} == {
        n: round(v, 4) for n, v in PUBLISHED["open_bandit"].items()
    }
