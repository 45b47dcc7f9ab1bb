"""Experiments: the same numbers however they are run, both designs right, every ending reachable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.policies.base import First, Policy, PolicyError, Uniform
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.analysis import OUTCOMES, Analysis, analyse, decided
from multimodal_dql.simulation.arms import WEIGHTS, Arm, best_weight, clairvoyant
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.experiment import Collected, Plan, assign, collect
from multimodal_dql.simulation.sessions import METRICS, Stage, run_table
from multimodal_dql.simulation.trial import planned_error, run_trial
from multimodal_dql.state import State

from .worlds import uniform_table, world


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage.of(world(3, items=10))


def arms(*names: str) -> list[Arm]:
    return [Arm(name, make_policy(name)) for name in names]


def same(a: Collected, b: Collected) -> None:
    """Every number of two experiments is equal to the last bit."""
    assert a.counts == b.counts
    for name, moments in a.whole.items():
        np.testing.assert_array_equal(moments.means, b.whole[name].means)
        np.testing.assert_array_equal(moments.cross, b.whole[name].cross)
    for name in a.arms:
        np.testing.assert_array_equal(a.by_variant[name], b.by_variant[name])
        np.testing.assert_array_equal(a.histogram[name], b.histogram[name])


@pytest.mark.parametrize("design", ["paired", "randomised"])
@pytest.mark.parametrize("names", [("first", "uniform"), ("uniform", "thompson", "linucb", "explore-commit")])
def test_one_worker_or_eight(stage: Stage, design: str, names: tuple[str, ...]) -> None:
    plan = Plan(3000, design, seed=1)  # type: ignore[arg-type]
    same(
        collect(stage, arms(*names), replace(plan, workers=1)),
        collect(stage, arms(*names), replace(plan, workers=8)),
    )


def test_sessions_do_not_depend_on_the_batch(stage: Stage) -> None:
    table = uniform_table(stage.world)
    whole = run_table(stage, 5, np.arange(640), table, log=True)
    parts = [run_table(stage, 5, np.arange(at, at + 10), table, log=True) for at in range(0, 640, 10)]
    np.testing.assert_array_equal(whole.metrics, np.concatenate([p.metrics for p in parts]))
    np.testing.assert_array_equal(whole.log, np.concatenate([p.log for p in parts if p.log is not None]))


def test_an_arm_against_itself_differs_by_nothing_when_paired(stage: Stage) -> None:
    found = analyse(
        collect(stage, [Arm("a", Uniform()), Arm("b", Uniform())], Plan(500)),
        Analysis("a", minimum_effect=0.02),
    )
    c = found.comparisons[0]
    assert (c.effect, c.low, c.high, c.p) == (0.0, 0.0, 0.0, 1.0)
    assert c.ending == "no meaningful difference"
    assert c.crn_variance_ratio == 0.0


def test_pairing_narrows_the_interval_and_says_by_how_much(stage: Stage) -> None:
    collected = collect(stage, arms("first", "uniform"), Plan(4000))
    c = analyse(collected, Analysis("first", outcome="stories")).comparisons[0]
    summary = collected.summaries()[""]
    a, b = "first:impressions", "uniform:impressions"
    difference = summary.variance(a) + summary.variance(b) - 2 * summary.covariance_of(a, b)
    assert c.crn_variance_ratio == pytest.approx(difference / (summary.variance(a) + summary.variance(b)))
    assert c.crn_variance_ratio is not None
    assert c.crn_variance_ratio < 0.9


def test_the_two_designs_agree(stage: Stage) -> None:
    """Effects differ by less than 4.5 standard errors (false alarm 7 in a million)."""
    paired = analyse(collect(stage, arms("first", "uniform"), Plan(20_000)), Analysis("first")).comparisons[0]
    apart = analyse(
        collect(stage, arms("first", "uniform"), Plan(40_000, "randomised")), Analysis("first")
    ).comparisons[0]
    error = (apart.high - apart.low + paired.high - paired.low) / (2 * 1.96)
    assert abs(paired.effect - apart.effect) < 4.5 * error


def test_assignment_follows_the_shares_and_the_session_alone() -> None:
    """40,000 sessions, shares 1:3; |z| below 4.5 (false alarm 7 in a million)."""
    ids = np.arange(40_000)
    arm = assign(7, ids, (1.0, 3.0))
    assert abs((arm == 0).sum() - 10_000) < 4.5 * np.sqrt(40_000 * 0.25 * 0.75)
    np.testing.assert_array_equal(arm[::-1], assign(7, ids[::-1], (1.0, 3.0)))
    assert not np.array_equal(arm, assign(8, ids, (1.0, 3.0)))


def test_a_planted_sample_ratio_bug_is_caught(stage: Stage) -> None:
    collected = collect(stage, arms("first", "uniform"), Plan(20_000, "randomised"))
    assert analyse(collected, Analysis("first")).sample_ratio_p > 0.001  # type: ignore[operator]
    collected.counts["uniform"] = int(collected.counts["uniform"] * 0.93)
    broken = analyse(collected, Analysis("first"))
    assert broken.sample_ratio_p < 1e-6  # type: ignore[operator]
    assert broken.comparisons[0].ending == "invalid: sample ratio"
    assert broken.comparisons[0].winner is None


def test_endings(stage: Stage) -> None:
    few = analyse(collect(stage, arms("first", "uniform"), Plan(100, "randomised")), Analysis("first"))
    assert few.comparisons[0].ending == "not enough data"
    best = [Arm("uniform", Uniform()), Arm("oracle")]
    won = analyse(collect(stage, best, Plan(2000)), Analysis("uniform")).comparisons[0]
    assert (won.ending, won.winner) == ("winner", "oracle")
    lost = analyse(collect(stage, best, Plan(2000)), Analysis("oracle")).comparisons[0]
    assert (lost.ending, lost.winner) == ("winner", "oracle")
    assert lost.effect < 0


@pytest.mark.parametrize("rule", ["group-sequential", "anytime"])
def test_a_clear_winner_ends_it_early_and_a_draw_does_not(stage: Stage, rule: str) -> None:
    plan = Plan(20_000, "randomised", looks=10)
    clear = run_trial(
        stage,
        [Arm("uniform", Uniform()), Arm("oracle")],
        plan,
        Analysis("uniform", rule=rule),  # type: ignore[arg-type]
        item_ids=[str(i) for i in range(10)],
    )
    assert clear.verdict.stopped_early
    assert clear.verdict.sessions < 20_000
    assert clear.verdict.comparisons[0].winner == "oracle"
    draw = run_trial(
        stage,
        [Arm("a", Uniform()), Arm("b", Uniform())],
        replace(plan, sessions=4000),
        Analysis("a", minimum_effect=0.0, rule=rule),  # type: ignore[arg-type]
        item_ids=[str(i) for i in range(10)],
    )
    assert not draw.verdict.stopped_early


def test_nothing_is_decided_on_a_handful_of_clicks(stage: Stage) -> None:
    """An interval read early is the whole line until each arm has 40 clicks."""
    two = [Arm("uniform", Uniform()), Arm("oracle")]
    collected = collect(stage, two, Plan(200, "randomised", looks=2))
    analysis = Analysis(
        "uniform", rule="anytime", planned_error=planned_error(stage, collected.plan, Analysis("uniform"), 2)
    )
    c = analyse(collected, analysis).comparisons[0]
    assert (c.low, c.high) == (-1.0, float("inf"))
    assert not decided(collected, analysis)


def test_false_winners_stay_within_five_per_cent(stage: Stage) -> None:
    """400 A/A experiments; more than 34 false winners would happen by chance in less than 2 of 1,000 runs."""
    same_policy = [Arm("a", Uniform()), Arm("b", Uniform())]
    analysis = Analysis("a", minimum_effect=0.0)
    wins = 0
    for seed in range(400):
        plan = Plan(600, "randomised", seed=seed, looks=1, workers=1)
        collected = collect(stage, same_policy, plan, segments=False)
        wins += analyse(collected, analysis, details=False).comparisons[0].winner is not None
    assert wins <= 34


def test_groups_make_up_the_whole(stage: Stage) -> None:
    collected = collect(stage, arms("first", "uniform"), Plan(1000, "randomised"))
    for attribute in ("segment", "device"):
        n = sum(g["first"].n for name, g in collected.groups.items() if name.startswith(attribute))
        assert n == collected.whole["first"].n == collected.counts["first"]
    assert sum(collected.histogram["first"]) == collected.counts["first"]


def test_every_outcome_is_the_mean_of_its_sessions(stage: Stage) -> None:
    collected = collect(stage, arms("first", "uniform"), Plan(800))
    found = analyse(collected, Analysis("first")).arms["uniform"]
    run = run_table(stage, (1 << 32), np.arange(800), uniform_table(stage.world))
    for outcome, (numerator, denominator) in OUTCOMES.items():
        name = "expected_clicks" if numerator == "clicks" else numerator
        below = run.metric(denominator).mean() if denominator else 1.0
        assert found[outcome][0] == pytest.approx(run.metric(name).mean() / below, rel=1e-9)


def test_counting_policies_learn(stage: Stage) -> None:
    """Thompson sampling earns more than chance; z above 4 over 30,000 paired sessions."""
    c = analyse(collect(stage, arms("uniform", "thompson"), Plan(30_000)), Analysis("uniform")).comparisons[0]
    assert c.effect > 0.02
    assert c.p < 1e-4


def test_learned_counts_are_those_of_the_arm_alone(stage: Stage) -> None:
    """Two experiments that differ in their other arms give a learning policy the same sessions."""
    a = collect(stage, arms("thompson", "first"), Plan(3000))
    b = collect(stage, arms("thompson", "uniform"), Plan(3000))
    np.testing.assert_array_equal(a.by_variant["thompson"], b.by_variant["thompson"])


class Broken(Policy):
    """Answers what it is told to."""

    name = "broken"
    reads_context = learns = False

    def __init__(self, how: str) -> None:
        self.how = how

    def probabilities(self, state: State) -> NDArray[np.float64]:
        p = np.zeros(state.available.shape)
        p[:, 0] = 0.7 if self.how == "sum" else 1.0
        if self.how == "masked":
            p[:, 0], p[:, -1] = 0.5, 0.5
        return p


@pytest.mark.parametrize(("how", "said"), [("sum", "do not sum to 1"), ("masked", "not available")])
@pytest.mark.parametrize("looks_at_users", [False, True])
def test_a_policy_that_breaks_its_contract_is_named(
    stage: Stage, how: str, said: str, looks_at_users: bool
) -> None:
    policy = Broken(how)
    policy.reads_context = looks_at_users
    with pytest.raises(PolicyError, match=f"'broken'.*{said}"):
        collect(stage, [Arm("broken", policy), Arm("first", First())], Plan(100))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Plan(0), UsageError, "0 sessions show nothing"),
        (lambda: Plan(-5), UsageError, "-5 sessions"),
        (lambda: Plan(100, "pared"), UnknownNameError, "did you mean 'paired'"),
        (lambda: Analysis("a", outcome="click"), UnknownNameError, "did you mean 'clicks'"),
        (lambda: Analysis("a", rule="any"), UnknownNameError, "stopping rule|rule"),  # type: ignore[arg-type]
        (lambda: Analysis("a", minimum_effect=-0.1), UsageError, "not negative"),
    ],
)
def test_bad_plans_are_refused(make, error, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=said):
        make()


def test_bad_arms_are_refused(stage: Stage) -> None:
    with pytest.raises(UsageError, match="once"):
        collect(stage, arms("first", "first"), Plan(100))
    with pytest.raises(UsageError, match="share above 0"):
        collect(stage, arms("first", "uniform"), Plan(100, "randomised", shares=(1.0, 0.0)))
    with pytest.raises(UnknownNameError, match="did you mean 'first'"):
        analyse(collect(stage, arms("first", "uniform"), Plan(100)), Analysis("frist"))


def test_a_few_sessions_never_fail(stage: Stage) -> None:
    """With a handful of clicks an interval of the logarithm may reach beyond what a float can hold."""
    for seed in range(60):
        for sessions in (5, 20, 60):
            plan = Plan(sessions, "randomised", seed=seed, looks=5)
            found = analyse(
                collect(stage, arms("first", "uniform"), plan), Analysis("first", rule="group-sequential")
            )
            c = found.comparisons[0]
            assert c.low <= c.high
            assert all(low <= high for _, low, high in [*c.outcomes.values(), *c.segments.values()])


def test_one_session_is_run_and_says_nothing(stage: Stage) -> None:
    for design in ("paired", "randomised"):
        found = analyse(collect(stage, arms("first", "uniform"), Plan(1, design)), Analysis("first"))  # type: ignore[arg-type]
        assert found.comparisons[0].ending == "not enough data"


def test_the_oracle_earns_at_least_what_greed_earns(stage: Stage) -> None:
    """Where clickbait is rewarded by clicks and punished later, greed loses; where satisfaction is off, it cannot."""
    metric = lambda s: float(s.metric("expected_clicks").mean())  # noqa: E731
    strong = EngagementConfig(
        clickbait_click=0.4, clickbait_regret=3.0, come_back_satisfaction=3.0, stay_satisfaction=3.0
    )
    tempting = Stage.of(world(3, strong, items=10))
    oracle, myopic = clairvoyant(tempting, 0, metric)
    assert oracle.weight > 0
    ids = np.arange(20_000, 40_000)
    earned = {a.name: metric(run_table(tempting, 9, ids, None, weight=a.weight)) for a in (oracle, myopic)}
    assert earned["oracle"] > 1.05 * earned["myopic"]
    indifferent = Stage.of(world(3, strong.without("satisfaction"), items=10))
    runs = [run_table(indifferent, 9, ids, None, weight=w) for w in (0.0, WEIGHTS[-1])]
    assert metric(runs[0]) > metric(runs[1])
    assert best_weight(indifferent, 0, metric) < 0.01


def test_references_and_regret(stage: Stage) -> None:
    trial = run_trial(
        stage, arms("first", "uniform"), Plan(2000), Analysis("first"), item_ids=[str(i) for i in range(10)]
    )
    names = [r.name for r in trial.references]
    assert names == ["oracle", "myopic"]
    for reference in trial.references:
        for arm, levels in trial.verdict.arms.items():
            expected = 1 - levels["clicks"][0] / reference.outcomes["clicks"]
            assert reference.regret[arm] == pytest.approx(expected)
            assert reference.regret[arm] > 0
    (stories,) = trial.stories
    assert len(stories.item_uplift) == 10
    assert stories.low < stories.uplift < stories.high
    # The two intervals answer different questions about one and the same effect.
    assert stories.uplift == pytest.approx(trial.verdict.comparisons[0].effect, rel=1e-9)


def test_metrics_are_named_once() -> None:
    assert len(set(METRICS)) == len(METRICS)
