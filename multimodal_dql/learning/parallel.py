"""Learning in many environments side by side: Q(lambda) without replay and without a target network.

PQN (Gallici et al. 2025, "Simplifying deep temporal difference learning", ICLR): layer normalisation and weight decay
keep temporal differences stable, many environments take the place of a replay. One round: every environment takes T
epsilon-greedy steps, Q(lambda) targets are made of the values met on the way, and some epochs of minibatches follow in
one compiled call.

Shape letters: ``T`` steps, ``N`` environments, ``A`` actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.errors import TrainingError, UsageError
from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.learning.prices import Ledger
from multimodal_dql.learning.scenario_agent import ScenarioAgent, explore
from multimodal_dql.learning.targets import NEVER, chain, q_lambda
from multimodal_dql.learning.updates import MinibatchLearner

__all__ = ["ParallelConfig", "train_parallel"]

Progress = Callable[[int, int, dict[str, float]], None]
WARM_UP = 64
"""Steps of random actions that fit the scale of features and rewards."""


@dataclass(frozen=True)
class ParallelConfig:
    """Settings of a run. Sources: [P] published, in PQN unless said otherwise; [A] chosen here.

    Attributes:
        steps: environment steps of the whole run, over all environments [A].
        rollout: T, steps between two rounds of learning [P: 32 in Atari and MinAtar, 1 to 128 elsewhere].
        epochs: passes over a rollout [P: 2].
        minibatch: transitions in a gradient step [A; P has 32 minibatches a rollout].
        discount: worth of a reward one step later; 0 learns the next reward alone [P: .99].
        free_actions: the second half of the actions takes no time (in Generation-v0, to retire a variant), so that what
            follows them is not discounted.
        trace: lambda of `targets.q_lambda` [P: .65].
        learning_rate: falls linearly to 0 [P: 2.5e-4 to 5e-4, in networks ten times as wide].
        weight_decay: AdamW (Loshchilov & Hutter 2019), in the place of P's L2 on the last layer.
        clip_norm: largest gradient norm [P: 10].
        epsilon: share of random choices at the start [P: 1], falling linearly.
        epsilon_end: share of random choices from then on [P: .001 to .05].
        epsilon_share: part of the run in which it falls [P: .1 to .5].
        expected_reward: learn from ``info["expected_reward"]``, the mean of the reward that a simulation knows, instead
            of the draw. Legitimate because the world is simulated; never to be had from a log.
        relative: divide the rewards of an episode by the mean of the rewards that its first actions may expect, which a
            simulation knows (``expected_rewards``); episodes that differ in scale alone then say the same, and
            what is learned is the relative gain. As legitimate as `expected_reward`.
        spends: with the advantage ``reward_and_price``, the name in the info of a step of the units that it uses of a
            stock; of their expectation where a simulation knows it, as legitimate as `expected_reward`. A rollout as
            long as an episode and the step after it then sees prices whole.
        advantage: see `NetworkConfig`.
        hidden: width of the network.
        average: share of the rounds, the last ones, over which weights are averaged (Polyak & Juditsky 1992) [A].
        members: networks side by side, averaged when deciding.
        stagger: steps of random actions by which each group of environments starts ahead of the one before, so that
            episodes of equal length are not all in the same phase [A].
        seed: of weights, exploration and minibatches; the environments draw from streams of their own.
    """

    steps: int = 500_000
    rollout: int = 16
    epochs: int = 2
    minibatch: int = 1024
    discount: float = 0.99
    free_actions: bool = False
    trace: float = 0.65
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    clip_norm: float = 10.0
    epsilon: float = 1.0
    epsilon_end: float = 0.05
    epsilon_share: float = 0.3
    expected_reward: bool = False
    relative: bool = False
    spends: str = ""
    advantage: str = "whole"
    hidden: int = 48
    average: float = 0.3
    members: int = 1
    stagger: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.steps, self.rollout, self.epochs, self.minibatch, self.hidden, self.members)
        shares = (self.discount, self.trace, self.epsilon, self.epsilon_end, self.epsilon_share, self.average)
        if min(counts) < 1 or not all(0.0 <= share <= 1.0 for share in shares) or self.stagger < 0:
            raise UsageError(
                detail="parallel training: steps, rollout, epochs, minibatch, hidden and members are 1 or more; "
                "discount, trace, average and the epsilons lie between 0 and 1; stagger is not negative",
                detail_zh="并行训练：steps、rollout、epochs、minibatch、hidden、members 至少为 1；"
                "discount、trace、average 与各 epsilon 应在 0 与 1 之间；stagger 不为负",
            )
        if (self.advantage == "reward_and_price") != bool(self.spends):
            raise UsageError(
                detail="parallel training: advantage='reward_and_price' and spends, the name of what a step uses, "
                "belong together; give both or neither",
                detail_zh="并行训练：advantage='reward_and_price' 与 spends（每步消耗之物的名称）须同时写或都不写",
            )
        if self.advantage == "click_and_later":
            raise UsageError(
                detail="parallel training: write whole, reward_and_later, reward_and_linear or reward_and_price as "
                "advantage; click_and_later belongs to train",
                detail_zh="并行训练：advantage 请写 whole、reward_and_later、reward_and_linear 或 reward_and_price；"
                "click_and_later 只用于 train",
            )

    def epsilon_at(self, share: float) -> float:
        """The exploration after this share of the run."""
        fallen = min(share / max(self.epsilon_share, 1e-9), 1.0)
        return self.epsilon + fallen * (self.epsilon_end - self.epsilon)


class _Group:
    """A vector environment and where it is."""

    def __init__(self, env: Any, seed: int, config: ParallelConfig) -> None:
        self.env, self.config = env, config
        self.told, _ = env.reset(seed=seed)
        self.over = np.zeros(env.num_envs, np.bool_)
        self.scale = np.ones(env.num_envs)
        self._begin(np.ones(env.num_envs, np.bool_))

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Reward, terminated, truncated, whether the step counts and what was spent, (n,) each.

        The step after an end does not count.
        """
        fresh = self.over
        self.told, reward, terminated, truncated, info = self.env.step(action)
        if self.config.expected_reward:
            reward = info["expected_reward"]
        reward = reward / self.scale
        self._begin(fresh)
        self.over = terminated | truncated
        spend = info[self.config.spends] if self.config.spends else np.zeros(len(fresh))
        return reward, terminated, truncated, ~fresh, spend

    def _begin(self, fresh: NDArray[np.bool_]) -> None:
        if self.config.relative and fresh.any():
            worth = self.env.expected_rewards()[fresh]
            mean = worth.sum(axis=1) / np.maximum((worth > 0).sum(axis=1), 1)
            self.scale[fresh] = np.maximum(mean, 1e-12)


def train_parallel(
    env: Any | Sequence[Any],
    config: ParallelConfig,
    *,
    env_seed: int | None = None,
    again: ScenarioAgent | None = None,
    progress: Progress | None = None,
) -> ScenarioAgent:
    """Learn in a vector environment, or in several of one kind, which then start in different phases.

    Args:
        env: Gymnasium vector environments with ``NEXT_STEP`` resets, observations as `ObservationAdapter` takes them,
            and a mask of the actions.
        config: settings.
        env_seed: of the episodes; `config.seed` by default. Group i has ``env_seed + i`` times a large prime.
        again: an agent from an earlier call with environments and settings of the same form. It is trained anew, from
            new weights, and returned: what was compiled for it is used again, which saves some ten seconds.
        progress: called with round, rounds and the latest metrics.

    Raises:
        TrainingError: a number became NaN or infinite.
        UsageError: environments that do not fit.
    """
    envs = list(env) if isinstance(env, Sequence) else [env]
    rng = np.random.Generator(np.random.Philox(key=[config.seed, 60]))
    adapter, scale = _warm_up(envs, config, env_seed, rng)
    groups = _start(envs, config, env_seed, rng)
    n = sum(g.env.num_envs for g in groups)
    # On its first use TensorFlow tells stderr about the processor, in C++, where no setting reaches it.
    with silenced():
        agent = _agent(config, adapter, scale, groups[0].told, n, again)
    network, learner = agent.network, agent.learner
    size = config.rollout * n
    rounds = max(config.steps // size, 1)
    updates = max(size // config.minibatch, 1)
    kept: list[list[NDArray[Any]]] = []
    for i in range(rounds):
        data = _rollout(groups, agent, config, config.epsilon_at(i / rounds), rng, scale.spend)
        order = [rng.permutation(size)[: updates * (size // updates)] for _ in range(config.epochs)]
        index = np.concatenate([o.reshape(updates, -1) for o in order]).astype(np.int32)
        row = learner.learn(data, index, rate=config.learning_rate * (1.0 - i / rounds))
        if not all(np.isfinite(value) for value in row.values()):
            raise TrainingError(
                detail=f"training diverged in round {i + 1}; lower learning_rate",
                detail_zh=f"训练在第 {i + 1} 轮发散；请降低 learning_rate",
            )
        if progress:
            progress(i + 1, rounds, row)
        if i >= rounds * (1.0 - config.average) or i == rounds - 1:
            kept.append(network.get_weights())
    network.set_weights([np.mean(weight, axis=0) for weight in zip(*kept, strict=True)])
    return agent


@dataclass(frozen=True)
class _Scale:
    """Typical sizes: of a reward, and of a return in rewards."""

    reward: float
    horizon: float
    spend: float


def _agent(
    config: ParallelConfig,
    adapter: ObservationAdapter,
    scale: _Scale,
    told: dict[str, NDArray[Any]],
    batch: int,
    again: ScenarioAgent | None,
) -> ScenarioAgent:
    """A new agent, or an earlier one with new weights."""
    from multimodal_dql.network import CandidateQNetwork, NetworkConfig

    network = CandidateQNetwork(
        NetworkConfig(
            widths=(adapter.content_width,),
            context_width=len(adapter.context_mean),
            record_width=len(adapter.record_mean),
            base_rate=0.5,
            hidden=config.hidden,
            members=config.members,
            modality_dropout=0.0,
            content_noise=0.0,
            seed=config.seed,
            advantage=config.advantage,
            value_scale=scale.horizon,
        )
    )
    inputs = adapter.inputs({name: array[:2] for name, array in told.items()})
    network(inputs)  # builds the weights
    if again is None or again.learner is None:
        learner = MinibatchLearner(network, config.learning_rate, config.weight_decay, config.clip_norm)
        agent = ScenarioAgent(network, adapter, scale.reward, batch, learner)
        agent.score(inputs)
        return agent
    again.network.set_weights(network.get_weights())
    again.network.config = network.config
    again.learner.restart()
    again.adapter, again.unit = adapter, scale.reward
    return again


def _seeds(envs: Sequence[Any], config: ParallelConfig, env_seed: int | None) -> list[int]:
    first = config.seed if env_seed is None else env_seed
    return [first + 1_000_003 * i for i in range(len(envs))]


def _random(mask: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    return np.asarray(np.where(mask > 0, rng.random(mask.shape), -1.0).argmax(axis=1))


def _warm_up(
    envs: Sequence[Any], config: ParallelConfig, env_seed: int | None, rng: np.random.Generator
) -> tuple[ObservationAdapter, _Scale]:
    """Fit the scale of features and rewards on random actions, spread over a good part of an episode."""
    samples, rewards, spent, ended = [], [], [], 0
    every = max(config.stagger * len(envs) // WARM_UP, 1)
    group = _Group(envs[0], _seeds(envs, config, env_seed)[0], config)
    for t in range(WARM_UP * every):
        if t % every == 0:
            samples.append(group.told)
        reward, terminated, truncated, _, spend = group.step(_random(group.told["mask"], rng))
        rewards.append(reward)
        spent.append(spend)
        ended += int((terminated | truncated).sum())
    size = max(float(np.abs(np.asarray(rewards)).mean()), 1e-8)
    length = WARM_UP * every * envs[0].num_envs / max(ended, 1)
    horizon = min(length, 1.0 / max(1.0 - config.discount, 1e-6))
    return ObservationAdapter.fit(samples), _Scale(size, horizon, max(float(np.mean(spent)), 1e-8))


def _start(
    envs: Sequence[Any], config: ParallelConfig, env_seed: int | None, rng: np.random.Generator
) -> list[_Group]:
    groups = []
    for i, (env, seed) in enumerate(zip(envs, _seeds(envs, config, env_seed), strict=True)):
        group = _Group(env, seed, config)
        for _ in range(i * config.stagger):
            group.step(_random(group.told["mask"], rng))
        groups.append(group)
    return groups


def _rollout(
    groups: Sequence[_Group],
    agent: ScenarioAgent,
    config: ParallelConfig,
    epsilon: float,
    rng: np.random.Generator,
    spend_unit: float,
) -> dict[str, NDArray[Any]]:
    """T steps of every environment as rows (T x N), with their targets."""
    ends = np.cumsum([g.env.num_envs for g in groups])
    priced = config.advantage == "reward_and_price"
    ledger = Ledger([g.env for g in groups], spend_unit) if priced else None
    stored: dict[str, list[NDArray[Any]]] = {}
    rows: list[list[NDArray[Any]]] = []
    value: list[NDArray[np.float64]] = []
    for t in range(config.rollout + 1):
        told = [agent.adapter.inputs(g.told) for g in groups]
        inputs = {name: np.concatenate([p[name] for p in told]) for name in told[0]}
        parts = agent.parts(inputs)
        q = parts[:, 0]
        if ledger:
            ledger.note(parts[:, 1], parts[:, 2], parts[:, 3], inputs["available"])
        value.append(np.where(inputs["available"], q, NEVER).max(axis=1))
        if t == config.rollout:
            break
        action = explore(q, inputs["available"], epsilon, rng)
        for name, array in {**inputs, "action": action}.items():
            stored.setdefault(name, []).append(array)
        split = np.split(action, ends[:-1])
        met = [g.step(a) for g, a in zip(groups, split, strict=True)]
        rows.append([np.concatenate(column) for column in zip(*met, strict=True)])
    reward, terminated, truncated, live, spend = (np.stack(column) for column in zip(*rows, strict=True))
    reward = reward / agent.unit
    stacked = {name: np.concatenate(arrays) for name, arrays in stored.items()}
    discount, goes_on = chain(terminated, truncated, config.discount)
    if config.free_actions and config.discount > 0.0:
        free = stacked["action"].reshape(terminated.shape) >= agent.adapter.actions // 2
        discount = np.where(free & ~terminated, 1.0, discount)
    target = q_lambda(reward, discount, np.stack(value[1:]), np.where(goes_on, config.trace, 0.0))
    flat = {"target": target, "reward": reward, "weight": live}
    if ledger:
        flat["spend"] = spend / spend_unit
        stacked |= ledger.targets(discount, goes_on)
    return stacked | {name: array.reshape(-1).astype(np.float32) for name, array in flat.items()}
