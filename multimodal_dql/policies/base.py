"""The policy seam, and the policies that need no learning."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import InputError, UsageError
from multimodal_dql.state import Counts, State

__all__ = [
    "First",
    "Policy",
    "PolicyError",
    "Uniform",
    "available_counts",
    "check_option",
    "check_probabilities",
    "choose",
    "epsilon_floor",
    "split_best",
]

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]


class PolicyError(InputError):
    """A policy, usually a plug-in, broke its contract. Fields: name, detail, detail_zh (optional)."""

    en = "policy '{name}': {detail}"
    zh = "策略 “{name}”：{detail_zh}"

    def __init__(self, *, name: str, detail: str, detail_zh: str | None = None) -> None:
        super().__init__(name=name, detail=detail, detail_zh=detail_zh or detail)


class Policy(ABC):
    """Something that chooses among candidates, and says with which probability it would choose each.

    The action is always drawn from the reported probabilities, so that a log of them is a log of propensities.
    `probabilities` changes nothing in the policy: asked twice, it answers the same. A policy that keeps something
    between decisions learns it in `update`, and forgets it in `reset`.

    Attributes:
        name: as in `policies.registry`.
        symmetric: permuting the candidates permutes the probabilities; False for a policy that reads positions.
        reads_context: looks at the user; without that, one answer a story serves every user, which is much faster.
        learns: its choices change while an experiment runs, through `State.counts` or `update`.
    """

    name: str
    symmetric: bool = True
    reads_context: bool = True
    learns: bool = True

    @abstractmethod
    def probabilities(self, state: State) -> NDArray[np.float64]:
        """(B, K) float64: rows sum to 1, zero where a candidate is not available."""

    def update(  # noqa: B027 - most policies keep nothing, so it is no abstract method
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64]
    ) -> None:
        """Learn from a batch, after its outcomes are known. Does nothing unless a policy keeps something.

        Args:
            state: as `probabilities` saw it.
            action: (B,) the candidate shown.
            reward: (B,) what it earned, for example 1 for a click.
        """

    def reset(self) -> None:  # noqa: B027
        """Forget everything that `update` learned."""


class Uniform(Policy):
    """Every available candidate alike."""

    name = "uniform"
    reads_context = learns = False

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        available = state.available.astype(np.float64)
        return np.asarray(available / available.sum(axis=1, keepdims=True))


class First(Policy):
    """Always the first variant, as a desk without an experiment does."""

    name = "first"
    reads_context = learns = False
    symmetric = False

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        out = np.zeros(state.available.shape)
        out[np.arange(len(out)), state.available.argmax(axis=1)] = 1.0
        return out


def epsilon_floor(
    p: NDArray[np.float64], available: NDArray[np.bool_], epsilon: float
) -> NDArray[np.float64]:
    """Mix `p` (B, K) with the uniform policy, so that no available candidate has less than epsilon / K."""
    uniform = available / available.sum(axis=1, keepdims=True)
    return np.asarray((1.0 - epsilon) * p + epsilon * uniform)


def split_best(score: Array, available: Bool) -> Array:
    """Probability 1 split evenly among the available candidates of highest `score` (B, K).

    Scores within rounding of the highest (a relative 1e-9) count as equal, so that neither the order of the
    candidates nor the size of the batch decides a tie. A score may be infinite, not NaN.
    """
    masked = np.where(available, score, -np.inf)
    top = masked.max(axis=1, keepdims=True)
    best = masked >= top - np.where(np.isfinite(top), 1e-12 + 1e-9 * np.abs(top), 0.0)
    best &= available
    return np.asarray(best / best.sum(axis=1, keepdims=True))


def available_counts(state: State) -> tuple[Array, Array, Counts]:
    """Impressions and clicks (B, K) as floats, zero for padding; and the `Counts`, all zero if the state has none."""
    counts = state.counts or Counts.zeros(*state.available.shape)
    if counts.impressions.shape != state.available.shape:
        raise UsageError(
            detail=f"counts are {counts.impressions.shape} and candidates {state.available.shape}; give one count each",
            detail_zh=f"计数为 {counts.impressions.shape}，候选为 {state.available.shape}；每个候选应有一个计数",
        )
    n = np.where(state.available, counts.impressions, 0).astype(np.float64)
    s = np.where(state.available, counts.clicks, 0).astype(np.float64)
    return n, s, counts


def check_option(policy: str, option: str, value: float, low: float, high: float = np.inf) -> float:
    """`value` as a float if it is finite and between `low` and `high`, otherwise a `UsageError` naming the range."""
    if not (np.isfinite(value) and low <= value <= high):
        limit = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} upward"
        limit_zh = f"{low:g} 到 {high:g}" if np.isfinite(high) else f"不小于 {low:g}"
        raise UsageError(
            detail=f"policy '{policy}': {option} is {value}; write a number from {limit}",
            detail_zh=f"策略 “{policy}”：{option} 为 {value}；请写{limit_zh}的数字",
        )
    return float(value)


def check_probabilities(policy: Policy, state: State) -> Array:
    """What a policy answers, (B, K), held to its contract.

    Raises:
        PolicyError: rows that do not sum to 1, or weight on a candidate that is not available.
    """
    p = np.asarray(policy.probabilities(state), dtype=np.float64)
    if p.shape != state.available.shape:
        raise PolicyError(
            name=policy.name,
            detail=f"returned shape {p.shape}, not {state.available.shape}",
            detail_zh=f"返回的形状是 {p.shape}，应为 {state.available.shape}",
        )
    if np.any(~np.isfinite(p)) or np.any(p < 0) or np.any(np.abs(p.sum(axis=1) - 1.0) > 1e-6):
        raise PolicyError(
            name=policy.name,
            detail="returned probabilities that are negative or do not sum to 1",
            detail_zh="返回的概率有负数，或其和不为 1",
        )
    if np.any(p[~state.available] > 0):
        raise PolicyError(
            name=policy.name,
            detail="put probability on a candidate that is not available",
            detail_zh="给不可用的候选分配了概率",
        )
    return p


def choose(
    policy: Policy, state: State, u: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw an action for each decision by inverting the cumulated probabilities at `u`.

    Args:
        policy: asked once for the whole batch.
        state: B decisions.
        u: (B,) uniform numbers in [0, 1); the same numbers make two policies comparable.

    Returns:
        action (B,) and its probability (B,).

    Raises:
        PolicyError: rows that do not sum to 1, or weight on a candidate that is not available.
    """
    p = check_probabilities(policy, state)
    cumulated = np.cumsum(p, axis=1)
    action = (u[:, None] * cumulated[:, -1:] >= cumulated).sum(axis=1)
    # Rounding may carry the draw past the last candidate with weight: take that one.
    last = p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(axis=1)
    action = np.minimum(action, last)
    return action.astype(np.int64), p[np.arange(len(p)), action]
