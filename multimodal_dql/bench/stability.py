"""Whether training comes out alike whatever the seed: gain, changing choices and monitors over several seeds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from multimodal_dql.errors import TrainingError
from multimodal_dql.evaluation.seeds import interquartile_mean, stratified_interval
from multimodal_dql.features import Features
from multimodal_dql.monitors import Action
from multimodal_dql.pipeline import offline_test
from multimodal_dql.report.export import json_number
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.stability import Stability, read_stability
from multimodal_dql.train_config import TrainConfig
from multimodal_dql.training import train

__all__ = ["bench_stability"]

_GRAVITY: tuple[Action, ...] = ("warn", "skip", "lower", "stop")


def bench_stability(
    encoded: Features,
    seeds: int,
    *,
    iterations: int = 40,
    sessions: int = 2000,
    first: int = 0,
    audience: EngagementConfig | None = None,
) -> dict[str, Any]:
    """Train with several seeds, each in front of an audience of its own, and compare the outcomes.

    Args:
        encoded: the catalogue's features.
        seeds: how many.
        iterations: of each training.
        sessions: of each offline test.
        first: seed; the others follow it.
        audience: parameters of the simulated audience.

    Returns:
        ``uplift`` over each rule (interquartile mean over seeds with a 95 % bootstrap interval), ``churn``,
        ``overestimate``, ``worst_monitor`` (None when none spoke), ``stopped`` (seeds) and ``runs``.
    """
    runs = [_run(encoded, first + i, iterations, sessions, audience) for i in range(seeds)]
    ended = [run for run in runs if run["uplift"] is not None]
    uplift = {}
    for against in ("first", "uniform"):
        scores = [run["uplift"][against] for run in ended]
        if scores:
            low, high = stratified_interval(scores)
            uplift[against] = {"iqm": interquartile_mean(scores), "low": low, "high": high}
    said = [found for run in runs for found in run["findings"]]
    worst = max(said, key=lambda found: _GRAVITY.index(found["action"]), default=None)
    return {
        "seeds": seeds,
        "iterations": iterations,
        "sessions": sessions,
        "uplift": uplift,
        "churn": _mean([run["churn"] for run in runs]),
        "churn_early": _mean([run["churn_early"] for run in runs]),
        "overestimate": _mean([run["overestimate"] for run in runs]),
        "worst_monitor": worst,
        "stopped": [run["seed"] for run in runs if run["uplift"] is None],
        "runs": runs,
    }


def _run(
    encoded: Features, seed: int, iterations: int, sessions: int, audience: EngagementConfig | None
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        config = replace(TrainConfig(), iterations=iterations, seed=seed)
        uplift = None
        try:
            agent, world = train(encoded, config, audience, run=Path(folder))
            test = offline_test(agent, world, encoded, seed=seed, sessions=sessions)
            uplift = {c.against: c.uplift for c in test.comparisons}
        except TrainingError:
            pass  # its findings say why; the seed counts as stopped
        return {"seed": seed, "uplift": uplift, **_told(read_stability(Path(folder)))}


def _told(stability: Stability) -> dict[str, Any]:
    return {
        "verdict": stability.verdict,
        "churn_early": json_number(stability.churn_early),
        "churn": json_number(stability.churn),
        "overestimate": json_number(stability.overestimate),
        "findings": [
            {"monitor": f.monitor, "action": f.action, "iteration": f.iteration} for f in stability.findings
        ],
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return interquartile_mean(known) if known else None
