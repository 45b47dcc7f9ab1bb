"""The Bayesian last layer: posteriors by hand, calibrated where it is right, blind to what it must not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal_dql.belief import correct_by_record, probability_best
from multimodal_dql.last_layer import LEVELS, LastLayer, Regression, Rows, centred, fit_regression

Float = NDArray[np.float64]


def test_posterior_by_hand() -> None:
    """One story, two variants: features -1 and 1 about their mean, worth -.5 and .5; one row is left.

    Precision 2 + .01, mean (1 + .01 * 1) / 2.01. The noise is expected to be half of the .5 there are to explain, .25
    with shape 1; the row adds .5 to the shape and half of .5 + .01 - 2.01 mean^2 to the scale.
    """
    found = fit_regression(Rows(np.array([[0.0], [2.0]]), np.array([3.0, 4.0]), np.array([7, 7])))
    mean = 1.01 / 2.01
    assert found.mean[0, 0] == pytest.approx(mean)
    assert found.root[0, 0, 0] ** 2 == pytest.approx(1 / 2.01)
    assert found.shape[0] == 1.5
    assert found.scale[0] == pytest.approx(0.25 + 0.5 * (0.51 - 2.01 * mean**2))
    # Two siblings 4 apart are predicted 4 means apart; the errors of -2 and 2 times w are opposite.
    available = np.array([[True, True, False]])
    x = np.array([[[1.0], [5.0], [99.0]]])
    value, unit = found.predict(np.array([0]), x, available)
    np.testing.assert_allclose(value, [[-2 * mean, 2 * mean, 0.0]])
    weight = 4 / 2.01
    np.testing.assert_allclose(unit[0], [[weight + 1, -weight, 0], [-weight, weight + 1, 0], [0, 0, 0]])


def test_levels_of_noise_by_hand() -> None:
    """With shape 1 the noise is below x with probability exp(-scale / x)."""
    one = Regression(np.zeros((1, 1)), np.ones((1, 1, 1)), np.array([1.0]), np.array([2.0]))
    middle = (np.arange(LEVELS) + 0.5) / LEVELS
    np.testing.assert_allclose(one.levels()[:, 0], 2.0 / -np.log(middle))


def draw(seed: int, stories: int, signal: float = 0.3) -> tuple[Float, Float]:
    """Score, six columns that matter and six that do not, (stories, 4, 13), and worth (stories, 4)."""
    rng = np.random.default_rng(seed)
    w = np.concatenate([[0.6], np.random.default_rng(1000 + seed % 7).normal(0, signal, 6), np.zeros(6)])
    x = rng.standard_normal((stories, 4, 13))
    return x, x @ w + rng.normal(0, 0.3, (stories, 4)) + rng.normal(0, 1, (stories, 1))


def rows_of(x: Float, y: Float) -> Rows:
    story = np.repeat(np.arange(len(y)), y.shape[1])
    return Rows(x.reshape(-1, x.shape[-1]), y.ravel(), story)


def test_what_explains_nothing_fades_and_the_rest_is_found() -> None:
    """300 stories, noise .09: a weight has a standard error of .3 / sqrt(900) = .01; 4.5 of them is the margin."""
    x, y = draw(0, 300)
    found = fit_regression(rows_of(x, y), (6, 6))
    w = np.random.default_rng(1000).normal(0, 0.3, 6)
    assert found.mean[0, 0] == pytest.approx(0.6, abs=0.045)
    np.testing.assert_allclose(found.mean[0, 1:7], w, atol=0.045)
    assert np.abs(found.mean[0, 7:]).max() < 0.02
    assert found.scale[0] / found.shape[0] == pytest.approx(0.09, rel=0.2)


def test_what_weighs_nothing_is_not_heard() -> None:
    """A third variant whose worth was counted on hardly anything, and says the opposite: the other two decide.

    Two stories of two variants, features +-.5 and worth 3 times that: slope 3 (nearly flat prior). Half a weight on
    both sides of a story halves its part of the sums: slopes 3 and 1 at weights 1 and 1/2 give 7 / 3.
    """
    x = np.array([[0.5], [-0.5], [5.0], [0.5], [-0.5]])
    y, story = np.array([1.5, -1.5, -99.0, 1.5, -1.5]), np.array([0, 0, 0, 1, 1])
    deaf = fit_regression(Rows(x, y, story, np.array([1.0, 1.0, 1e-12, 1.0, 1.0])))
    without = fit_regression(Rows(x, y, story).of(np.arange(5) != 2))
    np.testing.assert_allclose(deaf.mean, without.mean, rtol=1e-6)
    np.testing.assert_allclose(deaf.mean, 3.0, atol=0.05)
    heard = fit_regression(Rows(x, y, story))
    assert heard.mean[0, 0] < -10
    two = Rows(
        x[[0, 1, 3, 4]], np.array([1.5, -1.5, 0.5, -0.5]), np.array([0, 0, 1, 1]), np.array([1, 1, 0.5, 0.5])
    )
    np.testing.assert_allclose(fit_regression(two).mean, 7 / 3, atol=0.05)


def test_a_posterior_never_sees_its_fold() -> None:
    x, y = draw(1, 30)
    fold = np.arange(30) % 3
    before = fit_regression(rows_of(x, y), (6, 6), np.repeat(fold, 4))
    changed = np.where((fold == 1)[:, None], np.random.default_rng(5).standard_normal(y.shape), y)
    after = fit_regression(rows_of(x, changed), (6, 6), np.repeat(fold, 4))
    np.testing.assert_array_equal(before.mean[1], after.mean[1])
    np.testing.assert_array_equal(before.scale[1], after.scale[1])
    assert all(np.abs(before.mean[g] - after.mean[g]).max() > 0.01 for g in (0, 2, 3))


def test_order_and_padding_of_siblings_do_not_matter() -> None:
    x, y = draw(2, 20)
    found = fit_regression(rows_of(x, y), (6, 6))
    all_there, which = np.ones((20, 4), bool), np.zeros(20, np.int64)
    value, unit = found.predict(which, x, all_there)
    order = np.array([2, 0, 3, 1])
    value_2, unit_2 = found.predict(which, x[:, order], all_there)
    np.testing.assert_allclose(value_2, value[:, order], atol=1e-12)
    np.testing.assert_allclose(unit_2, unit[:, order][:, :, order], atol=1e-12)
    padded = np.concatenate([x, np.full((20, 3, 13), 7.0)], axis=1)
    value_3, unit_3 = found.predict(which, padded, np.arange(7) < np.full((20, 1), 4))
    np.testing.assert_allclose(value_3[:, :4], value, atol=1e-12)
    np.testing.assert_allclose(unit_3[:, :4, :4], unit, atol=1e-12)
    assert not value_3[:, 4:].any()
    assert not unit_3[:, 4:].any()
    np.testing.assert_allclose(centred(x, all_there).sum(axis=1), 0.0, atol=1e-12)


def surprise(noise_divided_by: float) -> float:
    """Standard score of how often the favourites of 1,500 new stories are best; 30 layers of 25 stories each."""
    hits = expected = variance = 0.0
    for seed in range(30):
        found = fit_regression(rows_of(*draw(seed, 25, 0.15)), (6, 6))
        found = replace(found, scale=found.scale / noise_divided_by)
        x, y = draw(seed + 7 * 100, 50, 0.15)
        there = np.ones(y.shape, bool)
        value, unit = found.predict(np.zeros(50, np.int64), x, there)
        for i in range(50):
            mean = np.broadcast_to(value[i], (LEVELS, 4))
            p = probability_best(
                mean, found.levels()[:, :1, None] * unit[i], np.zeros(4), np.zeros((4, 4)), i, 1024
            )
            hits += y[i].argmax() == p.argmax()
            expected += p.max()
            variance += p.max() * (1 - p.max())
    return float((hits - expected) / np.sqrt(variance))


def test_probabilities_are_calibrated_where_the_layer_is_right() -> None:
    """|z| above 3.9 has a false-alarm rate of 1 in 10,000; a noise nine times too small is noticed."""
    assert abs(surprise(1.0)) < 3.9
    assert surprise(9.0) < -3.9


def test_best_of_two_by_hand() -> None:
    """Log rates one standard deviation of their difference apart: Phi(1) = .8413; the error of 40,000 draws < .008.

    Errors that both share move nothing: with a correlation of .75 it is Phi(2) = .9772.
    """
    none, mean = np.zeros((2, 2)), np.array([[-4.0, -4.1]])
    p = probability_best(mean, 0.005 * np.eye(2)[None], np.zeros(2), none, draws=40_000)
    assert p[0] == pytest.approx(0.8413, abs=0.008)
    shared = 0.005 * np.array([[[1.0, 0.75], [0.75, 1.0]]])
    p = probability_best(mean, shared, np.zeros(2), none, draws=40_000)
    assert p[0] == pytest.approx(0.9772, abs=0.004)


def test_what_follows_can_decide() -> None:
    """Equal clicks of 1; .1 more follows the second, with an error of .1 / sqrt(2) each: Phi(1)."""
    p = probability_best(
        np.zeros((1, 2)), np.zeros((1, 2, 2)), np.array([0.0, 0.1]), 0.005 * np.eye(2), draws=40_000
    )
    assert p[1] == pytest.approx(0.8413, abs=0.008)


def test_a_record_by_hand() -> None:
    """A prior of 2 % with variance .25, and counts that weigh as 1,000 impressions: at 1 % the content pulls with
    log 2 / .25 clicks, so 10 - log(2) / .25 clicks put the mode there; precision 4 + 10.
    """
    clicks = 1.78 * (10 - np.log(2) / 0.25)
    mode, variance = correct_by_record(
        np.log([[0.02]]), np.array([[[0.25]]]), np.array([[1780]]), np.array([[clicks]])
    )
    assert np.exp(mode[0, 0]) == pytest.approx(0.01)
    assert variance[0, 0, 0] == pytest.approx(1 / 14)


def test_counts_of_one_tell_of_the_others_what_they_share() -> None:
    """Alone a sibling stays where it was; with half of the variance shared it moves by half as much."""
    mean, n, s = np.log([[0.01, 0.01]]), np.array([[10**8, 0]]), np.array([[4 * 10**6, 0]])
    alone, after = correct_by_record(mean, 0.2 * np.eye(2)[None], n, s)
    assert np.exp(alone[0]) == pytest.approx([0.04, 0.01], rel=1e-4)
    assert after[0] == pytest.approx(np.diag([0.0, 0.2]), abs=1e-5)
    half, _ = correct_by_record(mean, np.array([[[0.2, 0.1], [0.1, 0.2]]]), n, s)
    assert half[0, 1] - mean[0, 1] == pytest.approx((half[0, 0] - mean[0, 0]) / 2)


@pytest.mark.parametrize(("n", "s"), [(10**9, 0), (10**9, 10**9), (1, 1)])
def test_any_record_converges(n: int, s: int) -> None:
    mode, after = correct_by_record(np.log([[0.01]]), np.array([[[0.5]]]), np.array([[n]]), np.array([[s]]))
    pull = (s - n * np.exp(mode[0, 0])) / 1.78
    assert mode[0, 0] == pytest.approx(np.log(0.01) + 0.5 * pull, abs=1e-3)
    assert 0 < after[0, 0, 0] <= 0.5


def test_without_a_record_nothing_changes() -> None:
    mean, covariance = np.log([[0.01, 0.02]]), np.array([[[0.2, 0.1], [0.1, 0.3]]])
    none = np.zeros((1, 2), np.int64)
    mode, after = correct_by_record(mean, covariance, none, none)
    np.testing.assert_array_equal(mode, mean)
    np.testing.assert_array_equal(after, covariance)


def test_a_layer_is_read_back_exactly_and_a_strange_one_refused() -> None:
    x, y = draw(3, 12)
    click = fit_regression(rows_of(x, y), (12,), np.repeat(np.arange(12) % 2, 4))
    one = fit_regression(rows_of(x[..., :1], y), (), np.repeat(np.arange(12) % 2, 4))
    layer = LastLayer(click, one, one, 0.3).rounded()
    tensors = layer.tensors()
    again = LastLayer.of_tensors(tensors, 12, 2)
    for part in ("click", "audience", "later"):
        for name in ("mean", "root", "shape", "scale"):
            np.testing.assert_array_equal(
                getattr(getattr(again, part), name), getattr(getattr(layer, part), name)
            )
    assert again.story == layer.story
    strange = {
        "click/mean": np.zeros((3, 12)),
        "click/scale": np.array([1.0, -1.0, 1.0]),
        "later/root": np.full((3, 1, 1), np.nan),
        "story": np.array([np.inf]),
        "audience/shape": np.ones((2,)),
    }
    for name, array in strange.items():
        with pytest.raises(ValueError, match=r"\w"):
            LastLayer.of_tensors({**tensors, name: array.astype(np.float32)}, 12, 2)
    with pytest.raises(ValueError, match="shape"):
        LastLayer.of_tensors(tensors, 12, 5)
    with pytest.raises(KeyError):
        LastLayer.of_tensors({}, 12, 2)


def test_before_anything_is_measured_scores_are_taken_as_they_are() -> None:
    layer = LastLayer.prior(5)
    x = np.zeros((1, 3, 6))
    x[0, :, 0] = [0.1, 0.2, 0.6]
    value, _ = layer.click.predict(
        layer.which(np.array([-1]), np.zeros(0, np.int64)), x, np.ones((1, 3), bool)
    )
    np.testing.assert_allclose(value, [[-0.2, -0.1, 0.3]])
    fold = np.array([0, 2, 1])
    three = LastLayer(
        *(fit_regression(Rows(np.zeros((3, 1)), np.zeros(3), fold), (), fold) for _ in range(3))
    )
    assert three.which(np.array([1, -1, 0]), fold).tolist() == [2, 3, 0]
