"""Generation-v0: wear-out, arrivals and retirement by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.scenarios.generation import (
    VARIANT_FEATURES,
    GenerationConfig,
    GenerationEnv,
    GenerationVectorEnv,
)
from multimodal_dql.simulation.scenarios.generation_kernel import novelty_and_wear

from .play import oracle, random_choice, totals, z_of_difference

FLAT = EngagementModel(base_logit_mean=0.0, base_logit_sd=0.0, within_logit_sd=0.0, overdispersion=1.0)
HAND = GenerationConfig(
    model=FLAT,
    slots=3,
    initial=2,
    stages=5,
    stage_impressions=100,
    arrival_rate=0.0,
    novelty=0.0,
    wear_out=1.0,
    wear_impressions=100.0,
    reward="expected",
)
"""Every variant starts at one click in two; after m stages its logit is -log(1 + m), its rate 1 / (2 + m)."""


def with_fields(**fields: Any) -> GenerationConfig:
    from dataclasses import replace

    return replace(HAND, **fields)


def test_wear_out_by_hand() -> None:
    env = GenerationEnv(HAND)
    env.reset(seed=0)
    got = [env.step(k)[1] for k in (0, 0, 0, 1, 1)]
    np.testing.assert_allclose(got, [50, 100 / 3, 25, 50, 100 / 3])


def test_novelty_and_wear() -> None:
    assert novelty_and_wear(0, 0.1, 1000.0, 0.15, 2000.0) == pytest.approx(0.1)
    assert novelty_and_wear(1000, 0.1, 1000.0, 0.0, 2000.0) == pytest.approx(0.1 / np.e)
    assert novelty_and_wear(2000, 0.0, 1000.0, 0.15, 2000.0) == pytest.approx(-0.15 * np.log(2))


def test_retiring_frees_a_slot_and_costs_nothing() -> None:
    """Slots of three, one arrival after every stage: the third slot fills, the next is lost, a retired slot is
    filled."""
    env = GenerationEnv(with_fields(arrival_rate=1.0))
    told, _ = env.reset(seed=0)
    np.testing.assert_array_equal(told["mask"], [1, 1, 0, 1, 1, 0])
    told, *_ = env.step(0)
    np.testing.assert_array_equal(told["mask"], [1, 1, 1, 1, 1, 1])
    told, _, _, _, info = env.step(0)
    assert info["variants"] == 3  # the slots were full
    left = told["test"][1]
    told, reward, over, _, info = env.step(3)  # retire what slot 0 shows
    assert (reward, over, info["expected_reward"]) == (0, False, 0)
    assert told["test"][1] == left
    np.testing.assert_array_equal(told["mask"], [0, 1, 1, 0, 1, 1])
    assert (told["content"][0] == 0).all()
    assert (told["arms"][0] == 0).all()
    told, _, _, _, info = env.step(1)
    assert info["variants"] == 4
    np.testing.assert_array_equal(told["mask"], [1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(told["arms"][:, VARIANT_FEATURES.index("age")], [0, 3 / 5, 2 / 5])
    assert env.step(0)[1] == pytest.approx(50)  # a new variant, not worn


def test_the_last_variant_cannot_be_retired() -> None:
    env = GenerationEnv(HAND)
    env.reset(seed=0)
    told, *_ = env.step(3)
    np.testing.assert_array_equal(told["mask"], [0, 1, 0, 0, 0, 0])
    with pytest.raises(UsageError, match=r"choose one of \[1\]"):
        env.step(4)


def test_only_showing_takes_time() -> None:
    env = GenerationEnv(HAND)
    env.reset(seed=0)
    env.step(3)
    ends = [env.step(1)[2] for _ in range(5)]
    assert ends == [False] * 4 + [True]


def test_content_tells_of_effects_what_it_should() -> None:
    """All of it: effects are a line in the content. Half of it: a correlation of sqrt(.5), within 4 errors of .016."""
    for share in (1.0, 0.5):
        model = EngagementModel(base_logit_mean=0.0, base_logit_sd=0.0, within_logit_sd=0.3, within_df=30.0)
        env = GenerationVectorEnv(
            1000, with_fields(model=model, content_share=share, slots=2, initial=2, stage_impressions=1)
        )
        told, _ = env.reset(seed=1)
        rate = env.expected_rewards()[:, :2].ravel()
        effect, content = np.log(rate / (1 - rate)), told["content"].reshape(2000, -1)
        fit = content @ np.linalg.lstsq(content, effect, rcond=None)[0]
        assert np.corrcoef(fit, effect)[0, 1] == pytest.approx(
            np.sqrt(share), abs=0.065 if share < 1 else 1e-3
        )


def test_variants_are_the_same_whatever_was_shown() -> None:
    """The second arrival is the same variant, early or late, in this slot or that."""
    env = GenerationVectorEnv(1, with_fields(arrival_rate=1.0, stages=9))
    first, _ = env.reset(seed=3)
    a = env.step(np.array([0]))[0]["content"][0, 2]
    env.reset(seed=3)
    env.step(np.array([4]))
    b = env.step(np.array([0]))[0]["content"][0, 1]
    np.testing.assert_array_equal(a, b)
    assert (a != first["content"][0, 0]).any()


def test_rotating_beats_wearing_one_out_and_truth_beats_chance() -> None:
    """z above 4 over 300 items (false alarm 3 in 100,000)."""
    env = GenerationVectorEnv(300)

    def show_any(_: Any, told: Any) -> Any:
        rng = np.random.default_rng(int(told["arms"][..., 2].sum() * 1e3) % 2**32)
        return (rng.random(told["mask"].shape) * told["mask"])[:, :6].argmax(axis=1)

    truth, shown, chance = (totals(env, choose, 2) for choose in (oracle, show_any, random_choice()))
    assert z_of_difference(truth, shown) > 4
    assert z_of_difference(truth, chance) > 4


@pytest.mark.parametrize("fields", [{"reward": "fame"}, {"initial": 1}, {"arrival_rate": 1.5}, {"stages": 0}])
def test_configurations_that_make_no_sense(fields: Any) -> None:
    with pytest.raises(UsageError):
        with_fields(**fields)
