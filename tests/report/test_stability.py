"""The section "Stability": what was measured and what monitors said, in both languages and as JSON."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from multimodal_dql.calibration import ReliabilityBin
from multimodal_dql.monitors import ACTIONS, Finding
from multimodal_dql.report import TrainingCurve, print_stability, reliability_to_list, stability_to_dict
from multimodal_dql.report.stability import stability_view
from multimodal_dql.report.texts import Texts
from multimodal_dql.stability import summarise
from tests.report.test_html import Page, render

VALUES = {
    "loss": (9.0, 8.0, 7.0, 6.0),
    "gradient_norm": (20.0, 15.0, 12.0, 10.0),
    "q_mean": (0.5, 1.0, 2.0, 3.0),
    "return_mean": (math.nan, 2.0, 2.0, 2.0),
    "churn": (0.5, 0.25, 0.1, 0.05),
    "dead_share": (0.0, 0.0, 0.1, 0.125),
}
CURVE = TrainingCurve((1, 2, 3, 4), VALUES)
FINDINGS = (
    Finding("loss", 2, 99.0, 80.0),
    Finding("loss", 3, 120.0, 80.0),
    Finding("transitions", 3, 0.125, 0.0),
    Finding("not_finite", 4, math.nan, 0.0),
)
STEADY, STOPPED = summarise(VALUES, ()), summarise(VALUES, FINDINGS)


def section(sample, loader, **changes):
    page = Page(render(sample, loader, training=CURVE, **changes))
    return page, page.all("section", "stability")


def test_a_steady_training_in_words(sample, loader):
    page, (found,) = section(sample, loader, stability=STEADY)
    assert "The training was steady: no monitor found anything in 4 rounds." in found["text"]
    assert "Q promised 3 and 2 came" in found["text"]
    assert "1.5 times what was realised" in found["text"]
    assert "50.0% of the probe decisions early and in 5.0% late" in found["text"]
    assert "12.5% of the hidden units were silent" in found["text"]
    assert found["text"].count("nothing found") == len(ACTIONS)
    assert page.all("div", "found") == []


def test_curves_are_drawn_once(sample, loader):
    page, _ = section(sample, loader, stability=STEADY)
    labels = [e["aria-label"].split(" over ")[0] for e in page.all("svg", "chart")]
    assert labels == [
        "Loss",
        "Silent hidden units",
        "Mean of the highest Q",
        "Gradient norm",
        "Changed first choices",
    ]
    assert len(page.all("polyline", "beside")) == 1
    page, found = section(sample, loader)  # without it all are drawn among the others
    assert found == []
    assert len(page.all("svg", "chart")) == len(VALUES)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_monitors_found_is_told_once_each(sample, loader, lang):
    page, (found,) = section(sample, loader, stability=STOPPED, lang=lang)
    wanted = {
        "en": (
            "2 times, first in round 2: the loss was 99, above 80, far from what it was before; went back",
            "round 3: 12.5% of the new data was not finite or out of range; it was left out",
            "round 4: a loss, gradient, Q value or weight was not finite; the training was stopped",
        ),
        "zh": (
            "共 2 次，首次在第 2 轮：损失为 99，高于 80",
            "第 3 轮：12.5% 的新数据",
            "第 4 轮：损失、梯度",
        ),
    }
    for words in wanted[lang]:
        assert words in found["text"]
    assert len(page.all("div", "found")) == 3


def test_every_monitor_and_action_has_its_words():
    for lang in ("en", "zh"):
        for name in ACTIONS:
            one = summarise(VALUES, [Finding(name, 1, 0.5, 0.25)])
            view = stability_view(one, None, Texts(lang))
            assert [said for title, said, found in view.monitors if found] != []
            assert view.figures == ()


def test_unknown_numbers_are_not_spoken_of():
    view = stability_view(summarise({}, ()), TrainingCurve((), {}), Texts("en"))
    assert view.numbers == ()
    assert view.figures == ()


def test_as_json():
    found = stability_to_dict(STOPPED)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["verdict"], found["iterations"], found["overestimate"]) == ("stopped", 4, 1.5)
    assert found["findings"][0] == {
        "monitor": "loss",
        "iteration": 2,
        "action": "lower",
        "value": 99.0,
        "limit": 80.0,
        "en": "the loss was 99, above 80, far from what it was before",
        "zh": "损失为 99，高于 80，远离此前的水平",
    }
    assert found["findings"][3]["value"] is None
    assert stability_to_dict(replace(STEADY, q_mean=math.nan))["overestimate"] is None


def test_in_a_terminal():
    out = io.StringIO()
    print_stability(STOPPED, Console(file=out, width=200))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("The training was stopped")
    assert [line.strip().split(":")[0] for line in lines[1:]] == ["Simulated data", "Finite numbers", "Loss"]


@pytest.mark.parametrize(
    ("lang", "said", "came"),
    [
        ("en", "said 80.0% (12 variants)", "came true 75.0% [47.0%, 91.0%]"),
        ("zh", "所给概率 80.0%（12 个变体）", "实际 75.0% [47.0%, 91.0%]"),
    ],
)
def test_reliability_is_drawn_bin_by_bin(sample, loader, lang, said, came):
    bins = (
        ReliabilityBin(0.5, 0.75, 30, 0.6, 0.5, 0.33, 0.67),
        ReliabilityBin(0.75, 1.0, 12, 0.8, 0.75, 0.47, 0.91),
    )
    page = Page(render(sample, loader, reliability=bins, lang=lang))
    (found,) = page.all("section", "reliability")
    assert said in found["text"]
    assert came in found["text"]
    assert reliability_to_list(bins)[1]["true"] == 0.75
    assert Page(render(sample, loader, lang=lang)).all("section", "reliability") == []
