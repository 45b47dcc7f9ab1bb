"""The page and the tables of the engagement check."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from multimodal_dql.errors import Lang, OutputError
from multimodal_dql.report import engagement
from multimodal_dql.report.engagement import print_check, print_model, render_check, write_check
from multimodal_dql.simulation.engagement import PARAMETERS, EngagementModel
from multimodal_dql.simulation.engagement_check import STATISTICS, EngagementCheck, check

MODEL = replace(EngagementModel(), intervals={"within_df": (3.5, 6.25)})


@pytest.fixture(scope="module")
def good() -> EngagementCheck:
    return check(MODEL, MODEL.sample(80, seed=2), seed=1, draws=40)


@pytest.fixture(scope="module")
def bad() -> EngagementCheck:
    return check(replace(MODEL, within_logit_sd=1.5), MODEL.sample(80, seed=2), seed=1, draws=40)


def shown(show: Callable[[Console], None]) -> str:
    out = io.StringIO()
    show(Console(file=out, width=140))
    return out.getvalue()


class Page(HTMLParser):
    """Counts tags, and fails on anything that would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe", "object")
        self.tags.append(tag)
        given = dict(attrs)
        self.classes += (given.get("class") or "").split()
        assert tag == "link" or not any(
            (given.get(name) or "").startswith("http") for name in ("src", "href")
        )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_is_whole_and_stands_alone(good: EngagementCheck, tmp_path: Path, lang: Lang) -> None:
    path = write_check(tmp_path / "new" / "页.html", good, MODEL, lang)
    text = path.read_text("utf-8")
    page = Page(text)
    assert text == render_check(good, MODEL, lang)
    assert page.tags.count("circle") == 5 * len(STATISTICS) + 1
    assert page.classes.count("whisker") == 5 * len(STATISTICS) + 1
    for words in (*STATISTICS.values(), *PARAMETERS.values()):
        assert words[lang == "zh"] in text
    assert "3.5 – 6.25" in text
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S).lower()


def test_what_is_outside_is_named_and_marked(good: EngagementCheck, bad: EngagementCheck) -> None:
    fine, wrong = render_check(good, MODEL), render_check(bad, MODEL)
    assert "Every quantity of the real tests lies where the model expects it." in fine
    assert "Outside what the model expects: " in wrong
    assert "sd of observed logits in a test" in wrong[wrong.index("Outside") :][:300]
    assert "against" not in Page(fine).classes
    assert "against" in Page(wrong).classes


def test_the_terminal_shows_every_quantile(good: EngagementCheck, bad: EngagementCheck) -> None:
    text = shown(lambda console: print_check(good, console))
    assert len(re.findall(r"\b(?:5|25|50|75|95)% ", text)) >= 5 * len(STATISTICS)
    assert f"{100 * good.share_significant_real:.1f}%" in text
    assert " no" not in text.split("Inside")[1]
    assert "超出模型预期范围" in shown(lambda console: print_check(bad, console, "zh"))


def test_the_terminal_shows_parameters_and_what_was_left_out() -> None:
    cleaning = {"rows": 12_345, "rows_in_risk_window": 7, "tests": 80}
    text = shown(lambda console: print_model(MODEL, cleaning, console))
    assert "3.5 .. 6.25" in text
    assert "12,345" in text
    assert "风险时段" in shown(lambda console: print_model(MODEL, cleaning, console, "zh"))


def test_every_sentence_is_in_both_languages() -> None:
    for key, (en, zh) in engagement._TEXTS.items():
        assert set(re.findall(r"\{(\w+)\}", en)) == set(re.findall(r"\{(\w+)\}", zh)), key
        assert any("\u4e00" <= c <= "\u9fff" for c in zh), key


def test_a_page_that_cannot_be_written(good: EngagementCheck, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_check(tmp_path / "file" / "index.html", good, MODEL)
