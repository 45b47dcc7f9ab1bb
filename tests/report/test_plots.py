import math
import re
from xml.etree import ElementTree

import pytest

from multimodal_dql.report import plots
from multimodal_dql.report.plots import Scale, TrainingCurve


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg))


def one(svg: str, css: str) -> dict[str, str]:
    (found,) = [element.attrib for element in drawn(svg).iter() if element.attrib.get("class") == css]
    return found


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.011, 0.058, (0.02, 0.03, 0.04, 0.05)),
        (-0.12, 0.21, (-0.1, 0.0, 0.1, 0.2)),
        (0.0, 1.0, (0.0, 0.5, 1.0)),
        (-3.0, 1400.0, (0.0, 500.0, 1000.0)),
    ],
)
def test_ticks_are_round_and_few(low, high, ticks):

    assert plots.nice_ticks(low, high) == ticks


def test_a_scale_leaves_a_margin_and_places_in_percent():
    scale = plots.scale_of([10.0, 20.0, math.nan], margin=0.1)
    assert (scale.low, scale.high) == (9.0, 21.0)
    assert scale.place(9.0) == 0.0
    assert scale.place(12.0) == 25.0
    assert scale.place(99.0) == 100.0
    assert scale.holds(21.0)
    assert not scale.holds(21.1)


@pytest.mark.parametrize("values", [[], [math.nan], [0.0], [0.03, 0.03], [-5.0], [1e-300, 1e-300]])
def test_a_scale_of_one_place_or_none_still_has_a_width(values):
    scale = plots.scale_of(values)
    assert scale.high > scale.low
    assert all(0 <= scale.place(value) <= 100 for value in values if math.isfinite(value))


def test_an_interval_is_drawn_where_its_numbers_are():
    # 0.03 lies at 40 % of 0.01 .. 0.06; its interval from 0.02 (20 %) to 0.05 (80 %).
    svg = plots.interval(Scale(0.01, 0.06), 0.03, 0.02, 0.05, core=(0.025, 0.035))
    assert one(svg, "dot")["cx"] == "40.00%"
    assert (one(svg, "whisker")["x1"], one(svg, "whisker")["x2"]) == ("20.00%", "80.00%")
    assert (one(svg, "core")["x1"], one(svg, "core")["x2"]) == ("30.00%", "50.00%")


def test_zero_and_grid_lines():
    svg = plots.dot(Scale(-0.1, 0.3, (0.0, 0.2)), 0.1, zero=0.0)
    assert one(svg, "zero")["x1"] == "25.00%"
    grid = [e.attrib["x1"] for e in drawn(svg).iter() if e.attrib.get("class") == "grid"]
    assert grid == ["25.00%", "75.00%"]
    assert one(svg, "dot")["cx"] == "50.00%"


def test_a_dot_beyond_the_scale_is_marked_at_its_edge():
    assert one(plots.dot(Scale(0, 1), 7.0), "dot beyond")["cx"] == "100.00%"


def test_numbers_that_are_not_known_are_not_drawn():
    svg = plots.interval(Scale(0, 1), math.nan, math.nan, 0.5) + plots.diamond(Scale(0, 1), math.nan, 0, 1)
    assert "<circle" not in svg
    assert "whisker" not in svg
    assert "polygon" not in svg


def test_a_diamond_spans_the_interval_and_is_widest_at_the_estimate():
    # Interval 0.25 .. 0.75 of a scale from 0 to 1, estimate 0.35: a fifth of the way.
    svg = plots.diamond(Scale(0, 1), 0.35, 0.25, 0.75)
    inner = drawn(svg).find("svg").attrib
    assert (inner["x"], inner["width"]) == ("25.00%", "50.00%")
    assert one(svg, "diamond")["points"] == "0,50 20.00,0 100,50 20.00,100"


@pytest.mark.parametrize(("share", "width"), [(0.93, "93.00%"), (1.7, "100.00%"), (math.nan, "0.00%")])
def test_a_bar_is_as_long_as_its_share(share, width):
    assert one(plots.bar(share), "fill")["width"] == width


def test_a_caterpillar_sorts_and_names_its_dots():
    svg = plots.caterpillar(Scale(0, 1), [0.5, 0.2, math.nan, 0.9], ["b", "<a>", "lost", "c"])
    dots = [e for e in drawn(svg).iter() if e.attrib.get("class") == "dot"]
    assert [dot.find("title").text for dot in dots] == ["<a>", "b", "c"]
    assert [dot.attrib["cx"] for dot in dots] == ["20.00%", "50.00%", "90.00%"]
    heights = [float(dot.attrib["cy"]) for dot in dots]
    assert heights == sorted(heights)


def test_axis_labels_stand_under_their_ticks_and_are_escaped():
    svg = plots.axis(Scale(0, 10, (0.0, 5.0, 10.0)), lambda tick: f"<{tick:g}>")
    labels = [(e.attrib["x"], e.attrib["text-anchor"], e.text) for e in drawn(svg) if e.tag == "text"]
    assert labels == [("0.00%", "start", "<0>"), ("50.00%", "middle", "<5>"), ("100.00%", "end", "<10>")]


def test_a_curve_runs_through_its_points():
    # The scale is 0 .. 100 with 4 % margin: -4 .. 104, so 50 lies in the middle.
    svg = plots.line_chart((0, 50, 100), (0.0, 50.0, 100.0), "Loss <x>", str)
    assert one(svg, "curve")["points"] == "0.00,96.30 50.00,50.00 100.00,3.70"
    assert drawn(svg).attrib["aria-label"] == "Loss <x>"
    assert drawn(svg).attrib["role"] == "img"


def test_a_curve_breaks_where_numbers_are_missing_and_keeps_lone_points():
    values = (1.0, 2.0, math.nan, 3.0, math.inf, 2.0, 1.0)
    svg = plots.line_chart(tuple(range(7)), values, "x", str)
    assert [len(p.split()) for p in re.findall(r'points="([^"]*)"', svg)] == [2, 2]
    assert svg.count("<circle") == 1


def test_a_long_curve_is_thinned_without_losing_its_spike():
    steps = tuple(range(100_000))
    values = [0.0] * len(steps)
    values[54_321] = 1.0
    svg = plots.line_chart(steps, values, "x", str)
    (points,) = re.findall(r'points="([^"]*)"', svg)
    assert len(points.split()) <= 602
    assert min(float(point.split(",")[1]) for point in points.split()) == pytest.approx(
        100 - 100 * 1.04 / 1.08, abs=0.01
    )


def test_a_single_step_can_be_drawn():
    assert "<circle" in plots.line_chart((5,), (1.0,), "x", str)


def test_a_training_curve_refuses_series_of_another_length():
    with pytest.raises(ValueError, match="loss has 1 values for 2 steps"):
        TrainingCurve((1, 2), {"loss": (0.5,)})
