"""What the scenarios share: many environments side by side, a thin single environment, and the rules of their episodes.

The vector environment is the real one; the single environment is a vector of one. Every draw is keyed by seed and
episode number (`multimodal_dql.simulation.compiled`), and episode ``e`` belongs to environment ``e mod
num_envs``, so 1 or 64 environments meet the same episodes, and the same actions in them have the same outcomes.

An episode of every scenario ends by itself: the user is gone, the campaign period or the horizon of the test is over.
That is a *termination*, since the time left is part of what the agent observes and nothing follows.
*Truncation* only comes from a limit that a caller puts on top (``max_episode_steps``).

Shape letters: ``N`` environments, ``K`` actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError

__all__ = ["AllowedDiscrete", "Observation", "Outcome", "ScenarioEnv", "ScenarioVectorEnv", "require"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Observation = dict[str, NDArray[Any]]


def require(fits: bool, detail: str, detail_zh: str) -> None:
    """Raise `UsageError` unless `fits`."""
    if not fits:
        raise UsageError(detail=detail, detail_zh=detail_zh)


class AllowedDiscrete(spaces.Discrete[np.int64]):
    """``Discrete(n)`` whose `sample` draws among the actions that are allowed now.

    After `seed` it knows of no state, and draws among the actions that every episode allows at its start, until the
    environment moves on. A mask or probabilities given to `sample` come first.
    """

    def __init__(self, n: int, at_start: Bools) -> None:
        self._at_start = at_start.astype(np.int8)
        self._now = self._at_start
        super().__init__(n)

    def seed(self, seed: int | None = None) -> Any:
        """Seed the sampler; see the class."""
        self._now = self._at_start
        return super().seed(seed)

    def allow(self, mask: NDArray[np.int8]) -> None:
        """Tell which actions are allowed now, (n,)."""
        self._now = np.array(mask, dtype=np.int8)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """One action; see the class."""
        if mask is None and probability is None:
            mask = self._now
        return super().sample(mask, probability)


class Outcome(NamedTuple):
    """What a step brought, an entry an environment; entries of environments that were not stepped are 0.

    Attributes:
        reward: (N,).
        terminated: (N,).
        info: arrays (N, ...) by name, ``expected_reward`` and ``click_probability`` among them.
    """

    reward: Array
    terminated: Bools
    info: dict[str, NDArray[Any]]


class ScenarioVectorEnv(VectorEnv[Observation, NDArray[Any], NDArray[Any]], ABC):
    """`num_envs` independent environments, stepped together.

    ``metadata["autoreset_mode"]`` is ``NEXT_STEP`` unless told otherwise: the step after the last one of an episode
    ignores the action, gives reward 0 and the first observation of the next episode. With ``SAME_STEP`` the last step
    itself gives that observation, and the last one of the episode is in ``infos["final_obs"]``.

    A subclass sets its arrays up before it calls ``super().__init__`` and fills the abstract methods.

    Args:
        num_envs: N.
        actions: an action space that is told which actions are allowed.
        observation: of one environment; ``mask`` is added to it.
        autoreset_mode: ``NEXT_STEP`` or ``SAME_STEP``, or their values.
        max_episode_steps: truncate an episode after so many steps.
        render_mode: only None; the scenarios have no picture.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    options: tuple[str, ...] = ()
    """Names that `reset` takes in its options."""

    def __init__(
        self,
        num_envs: int,
        actions: AllowedDiscrete,
        observation: dict[str, spaces.Space[Any]],
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        require(num_envs >= 1, "num_envs: write 1 or more", "num_envs：请写 1 或更大的数")
        require(render_mode is None, "render_mode: write None", "render_mode：请写 None")
        mode = AutoresetMode(autoreset_mode)
        require(
            mode != AutoresetMode.DISABLED,
            "autoreset_mode: write NextStep or SameStep",
            "autoreset_mode：请写 NextStep 或 SameStep",
        )
        self.num_envs, self.render_mode = num_envs, None
        self.metadata = {**type(self).metadata, "autoreset_mode": mode}
        self.single_action_space = actions
        k = int(actions.n)
        self.single_observation_space = spaces.Dict({**observation, "mask": spaces.MultiBinary(k)})
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._limit = np.inf if max_episode_steps is None or max_episode_steps < 0 else max_episode_steps
        self.key: int | None = None
        """Of the random streams; the seed itself when it is below 2^63."""
        self.episode = np.arange(num_envs)
        """Number of the episode that each environment is in, (N,)."""
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._over = np.zeros(num_envs, dtype=np.bool_)

    @abstractmethod
    def _begin(self, envs: Ints) -> None:
        """Start episode ``self.episode[envs]`` in these environments."""

    @abstractmethod
    def _advance(self, actions: Ints, live: Bools) -> Outcome:
        """Step the environments that are `live`, (N,), with actions (N,) that are allowed."""

    @abstractmethod
    def _observe(self) -> Observation:
        """New arrays, (N, ...), without the mask."""

    @abstractmethod
    def allowed(self) -> Bools:
        """The actions allowed now, (N, K); never none."""

    @abstractmethod
    def expected_rewards(self) -> Array:
        """Expected reward of each action now, (N, K), 0 where not allowed: what only a simulation knows."""

    def _configure(self, options: dict[str, Any]) -> None:
        """Take what `reset` was given, checked for unknown names."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start with episode 0 of a seed, or without one go on to the next episodes. See `VectorEnv.reset`."""
        super().reset(seed=seed)
        for name in options or {}:
            if name not in self.options:
                raise UnknownNameError(kind="option", kind_zh="选项", name=name, known=self.options)
        if seed is not None or self.key is None:
            self.key = stream_key(self.np_random_seed)
            self.episode = np.arange(self.num_envs)
        else:
            self.episode = self.episode + self.num_envs
        self._configure(options or {})
        self._open(np.arange(self.num_envs))
        self._over[:] = False
        return self._told(), self._marked({}, np.ones(self.num_envs, np.bool_))

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """See `VectorEnv.step`. Raises `UsageError` for an action that is not allowed."""
        require(self.key is not None, "call reset before step", "请先调用 reset，再调用 step")
        live = ~self._over
        chosen = self._checked(actions, live)
        out = self._advance(chosen, live)
        self._steps += live
        truncated = live & ~out.terminated & (self._steps >= self._limit)
        over = out.terminated | truncated
        last: dict[str, Any] = {}
        if self.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP:
            fresh, self._over = np.flatnonzero(~live), over
        else:
            fresh = np.flatnonzero(over)
            if len(fresh):
                last = self._last(out.info, over)
        if len(fresh):
            self.episode[fresh] += self.num_envs
            self._open(fresh)
        return self._told(), out.reward, out.terminated, truncated, self._marked(out.info, live) | last

    def _open(self, envs: Ints) -> None:
        self._steps[envs] = 0
        self._begin(envs)

    def _told(self) -> Observation:
        return {**self._observe(), "mask": self.allowed().astype(np.int8)}

    def _marked(self, info: dict[str, NDArray[Any]], live: Bools) -> dict[str, Any]:
        """Infos as Gymnasium wants them: each name with a companion that says where it holds."""
        out: dict[str, Any] = {}
        for name, values in info.items():
            out[name], out[f"_{name}"] = values, live.copy()
        out["mask"], out["_mask"] = self.allowed().astype(np.int8), np.ones(self.num_envs, np.bool_)
        return out

    def _last(self, info: dict[str, NDArray[Any]], over: Bools) -> dict[str, Any]:
        told = self._told()
        final = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(over):
            final[i] = {name: values[i].copy() for name, values in told.items()}
        kept = {name: values.copy() for name, values in info.items()}
        return {
            "final_obs": final,
            "_final_obs": over.copy(),
            "final_info": self._marked(kept, over),
            "_final_info": over.copy(),
        }

    def _checked(self, actions: NDArray[Any], live: Bools) -> Ints:
        chosen = np.asarray(actions)
        k = int(self.single_action_space.n)  # type: ignore[attr-defined]
        require(
            chosen.shape == (self.num_envs,) and bool(np.issubdtype(chosen.dtype, np.integer)),
            f"actions: give {self.num_envs} whole numbers, not {chosen.dtype} of shape {chosen.shape}",
            f"动作：请给出 {self.num_envs} 个整数，而不是形状为 {chosen.shape} 的 {chosen.dtype}",
        )
        known = (chosen >= 0) & (chosen < k)
        fits = known & self.allowed()[np.arange(self.num_envs), np.where(known, chosen, 0)]
        wrong = np.flatnonzero(live & ~fits)
        if len(wrong):
            i = int(wrong[0])
            choices = np.flatnonzero(self.allowed()[i]).tolist()
            raise UsageError(
                detail=f"action {chosen[i]} is not allowed now (environment {i}); "
                f"choose one of {choices}, as the mask says",
                detail_zh=f"动作 {chosen[i]} 现在不可用（环境 {i}）；请按掩码从 {choices} 中选择",
            )
        return np.where(fits, chosen, 0).astype(np.int64)


def stream_key(seed: int | None) -> int:
    """A key of random streams, below 2^63: the seed itself where it fits, else a hash of it."""
    if seed is not None and 0 <= seed < 1 << 63:
        return int(seed)
    words = np.random.SeedSequence(abs(seed or 0)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


class ScenarioEnv(gymnasium.Env[Observation, np.int64]):
    """One environment: a thin view of a vector of one, with the same numbers for the same seed.

    `step` raises `UsageError` for an action that is not allowed, and after the end of an episode until `reset`.

    Attributes:
        vector: the environment itself.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, vector: ScenarioVectorEnv) -> None:
        self.vector = vector
        self.render_mode = None
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """See `ScenarioVectorEnv.reset`."""
        super().reset(seed=seed)
        if seed is None and self.vector.key is None:
            seed = stream_key(self.np_random_seed)
        told, info = self.vector.reset(seed=seed, options=options)
        self._over = False
        return self._moved(told), _first(info)

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """See the class and `gymnasium.Env.step`."""
        require(
            not self._over,
            "the episode is over; call reset before the next step",
            "这一回合已经结束；请先调用 reset，再走下一步",
        )
        told, reward, terminated, truncated, info = self.vector.step(np.asarray([action]))
        self._over = bool(terminated[0] or truncated[0])
        return self._moved(told), float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first(info)

    def action_masks(self) -> Bools:
        """The actions allowed now, (K,); the name that sb3-contrib looks for."""
        return np.asarray(self.vector.allowed()[0])

    def expected_rewards(self) -> Array:
        """See `ScenarioVectorEnv.expected_rewards`; (K,)."""
        return np.asarray(self.vector.expected_rewards()[0])

    def _moved(self, told: Observation) -> Observation:
        out = {name: values[0] for name, values in told.items()}
        self.action_space.allow(out["mask"])  # type: ignore[attr-defined]
        return out


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """The infos of a vector of one as those of its environment."""
    kept = {name: values[0] for name, values in info.items() if not name.startswith("_")}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in kept.items()}
