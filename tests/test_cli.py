"""What holds for every command: help, version, the README, any terminal, and wrong options."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from multimodal_dql import __version__
from multimodal_dql.cli import app
from tests.commands.refusals import assert_refused
from tests.conftest import Call, Done, run_command

README = Path(__file__).parents[1] / "README.md"


def commands() -> dict[str, Any]:
    """Every command by what is typed, e.g. ``encoders list``, from the app itself."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for part, child in command.commands.items():
                yield from below(f"{name} {part}".strip(), child)
        else:
            yield name, command

    return dict(below("", typer.main.get_command(app)))


def test_version(call: Call) -> None:
    assert call("--version") == Done(0, f"{__version__}\n", "")


@pytest.mark.parametrize("name", commands())
def test_help_names_every_option(call: Call, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = call(*name.split(), "--help")
    assert (done.code, done.err) == (0, "")
    for parameter in commands()[name].params:
        for option in parameter.opts:
            assert option in done.out or parameter.hidden or not option.startswith("--")


def documented() -> set[str]:
    """The commands that README.md writes as code: `` `encode CATALOGUE` `` or `` `encoders list|show` ``."""
    found = set()
    for span in re.findall(r"`([^`\n]+)`", README.read_text("utf-8")):
        first, *rest = span.removeprefix("multimodal-dql ").split(" ")
        found |= {first, *(f"{first} {part}" for part in (rest[0].split("|") if rest else []))}
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_readme(name: str) -> None:
    assert name in documented(), f"README.md does not list the command '{name}'"


def test_a_reader_that_goes_away_is_no_drama(cache: Path) -> None:
    """As in ``multimodal-dql datasets list --json | head -c 1``."""
    read, write = os.pipe()
    os.close(read)
    args = [sys.executable, "-m", "multimodal_dql", "datasets", "list", "--json"]
    done = subprocess.run(args, check=False, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("encoding", ["ascii", "gb18030"])
def test_json_survives_any_terminal(cache: Path, encoding: str) -> None:
    args = [sys.executable, "-m", "multimodal_dql", "datasets", "list", "--json"]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(args, check=True, capture_output=True, timeout=60, env=env)
    assert "纽约客" in json.dumps(json.loads(done.stdout.decode(encoding)), ensure_ascii=False)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("encode", "CATALOGUE", "--encoders", ""), "--encoders is empty"),
        (("encode", "CATALOGUE", "--encoders", "use-multilingul"), "did you mean 'use-multilingual'?"),
        (("encode", "CATALOGUE", "--encoders", "minilm,minilm"), "named twice"),
        (("encode", "CATALOGUE", "--lang", "fr"), "known: en, zh"),
        (("encode",), "CATALOGUE"),
        (("train", "CATALOGUE", "--iterations", "0"), "'--iterations'"),
        (("train", "CATALOGUE", "--learning-rate", "nan"), "'--learning-rate'"),
        (("train", "CATALOGUE", "--discount", "1"), "'--discount'"),
        (("train", "CATALOGUE", "--seed", "-1"), "'--seed'"),
        (("rank", "CATALOGUE"), "--agent RUN"),
        (("rank", "CATALOGUE", "--agent", "no-such-run"), "is not a run directory"),
        (("simulate", "CATALOGUE", "--agent", "no-such-run"), "is not a run directory"),
        (("train", "CATALOGUE", "--value-loss", "huber"), "no value_loss called 'huber'"),
        (("train", "CATALOGUE", "--replay-sampling", "prioritized"), "did you mean 'prioritised'?"),
        (("train", "CATALOGUE", "--cql", "0.1"), "learn from a log with --log"),
        (("train", "CATALOGUE", "--log", "no-such-log", "--assume", "fatigue=0"), "leave one of them out"),
        (("simulate", "CATALOGUE", "--sessions", "0"), "0 sessions show nothing"),
        (("simulate", "CATALOGUE", "--design", "pared"), "did you mean 'paired'?"),
        (("simulate", "CATALOGUE", "--outcome", "clics"), "did you mean 'clicks'?"),
        (("simulate", "CATALOGUE", "--rule", "never"), "no rule called 'never'"),
        (("simulate", "CATALOGUE", "--without", "bordom"), "did you mean 'boredom'?"),
        (("simulate", "CATALOGUE", "--policies", " , "), "--policies is empty"),
        (("simulate", "CATALOGUE", "--engagement", "no-such-run"), "there is no engagement model"),
        (("encoders", "show", "minilmm"), "did you mean 'minilm'?"),
        (("encoders", "check", "minilmm"), "did you mean 'minilm'?"),
        (("encoders", "fetch", "minilmm"), "did you mean 'minilm'?"),
        (("datasets", "show", "demoo"), "did you mean 'demo'?"),
        (("rankk",), "see: multimodal-dql --help"),
        (("rank", "CATALOGUE", "--agnet", "x"), "see: multimodal-dql rank --help"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_one_line(call: Call, stories: Path, args: tuple[str, ...], words: str) -> None:
    assert_refused(call(*(stories if arg == "CATALOGUE" else arg for arg in args)), words)


def test_a_wrong_option_costs_a_process_one_line(cache: Path, stories: Path) -> None:
    assert_refused(run_command("train", stories, "--iterations", 0, cache=cache), "'--iterations'")
    assert_refused(run_command("encode", stories, "--encoders", "x", cache=cache), "no encoder called 'x'")
    done = run_command("rank", "无.csv", "--agent", "x", cache=cache, MULTIMODAL_DQL_LANG="zh")
    assert_refused(done, "没有这个文件")
