"""Policies by name and options."""

from __future__ import annotations

import pytest

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.policies.base import First, Policy
from multimodal_dql.policies.linear import LinearThompson
from multimodal_dql.policies.registry import make_policy, policy_names, policy_options
from multimodal_dql.policies.thompson import Thompson

NAMES = (
    "eb-ucb",
    "epsilon-greedy",
    "explore-commit",
    "first",
    "linear-thompson",
    "linucb",
    "lola",
    "thompson",
    "ucb",
    "uniform",
)


def test_every_name_makes_a_policy_of_that_name() -> None:
    assert policy_names() == NAMES
    assert [make_policy(name).name for name in NAMES] == list(NAMES)


def test_options_are_read_by_type() -> None:
    ucb = make_policy(" ucb: z = .04 ")
    assert ucb.z == 0.04  # type: ignore[attr-defined]
    policy = make_policy("linear-thompson:draws=50,noise=1e-1")
    assert isinstance(policy, LinearThompson)
    assert (policy.draws, policy.noise) == (50, 0.1)


def test_the_seed_reaches_policies_that_draw_and_the_spec_goes_first() -> None:
    assert make_policy("linear-thompson", seed=7).seed == 7  # type: ignore[attr-defined]
    assert make_policy("linucb:seed=3", seed=7).seed == 3  # type: ignore[attr-defined]


def test_defaults_are_what_the_constructors_say() -> None:
    assert policy_options(Thompson) == {"epsilon": 0.01, "prior_clicks": 1.383, "prior_misses": 96.1}
    assert policy_options(First) == {}


@pytest.mark.parametrize(
    ("spec", "said", "said_zh"),
    [
        ("ucb:y=1", "policy 'ucb': there is no option 'y'; its options and defaults: z=0.08", "没有选项 “y”"),
        ("ucb:z", "'z' is not option=value", "不是 选项=值"),
        ("ucb:z=1,z=2", "option 'z' is given twice", "重复"),
        ("ucb:z=fast", "z=fast; write a number, for example z=0.08", "请写数字"),
        ("ucb:z=-1", "z is -1.0; write a number from 0 upward", "不小于 0"),
        ("linear-thompson:draws=2.5", "draws=2.5; write a whole number", "请写整数"),
        ("uniform:z=1", "policy 'uniform': there is no option 'z'; it takes none", "它没有选项"),
        ("dqn", "policy 'dqn' is a trained agent; name the run directory", "运行目录"),
        ("learned", "policy 'learned' is a trained agent", "运行目录"),
    ],
)
def test_bad_options_are_refused_with_the_cure(spec: str, said: str, said_zh: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_policy(spec)
    assert said in str(caught.value)
    assert said_zh in caught.value.text("zh")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "said"), [("thomson", "did you mean 'thompson'"), ("", "known: eb-ucb, ")])
def test_unknown_names_are_refused_with_a_near_one(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said) as caught:
        make_policy(name)
    assert "策略" in caught.value.text("zh")


def test_other_factories_join_with_their_own_options() -> None:
    class Shy(First):
        def __init__(self, loud: bool = False, word: str = "嗯") -> None:
            self.loud, self.word = loud, word

    extra = {"shy": Shy, "dqn": First, "ucb": Shy}
    made: Policy = make_policy("shy:loud=yes,word=好", extra=extra)
    assert isinstance(made, Shy)
    assert made.loud is True
    assert made.word == "好"
    assert isinstance(make_policy("dqn", extra=extra), First)
    assert isinstance(make_policy("ucb", extra=extra), Shy)
    assert policy_names(extra) == tuple(sorted({*NAMES, "shy", "dqn"}))
    with pytest.raises(UsageError, match="loud=maybe; write true or false"):
        make_policy("shy:loud=maybe", extra=extra)
    with pytest.raises(UnknownNameError, match="did you mean 'shy'"):
        make_policy("shyy", extra=extra)
