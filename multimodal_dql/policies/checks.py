"""The contract of a policy as small named checks; every built-in passes the same ones.

from multimodal_dql.policies.checks import check_policy, example_states

check_policy(MyPolicy(), example_states())
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, PolicyError
from multimodal_dql.policies.examples import candidates, decisions, example_states
from multimodal_dql.state import State

__all__ = ["Check", "check_policy", "example_states", "iter_checks"]

Array = NDArray[np.float64]

_SUM_TOLERANCE = 1e-12
_SAME = 1e-9
"""Largest difference between two probabilities that ought to be the same: rounding of sums in another order."""


@dataclass(frozen=True)
class Check:
    """One clause of the contract. Calling it raises `PolicyError` if the policy breaks it."""

    name: str
    run: Callable[[Policy, State], None]

    def __call__(self, policy: Policy, state: State) -> None:
        """Checks `policy` on `state`, at least one decision."""
        try:
            self.run(policy, state)
        except PolicyError:
            raise
        except Exception as error:  # the policy is a stranger's code; whatever it raises is a finding
            said = f"{self.name}: it raised {type(error).__name__}: {error}"
            said_zh = f"{self.name}：抛出了 {type(error).__name__}：{error}"
            _fail(policy, said, said_zh)


def check_policy(policy: Policy, states: Sequence[State] | None = None) -> None:
    """Runs every check on `policy`; `PolicyError` names the first that fails and what to do.

    Args:
        policy: what to check. It is reset first and last, because one check lets it learn.
        states: decisions to check it on, all of one content and context width; `example_states` if None. A policy with
            a network needs states of the widths it was built for.
    """
    for state in example_states() if states is None else states:
        for check in iter_checks():
            check(policy, state)


def iter_checks() -> Iterator[Check]:
    """Every check, in the order they are run."""
    for run in (
        _facts,
        _shape,
        _sums_to_one,
        _masked_is_zero,
        _deterministic,
        _one_candidate,
        _batch_invariant,
        _padding_invariant,
        _permutation,
        _leaves_input_alone,
        _learns_and_forgets,
    ):
        yield Check(run.__name__.removeprefix("_"), run)


def _facts(policy: Policy, state: State) -> None:
    policy.reset()
    if not isinstance(getattr(policy, "name", None), str) or not policy.name:
        _fail(policy, "facts: set `name` to a string", "facts：请把 `name` 设为字符串")


def _shape(policy: Policy, state: State) -> None:
    p, wanted = policy.probabilities(state), state.available.shape
    if not isinstance(p, np.ndarray) or p.shape != wanted or p.dtype != np.float64:
        got = f"{p.dtype} {p.shape}" if isinstance(p, np.ndarray) else type(p).__name__
        _fail(
            policy,
            f"shape: it gives {got}; return float64 of shape {wanted}",
            f"shape：返回了 {got}；应返回形状为 {wanted} 的 float64",
        )


def _sums_to_one(policy: Policy, state: State) -> None:
    p = policy.probabilities(state)
    if not (np.isfinite(p).all() and (p >= 0).all()):
        _fail(
            policy,
            "sums_to_one: a probability is negative or not finite",
            "sums_to_one：有概率为负或不是有限数",
        )
    worst = float(np.abs(p.sum(axis=1) - 1.0).max())
    if worst > _SUM_TOLERANCE:
        _fail(
            policy,
            f"sums_to_one: a row is off by {worst:.2g}; divide by its sum",
            f"sums_to_one：某行之和偏离 1 达 {worst:.2g}；请除以该行之和",
        )


def _masked_is_zero(policy: Policy, state: State) -> None:
    if (policy.probabilities(state)[~state.available] != 0).any():
        _fail(
            policy,
            "masked_is_zero: a candidate that is not available has probability; multiply by `state.available`",
            "masked_is_zero：不可用的候选得到了概率；请乘以 `state.available`",
        )


def _deterministic(policy: Policy, state: State) -> None:
    if not np.array_equal(policy.probabilities(state), policy.probabilities(state)):
        _fail(
            policy,
            "deterministic: two calls differ; change nothing in `probabilities`, and fix every seed",
            "deterministic：两次调用结果不同；`probabilities` 不应改变状态，并请固定所有随机种子",
        )


def _one_candidate(policy: Policy, state: State) -> None:
    only = candidates(state, state.available.argmax(axis=1)[:, None])
    if not np.array_equal(policy.probabilities(only), np.ones((len(only.item), 1))):
        _fail(
            policy,
            "one_candidate: the only candidate must have probability 1",
            "one_candidate：唯一的候选概率应为 1",
        )


def _batch_invariant(policy: Policy, state: State) -> None:
    alone = [policy.probabilities(decisions(state, np.array([row]))) for row in range(len(state.item))]
    _wants_same(
        policy,
        "batch_invariant: a decision changes with its neighbours in the batch",
        "batch_invariant：决策随同一批次中的其他决策而变",
        policy.probabilities(state),
        np.concatenate(alone),
    )


def _padding_invariant(policy: Policy, state: State) -> None:
    b, k = state.available.shape
    wider = candidates(state, np.broadcast_to(np.append(np.arange(k), 0), (b, k + 1)))
    wider.available[:, k] = False
    if wider.counts is not None:
        wider.counts.impressions[:, k] = wider.counts.clicks[:, k] = 0
    _wants_same(
        policy,
        "padding_invariant: one more padded candidate changes the others",
        "padding_invariant：多一个填充候选会改变其他候选的概率",
        policy.probabilities(state),
        policy.probabilities(wider)[:, :k],
    )


def _permutation(policy: Policy, state: State) -> None:
    if not policy.symmetric:
        return
    order = np.random.Generator(np.random.Philox(key=[0, 32])).permuted(
        np.tile(np.arange(state.available.shape[1]), (len(state.item), 1)), axis=1
    )
    _wants_same(
        policy,
        "permutation: the order of the candidates matters; split ties evenly, or set `symmetric = False`",
        "permutation：候选的顺序影响了结果；请平分并列的概率，或设 `symmetric = False`",
        np.take_along_axis(policy.probabilities(state), order, axis=1),
        policy.probabilities(candidates(state, order)),
    )


def _leaves_input_alone(policy: Policy, state: State) -> None:
    given = copy.deepcopy(state)
    policy.probabilities(given)
    before, after = _arrays(state), _arrays(given)
    if not all(np.array_equal(old, new, equal_nan=True) for old, new in zip(before, after, strict=True)):
        _fail(
            policy,
            "leaves_input_alone: it writes into the state; work on a copy",
            "leaves_input_alone：它改写了传入的状态；请在副本上计算",
        )


def _learns_and_forgets(policy: Policy, state: State) -> None:
    before = policy.probabilities(state)
    action = before.argmax(axis=1)
    policy.update(state, action, (np.arange(len(action)) % 2).astype(np.float64))
    try:
        for check in (
            _shape,
            _sums_to_one,
            _masked_is_zero,
            _deterministic,
            _one_candidate,
            _batch_invariant,
        ):
            check(policy, state)
    finally:
        policy.reset()
    _wants_same(
        policy,
        "learns_and_forgets: `reset` must undo `update`",
        "learns_and_forgets：`reset` 应撤销 `update`",
        before,
        policy.probabilities(state),
    )


def _arrays(state: State) -> list[NDArray[np.generic]]:
    """Every array of a state."""
    counts = state.counts
    arrays: list[NDArray[np.generic]] = [*state.inputs().values(), state.item]
    if counts is not None:
        arrays += [counts.impressions, counts.clicks, counts.elapsed, counts.horizon]
        arrays += [] if counts.prior_rate is None else [counts.prior_rate]
    return arrays


def _wants_same(policy: Policy, what: str, what_zh: str, one: Array, other: Array) -> None:
    worst = float(np.abs(one - other).max()) if one.shape == other.shape else np.inf
    if not worst <= _SAME:
        _fail(policy, f"{what} (largest difference {worst:.2g})", f"{what_zh}（最大差异 {worst:.2g}）")


def _fail(policy: Policy, detail: str, detail_zh: str) -> None:
    name = str(getattr(policy, "name", type(policy).__name__))
    raise PolicyError(
        name=name, detail=f"it breaks the contract: {detail}", detail_zh=f"违反约定：{detail_zh}"
    )
