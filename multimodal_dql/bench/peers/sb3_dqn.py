"""Stable-Baselines3's DQN as a contestant: its own ``train``, on a full replay of random transitions.

Run by the interpreter that has it: ``python sb3_dqn.py JOB``, JOB the `Job` of `bench training` as JSON. Two forward
passes an update: it learns neither double nor dueling. ``train`` leaves the target network alone, as by default that
moves only every 10,000 steps.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from serving import keep_to, serve
from stable_baselines3 import DQN
from stable_baselines3.common.logger import configure


class Silence(gymnasium.Env[Any, Any]):
    """An environment in which nothing happens; only its shapes are used."""

    def __init__(self, width: int, actions: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-5.0, 5.0, (width,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(actions)
        self.nothing = np.zeros(width, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Nothing."""
        return self.nothing, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Nothing."""
        return self.nothing, 0.0, False, False, {}


def main() -> None:
    """Fill the replay, then train on request."""
    job = json.loads(sys.argv[1])
    keep_to(job["threads"])
    torch.set_num_threads(job["threads"])
    model = DQN(
        "MlpPolicy",
        Silence(job["width"], job["actions"]),
        policy_kwargs={"net_arch": list(job["hidden"])},
        buffer_size=job["replay"],
        batch_size=job["batch"],
        learning_rate=1e-3,
        max_grad_norm=10.0,
        device="cpu",
    )
    model.set_logger(configure(None, []))
    replay: Any = model.replay_buffer
    rng = np.random.default_rng(0)
    for seen in (replay.observations, replay.next_observations):
        seen[:] = rng.standard_normal(seen.shape, dtype=np.float32)
    replay.actions[:] = rng.integers(0, job["actions"], replay.actions.shape)
    replay.rewards[:] = rng.standard_normal(replay.rewards.shape)
    replay.full = True
    model._current_progress_remaining = 1.0

    def run(updates: int) -> None:
        model.train(gradient_steps=updates, batch_size=job["batch"])

    run(20)
    serve(run, step=10)


main()
