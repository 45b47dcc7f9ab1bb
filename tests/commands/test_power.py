"""The ``power`` command as its users meet it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from multimodal_dql.commands.power import power
from multimodal_dql.errors import UsageError
from multimodal_dql.terminal import set_language

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(power)


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    set_language("en")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def plan(*arguments: str) -> dict[str, Any]:
    result = run("--base-rate", "0.2", "--minimum-effect", "0.25", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_json() -> None:
    # R: power.prop.test(p1 = .20, p2 = .25, power = .8) gives n = 1093.739.
    found = plan("--daily-sessions", "500")
    assert found["sessions_per_arm"] == 1094
    assert found["sessions_by_arm"] == [1094, 1094]
    assert found["sessions_total"] == found["sessions"] == found["expected_sessions"] == 2188
    assert found["days"] == 5
    assert (found["power"], found["alpha"], found["arms"], found["minimum_effect"]) == (0.8, 0.05, 2, 0.25)
    assert found["minimum_detectable_effect"] == pytest.approx(0.25, abs=1e-3)
    assert found["power_reached"] == pytest.approx(0.8, abs=1e-3)
    assert (found["design"], found["outcome"], found["sd"]) == ("fixed", "bernoulli", pytest.approx(0.4))


def test_what_given_sessions_find() -> None:
    found = plan("--sessions", "20000")
    assert found["sessions"] == 20_000
    assert found["minimum_detectable_effect"] == pytest.approx(0.0804, abs=1e-4)
    assert plan("--sessions", "4")["minimum_detectable_effect"] is None


def test_designs() -> None:
    looks = plan("--looks", "5")
    assert looks["design"] == "group-sequential"
    assert looks["z_bounds"] == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=5e-4)
    assert looks["expected_sessions"] < 2188 < looks["sessions_total"]
    anytime = plan("--anytime")
    assert anytime["design"] == "anytime"
    assert anytime["inflation"] == pytest.approx(1.915, abs=1e-3)
    arms = plan("--arms", "3", "--share", "0.25")
    assert arms["shares"] == [0.5, 0.25, 0.25]
    assert arms["alpha_per_comparison"] == 0.025


def test_spread() -> None:
    assert plan("--sd", "0.6")["outcome"] == "given"
    counts = plan("--overdispersion", "1.78")
    assert counts["sd"] ** 2 == pytest.approx(0.2 * 1.78)
    many = json.loads(run("--base-rate", "2.5", "--minimum-effect", "0.05", "--json").stdout)
    assert (many["outcome"], many["sd"] ** 2) == ("counts", pytest.approx(2.5))


def test_for_people() -> None:
    shown = run("--base-rate", "0.2", "--minimum-effect", "0.25", "--looks", "2", "--daily-sessions", "1e3")
    assert shown.exit_code == 0
    for text in ("sessions in total", "days", "+25.00%", "2.963 1.969"):
        assert text in shown.stdout
    chinese = run("--base-rate", "0.2", "--minimum-effect", "0.25", "--anytime", "--lang", "zh")
    assert "会话总数" in chinese.stdout
    assert "sessions" not in chinese.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--base-rate", "0", "--minimum-effect", "0.1"),
        ("--base-rate", "-0.1", "--minimum-effect", "0.1"),
        ("--base-rate", "nan", "--minimum-effect", "0.1"),
        ("--base-rate", "0.1", "--minimum-effect", "0"),
        ("--base-rate", "0.1", "--minimum-effect", "-1"),
        ("--base-rate", "0.9", "--minimum-effect", "0.5"),
        ("--base-rate", "0.1", "--minimum-effect", "1e-12"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--power", "1"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--alpha", "0"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--arms", "1"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--share", "1.5"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--looks", "0"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--looks", "1000"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--looks", "3", "--anytime"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--looks", "3", "--spending", "guess"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--sd", "0"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--sd", "1", "--overdispersion", "2"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--daily-sessions", "0"),
        ("--base-rate", "0.1", "--minimum-effect", "0.1", "--sessions", "0"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments: tuple[str, ...]) -> None:
    error = run(*arguments).exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert error.text("en") != error.text("zh")
    assert "\n" not in error.text("en") + error.text("zh")
