"""The compiled engine against the plain one, trajectory by trajectory, and each mechanism on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.simulation import engine
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.config import MECHANISMS, EngagementConfig
from multimodal_dql.simulation.sessions import LOG, METRICS, Sessions, Stage, run_table

from . import plain
from .worlds import some_table, uniform_table, world

CLICKS = EngagementConfig(
    base_click_rate=0.25, conversion_rate=0.4, boredom_threshold=1.5, look_after_skip=0.9, burst_sessions=7
)
"""Enough clicks, conversions, boredom and bursts that a few hundred sessions show every branch."""
LEVEL = replace(CLICKS, position_exponent=0.0)
"""All ranks alike: no probability reaches 1, where it is cut off."""


def logs(log: Sequence[dict[str, float]]) -> np.ndarray:
    return np.array([[float(step[name]) for name in LOG] for step in log])


def assert_same(stage: Stage, model: plain.Model, found: Sessions, seed: int, table: np.ndarray) -> None:
    """Every session step by step: choices exactly, real numbers to 1e-12; and the sums."""
    assert found.log is not None
    weights = table.tolist()
    counts = np.zeros((len(stage.truth.variants), 3))
    for s, session in enumerate(found.ids.tolist()):
        person, log, _ = plain.run_session(model, seed, session, weights)
        expected, got = logs(log), found.log[s]
        assert found.lengths[s] == len(log), session
        assert not got[len(log) :].any()
        got = got[: len(log)]
        for name in ("item", "action", "click", "visit_over", "done", "segment", "device", "returning"):
            k = LOG.index(name)
            np.testing.assert_array_equal(got[:, k], expected[:, k], err_msg=f"{session} {name}")
        # An hour is a sum taken modulo 24, a mood a difference: their errors are absolute.
        absolute = [LOG.index("hour"), LOG.index("mood")]
        np.testing.assert_allclose(got[:, absolute], expected[:, absolute], rtol=0, atol=1e-12)
        got, expected = (np.delete(rows, absolute, axis=1) for rows in (got, expected))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=0, err_msg=str(session))
        sums = plain.outcome(person, log)
        np.testing.assert_allclose(found.metrics[s], [float(sums[m]) for m in METRICS], rtol=1e-12, atol=0)
        for step in log:
            counts[int(step["variant"])] += (1, step["click"], step["click_probability"])
    np.testing.assert_array_equal(found.by_variant[:, :2], counts[:, :2])
    np.testing.assert_allclose(found.by_variant[:, 2], counts[:, 2], atol=2.0**-32 * counts[:, 0].max())


def against_plain(
    w: World, ids: np.ndarray, seed: int, table: np.ndarray, items: np.ndarray | None = None
) -> Sessions:
    stage = Stage.of(w, items)
    model = plain.Model(w, stage.truth.hours.tolist(), items=None if items is None else items.tolist())
    found = run_table(stage, seed, ids, table, log=True)
    assert_same(stage, model, found, seed, table)
    return found


@pytest.mark.parametrize(
    ("seed", "config", "items"),
    [
        (0, CLICKS, 12),
        (1, EngagementConfig(), 40),
        # Two stories, so that every variant is met again and again, and wears out.
        (2, replace(CLICKS, stay=4.0, come_back=3.0, wear_peak=1.5), 2),
        (2**40 + 3, replace(CLICKS, drift=1.0, interest_pull=0.3, boredom_stories=0.0), 5),
    ],
    ids=["clicks", "default", "wear", "drift"],
)
def test_it_agrees_with_the_plain_engine(seed: int, config: EngagementConfig, items: int) -> None:
    w = world(seed % 1000, config, items=items)
    found = against_plain(w, np.arange(150), seed, some_table(w, seed % 1000))
    assert {*np.unique(found.field("click"))} == {0.0, 1.0}
    assert found.metric("came_back").any()


def test_large_numbers_of_sessions_and_seeds_agree() -> None:
    w = world(3, CLICKS)
    ids = np.array([2**31 - 1, 2**31, 2**31 + 5, 2**31 + 700])
    against_plain(w, ids, 2**62 + 11, uniform_table(w))


def test_a_part_of_the_stories_agrees() -> None:
    w = world(4, CLICKS, items=9)
    items = np.array([7, 1, 4])
    found = against_plain(w, np.arange(40), 5, uniform_table(w), items)
    met = found.field("item")[np.arange(found.field("item").shape[1]) < found.lengths[:, None]]
    assert {*met.astype(int)} == {7, 1, 4}


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


CONFIGS = st.builds(
    EngagementConfig,
    base_click_rate=number(0.01, 0.7),
    story_sd=number(0, 1),
    within_sd=number(0, 0.5),
    burst_sd=number(0, 0.5),
    burst_sessions=st.integers(1, 20),
    taste_sd=number(0, 1),
    personal_share=number(0, 1),
    drift=number(0, 1),
    interest_pull=number(0, 1),
    clickbait_click=number(-0.5, 0.5),
    clickbait_regret=number(0, 2),
    position_exponent=number(0, 2),
    look_after_skip=number(0, 1),
    look_after_click=number(0, 1),
    device_effect=number(-1, 1),
    hour_effect=number(-1, 1),
    activity_sd=number(0, 1),
    fatigue=number(0, 0.5),
    wear_in=number(0, 0.5),
    wear_peak=number(0, 5),
    wear_out=number(0, 0.5),
    boredom=number(0, 2),
    boredom_threshold=number(0.5, 3),
    boredom_decay=number(0, 1),
    boredom_stories=number(0.01, 5),
    memory=number(0, 1),
    innovation_sd=number(0, 0.5),
    taste_satisfaction=number(-2, 2),
    sensitivity=number(0, 2),
    stay=number(-2, 4),
    stay_satisfaction=number(-2, 2),
    visits=st.integers(1, 4),
    come_back=number(-2, 4),
    come_back_satisfaction=number(-2, 2),
    gap_hours=number(0, 100),
    dwell_shape=number(0.3, 2),
    dwell_scale_seconds=number(1, 100),
    dwell_satisfaction=number(0, 2),
    conversion_rate=st.sampled_from((0.0, 0.03, 0.5, 1.0)),
    conversion_match=number(-1, 1),
    conversion_regret=number(-1, 1),
    conversion_value=number(0.1, 100),
    conversion_value_sd=number(0, 2),
    steps=st.integers(1, 9),
)


@settings(max_examples=100, deadline=None)
@given(CONFIGS, st.sets(st.sampled_from(sorted(MECHANISMS))), st.integers(0, 2**63 - 1), st.integers(1, 8))
def test_it_agrees_whatever_the_parameters(
    config: EngagementConfig, off: set[str], seed: int, items: int
) -> None:
    """Any mechanisms switched off in the configuration are left out of the plain engine altogether."""
    config.check()
    small = seed % 1000
    stage = Stage.of(world(small, config.without(*off), items=items))
    stage.world.config.check()
    whole = world(small, config, items=items)
    table = some_table(whole, small)
    found = run_table(stage, seed, np.arange(6), table, log=True)
    assert_same(
        stage, plain.Model(whole, stage.truth.hours.tolist(), leave_out=sorted(off)), found, seed, table
    )


class Pair:
    """The same sessions with a mechanism and without it, and the plain engine's reasons with it."""

    def __init__(
        self, name: str, config: EngagementConfig = CLICKS, items: int = 3, sessions: int = 120
    ) -> None:
        self.world, self.other = world(8, config, items=items), world(8, config.without(name), items=items)
        self.config, table, ids = config, uniform_table(self.world), np.arange(sessions)
        self.stage = Stage.of(self.world)
        self.on = run_table(self.stage, 6, ids, table, log=True)
        self.off = run_table(Stage.of(self.other), 6, ids, table, log=True)
        self.model = plain.Model(self.world, self.stage.truth.hours.tolist())
        self.reasons = [plain.run_session(self.model, 6, s, table.tolist())[2] for s in ids.tolist()]
        t = min(self.on.field("item").shape[1], self.off.field("item").shape[1])
        steps = np.arange(t)
        self.both = (steps < self.on.lengths[:, None]) & (steps < self.off.lengths[:, None])
        a, b = (run.field("click")[:, :t] for run in (self.on, self.off))
        clicked_alike = np.cumsum(a != b, axis=1) - (a != b) == 0
        self.alike = self.both & clicked_alike
        """(S, T): up to here both did the same."""

    def fields(self, name: str, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = where.shape[1]
        return self.on.field(name)[:, :t][where], self.off.field(name)[:, :t][where]

    def reason(self, name: str, where: np.ndarray) -> np.ndarray:
        return np.array([self.reasons[s][t][name] for s, t in zip(*np.nonzero(where), strict=True)])

    def first(self) -> np.ndarray:
        where = np.zeros_like(self.both)
        where[:, 0] = True
        return where

    def attraction(self, p: np.ndarray, where: np.ndarray, without: str = "") -> np.ndarray:
        """The logit of a click once a variant is looked at; NaN where nobody looks."""
        rest = [self.reason(f, where) for f in ("position", "cascade", "overdispersion") if f != without]
        with np.errstate(divide="ignore", invalid="ignore"):
            looked = p / np.prod(rest, axis=0)
            return np.log(looked / (1 - looked))


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_a_mechanism_that_is_off_leaves_the_rest_as_it_was(name: str) -> None:
    """Without it the engine is the plain engine that has no such code; draws stay the same."""
    pair = Pair(name, replace(CLICKS, wear_peak=1.0, stay=2.0))
    lean = plain.Model(pair.world, pair.stage.truth.hours.tolist(), leave_out=[name])
    assert_same(Stage.of(pair.other), lean, pair.off, 6, uniform_table(pair.world))
    for field in ("item", "action", "probability", "segment", "device"):
        np.testing.assert_array_equal(*pair.fields(field, pair.both))
    for field in ("hour", "returning"):
        np.testing.assert_array_equal(*pair.fields(field, pair.first()))
    # And it does something: a mechanism that changes nothing would pass all of the above.
    assert not np.array_equal(pair.on.metrics, pair.off.metrics)


@pytest.mark.parametrize("name", ["device", "hour", "fatigue", "wear", "boredom"])
def test_a_term_of_the_click_logit(name: str) -> None:
    """Wherever the same happened before, the click logits differ by the term, and nothing else differs."""
    pair = Pair(name, replace(CLICKS, base_click_rate=0.05, wear_peak=1.0, stay=3.0, boredom=0.7))
    on, off = (pair.attraction(p, pair.alike) for p in pair.fields("click_probability", pair.alike))
    looked = np.isfinite(on)
    np.testing.assert_array_equal(looked, np.isfinite(off))
    term = pair.reason(name, pair.alike)
    np.testing.assert_allclose((on - off)[looked], term[looked], atol=1e-9)
    assert np.unique(term[looked]).size > 1
    for field in ("satisfaction", "visit_over", "hour"):
        np.testing.assert_array_equal(*pair.fields(field, pair.alike))


@pytest.mark.parametrize("name", ["position", "cascade", "overdispersion"])
def test_a_factor_of_the_click_probability(name: str) -> None:
    pair = Pair(name, replace(CLICKS, base_click_rate=0.02, look_after_skip=0.7))
    on, off = pair.fields("click_probability", pair.alike)
    factor = pair.reason(name, pair.alike)
    free = pair.reason("cascade", pair.alike) > 0 if name != "cascade" else np.ones(len(on), bool)
    np.testing.assert_allclose(on[free], (off * factor)[free], rtol=1e-12)
    assert np.unique(factor).size > 1
    for field in ("satisfaction", "visit_over", "hour", "mood"):
        np.testing.assert_array_equal(*pair.fields(field, pair.alike))


def first_exposure(pair: Pair, run: Sessions, config: EngagementConfig) -> np.ndarray:
    s = run.field("satisfaction")[:, 0]
    return np.log(s / (1 - s)) / config.sensitivity


def first_variants(pair: Pair) -> np.ndarray:
    item, action = (pair.on.field(f)[:, 0].astype(int) for f in ("item", "action"))
    return pair.world.candidates.table[item, action]


def test_taste_moves_click_satisfaction_and_reading_time() -> None:
    pair, c = Pair("taste", LEVEL), LEVEL
    where = pair.first()
    on, off = (pair.attraction(p, where) for p in pair.fields("click_probability", where))
    match = pair.reason("taste", where)
    np.testing.assert_allclose(on - off, match, atol=1e-9)
    with_taste, without = (first_exposure(pair, run, c) for run in (pair.on, pair.off))
    np.testing.assert_allclose(with_taste - without, c.taste_satisfaction * np.tanh(match), atol=1e-9)
    clicked = (pair.on.field("click")[:, 0] > 0) & (pair.off.field("click")[:, 0] > 0)
    seconds, plain_seconds = (run.field("dwell_seconds")[clicked, 0] for run in (pair.on, pair.off))
    s, plain_s = (run.field("satisfaction")[clicked, 0] for run in (pair.on, pair.off))
    expected = np.exp(match[clicked]) * (s / plain_s) ** c.dwell_satisfaction
    np.testing.assert_allclose(seconds / plain_seconds, expected, rtol=1e-9)
    assert clicked.sum() > 10


def test_clickbait_draws_clicks_and_costs_satisfaction() -> None:
    config = LEVEL
    pair = Pair("clickbait", config)
    where = pair.first()
    z = pair.world.clickbait[first_variants(pair)]
    on, off = (pair.attraction(p, where) for p in pair.fields("click_probability", where))
    np.testing.assert_allclose(on - off, config.clickbait_click * z, atol=1e-9)
    regretted, forgotten = (first_exposure(pair, run, config) for run in (pair.on, pair.off))
    score = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(regretted - forgotten, -2 * config.clickbait_regret * (score - 0.5), atol=1e-9)


def test_with_regret_1_satisfaction_is_recsims() -> None:
    """Memory .7, sensitivity .01, no innovation: the published recursion, from the log alone."""
    config = replace(
        CLICKS.without("taste"),
        clickbait_regret=1.0,
        sensitivity=0.01,
        memory=0.7,
        innovation_sd=0.0,
        stay=9.0,
    )
    w = world(9, config)
    found = run_table(Stage.of(w), 0, np.arange(50), uniform_table(w), log=True)
    for s in range(50):
        exposure = 0.0
        for t in range(found.lengths[s]):
            item, action = (int(found.field(f)[s, t]) for f in ("item", "action"))
            score = 1 / (1 + math.exp(-w.clickbait[w.candidates.table[item, action]]))
            exposure = 0.7 * exposure - 2.0 * (score - 0.5)
            assert found.field("satisfaction")[s, t] == pytest.approx(
                1 / (1 + math.exp(-0.01 * exposure)), rel=1e-12
            )


def test_drift_acts_after_a_click_or_a_visit_and_not_before() -> None:
    pair = Pair("drift", replace(LEVEL, drift=0.5, interest_pull=0.5, come_back=3.0))
    t = pair.both.shape[1]
    clicks, ends = (np.cumsum(pair.on.field(f)[:, :t], axis=1) for f in ("click", "visit_over"))
    quiet = pair.both.copy()
    quiet[:, 1:] &= (clicks + ends)[:, :-1] == 0
    np.testing.assert_array_equal(*pair.fields("click_probability", quiet))
    after = pair.alike & ~quiet
    on, off = pair.fields("click_probability", after)
    looked = on > 0
    assert (on != off)[looked].all()


def test_a_click_pulls_taste_by_its_share_of_the_distance() -> None:
    """By hand on one row: taste t, clicked loading l, pull .25 -> t + .25 (l - t)."""
    w = world(5, replace(CLICKS, base_click_rate=0.6, interest_pull=0.25, position_exponent=0.0))
    stage = Stage.of(w)
    moved = 0
    for session in range(30):
        row = np.empty(stage.width)
        engine.start(row, stage.mechanics, stage.truth, stage.items, 1, session)
        before = row[engine.TASTE : engine.TASTE + 6].copy()
        variant = int(stage.truth.table[int(row[engine.ITEM]), 0])
        r = engine.respond(row, stage.mechanics, stage.truth, stage.items, variant, 1.0, 1, session)
        if r.visit_over:
            continue
        expected = before + 0.25 * r.click * (w.loading[variant] - before)
        np.testing.assert_allclose(row[engine.TASTE : engine.TASTE + 6], expected, atol=1e-14)
        moved += r.click > 0
    assert moved > 5


def test_without_activity_users_differ_in_nothing_but_taste_and_luck() -> None:
    """Neutral and equal users stay with probability logistic(stay): z below 4.5 (false alarm 7 in a million)."""
    config = replace(CLICKS, stay=0.4, steps=40, visits=1).without("activity", "satisfaction")
    w = world(6, config)
    found = run_table(Stage.of(w), 0, np.arange(20_000), uniform_table(w))
    stays, chances = float((found.lengths - 1).sum()), float(found.lengths.sum())
    p = 1 / (1 + math.exp(-0.4))
    assert abs(stays - chances * p) < 4.5 * math.sqrt(chances * p * (1 - p))


def test_users_come_back_with_the_probability_of_their_mood() -> None:
    """Without activity, z below 4.5 over 20,000 first visits; without return nobody does."""
    config = replace(CLICKS, come_back=-0.3, steps=1, visits=2).without("activity")
    w = world(6, config)
    found = run_table(Stage.of(w), 0, np.arange(20_000), uniform_table(w), log=True)
    mood = 2 * found.field("satisfaction")[:, 0] - 1
    p = 1 / (1 + np.exp(0.3 - config.come_back_satisfaction * mood))
    back = found.metric("came_back")
    assert abs((back - p).sum()) < 4.5 * math.sqrt((p * (1 - p)).sum())
    np.testing.assert_array_equal(found.metric("visits"), 1 + back)
    once = run_table(Stage.of(world(6, config.without("return"))), 0, np.arange(500), uniform_table(w))
    assert not once.metric("came_back").any()
    assert (once.metric("visits") == 1).all()


def test_conversions_have_their_rate_value_and_delay() -> None:
    """Everybody clicks, nobody has taste, no clickbait: rate .2, mean value 20, half within a day; each z below 4.5."""
    config = EngagementConfig(
        base_click_rate=1 - 1e-9,
        conversion_rate=0.2,
        conversion_value=20.0,
        steps=1,
        visits=1,
        story_sd=0.0,
        within_sd=0.0,
    ).without("taste", "clickbait", "overdispersion", "device", "hour")
    w = world(7, config)
    found = run_table(Stage.of(w), 0, np.arange(20_000), uniform_table(w), log=True)
    value, delay = (found.field(f)[:, 0] for f in ("conversion_value", "conversion_delay_hours"))
    sold = value > 0
    assert abs(sold.sum() - 4000) < 4.5 * math.sqrt(20_000 * 0.2 * 0.8)
    sd = 20 * math.sqrt(math.exp(config.conversion_value_sd**2) - 1)
    assert abs(value[sold].mean() - 20) < 4.5 * sd / math.sqrt(sold.sum())
    assert abs((delay[sold] <= 24).mean() - 0.5) < 4.5 * math.sqrt(0.25 / sold.sum())
    assert ((delay > 0) == sold).all()


def test_the_clairvoyant_choice_is_the_best_of_what_respond_would_say() -> None:
    """At every first story: no candidate has a higher probability of a click than the one that was chosen."""
    w = world(5, CLICKS)
    stage = Stage.of(w)
    found = run_table(stage, 3, np.arange(200), None, log=True)
    c = w.candidates
    for s in range(200):
        item, action = (int(found.field(f)[s, 0]) for f in ("item", "action"))
        factors = stage.bursts(3, np.array([s]))[0]
        said = []
        for variant in c.table[item][c.available[item]].tolist():
            row = np.empty(stage.width)
            engine.start(row, stage.mechanics, stage.truth, stage.items, 3, s)
            r = engine.respond(
                row, stage.mechanics, stage.truth, stage.items, variant, factors[variant], 3, s
            )
            said.append(r.click_probability)
        assert action == int(np.argmax(said))
        assert found.field("click_probability")[s, 0] == max(said)
        assert found.field("probability")[s, 0] == 1.0


def test_the_worth_of_satisfaction_is_what_a_story_adds_without_chance() -> None:
    """`value_of` is the change of exposure from zero: it equals the one that `respond` makes without innovation."""
    w = world(5, replace(CLICKS, innovation_sd=0.0))
    stage = Stage.of(w)
    for variant in range(6):
        row = np.empty(stage.width)
        engine.start(row, stage.mechanics, stage.truth, stage.items, 0, variant)
        expected = engine.value_of(row, stage.mechanics, stage.truth, variant)
        engine.respond(row, stage.mechanics, stage.truth, stage.items, variant, 1.0, 0, variant)
        assert row[engine.EXPOSURE] == pytest.approx(expected, rel=1e-12)
