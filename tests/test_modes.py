"""Ways to train beside the default: a loss over bins, and draws by TD error. Each changes what it says it changes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.decider import Decider
from multimodal_dql.errors import RunError, UnknownNameError, UsageError
from multimodal_dql.experience import Simulated
from multimodal_dql.learner import Learner
from multimodal_dql.learning.losses import Bins, expectation
from multimodal_dql.replay import PrioritisedReplay
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.training import TrainConfig, train_in_world
from multimodal_dql.training_loop import About, Training
from multimodal_dql.transitions import fields_of

from .simulation.worlds import projection, world

pytestmark = pytest.mark.usefixtures("shared_graphs")

TINY = TrainConfig(
    iterations=4, sessions=24, updates=3, batch=16, members=2, folds=2, hidden=8, checkpoint_every=1
)


def weights(run: Path) -> str:
    return hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the default."""
    run = tmp_path_factory.mktemp("plain")
    train_in_world(world(items=6), projection(), TINY, run=run)
    return weights(run)


@pytest.mark.parametrize("change", [{"value_loss": "hl_gauss"}, {"replay_sampling": "prioritised"}])
def test_each_mode_learns_something_else_and_resumes_bit_for_bit(
    change: dict[str, Any], plain: str, tmp_path: Path
) -> None:
    class Cut(Exception):
        pass

    def stop(done: int, total: int, row: dict[str, float]) -> None:
        if done == 2:
            raise Cut

    config = replace(TINY, **change)
    train_in_world(world(items=6), projection(), config, run=tmp_path / "whole")
    with pytest.raises(Cut):
        train_in_world(world(items=6), projection(), config, run=tmp_path / "cut", progress=stop)
    train_in_world(world(items=6), projection(), config, run=tmp_path / "cut", resume=True)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole") != plain
    for name, value in change.items():
        assert Agent.load(tmp_path / "whole").facts["training"][name] == value


def test_settings_that_make_no_sense_are_refused() -> None:
    w = world(items=6)
    with pytest.raises(UnknownNameError, match="no value_loss called 'hlgauss'; did you mean 'hl_gauss'"):
        train_in_world(w, projection(), replace(TINY, value_loss="hlgauss"))
    with pytest.raises(UnknownNameError, match="no replay_sampling called 'priority'"):
        train_in_world(w, projection(), replace(TINY, replay_sampling="priority"))
    with pytest.raises(UsageError, match=r"cql is 0.1, and sessions are simulated.*--log"):
        train_in_world(w, projection(), replace(TINY, cql=0.1))


# --- a loss over bins


def test_q_is_the_mean_over_bins_that_hold_every_return(tmp_path: Path) -> None:
    w = world(items=6)
    config = replace(TINY, value_loss="hl_gauss")
    agent = train_in_world(w, projection(), config, run=tmp_path)
    shape = agent.network.config
    bins = Bins(shape.bin_low, shape.bin_high, shape.bins)
    largest = Simulated(w).largest_return(config)
    assert (shape.advantage, bins.count) == ("whole", 51)
    # Three bins lie beyond 0 and beyond the largest return.
    np.testing.assert_allclose(
        [bins.low + 3 * bins.width, bins.high - 3 * bins.width], [0.0, largest], atol=1e-5
    )
    c = w.candidates
    record = np.zeros((6, c.size, 3), np.float32)
    state = c.state(np.arange(6), agent.contexts({})[:6], record)
    out = agent.network(state.inputs())
    p = np.exp(out["q_logits"]) / np.exp(out["q_logits"]).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(out["q"], expectation(p, bins), rtol=1e-4)
    again = Agent.load(tmp_path)
    np.testing.assert_array_equal(agent.q_values(state), again.q_values(state))
    with pytest.raises(RunError, match="was trained with --value-loss hl_gauss"):
        Decider.load(tmp_path)


@pytest.mark.slow
def test_bins_learn_the_next_click_as_squares_do() -> None:
    """Discount 0, no mechanism but appeal: Q of a training story is its click probability."""
    off = ("taste", "position", "cascade", "overdispersion", "device", "hour", "fatigue", "wear", "boredom")
    w = world(2, EngagementConfig(content_share=1.0, within_sd=0.5, story_sd=0.0).without(*off), items=6)
    config = TrainConfig(
        iterations=20, sessions=128, updates=12, batch=64, members=2, folds=2, hidden=16, discount=0.0,
        content_noise=0.0, modality_dropout=0.0, value_loss="hl_gauss",
    )  # fmt: skip
    agent, c = train_in_world(w, projection(), config), w.candidates
    record = np.zeros((6, c.size, 3), np.float32)
    record[..., 1] = c.available
    state = c.state(np.arange(6), agent.contexts({})[:6], record)
    learned = ~agent.left_out(np.arange(6))[:, :, None] & c.available[None]
    q = agent.estimate(state).q[learned]
    truth = np.broadcast_to(1 / (1 + np.exp(-w.appeal[c.table])), learned.shape)[learned]
    assert np.corrcoef(q, truth)[0, 1] > 0.9
    assert np.abs(q - truth).mean() < 0.35 * truth.std() + 0.1 * truth.mean()


# --- draws by TD error


def test_a_transition_is_drawn_by_its_error_and_weighed_against_it() -> None:
    """Two of 64 have an error of 1, the others of 1/32: .6 of a power, 8 : 1. Weights by b = 1 undo it."""
    replay = PrioritisedReplay(64, {"n": ((), np.int32)})
    replay.add({"n": np.arange(64, dtype=np.int32)})
    error = np.full(64, 1 / 32, np.float32)
    error[:2] = 1.0
    replay.set_priorities(np.arange(64, dtype=np.int32), error)
    share = 2 * 8 / (2 * 8 + 62)
    drawn, weight = [], []
    for _ in range(50):
        rows, index = replay.draw(128, 1.0)
        np.testing.assert_array_equal(rows["n"], index)
        drawn.append(rows["n"])
        weight.append(rows["importance"])
    large = np.concatenate(drawn) < 2
    # 6,400 stratified draws: a standard error below .006.
    assert abs(large.mean() - share) < 0.02
    weights_ = np.concatenate(weight)
    np.testing.assert_allclose(weights_[~large], 1.0, rtol=1e-4)
    np.testing.assert_allclose(weights_[large], 1 / 8, rtol=1e-3)


def test_importance_weighs_the_loss_and_errors_become_priorities() -> None:
    w = world(items=6)
    config = replace(
        TINY, content_noise=0.0, modality_dropout=0.0, replay_sampling="prioritised", iterations=2
    )
    training = Training(Simulated(w), projection(), config, About())
    training.learn()
    replay = training.state.replay
    assert isinstance(replay, PrioritisedReplay)
    held = replay.state()["priorities"].ravel()[: len(replay)]
    assert len(np.unique(held)) > 10  # what was never drawn has the highest priority, the rest its own
    rows, index = replay.draw(8, 1.0)
    learner, before = training.state.learner, training.state.learner.state()
    losses = []
    for importance in ([1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1], [1] * 8, [2] * 8):
        learner.restore(before)
        row, size = learner.step(rows | {"importance": np.array(importance, np.float32)})
        losses.append(row["loss"])
    assert losses[0] + losses[1] == pytest.approx(losses[2], rel=1e-5)
    assert losses[3] == pytest.approx(2 * losses[2], rel=1e-5)
    replay.set_priorities(index, size)
    found = replay.state()["priorities"].ravel()[np.asarray(index)]
    last = {int(i): s for i, s in zip(np.asarray(index), size, strict=True)}
    for i, value in zip(np.asarray(index), found, strict=True):
        same = [(s + 1e-6) ** 0.6 for j, s in zip(np.asarray(index), size, strict=True) if j == i]
        assert np.isclose(value, same, rtol=1e-4).any()
    assert len(last) > 1


def test_an_error_counts_for_the_members_that_learn() -> None:
    """Member 0 learns from story 0 alone, member 1 from story 1 alone."""
    w = world(items=2, sizes=(2, 3))
    agent = Agent.create(projection(), CONTEXT, 0.02, {"hidden": 4, "members": 2, "content_noise": 0.0}, 0)
    learner = Learner(agent, w.candidates, np.eye(2, dtype=bool), replace(TINY, content_noise=0.0))
    batch = {name: np.zeros((2, *shape), kind) for name, (shape, kind) in fields_of(w.candidates).items()}
    batch["item"] = np.arange(2, dtype=np.int32)
    batch["reward"] = np.array([3.0, 5.0], np.float32)
    q = np.asarray(agent.network(learner._inputs(batch["item"], batch["context"], batch["record"]))["q"])
    _, size = learner.step(batch)
    np.testing.assert_allclose(size, [abs(q[0, 0, 0] - 3.0), abs(q[1, 1, 0] - 5.0)], rtol=0.02)
