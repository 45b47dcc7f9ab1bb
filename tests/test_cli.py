"""The command line as its users meet it: what works, what is refused, and what they read either way."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer

from multimodal_dql import __version__
from multimodal_dql.__main__ import main
from multimodal_dql.cli import app
from tests.conftest import ROWS, Done, run_command, write_catalogue, write_picture, write_tone

Call = Callable[..., Done]
README = Path(__file__).parents[1] / "README.md"
LEFT_OUT = "left out: 彗星 / 丙, image: "


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path) -> Call:
    """`main` in this process: the same path as the command, without starting TensorFlow for every test."""
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(cache))

    def run(*args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["multimodal-dql", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        # TensorFlow counts agents in a process and finds many of them worth a remark; a user has one.
        err = "".join(line + "\n" for line in err.splitlines() if not line.startswith("WARNING:tensorflow"))
        return Done(int(stopped.value.code or 0), out, err)

    return run


@pytest.fixture
def run(trained_run: tuple[Path, Done]) -> Path:
    """The trained run; not to be changed."""
    return trained_run[0]


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def assert_refused(done: Done, *words: str, code: int = 2) -> None:
    """One line on stderr that holds `words`, nothing on stdout."""
    assert (done.code, done.out) == (code, ""), done.err
    assert len(done.lines) == 1, done.err
    for word in words:
        assert word in done.err


def commands() -> dict[str, Any]:
    """Every command by what is typed, e.g. ``encoders list``, from the app itself."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for part, child in command.commands.items():
                yield from below(f"{name} {part}".strip(), child)
        else:
            yield name, command

    return dict(below("", typer.main.get_command(app)))


# --- what works ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_prints_one_object_and_leaves_a_whole_run(trained_run: tuple[Path, Done]) -> None:
    run, done = trained_run
    result = json.loads(done.out)
    assert set(result) == {"run", "train_seconds", "comparisons", "control", "stability", "reliability"}
    assert [c["against"] for c in result["comparisons"]] == ["first", "uniform"]
    assert len(done.lines) == 2, (
        done.err
    )  # the count and the variant left out: no bars, no chatter of TensorFlow
    assert LEFT_OUT in done.lines[1]
    files = {path.name for path in run.iterdir()}
    assert files == {
        *("audience.json", "config.json", "metrics.jsonl", "stability.json"),
        *("tensorboard", "weights.safetensors"),
    }


@pytest.fixture(scope="session")
def ranked(stories: Path, trained_run: tuple[Path, Done], cache: Path) -> tuple[Path, Done]:
    """The folder that ``rank --out --json`` wrote, in a process of its own, and what the command said."""
    folder = stories.parent / "页"
    args = ("rank", stories, "--agent", trained_run[0], "--out", folder, "--json")
    return folder, run_command(*args, cache=cache)


@pytest.mark.slow
def test_rank_prints_one_object_and_writes_three_files(ranked: tuple[Path, Done]) -> None:
    folder, done = ranked
    assert done.code == 0, done.err
    assert len(done.lines) == 3, done.err  # the count, the variant left out, and what was written
    assert LEFT_OUT in done.lines[1]
    assert "correct the path" in done.lines[1]
    assert done.out.count("\n") == 1
    result = json.loads(done.out)
    assert [item["item_id"] for item in result["items"]] == ["彗星", "noodles", "القطار", "tea"]
    for item in result["items"]:
        assert sum(v["probability_best"] for v in item["variants"]) == pytest.approx(1.0)
        assert [v["rank"] for v in item["variants"]] == list(range(1, len(item["variants"]) + 1))
    assert {v["variant_id"] for v in result["items"][0]["variants"]} == {"甲", "乙"}
    assert {path.name for path in folder.iterdir()} == {"index.html", "ranking.csv", "ranking.json"}
    page = (folder / "index.html").read_text("utf-8")
    assert "قطار الليل يصل قبل الفجر" in page
    assert "七岁的她抬头许愿🌠" in page
    assert json.loads((folder / "ranking.json").read_text("utf-8")) == result
    assert len((folder / "ranking.csv").read_text("utf-8-sig").splitlines()) == 1 + len(ROWS) - 1


@pytest.mark.slow
def test_the_same_rows_rank_the_same_in_another_encoding(
    call: Call, stories: Path, run: Path, ranked: tuple[Path, Done]
) -> None:
    again = write_catalogue(stories.with_name("gb18030.csv"), encoding="gb18030")
    done = call("rank", again, "--agent", run, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == json.loads(ranked[1].out)["items"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_the_same_rows_are_checked_the_same_in_every_encoding(
    call: Call, stories: Path, encoding: str
) -> None:
    expected = call("datasets", "check", stories, "--json").out
    again = write_catalogue(stories.with_name(f"{encoding}-check.csv"), encoding=encoding)
    assert call("datasets", "check", again, "--json").out.replace(again.name, stories.name) == expected


@pytest.mark.slow
def test_an_audience_in_chinese(
    call: Call, stories: Path, run: Path, ranked: tuple[Path, Done], tmp_path: Path
) -> None:
    options = ("--context", "device=mobile", "--context", "hour=7.5", "--lang", "zh", "--out", tmp_path)
    done = call("rank", stories, "--agent", run, *options)
    assert done.code == 0, done.err
    assert "变体" in done.out
    assert "已略过：彗星 / 丙" in done.err
    assert re.search(r'<html[^>]* lang="zh', (tmp_path / "index.html").read_text("utf-8"))
    told = json.loads((tmp_path / "ranking.json").read_text("utf-8"))
    assert told["context"] == {"device": "mobile", "hour": "7.5"}
    assert told["items"] != json.loads(ranked[1].out)["items"]
    assert_refused(call("rank", "none.csv", "--agent", run, "--lang", "zh"), "没有这个文件")


@pytest.mark.slow
def test_markup_in_texts_is_text(call: Call, run: Path, tmp_path: Path) -> None:
    rows = [
        ("[b]x[/i]", "a", "", "[/] <script>alert(1)</script> {{7*7}}", ""),
        ("[b]x[/i]", "b", "", "y", ""),
    ]
    done = call("rank", write_catalogue(tmp_path / "c.csv", rows), "--agent", run, "--out", tmp_path)
    assert done.code == 0, done.err
    assert "[b]x[/i]" in done.out
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "{{7*7}}" in page


@pytest.mark.slow
def test_strict_stops_at_the_bad_path(call: Call, stories: Path, run: Path) -> None:
    assert_refused(call("rank", stories, "--agent", run, "--strict"), "missing.png", "correct the path")


@pytest.mark.slow
@pytest.mark.parametrize("better", [0, 1, 2])
def test_a_large_record_outweighs_any_content(call: Call, run: Path, tmp_path: Path, better: int) -> None:
    lines = [
        f"s,{name},{name} headline,50000,{1500 if place == better else 500}"
        for place, name in enumerate(("first", "second", "third"))
    ]
    (tmp_path / "c.csv").write_text("\n".join(["item_id,variant_id,caption,impressions,clicks", *lines]))
    done = call("rank", tmp_path / "c.csv", "--agent", run, "--json")
    assert done.code == 0, done.err
    (item,) = json.loads(done.out)["items"]
    best = item["variants"][0]
    assert (item["verdict"], best["variant_id"]) == ("winner", ("first", "second", "third")[better])
    assert best["probability_best"] > 0.99
    assert best["click_rate"] == pytest.approx(0.03, rel=0.1)
    assert item["variants"][1]["click_rate"] == pytest.approx(0.01, rel=0.1)


COMPARISON = {"arm", "against", "effect", "low", "high", "p_adjusted", "ending"}


@pytest.mark.slow
def test_simulate(call: Call, stories: Path, run: Path, tmp_path: Path) -> None:
    out, events = tmp_path / "页面", tmp_path / "log" / "events.parquet"
    args = ("--sessions", 300, "--policies", "first,uniform,thompson,learned,shuffled")
    done = call("simulate", stories, "--agent", run, *args, "--out", out, "--events", events, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert set(result) >= {"arms", "comparisons", "design", "sample_ratio_p", "crn_variance_ratio"}
    assert (result["design"], result["sample_ratio_p"]) == ("paired", None)
    assert 0 < result["crn_variance_ratio"] < 1
    assert [c["arm"] for c in result["comparisons"]] == ["uniform", "thompson", "learned", "shuffled"]
    assert all(c["against"] == "first" and set(c) >= COMPARISON for c in result["comparisons"])
    assert set(result["references"]) == {"oracle", "myopic"}
    assert json.loads((out / "simulation.json").read_text("utf-8")) == result
    assert "<svg" in (out / "index.html").read_text("utf-8")
    table = pq.read_table(events)
    assert set(table["policy"].to_pylist()) == set(result["arms"])
    assert min(table["probability"].to_pylist()) > 0


@pytest.mark.slow
def test_simulate_needs_no_agent_and_speaks_chinese(call: Call, stories: Path) -> None:
    args = (
        "--policies",
        "uniform,ucb:z=.04",
        "--design",
        "randomised",
        "--rule",
        "anytime",
        "--sessions",
        400,
    )
    done = call("simulate", stories, "--encoders", "use-multilingual", *args, "--lang", "zh")
    assert done.code == 0, done.err
    assert "置信" in done.out or "区间" in done.out
    again = call("simulate", stories, "--encoders", "use-multilingual", *args, "--json")
    result = json.loads(again.out)
    assert result["design"] == "randomised"
    assert 0 <= result["sample_ratio_p"] <= 1
    assert result["crn_variance_ratio"] is None


@pytest.mark.slow
def test_simulate_gives_the_same_numbers_on_any_number_of_workers(call: Call, stories: Path) -> None:
    args = (
        "--encoders",
        "use-multilingual",
        "--policies",
        "first,thompson,linucb",
        "--sessions",
        1500,
        "--json",
    )
    one, eight = (call("simulate", stories, *args, "--workers", n) for n in (1, 8))
    assert one.code == eight.code == 0
    assert one.out == eight.out


@pytest.mark.slow
def test_the_second_encode_encodes_nothing_and_says_so(call: Call, stories: Path, tmp_path: Path) -> None:
    rows = [("s", "a", "", f"A headline of {time.time_ns()}", ""), ("s", "b", "", "Another one", "")]
    catalogue = write_catalogue(tmp_path / "c.csv", rows)
    first = call("encode", catalogue, "--encoders", "use-multilingual", "--json")
    second = call("encode", catalogue, "--encoders", "use-multilingual", "--json")
    assert json.loads(first.out)["encoded"] >= 1
    assert (json.loads(second.out)["encoded"], json.loads(second.out)["cached"]) == (0, 2)
    assert re.fullmatch(r"1 stories, 2 variants: 0 embeddings made, 2 from the cache, .*\n", second.err)


@pytest.mark.slow
def test_bad_media_cost_their_variants_and_are_told(call: Call, hostile: Path) -> None:
    rows = [("s", "good", "", "One headline", ""), ("s", "fine", "", "Another headline", "")]
    rows += [("s", name, name, "x", "") for name in HOSTILE_PICTURES] + [("s", "nan.wav", "", "x", "nan.wav")]
    catalogue = write_catalogue(hostile / "some.csv", rows)
    done = call(
        "encode", catalogue, "--encoders", "use-multilingual,efficientnet-lite0,speech-embedding", "--json"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["items"], result["variants"]) == (1, 2)
    for name, words in {**HOSTILE_PICTURES, "nan.wav": "not numbers"}.items():
        (told,) = [line for line in result["skipped"] if line.startswith(f"s / {name}")]
        assert words in told
        assert f"left out: {told}" in done.lines


def test_data_quality_exits_2_when_something_must_be_fixed(call: Call, stories: Path, tmp_path: Path) -> None:
    done = call("datasets", "check", stories, "--json")
    assert (done.code, done.err) == (2, "")
    assert "missing.png" in json.dumps(json.loads(done.out))
    good = [row for row in ROWS if "missing" not in row[2]]
    done = call("datasets", "check", write_catalogue(stories.with_name("good.csv"), good))
    assert done.code == 0, done.err


def test_names_are_listed_and_shown(call: Call) -> None:
    names = [e["name"] for e in json.loads(call("encoders", "list", "--json").out)["encoders"]]
    assert {"use-multilingual", "minilm", "efficientnet-lite0", "speech-embedding"} <= set(names)
    for name in names:
        card = json.loads(call("encoders", "show", name).out)
        assert card["name"] == name
    for data in json.loads(call("datasets", "list", "--json").out)["datasets"]:
        assert json.loads(call("datasets", "show", data["name"]).out)["name"] == data["name"]
    assert "librosa-descriptors" in call("encoders", "list").out


@pytest.mark.slow
def test_an_encoder_is_checked(call: Call) -> None:
    done = call("encoders", "check", "librosa-descriptors", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["passed"]) >= 8


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


# --- what is refused: catalogues ----------------------------------------------------------------------------------

HOSTILE_PICTURES = {
    "bomb.png": "20,000 x 20,000 pixels",
    "text.jpg": "is a text file",
    "fifo.png": "is a FIFO",
    "folder.png": "is a folder",
    "gone.png": "there is no such file",
}


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("hostile")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(20_001)) for _ in range(20_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(png)
    (folder / "text.jpg").write_text("This is not a picture.\n")
    os.mkfifo(folder / "fifo.png")
    (folder / "folder.png").mkdir()
    samples = struct.pack("<f", math.nan) * 16_000
    form = struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(samples)) + samples
    (folder / "nan.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    write_picture(folder / "good.png", (90, 90, 200))
    write_tone(folder / "good.wav", 440.0)
    return folder


@pytest.mark.parametrize("name", HOSTILE_PICTURES)
def test_when_bad_pictures_leave_nothing_the_reason_is_given(call: Call, hostile: Path, name: str) -> None:
    rows = [("s", "a", name, "x", ""), ("s", "b", name, "y", "")]
    catalogue = write_catalogue(hostile / f"{name}.csv", rows)
    done = call("encode", catalogue, "--encoders", "efficientnet-lite0")
    assert_refused(done, "no item with two usable variants is left", HOSTILE_PICTURES[name])


def test_when_a_bad_sound_leaves_nothing_the_reason_is_given(call: Call, hostile: Path) -> None:
    rows = [("s", "a", "", "x", "nan.wav"), ("s", "b", "", "y", "good.wav")]
    catalogue = write_catalogue(hostile / "nan.csv", rows)
    done = call("encode", catalogue, "--encoders", "speech-embedding")
    assert_refused(done, "no item with two usable variants is left", "not numbers")


HEADER = b"item_id,variant_id,caption\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (HEADER, "there are no rows"),
        (HEADER + b"s,a,x\n", "no item has two variants"),
        (HEADER + b"s,a,\xc9t\xe9 \xe0 la plage\ns,b,\xdcber\n", "is not UTF-8 or GB18030"),
        ((HEADER + b"s,a,x\ns,b,y\n").decode().encode("utf-16"), "UTF-16"),
        (b"item,variant_id,caption\ns,a,x\ns,b,y\n", "no column 'item_id'"),
    ],
    ids=["empty", "header", "one-variant", "latin-1", "utf-16", "no-item-id"],
)
@pytest.mark.parametrize("command", ["encode", "datasets check"])
def test_a_catalogue_that_is_none(
    call: Call, tmp_path: Path, command: str, content: bytes, words: str
) -> None:
    catalogue = tmp_path / "c.csv"
    catalogue.write_bytes(content)
    assert_refused(call(*command.split(), catalogue), "c.csv", words)


def test_wrong_rows_are_told_all_at_once(call: Call, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "item_id,variant_id,caption,impressions,clicks\ns,a,x,ten,0\ns,b,y,1,2\ns,c,z,-1,0\n"
    )
    done = call("encode", tmp_path / "c.csv")
    assert done.code == 2
    assert [line.split(",")[1] for line in done.lines[1:]] == [" line 2", " line 3", " line 4"]


def test_a_catalogue_that_is_no_file(call: Call, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "folder.csv").mkdir()
    assert_refused(call("encode", tmp_path / "fifo.csv"), "FIFO")
    assert_refused(call("encode", tmp_path / "folder.csv"), "folder")
    assert_refused(call("encode", tmp_path / "storys.csv"), "there is no such file")
    assert_refused(call("encode", "/dev/zero"), "device")


# --- what is refused: options -------------------------------------------------------------------------------------


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
        (("rank", "CATALOGUE"), "'--agent'"),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["device"], "write it as name=value"),
        (["device=mobil"], "did you mean 'mobile'?"),
        (["device=mobile", "device=tablet"], "given twice"),
    ],
)
def test_a_wrong_context(call: Call, stories: Path, run: Path, pairs: list[str], words: str) -> None:
    options = [part for pair in pairs for part in ("--context", pair)]
    assert_refused(call("rank", stories, "--agent", run, *options), words)


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    call: Call, stories: Path, run: Path
) -> None:
    assert_refused(call("rank", stories, "--agent", run, "--out", stories), "Not a directory")
    # Root may write anywhere but in /proc.
    for place, reason in (
        (stories, "Not a directory"),
        (stories / "x", "Not a directory"),
        ("/proc/x", "No such"),
    ):
        assert_refused(call("train", stories, "--out", place), str(place), reason)
        assert_refused(call("demo", "--out", place), str(place))


# --- what is refused: runs ----------------------------------------------------------------------------------------


def change(run: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the configuration of a run in place."""
    config = json.loads((run / "config.json").read_text("utf-8"))
    edit(config)
    (run / "config.json").write_text(json.dumps(config), "utf-8")


@pytest.mark.slow
def test_a_truncated_run(call: Call, stories: Path, copy: Path) -> None:
    weights, config = copy / "weights.safetensors", copy / "config.json"
    whole = weights.read_bytes()
    for part in (whole[: len(whole) // 2], b"", whole[:-1] + b"x"):
        weights.write_bytes(part)
        assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    weights.unlink()
    assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    os.mkfifo(weights)
    assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    for part in (config.read_bytes()[:1000], b"", b"[]", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000):
        config.write_bytes(part)
        assert_refused(call("rank", stories, "--agent", copy), "is not a complete configuration")
    config.unlink()
    assert_refused(call("rank", stories, "--agent", copy), "is not a run directory")


@pytest.mark.slow
def test_a_run_without_its_audience_ranks_but_cannot_simulate(call: Call, stories: Path, copy: Path) -> None:
    audience = copy / "audience.json"
    whole = json.loads(audience.read_text("utf-8"))
    broken = [
        b"",
        b"{}",
        b"[" * 100_000,
        json.dumps(whole | {"content": [math.nan] * len(whole["content"])}).encode(),
        json.dumps(whole | {"taste": [[0.0]]}).encode(),
        json.dumps(whole | {"config": whole["config"] | {"steps": 10**12}}).encode(),
        json.dumps(whole | {"config": whole["config"] | {"base_click_rate": "x"}}).encode(),
    ]
    for content in broken:
        audience.write_bytes(content)
        assert_refused(call("simulate", stories, "--agent", copy, "--sessions", 100), "missing or damaged")
    audience.unlink()
    assert_refused(call("simulate", stories, "--agent", copy, "--sessions", 100), "missing or damaged")
    assert call("rank", stories, "--agent", copy, "--json").code == 0


@pytest.mark.slow
def test_a_run_from_a_newer_version(call: Call, stories: Path, copy: Path) -> None:
    change(copy, lambda config: config.update(schema_version=99))
    assert_refused(call("rank", stories, "--agent", copy), "newer version", "upgrade")


@pytest.mark.slow
def test_other_encoders_than_in_training(call: Call, stories: Path, copy: Path) -> None:
    change(copy, lambda config: config["encoders"][0].update(fingerprint="0" * 64))
    done = call("rank", stories, "--agent", copy)
    assert (done.code, done.out) == (2, "")
    assert "has changed since the agent was trained" in done.lines[-1]
    change(copy, lambda config: config["encoders"][0].update(name="use-multilingul"))
    assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    change(copy, lambda config: config["encoders"].pop())
    assert_refused(call("rank", stories, "--agent", copy), "not one width for each encoder")


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Put the last of `path` at the place that the others name."""
    *way, last, value = path

    def edit(config: dict[str, Any]) -> None:
        place: Any = config
        for step in way:
            place = place[step]
        place[last] = value

    return edit


HOSTILE_CONFIGS = {
    "no-schema": lambda c: c.pop("schema_version"),
    "infinite-schema": _set("schema_version", math.inf),
    "network-list": _set("network", []),
    "huge-members": _set("network", "members", 10**9),
    "huge-hidden": _set("network", "hidden", 10**9),
    "many-members": _set("network", "members", 256),
    "large-hidden": _set("network", "hidden", 4096),
    "no-hidden": lambda c: c["network"].pop("hidden"),
    "hidden-nan": _set("network", "hidden", math.nan),
    "dropout-one": _set("network", "modality_dropout", 1.0),
    "seed-huge": _set("network", "seed", 10**30),
    "width-huge": _set("network", "widths", 0, 4096),
    "rate-nan": _set("base_rate", math.nan),
    "rate-zero": _set("base_rate", 0),
    "rate-text": _set("base_rate", "x"),
    "spread-ragged": _set("spread", "floor", [0.1]),
    "spread-nan": _set("spread", "factor", math.nan),
    "spread-negative": _set("spread", "story", -1.0),
    "spread-huge": _set("spread", "floor", 1e308),
    "context-code": _set("context", 0, "kind", "__import__('os').system('true')"),
    "context-empty": _set("context", []),
    "context-division": _set("context", 2, "high", 0.0),
    "encoder-path": _set("encoders", 0, "name", "../../../../etc/passwd"),
    "encoder-modality": _set("encoders", 0, "modality", "smell"),
    "fold-huge": _set("fold", 0, 10**9),
    "fold-negative": _set("fold", 0, -1),
    "items-many": _set("item_ids", ["a", "b"]),
    "winner-short": _set("winners", 0, "content", [1.0]),
    "winner-nan": _set("winners", 0, "content", 0, math.nan),
    "winner-none": _set("winners", 0, None),
    "audience-empty": _set("audience", []),
    "audience-ragged": _set("audience", 0, [0.0]),
    "audience-category": _set("audience", 0, 0, 77.0),
    "audience-nan": _set("audience", 0, 0, math.nan),
    "facts-list": _set("facts", []),
    "facts-training": _set("facts", "training", 7),
    "hash-none": _set("weights_sha256", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE_CONFIGS)
def test_a_hostile_configuration_is_one_line(call: Call, stories: Path, copy: Path, name: str) -> None:
    change(copy, HOSTILE_CONFIGS[name])
    assert_refused(call("rank", stories, "--agent", copy), "or train anew")


# --- training that stops early ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_that_diverges_says_so_and_the_kept_run_loads(
    call: Call, stories: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = (
        "--encoders",
        "speech-embedding",
        "--learning-rate",
        "1e6",
        "--iterations",
        3,
        "--sessions",
        100,
    )
    done = call("train", stories, *options, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert len(done.lines) == 2, done.err  # what was encoded, and why it stopped
    assert "training diverged" in done.lines[-1]
    assert "lower --learning-rate" in done.lines[-1]
    assert call("rank", stories, "--agent", out, "--json").code == 0


@pytest.mark.slow
def test_an_interrupted_training_leaves_no_half_written_run(
    stories: Path, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    args = [
        "train",
        str(stories),
        "--encoders",
        "speech-embedding",
        "--iterations",
        "10000",
        "--out",
        str(out),
    ]
    stdout = stderr = ""
    process = subprocess.Popen(
        [sys.executable, "-m", "multimodal_dql", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MULTIMODAL_DQL_CACHE": str(cache)},
        # Where the tests run in the background of a shell, the signal is ignored unless asked for.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        until = time.monotonic() + 300
        while not (out / "unfinished" / "tensorboard").exists() and time.monotonic() < until:
            time.sleep(0.2)
        # TensorFlow's compiler can swallow the first one; a person presses again.
        for _ in range(30):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                stdout, stderr = process.communicate(timeout=10)
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()  # closes the pipes, which would be an error of a later test
    # 130 is what shells make of the signal itself, which the interpreter may pass on while it closes down.
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert (stdout, stderr.splitlines()[-1]) == ("", "interrupted")
    assert "Traceback" not in stderr
    # Whole files only: either no configuration, so that it is no run, or one that vouches for its weights.
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert not (out / "config.json").exists()


@pytest.mark.slow
def test_killed_and_resumed_a_training_ends_with_the_same_bytes(
    stories: Path, cache: Path, tmp_path: Path
) -> None:
    """Kill -9 once there is a checkpoint; what is refused on the way is one line and loses nothing."""
    args = ("train", stories, "--encoders", "speech-embedding", "--iterations", 40, "--sessions", 100)
    often = (*args, "--checkpoint-every", 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_command(*often, "--out", whole, cache=cache, seconds=600).code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "multimodal_dql", *map(str, (*often, "--out", killed))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MULTIMODAL_DQL_CACHE": str(cache)},
    )
    until = time.monotonic() + 300
    while not list(killed.glob("unfinished/checkpoint-*")) and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert list(killed.glob("unfinished/checkpoint-*"))
    assert not (killed / "config.json").exists()
    again = run_command(*often, "--out", killed, cache=cache)
    assert (again.code, again.out, len(again.lines)) == (2, "", 2), again.err
    assert "continue it with --resume" in again.lines[-1]
    other = run_command(*often, "--out", killed, "--resume", "--discount", 0.9, cache=cache)
    assert (other.code, other.out, len(other.lines)) == (2, "", 2), other.err
    assert "was made with discount = 0.5, and now it is 0.9" in other.lines[-1]
    done = run_command(*often, "--out", killed, "--resume", "--json", cache=cache, seconds=600)
    assert done.code == 0, done.err
    assert json.loads(done.out)["stability"]["iterations"] == 40
    names = {p.name for p in whole.iterdir() if p.is_file()}
    assert {p.name for p in killed.iterdir() if p.is_file()} == names
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_nothing_to_resume_and_no_learning_rate_are_one_line(
    call: Call, stories: Path, tmp_path: Path
) -> None:
    options = ("--encoders", "speech-embedding", "--out", tmp_path / "run")
    done = call("train", stories, *options, "--resume")
    assert (done.code, done.out) == (2, "")
    assert "holds no interrupted training; start one without --resume" in done.lines[-1]
    assert_refused(call("train", stories, *options, "--learning-rate", 0), "learning_rate is 0.0", "above 0")
