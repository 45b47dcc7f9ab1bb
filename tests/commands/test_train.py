"""``train`` as its users meet it: what it leaves behind, finished, refused, interrupted or diverged."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.refusals import assert_refused
from tests.conftest import Call, Done

pytestmark = pytest.mark.usefixtures("shared_graphs")

LEFT_OUT = "left out: 彗星 / 丙, image: "


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
        *("audience.json", "config.json", "last_layer.safetensors", "metrics.jsonl", "stability.json"),
        *("tensorboard", "weights.safetensors"),
    }


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
    call: Call, stories: Path, cache: Path, tmp_path: Path
) -> None:
    """Kill -9 once there is a checkpoint; what is refused on the way is one line and loses nothing."""
    args = ("train", stories, "--encoders", "speech-embedding", "--iterations", 6, "--sessions", 100)
    often = (*args, "--checkpoint-every", 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call(*often, "--out", whole).code == 0
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
    again = call(*often, "--out", killed)
    assert (again.code, again.out, len(again.lines)) == (2, "", 2), again.err
    assert "continue it with --resume" in again.lines[-1]
    other = call(*often, "--out", killed, "--resume", "--discount", 0.9)
    assert (other.code, other.out, len(other.lines)) == (2, "", 2), other.err
    assert "was made with discount = 0.5, and now it is 0.9" in other.lines[-1]
    done = call(*often, "--out", killed, "--resume", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["stability"]["iterations"] == 6
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
