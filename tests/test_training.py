"""Learning: the target by hand, known answers on tiny worlds, and what happens when it goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.errors import CatalogueError, RunError, TrainingError
from multimodal_dql.policies.base import First, Uniform
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.compare import compare, outcome
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.training import TrainConfig, read_audience, train, train_in_world

from .simulation.worlds import projection, world
from .test_candidates import encoded

pytestmark = pytest.mark.usefixtures("shared_graphs")

SMALL = TrainConfig(iterations=12, sessions=128, updates=8, batch=64, members=4, folds=2, hidden=16)


@pytest.fixture(scope="module")
def trained() -> tuple[Agent, World]:
    w = world(0, EngagementConfig(content_share=1.0, taste_sd=0.2), items=40)
    return train_in_world(w, projection(), replace(SMALL, iterations=25)), w


def test_it_beats_chance_on_stories_it_did_not_learn_from(trained: tuple[Agent, World]) -> None:
    agent, w = trained
    unseen = DqnPolicy(agent, known=np.arange(40))
    found = {
        n: outcome(w, p, seed=0, sessions=1500) for n, p in (("q", unseen), ("u", Uniform()), ("f", First()))
    }
    over_uniform, over_first = compare(found, [("q", "u"), ("q", "f")], [str(i) for i in range(40)])
    assert over_uniform.low > 0
    assert over_first.uplift > 0


def test_members_leave_out_their_fold(trained: tuple[Agent, World]) -> None:
    agent, _ = trained
    left = agent.left_out(np.arange(40))
    assert left.shape == (4, 40)
    assert (left.sum(axis=0) == 2).all()
    np.testing.assert_array_equal(left[0], left[2])
    assert (left[0] ^ left[1]).all()
    assert agent.left_out(np.array([-1])).all()


def test_a_run_is_read_back_exactly(trained: tuple[Agent, World], tmp_path: Path) -> None:
    agent, w = trained
    agent.save(tmp_path)
    again = Agent.load(tmp_path)
    record = np.zeros((5, w.candidates.size, 3), np.float32)
    state = w.candidates.state(np.arange(5), agent.contexts({})[:5], record)
    np.testing.assert_array_equal(agent.q_values(state), again.q_values(state))
    for name, array in agent.layer.tensors().items():
        np.testing.assert_array_equal(again.layer.tensors()[name], array)
    np.testing.assert_array_equal(again.fold, agent.fold)


def test_q_does_not_depend_on_the_batch(trained: tuple[Agent, World]) -> None:
    agent, w = trained
    items = np.arange(300) % 40
    context = np.resize(agent.contexts({}), (300, agent.context.width))
    record = np.zeros((300, w.candidates.size, 3), np.float32)
    whole = agent.q_values(w.candidates.state(items, context, record))
    for i in (0, 7, 299):
        one = agent.q_values(w.candidates.state(items[i : i + 1], context[i : i + 1], record[i : i + 1]))
        np.testing.assert_array_equal(whole[i], one[0])


def test_the_same_seed_gives_the_same_agent_whether_or_not_its_metrics_are_written(tmp_path: Path) -> None:
    w = world()
    a, b = (
        train_in_world(w, projection(), replace(SMALL, iterations=3), run=run) for run in (None, tmp_path)
    )
    for x, y in zip(a.network.trainable_variables, b.network.trainable_variables, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert rows[0]["epsilon"] == 1.0
    assert {"loss", "td_error", "gradient_norm", "q_largest", "click_rate"} <= set(rows[0])
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_without_a_future_q_is_the_next_click() -> None:
    """Discount 0, no mechanism but appeal: Q of a training story is its click probability, to 15 % of the spread."""
    off = ("taste", "position", "cascade", "overdispersion", "device", "hour", "fatigue", "wear", "boredom")
    config = EngagementConfig(content_share=1.0, within_sd=0.5, story_sd=0.0).without(*off)
    w = world(2, config, items=6)
    settings = replace(
        SMALL, discount=0.0, iterations=20, updates=12, folds=1, content_noise=0.0, modality_dropout=0.0
    )
    agent = train_in_world(w, projection(), replace(settings, folds=2, members=2))
    c = w.candidates
    record = np.zeros((6, c.size, 3), np.float32)
    record[..., 1] = c.available
    state = c.state(np.arange(6), agent.contexts({})[:6], record)
    learned = ~agent.left_out(np.arange(6))[:, :, None] & c.available[None]
    q = agent.estimate(state).q[learned]
    truth = np.broadcast_to(1 / (1 + np.exp(-w.appeal[c.table])), learned.shape)[learned]
    assert np.corrcoef(q, truth)[0, 1] > 0.9
    assert np.abs(q - truth).mean() < 0.25 * truth.std() + 0.1 * truth.mean()


def test_divergence_stops_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower --learning-rate; the last good weights are in"):
        train_in_world(world(), projection(), replace(SMALL, learning_rate=1e6), run=tmp_path)
    kept = Agent.load(tmp_path)
    assert all(np.isfinite(v.numpy()).all() for v in kept.network.trainable_variables)


def test_too_few_stories_are_refused_with_the_cure() -> None:
    with pytest.raises(CatalogueError, match="has 2 stories to learn from, and learning needs 3"):
        train(encoded(items=2), TrainConfig())


def test_a_damaged_run_is_refused_in_one_line(trained: tuple[Agent, World], tmp_path: Path) -> None:
    agent, _ = trained
    with pytest.raises(RunError, match="not a run directory"):
        Agent.load(tmp_path)
    agent.save(tmp_path)
    for name in ("weights.safetensors", "last_layer.safetensors"):
        weights = tmp_path / name
        whole = weights.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
            weights.write_bytes(damaged)
            with pytest.raises(RunError, match="damaged"):
                Agent.load(tmp_path)
        weights.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "schema_version": 1}))
    with pytest.raises(RunError, match=r"older version, without the last layer .*; train anew"):
        Agent.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "schema_version": 99}))
    with pytest.raises(RunError, match="newer version"):
        Agent.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="not a complete configuration"):
        Agent.load(tmp_path)
    with pytest.raises(RunError, match="missing or damaged"):
        read_audience(tmp_path)
