"""The evaluation of a log in words, JSON and on its page."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from multimodal_dql.datasets.events import EventLog
from multimodal_dql.errors import Lang
from multimodal_dql.log_evaluation import LogEvaluation, evaluate_log
from multimodal_dql.log_states import LogStates
from multimodal_dql.policies.base import First, Uniform
from multimodal_dql.report import evaluation_to_dict, print_evaluation, render_evaluation_html
from tests.logs import newsroom_log

NASTY = "<script>alert('x')</script>"


def evaluated(table: pa.Table, folder: Path) -> LogEvaluation:
    path = folder / "log.parquet"
    pq.write_table(table, path)
    log = EventLog(path, columns=LogStates.columns("click"))
    policies = {"first": First(), NASTY: Uniform()}
    return evaluate_log(
        log, LogStates("click"), policies, estimators=("ips", "sndr"), against=("logged", NASTY)
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> LogEvaluation:
    return evaluated(newsroom_log(8_000, 21), tmp_path_factory.mktemp("found"))


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> LogEvaluation:
    table = newsroom_log(2_000, 22)
    never = [
        a != c[0] for a, c in zip(table["action"].to_pylist(), table["candidates"].to_pylist(), strict=True)
    ]
    return evaluated(table.filter(pa.array(never)), tmp_path_factory.mktemp("refused"))


def said(evaluation: LogEvaluation, lang: Lang) -> str:
    out = io.StringIO()
    print_evaluation(evaluation, Console(file=out, width=100), lang)
    return out.getvalue()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_is_the_same_each_time_and_escapes_what_users_wrote(
    found: LogEvaluation, lang: Lang
) -> None:
    titles = {"故事0": f"标题 {NASTY}"}
    page = render_evaluation_html(evaluation=found, lang=lang, titles=titles)
    assert page == render_evaluation_html(evaluation=found, lang=lang, titles=titles)
    assert "<script" not in page
    assert "&lt;script" in page
    assert page.count("<svg") > 8


def test_a_sentence_holds_the_numbers_of_the_json(found: LogEvaluation) -> None:
    result = evaluation_to_dict(found)
    json.dumps(result, allow_nan=False)
    first = result["policies"]["first"]
    text = " ".join(said(found, "en").split())
    assert f"first would have earned a click rate of {100 * first['value']:.2f}%" in text
    gap = first["against"]["logged"]["value"] / result["logged"]["value"]
    assert f"{100 * gap:+.1f}%" in text
    assert "first against" in text


def test_no_number_is_offered_where_the_log_cannot_say(refused: LogEvaluation) -> None:
    first = evaluation_to_dict(refused)["policies"]["first"]
    assert first["against"] == {"logged": None, NASTY: None}
    assert np.isfinite(first["estimates"]["ips"]["value"])  # for those who look deeper
    for lang, words in (("en", "This log cannot say"), ("zh", "这份日志无法说明")):
        assert words in said(refused, lang)  # type: ignore[arg-type]
        page = render_evaluation_html(evaluation=refused, lang=lang)  # type: ignore[arg-type]
        assert words in page


def test_a_handful_of_decisions_at_the_end_draws_no_needle(found: LogEvaluation) -> None:
    """Of twenty parts, one with less than a tenth of the mean is left out of the chart, not of the JSON."""
    first = found.policies[0]
    *others, last = first.over_time
    few = replace(last, decisions=5, value=1.0)
    drawn = [
        render_evaluation_html(
            evaluation=replace(found, policies=(replace(first, over_time=points), *found.policies[1:]))
        )
        for points in (tuple(others), (*others, few), first.over_time)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_any_time_interval_is_said_and_what_it_rests_on(found: LogEvaluation, lang: Lang) -> None:
    e = found.policies[0].result.estimates["ips"]
    text = "".join(said(found, lang).split())
    low, high = (f"{100 * end:.2f}%" for end in e.intervals["anytime"])
    rows = round(e.details["anytime_unit_rows"])
    said_so = {
        "en": f"between{low}and{high}(95%,ips)howeveroftenthegrowinglogislookedat",
        "zh": f"均在{low}至{high}之间（95%，ips）",
    }
    assert said_so[lang] in text
    assert {"en": f"nosessioncanhavemorethan{rows}decisions", "zh": f"不会超过{rows}条决策"}[lang] in text
