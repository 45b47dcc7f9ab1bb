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
from multimodal_dql.candidates import ContentProjection
from multimodal_dql.checkpoint import write_checkpoint
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.errors import CheckpointError, TrainingError
from multimodal_dql.experience import Source
from multimodal_dql.learner import Learner
from multimodal_dql.learning.graph_replay import PriorityConfig
from multimodal_dql.metrics import Metrics
from multimodal_dql.monitors import LOWER, Finding, Watch, check_inputs
from multimodal_dql.probe import Probe, start_values
from multimodal_dql.replay import PrioritisedReplay, Replay
from multimodal_dql.run_file import write_file
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.stability import STABILITY_FILE, findings_text
from multimodal_dql.train_config import TrainConfig, check_settings
from multimodal_dql.training_state import TrainingState, check_same, identity
from multimodal_dql.transitions import Visits, fields_of, sound, transitions_of
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


def network_settings(source: Source, config: TrainConfig) -> dict[str, Any]:
    """What the network of a training looks like; with bins, they hold every return that is to be expected."""
    settings = {name: getattr(config, name) for name in NETWORK_SETTINGS}
    if config.value_loss == "mse":
        return settings
    with silenced():
        from multimodal_dql.learning.losses import Bins
    bins = Bins.around(0.0, max(source.largest_return(config), 1.0))
    return settings | {
        "advantage": "whole",
        "bins": bins.count,
        "bin_low": bins.low,
        "bin_high": bins.high,
    }


class _Stopped(Exception):
    """A monitor ends the training."""

    def __init__(self, finding: Finding, row: dict[str, float] | None = None) -> None:
        super().__init__(finding.monitor)
        self.finding, self.row = finding, row or {}


class Training:
    """One training from its first iteration, or from a checkpoint, to its end. Arguments as in `train_in_world`."""

    def __init__(
        self,
        source: Source,
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
        self.source, self.config, self.about = source, config, about
        self.run, self.progress, self.notice = run, progress, notice
        self.resume, self.keep_checkpoints = resume, keep_checkpoints
        rng = np.random.Generator(np.random.Philox(key=[config.seed, 2]))
        candidates = source.candidates
        stories = len(candidates.table)
        agent = Agent.create(
            projection, CONTEXT, source.base_rate, network_settings(source, config), config.seed
        )
        agent.facts = {"training": asdict(config), **source.facts, "stories": stories}
        agent.item_ids, agent.winners = about.item_ids, list(about.winners)
        self.agent = agent
        agent.audience = source.users(config.seed)
        agent.fold = rng.permutation(stories) % config.folds
        bags = ~agent.left_out(np.arange(stories))
        check_inputs(candidates, projection, bags)
        learner = Learner(agent, candidates, bags, config)
        room, holds = source.room(config), fields_of(candidates)
        prioritised = config.replay_sampling == "prioritised"
        replay = PrioritisedReplay(room, holds, config.seed) if prioritised else Replay(room, holds)
        self.state = TrainingState(learner, replay, rng, Watch())
        self.whose = identity(config, candidates, projection, source.origin)

    def learn(self) -> Agent:
        """Run to the end. Raises as `train_in_world`."""
        state, config = self.state, self.config
        self.metrics = self._begin()
        self.probe, self.good = Probe(self.agent, self.source.candidates), state.learner.state()
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
        met = self.source.meet(self.agent, i, config, state.rng)
        if met.fresh is not None:
            self._remember(met.fresh)
        value = start_values(self.agent, self.source.candidates, met.starts, met.returns, self.source.valued)
        rate = state.learner.learning_rate
        row = self._learn() | met.row | {"learning_rate": rate, **value}
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

    def _remember(self, steps: Visits) -> None:
        """Put what is sound into the replay."""
        batch = transitions_of(steps, self.source.base_rate, self.config)
        good = sound(batch, self.source.candidates.available)
        if not good.all():
            self.state.watch.note("transitions", self.state.iteration + 1, float(np.mean(~good)))
            batch = {name: array[good] for name, array in batch.items()}
        if not good.any():
            raise _Stopped(self.state.watch.note("starved", self.state.iteration + 1, 1.0))
        self.state.replay.add(batch)

    def _learn(self) -> dict[str, float]:
        """The gradient steps of an iteration on sound batches; the mean of their metrics."""
        config, state = self.config, self.state
        if isinstance(state.replay, PrioritisedReplay):
            return self._learn_by_priority(state.replay)
        drawn = state.replay.sample(state.rng, (config.updates, config.batch))
        good = sound(drawn, self.source.candidates.available).all(axis=1)
        self._note_batches(np.asarray(good))
        return state.learner.learn(drawn if good.all() else {n: a[good] for n, a in drawn.items()})

    def _learn_by_priority(self, replay: PrioritisedReplay) -> dict[str, float]:
        """Each batch is drawn by the TD errors that the one before left (Schaul et al. 2016, algorithm 1).

        The correction b rises to 1 linearly over the training (section 3.4).
        """
        config, state = self.config, self.state
        start = PriorityConfig().correction
        correction = start + (1.0 - start) * state.iteration / max(config.iterations - 1, 1)
        good: NDArray[np.bool_] = np.ones(config.updates, np.bool_)
        rows = []
        for i in range(config.updates):
            batch, index = replay.draw(config.batch, correction)
            good[i] = sound(batch, self.source.candidates.available).all()
            if good[i]:
                row, size = state.learner.step(batch)
                rows.append(row)
                replay.set_priorities(index, size)
        self._note_batches(good)
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def _note_batches(self, good: NDArray[np.bool_]) -> None:
        """Write down batches that were left out; the end when all were."""
        watch, iteration = self.state.watch, self.state.iteration + 1
        if not good.all():
            watch.note("batch", iteration, float(np.mean(~good)))
        if not good.any():
            raise _Stopped(watch.note("starved", iteration, 1.0))

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
        self.agent.layer = self.source.calibrate(self.agent)
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
