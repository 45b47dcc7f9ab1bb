"""Small offline A/B simulations, run for real, one for each way in which an experiment can end."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.analysis import Analysis, ArmComparison, analyse
from multimodal_dql.simulation.arms import Arm
from multimodal_dql.simulation.experiment import Plan
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.trial import Trial, run_trial
from tests.report.samples import HOSTILE
from tests.simulation.worlds import world

STORIES = tuple(f"story-{i}" for i in range(12))
RANDOMISED = Plan(sessions=400, design="randomised")
NAMED = ("winners", "same", "open", "invalid", "alone", "unbounded", "hostile", "early")
"""What `trial` knows."""


@cache
def _stage() -> Stage:
    return Stage.of(world(0, items=len(STORIES)))


def _run(arms: dict[str, str], plan: Plan, analysis: Analysis, stories: tuple[str, ...] = STORIES) -> Trial:
    made = [Arm(name, make_policy(spec)) for name, spec in arms.items()]
    return run_trial(_stage(), made, plan, analysis, item_ids=stories)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


@cache
def trial(name: str) -> Trial:
    """The trial of that name, made once."""
    if name == "winners":
        plan = Plan(sessions=2000, refresh=200)
        return _run(_same("first", "uniform", "thompson"), plan, Analysis(against="first"))
    if name == "same":  # the same sessions, read by someone who would not mind 90 %
        found = trial("winners")
        analysis = replace(found.verdict.analysis, minimum_effect=0.9)
        return replace(found, verdict=analyse(found.collected, analysis))
    if name == "open":
        return _run(_same("uniform", "first"), RANDOMISED, Analysis(against="uniform"))
    if name == "invalid":  # the same sessions, had three quarters of them been meant for the other arm
        found = trial("open")
        collected = replace(found.collected, plan=replace(found.collected.plan, shares=(1.0, 3.0)))
        return replace(found, collected=collected, verdict=analyse(collected, found.verdict.analysis))
    if name == "alone":
        return _run(_same("uniform"), Plan(sessions=100), Analysis(against="uniform"))
    if name == "unbounded":
        few = replace(RANDOMISED, sessions=40)
        return _run(_same("uniform", "first"), few, Analysis(against="uniform", rule="anytime"))
    if name == "hostile":
        arms = {HOSTILE: "uniform", "\x1b[31m</style><b>": "first"}
        stories = (HOSTILE, "古桥下的夜市", *STORIES[2:])
        return _run(arms, Plan(sessions=200), Analysis(against=HOSTILE), stories)
    if name == "early":
        plan = Plan(sessions=4000, looks=4)
        analysis = Analysis(against="uniform", rule="group-sequential", minimum_effect=0.9)  # easily met
        return _run({"uniform": "uniform", "first": "first", "ucb:z=.5": "ucb:z=.5"}, plan, analysis)
    raise KeyError(name)


def edited(name: str, *changes: dict[str, object]) -> Trial:
    """A trial whose first comparisons say something else."""
    found = trial(name)
    said: list[ArmComparison] = list(found.verdict.comparisons)
    for i, change in enumerate(changes):
        said[i] = replace(said[i], **change)  # type: ignore[arg-type]
    return replace(found, verdict=replace(found.verdict, comparisons=tuple(said)))
