"""Many trainings of one setting with one compiled graph: tracing takes seconds, a tiny training a fraction of one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.allocation import training
from multimodal_dql.learner import Learner

__all__ = ["SharedAgents", "SharedGraphs"]


class _Lent:
    """The graph of the first of several learners, which computes with the variables of whoever calls it."""

    def __init__(self, graph: Any, variables: list[Any]) -> None:
        self.graph, self.variables = graph, variables

    def __call__(self, batches: Any, variables: list[Any]) -> Any:
        if variables is self.variables:
            return self.graph(batches)
        kept = [np.array(v.numpy()) for v in self.variables]
        for its, mine in zip(self.variables, variables, strict=True):
            its.assign(mine.numpy())
        out = self.graph(batches)
        for its, mine, before in zip(self.variables, variables, kept, strict=True):
            mine.assign(its.numpy())
            its.assign(before)
        return out


class SharedGraphs:
    """Learners of the same settings and data, and networks of the same shape, compute with one graph.

    Every variable goes there and back around a call, so that what a training computes is the same to the last bit; a
    number it depends on that is no variable would still be missed after an interruption.
    """

    def __init__(self) -> None:
        self.learners: dict[str, _Lent] = {}
        self.networks: dict[str, Any] = {}

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Until `patch` is undone."""
        begin = Learner.__init__

        def begin_shared(learner: Learner, *args: Any, **settings: Any) -> None:
            begin(learner, *args, **settings)
            variables = list(learner._variables().values())
            for name in ("_run", "_one"):
                graph = _Lent(getattr(learner, name), variables)
                lent = self.learners.setdefault(name + _same(learner), graph)
                setattr(learner, name, lambda batch, lent=lent: lent(batch, variables))

        patch.setattr(Learner, "__init__", begin_shared)
        patch.setattr(Agent, "_forward", lambda agent, inputs: self._forward(agent.network, inputs))

    def _forward(self, network: Any, inputs: Any) -> Any:
        import tensorflow as tf

        if not network.built:
            network(inputs, training=False)
        # Weights are inputs of this graph, not variables in it.
        graph = self.networks.setdefault(
            repr(network.config),
            tf.function(
                lambda learned, fixed, x: network.stateless_call(learned, fixed, x, training=False)[0],
                reduce_retracing=True,
            ),
        )
        learned = [v.value.read_value() for v in network.trainable_variables]
        fixed = [v.value.read_value() for v in network.non_trainable_variables]
        return graph(learned, fixed, {name: tf.convert_to_tensor(array) for name, array in inputs.items()})


def _same(learner: Learner) -> str:
    """Equal for learners that compute the same from the same variables and batches."""
    settings = (learner.updater.config, learner.online.config, learner.base_rate)
    said = hashlib.sha256(repr(settings).encode())
    for constant in (learner.content, learner.present, learner.table, learner.available, learner.bags):
        said.update(constant.numpy().tobytes())
    return said.hexdigest()


class SharedAgents:
    """`train_allocation` with the compiled code of an earlier call of the same form, as `train_parallel` offers it.

    What it learns is the same to the last bit (tests/learning/test_parallel.py); compiling takes most of a short one.
    """

    def __init__(self) -> None:
        self.agents: dict[str, Any] = {}

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Until `patch` is undone."""
        train = training.train_parallel

        def train_shared(env: Any, config: Any, **how: Any) -> Any:
            form = (replace(config, seed=0, steps=1), type(env), env.num_envs, env.single_observation_space)
            agent = train(env, config, again=self.agents.get(repr(form)), **how)
            return self.agents.setdefault(repr(form), agent)

        patch.setattr(training, "train_parallel", train_shared)
