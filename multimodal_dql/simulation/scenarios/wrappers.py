"""Scenarios for algorithms that know one flat observation and no masks."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.simulation.scenarios.base import Observation

__all__ = ["FlatMasked", "nearest_allowed"]


def nearest_allowed(action: int, mask: NDArray[np.int8]) -> int:
    """The allowed action whose number is nearest, the lower of two that are equally near.

    >>> nearest_allowed(2, np.array([1, 0, 0, 0, 1], np.int8))
    0
    """
    choices = np.flatnonzero(mask)
    return int(choices[np.abs(choices - action).argmin()])


class FlatMasked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One flat Box of float32 instead of a Dict, the mask last; an action that is not allowed becomes the nearest one.

    The order is that of the Dict's sorted names, each flattened row by row, then the mask. Every action may be
    sent, so that algorithms without masks run; ``info["action"]`` is the one that was taken. An algorithm then
    learns that several of its actions are the same, which is slower than to mask them.

    Raises:
        UsageError: the environment has no Dict observation with a ``mask``.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        space: Any = env.observation_space
        if not isinstance(space, spaces.Dict) or "mask" not in space.spaces:
            raise UsageError(
                detail="FlatMasked wraps environments with a Dict observation that has a 'mask'",
                detail_zh="FlatMasked 只用于带有 mask 的 Dict 观测环境",
            )
        self._names = [*sorted(name for name in space.spaces if name != "mask"), "mask"]
        actions = len(_ends(space.spaces["mask"])[0])
        ends = [_ends(space.spaces[name]) for name in self._names]
        self.observation_space = spaces.Box(
            np.concatenate([low for low, _ in ends]),
            np.concatenate([high for _, high in ends]),
            dtype=np.float32,
        )
        self.action_space = spaces.Discrete(actions)
        self._mask = np.ones(actions, np.int8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """See `gymnasium.Env.reset`."""
        told, info = self.env.reset(seed=seed, options=options)
        return self._flat(told), info

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """See the class."""
        taken = nearest_allowed(int(action), self._mask)
        told, reward, terminated, truncated, info = self.env.step(np.int64(taken))
        return self._flat(told), float(reward), terminated, truncated, {**info, "action": taken}

    def _flat(self, told: Observation) -> NDArray[np.float32]:
        self._mask = told["mask"].copy()
        return np.concatenate([told[name].ravel() for name in self._names]).astype(np.float32)


def _ends(space: spaces.Space[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest values of a part, flattened."""
    if isinstance(space, spaces.Box):
        return space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32)
    size = int(np.prod(space.shape or (1,)))
    return np.zeros(size, np.float32), np.ones(size, np.float32)
