"""Policies by name: ``make_policy("ucb:z=.04")``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.policies.bandits import EbUcb, EpsilonGreedy, Lola, Ucb
from multimodal_dql.policies.base import First, Policy, Uniform
from multimodal_dql.policies.explore_commit import ExploreCommit
from multimodal_dql.policies.linear import LinearThompson, LinUcb
from multimodal_dql.policies.thompson import Thompson

__all__ = ["Factory", "make_policy", "policy_names", "policy_options"]

Factory = Callable[..., Policy]
"""Makes a policy; its keyword parameters, each with a default, are the options of a spec."""

_BUILT_IN: Mapping[str, Factory] = {
    kind.name: kind
    for kind in (
        Uniform,
        First,
        EpsilonGreedy,
        Thompson,
        Ucb,
        ExploreCommit,
        Lola,
        EbUcb,
        LinUcb,
        LinearThompson,
    )
}
_NEED_AN_AGENT = ("dqn", "learned")


def policy_names(extra: Mapping[str, Factory] | None = None) -> tuple[str, ...]:
    """Every name that `make_policy` knows, `extra` among them, sorted."""
    return tuple(sorted({*_BUILT_IN, *(extra or {})}))


def make_policy(spec: str, *, seed: int = 0, extra: Mapping[str, Factory] | None = None) -> Policy:
    """A policy from its name and options, for example ``ucb``, ``ucb:z=.04`` or ``thompson:epsilon=0``.

    Args:
        spec: ``name`` or ``name:option=value,option=value``.
        seed: passed to policies that draw; a seed in the spec goes first.
        extra: further factories by name, a trained agent's (``dqn``) or a plug-in's; they go before the built-in.

    Raises:
        UnknownNameError: no such policy.
        UsageError: an option that the policy does not have, or a value it cannot take.
    """
    name, _, listed = (part.strip() for part in spec.partition(":"))
    known = {**_BUILT_IN, **(extra or {})}
    if name not in known and name in _NEED_AN_AGENT:
        raise UsageError(
            detail=f"policy '{name}' is a trained agent; name the run directory it is in",
            detail_zh=f"策略 “{name}” 是训练好的智能体；请给出它的运行目录",
        )
    if name not in known:
        raise UnknownNameError(kind="policy", kind_zh="策略", name=name, known=known)
    defaults = policy_options(known[name])
    chosen = _read_options(name, listed, defaults)
    if "seed" in defaults:
        chosen.setdefault("seed", seed)
    return known[name](**chosen)


def policy_options(factory: Factory) -> dict[str, Any]:
    """The options of a factory with their defaults."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _read_options(name: str, listed: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``a=1,b=2`` as values of the types of `defaults`."""
    out: dict[str, Any] = {}
    for pair in (part.strip() for part in listed.split(",") if part.strip()):
        option, equals, text = (part.strip() for part in pair.partition("="))
        if option not in defaults or not equals or option in out:
            raise _bad_option(name, pair, option, defaults, twice=option in out)
        out[option] = _read_value(name, option, text, defaults[option])
    return out


def _bad_option(name: str, pair: str, option: str, defaults: Mapping[str, Any], *, twice: bool) -> UsageError:
    """What is wrong with one ``option=value``, and which options there are."""
    options = ", ".join(f"{key}={value}" for key, value in defaults.items())
    cure = f"its options and defaults: {options}" if options else "it takes none"
    cure_zh = f"可用的选项及默认值：{options}" if options else "它没有选项"
    if twice:
        wrong, wrong_zh = f"option '{option}' is given twice", f"选项 “{option}” 重复"
    elif option in defaults:
        wrong, wrong_zh = f"'{pair}' is not option=value", f"“{pair}” 不是 选项=值 的形式"
    else:
        wrong, wrong_zh = f"there is no option '{option}'", f"没有选项 “{option}”"
    return UsageError(
        detail=f"policy '{name}': {wrong}; {cure}", detail_zh=f"策略 “{name}”：{wrong_zh}；{cure_zh}"
    )


def _read_value(name: str, option: str, text: str, default: Any) -> Any:
    """`text` as the type of `default`: a whole number, a number, yes or no, or a text."""
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except (KeyError, ValueError):
        kind = {bool: ("true or false", " true 或 false"), int: ("a whole number", "整数")}.get(
            type(default), ("a number", "数字")
        )
        raise UsageError(
            detail=f"policy '{name}': {option}={text}; write {kind[0]}, for example {option}={default}",
            detail_zh=f"策略 “{name}”：{option}={text}；请写{kind[1]}，例如 {option}={default}",
        ) from None
    return text
