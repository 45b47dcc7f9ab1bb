"""The Gaussian posterior against hand-worked numbers, dense algebra and a general optimiser."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.exploration.posterior import (
    BIAS_PRECISION,
    NOISE_ROWS,
    Observations,
    Posterior,
    PosteriorConfig,
    _cholesky,
    expected_reward,
    log_likelihood,
)

BLOCKS = {"bias": slice(0, 1), "context": slice(1, 3), "content": slice(3, 6)}
PRECISION = {"context": 1.0, "content": 2.0, "own": 4.0}
DIAGONAL = np.array([BIAS_PRECISION, 1.0, 1.0, 2.0, 2.0, 2.0])


def rng_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 5]))


def filled(x: Any, own: Any, reward: Any, blocks: dict[str, slice], config: PosteriorConfig) -> Posterior:
    """A posterior that has not learned yet, its rows in the store."""
    x = np.asarray(x, np.float32)
    rows = Observations(x.shape[1], 100_000)
    for values in zip(x, own, reward, strict=True):
        rows.append(*values)
    out = Posterior(rows, blocks, 0, config, rng_of(1))
    out.grow(int(np.max(own)) + 1)
    return out


def example(n: int, link: str, seed: int = 0) -> tuple[Any, Any, Any]:
    """Rows (n, 6), four candidates, of which number 2 is never shown, rewards."""
    rng = rng_of(seed)
    x = np.concatenate([np.ones((n, 1)), rng.standard_normal((n, 5))], axis=1).astype(np.float32)
    own = rng.choice([0, 1, 3], n)
    z = x @ [-0.5, 0.4, 0.0, 1.0, -1.0, 0.3] + np.array([0.5, -0.5, 0.0, 0.2])[own]
    if link == "identity":
        return x, own, z + rng.standard_normal(n)
    return x, own, (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)


def dense(x: Any, own: Any, weight: Any, candidates: int, prior: Any) -> tuple[Any, Any]:
    """Rows with explicit indicators (n, F + N), and the full precision (F + N, F + N)."""
    both = np.concatenate([x.astype(float), np.eye(candidates)[own]], axis=1)
    return both, (both.T * weight) @ both + np.diag(prior)


PRIOR = np.concatenate([DIAGONAL, np.full(4, PRECISION["own"])])


def test_two_rewards_of_one_candidate_by_hand() -> None:
    """Rewards 2 and 4 with noise 1. Precision of (intercept, own): [[2.1, 2], [2, 22]], moment (6, 6), determinant
    42.2: intercept (6 x 22 - 2 x 6) / 42.2, own effect (2.1 x 6 - 2 x 6) / 42.2."""
    config = PosteriorConfig(link="identity", precision={"own": 20.0})
    found = filled([[1.0], [1.0]], [0, 0], [2.0, 4.0], {"bias": slice(0, 1)}, config)
    found.refit()
    assert found.mean == pytest.approx([120 / 42.2])
    assert found.own_mean == pytest.approx([0.6 / 42.2])
    assert found.score(np.ones((2, 1), np.float32), [0, -1]) == pytest.approx([120.6 / 42.2, 120 / 42.2])


def test_the_noise_by_hand() -> None:
    """What is left of the rewards, with ten rows at their mean square, 10, over the rows that are free."""
    config = PosteriorConfig(link="identity", precision={"own": 20.0})
    found = filled([[1.0], [1.0]], [0, 0], [2.0, 4.0], {"bias": slice(0, 1)}, config)
    found.refit()
    left = np.array([2.0, 4.0]) - 120.6 / 42.2
    # Variance of the own effect 2.1 / 42.2, so it is determined by the data to 1 - 20 x 2.1 / 42.2.
    free = 2 - 1 - (1 - 20 * 2.1 / 42.2)
    assert found.noise == pytest.approx((left @ left + NOISE_ROWS * 10.0) / (free + NOISE_ROWS))


def test_one_click_by_hand() -> None:
    """One Newton step from a base rate of 1/2: weight 1/4, error 1/2; [[.35, .25], [.25, 20.25]] d = (1/2, 1/2)."""
    config = PosteriorConfig(base_rate=0.5, newton_steps=1, precision={"own": 20.0})
    found = filled([[1.0]], [0], [1.0], {"bias": slice(0, 1)}, config)
    found.refit()
    determinant = 0.35 * 20.25 - 0.25**2
    assert found.mean == pytest.approx([10.0 / determinant])
    assert found.own_mean == pytest.approx([0.05 / determinant])


def test_the_evidence_step_by_hand() -> None:
    """One column of content, x = 1, reward 3, noise 1, precision 1 beside an intercept: then MacKay's formula.

    Precision of (intercept, content, own): [[1.1, 1, 1], [1, 2, 1], [1, 1, 21]]; own effects held at 20.
    """
    config = PosteriorConfig(link="identity", precision={"content": 1.0, "own": 20.0}, pseudo_weights=1.0)
    blocks = {"bias": slice(0, 1), "content": slice(1, 2)}
    found = filled([[1.0, 1.0]], [0], [3.0], blocks, config)
    found.refit()
    covariance = np.linalg.inv([[1.1, 1, 1], [1, 2, 1], [1, 1, 21]])
    mean = covariance @ [3.0, 3.0, 3.0]
    gamma = 1 - covariance[1, 1]
    assert found.precision["content"] == pytest.approx((gamma + 1) / (mean[1] ** 2 + 9.0), rel=1e-5)
    gamma = 1 - 20 * covariance[2, 2]
    assert found.precision["own"] == pytest.approx((gamma + 1) / (mean[2] ** 2 + 9.0 / 20), rel=1e-5)


def test_identity_link_is_the_exact_ridge_posterior() -> None:
    x, own, reward = example(300, "identity")
    found = filled(x, own, reward, BLOCKS, PosteriorConfig(link="identity", precision=PRECISION))
    found.refit()
    both, precision = dense(x, own, np.ones(300), 4, PRIOR)
    mean = np.linalg.solve(precision, both.T @ reward)
    assert np.concatenate([found.mean, found.own_mean]) == pytest.approx(mean, abs=2e-5)
    assert found.own_mean[2] == 0.0


def test_eliminated_own_effects_are_those_of_the_full_matrix() -> None:
    """Any gradient, precisions and noise as the evidence left them; rows in single precision."""
    x, own, reward = example(200, "identity", 3)
    found = filled(x, own, reward, BLOCKS, PosteriorConfig(link="identity", precision=PRECISION))
    found.refit()
    prior = np.concatenate([found._diagonal(), np.full(4, found.precision["own"])])
    _, precision = dense(x, own, np.full(200, 1 / found.noise), 4, prior)
    gradient = rng_of(4).standard_normal(10)
    step = np.concatenate(found._solve(gradient[:6], gradient[6:]))
    assert step == pytest.approx(np.linalg.solve(precision, gradient), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("start", [0.05, 0.5])
def test_logistic_link_finds_the_mode(start: float) -> None:
    """Thirty Newton steps against a general optimiser on the dense problem."""
    from scipy.optimize import minimize

    x, own, reward = example(150, "logistic")
    config = PosteriorConfig(precision=PRECISION, newton_steps=30, base_rate=start)
    found = filled(x, own, reward, BLOCKS, config)
    found.refit()
    both, _ = dense(x, own, np.ones(150), 4, PRIOR)
    centre = np.zeros(10)
    centre[0] = math.log(start / (1 - start))

    def loss(w: Any) -> tuple[float, Any]:
        z = both @ w
        slope = both.T @ (1 / (1 + np.exp(-z)) - reward) + PRIOR * (w - centre)
        return float(np.sum(np.logaddexp(0, z) - reward * z) + 0.5 * PRIOR @ (w - centre) ** 2), slope

    mode = minimize(loss, centre, jac=True, method="BFGS", options={"gtol": 1e-7}).x
    assert np.concatenate([found.mean, found.own_mean]) == pytest.approx(mode, abs=1e-4)


def test_batches_add_up_to_all_rows_at_once() -> None:
    """Identity link, no refit in between: 12 batches of 25."""
    x, own, reward = example(300, "identity", 5)
    config = PosteriorConfig(link="identity", precision=PRECISION, batch=25, first_batch=25)
    at_once = filled(x, own, reward, BLOCKS, config)
    at_once.refit()
    rows = Observations(6, 1000)
    bit_by_bit = Posterior(rows, BLOCKS, 0, config, rng_of(1))
    bit_by_bit.grow(4)
    bit_by_bit._next_refit = 10**9
    learned = []
    for values in zip(x, own, reward, strict=True):
        rows.append(*values)
        learned.append(bit_by_bit.advance())
    assert np.flatnonzero(learned).tolist() == list(range(24, 300, 25))
    assert bit_by_bit.mean == pytest.approx(at_once.mean, abs=2e-5)
    assert bit_by_bit.own_mean == pytest.approx(at_once.own_mean, abs=2e-5)


def test_batches_grow_with_an_eighth_of_the_rows() -> None:
    """Eight by eight up to 64; the next would be full at 72, but 72 / 8 is 9: at 73. At 32 they stop growing."""
    found = Posterior(Observations(6, 1000), BLOCKS, 0, PosteriorConfig(precision=PRECISION), rng_of(1))
    found.grow(4)
    found._next_refit = 10**9
    steps = []
    for values in zip(*example(600, "logistic"), strict=True):
        found.rows.append(*values)
        if found.advance():
            steps.append(found.rows.total)
    assert steps[:9] == [8, 16, 24, 32, 40, 48, 56, 64, 73]
    gaps = np.diff(steps)
    assert (np.diff(gaps) >= 0).all()
    assert gaps[-5:].tolist() == [32] * 5


@pytest.mark.parametrize("link", ["identity", "logistic"])
def test_the_order_of_rows_does_not_matter(link: Any) -> None:
    x, own, reward = example(200, link, 6)
    order = rng_of(7).permutation(200)
    config = PosteriorConfig(link=link, precision=PRECISION)
    one = filled(x, own, reward, BLOCKS, config)
    other = filled(x[order], own[order], reward[order], BLOCKS, config)
    for posterior in (one, other):
        posterior.refit()
    assert other.mean == pytest.approx(one.mean, abs=1e-4)
    assert other.own_mean == pytest.approx(one.own_mean, abs=1e-4)
    assert dict(other.precision) == pytest.approx(dict(one.precision), rel=1e-3)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_moments_of_the_samples(scale: float) -> None:
    """40,000 samples of 10 numbers: means within 5 standard errors, covariances within 5 (their standard error is at
    most ``sqrt(2) sd_i sd_j / 200``). 65 comparisons at 6e-7 each: a false alarm in 25,000 runs."""
    x, own, reward = example(120, "identity", 8)
    config = PosteriorConfig(link="identity", precision=PRECISION, samples=40_000, scale=scale)
    found = filled(x, own, reward, BLOCKS, config)
    found.refit()
    prior = np.concatenate([found._diagonal(), np.full(4, found.precision["own"])])
    _, precision = dense(x, own, np.full(120, 1 / found.noise), 4, prior)
    covariance = scale**2 * np.linalg.inv(precision)
    sd = np.sqrt(np.diag(covariance))
    drawn = np.concatenate([found.weights, found.effects]).astype(float)
    mean = np.concatenate([found.mean, found.own_mean])
    assert np.all(np.abs(drawn.mean(axis=1) - mean) < 5 * sd / 200)
    assert np.all(np.abs(np.cov(drawn) - covariance) < 5 * math.sqrt(2) * np.outer(sd, sd) / 200)


def planted(seed: int) -> Posterior:
    """Three blocks of 40 columns with weights of sd .5, 2 and 0; 1,500 rewards with noise 1; the fixed point.

    The initial precisions count as a millionth of a weight, so that only the evidence speaks.
    """
    rng = rng_of(100 + seed)
    blocks = {
        "bias": slice(0, 1),
        "context": slice(1, 41),
        "content": slice(41, 81),
        "hidden": slice(81, 121),
    }
    w = np.concatenate([[0.3], *(sd * rng.standard_normal(40) for sd in (0.5, 2.0, 0.0))])
    x = np.concatenate([np.ones((1500, 1)), rng.standard_normal((1500, 120))], axis=1).astype(np.float32)
    start = {"context": 1.0, "content": 1.0, "hidden": 1.0, "own": 20.0}
    config = PosteriorConfig(link="identity", precision=start, samples=1, pseudo_weights=1e-6)
    found = filled(x, rng.integers(0, 5, 1500), x @ w + rng.standard_normal(1500), blocks, config)
    for _ in range(8):
        found.refit()
    return found


@pytest.mark.slow
def test_evidence_recovers_planted_scales_and_lets_the_useless_fade() -> None:
    """Ten worlds. The log of a precision estimated from 40 weights is off by .22 (one standard deviation), that of
    the mean of ten by .07; tolerance .3, two scales: a false alarm in 25,000 runs. A useless block ends 50 times as
    precise as the small one, and its weights near 0; ten pseudo-rows at the mean square of the rewards (170) add 1.2
    to the noise."""
    found = [planted(seed) for seed in range(10)]
    for name, sd in (("context", 0.5), ("content", 2.0)):
        logs = [math.log(p.precision[name] * sd**2) for p in found]
        assert abs(np.mean(logs)) < 0.3
    for p in found:
        assert p.precision["hidden"] > 50 * p.precision["context"]
        assert np.abs(p.mean[p.blocks["hidden"]]).max() < 0.1
        extra = NOISE_ROWS * p._unit / (1500 - 80 + NOISE_ROWS)
        assert 0.8 < p.noise - extra < 1.2


def test_a_fading_block_of_clicks_stops_mattering() -> None:
    """Clicks: from the precision of a relevant block, .6, a useless one of 30 columns rises by more than ten times
    while the relevant stays within three. Twenty worlds of 3,000 clicks, none may fail: the pull on the useless is
    ``31 / (|m|^2 + 1 / .6)`` with |m|^2 about .15, 17; its spread is far less than the margin."""
    for seed in range(20):
        rng = rng_of(200 + seed)
        blocks = {"bias": slice(0, 1), "content": slice(1, 31), "hidden": slice(31, 61)}
        x = np.concatenate([np.ones((3000, 1)), rng.standard_normal((3000, 60))], axis=1).astype(np.float32)
        w = np.concatenate([[0.0], 0.3 * rng.standard_normal(30), np.zeros(30)])
        clicks = (rng.random(3000) < 1 / (1 + np.exp(-(x @ w)))).astype(float)
        start = {"content": 0.6, "hidden": 0.6, "own": 20.0}
        config = PosteriorConfig(base_rate=0.5, precision=start, samples=1)
        found = filled(x, np.zeros(3000, np.int64), clicks, blocks, config)
        for _ in range(4):
            found.refit()
        assert found.precision["hidden"] > 10 * 0.6
        assert found.precision["hidden"] > 1.5 * found.precision["content"]


def test_noise_of_a_learned_policy_does_not_collapse() -> None:
    """200 noisy rewards, then 2,000 of a candidate that always earns 5: the noise keeps a quarter of its peak."""
    rng = rng_of(9)
    x = np.ones((2200, 2), np.float32)
    x[:200, 1] = 0
    reward = np.concatenate([10 * rng.standard_normal(200), np.full(2000, 5.0)])
    config = PosteriorConfig(link="identity", precision={"content": 1.0, "own": 20.0})
    blocks = {"bias": slice(0, 1), "content": slice(1, 2)}
    rows = Observations(2, 5000)
    found = Posterior(rows, blocks, 0, config, rng_of(1))
    found.grow(1)
    peak = 0.0
    for features, value in zip(x, reward, strict=True):
        rows.append(features, 0, value)
        found.advance()
        peak = max(peak, found.noise)
    assert peak > 60.0
    # All rows together have a variance of about 10; a plain estimate would end there.
    assert found.noise == pytest.approx(peak / 4)


def test_links_and_likelihoods_by_hand() -> None:
    assert expected_reward(0.0, "logistic") == 0.5
    assert expected_reward(math.log(3), "logistic") == pytest.approx(0.75)
    assert expected_reward(-7.0, "identity") == -7.0
    assert log_likelihood(1.0, 0.25, 1.0, "logistic") == pytest.approx(math.log(0.25))
    assert log_likelihood(0.0, 0.25, 1.0, "logistic") == pytest.approx(math.log(0.75))
    # Two standard deviations of 3 off: -(4 + log(2 pi 9)) / 2.
    assert log_likelihood(7.0, 1.0, 9.0, "identity") == pytest.approx(-(4 + math.log(18 * math.pi)) / 2)
    assert math.isfinite(log_likelihood(0.0, expected_reward(1e9, "logistic"), 1.0, "logistic"))


def test_a_candidate_never_shown_is_its_prior() -> None:
    """20,000 samples with sd ``1 / sqrt(4)``: their standard error is .0025, 5 of them allowed."""
    config = PosteriorConfig(link="identity", precision=PRECISION, samples=20_000)
    found = filled(*example(50, "identity"), BLOCKS, config)
    assert found.effects[2].std() == pytest.approx(0.5, abs=0.0125)
    found.grow(2)
    assert found.effects.shape == (4, 20_000)


def test_all_zero_features_teach_nothing_but_the_own_effect() -> None:
    config = PosteriorConfig(link="identity", precision=PRECISION)
    found = filled(np.zeros((80, 6)), np.zeros(80, np.int64), np.full(80, 2.0), BLOCKS, config)
    found.refit()
    assert not found.mean.any()
    assert found.own_mean == pytest.approx([80 * 2.0 / 84.0])
    assert np.isfinite(found.weights).all()
    assert all(value > 0 for value in found.precision.values())


def test_no_row_at_all_is_the_prior() -> None:
    found = Posterior(Observations(6, 100), BLOCKS, 0, PosteriorConfig(precision=PRECISION), rng_of(1))
    found.refit()
    assert found.mean[0] == pytest.approx(math.log(0.05 / 0.95))
    assert not found.mean[1:].any()
    assert found.effects.shape == (0, 64)


def test_what_rounding_made_indefinite_is_cured() -> None:
    flat = np.ones((3, 3))
    lower = _cholesky(flat - 1e-9 * np.eye(3))
    assert lower @ lower.T == pytest.approx(flat, abs=1e-6)
    with pytest.raises(FloatingPointError, match="positive definite"):
        _cholesky(np.diag([1.0, -5.0, 1.0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"batch": 0},
        {"first_batch": 0},
        {"newton_steps": 0},
        {"growth": 0.9},
        {"scale": -0.1},
        {"scale": math.nan},
        {"base_rate": 0.0},
        {"base_rate": 1.0},
        {"pseudo_weights": 0.0},
        {"precision": {"content": 0.0, "own": 1.0}},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="posterior: ") as told:
        PosteriorConfig(**wrong)
    assert "后验" in told.value.text("zh")


def test_clicks_are_sampled_narrower_than_other_rewards() -> None:
    assert PosteriorConfig().spread == 0.1
    assert PosteriorConfig(link="identity").spread == 1.0
    assert PosteriorConfig(scale=0.0).spread == 0.0


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 40),
    number=st.integers(0, 150),
    start=st.integers(0, 160),
    width=st.integers(0, 60),
)
def test_the_row_store_is_a_list_that_forgets_its_oldest_quarter(
    capacity: int, number: int, start: int, width: int
) -> None:
    store = Observations(2, capacity)
    kept: list[int] = []
    for i in range(number):
        if len(kept) == capacity:
            kept = kept[max(capacity // 4, 1) :]
        kept.append(i)
        store.append(np.array([i, -i], np.float32), i % 7, i / 2)
    assert (store.total, store.kept, store.dropped) == (number, len(kept), number - len(kept))
    assert store.x[: store.kept].tolist() == [[i, -i] for i in kept]
    assert store.own[: store.kept].tolist() == [i % 7 for i in kept]
    assert store.reward[: store.kept].tolist() == [i / 2 for i in kept]
    start = min(start, number)
    stop = min(start + width, number)
    assert store.reward[store.rows(start, stop)].tolist() == [i / 2 for i in kept if start <= i < stop]
    assert store.reward[store.rows(start)].tolist() == [i / 2 for i in kept if i >= start]
    assert len(store.x) <= capacity


def test_the_row_store_grows_past_its_first_kilorow() -> None:
    store = Observations(1, 5000)
    for i in range(3000):
        store.append(np.array([i], np.float32), i, float(i))
    assert store.kept == 3000
    assert len(store.x) == 4096
    assert (store.x[:3000, 0] == np.arange(3000)).all()


def test_left_out_score_by_hand() -> None:
    """Shown once with reward 3, noise 1, own precision 2: the effect is 1 with the row, 0 without it.

    Two more rows of another candidate, rewards 2 and 4, bias and features without weight: with both the effect is
    6 / 4, without the row of reward 2 it is 4 / 3.
    """
    rows = Observations(2, 100)
    posterior = Posterior(
        rows, {"bias": slice(0, 1), "content": slice(1, 2)}, 0, PosteriorConfig(link="identity"), rng_of(0)
    )
    posterior.grow(2)
    for own, reward in ((0, 3.0), (1, 2.0), (1, 4.0)):
        rows.append(np.zeros(2, np.float32), own, reward)
    posterior.mean[:] = 0.0
    posterior.noise, posterior.own_mean = 1.0, np.array([1.0, 1.5])
    posterior.precision["own"], posterior._own_weight = 2.0, np.array([1.0, 2.0])
    found = posterior.score_left_out(rows.x[:3], slice(0, 3))
    assert found == pytest.approx([0.0, 4 / 3, 2 / 3])
