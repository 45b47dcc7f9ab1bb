import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from multimodal_dql.report import print_trial
from tests.report.trials import NAMED, edited, trial


def shown(found, lang="en", width=100, **options):
    console = Console(file=io.StringIO(), width=width)
    print_trial(found, console, lang, **options)
    return console.file.getvalue()


def flat(found, lang="en", **options):
    text = shown(found, lang, width=400, **options)
    return " ".join(text.split())


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("name", NAMED)
def test_no_line_is_wider_than_the_terminal_and_nothing_can_steer_it(name, lang, width):
    text = shown(trial(name), lang, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    assert "nan" not in text
    assert "inf" not in text.replace("infor", "")


WON = {"effect": 0.123, "low": 0.1, "high": 0.15, "ending": "winner"}

ENDINGS = [
    (
        {**WON, "winner": "uniform"},
        "Against always the first variant, a variant drawn at random brings 12.3% more clicks a session (95% interval "
        "+10.0% to +15.0%).",
        "与“总是用第一个变体”相比，“随机选一个变体”的每会话点击数多 12.3%（95% 区间 +10.0% 至 +15.0%）。",
    ),
    (
        {"effect": -0.123, "low": -0.15, "high": -0.1, "ending": "winner", "winner": "first"},
        "Against always the first variant, a variant drawn at random brings 12.3% fewer clicks a session (95% interval "
        "-15.0% to -10.0%): always the first variant wins.",
        "与“总是用第一个变体”相比，“随机选一个变体”的每会话点击数少 12.3%（95% 区间 -15.0% 至 -10.0%）："
        "“总是用第一个变体”胜出。",
    ),
    (
        {**WON, "winner": "uniform", "effect": 0.02, "low": 0.004, "high": 0.036},
        "(95% interval +0.4% to +3.6%). It may still be smaller than the 1% that would matter.",
        "但实际效应仍可能小于有意义的 1%。",
    ),
    (
        {
            "effect": 0.001,
            "low": -0.008,
            "high": 0.0099,
            "ending": "no meaningful difference",
            "winner": None,
        },
        "No meaningful difference between a variant drawn at random and always the first variant: the 95% interval of "
        "the effect on clicks a session, -0.80% to +0.99%, lies within ±1%.",
        "“随机选一个变体”与“总是用第一个变体”没有实质差别：每会话点击数变化的 95% 区间（-0.80% 至 +0.99%）"
        "完全落在 ±1% 之内。",
    ),
    (
        # On the logarithm e = .0488, h = .1512, s = h / 2.2414 (two comparisons share alpha): (.2080 / .0488)^2 2,000.
        {
            "effect": 0.05,
            "low": 1.05 * 0.8597 - 1,
            "high": 1.05 / 0.8597 - 1,
            "ending": "not enough data",
            "winner": None,
        },
        "Not enough data to tell a variant drawn at random from always the first variant: the effect on clicks a "
        "session is +5.0%, and its 95% interval runs from -9.7% to +22.1%. If that effect is the true one, about "
        "37,000 sessions in all would settle it (chance of 80%).",
        "数据不足以区分“随机选一个变体”与“总是用第一个变体”：每会话点击数的变化为 +5.0%，95% 区间为 -9.7% 至 +22.1%。"
        "如果这就是真实效应，总共约需 37,000 次会话即可得出结论（把握为 80%）。",
    ),
]


@pytest.mark.parametrize(("changes", "english", "chinese"), ENDINGS)
def test_every_ending_is_a_sentence(changes, english, chinese):
    found = edited("winners", changes)
    assert english in flat(found)
    assert chinese in flat(found, "zh")


def test_an_invalid_trial_shows_no_effect():
    said = flat(trial("invalid"))
    assert (
        "Invalid: the policies did not get the planned shares of the sessions (sample ratio, p < 0.001). Do not read"
        in said
    )
    assert "Sample-ratio check: failed, p < 0.001." in said
    assert "oracle" not in said
    effect = abs(trial("invalid").verdict.comparisons[0].effect)
    assert f"{100 * effect:.1f}" not in said
    assert "样本比例检验：未通过" in flat(trial("invalid"), "zh")


def test_a_difference_that_is_real_and_too_small():
    found = edited("same", {"effect": 0.03, "low": 0.01, "high": 0.05})
    assert "lies within ±90%. The difference is real, and too small to matter." in flat(found)
    assert "差别确实存在，但小到没有意义。" in flat(found, "zh")


def test_an_interval_without_end_asks_for_more():
    assert "has no end. Simulate more sessions." in flat(trial("unbounded"))
    assert "没有边界" in flat(trial("unbounded"), "zh")


def test_one_policy_alone_is_not_compared():
    assert "nothing to compare it with" in flat(trial("alone"))
    assert "没有可比的对象" in flat(trial("alone"), "zh")


def test_how_much_common_random_numbers_narrowed_it():
    # The root of .25 is .5, of .16 is .4; 1 / .25 = 4 times the sessions, 1 / .16 = 6.25.
    found = edited("winners", {"crn_variance_ratio": 0.25}, {"crn_variance_ratio": 0.16})
    assert "intervals are 40% to 50% as wide" in flat(found)
    assert "worth 4.0 to 6.2 times the sessions" in flat(found)
    assert "共同随机数" in flat(found, "zh")


def test_how_much_what_was_known_narrowed_it():
    # Half a variance explained leaves the root of .5: 29.3 % narrower.
    said = flat(edited("open", {"cuped_variance_reduction": 0.5}))
    assert "explains 50.0% of the variance, which makes the intervals 29.3% narrower" in said
    assert f"Sample-ratio check: passed, p = {trial('open').verdict.sample_ratio_p:.3f}." in said


def test_what_the_long_term_is_worth():
    oracle, myopic = trial("winners").references
    missed = 1 - myopic.outcomes["clicks"] / oracle.outcomes["clicks"]
    said = flat(trial("winners"))
    assert missed > 0.001
    assert f"Greed on the next click alone, with the same knowledge, earns {100 * missed:.1f}% less" in said
    assert f"a variant drawn at random -{100 * oracle.regret['uniform']:.1f}%" in said
    assert "这就是此处顾及长期的价值" in flat(trial("winners"), "zh")


def test_greed_may_do_as_well():
    found = trial("winners")
    oracle, myopic = found.references
    even = replace(found, references=(oracle, replace(myopic, outcomes=oracle.outcomes)))
    assert "looking beyond the click is worth nothing here" in flat(even)
    assert "没有额外价值" in flat(even, "zh")


def test_other_stories_are_a_question_of_their_own():
    alike = [replace(c, low=-0.1, high=0.1) for c in trial("winners").stories]
    said = flat(replace(trial("winners"), stories=tuple(alike)))
    assert "For other stories like these, not only for more sessions of these 12, clicks against" in said
    assert "these stories do not show that others would go the same way" in said
    assert "若换成同类的其他条目" in flat(trial("winners"), "zh")


def test_it_says_what_it_rests_on():
    assert "A simulated audience, not real readers." in flat(trial("open"))
    assert "A model of our own past tests." in flat(trial("open"), evidence="A model of our own past tests.")


def test_an_early_stop_and_options_of_a_policy():
    said = flat(trial("early"))
    assert (
        f"It stopped early, after {trial('early').verdict.sessions:,} of 4,000 planned sessions, as its rule allows."
        in said
    )
    assert "upper confidence bound (UCB) [z=.5]" in said
