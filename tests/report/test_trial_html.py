import re
from collections import Counter

import pytest

from multimodal_dql.errors import OutputError
from multimodal_dql.report import render_trial_html, write_trial_html
from tests.report.samples import HOSTILE
from tests.report.test_html import Page
from tests.report.trials import NAMED, STORIES, edited, trial


@pytest.fixture(
    scope="module", params=[(name, lang) for name in NAMED for lang in ("en", "zh")], ids="-".join
)
def text(request):
    name, lang = request.param
    return render_trial_html(trial=trial(name), lang=lang)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def english():
    return Page(render_trial_html(trial=trial("winners")))


def words(element):
    return " ".join(element["text"].split())


def test_nothing_comes_from_outside_and_nothing_runs(page):
    for element in page.elements:
        assert element["tag"] not in {"script", "iframe", "object", "embed", "form", "base", "img"}
        assert not any(name.startswith("on") for name in element)
        for name in ("src", "href", "srcset", "xlink:href"):
            assert element.get(name, "#").startswith(("#", "data:"))
        assert "url(" not in element.get("style", "")
    (style,) = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]
    (policy,) = [e["content"] for e in page.all("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")


def test_every_reference_on_the_page_has_its_target(page):
    ids = Counter(e["id"] for e in page.elements if "id" in e)
    assert set(ids.values()) == {1}
    assert {e["href"][1:] for e in page.all("a")} <= ids.keys()
    assert {e["aria-labelledby"] for e in page.elements if "aria-labelledby" in e} <= ids.keys()


def test_every_number_in_a_drawing_is_one(page):
    drawn = [
        e for e in page.elements if e["tag"] in {"line", "rect", "circle", "polygon", "polyline", "text"}
    ]
    for element in drawn:
        for name in ("x", "x1", "x2", "y", "y1", "y2", "cx", "cy", "width", "height", "points"):
            assert re.fullmatch(r"[-\d.,% e+]*", element.get(name, ""))


def test_drawings_can_be_read_without_eyes(page):
    for plot in page.all("svg", "plot"):
        assert plot.get("aria-hidden") == "true" or (plot["role"] == "img" and plot["aria-label"])


def test_the_verdict_is_said_and_drawn():
    behind = {"effect": -0.2, "low": -0.3, "high": -0.1, "ending": "winner", "winner": "first"}
    ahead = {"effect": 0.2, "low": 0.1, "high": 0.3, "ending": "winner", "winner": "thompson"}
    page = Page(render_trial_html(trial=edited("winners", behind, ahead)))
    (deck,) = page.all("p", "deck")
    assert deck["text"] == "2 policies compared with always the first variant: 1 ahead, 1 behind."
    (bad,), (good,) = ([words(e) for e in page.all("li", side)] for side in ("against", "for"))
    assert bad.startswith(
        "Against always the first variant, a variant drawn at random brings 20.0% fewer clicks"
    )
    assert good.startswith(
        "Against always the first variant, Thompson sampling brings 20.0% more clicks a session"
    )
    assert [e["text"] for e in page.all("span", "badge")] == ["Loses", "Wins"] * 2
    assert [words(e).split()[0] for e in page.all("p", "figure")] == ["−20.0%", "+20.0%"]
    assert len(page.all("svg", "band-chart")) == 2
    assert len(page.all("svg", "bars")) == 3
    assert len(page.all("polygon", "diamond")) == 4


def test_one_comparison_speaks_for_the_page():
    page = Page(render_trial_html(trial=trial("open")))
    assert page.all("p", "deck")[0]["text"].startswith("Not enough data to tell always the first variant")


def test_tables_hold_every_arm_and_outcome(english):
    (table,) = english.all("table", "outcomes")
    for outcome in (
        "Clicks a session",
        "Click rate",
        "Satisfaction",
        "Users who come back",
        "Stories shown a session",
    ):
        assert outcome in table["text"]
    assert table["text"].count("Thompson sampling") == 8
    c = trial("winners").verdict.comparisons[1].outcomes["stories"]
    assert f"{100 * c[0]:+.1f}%".replace("-", "−") in table["text"]


@pytest.mark.parametrize("interval", [(-1.0, -1.0, -1.0), (-0.6, -1.15, -0.05), (1.5, -2.0, 5.0)])
def test_an_effect_on_what_hardly_happened_is_not_shown(interval):
    outcomes = trial("winners").verdict.comparisons[0].outcomes
    changed = {name: interval if name == "conversions" else (0.1, 0.05, 0.15) for name in outcomes}
    page = Page(render_trial_html(trial=edited("winners", {"outcomes": changed})))
    (table,) = page.all("table", "outcomes")
    _, rows = table["text"].split("Conversions a session")
    row = re.search(r"A variant drawn at random(.*)", rows).group(1)
    assert row.endswith("–")
    assert table["text"].count("+10.0%") == len(outcomes) - 1


def test_stories_run_from_least_to_most(english):
    rows = [words(e) for e in english.all("li") if e["text"].startswith("story-")][: len(STORIES)]
    found = [re.fullmatch(r"(story-\d+?)([−+]?\d+\.\d)%", row).groups() for row in rows]
    c = trial("winners").stories[0]
    wanted = sorted(zip(c.item_uplift.tolist(), c.item_ids, strict=True))
    assert [name for name, _ in found] == [name for _, name in wanted]
    numbers = [float(number.replace("−", "-")) for _, number in found]
    assert numbers == pytest.approx([100 * uplift for uplift, _ in wanted], abs=0.051)


def test_stories_go_by_their_titles():
    text = render_trial_html(trial=trial("winners"), titles={"story-3": "古桥下的夜市", "story-4": HOSTILE})
    page = Page(text)
    found = [e for e in page.elements if e["text"] == "古桥下的夜市"]
    assert {e["lang"] for e in found} == {"zh"}
    assert HOSTILE in [e["text"] for e in page.all("span")]
    assert "<script" not in text


def test_an_invalid_trial_shows_no_effect():
    page = Page(render_trial_html(trial=trial("invalid")))
    assert page.all("svg", "band-chart") == []
    assert page.all("svg", "pooled") == []
    assert page.all("section", "references") == []
    effects = [e["text"] for e in page.all("b", "effect")]
    assert set(effects) == {""}
    (figure,) = page.all("p", "figure")
    assert figure["text"].startswith("–")
    value = trial("invalid").verdict.comparisons[0].outcomes["clicks"][0]
    assert f"{abs(100 * value):.1f}%" not in " ".join(words(e) for e in page.all("main"))


def test_names_that_users_gave_are_shown_and_not_obeyed():
    text = render_trial_html(trial=trial("hostile"), title=HOSTILE)
    assert "<script" not in text
    assert "</style><b>" not in text
    page = Page(text)
    assert page.all("h1")[0]["text"] == HOSTILE
    assert HOSTILE in [e["text"] for e in page.all("th")]
    assert "古桥下的夜市" in [e["text"] for e in page.all("span")]


def test_the_method_and_what_it_rests_on():
    page = Page(render_trial_html(trial=trial("early"), evidence="Our own past tests."))
    facts = dict(zip((e["text"] for e in page.all("dt")), (e["text"] for e in page.all("dd")), strict=True))
    assert facts["Sessions"] == f"{trial('early').verdict.sessions:,} of 4,000"
    assert facts["Stopping rule"].startswith("group-sequential")
    assert facts["Smallest effect that matters"] == "90%"
    assert facts["Seed"] == "0"
    assert facts["Looks"] == "4"
    assert words(page.all("aside", "evidence")[0]) == "What this rests on Our own past tests."
    randomised = Page(render_trial_html(trial=trial("open")))
    assert "Sample ratio, p" in [e["text"] for e in randomised.all("dt")]


def test_the_chinese_page_is_chinese():
    page = Page(render_trial_html(trial=trial("winners"), lang="zh"))
    assert page.all("html")[0]["lang"] == "zh-Hans"
    for heading in (*page.all("h1"), *page.all("h2"), *page.all("h3"), *page.all("dt")):
        assert re.search(r"[\u4e00-\u9fff]", heading["text"])


def test_the_same_trial_gives_the_same_bytes():
    assert render_trial_html(trial=trial("winners")) == render_trial_html(trial=trial("winners"))


def test_it_is_written_whole(tmp_path):
    path = write_trial_html(tmp_path / "new" / "page.html", trial=trial("alone"), lang="zh")
    assert "只运行了一种策略" in path.read_text("utf-8")
    with pytest.raises(OutputError):
        write_trial_html(tmp_path, trial=trial("alone"))
