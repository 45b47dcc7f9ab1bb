"""Sessions: the same in any batch, on any number of threads and both ways, and honest about probabilities."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multimodal_dql.policies.base import First, Policy, Uniform
from multimodal_dql.simulation.audience import CONTEXT, DEVICES, World
from multimodal_dql.simulation.compare import compare, outcome, permuted
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.kernels import CONTEXT_AT
from multimodal_dql.simulation.sessions import (
    LOG,
    METRICS,
    Sessions,
    Stage,
    Steps,
    joined,
    run_sessions,
    run_table,
)
from multimodal_dql.simulation.stage import DEVICE_SHARE
from multimodal_dql.simulation.typical import true_rates, typical_impressions, typical_users
from multimodal_dql.state import State

from .worlds import some_table, uniform_table, world

BUSY = EngagementConfig(base_click_rate=0.2, conversion_rate=0.3, burst_sessions=50)
"""Clicks and conversions in most sessions, and several blocks of bursts in a few hundred."""


def run(w: World, policy: Policy | None = None, *, ids: np.ndarray | None = None, seed: int = 0) -> Steps:
    ids = np.arange(500) if ids is None else ids
    return run_sessions(Stage.of(w), policy or Uniform(), seed=seed, ids=ids)


def changed(w: World, **fields: float) -> World:
    return replace(w, audience=replace(w.audience, config=replace(w.config, **fields)))


def assert_equal(a: Sessions, b: Sessions) -> None:
    """To the last bit."""
    for name in ("ids", "metrics", "by_variant", "log", "lengths"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


class Table(Policy):
    """Probabilities by story."""

    name = "table"

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def probabilities(self, state: State) -> np.ndarray:
        return self.table[state.item]


# Batches.


def test_1_or_64_batches() -> None:
    w = world(config=BUSY)
    stage, table, ids = Stage.of(w), uniform_table(w), np.arange(640)
    whole = run_table(stage, 3, ids, table, log=True)
    # A stage of its own for each part, as another process would have it.
    parts = [run_table(Stage.of(w), 3, part, table, log=True) for part in np.split(ids, 64)]
    assert_equal(whole, joined(parts))
    assert_equal(whole, joined([run_table(stage, 3, part, table, log=True) for part in np.split(ids, 64)]))
    assert whole.by_variant[:, 1].sum() > 500


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(60)), st.integers(0, 2**32))
def test_sessions_in_any_order(order: list[int], seed: int) -> None:
    w = world(config=BUSY)
    stage, table = Stage.of(w), uniform_table(w)
    sorted_ids, ids = np.arange(60) * 7, np.array(order) * 7
    whole, shuffled = (run_table(stage, seed, i, table, log=True) for i in (sorted_ids, ids))
    np.testing.assert_array_equal(whole.metrics[order], shuffled.metrics)
    np.testing.assert_array_equal(np.asarray(whole.log)[order], shuffled.log)
    np.testing.assert_array_equal(whole.by_variant, shuffled.by_variant)


def test_the_sum_over_variants_is_exact_in_any_order() -> None:
    """Expected clicks of a variant are whole multiples of 2^-32, and differ from the log by rounding alone."""
    w = world(config=BUSY)
    found = run_table(Stage.of(w), 0, np.arange(300), uniform_table(w), log=True)
    grains = found.by_variant[:, 2] * 2.0**32
    np.testing.assert_array_equal(grains, np.rint(grains))
    total = found.metric("expected_clicks").sum()
    assert found.by_variant[:, 2].sum() == pytest.approx(total, abs=2.0**-32 * found.lengths.sum())


@pytest.mark.parametrize("config", [BUSY, EngagementConfig(visits=1, steps=1)], ids=["busy", "one-story"])
def test_compiled_and_step_by_step_are_the_same(config: EngagementConfig) -> None:
    w = world(config=config)
    ids = np.arange(2**33 + 200, 2**33 - 200, -1)  # across a word of the counter, and backwards
    for policy, table in ((Uniform(), uniform_table(w)), (Table(some_table(w, 1)), some_table(w, 1))):
        steps = run(w, policy, ids=ids)
        assert_equal(run_table(Stage.of(w), 0, ids, table, log=True), steps.sessions)


def test_step_by_step_in_batches() -> None:
    w = world(config=BUSY)
    whole = run(w, ids=np.arange(60))
    parts = [run(w, ids=ids) for ids in np.split(np.arange(60), 6)]
    assert_equal(whole.sessions, joined([part.sessions for part in parts]))
    for name in ("active", "item", "action", "click_probability", "click", "done", "context", "record"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(p, name) for p in parts]))


def test_8_threads_at_once() -> None:
    w = world(config=BUSY)
    table, ids = uniform_table(w), np.arange(1600)
    alone = run_table(Stage.of(w), 1, ids, table, log=True)
    steps = run(w, ids=ids, seed=1).sessions
    stage = Stage.of(w)  # shared, with nothing prepared
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda part: run_table(stage, 1, part, table, log=True), np.split(ids, 16)))
        again = list(
            pool.map(
                lambda part: run_sessions(stage, Uniform(), seed=1, ids=part).sessions, np.split(ids, 16)
            )
        )
    assert_equal(alone, joined(parts))
    assert_equal(steps, joined(again))
    assert_equal(alone, steps)


def test_no_sessions_are_no_sessions() -> None:
    w = world()
    none = run_table(Stage.of(w), 0, np.arange(0), uniform_table(w), log=True)
    assert none.metrics.shape == (0, len(METRICS))
    assert not none.by_variant.any()


def test_a_log_is_kept_on_demand_and_changes_nothing() -> None:
    w = world(config=BUSY)
    stage, table, ids = Stage.of(w), uniform_table(w), np.arange(50)
    without, with_log = (run_table(stage, 0, ids, table, log=keep) for keep in (False, True))
    np.testing.assert_array_equal(without.metrics, with_log.metrics)
    np.testing.assert_array_equal(without.by_variant, with_log.by_variant)
    with pytest.raises(ValueError, match="no log"):
        without.field("click")


def test_another_seed_gives_other_users() -> None:
    w = world()
    a, b = (run(w, ids=np.arange(50), seed=seed) for seed in (1, 2))
    assert not np.intersect1d(a.click_probability[:, 0], b.click_probability[:, 0]).size


def test_bursts_kept_from_many_seeds_are_those_of_a_new_stage() -> None:
    """More blocks than are kept: what was thrown away is drawn again alike."""
    w = world(config=replace(BUSY, burst_sessions=1))
    stage, ids = Stage.of(w), np.arange(100)
    for seed in (0, 1, 2, 0):
        kept, new = stage.bursts(seed, ids), Stage.of(w).bursts(seed, ids[40:])
        np.testing.assert_array_equal(kept[40:], new)
        assert len(np.unique(kept)) == kept.size
    assert not np.isin(stage.bursts(1, ids), kept).any()


# What happens in a session.


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_session_repeats_no_story_while_there_are_others(n: int, steps: int, seed: int) -> None:
    w = world(1, EngagementConfig(steps=steps, stay=50.0, activity_sd=0.0), items=14)
    stage = Stage.of(w, np.arange(2, 2 + n))
    found = run_table(stage, seed, np.arange(10), uniform_table(w), log=True)
    met = found.field("item").astype(int)
    for session, length in zip(met, found.lengths, strict=True):
        for start in range(0, length, n):
            block = session[start : min(start + n, length)]
            assert len(set(block)) == len(block)
        assert ((session[:length] >= 2) & (session[:length] < 2 + n)).all()


def test_stories_are_met_equally_often() -> None:
    """50,000 first, second and ninth stories of 10: chi-square with 9 degrees of freedom below 36.3 (p = .000035)."""
    w = world(0, EngagementConfig(steps=9, visits=1, stay=50.0), items=10)
    met = run_table(Stage.of(w), 0, np.arange(50_000), uniform_table(w), log=True).field("item")
    for step in (0, 1, 8):
        counts = np.bincount(met[:, step].astype(int), minlength=10)
        assert ((counts - 5000) ** 2 / 5000).sum() < 36.3
    # And in any order: the last is no function of the first.
    pairs = np.bincount((met[:, 0] * 10 + met[:, 8]).astype(int), minlength=100).reshape(10, 10)
    off = pairs[~np.eye(10, dtype=bool)]
    assert not pairs.diagonal().any()
    assert ((off - 50_000 / 90) ** 2 / (50_000 / 90)).sum() < stats.chi2(80).isf(1e-5)


def test_actions_follow_the_table() -> None:
    """Chi-square over all candidates with weight; false alarm 1 in 100,000."""
    w = world(2, BUSY, items=6)
    table = some_table(w, 4)
    found = run_table(Stage.of(w), 0, np.arange(20_000), table, log=True)
    active = np.arange(found.field("item").shape[1]) < found.lengths[:, None]
    item, action, p = (found.field(f)[active] for f in ("item", "action", "probability"))
    np.testing.assert_array_equal(p, table[item.astype(int), action.astype(int)])
    counts = np.zeros(table.shape)
    np.add.at(counts, (item.astype(int), action.astype(int)), 1)
    expected = counts.sum(axis=1, keepdims=True) * table
    assert (counts[table == 0] == 0).all()
    some = table > 0
    chi2 = ((counts - expected)[some] ** 2 / expected[some]).sum()
    assert chi2 < stats.chi2(some.sum() - len(table)).isf(1e-5)


def test_clicks_follow_their_probability() -> None:
    """Each tenth of the probabilities, and all: 11 z below 4.5 (false alarm 75 in a million)."""
    steps = run(world(config=replace(BUSY, burst_sd=0.5)), ids=np.arange(10_000))
    p, click = steps.click_probability[steps.active], steps.click[steps.active]
    assert ((click == 0) | (click == 1)).all()
    order = np.argsort(p, kind="stable")
    for part in (order, *np.array_split(order[p[order] > 0], 10)):
        z = (click[part] - p[part]).sum() / np.sqrt((p[part] * (1 - p[part])).sum())
        assert abs(z) < 4.5
    assert (steps.dwell_seconds[steps.click == 0] == 0).all()
    assert (steps.dwell_seconds[steps.click == 1] > 0).all()


def test_a_session_ends_once() -> None:
    steps = run(world())
    lengths = steps.active.sum(axis=1)
    assert (lengths >= 1).all()
    for session, length in enumerate(lengths):
        assert steps.active[session, :length].all()
        assert steps.done[session, length - 1]
        assert not steps.done[session, : length - 1].any()


def test_metrics_are_sums_of_the_log() -> None:
    found = run(world(config=BUSY)).sessions
    active = np.arange(found.field("item").shape[1]) < found.lengths[:, None]
    sums = {
        "impressions": active.sum(axis=1),
        "clicks": found.field("click").sum(axis=1),
        "expected_clicks": found.field("click_probability").sum(axis=1),
        "dwell_seconds": found.field("dwell_seconds").sum(axis=1),
        "satisfaction": found.field("satisfaction").sum(axis=1),
        "conversions": (found.field("conversion_value") > 0).sum(axis=1),
        "conversion_value": found.field("conversion_value").sum(axis=1),
        "visits": found.field("visit_over").sum(axis=1),
        "segment": found.field("segment")[:, 0],
        "device": found.field("device")[:, 0],
    }
    for name, expected in sums.items():
        np.testing.assert_allclose(found.metric(name), expected, rtol=1e-12, err_msg=name)
    np.testing.assert_array_equal(found.metric("came_back"), found.metric("visits") > 1)


def test_users_are_who_they_are_said_to_be() -> None:
    """20,000 users: shares of segments and devices by chi-square, hours and stories read before by their means."""
    w = world(config=EngagementConfig(activity_sd=0.4))
    found = run_table(Stage.of(w), 0, np.arange(20_000), uniform_table(w), log=True)
    segments = np.bincount(found.metric("segment").astype(int), minlength=4)
    devices = np.bincount(found.metric("device").astype(int), minlength=len(DEVICES))
    assert stats.chisquare(segments).pvalue > 1e-5
    assert stats.chisquare(devices, 20_000 * np.array(DEVICE_SHARE)).pvalue > 1e-5
    # Density 1 + .8 cos(2 pi (h - 19) / 24): the mean of the cosine is .4, of its square about 1/2.
    hour, returning = (found.field(f)[:, 0] for f in ("hour", "returning"))
    assert abs(np.cos(2 * np.pi * (hour - 19) / 24).mean() - 0.4) < 4.5 * np.sqrt(0.34 / 20_000)
    assert abs(np.sin(2 * np.pi * (hour - 19) / 24).mean()) < 4.5 * np.sqrt(0.5 / 20_000)
    assert abs(returning.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(20_000)
    # Poisson with log-normal mean 5 exp(a), a of sd .4: mean m = 5 exp(.08), variance m + m^2 (exp(.16) - 1).
    m = 5 * np.exp(0.08)
    sd = np.sqrt(m + m * m * (np.exp(0.16) - 1))
    assert abs(found.metric("earlier").mean() - m) < 4.5 * sd / np.sqrt(20_000)


def test_hours_are_quantiles_of_the_density() -> None:
    """Where the density 1 + .8 cos(2 pi (h - 19) / 24) over 24 has the area (i + 1/2) / 256, to a tenth of a second."""
    hours = Stage.of(world()).truth.hours
    area = hours / 24 + 0.8 / (2 * np.pi) * (
        np.sin(2 * np.pi * (hours - 19) / 24) + np.sin(2 * np.pi * 19 / 24)
    )
    np.testing.assert_allclose(area, (np.arange(256) + 0.5) / 256, atol=1e-6)


def test_stories_read_before_foretell_those_read_now() -> None:
    """What CUPED uses is known before the session and correlates with it; without activity it foretells nothing."""
    w = world(config=EngagementConfig(activity_sd=0.8))
    busy, alike = (
        run_table(Stage.of(other), 0, np.arange(20_000), uniform_table(w))
        for other in (w, world(config=EngagementConfig().without("activity")))
    )
    related, unrelated = (
        np.corrcoef(f.metric("earlier"), f.metric("impressions"))[0, 1] for f in (busy, alike)
    )
    assert related > 0.15
    assert abs(unrelated) < 4.5 / np.sqrt(20_000)


def test_the_agent_is_told_what_the_log_says() -> None:
    steps = run(world(config=BUSY))
    assert LOG[CONTEXT_AT:] == (*(f.name for f in CONTEXT.fields[:-1]), "mood")
    told = [steps.sessions.field(name)[steps.active] for name in LOG[CONTEXT_AT:]]
    columns = dict(zip((f.name for f in CONTEXT.fields), told, strict=True))
    np.testing.assert_array_equal(steps.context[steps.active], CONTEXT.encode(columns))
    assert (np.abs(told[-1]) <= 1).all()
    assert not told[-1][0]


def test_identical_arms_differ_more_than_poisson_counts_do() -> None:
    """Clicks of a variant in blocks of n sessions: variance over mean is 1 + m (exp(s^2) - 1) - m exp(s^2) / n.

    The last term is that of a binomial count, about m = .3 n / 3. Over 1,500 blocks and three variants (4,500 counts)
    within 4.5 standard errors, estimated from the spread of the squares; false alarm 7 in a million.
    """
    s, n, blocks = 0.3, 300, 1500
    config = EngagementConfig(
        base_click_rate=0.3, story_sd=0.0, steps=1, visits=1, burst_sd=s, burst_sessions=n
    )
    for sd in (s, 0.0):
        w = world(5, replace(config, burst_sd=sd), items=1, sizes=(3, 3))
        stage, table = Stage.of(w), uniform_table(w)
        counts = np.array(
            [
                run_table(stage, 1, np.arange(b * n, (b + 1) * n), table).by_variant[:3, 1]
                for b in range(blocks)
            ]
        )
        m = counts.mean(axis=0)
        ratio = (counts - m) ** 2 / m * blocks / (blocks - 1)
        expected = 1 + m * (np.exp(sd * sd) - 1) - m * np.exp(sd * sd) / n
        error = (ratio - expected).mean() / (ratio.std() / np.sqrt(ratio.size))
        assert abs(error) < 4.5
        assert (ratio.mean() > 2) == (sd > 0)


# Rates.


@pytest.mark.parametrize("seed", [0, 1])
def test_true_rates_are_those_of_a_long_run(seed: int) -> None:
    """Expected clicks an impression of 36 to 48 candidates over 60,000 sessions, against 20,000 typical impressions.

    Each z below 5 (48 of them: false alarm 3 in 100,000). The candidates share their typical users, so that the sum of
    squares has heavier tails than chi-square; with half as many degrees of freedom, 3 times the number is p = 1e-5.
    """
    w = world(seed, EngagementConfig().without("overdispersion"))
    stage, c = Stage.of(w), w.candidates
    rows = typical_impressions(stage, seed, 20_000)
    rates = true_rates(stage, rows)[c.available]
    found = run_table(stage, seed, np.arange(60_000), uniform_table(w), log=True)
    active = np.arange(found.field("item").shape[1]) < found.lengths[:, None]
    variant = c.table[tuple(found.field(f)[active].astype(int) for f in ("item", "action"))]
    p = found.field("click_probability")[active]
    impressions, expected = found.by_variant[:-1, 0], found.by_variant[:-1, 2]
    mean = expected / impressions
    variance = np.bincount(variant, weights=p * p, minlength=len(mean)) / impressions - mean**2
    z = (mean - rates) / np.sqrt(variance * (1 / impressions + 1 / len(rows)))
    assert np.abs(z).max() < 5
    assert (z * z).sum() < 3 * len(z)
    # Variants differ by far more than that error: the agreement is not one of blurred averages.
    assert np.corrcoef(mean, rates)[0, 1] > 0.99


def test_rates_are_zero_where_there_is_no_candidate() -> None:
    w = world()
    stage = Stage.of(w)
    rates = true_rates(stage, typical_impressions(stage, 0, 50))
    np.testing.assert_array_equal(rates > 0, w.candidates.available)


def test_typical_users_are_in_the_middle_of_sessions() -> None:
    w = world()
    users = typical_users(Stage.of(w), 0, 500)
    assert users.shape == (500, len(CONTEXT.fields))
    step = users[:, [f.name for f in CONTEXT.fields].index("step")]
    assert {0.0, 1 / 7} < {*step}
    np.testing.assert_array_equal(users, typical_users(Stage.of(w), 0, 500))


# Mechanisms, seen from outside.


def test_fatigue_lowers_later_clicks_and_only_those() -> None:
    w = world(config=EngagementConfig(visits=1))
    tired, fresh = run(changed(w, fatigue=0.5)), run(changed(w, fatigue=0.0))
    np.testing.assert_array_equal(tired.click_probability[:, 0], fresh.click_probability[:, 0])
    # Who clicked in one and not in the other looks on or not for another reason.
    later = tired.active & fresh.active & (tired.click_probability > 0) & (fresh.click_probability > 0)
    later[:, 0] = False
    same = np.cumsum(tired.click != fresh.click, axis=1) == 0
    later &= same
    assert later.sum() > 500
    assert (tired.click_probability[later] < fresh.click_probability[later]).all()


def test_with_everything_switched_off_every_user_is_alike() -> None:
    config = EngagementConfig().without(
        "taste", "position", "cascade", "overdispersion", "device", "hour", "fatigue", "wear", "boredom"
    )
    w = world(config=config)
    steps = run(w)
    item, action, p = (a[steps.active] for a in (steps.item, steps.action, steps.click_probability))
    logit = w.appeal[w.candidates.table[item, action]]
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-logit)), rtol=1e-12)


def test_regretted_clickbait_shortens_visits() -> None:
    w = world(items=30)
    c = w.candidates
    sensational = np.zeros(c.table.shape)
    order = np.where(c.available, w.clickbait[c.table], -np.inf).argmax(axis=1)
    sensational[np.arange(30), order] = 1.0
    lengths = [
        run_table(Stage.of(changed(w, clickbait_regret=r)), 0, np.arange(3000), sensational).lengths.mean()
        for r in (0.0, 0.8)
    ]
    assert lengths[1] < 0.95 * lengths[0]


def test_satisfied_users_stay_read_and_come_back() -> None:
    """The clairvoyant that weighs satisfaction leaves users happier than the one that takes the next click."""
    w = world(items=30)
    greedy, kind = (run_table(Stage.of(w), 0, np.arange(3000), None, weight=x) for x in (0.0, 0.1))
    for name in ("impressions", "visits", "came_back"):
        assert kind.metric(name).mean() > greedy.metric(name).mean(), name
    happy = [f.metric("satisfaction").sum() / f.metric("impressions").sum() for f in (kind, greedy)]
    assert happy[0] > happy[1]


# Comparisons.


def test_a_policy_against_itself_differs_by_nothing() -> None:
    w = world()
    same = {name: outcome(w, Uniform(), seed=1, sessions=300) for name in ("a", "b")}
    (found,) = compare(same, [("a", "b")], [str(i) for i in range(12)])
    assert (found.uplift, found.low, found.high) == (0.0, 0.0, 0.0)


def test_an_oracle_wins_and_its_interval_excludes_zero() -> None:
    w = world(items=40)
    c = w.candidates
    best = np.where(c.available, w.appeal[c.table], -np.inf).argmax(axis=1)

    class Oracle(First):
        def probabilities(self, state: State) -> np.ndarray:
            p = np.zeros(state.available.shape)
            p[np.arange(len(p)), best[state.item]] = 1.0
            return p

    found = {name: outcome(w, p, seed=1, sessions=2000) for name, p in (("o", Oracle()), ("u", Uniform()))}
    (result,) = compare(found, [("o", "u")], [str(i) for i in range(40)])
    assert result.low > 0.05
    assert result.item_uplift.shape == (40,)


def test_permuting_keeps_every_embedding_once() -> None:
    c = world().candidates
    dealt = permuted(c, 3)
    order = lambda a: a[np.lexsort(a.T)]  # noqa: E731
    np.testing.assert_array_equal(order(dealt.content[:-1]), order(c.content[:-1]))
    assert not np.array_equal(dealt.content, c.content)
    np.testing.assert_array_equal(dealt.content[-1], 0.0)
