"""An interrupted training goes on as if nothing had happened, to the last bit; and refuses to go on as another one."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.checkpoint import checkpoints
from multimodal_dql.errors import CheckpointError, MultimodalDQLError, RunError
from multimodal_dql.learner import Learner
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.training import TrainConfig, train_in_world

from .graphs import SharedGraphs
from .simulation.worlds import projection, world

pytestmark = pytest.mark.usefixtures("shared_graphs")

TINY = TrainConfig(
    iterations=6, sessions=24, updates=2, batch=8, members=2, folds=2, hidden=4, checkpoint_every=1
)


class Cut(Exception):
    """Stands for a process that ends: nothing in the code under test catches it."""


def learn(run: Path, config: TrainConfig = TINY, **changes: Any) -> Agent:
    return train_in_world(world(items=6), projection(), config, run=run, **changes)


def stop_at(iteration: int) -> Any:
    def progress(done: int, total: int, row: dict[str, float]) -> None:
        if done == iteration:
            raise Cut

    return progress


def files(run: Path) -> dict[str, str]:
    """SHA-256 of what a finished run holds, TensorBoard's files aside: they have the time in them."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.iterdir() if path.is_file()
    }


def scalars(run: Path) -> list[tuple[int, str, float]]:
    """Every point of every TensorBoard curve, in the order written."""
    import tensorflow as tf

    return [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for path in sorted((run / "tensorboard").iterdir())
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole")
    learn(run)
    return run


def test_checkpoints_change_nothing_and_are_gone_afterwards(whole: Path, tmp_path: Path) -> None:
    learn(tmp_path, replace(TINY, checkpoint_every=0))
    assert files(tmp_path)["weights.safetensors"] == files(whole)["weights.safetensors"]
    assert files(tmp_path)["metrics.jsonl"] == files(whole)["metrics.jsonl"]
    assert {p.name for p in whole.iterdir()} == {
        "config.json", "last_layer.safetensors", "metrics.jsonl", "stability.json", "tensorboard",
        "weights.safetensors",
    }  # fmt: skip


def test_resumed_it_ends_with_the_same_bytes(
    whole: Path, tmp_path: Path, shared_graphs: SharedGraphs
) -> None:
    with shared_graphs.unused():
        with pytest.raises(Cut):
            learn(tmp_path, progress=stop_at(4))
        assert [p.name for p in tmp_path.iterdir()] == ["unfinished"]
        learn(tmp_path, resume=True)
    assert files(tmp_path) == files(whole)
    assert scalars(tmp_path) == scalars(whole)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_twenty_random_interruptions_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut between gradient steps, while the metrics are written or between iterations, 20 times in one training."""
    config = replace(TINY, iterations=30, checkpoint_every=2, replay=300)  # the ring goes round
    learn(tmp_path / "whole", config)
    rng = random.Random(7)
    done, cuts = 0, 0
    real = Learner.learn
    from multimodal_dql.metrics import Metrics

    written = Metrics.write
    run = tmp_path / "cut"
    while cuts < 20:
        last = checkpoints(run / "unfinished")
        start = int(last[0].name[-8:]) if last else 0
        at, where = start + rng.randint(1, 3), rng.choice(["learn", "write", "progress"])
        at = min(at, config.iterations)

        def cut_learn(self: Learner, batches: Any, at: int = at, where: str = where) -> dict[str, float]:
            out = real(self, batches)
            if where == "learn" and self.updates == at * config.updates:
                raise Cut
            return out

        def cut_write(self: Metrics, step: int, row: Any, at: int = at, where: str = where) -> None:
            written(self, step, row)
            if where == "write" and step + 1 == at:
                self.file.write('{"iteration": 9')  # half a line
                self.file.flush()
                raise Cut

        monkeypatch.setattr(Learner, "learn", cut_learn)
        monkeypatch.setattr(Metrics, "write", cut_write)
        with pytest.raises(Cut):
            learn(run, config, resume=cuts > 0, progress=stop_at(at if where == "progress" else -1))
        cuts += 1
        done = max(done, at)
    monkeypatch.undo()
    learn(run, config, resume=True)
    assert done > 10
    assert files(run) == files(tmp_path / "whole")
    assert scalars(run) == scalars(tmp_path / "whole")


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A run that was cut after its third iteration; its checkpoints are 2 and 3."""
    with pytest.raises(Cut):
        learn(tmp_path, progress=stop_at(3))
    return tmp_path


@pytest.mark.slow
def test_an_older_run_in_the_same_folder_is_whole_until_the_new_one_is(whole: Path, tmp_path: Path) -> None:
    learn(tmp_path)
    before = files(tmp_path)
    with pytest.raises(Cut):
        learn(tmp_path, replace(TINY, seed=1), progress=stop_at(2))
    assert files(tmp_path) == before == files(whole)
    assert list((tmp_path / "tensorboard").iterdir())
    Agent.load(tmp_path)
    learn(tmp_path, replace(TINY, seed=1), resume=True)
    assert files(tmp_path) != before
    assert not (tmp_path / "unfinished").exists()


def test_refusals(cut: Path) -> None:
    """One line each; nothing is lost by any of them."""
    with pytest.raises(RunError, match=r"continue it with --resume, or remove .*unfinished"):
        learn(cut)
    with pytest.raises(RunError, match=r"was made with learning_rate = 0\.002, and now it is 0\.1"):
        learn(cut, replace(TINY, learning_rate=0.1), resume=True)
    with pytest.raises(RunError, match="was made with another catalogue"):
        train_in_world(world(1, items=6), projection(), TINY, run=cut, resume=True)
    with pytest.raises(RunError, match="another audience"):
        train_in_world(
            world(config=EngagementConfig(content_share=1.0), items=6),
            projection(),
            TINY,
            run=cut,
            resume=True,
        )
    with pytest.raises(RunError, match="holds no interrupted training"):
        learn(cut / "elsewhere", resume=True)
    assert len(checkpoints(cut / "unfinished")) == 2


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(whole: Path, cut: Path) -> None:
    newest = checkpoints(cut / "unfinished")[0]
    (newest / "replay.safetensors").write_bytes(b"half")
    told: list[MultimodalDQLError] = []
    learn(cut, resume=True, notice=told.append)
    assert len(told) == 1
    assert "replay.safetensors has 4 bytes, not" in str(told[0])
    assert str(told[0]).endswith("going on from iteration 2 instead")
    assert files(cut) == files(whole)


def test_without_a_checkpoint_that_can_be_trusted_it_says_so(cut: Path) -> None:
    for path in checkpoints(cut / "unfinished"):
        (path / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be resumed from"):
        learn(cut, resume=True)


def test_metrics_that_were_lost_are_missed(cut: Path) -> None:
    (cut / "unfinished" / "metrics.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is shorter than the checkpoint says"):
        learn(cut, resume=True)


@pytest.mark.slow
def test_interrupted_before_the_first_checkpoint_it_begins_again(whole: Path, tmp_path: Path) -> None:
    config = replace(TINY, checkpoint_every=5)
    with pytest.raises(Cut):
        learn(tmp_path, config, progress=stop_at(2))
    learn(tmp_path, config, resume=True)
    assert files(tmp_path)["weights.safetensors"] == files(whole)["weights.safetensors"]
    assert files(tmp_path)["metrics.jsonl"] == files(whole)["metrics.jsonl"]


def test_checkpoints_can_be_kept(tmp_path: Path) -> None:
    learn(tmp_path, keep_checkpoints=True)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == [
        "checkpoint-00000005", "checkpoint-00000004",
    ]  # fmt: skip


def test_a_save_interrupted_at_any_step_leaves_a_whole_agent(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before each rename in turn, an agent is read: the old one first, the new one from some step on."""
    old = Agent.load(whole)
    new = Agent.load(whole)
    for v in new.network.trainable_variables:
        v.assign(v + 1.0)
    new.layer = replace(new.layer, story=0.5)
    seen = []
    rename = Path.replace
    for cut_at in range(5):
        run = tmp_path / str(cut_at)
        old.save(run)
        left = iter(range(10))

        def stopping(self: Path, target: Any, left: Any = left, cut_at: int = cut_at) -> Path:
            if next(left) == cut_at:
                raise Cut
            return rename(self, target)

        for _ in range(2):  # a second save over what the first one left
            monkeypatch.setattr(Path, "replace", stopping)
            with pytest.raises(Cut):
                new.save(run)
            monkeypatch.undo()
            read = Agent.load(run)
            found = read.network.trainable_variables
            kind = [
                n for n, a in (("old", old), ("new", new))
                if all(np.array_equal(x, y) for x, y in zip(found, a.network.trainable_variables, strict=True))
                and read.layer.story == a.layer.story
            ]  # fmt: skip
            assert len(kind) == 1
            seen.append(kind[0])
            left = iter(range(10))
            stopping.__defaults__ = (left, cut_at)
        new.save(run)
        assert all(
            np.array_equal(x, y)
            for x, y in zip(
                Agent.load(run).network.trainable_variables, new.network.trainable_variables, strict=True
            )
        )
        assert {p.name for p in run.iterdir()} == {
            "config.json",
            "last_layer.safetensors",
            "weights.safetensors",
        }
    assert seen == ["old"] * 6 + ["new"] * 4
