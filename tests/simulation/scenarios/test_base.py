"""What holds in every scenario: Gymnasium's rules, one environment as many, masks, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import multimodal_dql.simulation.scenarios as scenarios
from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.simulation.scenarios.base import AllowedDiscrete, stream_key

from .play import SHORT, oracle, random_choice, totals, z_of_difference

NAMES = tuple(SHORT)


def single(name: str, **kwargs: Any) -> Any:
    return gymnasium.make(f"MultimodalDQL/{name}-v0", **({"config": SHORT[name]} | kwargs))


def vector(name: str, num_envs: int, **kwargs: Any) -> Any:
    return gymnasium.make_vec(
        f"MultimodalDQL/{name}-v0",
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        **({"config": SHORT[name]} | kwargs),
    )


@pytest.mark.parametrize("env_id", scenarios.IDS)
def test_gymnasium_has_nothing_to_object(env_id: str) -> None:
    """As registered, without any argument; warnings are errors."""
    check_env(gymnasium.make(env_id).unwrapped)


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_has_nothing_to_object_to_other_settings(name: str) -> None:
    check_env(single(name).unwrapped)


def test_importing_the_registration_loads_nothing_heavy() -> None:
    code = (
        "import json, sys, gymnasium, multimodal_dql.simulation.scenarios as s; s.register();"
        "spec = gymnasium.spec('MultimodalDQL/Ads-v0');"
        "print(json.dumps([m for m in ('numba', 'scipy', 'tensorflow', 'pyarrow') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_an_id_can_name_the_package() -> None:
    env = gymnasium.make("multimodal_dql.simulation.scenarios:MultimodalDQL/HeadlineTest-v0")
    env.reset(seed=0)
    assert env.unwrapped.spec.id == "MultimodalDQL/HeadlineTest-v0"


@pytest.mark.parametrize("name", NAMES)
def test_one_environment_is_a_vector_of_one_and_any_number_meets_the_same_episodes(name: str) -> None:
    """Six episodes: of one environment in turn, and of three environments side by side, two each."""
    rng = np.random.default_rng(1)
    actions = rng.random((6, 60))

    def pick(mask: Any, u: float) -> int:
        choices = np.flatnonzero(mask)
        return int(choices[int(u * len(choices))])

    env, one = single(name), []
    for episode in range(6):
        told, info = env.reset(seed=7) if episode == 0 else env.reset()
        steps, over = [(told, 0.0, False, info)], False
        while not over:
            action = pick(told["mask"], actions[episode, (len(steps) - 1) % 60])
            told, reward, over, cut, info = env.step(action)
            assert not cut
            steps.append((told, reward, over, info))
        one.append(steps)

    for count in (1, 3):
        envs = vector(name, count)
        told, infos = envs.reset(seed=7)
        episode, place = np.arange(count), np.zeros(count, int)
        reward, over = np.zeros(count), np.zeros(count, bool)
        for _ in range(400):
            for i in range(count):
                if episode[i] >= 6:
                    continue
                want_told, want_reward, want_over, want_info = one[episode[i]][place[i]]
                for key, value in want_told.items():
                    np.testing.assert_array_equal(told[key][i], value)
                assert (reward[i], over[i]) == (want_reward, want_over)
                for key, value in want_info.items():
                    np.testing.assert_array_equal(infos[key][i], value)
            if (episode >= 6).all():
                break
            chosen = np.zeros(count, int)
            for i in range(count):
                u = actions[min(episode[i], 5), place[i] % 60]
                chosen[i] = pick(told["mask"][i], u)
            ended = over.copy()
            told, reward, over, cut, infos = envs.step(chosen)
            assert not cut.any()
            place = np.where(ended, 0, place + 1)
            episode = episode + ended * count
        assert (episode >= 6).all()


@pytest.mark.parametrize("name", NAMES)
def test_observations_fit_and_masks_are_never_empty(name: str) -> None:
    envs, choose = vector(name, 16), random_choice(2)
    told, _ = envs.reset(seed=3)
    for _ in range(90):
        assert told in envs.observation_space
        assert told["mask"].any(axis=1).all()
        told, reward, _, _, infos = envs.step(choose(envs, told))
        assert np.isfinite(reward).all()
        np.testing.assert_array_equal(infos["mask"], told["mask"])
        assert (infos["click_probability"] >= 0).all()
        assert (infos["click_probability"] <= 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    env = vector(name, 4)
    a, b, c = (totals(env, random_choice(5), seed, "expected_reward") for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize("name", NAMES)
def test_knowing_the_truth_beats_chance(name: str) -> None:
    """z above 4 of what is expected, over 200 episodes: false alarm 3 in 100,000 for an oracle that knows nothing."""
    env = vector(name, 200)
    z = z_of_difference(
        totals(env, oracle, 0, "expected_reward"), totals(env, random_choice(), 0, "expected_reward")
    )
    assert z > 4


@pytest.mark.parametrize("name", ["Ads", "HeadlineTest", "Generation", "Recommendation"])
def test_rewards_are_what_was_expected_of_them(name: str) -> None:
    """z below 4 (false alarm 6 in 100,000) between rewards and expectations; conversions that wait are counted."""
    env = vector(name, 400)
    reward = totals(env, random_choice(3), 4)
    expected = totals(env, random_choice(3), 4, "expected_reward")
    if name == "Ads":
        told, _ = env.reset(seed=4)
        choose = random_choice(3)
        for _ in range(SHORT["Ads"].impressions):
            told, _, _, _, infos = env.step(choose(env, told))
        reward = reward + infos["pending_value"]
    assert abs(z_of_difference(reward, expected)) < 4


@pytest.mark.parametrize("name", NAMES)
def test_the_same_step_can_begin_the_next_episode(name: str) -> None:
    """SAME_STEP and NEXT_STEP give the same steps of the same episodes; the former keeps last observations aside."""
    told_of: dict[AutoresetMode, list[list[Any]]] = {}
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        env = vector(name, 5, autoreset_mode=mode.value)
        assert env.metadata["autoreset_mode"] == mode
        told, _ = env.reset(seed=1)
        steps: list[list[Any]] = [[] for _ in range(5)]
        for _ in range(100):
            told, reward, over, _, infos = env.step(told["mask"].argmax(axis=1))
            for i in np.flatnonzero(infos["_expected_reward"]):
                last = mode == AutoresetMode.SAME_STEP and over[i]
                kept = infos["final_obs"][i] if last else {key: value[i] for key, value in told.items()}
                steps[i].append((reward[i], over[i], infos["expected_reward"][i], kept))
            if mode == AutoresetMode.SAME_STEP and over.any():
                np.testing.assert_array_equal(infos["_final_obs"], over)
                for i in np.flatnonzero(over):
                    np.testing.assert_array_equal(
                        infos["final_info"]["mask"][i], infos["final_obs"][i]["mask"]
                    )
        told_of[mode] = steps
    for a, b in zip(*told_of.values(), strict=True):
        assert any(step[1] for step in b)
        for one, other in zip(a, b, strict=False):
            assert one[:3] == other[:3]
            for key in one[3]:
                np.testing.assert_array_equal(one[3][key], other[3][key])


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_on_top_truncates(name: str) -> None:
    env = vector(name, 3, max_episode_steps=1)
    told, _ = env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(told["mask"].argmax(axis=1))
    assert (terminated ^ truncated).all()
    assert truncated.any()
    gym = single(name, max_episode_steps=2)
    told, _ = gym.reset(seed=0)
    told, _, over, cut, _ = gym.step(told["mask"].argmax())
    if not over:
        _, _, over, cut, _ = gym.step(told["mask"].argmax())
        assert over or cut


def test_an_action_that_is_not_allowed_is_named_with_its_cure() -> None:
    env = single("HeadlineTest").unwrapped
    told, _ = env.reset(seed=0, options={"rates": np.full((1, 2), 0.5)})
    np.testing.assert_array_equal(told["mask"], [1, 1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(env.action_masks(), told["mask"] == 1)
    with pytest.raises(UsageError) as caught:
        env.step(5)
    assert caught.value.text("en").startswith(
        "action 5 is not allowed now (environment 0); choose one of [0, 1]"
    )
    assert caught.value.text("zh").startswith("动作 5 现在不可用（环境 0）；请按掩码从 [0, 1] 中选择")
    for wrong in (-1, 8):
        with pytest.raises(UsageError):
            env.step(wrong)
    with pytest.raises(UsageError, match="whole numbers"):
        env.step(0.5)
    env.step(1)


def test_steps_outside_of_an_episode_are_refused() -> None:
    env = single("HeadlineTest").unwrapped
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    for _ in range(6):
        _, _, over, _, _ = env.step(0)
    assert over
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)
    with pytest.raises(UsageError, match="call reset"):
        vector("HeadlineTest", 2).unwrapped.step(np.zeros(2, int))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs"),
        ({"render_mode": "human"}, "render_mode"),
        ({"autoreset_mode": AutoresetMode.DISABLED}, "autoreset_mode"),
    ],
)
def test_arguments_that_make_no_sense(kwargs: Any, message: str) -> None:
    from multimodal_dql.simulation.scenarios.headline_test import HeadlineTestVectorEnv

    with pytest.raises(UsageError, match=message):
        HeadlineTestVectorEnv(**kwargs)
    with pytest.raises(UnknownNameError, match="seen_clicks"):
        HeadlineTestVectorEnv(2).reset(options={"seen_click": 1})


def test_a_sampler_knows_what_is_allowed() -> None:
    space = AllowedDiscrete(4, np.array([True, True, False, False]))
    space.seed(0)
    assert {int(space.sample()) for _ in range(50)} == {0, 1}
    space.allow(np.array([0, 0, 1, 1], np.int8))
    assert {int(space.sample()) for _ in range(50)} == {2, 3}
    assert int(space.sample(np.array([1, 0, 0, 0], np.int8))) == 0
    space.seed(0)
    assert int(space.sample()) in (0, 1)


def test_keys_of_seeds() -> None:
    assert stream_key(0) == 0
    assert stream_key(2**63 - 1) == 2**63 - 1
    assert 0 <= stream_key(2**100) < 2**63
    assert stream_key(2**100) != stream_key(2**100 + 1)
