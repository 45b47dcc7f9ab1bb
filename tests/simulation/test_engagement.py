"""The engagement model: formulas by hand, against slow references, and found again in its own samples."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from multimodal_dql.datasets.ab_tests import ABTests, Replicates, component_folds, read_ab_tests
from multimodal_dql.errors import ABTestsError, RunError
from multimodal_dql.simulation.engagement import PARAMETERS, EngagementModel, SimulatedTests
from multimodal_dql.simulation.engagement_check import QUANTILES, STATISTICS, check, statistics
from multimodal_dql.simulation.engagement_json import (
    FILE_NAME,
    model_from_json,
    model_to_json,
    read_engagement,
)
from multimodal_dql.simulation.engagement_likelihood import (
    SPREADS,
    Rates,
    base_cells,
    base_posterior,
    log_likelihood,
    spread_weights,
    tables,
    within_cells,
)
from multimodal_dql.simulation.engagement_noise import (
    DEFAULT_OVERDISPERSION,
    click_log_likelihood,
    concentration,
    draw_clicks,
    overdispersion,
)

MODEL = EngagementModel()


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.fixture(scope="module")
def drawn() -> SimulatedTests:
    return MODEL.sample(1000, seed=5, replicates=600)


@pytest.fixture(scope="module")
def fitted(drawn: SimulatedTests) -> EngagementModel:
    return EngagementModel.fit(drawn, seed=0)


# --- noise --------------------------------------------------------------------------------------------------------


def test_concentration_by_hand() -> None:
    # rho = .5 / 1000, so m = 2000 - 1; with two impressions rho is capped at a half; one is a coin flip.
    assert concentration(np.array([1001, 2, 1]), 1.5).tolist() == [1999.0, 1.0, np.inf]
    assert concentration(np.array([1001, 2]), 1.0).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("phi", [1.0, 1.78, 5.0])
def test_clicks_have_the_mean_and_variance_that_phi_says(phi: float) -> None:
    """200,000 arms: 5 standard errors of the mean and of the variance (false alarm 1 in a million each)."""
    n, p, arms = 3000, 0.0135, 200_000
    s = draw_clicks(rng(1), np.full(arms, n), np.full(arms, p), phi).astype(float)
    variance = phi * n * p * (1 - p)
    assert abs(s.mean() - n * p) < 5 * np.sqrt(variance / arms)
    fourth = ((s - s.mean()) ** 4).mean()
    assert abs(s.var() - variance) < 5 * np.sqrt((fourth - variance**2) / arms)


def test_edges_of_clicks() -> None:
    n = np.array([1, 2, 10, 0, 50])
    for rate in (0.0, 1e-30, 0.5, 1.0):
        s = draw_clicks(rng(0), n, np.full(5, rate), 3.0)
        assert ((s >= 0) & (s <= n)).all()
        if rate in (0.0, 1.0):
            assert s.tolist() == (n * rate).tolist()


@pytest.mark.parametrize("phi", [1.0, 1.78, 6.0])
def test_click_probabilities_are_those_of_the_textbook(phi: float) -> None:
    n, logit = 40, np.array([[-4.0, -1.0, 0.5]])
    p = 1 / (1 + np.exp(-logit))
    every = np.arange(n + 1)
    ours = np.exp([click_log_likelihood(np.array([n]), np.array([s]), logit, phi)[0] for s in every])
    np.testing.assert_allclose(ours.sum(axis=0), 1.0, rtol=1e-9)
    m = concentration(np.array([n]), phi)[0]
    theirs = (
        stats.binom.pmf(every[:, None], n, p)
        if phi == 1
        else stats.betabinom.pmf(every[:, None], n, p * m, (1 - p) * m)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)
    np.testing.assert_allclose((ours * every[:, None]).sum(axis=0), n * p[0], rtol=1e-9)


def test_overdispersion_by_hand() -> None:
    # 40 groups of 10 and 30 clicks in 100 impressions each: p = .2, chi2 = 2 * 10^2 / 16 = 12.5 for one.
    group = np.repeat(np.arange(42), 2)
    clicks = np.tile([10, 30], 42)
    clicks[-4:] = [0, 0, 100, 100]  # groups that say nothing
    phi, error, used = overdispersion(Replicates(group, np.full(84, 100), clicks), seed=0)
    assert (phi, used) == (pytest.approx(12.5), 40)
    assert error == pytest.approx(0.0, abs=1e-12)
    equal = Replicates(group, np.full(84, 100), np.full(84, 7))
    assert overdispersion(equal, seed=0)[0] == 1.0


def test_too_few_groups_give_the_documented_default() -> None:
    few = Replicates(np.repeat(np.arange(29), 2), np.full(58, 100), np.tile([1, 30], 29))
    none = Replicates(*(np.zeros(0, np.int64),) * 3)
    for replicates in (few, none):
        phi, error, used = overdispersion(replicates, seed=0)
        assert (phi, used) == (DEFAULT_OVERDISPERSION, 0)
        assert error > 0


# --- likelihood ---------------------------------------------------------------------------------------------------


def small() -> ABTests:
    """Three tests: without clicks, ordinary, and with many clicks."""
    tests = MODEL.sample(3, seed=1)
    return replace(
        tests,
        test=np.array([0, 0, 1, 1, 1, 2, 2]),
        impressions=np.array([300, 200, 3000, 3100, 2900, 40_000, 42_000]),
        clicks=np.array([0, 0, 30, 55, 41, 900, 1200]),
        test_ids=("a", "b", "c"),
        component=np.arange(3),
    )


def by_brute_force(tests: ABTests, rates: Rates, phi: float) -> np.ndarray:
    """The marginal likelihood by simulation-free sums: 100 spreads, 300 bases, 64 arm logits, no common grid."""
    q = (np.arange(100) + 0.5) / 100
    spreads = rates.within_sd * np.sqrt((rates.within_df - 2) / stats.chi2.ppf(1 - q, rates.within_df))
    out = []
    z, w = np.polynomial.hermite_e.hermegauss(64)
    w = w / w.sum()
    for piece in tests.test_slices:
        n, s = tests.impressions[piece], tests.clicks[piece]
        # The likelihood of a test is narrow in its base: a fine uniform grid, weighted by the normal density.
        mu = np.linspace(rates.base_mean - 6 * rates.base_sd, rates.base_mean + 6 * rates.base_sd, 300)
        prior = stats.norm.pdf(mu, rates.base_mean, rates.base_sd) * (mu[1] - mu[0])
        total = 0.0
        for spread in spreads:
            each = np.ones(len(mu))
            for i in range(len(n)):
                logits = mu[:, None] + spread * z
                count = np.broadcast_to(n[i : i + 1], (len(mu),))
                p = np.exp(
                    click_log_likelihood(count, np.broadcast_to(s[i : i + 1], (len(mu),)), logits, phi)
                )
                each = each * (p @ w)
            total += each @ prior / len(spreads)
        out.append(np.log(total))
    return np.array(out)


def test_the_likelihood_agrees_with_brute_force() -> None:
    tests, rates = small(), Rates(-4.6, 0.65, 0.24, 4.7)
    slow = by_brute_force(tests, rates, 1.78)
    np.testing.assert_allclose(log_likelihood(tables(tests, 1.78), rates)[0], slow, atol=0.02)


def test_the_slopes_of_the_likelihood_are_its_differences() -> None:
    table, x = tables(small(), 1.78), Rates(-4.6, 0.65, 0.24, 4.7).unbounded()
    _, slopes = log_likelihood(table, Rates.of(x))
    for k, unit in enumerate(np.eye(4) * 1e-5):
        up, down = (log_likelihood(table, Rates.of(y))[0] for y in (x + unit, x - unit))
        np.testing.assert_allclose(slopes[:, k], (up - down) / 2e-5, rtol=1e-4, atol=1e-6)


def test_probabilities_over_cells_sum_to_one() -> None:
    table = tables(small(), 1.78)
    for spread in SPREADS:
        np.testing.assert_allclose(within_cells(table.offsets, spread).sum(axis=1), 1.0)
    for rates in (Rates(-4.6, 0.65, 0.24, 4.7), Rates(-4.6, 3.0, 0.05, 90.0)):
        np.testing.assert_allclose(base_cells(table, rates)[:, :, 0].sum(axis=1), 1.0)
        weights = spread_weights(rates)
        assert weights.sum() == pytest.approx(1.0)
        assert (weights >= 0).all()
        middle = np.sqrt(weights @ SPREADS**2)
        # A spread stands for all within 10 % of it; the heaviest tail (above 2 logits) is cut.
        assert middle == pytest.approx(rates.within_sd, rel=0.02)


def test_a_test_with_much_data_knows_its_base() -> None:
    tests = small()
    mean, variance = base_posterior(tables(tests, 1.78), Rates(-4.6, 0.65, 0.05, 50.0))
    pooled = 2100 / 82_000
    assert mean[2] == pytest.approx(np.log(pooled / (1 - pooled)), abs=0.05)
    assert variance[2] < variance[1] < variance[0] < 0.65**2
    assert mean[0] < -4.6


# --- fit ----------------------------------------------------------------------------------------------------------


def test_a_fit_finds_the_parameters_of_its_own_samples(fitted: EngagementModel) -> None:
    """Each of ten numbers within 4.5 half-intervals / 1.96: false alarm below 1 in 10,000 for all together."""
    for name in PARAMETERS:
        low, high = fitted.intervals[name]
        error = (high - low) / (2 * 1.96)
        assert abs(getattr(fitted, name) - getattr(MODEL, name)) < 4.5 * error, name
        assert low < getattr(fitted, name) < high, name
    # ... and the intervals are of a useful width at 1,000 tests.
    tolerance = {
        "base_logit_mean": 0.1,
        "base_logit_sd": 0.08,
        "within_logit_sd": 0.04,
        "overdispersion": 0.4,
    }
    for name, most in tolerance.items():
        assert abs(getattr(fitted, name) - getattr(MODEL, name)) < most, name
    assert 2.8 < fitted.within_df < 12.0
    np.testing.assert_allclose(fitted.arm_shares, MODEL.arm_shares, atol=0.06)
    assert fitted.evidence.replicate_groups == pytest.approx(600, abs=10)


@pytest.mark.slow
def test_intervals_cover() -> None:
    """16 fits of 80 tests: each interval covers at least 11 times (at 95 %, less has a chance of 1 in 10,000)."""
    truth = replace(MODEL, within_logit_sd=0.3, within_df=8.0, overdispersion=1.5)
    covered = dict.fromkeys(("base_logit_mean", "base_logit_sd", "within_logit_sd", "overdispersion"), 0)
    for seed in range(16):
        found = EngagementModel.fit(truth.sample(80, seed=seed, replicates=150))
        for name in covered:
            low, high = found.intervals[name]
            covered[name] += low <= getattr(truth, name) <= high
    assert min(covered.values()) >= 11, covered


def test_without_any_spread_the_fit_says_so() -> None:
    flat = replace(MODEL, within_logit_sd=1e-6, within_df=50.0, overdispersion=1.78)
    found = EngagementModel.fit(flat.sample(200, seed=2))
    assert found.within_logit_sd < 0.06
    assert all(np.isfinite(end) for ends in found.intervals.values() for end in ends)


def test_equal_sizes_and_the_same_seed(drawn: SimulatedTests) -> None:
    pairs = drawn.subset(drawn.sizes == 3)
    first, again = EngagementModel.fit(pairs, seed=3), EngagementModel.fit(pairs, seed=3)
    assert model_to_json(first) == model_to_json(again)
    assert first.log_impressions_arms_slope == 0.0
    assert first.arm_shares == (0.0, 1.0)


def test_linked_tests_widen_the_intervals(drawn: SimulatedTests) -> None:
    """The same test three times over is one component: about as much is known as from one."""
    part = drawn.subset(np.arange(drawn.G) < 60)
    three = replace(
        part,
        test_ids=part.test_ids * 3,
        created=np.tile(part.created, 3),
        component=np.tile(part.component, 3),
        test=np.concatenate([part.test + 60 * i for i in range(3)]),
        **{name: getattr(part, name) * 3 for name in ("arm_ids", "headlines", "images", "audios")},
        **{
            name: np.tile(getattr(part, name), 3)
            for name in ("impressions", "clicks", "true_rates", "base_logits")
        },
    )
    one, many = EngagementModel.fit(part), EngagementModel.fit(three)
    for name in ("base_logit_mean", "base_logit_sd"):
        assert getattr(one, name) == pytest.approx(getattr(many, name), abs=0.01)
        assert np.ptp(many.intervals[name]) == pytest.approx(np.ptp(one.intervals[name]), rel=0.1)


def test_too_little_to_learn_from(drawn: SimulatedTests) -> None:
    with pytest.raises(
        ABTestsError, match="has 19 usable tests; an engagement model needs at least 20"
    ) as caught:
        EngagementModel.fit(drawn.subset(np.arange(drawn.G) < 19))
    assert "19" in caught.value.text("zh")
    with pytest.raises(ABTestsError, match="has no clicks, or nothing but clicks"):
        EngagementModel.fit(replace(drawn, clicks=np.zeros_like(drawn.clicks)))


# --- sample -------------------------------------------------------------------------------------------------------


def test_samples_depend_on_the_seed_alone() -> None:
    a, b, c = (MODEL.sample(50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.clicks, b.clicks)
    assert not np.array_equal(a.true_rates[:20], c.true_rates[:20])


def test_samples_are_spread_as_asked() -> None:
    """100,000 tests: means within 5 standard errors, spreads within 2 % (t tails make them noisy)."""
    tests = MODEL.sample(100_000, seed=3)
    logit = np.log(tests.true_rates / (1 - tests.true_rates))
    within = logit - tests.base_logits[tests.test]
    assert tests.base_logits.mean() == pytest.approx(MODEL.base_logit_mean, abs=5 * 0.643 / np.sqrt(1e5))
    assert tests.base_logits.std() == pytest.approx(MODEL.base_logit_sd, rel=0.01)
    assert within.std() == pytest.approx(MODEL.within_logit_sd, rel=0.03)
    scale = MODEL.within_logit_sd * np.sqrt((MODEL.within_df - 2) / MODEL.within_df)
    tails = np.abs(within) / scale > stats.t.ppf(0.995, MODEL.within_df)
    assert tails.mean() == pytest.approx(0.01, abs=0.001)
    np.testing.assert_allclose(
        np.bincount(tests.sizes)[2:] / tests.G, np.array(MODEL.arm_shares) / sum(MODEL.arm_shares), atol=0.01
    )
    logs = np.log(tests.impressions)
    design = np.stack(
        [np.ones(tests.G), tests.base_logits - MODEL.base_logit_mean, np.log(tests.sizes / 4)], axis=1
    )
    beta = np.linalg.lstsq(design, np.bincount(tests.test, logs) / tests.sizes, rcond=None)[0]
    np.testing.assert_allclose(beta, [8.22, -0.105, -0.518], atol=0.02)
    assert (tests.clicks <= tests.impressions).all()
    assert not np.diff(tests.test).min() < 0


def test_bases_like_real_traffic_have_the_joint_distribution_of_the_model() -> None:
    """Redrawing bases given their tests' impressions changes neither their spread nor their tie to the traffic."""
    strong = replace(MODEL, log_impressions_base_slope=-0.6)
    tests = strong.sample(50_000, seed=4)
    again = strong.draw_bases(rng(9), tests)
    logs = np.bincount(tests.test, np.log(tests.impressions)) / tests.sizes
    free = logs - strong.log_impressions_arms_slope * np.log(tests.sizes / 4)
    assert again.mean() == pytest.approx(tests.base_logits.mean(), abs=0.015)
    assert again.std() == pytest.approx(tests.base_logits.std(), rel=0.015)
    assert np.corrcoef(free, again)[0, 1] == pytest.approx(
        np.corrcoef(free, tests.base_logits)[0, 1], abs=0.02
    )
    assert abs(np.corrcoef(again, tests.base_logits)[0, 1]) < 0.9  # drawn anew, not copied


def test_copies_keep_arms_and_impressions(drawn: SimulatedTests) -> None:
    copy = MODEL.sample(0, seed=8, like=drawn)
    np.testing.assert_array_equal(copy.impressions, drawn.impressions)
    np.testing.assert_array_equal(copy.test, drawn.test)
    assert not np.array_equal(copy.clicks, drawn.clicks)
    with pytest.raises(ValueError, match="7 tests are wanted like 1000"):
        MODEL.sample(7, seed=8, like=drawn)


def test_no_tests_at_all() -> None:
    nothing = MODEL.sample(0, seed=1)
    assert (nothing.G, nothing.A) == (0, 0)


# --- file ---------------------------------------------------------------------------------------------------------


def test_a_model_survives_its_file(fitted: EngagementModel, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(model_to_json(fitted), encoding="utf-8")
    assert read_engagement(tmp_path) == fitted
    assert read_engagement(tmp_path / FILE_NAME) == fitted
    assert model_from_json(model_to_json(MODEL)) == MODEL


HOSTILE: dict[str, Any] = {
    "base_logit_mean": [float("nan"), "-4", None, True, 1e9, [1]],
    "base_logit_sd": [-0.1, float("inf"), 10**400],
    "within_df": [2.0, 1.0, 1e9],
    "overdispersion": [0.5, 1e6],
    "log_impressions_mean": [-1, 50],
    "arm_shares": [[], [0.5], [1.5, -0.5], "half", [0.001] * 5000],
    "covariance": [[[1]], [[0.0] * 5] * 4, [[-1.0] + [0.0] * 4] + [[0.0] * 5] * 4, [["x"] * 5] * 5],
    "intervals": [{"nobody": [0, 1]}, {"within_df": [2]}, {"within_df": [3, 2]}, []],
    "evidence": [{}, None, {"tests": -1}],
    "format": ["something else"],
    "surprise": [1],
}


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, values in HOSTILE.items() for v in values])
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, name: str, value: Any) -> None:
    data = json.loads(model_to_json(MODEL)) | {name: value}
    (tmp_path / FILE_NAME).write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RunError, match=r"is not an engagement model .*; fit it again") as caught:
        read_engagement(tmp_path)
    assert "\n" not in str(caught.value)
    assert "请重新拟合" in caught.value.text("zh")


@pytest.mark.parametrize(
    "evidence", [{"pool": "soup"}, {"tests": 1.5}, {"clicks": float("nan")}, {"seed": "0"}]
)
def test_hostile_evidence(evidence: dict[str, Any]) -> None:
    data = json.loads(model_to_json(MODEL))
    with pytest.raises(ValueError, match=r"pool|whole|is not"):
        model_from_json(json.dumps(data | {"evidence": data["evidence"] | evidence}))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff\xfe\x00", b" " * (2 << 20)])
def test_what_is_no_model_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(RunError, match="is not an engagement model"):
        read_engagement(tmp_path)
    with pytest.raises(RunError, match="there is no engagement model; fit it again"):
        read_engagement(tmp_path / "elsewhere")


# --- check --------------------------------------------------------------------------------------------------------


def test_statistics_by_hand() -> None:
    s = statistics(np.array([0, 0, 1, 1]), np.array([999, 999, 99, 199]), np.array([9, 19, 0, 0]))
    np.testing.assert_allclose(s["arm_ctr"][:2], [9.5 / 1000, 19.5 / 1000])
    np.testing.assert_allclose(s["test_ctr"], [28.5 / 1999, 0.5 / 299])
    gap = np.log(19.5 / 980.5) - np.log(9.5 / 990.5)
    assert s["within_sd"][0] == pytest.approx(gap / np.sqrt(2))
    assert s["best_over_mean"][0] == pytest.approx(19.5 / 14.5)
    table = [[9, 990], [19, 980]]
    assert s["p_value"][0] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert s["p_value"][1] == 1.0


def test_a_model_passes_on_its_own_samples(fitted: EngagementModel, drawn: SimulatedTests) -> None:
    """Five 95 % bands on the data of the fit: seeded; in-sample a failure is rarer than 1 in 4 even if independent."""
    found = check(fitted, drawn, seed=1, draws=100)
    assert [s.name for s in found.statistics] == list(STATISTICS)
    assert found.inside
    for s in found.statistics:
        assert s.inside
        assert s.distance < 0.08
        assert list(s.real) == list(s.simulated) == [f"q{round(100 * q):02d}" for q in QUANTILES]
        assert all(v.low <= v.mean <= v.high for v in s.simulated.values())


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        ({"within_logit_sd": 0.5}, {"within_sd", "best_over_mean"}),
        ({"within_logit_sd": 0.1}, {"within_sd", "best_over_mean"}),
        ({"overdispersion": 4.0}, {"within_sd", "best_over_mean"}),
        ({"base_logit_mean": -4.3}, {"arm_ctr", "test_ctr"}),
        ({"base_logit_sd": 0.4}, {"arm_ctr", "test_ctr"}),
    ],
)
def test_a_wrong_model_fails(drawn: SimulatedTests, wrong: dict[str, float], caught: set[str]) -> None:
    found = check(replace(MODEL, **wrong), drawn, seed=1, draws=40)  # type: ignore[arg-type]
    assert not found.inside
    assert caught <= {s.name for s in found.statistics if not s.inside}
    assert all(s.distance > s.distance_limit for s in found.statistics if s.name in caught)


def test_the_check_as_json(drawn: SimulatedTests) -> None:
    found = check(MODEL, drawn.subset(np.arange(drawn.G) < 60), seed=1, draws=20)
    text = json.dumps(found.as_dict(), allow_nan=False)
    data = json.loads(text)
    assert set(data) == {"statistics", "share_significant", "inside", "tests", "arms", "draws", "seed"}
    assert set(data["statistics"][0]) >= {"name", "real", "simulated", "distance", "inside"}
    assert set(data["share_significant"]) >= {"real", "simulated", "low", "high"}
    assert data["tests"] == 60
    with pytest.raises(ValueError, match="at least 20 draws"):
        check(MODEL, drawn, seed=1, draws=19)


# --- real data ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> ABTests:
    folder = os.environ.get("MULTIMODAL_DQL_DATA")
    if not folder:
        pytest.skip("MULTIMODAL_DQL_DATA does not name the folder of real data")
    return read_ab_tests(Path(folder) / "upworthy" / "upworthy_exploratory_dev.csv.gz")


@pytest.mark.realdata
@pytest.mark.slow
def test_the_defaults_are_the_fit_to_the_archive(real: ABTests) -> None:
    found = EngagementModel.fit(real)
    for name in PARAMETERS:
        assert getattr(found, name) == pytest.approx(getattr(MODEL, name), rel=0.01, abs=0.005), name
    assert 0.22 < found.within_logit_sd < 0.27
    assert 1 / (1 + np.exp(-found.base_logit_mean)) < 0.0135  # the median test; the mean over tests is higher
    share = (statistics(real.test, real.impressions, real.clicks)["p_value"] < 0.05).mean()
    assert share == pytest.approx(0.5, abs=0.03)


@pytest.mark.realdata
@pytest.mark.slow
def test_a_fit_to_one_half_foretells_the_other(real: ABTests) -> None:
    """Split by component. The share of significant tests must be foretold; no distribution is 10 % off."""
    fold = component_folds(real, 2, seed=0)
    for half in (0, 1):
        model = EngagementModel.fit(real.subset(fold == half))
        found = check(model, real.subset(fold != half), seed=1, draws=100)
        assert found.share_significant.low <= found.share_significant_real <= found.share_significant.high
        assert all(s.distance < 0.1 for s in found.statistics)
