"""Many trainings of one setting with one compiled graph: tracing takes seconds, a tiny training a fraction of one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.allocation import training
from multimodal_dql.learner import Learner
from multimodal_dql.probe import Probe

__all__ = ["SharedAgents", "SharedGraphs"]

Function = Callable[[dict[str, Any]], Any]


class _Lent:
    """A traced function that computes with the variables of whoever calls it.

    Args:
        traced: a concrete function of one dict; what it holds beside `variables` must be equal for all who call it.
        variables: of the one it was traced for, in an order that all share.
    """

    def __init__(self, traced: Any, variables: list[Any]) -> None:
        places = {id(v.handle): i for i, v in enumerate(variables)}
        self.traced = traced
        self.held = [(kept, places.get(id(kept))) for kept in traced.captured_inputs]

    def __call__(self, inputs: dict[str, Any], variables: list[Any]) -> Any:
        import tensorflow as tf

        # A graph names no variable; it is handed them at every call, behind its inputs.
        held = [kept if place is None else variables[place].handle for kept, place in self.held]
        return self.traced._call_flat([tf.convert_to_tensor(inputs[name]) for name in sorted(inputs)], held)


class _Shared:
    """Something that is used in place of the real part while `used` lasts."""

    def use(self, patch: pytest.MonkeyPatch) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            self.use(patch)
            yield


class SharedGraphs(_Shared):
    """Learners of the same settings and data, and networks of the same shape, compute with one graph.

    Each computes with its own variables, to the last bit what it would with a graph of its own. A number that a
    training depends on and that is no variable would still be missed after an interruption.
    """

    def __init__(self) -> None:
        self.lent: dict[str, _Lent] = {}
        self.paused = False

    @contextlib.contextmanager
    def unused(self) -> Iterator[None]:
        """What is made meanwhile has a graph of its own, as in a process of its own."""
        self.paused = True
        yield
        self.paused = False

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Until `patch` is undone."""
        begin, forward, ask = Learner.__init__, Agent._forward, Probe._ask

        def begin_shared(learner: Learner, *args: Any, **settings: Any) -> None:
            begin(learner, *args, **settings)
            if self.paused:
                return
            mine, same = _plain(learner._variables().values()), _same(learner)
            for name in ("_run", "_one"):
                setattr(learner, name, self._sharing(name + same, getattr(learner, name), mine))

        def forward_shared(agent: Agent, inputs: dict[str, Any]) -> Any:
            key, mine = f"forward {_form(agent.network)}", _plain(agent.network.variables)
            if self.paused or key not in self.lent:
                out = forward(agent, inputs)
                if not self.paused:
                    self.lent[key] = _Lent(agent._compiled.get_concrete_function(), mine)
                return out
            return self.lent[key](inputs, mine)

        def ask_shared(probe: Probe) -> Any:
            if not self.paused and not hasattr(probe, "shared"):
                key, mine = f"look {_form(probe.network)}", _plain(probe.network.variables)
                probe.shared = probe._look = self._sharing(key, probe._look, mine)
            return ask(probe)

        patch.setattr(Learner, "__init__", begin_shared)
        patch.setattr(Agent, "_forward", forward_shared)
        patch.setattr(Probe, "_ask", ask_shared)

    def _sharing(self, key: str, function: Any, variables: list[Any]) -> Function:
        """`function`, of a dict of arrays, which is traced only when none of its `key` and these shapes was."""

        def call(inputs: dict[str, Any]) -> Any:
            form = key + repr([(name, inputs[name].shape, inputs[name].dtype) for name in sorted(inputs)])
            if form not in self.lent:
                self.lent[form] = _Lent(function.get_concrete_function(inputs), variables)
            return self.lent[form](inputs, variables)

        return call


def _plain(variables: Iterable[Any]) -> list[Any]:
    """TensorFlow's variables behind Keras variables."""
    return [v if hasattr(v, "handle") else v.value for v in variables]


def _form(network: Any) -> str:
    """Equal for networks that compute the same from the same weights; the seed is for the first of these."""
    return repr(replace(network.config, seed=0))


def _same(learner: Learner) -> str:
    """Equal for learners that compute the same from the same variables and batches."""
    said = hashlib.sha256(repr((learner.updater.config, _form(learner.online), learner.base_rate)).encode())
    for constant in (learner.content, learner.present, learner.table, learner.available, learner.bags):
        said.update(constant.numpy().tobytes())
    return said.hexdigest()


class SharedAgents(_Shared):
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
