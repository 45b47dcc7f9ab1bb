import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from multimodal_dql.errors import OutputError
from multimodal_dql.ranking import Ranking
from multimodal_dql.report import render_html, write_html
from multimodal_dql.report.plots import TrainingCurve
from tests.report.samples import CHINESE, HOSTILE, RTL

VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """Every element with its attributes and the text inside; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **{name: value or "" for name, value in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **{name: value or "" for name, value in attrs}})

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag=None, css=None):
        return [
            e
            for e in self.elements
            if (tag is None or e["tag"] == tag) and (css is None or css in e.get("class", "").split())
        ]


def render(sample, loader, **changes):
    fields = {
        "ranking": sample.ranking,
        "catalogue": sample.catalogue,
        "comparisons": sample.comparisons,
        "training": sample.training,
        "control": sample.control,
        "media": loader,
    }
    return render_html(**(fields | changes))


@pytest.fixture(scope="module", params=["en", "zh"])
def text(request, sample, loader):
    return render(sample, loader, lang=request.param)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def english(sample, loader):
    return Page(render(sample, loader))


def test_nothing_comes_from_outside_and_nothing_runs(page):
    for element in page.elements:
        assert element["tag"] not in {"script", "iframe", "object", "embed", "form", "base"}
        assert not any(name.startswith("on") for name in element)
        for name in ("src", "href", "srcset", "poster", "action", "xlink:href"):
            assert element.get(name, "#").startswith(("#", "data:"))
        assert "url(" not in element.get("style", "")
    (style,) = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]


def test_the_content_security_policy_allows_inlined_media_only(page):
    (policy,) = [e["content"] for e in page.all("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "media-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_every_reference_on_the_page_has_its_target(page):
    ids = Counter(e["id"] for e in page.elements if "id" in e)
    assert set(ids.values()) == {1}
    wanted = {e["href"][1:] for e in page.all("a")} | {e["for"] for e in page.all("label")}
    wanted |= {e["aria-labelledby"] for e in page.elements if "aria-labelledby" in e}
    assert wanted <= ids.keys()


def test_pictures_players_and_plots_can_be_read_without_eyes(page):
    assert all("alt" in e for e in page.all("img"))
    assert all(e["alt"] for e in page.all("img", "large") + page.all("img", "thumb"))
    assert all(e["aria-label"] for e in page.all("audio"))
    for plot in page.all("svg", "plot"):
        assert plot.get("aria-hidden") == "true" or (plot["role"] == "img" and plot["aria-label"])


def test_each_variant_has_its_picture_or_says_why_not(english, sample):
    thumbs = english.all("img", "thumb")
    assert len(thumbs) == sum(
        v.image is not None and v.image.name != "broken.png" for v in sample.catalogue.variants
    )
    assert len(english.all("img", "large")) == 3
    assert {int(e["width"]) for e in english.all("img", "large")} == {480}
    assert len(english.all("audio")) == 2
    missing = [e["text"] for e in english.all("div", "missing")]
    assert missing == ["Picture not usable", "No picture"]
    (why,) = [e["text"] for e in english.all("p", "missing")]
    assert why.startswith("broken.png:")


def test_users_text_is_shown_as_written_and_knows_its_direction(page):
    for wanted, lang in ((HOSTILE, ""), (RTL, ""), (CHINESE, "zh")):
        found = [e for e in page.elements if e["text"] == wanted]
        assert found
        assert all(e["dir"] == "auto" and e["lang"] == lang for e in found)


def test_no_place_on_the_machine_is_named(text, sample):
    assert str(sample.catalogue.path.parent) not in text


def test_the_numbers_of_a_story(english):
    rows = [e["text"].split() for e in english.all("li", "row")]
    assert len(rows) == 9
    first = " ".join(rows[0])
    for part in ("91%", "4.2%", "3.4–5.3%", "+10.0% lift"):
        assert part in first
    assert "Chance of being best: 91%" in first
    (say,) = [e["text"] for e in english.all("p", "say") if "not far enough" in e["text"]]
    assert say.startswith("No clear winner: =1+1 (37%) is not far enough ahead of <b> (33%)")
    reasons = [" ".join(e["text"].split()) for e in english.all("li", "for")]
    assert "For: ▲ The picture speaks for it." in reasons


def test_the_thick_band_is_the_interval_of_the_lift_in_click_rates(sample, loader):
    # A rate of 0.04 with a lift of 0.25 means a mean of 0.032; lifts of 0 and 0.5 are 0.032 and 0.048.
    # All ends: 0.032 .. 0.064, with 6 % of the span (0.00192) left free at each end.
    item = sample.ranking.items[0]
    high = replace(
        item.variants[0],
        click_rate=0.04,
        click_rate_low=0.036,
        click_rate_high=0.064,
        lift=0.25,
        lift_low=0.0,
        lift_high=0.5,
    )
    ranking = replace(sample.ranking, items=(replace(item, variants=(high, replace(high, rank=2))),))
    page = Page(render(sample, loader, ranking=ranking))
    ends = {(e["x1"], e["x2"]) for e in page.all("line", "core")}
    assert ends == {("5.36%", "50.00%")}
    assert {e["cx"] for e in page.all("circle", "dot") if e["r"] == "5"} >= {"27.68%"}


def test_the_head_says_what_it_found_and_what_it_rests_on(english):
    (deck,) = english.all("p", "deck")
    assert deck["text"] == "Publish these: 2 clear winners, 1 lean, 1 without a clear winner."
    (gain,) = english.all("p", "gain")
    assert "10.0% more clicks (95% interval +4.0% to +16.0%)" in gain["text"]
    (evidence,) = english.all("aside", "evidence")
    assert "A simulated audience, not real readers." in evidence["text"]
    assert "device = 手机" in evidence["text"]
    assert [e["text"].split()[0] for e in english.all("p", "figure")] == ["+10.0%", "+6.0%"]


def test_the_comparison_the_control_and_the_curves(english):
    assert len(english.all("polygon", "diamond")) == 2
    assert len(english.all("svg", "control")) == 1
    (note,) = english.all("div", "control-note")
    assert "the interval includes zero" in note["text"]
    labels = [e["aria-label"] for e in english.all("svg", "chart")]
    assert labels[0].startswith("Loss over 990 training rounds: from 1 to 0.0917")
    assert labels[1].startswith("my metric over 990 training rounds: from 0.3 to 0.99")


def test_filters_count_and_cover_every_verdict(english):
    labels = [" ".join(e["text"].split()) for e in english.all("label")]
    assert labels == ["All 4", "Clear winner 2", "Lean 1", "No clear winner 1"]
    (style,) = english.all("style")
    for radio in english.all("input")[1:]:
        assert (
            f'main:has(#{radio["id"]}:checked) [data-verdict]:not([data-verdict="{radio["id"][2:]}"])'
            in style["text"]
        )


def test_the_chinese_page_is_chinese(sample, loader):
    page = Page(render(sample, loader, lang="zh"))
    (root,) = page.all("html")
    assert root["lang"] == "zh-Hans"
    for heading in page.all("h2"):
        assert re.search(r"[\u4e00-\u9fff]", heading["text"])
    (evidence,) = page.all("aside", "evidence")
    assert "依据是模拟受众" in evidence["text"]
    assert any("图片是它的优势。" in e["text"] for e in page.all("li", "for"))


def test_a_title_is_escaped(sample, loader):
    page = Page(render(sample, loader, title=HOSTILE))
    assert page.all("h1")[0]["text"] == HOSTILE
    assert page.all("title")[0]["text"] == HOSTILE


def test_the_same_results_give_the_same_bytes(sample, loader):
    assert render(sample, loader) == render(sample, loader)


def test_a_ranking_alone_is_a_page_too(sample, loader):
    bare = render(sample, loader, comparisons=(), training=None, control=None)
    page = Page(bare)
    assert "No offline A/B comparison was run" in page.all("section", "offline")[0]["text"]
    assert page.all("section", "training") == []


def test_a_control_alone_is_drawn(sample, loader):
    page = Page(render(sample, loader, comparisons=()))
    assert len(page.all("svg", "control")) == 1


def test_an_empty_ranking_says_so(sample, loader):
    empty = Ranking((), evidence="Nothing.", evidence_zh="无。")
    page = Page(render(sample, loader, ranking=empty, comparisons=(), control=None, training=None))
    assert page.all("p", "deck")[0]["text"] == "There was nothing to rank."


def test_variants_and_items_that_the_catalogue_does_not_hold_are_shown_by_name(sample, loader):
    page = Page(render(sample, loader, catalogue=replace(sample.catalogue, items=())))
    assert len(page.all("li", "row")) == 9
    assert page.all("img") == []


def test_unknown_numbers_do_not_stop_the_page(sample, loader):
    item = sample.ranking.items[0]
    lost = replace(item.variants[0], click_rate=math.nan, click_rate_low=math.nan, probability_best=math.nan)
    ranking = replace(sample.ranking, items=(replace(item, variants=(lost, *item.variants[1:])),))
    curve = TrainingCurve((1, 2), {"loss": (math.nan, math.nan)})
    page = Page(render(sample, loader, ranking=ranking, training=curve))
    assert "Loss: no numbers were recorded" in page.all("section", "training")[0]["text"]


def test_it_is_written_whole_with_a_decoder_of_its_own(sample, tmp_path):
    path = write_html(tmp_path / "new" / "page.html", ranking=sample.ranking, catalogue=sample.catalogue)
    assert path == tmp_path / "new" / "page.html"
    assert len(Page(path.read_text("utf-8")).all("img", "thumb")) == 5
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_an_input_error(sample, tmp_path, loader):
    with pytest.raises(OutputError, match="name a place where you may write"):
        write_html(tmp_path, ranking=sample.ranking, catalogue=sample.catalogue, media=loader)
