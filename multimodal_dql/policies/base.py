"""The policy seam, and the policies that need no learning."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import MultimodalDQLError
from multimodal_dql.state import State

__all__ = ["First", "Policy", "PolicyError", "Uniform", "choose", "epsilon_floor"]


class PolicyError(MultimodalDQLError):
    """A policy broke its contract. Fields: name, detail."""

    en = "policy '{name}': {detail}"
    zh = "策略 “{name}”：{detail}"


class Policy(ABC):
    """Something that chooses among candidates, and says with which probability it would choose each.

    The action is always drawn from the reported probabilities, so that a log of them is a log of propensities.
    """

    name: str

    @abstractmethod
    def probabilities(self, state: State) -> NDArray[np.float64]:
        """(B, K) float64: rows sum to 1, zero where a candidate is not available."""


class Uniform(Policy):
    """Every available candidate alike."""

    name = "uniform"

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        available = state.available.astype(np.float64)
        return np.asarray(available / available.sum(axis=1, keepdims=True))


class First(Policy):
    """Always the first variant, as a desk without an experiment does."""

    name = "first"

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
    p = np.asarray(policy.probabilities(state), dtype=np.float64)
    if p.shape != state.available.shape:
        raise PolicyError(name=policy.name, detail=f"returned shape {p.shape}, not {state.available.shape}")
    if np.any(~np.isfinite(p)) or np.any(p < 0) or np.any(np.abs(p.sum(axis=1) - 1.0) > 1e-6):
        raise PolicyError(
            name=policy.name, detail="returned probabilities that are negative or do not sum to 1"
        )
    if np.any(p[~state.available] > 0):
        raise PolicyError(name=policy.name, detail="put probability on a candidate that is not available")
    cumulated = np.cumsum(p, axis=1)
    action = (u[:, None] * cumulated[:, -1:] >= cumulated).sum(axis=1)
    # Rounding may carry the draw past the last candidate with weight: take that one.
    last = p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(axis=1)
    action = np.minimum(action, last)
    return action.astype(np.int64), p[np.arange(len(p)), action]
