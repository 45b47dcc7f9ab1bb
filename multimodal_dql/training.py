"""Learning in front of the simulated audience: the loop reads from top to bottom.

One iteration: simulate sessions with an epsilon-greedy policy, add their transitions to the replay, take gradient
steps. Double Q-learning (van Hasselt et al. 2016): the online network chooses the next action, the target network
values it, ``y = G + factor * Q_target(s', argmax_a Q_online(s', a))``, and `factor` is 0 at a terminal step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import NETWORK_SETTINGS, Agent
from multimodal_dql.calibration import calibrate, known_winners
from multimodal_dql.errors import CatalogueError, RunError, TrainingError
from multimodal_dql.features import Features
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.replay import Replay, n_step
from multimodal_dql.run_config import read_file
from multimodal_dql.simulation.audience import CONTEXT, Audience, World
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.sessions import Stage, Steps, run_sessions
from multimodal_dql.simulation.typical import typical_users
from multimodal_dql.state import RECORD_WIDTH, ContentProjection, candidate_table

__all__ = ["TrainConfig", "double_q_target", "read_audience", "read_metrics", "train", "train_in_world"]

AUDIENCE_FILE = "audience.json"
METRICS_FILE = "metrics.jsonl"
LARGEST_Q = 1e4
"""In average clicks; a visit of 8 stories earns about 8, a thousand times that is no estimate any more."""

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run, saved in it.

    Attributes:
        iterations: rounds of simulate-then-learn.
        sessions: simulated in each iteration.
        updates: gradient steps in each iteration.
        batch: transitions in a gradient step.
        discount: worth of a click one story later. Where what follows hardly depends on what is shown, as by default,
            a larger one brings more noise than foresight (docs/evidence.md).
        n_step: rewards summed before bootstrapping.
        learning_rate: of Adam, decaying to a tenth along a cosine.
        weight_decay: AdamW (Loshchilov & Hutter 2019).
        clip_norm: largest gradient norm.
        target_rate: share of the online weights mixed into the target network after each step (Polyak averaging).
        epsilon: share of random choices at the start; falls linearly to `epsilon_end` over half the run.
        epsilon_end: share of random choices at the end.
        replay: transitions kept.
        folds: stories are dealt into this many folds and each member leaves one out, so that every story can be
            judged by members that never learned from it.
        expected_reward: learn from the click probability the simulator knows instead of the coin flip. Legitimate
            here because the world is simulated; never used with logs.
        hidden: width of the network.
        members: size of the ensemble.
        modality_dropout: probability of hiding a modality in training.
        content_noise: standard deviation of noise on the content in training.
        seed: of everything.
    """

    iterations: int = 40
    sessions: int = 256
    updates: int = 16
    batch: int = 128
    discount: float = 0.5
    n_step: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    clip_norm: float = 5.0
    target_rate: float = 0.02
    epsilon: float = 1.0
    epsilon_end: float = 0.1
    replay: int = 60_000
    folds: int = 3
    expected_reward: bool = True
    hidden: int = 32
    members: int = 9
    modality_dropout: float = 0.1
    content_noise: float = 0.5
    seed: int = 0

    def epsilon_at(self, iteration: int) -> float:
        """The exploration of an iteration."""
        share = min(iteration / max(self.iterations / 2, 1), 1.0)
        return self.epsilon + share * (self.epsilon_end - self.epsilon)


def double_q_target(reward: Any, factor: Any, q_online: Any, q_target: Any, available: Any) -> Any:
    """``reward + factor * q_target[argmax q_online]``, the argmax over available candidates.

    Args:
        reward: (B,), summed over n steps.
        factor: (B,), discount to the power n, 0 at a terminal step.
        q_online: (M, B, K) of the next state.
        q_target: (M, B, K) of the next state.
        available: (B, K) bool of the next state.

    Returns:
        (M, B).
    """
    from keras import ops

    best = ops.argmax(ops.where(available[None], q_online, -1e30), axis=-1)
    value = ops.take_along_axis(q_target, best[..., None], axis=-1)[..., 0]
    return reward[None] + factor[None] * value


def train(
    encoded: Features,
    config: TrainConfig,
    audience: EngagementConfig | None = None,
    *,
    run: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Agent, World]:
    """Train an agent on an encoded catalogue, in front of an audience drawn from the seed.

    Args:
        encoded: the catalogue's features.
        config: settings.
        audience: parameters of the simulated audience.
        run: directory for the agent, its audience, metrics and TensorBoard scalars; None keeps it in memory.
        progress: called with iteration, iterations and the latest metrics.

    Raises:
        CatalogueError: fewer stories than folds.
        TrainingError: a loss or a Q value became NaN or exploded. The last good weights are in `run`.
    """
    if len(encoded.catalogue.items) < config.folds:
        raise CatalogueError(
            path=encoded.catalogue.path,
            detail=f"has {len(encoded.catalogue.items)} stories to learn from, and learning needs {config.folds}; add "
            "stories, or rank with an agent that was trained on another catalogue",
            detail_zh=f"只有 {len(encoded.catalogue.items)} 个条目可供学习，至少需要 {config.folds} 个；"
            "请增加条目，或用在其他目录上训练过的智能体来排序",
        )
    projection = ContentProjection.fit(encoded)
    candidates = candidate_table(encoded, projection)
    people = Audience.draw(candidates, projection.widths, config.seed, audience)
    world = World.draw(people, candidates, config.seed)
    # The audience is written with the agent, never before: an interrupted run leaves an older one whole.
    try:
        agent = train_in_world(world, projection, config, run=run, progress=progress)
    except TrainingError:
        _write_audience(run, people)
        raise
    items = encoded.catalogue.items
    agent.item_ids = tuple(item.item_id for item in items)
    agent.winners = known_winners(
        world,
        agent.item_ids,
        [[v.variant_id for v in item.variants] for item in items],
        [[v.caption or "" for v in item.variants] for item in items],
    )
    _write_audience(run, people)
    if run is not None:
        agent.save(run)
    return agent, world


def _write_audience(run: Path | None, people: Audience) -> None:
    if run is not None:
        (run / AUDIENCE_FILE).write_text(people.to_json(), encoding="utf-8")


def read_audience(run: Path) -> Audience:
    """The audience a run was trained in front of. Raises `RunError`."""
    try:
        return Audience.from_json(read_file(run / AUDIENCE_FILE).decode("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RunError(
            path=run / AUDIENCE_FILE,
            detail="is missing or damaged; copy the run again or train anew",
            detail_zh="缺失或已损坏；请重新复制该运行或重新训练",
        ) from error


def read_metrics(run: Path) -> tuple[tuple[int, ...], dict[str, tuple[float, ...]]]:
    """The steps and the curves of a run, from its ``metrics.jsonl``."""
    rows = [json.loads(line) for line in (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()]
    names = [name for name in rows[0] if name != "iteration"] if rows else []
    return tuple(row["iteration"] for row in rows), {name: tuple(row[name] for row in rows) for name in names}


def train_in_world(
    world: World,
    projection: ContentProjection,
    config: TrainConfig,
    *,
    run: Path | None = None,
    progress: Progress | None = None,
) -> Agent:
    """Train an agent on the stories of a world; each member leaves one fold of them out.

    Args:
        world: the simulated audience.
        projection: of the catalogue's embeddings; saved with the agent.
        config: settings.
        run: directory for weights, metrics and TensorBoard scalars; None keeps the agent in memory.
        progress: called with iteration, iterations and the latest metrics.

    Raises:
        TrainingError: a loss or a Q value became NaN or exploded. The last good weights are in `run`.
    """
    rng = np.random.Generator(np.random.Philox(key=[config.seed, 2]))
    stories = len(world.candidates.table)
    network = {name: getattr(config, name) for name in NETWORK_SETTINGS}
    agent = Agent.create(projection, CONTEXT, world.config.base_click_rate, network, config.seed)
    agent.facts = {"training": asdict(config), "audience": asdict(world.config), "stories": stories}
    stage = Stage.of(world)
    agent.audience = typical_users(stage, config.seed)
    agent.fold = rng.permutation(stories) % config.folds
    items = np.arange(stories)
    bags = ~agent.left_out(items)
    learner = _Learner(agent, world, bags, config)
    replay = Replay(config.replay, _fields(world))
    with _Metrics(run) as metrics:
        for i in range(config.iterations):
            policy = DqnPolicy(agent, config.epsilon_at(i))
            ids = np.arange(i * config.sessions, (i + 1) * config.sessions)
            steps = run_sessions(stage, policy, seed=config.seed, ids=ids, record_rng=rng)
            replay.add(_transitions(steps, world, config))
            good = agent.network.get_weights()
            row = learner.learn(replay.sample(rng, (config.updates, config.batch)))
            row |= {
                "epsilon": policy.epsilon,
                "click_rate": float(steps.click_probability[steps.active].mean()),
            }
            if _diverged(row, agent):
                agent.network.set_weights(good)
                agent.spread = calibrate(agent, world)
                if run is not None:
                    agent.save(run)
                raise _divergence(i, row, run)
            metrics.write(i, row)
            if progress:
                progress(i + 1, config.iterations, row)
    agent.spread = calibrate(agent, world)
    if run is not None:
        agent.save(run)
    return agent


def _diverged(row: dict[str, float], agent: Agent) -> bool:
    """Whether a number is not finite, or Q is far above anything a visit can earn."""
    weights = agent.network.get_weights()
    finite = all(math.isfinite(v) for v in row.values()) and all(np.isfinite(w).all() for w in weights)
    return not finite or row["q_largest"] > LARGEST_Q


def _divergence(iteration: int, row: dict[str, float], run: Path | None) -> TrainingError:
    """The message for a run that must stop."""
    shown = ", ".join(f"{k} {v:.3g}" for k, v in row.items() if k in ("loss", "q_largest", "gradient_norm"))
    kept = f"; the last good weights are in {run}" if run is not None else ""
    kept_zh = f"；最近一次正常的权重保存在 {run}" if run is not None else ""
    return TrainingError(
        detail=f"training diverged at iteration {iteration + 1} ({shown}); lower --learning-rate{kept}",
        detail_zh=f"训练在第 {iteration + 1} 轮发散（{shown}）；请降低 --learning-rate{kept_zh}",
    )


def _fields(world: World) -> dict[str, tuple[tuple[int, ...], Any]]:
    """What a transition holds: stories by number, records as features, context before and after."""
    record = (world.candidates.size, RECORD_WIDTH)
    return {
        "item": ((), np.int32),
        "context": ((CONTEXT.width,), np.float32),
        "record": (record, np.float32),
        "action": ((), np.int32),
        "reward": ((), np.float32),
        "factor": ((), np.float32),
        "click": ((), np.float32),
        "next_item": ((), np.int32),
        "next_context": ((CONTEXT.width,), np.float32),
        "next_record": (record, np.float32),
    }


def _transitions(steps: Steps, world: World, config: TrainConfig) -> dict[str, NDArray[Any]]:
    """Sessions to n-step transitions; rewards in units of the base click rate, so that they are about 1."""
    click = steps.click_probability if config.expected_reward else steps.click.astype(np.float64)
    reward = click / world.config.base_click_rate
    total, factor, at = n_step(reward, steps.active, steps.done, config.discount, config.n_step)
    keep = steps.active
    row = np.broadcast_to(np.arange(len(at))[:, None], at.shape)[keep]
    after = at[keep]
    return {
        "item": steps.item[keep],
        "context": steps.context[keep],
        "record": steps.record[keep],
        "action": steps.action[keep],
        "reward": total[keep],
        "factor": factor[keep],
        "click": click[keep],
        "next_item": steps.item[row, after],
        "next_context": steps.context[row, after],
        "next_record": steps.record[row, after],
    }


class _Learner:
    """Gradient steps in one compiled call: `config.updates` batches go in, averaged metrics come out."""

    def __init__(self, agent: Agent, world: World, bags: NDArray[np.bool_], config: TrainConfig) -> None:
        import keras
        import tensorflow as tf

        self.config, self.online = config, agent.network
        settings = {name: getattr(config, name) for name in NETWORK_SETTINGS}
        target = Agent.create(agent.projection, agent.context, agent.base_rate, settings, config.seed)
        self.target = target.network
        self.target.set_weights(self.online.get_weights())
        total = config.iterations * config.updates
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, total, alpha=0.1)
        self.optimizer = keras.optimizers.AdamW(
            rate, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm
        )
        self.optimizer.build(self.online.trainable_variables)
        # Embeddings live in the graph once; a transition names its story and gathers them.
        c = world.candidates
        self.content, self.present = tf.constant(c.content), tf.constant(c.present)
        self.table, self.available = tf.constant(c.table), tf.constant(c.available)
        self.bags = tf.constant(bags.astype(np.float32))
        self.base_rate = world.config.base_click_rate
        self._run = tf.function(self._updates)

    def learn(self, batches: dict[str, NDArray[Any]]) -> dict[str, float]:
        """Take one step for each leading index of `batches`."""
        return {name: float(value) for name, value in self._run(batches).items()}

    def _updates(self, batches: Any) -> Any:
        import tensorflow as tf

        names = ("loss", "td_error", "gradient_norm", "q_largest")
        total = tf.zeros(len(names))
        for i in tf.range(self.config.updates):
            total += self._update({name: array[i] for name, array in batches.items()})
        mean = total / self.config.updates
        return {name: mean[j] for j, name in enumerate(names)}

    def _update(self, b: Any) -> Any:
        import tensorflow as tf

        after = self._inputs(b["next_item"], b["next_context"], b["next_record"])
        q_online = self.online(after, training=False)["q"]
        q_target = self.target(after, training=False)["q"]
        y = double_q_target(b["reward"], b["factor"], q_online, q_target, after["available"])
        weight = tf.gather(self.bags, b["item"], axis=1)  # (M, B)
        weight /= tf.maximum(tf.reduce_mean(weight), 1e-3)
        before = self._inputs(b["item"], b["context"], b["record"])
        chosen = tf.one_hot(b["action"], tf.shape(before["available"])[1])[None]
        offset = math.log(self.base_rate / (1 - self.base_rate))
        with tf.GradientTape() as tape:
            out = self.online(before, training=True)
            error = tf.reduce_sum(out["q"] * chosen, axis=-1) - y
            logit = tf.reduce_sum(out["click_logit"] * chosen, axis=-1) + offset
            label = tf.broadcast_to(b["click"][None], tf.shape(logit))
            # Divided by the base rate, the gradient of the cross-entropy is of the size of the TD error's.
            click = tf.nn.sigmoid_cross_entropy_with_logits(label, logit) / self.base_rate
            # Summed over members, so that each learns as if it were alone.
            loss = tf.reduce_sum(tf.reduce_mean(weight * (tf.square(error) + click), axis=1))
        gradients = tape.gradient(loss, self.online.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.online.trainable_variables, strict=True))
        for slow, fast in zip(self.target.trainable_variables, self.online.trainable_variables, strict=True):
            slow.assign(slow.value + self.config.target_rate * (fast.value - slow.value))
        members = float(self.config.members)
        size = tf.reduce_mean(tf.square(error))
        largest = tf.reduce_max(tf.abs(out["q"]))
        return tf.stack([loss / members, size, tf.linalg.global_norm(gradients), largest])

    def _inputs(self, item: Any, context: Any, record: Any) -> dict[str, Any]:
        """Gather what a decision on `item` sees."""
        import tensorflow as tf

        rows = tf.gather(self.table, item)
        return {
            "content": tf.gather(self.content, rows),
            "present": tf.gather(self.present, rows),
            "record": record,
            "context": context,
            "available": tf.gather(self.available, item),
        }


class _Metrics:
    """``metrics.jsonl`` and TensorBoard scalars of a run; silent without one."""

    def __init__(self, run: Path | None) -> None:
        self.run = run

    def __enter__(self) -> _Metrics:
        if self.run is not None:
            import tensorflow as tf

            self.run.mkdir(parents=True, exist_ok=True)
            self.file = (self.run / METRICS_FILE).open("w")
            self.board = tf.summary.create_file_writer(str(self.run / "tensorboard"))
        return self

    def write(self, step: int, row: dict[str, float]) -> None:
        """One line and one point of each curve."""
        if self.run is not None:
            import tensorflow as tf

            self.file.write(json.dumps({"iteration": step + 1, **row}) + "\n")
            self.file.flush()
            # What tf.summary.scalar writes, without needing the TensorBoard package to be installed here.
            metadata = tf.compat.v1.SummaryMetadata()
            metadata.plugin_data.plugin_name = "scalars"
            with self.board.as_default():
                for name, value in row.items():
                    tf.summary.write(name, value, step=step + 1, metadata=metadata)

    def __exit__(self, *_: object) -> None:
        if self.run is not None:
            self.file.close()
            self.board.close()
