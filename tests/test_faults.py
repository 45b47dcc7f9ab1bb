"""Twenty things that go wrong, put in on purpose: each ends as the table in `multimodal_dql.monitors` says.

The directory holds an older agent before anything goes wrong. Whatever happens, an agent in it loads and ranks.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import multimodal_dql.experience as experience
import multimodal_dql.training_loop as loop
from multimodal_dql.agent import Agent
from multimodal_dql.checkpoint import checkpoints
from multimodal_dql.errors import MultimodalDQLError, TrainingError, UsageError
from multimodal_dql.monitors import ACTIONS
from multimodal_dql.probe import HIDDEN
from multimodal_dql.rank import rank
from multimodal_dql.replay import Replay
from multimodal_dql.simulation.sessions import Steps
from multimodal_dql.stability import read_stability
from multimodal_dql.training import TrainConfig, train

from .test_candidates import encoded

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_graphs")]

CONFIG = TrainConfig(
    iterations=8, sessions=32, updates=4, batch=32, members=2, folds=2, hidden=8, checkpoint_every=1, seed=3
)
FEATURES = encoded(items=6)


@dataclass
class Bench:
    """A run directory with an older agent, and what the user was told."""

    run: Path
    patch: pytest.MonkeyPatch
    before: bytes
    told: list[str]

    def train(self, progress: Any = None, resume: bool = False, **changes: Any) -> Agent:
        config = replace(CONFIG, **changes)

        def notice(error: MultimodalDQLError) -> None:
            self.told.append(error.text("en"))

        return train(FEATURES, config, run=self.run, progress=progress, resume=resume, notice=notice)[0]

    @property
    def said(self) -> set[str]:
        """Monitors that spoke."""
        return {found.monitor for found in read_stability(self.run).findings}

    def untouched(self) -> bool:
        return (self.run / "weights.safetensors").read_bytes() == self.before

    def sessions(self, change: Callable[[Steps, int], Steps]) -> None:
        """Change what sessions bring; the second argument counts calls from 1."""
        real, calls = experience.run_sessions, iter(range(1, 10**6))
        self.patch.setattr(experience, "run_sessions", lambda *a, **k: change(real(*a, **k), next(calls)))


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("older")
    train(FEATURES, replace(CONFIG, seed=0, iterations=2), run=run)
    return run


@pytest.fixture
def bench(older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    run = Path(shutil.copytree(older, tmp_path / "run"))
    made = Bench(run, monkeypatch, (run / "weights.safetensors").read_bytes(), [])
    yield made
    agent = Agent.load(run)
    assert all(np.isfinite(v.numpy()).all() for v in agent.network.trainable_variables)
    ranking = rank(agent, FEATURES)
    assert [len(item.variants) for item in ranking.items] == [
        len(i.variants) for i in FEATURES.catalogue.items
    ]
    json.loads((run / "metrics.jsonl").read_text().splitlines()[-1], parse_constant=pytest.fail)


def spoil(steps: Steps, field: str, value: float, sessions: slice) -> Steps:
    array = np.array(getattr(steps, field))
    array[sessions] = value
    return replace(steps, **{field: array})


# --- skip: what is damaged is left out ----------------------------------------------------------------------------


DAMAGE: dict[int, tuple[str, float]] = {
    2: ("click_probability", np.nan),
    3: ("click_probability", np.inf),
    4: ("context", np.nan),
    5: ("record", np.inf),
    6: ("click_probability", 7.0),  # a label out of range
    7: ("action", 99),  # a policy that chose what is not there
    8: ("action", -1),
}


def test_damaged_sessions_are_left_out(bench: Bench) -> None:
    """Seven kinds of damage, one in each iteration after the first, four sessions of 32 each time."""
    bench.sessions(lambda steps, n: spoil(steps, *DAMAGE[n], slice(0, 4)) if n in DAMAGE else steps)
    bench.train()
    found = [f for f in read_stability(bench.run).findings if f.monitor != "churn"]
    assert [(f.monitor, f.action, f.iteration) for f in found] == [("transitions", "skip", n) for n in DAMAGE]
    assert all(0.02 < f.value < 0.4 for f in found)  # about an eighth of the transitions
    assert read_stability(bench.run).verdict == "repaired"
    assert not bench.untouched()


def test_a_damaged_entry_of_the_replay_costs_its_batches(bench: Bench) -> None:
    real = Replay.add

    def add(self: Replay, batch: Any) -> None:
        real(self, batch)
        self.data["reward"][1] = np.nan

    bench.patch.setattr(Replay, "add", add)
    bench.train(updates=8)
    assert bench.said - {"churn"} == {"batch"}
    assert not bench.untouched()


# --- stop: the last good weights are kept -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, 1e9])
def test_rewards_that_are_all_damaged_stop_it(bench: Bench, value: float) -> None:
    """All NaN, or on a scale that no visit reaches, from the fourth iteration on."""
    bench.sessions(
        lambda steps, n: spoil(steps, "click_probability", value, slice(None)) if n == 4 else steps
    )
    with pytest.raises(
        TrainingError, match=r"nothing sound was left to learn from in iteration 4.*last good"
    ):
        bench.train()
    assert bench.said == {"transitions", "starved"}
    assert not bench.untouched()


def test_an_exploding_learning_rate_leaves_the_older_agent(bench: Bench) -> None:
    """It diverges in the first iteration: random weights are no reason to lose what was there."""
    with pytest.raises(
        TrainingError, match=r"training diverged at iteration 1 .*lower --learning-rate.*as it was"
    ):
        bench.train(learning_rate=1e6)
    assert bench.untouched()
    assert not (bench.run / "unfinished").exists()


def inject(bench: Bench, after: int, change: Callable[[Any], None]) -> Any:
    """Change the network in the running process after an iteration has passed."""
    found: list[Any] = []
    real = loop.Learner.__init__

    def init(self: Any, *args: Any, **kw: Any) -> None:
        real(self, *args, **kw)
        found.append(self)

    bench.patch.setattr(loop.Learner, "__init__", init)

    def progress(done: int, total: int, row: dict[str, float]) -> None:
        if done == after:
            change(found[0].online)

    return progress


def test_weights_that_become_nan_stop_it(bench: Bench) -> None:
    progress = inject(bench, 4, lambda net: net.fuse.kernel.assign(net.fuse.kernel * np.nan))
    with pytest.raises(TrainingError, match=r"iteration 5 \(weights are not finite\).*the last good weights"):
        bench.train(progress)
    assert bench.said == {"not_finite"}
    assert not bench.untouched()
    assert len((bench.run / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_q_that_explodes_stops_it(bench: Bench) -> None:
    progress = inject(bench, 4, lambda net: net.value.bias.assign(net.value.bias + 1e6))
    with pytest.raises(TrainingError, match=r"iteration 5 \(loss .*q_largest 1e\+06"):
        bench.train(progress)
    assert bench.said == {"exploding_q"}
    assert not bench.untouched()


# --- lower: back to the last good state, with a lower learning rate -----------------------------------------------


def rates(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(1, 9))
    return [row["learning_rate"] for row in rows]


def assert_lowered_once(bench: Bench, monitor: str) -> None:
    """After the sixth iteration the learning rate is a third of what it would have been."""
    assert bench.said - {"churn"} == {monitor}
    total, lr = CONFIG.iterations * CONFIG.updates, CONFIG.learning_rate
    # The step of the optimiser went back too: the seventh iteration takes the steps of the sixth.
    steps = [4 * i for i in (0, 1, 2, 3, 4, 5, 5, 6)]
    wanted = [lr * (0.9 * 0.5 * (1 + np.cos(np.pi * s / total)) + 0.1) for s in steps]
    np.testing.assert_allclose(rates(bench.run), np.array(wanted) / ([1] * 6 + [3] * 2), rtol=1e-5)
    assert not bench.untouched()


def test_an_inflated_q_is_undone(bench: Bench) -> None:
    """Far too high, not high enough to stop: the loss tells."""
    bench.train(inject(bench, 5, lambda net: net.value.bias.assign(net.value.bias + 200.0)))
    assert_lowered_once(bench, "loss")
    assert all(np.abs(v.numpy()).max() < 100 for v in Agent.load(bench.run).network.trainable_variables)


def test_a_dead_network_is_brought_back(bench: Bench) -> None:
    """Every unit behind a rectifier far below 0, whatever it sees: no gradient will raise it again."""

    def kill(net: Any) -> None:
        for name in HIDDEN:
            norm = getattr(net, name)
            norm.gain.assign(norm.gain * 0.0)
            norm.offset.assign(norm.offset * 0.0 - 10.0)

    bench.train(inject(bench, 5, kill))
    assert_lowered_once(bench, "dead")
    assert read_stability(bench.run).dead_share < 0.9


def test_a_network_that_dies_again_and_again_stops_it(bench: Bench) -> None:
    """Killed by every update: three repairs, then the end; the last state that passed is the first."""
    real = loop.Learner.learn

    def learn(self: Any, batches: Any) -> dict[str, float]:
        row = real(self, batches)
        if self.updates > 4:
            for v in self.online.trainable_variables:
                v.assign(v * 0.0)
        return row

    bench.patch.setattr(loop.Learner, "learn", learn)
    with pytest.raises(TrainingError, match="training diverged at iteration 5"):
        bench.train()
    assert bench.said == {"dead", "lowered"}
    assert read_stability(bench.run).verdict == "stopped"


# --- warn: nothing changes, the report says it --------------------------------------------------------------------


def test_a_q_that_promises_too_much_is_a_warning(bench: Bench) -> None:
    real = experience.session_returns
    bench.patch.setattr(experience, "session_returns", lambda *a: real(*a) / 100.0)
    bench.train(iterations=14)
    assert bench.said - {"churn"} == {"overestimate"}
    assert read_stability(bench.run).verdict == "watch"


def test_a_full_disk_costs_the_checkpoint_not_the_training(bench: Bench) -> None:
    """A limit on the size of files while the third checkpoint is written stands for a full disk."""
    real = loop.write_checkpoint

    def write(folder: Path, checkpoint: Any) -> Path:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if checkpoint.iteration == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            return real(folder, checkpoint)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            if checkpoint.iteration == 3:
                left = [p.name[-1] for p in checkpoints(folder)]
                assert left == ["2", "1"]

    bench.patch.setattr(loop, "write_checkpoint", write)
    bench.train()
    assert bench.said - {"churn"} == {"checkpoint"}
    assert len(bench.told) == 1
    assert (
        "the checkpoint of iteration 3 cannot be written (File too large); training goes on" in bench.told[0]
    )
    assert not bench.untouched()


# --- refuse: nothing starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"learning_rate": -1e-3}, {"target_rate": 0.0}, {"discount": 1.5}, {"folds": 1}]
)
def test_settings_that_cannot_work_start_nothing(bench: Bench, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        bench.train(**change)
    assert bench.untouched()
    assert not (bench.run / "unfinished").exists()


def test_an_embedding_that_is_infinite_starts_nothing(bench: Bench) -> None:
    """The projection is fitted to sound vectors; then one of them is damaged in memory."""
    from multimodal_dql import training

    real = training.candidate_table

    def table(*args: Any) -> Any:
        candidates = real(*args)
        candidates.content[2, 0] = np.inf
        return candidates

    bench.patch.setattr(training, "candidate_table", table)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(MultimodalDQLError, match="NaN or infinity for 1 variants"),
    ):
        bench.train()
    assert bench.untouched()


# --- interruptions and damaged checkpoints ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(older: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older run, and a training in it that Ctrl-C ended after the fourth iteration."""
    run = Path(shutil.copytree(older, tmp_path_factory.mktemp("interrupted") / "run"))

    def progress(done: int, total: int, row: dict[str, float]) -> None:
        if done == 4:
            signal.raise_signal(signal.SIGINT)

    # Where the tests run in the background of a shell, the signal is ignored unless asked for.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(FEATURES, CONFIG, run=run, progress=progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert all((run / p.name).read_bytes() == p.read_bytes() for p in older.iterdir() if p.is_file())
    return run


def _cut(path: Path) -> None:
    data = (path / "optimizer.safetensors").read_bytes()
    (path / "optimizer.safetensors").write_bytes(data[: len(data) // 2])


def _alter(path: Path) -> None:
    data = bytearray((path / "online.safetensors").read_bytes())
    data[-3] ^= 4
    (path / "online.safetensors").write_bytes(data)


def _newer(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"checkpoint_version": 99}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_cut, "bytes, not"), (_alter, "online.safetensors was altered"), (_newer, "newer version (format 99")],
)
def test_a_damaged_checkpoint_is_passed_over(
    bench: Bench, interrupted: Path, damage: Callable[[Path], None], words: str
) -> None:
    shutil.copytree(interrupted / "unfinished", bench.run / "unfinished")
    damage(checkpoints(bench.run / "unfinished")[0])
    bench.train(resume=True)
    assert len(bench.told) == 1
    assert words in bench.told[0]
    assert bench.told[0].endswith("going on from iteration 3 instead")
    assert bench.said <= {"churn"}
    assert not bench.untouched()


def test_no_monitor_is_left_out_here() -> None:
    """Each monitor of the table with an action has a fault above, or a test of its own in `test_monitors`."""
    source = Path(__file__).read_text("utf-8")
    assert [name for name in ACTIONS if f'"{name}"' not in source] == []
