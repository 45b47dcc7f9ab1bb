"""Ways to play the scenarios, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.scenarios.ads import AdsConfig
from multimodal_dql.simulation.scenarios.base import Observation, ScenarioVectorEnv
from multimodal_dql.simulation.scenarios.generation import GenerationConfig
from multimodal_dql.simulation.scenarios.headline_test import HeadlineTestConfig
from multimodal_dql.simulation.scenarios.recommendation import RecommendationConfig

Choose = Callable[[ScenarioVectorEnv, Observation], NDArray[np.int64]]

# Short episodes of each scenario, with everything in them: users who leave, caps, empty budgets, arrivals.
SHORT = {
    "Recommendation": RecommendationConfig(stories=20, variants=3, content_width=4),
    "Ads": AdsConfig(campaigns=3, impressions=40, users=4, frequency_cap=2, click_rate=0.2),
    "HeadlineTest": HeadlineTestConfig(stages=6),
    "Generation": GenerationConfig(slots=3, initial=2, stages=12, arrival_rate=0.5),
}


def random_choice(seed: int = 0) -> Choose:
    """Any allowed action."""
    rng = np.random.default_rng(seed)
    return lambda env, told: (rng.random(told["mask"].shape) * told["mask"] + told["mask"]).argmax(axis=1)


def oracle(env: ScenarioVectorEnv, told: Observation) -> NDArray[np.int64]:
    """The allowed action of highest expected reward now."""
    return np.where(told["mask"] == 1, env.expected_rewards(), -np.inf).argmax(axis=1)


def totals(env: ScenarioVectorEnv, choose: Choose, seed: int = 0, key: str = "") -> NDArray[np.float64]:
    """Reward of the first episode of each environment, or what its infos say under `key`."""
    told, _ = env.reset(seed=seed)
    out, going = np.zeros(env.num_envs), np.ones(env.num_envs, bool)
    while going.any():
        told, reward, terminated, truncated, info = env.step(choose(env, told))
        out += going * (info[key] if key else reward)
        going &= ~(terminated | truncated)
    return out


def z_of_difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean of paired differences in standard errors; above 4 by chance in 3 of 100,000 cases when there is none."""
    d = a - b
    return float(d.mean() / (d.std(ddof=1) / np.sqrt(len(d))))
