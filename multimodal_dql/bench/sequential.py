"""What looking ahead is worth in the scenarios: Q(lambda) against the same network and training with discount 0.

Both are trained on the same number of steps from the same seed, and decide the same evaluation episodes (common random
numbers: an episode is named by seed and number). References: random choices, and greed on the true next reward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError
from multimodal_dql.evaluation.seeds import level, paired
from multimodal_dql.learning.parallel import ParallelConfig, train_parallel

__all__ = ["SCENARIOS", "Setting", "bench_sequential", "returns"]

Array = NDArray[np.float64]
Act = Callable[[Any, dict[str, NDArray[Any]]], NDArray[np.int64]]

EVALUATION_SEED = 7_000_003
"""Of the evaluation episodes; training draws its episodes from other streams."""


@dataclass(frozen=True)
class Setting:
    """How a scenario is trained and judged.

    Attributes:
        groups: vector environments, in different phases of their episodes.
        environments: of each.
        episodes: of the evaluation.
        evaluated: environments side by side in the evaluation.
        training: of the agent that looks ahead; the other has discount 0 and is the same otherwise.
    """

    groups: int
    environments: int
    episodes: int
    evaluated: int
    training: ParallelConfig


SCENARIOS: dict[str, Setting] = {
    "Recommendation": Setting(1, 512, 20_000, 2048, ParallelConfig()),
    "Ads": Setting(8, 32, 600, 600, ParallelConfig()),
    "Generation": Setting(8, 32, 1000, 500, ParallelConfig()),
}


def bench_sequential(
    names: Sequence[str] = tuple(SCENARIOS),
    seeds: int = 10,
    *,
    settings: dict[str, Setting] | None = None,
    progress: Callable[[str, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train both agents in each scenario from seeds 0, 1, ... and compare them.

    Args:
        names: of scenarios.
        seeds: of training, at least 2.
        settings: instead of `SCENARIOS`.
        progress: called with the scenario, the seed and both returns.

    Returns:
        by scenario: interquartile means over seeds with bootstrap intervals, the paired difference relative to the
        agent without foresight with Student's interval over seeds, and the references.
    """
    known = settings or SCENARIOS
    out: dict[str, Any] = {"seeds": seeds, "scenarios": {}}
    for name in names:
        if name not in known:
            raise UnknownNameError(kind="scenario", kind_zh="场景", name=name, known=known)
        out["scenarios"][name] = _compare(name, known[name], seeds, progress)
    return out


def returns(env: Any, act: Act, episodes: int, seed: int = EVALUATION_SEED) -> dict[str, Array]:
    """Return of each of the first `episodes` episodes of a seed.

    Args:
        env: a scenario's vector environment.
        act: from the environment and an observation to actions, (N,).
        episodes: E.
        seed: of the episodes.

    Returns:
        ``expected``, (E,): sums of expected rewards, which have the same mean and no luck of the last draw in them;
        ``paid``, (E,): sums of rewards.
    """
    out = {"expected": np.zeros(episodes), "paid": np.zeros(episodes)}
    told, _ = env.reset(seed=seed)
    over, ended = np.zeros(env.num_envs, np.bool_), np.zeros(episodes, np.bool_)
    while not ended.all():
        episode, fresh = env.episode.copy(), over
        told, reward, terminated, truncated, info = env.step(act(env, told))
        over = terminated | truncated
        counts = ~fresh & (episode < episodes)
        out["expected"][episode[counts]] += info["expected_reward"][counts]
        out["paid"][episode[counts]] += reward[counts]
        ended[episode[counts & over]] = True
    return out


def _compare(
    name: str, s: Setting, seeds: int, progress: Callable[[str, int, dict[str, float]], None] | None
) -> dict[str, Any]:
    import gymnasium

    import multimodal_dql.simulation.scenarios  # noqa: F401  registers them

    made = f"MultimodalDQL/{name}-v0"
    judged = gymnasium.make_vec(made, num_envs=s.evaluated).unwrapped
    envs = [gymnasium.make_vec(made, num_envs=s.environments).unwrapped for _ in range(s.groups)]
    means: dict[str, dict[str, list[float]]] = {
        who: {"expected": [], "paid": []} for who in ("ahead", "myopic")
    }
    seconds, agent = [], None
    for seed in range(seeds):
        for who, discount in (("ahead", s.training.discount), ("myopic", 0.0)):
            start = time.perf_counter()
            agent = train_parallel(envs, replace(s.training, discount=discount, seed=seed), again=agent)
            seconds.append(time.perf_counter() - start)
            found = returns(judged, lambda _, told, agent=agent: agent.greedy(told), s.episodes)  # type: ignore[misc]
            for kind, values in found.items():
                means[who][kind].append(float(values.mean()))
        if progress:
            progress(name, seed, {who: means[who]["expected"][-1] for who in means})
    return {
        "ahead": _levels(means["ahead"]),
        "myopic": _levels(means["myopic"]),
        "difference": {kind: _relative(means, kind) for kind in ("expected", "paid")},
        "by_seed": means,
        "references": _references(judged, s.episodes),
        "seconds_of_a_training": round(float(np.median(seconds)), 1),
        "setting": asdict(s),
    }


def _levels(means: dict[str, list[float]]) -> dict[str, Any]:
    return {kind: asdict(level(values)) for kind, values in means.items()}


def _relative(means: dict[str, dict[str, list[float]]], kind: str) -> dict[str, Any]:
    """The paired difference in the unit of the return, and as a share of what the agent without foresight earns."""
    ours, theirs = means["ahead"][kind], means["myopic"][kind]
    found = asdict(paired(ours, theirs))
    return found | {"relative": {k: v / float(np.mean(theirs)) for k, v in found.items()}}


def _references(env: Any, episodes: int) -> dict[str, dict[str, float]]:
    rng = np.random.Generator(np.random.Philox(key=[0, 71]))

    def uniform(_: Any, told: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        return np.asarray(np.where(told["mask"] > 0, rng.random(told["mask"].shape), -1.0).argmax(axis=1))

    def knowing(env: Any, told: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        return np.asarray(np.where(told["mask"] > 0, env.expected_rewards(), -np.inf).argmax(axis=1))

    found = {"uniform": returns(env, uniform, episodes), "greedy_on_truth": returns(env, knowing, episodes)}
    return {
        name: {kind: float(values.mean()) for kind, values in kinds.items()} for name, kinds in found.items()
    }
