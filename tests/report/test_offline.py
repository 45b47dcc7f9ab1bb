import math
from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.report.offline import comparison_view, control_view, gain, gauge_scale
from multimodal_dql.report.texts import Texts

T = Texts("en")


def view(comparison, sample, control=None):
    return comparison_view(comparison, sample.catalogue, T, gauge_scale([comparison]), control)


@pytest.mark.parametrize(
    ("uplift", "low", "high", "says"),
    [
        (0.1, 0.04, 0.16, "brings 10.0% more clicks"),
        (-0.1, -0.16, -0.04, "brings 10.0% fewer clicks"),
        (0.02, -0.01, 0.05, "no difference is shown"),
        (0.02, 0.0, 0.05, "no difference is shown"),
    ],
)
def test_a_gain_is_claimed_only_when_the_interval_shows_it(sample, uplift, low, high, says):
    comparison = replace(sample.comparisons[0], uplift=uplift, low=low, high=high)
    assert says in gain(comparison, T)


def test_rows_carry_titles_and_signed_numbers(sample):
    made = view(sample.comparisons[0], sample)
    assert [(row.title.text, row.uplift) for row in made.rows] == [
        ("The old bridge", "+20.0%"),
        ("library", "−5.0%"),
        ("tie", "+10.0%"),
    ]
    assert made.notes == ()


def test_many_stories_share_one_drawing_and_wild_ones_are_counted(sample):
    uplifts = np.concatenate([np.linspace(-0.1, 0.2, 38), [50.0, np.inf]])
    names = tuple(f"s{i}" for i in range(40))
    made = view(replace(sample.comparisons[0], item_ids=names, item_uplift=uplifts), sample)
    assert made.rows == ()
    assert made.caterpillar.count("<circle") == 39
    assert made.notes == (
        "1 story lies beyond the scale and is drawn at its edge.",
        "1 story has no clicks to compare with and is not drawn.",
    )


def test_nothing_but_unknown_numbers_is_survived(sample):
    nan = math.nan
    comparison = replace(
        sample.comparisons[0],
        uplift=nan,
        low=nan,
        high=nan,
        arm_rate=nan,
        item_uplift=np.array([nan, nan, nan]),
    )
    made = view(comparison, sample)
    assert made.uplift == "–"
    assert made.side == "neutral"


def test_the_control_stands_on_the_scale_of_its_comparison(sample):
    assert view(sample.comparisons[0], sample, sample.control).control is not None
    assert view(sample.comparisons[1], sample, sample.control).control is None


def test_a_control_that_gains_is_called_out(sample):
    assert control_view(sample.control, T).passed
    gained = control_view(replace(sample.control, uplift=0.05, low=0.02, high=0.08), T)
    assert not gained.passed
    assert "Read the result with care" in gained.sentence
