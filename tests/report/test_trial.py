"""The dictionary of a trial, and the number of sessions that would settle it."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from multimodal_dql.report import trial_to_dict
from multimodal_dql.report.trial import sessions_to_end, sessions_to_settle
from tests.report.trials import NAMED, STORIES, edited, trial


@pytest.mark.parametrize("name", NAMED)
def test_it_is_strict_json(name):
    said = trial_to_dict(trial(name))
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_the_keys_are_the_contract():
    said = trial_to_dict(trial("winners"))
    assert said.keys() >= {
        "design",
        "arms",
        "comparisons",
        "sample_ratio_p",
        "crn_variance_ratio",
        "rule",
        "sessions",
        "stopped_early",
        "minimum_effect",
        "references",
    }
    first = said["comparisons"][0]
    assert first.keys() >= {
        "arm",
        "against",
        "outcome",
        "effect",
        "low",
        "high",
        "p",
        "p_adjusted",
        "ending",
        "winner",
        "crn_variance_ratio",
        "cuped_variance_reduction",
        "segments",
        "outcomes",
        "curve",
        "stories",
    }
    assert said["arms"]["first"]["clicks"].keys() == {"value", "low", "high"}
    assert first["segments"]["device=mobile"].keys() == {"effect", "low", "high"}
    assert first["outcomes"].keys() == said["arms"]["first"].keys()
    assert first["stories"].keys() == {"effect", "low", "high", "stories"}
    assert said["references"].keys() == {"oracle", "myopic"}
    assert said["references"]["oracle"].keys() == {"outcomes", "regret"}


def test_the_numbers_are_those_of_the_trial():
    found = trial("winners")
    said = trial_to_dict(found)
    c = found.verdict.comparisons[1]
    assert [said["comparisons"][1][key] for key in ("arm", "effect", "low", "high", "winner")] == [
        "thompson",
        c.effect,
        c.low,
        c.high,
        c.winner,
    ]
    assert said["comparisons"][1]["stories"] == {
        "effect": found.stories[1].uplift,
        "low": found.stories[1].low,
        "high": found.stories[1].high,
        "stories": len(STORIES),
    }
    assert said["comparisons"][0]["curve"][-1] == [
        2000,
        *(c for c in found.verdict.comparisons[0].curve[-1][1:]),
    ]
    assert said["crn_variance_ratio"] == found.verdict.comparisons[0].crn_variance_ratio
    assert said["sample_ratio_p"] is None
    assert said["sessions_by_arm"] == {"first": 2000, "uniform": 2000, "thompson": 2000}


def test_a_randomised_trial_has_a_sample_ratio_and_no_pairs():
    said = trial_to_dict(trial("invalid"))
    assert said["sample_ratio_p"] < 1e-9
    assert said["crn_variance_ratio"] is None
    assert said["comparisons"][0]["stories"] is None
    assert said["comparisons"][0]["ending"] == "invalid: sample ratio"
    assert sum(said["sessions_by_arm"].values()) == said["sessions"] == 400


def test_what_is_not_known_is_null():
    said = trial_to_dict(trial("unbounded"))["comparisons"][0]
    assert said["high"] is None
    assert said["sessions_to_settle"] is None
    assert (
        trial_to_dict(edited("open", {"effect": math.nan, "low": -math.inf}))["comparisons"][0]["effect"]
        is None
    )
    assert trial_to_dict(trial("alone"))["crn_variance_ratio"] is None


def test_sessions_by_hand():
    # e = .1, h = .2, s = .1: (.2 + .0842)^2 / .1^2 = 8.07 times 1,000 sessions; up to two digits, 8,100.
    assert sessions_to_end(0.1, 0.2, 0.1, (0.0, 0.0), 1000) == 8100
    # No effect, tolerance .1: (.2 + .1282)^2 / .1^2 = 10.77.
    assert sessions_to_end(0.0, 0.2, 0.1, (-0.1, 0.1), 1000) == 11000
    # An effect of .03 leaves .07 to the tolerance: .3282^2 / .07^2 = 21.98, and .2842^2 / .03^2 = 89.7 is more.
    assert sessions_to_end(0.03, 0.2, 0.1, (-0.1, 0.1), 1000) == 22000
    assert sessions_to_end(0.0, 0.2, 0.1, (0.0, 0.0), 1000) is None
    assert sessions_to_end(1e-9, 0.2, 0.1, (0.0, 0.0), 1000) is None
    assert sessions_to_end(0.1, math.inf, math.inf, (0.0, 0.0), 1000) is None


@given(
    effect=st.floats(-0.3, 0.3),
    half=st.floats(0.01, 1.0),
    z=st.floats(1.2, 4.0),
    tolerance=st.floats(0.0, 0.2),
    n=st.integers(10, 10**6),
)
def test_that_many_sessions_end_four_experiments_of_five(effect, half, z, tolerance, n):
    needed = sessions_to_end(effect, half, half / z, (-tolerance, tolerance), n)
    if needed is None:
        return
    h, s = (x * math.sqrt(n / needed) for x in (half, half / z))
    # The estimate is normal about the effect; the experiment ends where its interval leaves 0 out or fits.
    wins = ndtr((effect - h) / s) + ndtr((-h - effect) / s)
    fits = max(0.0, ndtr((tolerance - h - effect) / s) - ndtr((-tolerance + h - effect) / s))
    assert max(wins, fits) >= 0.8 - 1e-9


def test_a_trial_asks_for_more_sessions_than_it_had():
    found = trial("open")
    (c,) = found.verdict.comparisons
    needed = sessions_to_settle(c, found)
    assert needed > found.verdict.sessions
    # Intervals are symmetric on the logarithm: h = 1.96 s there, and alpha is spent on one comparison.
    h, e = (math.log1p(c.high) - math.log1p(c.low)) / 2, math.log1p(c.effect)
    assert np.isclose(needed, 400 * (h * (1 + 0.8416 / 1.96) / e) ** 2, rtol=0.1)
