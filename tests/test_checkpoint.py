"""Checkpoints: whole or refused, whatever happens to the file; a write that fails costs nothing."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal_dql.checkpoint import (
    CHECKPOINT_VERSION,
    Checkpoint,
    checkpoints,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from multimodal_dql.errors import CheckpointError

LIMIT = 1 << 20


def made(iteration: int, seed: int = 0) -> Checkpoint:
    """Some numbers in every part; the iteration is in them too, so that parts of two checkpoints cannot be mixed."""
    rng = np.random.default_rng(seed + iteration)
    arrays = {
        "online/000/kernel": rng.standard_normal((3, 4)).astype(np.float32),
        "target/000/kernel": rng.standard_normal((3, 4)).astype(np.float32),
        "optimizer/000/iteration": np.array(iteration),
        "replay/item": rng.integers(0, 9, 50).astype(np.int32),
    }
    return Checkpoint(iteration, {"iteration": iteration, "random": {"key": [2**64 - 1, 1]}}, arrays)


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert (found.iteration, found.facts) == (wanted.iteration, wanted.facts)
    assert set(found.arrays) == set(wanted.arrays)
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype


def test_what_is_written_is_read_and_the_last_two_are_kept(tmp_path: Path) -> None:
    for iteration in (1, 2, 3):
        write_checkpoint(tmp_path, made(iteration))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-00000003", "checkpoint-00000002"]
    found, refused = latest_checkpoint(tmp_path, LIMIT)
    assert found is not None
    assert refused == []
    assert_same(found, made(3))


def test_writing_the_same_iteration_again_replaces_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, made(1))
    write_checkpoint(tmp_path, made(2))
    (tmp_path / "checkpoint-00000002" / "online.safetensors").write_bytes(b"")
    write_checkpoint(tmp_path, made(2))
    assert_same(read_checkpoint(tmp_path / "checkpoint-00000002", LIMIT), made(2))


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps(manifest | changes))

    return edit


def _body(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        change(manifest["body"])
        (path / "manifest.json").write_text(json.dumps(manifest))

    return edit


def _cut(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-5])


def _flip(path: Path) -> None:
    data = bytearray((path / "target.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "target.safetensors").write_bytes(data)


def _pipe(path: Path) -> None:
    (path / "manifest.json").unlink()
    os.mkfifo(path / "manifest.json")


DAMAGE = {
    "a part cut short": (_cut("replay.safetensors"), "replay.safetensors has .* bytes, not"),
    "a part altered": (_flip, "target.safetensors was altered"),
    "a part missing": (lambda p: (p / "online.safetensors").unlink(), "online.safetensors is missing"),
    "a manifest cut short": (_cut("manifest.json"), "manifest is cut short"),
    "a manifest missing": (lambda p: (p / "manifest.json").unlink(), "manifest.json is missing"),
    "another iteration": (_body(lambda b: b.update(iteration=7)), "manifest was altered"),
    "other settings": (_body(lambda b: b["facts"].update(x=1)), "manifest was altered"),
    "a newer version": (_edit(checkpoint_version=CHECKPOINT_VERSION + 1), "newer version .*upgrade"),
    "a version that is none": (_edit(checkpoint_version="x"), "manifest was altered"),
    "no object": (lambda p: (p / "manifest.json").write_text("[]"), "no manifest"),
    "a thousand brackets": (lambda p: (p / "manifest.json").write_text("[" * 100_000), "no manifest"),
    "no file at all": (_pipe, "not an ordinary file"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_the_one_before_is_used(name: str, tmp_path: Path) -> None:
    damage, words = DAMAGE[name]
    write_checkpoint(tmp_path, made(1))
    damage(write_checkpoint(tmp_path, made(2)))
    with pytest.raises(CheckpointError, match=words) as refused:
        read_checkpoint(tmp_path / "checkpoint-00000002", LIMIT)
    assert "\n" not in refused.value.text("en") + refused.value.text("zh")
    found, why = latest_checkpoint(tmp_path, LIMIT)
    assert found is not None
    assert_same(found, made(1))
    assert [str(error) for error in why] == [str(refused.value)]


def test_every_byte_counts(tmp_path: Path) -> None:
    """Whatever single byte is changed, the checkpoint is refused: no byte of it is free."""
    path = write_checkpoint(tmp_path, made(1))
    rng = random.Random(0)
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for at in rng.sample(range(len(whole)), 40):
            changed = bytearray(whole)
            changed[at] ^= rng.randrange(1, 256)
            file.write_bytes(changed)
            try:
                found = read_checkpoint(path, LIMIT)
            except CheckpointError:
                continue
            # White space and the like in the manifest may change without changing what it says.
            assert file.name == "manifest.json"
            assert_same(found, made(1))
        file.write_bytes(whole)
    assert_same(read_checkpoint(path, LIMIT), made(1))


def test_a_part_larger_than_the_training_needs_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = made(1)
    big.arrays["replay/item"] = np.zeros(1 << 19, np.int32)  # type: ignore[index]
    path = write_checkpoint(tmp_path, big)
    read = []
    monkeypatch.setattr(
        "multimodal_dql.checkpoint.read_file", lambda p, n: read.append(p.name) or p.read_bytes()
    )
    with pytest.raises(CheckpointError, match="larger than this training can need"):
        read_checkpoint(path, limit=1000)
    assert "replay.safetensors" not in read


def test_a_write_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the write fails in the middle."""
    write_checkpoint(tmp_path, made(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_checkpoint(tmp_path, made(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-00000001"]
    assert_same(read_checkpoint(tmp_path / "checkpoint-00000001", LIMIT), made(1))


WRITER = """
import os
import sys
from pathlib import Path
import safetensors.numpy
from tests.test_checkpoint import made
from multimodal_dql.checkpoint import write_checkpoint
folder = Path(sys.argv[1])
write_checkpoint(Path(sys.argv[2]), made(1))  # whatever is loaded on the first use
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        print(os.getpid(), flush=True)
        for iteration in range(int(line), 10**8):
            write_checkpoint(folder, made(iteration))
            print("written", flush=True)
    _, status = os.waitpid(pid, 0)
    print("ended", status, flush=True)
"""


@pytest.mark.slow
def test_killed_a_hundred_times_there_is_always_a_checkpoint(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Kill -9 while checkpoints are written back to back; the newest is never older than one that was read before."""
    rng, last, names = random.Random(1), 1, set()
    other = tmp_path_factory.mktemp("other")
    write_checkpoint(tmp_path, made(1))
    # One process loads what is needed and starts each writer, as a copy of itself: a hundred imports take a minute.
    args = [sys.executable, "-c", WRITER, str(tmp_path), str(other)]
    streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(args, cwd=Path(__file__).parents[1], **streams) as starter:
        for _ in range(100):
            print(last + 1, file=starter.stdin, flush=True)
            writer = int(starter.stdout.readline())
            for _ in range(rng.randrange(3)):
                assert starter.stdout.readline() == "written\n"
            time.sleep(rng.uniform(0.0, 0.01))
            os.kill(writer, signal.SIGKILL)
            ended = next(line.split() for line in starter.stdout if line != "written\n")
            assert ended == ["ended", str(int(signal.SIGKILL))]
            found, refused = latest_checkpoint(tmp_path, LIMIT)
            assert refused == []
            assert found is not None
            assert found.iteration >= last
            assert_same(found, made(found.iteration))
            last = found.iteration
            names |= {p.name.split(".")[-1] for p in tmp_path.iterdir() if p.name.startswith(".")}
        starter.stdin.close()
    assert last > 50  # it did write in between
    assert names  # and was killed in the middle of writing
    write_checkpoint(tmp_path, made(last + 1))
    assert len(list(tmp_path.iterdir())) == 2  # what the killed ones left is gone


def test_copies_of_a_checkpoint_can_be_moved(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, made(5))
    assert_same(read_checkpoint(Path(shutil.copytree(path, tmp_path / "elsewhere")), LIMIT), made(5))
