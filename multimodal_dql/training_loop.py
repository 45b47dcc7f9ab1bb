"""The loop of a training: simulate, remember, learn, judge; and what is kept when it ends one way or the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import NETWORK_SETTINGS, Agent
from multimodal_dql.calibration import calibrate
from multimodal_dql.checkpoint import write_checkpoint
from multimodal_dql.errors import CheckpointError, TrainingError
from multimodal_dql.learner import Learner
from multimodal_dql.metrics import Metrics
from multimodal_dql.monitors import LOWER, Finding, Watch, check_inputs
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.probe import Probe, start_values
from multimodal_dql.replay import Replay
from multimodal_dql.run_file import write_file
from multimodal_dql.simulation.audience import CONTEXT, World
from multimodal_dql.simulation.sessions import Stage, Steps, run_sessions
from multimodal_dql.simulation.typical import typical_users
from multimodal_dql.stability import STABILITY_FILE, findings_text
from multimodal_dql.state import ContentProjection
from multimodal_dql.train_config import TrainConfig, check_settings
from multimodal_dql.training_state import TrainingState, check_same, identity
from multimodal_dql.transitions import fields_of, session_returns, sound, transitions_of
from multimodal_dql.unfinished import UNFINISHED, Notice, drop, find_checkpoint, publish

__all__ = ["AUDIENCE_FILE", "About", "Progress", "Training"]

AUDIENCE_FILE = "audience.json"

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class About:
    """What a run keeps of the catalogue and the audience beside the weights; empty for a bare world.

    Attributes:
        item_ids: of the stories.
        winners: as in `multimodal_dql.agent.Agent`.
        audience: the text of ``audience.json``.
    """

    item_ids: tuple[str, ...] = ()
    winners: tuple[dict[str, Any], ...] = ()
    audience: str = ""


class _Stopped(Exception):
    """A monitor ends the training."""

    def __init__(self, finding: Finding, row: dict[str, float] | None = None) -> None:
        super().__init__(finding.monitor)
        self.finding, self.row = finding, row or {}


class Training:
    """One training from its first iteration, or from a checkpoint, to its end. Arguments as in `train_in_world`."""

    def __init__(
        self,
        world: World,
        projection: ContentProjection,
        config: TrainConfig,
        about: About,
        *,
        run: Path | None = None,
        progress: Progress | None = None,
        resume: bool = False,
        keep_checkpoints: bool = False,
        notice: Notice | None = None,
    ) -> None:
        check_settings(config)
        self.world, self.config, self.about = world, config, about
        self.run, self.progress, self.notice = run, progress, notice
        self.resume, self.keep_checkpoints = resume, keep_checkpoints
        rng = np.random.Generator(np.random.Philox(key=[config.seed, 2]))
        stories = len(world.candidates.table)
        network = {name: getattr(config, name) for name in NETWORK_SETTINGS}
        agent = Agent.create(projection, CONTEXT, world.config.base_click_rate, network, config.seed)
        agent.facts = {"training": asdict(config), "audience": asdict(world.config), "stories": stories}
        agent.item_ids, agent.winners = about.item_ids, list(about.winners)
        self.agent, self.stage = agent, Stage.of(world)
        agent.audience = typical_users(self.stage, config.seed)
        agent.fold = rng.permutation(stories) % config.folds
        bags = ~agent.left_out(np.arange(stories))
        check_inputs(world, projection, bags)
        learner = Learner(agent, world.candidates, bags, config)
        self.state = TrainingState(learner, Replay(config.replay, fields_of(world)), rng, Watch())
        self.whose = identity(config, world, projection)

    def learn(self) -> Agent:
        """Run to the end. Raises as `train_in_world`."""
        state, config = self.state, self.config
        self.metrics = self._begin()
        self.probe, self.good = Probe(self.agent, self.world), state.learner.state()
        try:
            with contextlib.closing(self.metrics):
                while state.iteration < config.iterations:
                    row = self._iterate(state.iteration)
                    self.metrics.write(state.iteration, row)
                    state.iteration += 1
                    self._checkpoint()
                    if self.progress:
                        self.progress(state.iteration, config.iterations, row)
        except _Stopped as stopped:
            raise self._stop(stopped.finding, stopped.row) from None
        state.watch.finish(state.iteration)
        self._keep()
        return self.agent

    def _iterate(self, i: int) -> dict[str, float]:
        """Simulate, remember, learn, judge; the metrics of the iteration."""
        state, config, watch = self.state, self.config, self.state.watch
        # A policy cannot choose by NaN, wherever it came from.
        if not self._finite():
            raise _Stopped(watch.note("not_finite", i + 1, np.nan))
        policy = DqnPolicy(self.agent, config.epsilon_at(i))
        ids = np.arange(i * config.sessions, (i + 1) * config.sessions)
        steps = run_sessions(self.stage, policy, seed=config.seed, ids=ids, record_rng=state.rng)
        self._remember(steps)
        returns = session_returns(steps, self.world, config)
        value = start_values(self.agent, self.world, steps, returns)
        rate = state.learner.learning_rate
        row = state.learner.learn(self._draw())
        row |= {
            "epsilon": policy.epsilon,
            "click_rate": float(steps.click_probability[steps.active].mean()),
            "learning_rate": rate,
            **value,
        }
        finite = self._finite()
        if finite:
            row |= self.probe.measure()
        found = watch.judge(i + 1, row, finite)
        if found is None:
            self.good = state.learner.state()
        elif found.action == "lower":
            self._go_back()
        else:
            raise _Stopped(found, row)
        del row["preference"]
        return row

    def _remember(self, steps: Steps) -> None:
        """Put what is sound into the replay."""
        batch = transitions_of(steps, self.world, self.config)
        good = sound(batch, self.world.candidates.available)
        if not good.all():
            self.state.watch.note("transitions", self.state.iteration + 1, float(np.mean(~good)))
            batch = {name: array[good] for name, array in batch.items()}
        if not good.any():
            raise _Stopped(self.state.watch.note("starved", self.state.iteration + 1, 1.0))
        self.state.replay.add(batch)

    def _draw(self) -> dict[str, NDArray[Any]]:
        """Batches from the replay, (updates, batch, ...), the sound ones."""
        config, state = self.config, self.state
        drawn = state.replay.sample(state.rng, (config.updates, config.batch))
        good = sound(drawn, self.world.candidates.available).all(axis=1)
        if good.all():
            return drawn
        state.watch.note("batch", state.iteration + 1, float(np.mean(~good)))
        if not good.any():
            raise _Stopped(state.watch.note("starved", state.iteration + 1, 1.0))
        return {name: array[good] for name, array in drawn.items()}

    def _finite(self) -> bool:
        return all(np.isfinite(w.numpy()).all() for w in self.agent.network.trainable_variables)

    def _go_back(self) -> None:
        """To the last state that passed, with a lower learning rate."""
        learner = self.state.learner
        learner.restore(self.good)
        learner.lower(1.0 / LOWER)
        self.good = learner.state()
        self.probe.renew()

    def _begin(self) -> Metrics:
        """Take up a checkpoint, or begin at the beginning."""
        if self.run is None:
            return Metrics(None)
        found = find_checkpoint(self.run, self.resume, self.state.limit, self.notice)
        folder = self.run / UNFINISHED
        if found is None:
            drop(self.run)
            return Metrics(folder)
        path = folder / f"checkpoint-{found.iteration:08d}"
        check_same(path, self.whose, found.facts)
        try:
            self.state.restore(found)
            return Metrics(folder, found.facts["metrics"])
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                path=path,
                detail=f"does not fit this training ({error}); start anew in another folder",
                detail_zh=f"与这次训练不符（{error}）；请换一个目录重新开始",
            ) from error

    def _checkpoint(self) -> None:
        """Write a checkpoint when it is due; a full disk costs the checkpoint, not the training."""
        done, every = self.state.iteration, self.config.checkpoint_every
        if self.run is None or not every or done % every or done == self.config.iterations:
            return
        folder = self.run / UNFINISHED
        try:
            write_checkpoint(folder, self.state.checkpoint(self.whose, self.metrics.position()))
        except OSError as error:
            self.state.watch.note("checkpoint", done, error.errno or 0)
            if self.notice:
                reason = error.strerror or str(error)
                self.notice(
                    CheckpointError(
                        path=folder,
                        detail=f"the checkpoint of iteration {done} cannot be written ({reason}); training goes on, "
                        "and the one before is kept",
                        detail_zh=f"第 {done} 轮的检查点无法写入（{reason}）；训练继续，保留上一个检查点",
                    )
                )

    def _keep(self) -> None:
        """The agent as it is now becomes the run's."""
        self.agent.spread = calibrate(self.agent, self.world)
        if self.run is None:
            return
        self.agent.save(self.run)
        if self.about.audience:
            write_file(self.run / AUDIENCE_FILE, self.about.audience.encode())
        write_file(self.run / STABILITY_FILE, findings_text(self.state.watch.findings).encode())
        publish(self.run, self.keep_checkpoints)

    def _stop(self, finding: Finding, row: dict[str, float]) -> TrainingError:
        """Go back to the last state that passed, keep it, and say why."""
        self.state.learner.restore(self.good)
        kept = kept_zh = ""
        if self.run is not None and self.state.iteration == 0 and (self.run / "config.json").exists():
            # Nothing was learned: an older agent is worth more than random weights.
            drop(self.run)
            kept, kept_zh = f"; the agent in {self.run} is as it was", f"；{self.run} 中的智能体保持原样"
        elif self.run is not None:
            self._keep()
            kept = f"; the last good weights are in {self.run}"
            kept_zh = f"；最近一次正常的权重保存在 {self.run}"
        n = finding.iteration
        if finding.monitor == "starved":
            return TrainingError(
                detail=f"nothing sound was left to learn from in iteration {n}: what was simulated is not finite or "
                f"out of range; check the embeddings and --assume{kept}",
                detail_zh=f"第 {n} 轮没有可以学习的数据：模拟结果不是有限数或超出范围；请检查嵌入和 --assume{kept_zh}",
            )
        shown = ", ".join(f"{k} {row[k]:.3g}" for k in ("loss", "q_largest", "gradient_norm") if k in row)
        shown = shown or "weights are not finite"
        return TrainingError(
            detail=f"training diverged at iteration {n} ({shown}); lower --learning-rate{kept}",
            detail_zh=f"训练在第 {n} 轮发散（{shown}）；请降低 --learning-rate{kept_zh}",
        )
