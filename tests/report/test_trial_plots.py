import math
from xml.etree import ElementTree

import pytest

from multimodal_dql.report import trial_plots
from multimodal_dql.report.trial_words import p_value, percents


def of_class(svg, css):
    return [e.attrib for e in ElementTree.fromstring(str(svg)).iter() if e.attrib.get("class") == css]


def test_a_band_lies_where_its_numbers_are():
    # Ends -1 .. 1, with 6 % of 2 free on either side: a scale over 2.24 on which -1 is 5.36 % up and .5 72.32 %.
    svg = trial_plots.band_chart([(50, 0.0, -1.0, 1.0), (100, 0.5, -1.0, 1.0)], 0.14, "x")
    assert [e["points"] for e in of_class(svg, "band")] == ["50.00,94.64 100.00,94.64 100.00,5.36 50.00,5.36"]
    assert [e["points"] for e in of_class(svg, "curve")] == ["50.00,50.00 100.00,27.68"]
    # 160 pixels high from 8 on: .5 lies at 168 - 160 * .7232; the strip is .28 / 2.24 of that, about 88.
    assert [(e["cx"], e["cy"]) for e in of_class(svg, "dot")] == [("100.00%", "52.29")]
    assert [(e["y"], e["height"]) for e in of_class(svg, "tolerance")] == [("78.00", "20.00")]


def test_a_wide_beginning_does_not_squeeze_the_end():
    looks = [(10 * k, 0.1, 0.1 - 9 / k**2, 0.1 + 9 / k**2) for k in range(1, 31)]
    (dot,) = of_class(trial_plots.band_chart(looks, 0.01, "x"), "dot")
    assert 20 < float(dot["cy"]) < 156
    ends = of_class(trial_plots.band_chart(looks, 0.01, "x"), "band")[0]["points"].split()
    last = [float(point.split(",")[1]) for point in ends if point.startswith("100.00,")]
    assert max(last) - min(last) > 10  # of 100; with the first look on the scale it would be 0.1


@pytest.mark.parametrize(
    "looks",
    [
        [],
        [(10, 0.1, -math.inf, math.inf)],
        [(10, math.nan, -math.inf, math.inf), (20, 0.1, -0.1, 0.3)],
        [(10, 0.0, 0.0, 0.0), (20, 0.0, 0.0, 0.0)],
        [(10, 0.2, -1.0, math.inf), (20, 0.1, -1.0, math.inf), (30, 0.1, -1.0, math.inf)],
    ],
)
def test_what_is_not_known_is_not_drawn(looks):
    svg = str(trial_plots.band_chart(looks, 0.0, "x"))
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg


def test_bars_are_as_high_as_their_shares():
    # 110 pixels for the highest share, .8, on a ground at 130; .2 is a quarter of it.
    svg = trial_plots.bars([0.8, 0.2], [0.4, 0.6], ["0", "1+"], "x")
    assert [(e["y"], e["height"]) for e in of_class(svg, "fill")] == [
        ("20.00", "110.00"),
        ("102.50", "27.50"),
    ]
    assert [e["y1"] for e in of_class(svg, "mark")] == ["75.00", "47.50"]
    assert [e["x"] for e in of_class(svg, "fill")] == ["7.00%", "57.00%"]


def test_bars_are_named_and_escaped():
    svg = trial_plots.bars([0.995, 0.005, 0.0], [], ["0", "<b>", "2"], '"><script>')
    found = ElementTree.fromstring(str(svg))
    assert [e.text for e in found.iter() if e.attrib.get("class") == "tick"] == [
        "100%",
        "0",
        "<1%",
        "<b>",
        None,
        "2",
    ]
    assert found.attrib["aria-label"] == '"><script>'
    assert of_class(svg, "mark") == []


@pytest.mark.parametrize(
    ("triple", "written"),
    [
        ((0.123, 0.1, 0.15), ("+12.3%", "+10.0%", "+15.0%")),
        ((0.0012, -0.0021, 0.0045), ("+0.12%", "−0.21%", "+0.45%")),
        ((0.00012, -0.00005, 0.00029), ("+0.012%", "−0.005%", "+0.029%")),
        ((3.0, -1.0, 7.0), ("+300.0%", "−100.0%", "+700.0%")),
        ((math.nan, -math.inf, math.inf), ("–", "–", "–")),
    ],
)
def test_an_effect_has_the_digits_its_interval_deserves(triple, written):
    assert percents(*triple) == written


def test_p_values_are_never_zero():
    assert [p_value(p) for p in (0.0, 0.0009, 0.034, 1.0, math.nan)] == [
        "< 0.001",
        "< 0.001",
        "= 0.034",
        "= 1.000",
        "= –",
    ]
