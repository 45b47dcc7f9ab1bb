"""Whether off-policy evaluation keeps its promises: coverage of intervals behind the gate, and the choice of estimator.

Everything runs on logs with a known truth (`ope_worlds`); the reward model is fitted on each log, and cannot see the
audience's segments, so the direct method is biased wherever the target makes use of them.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.ope_worlds import Setting, World, draw_setting, grid
from multimodal_dql.evaluation.ope import Evaluation, EvaluationResult

__all__ = ["bench_ope_coverage"]

Array = NDArray[np.float64]
NAMES = ("ips", "snips", "cips", "dm", "dr", "sndr", "switch_dr", "dr_os")
CALIBRATED = ("ips", "snips", "dr", "sndr")
"""Estimators whose bias vanishes: those whose intervals promise to cover."""
SHARE = 25  # logs of a task
_GRID = 1 << 20  # seeds of the grid, away from those of the coverage


def bench_ope_coverage(
    logs: int = 2000, repeats: int = 25, bootstraps: int = 1000, seed: int = 0, workers: int = 0
) -> dict[str, Any]:
    """Measure coverage and selection.

    Args:
        logs: that pass the gate; as many more are drawn as it refuses.
        repeats: logs of each of the 24 settings, each from a world of its own.
        bootstraps: resamples of each log.
        seed: of the worlds and logs.
        workers: processes; 0 is one a processor. The numbers do not depend on it.
    """
    start = time.perf_counter()
    with ProcessPoolExecutor(workers or os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        drawn: list[_Covered] = []
        first = seed * 1_000_003
        while sum(log["passed"] for log in drawn) < logs:
            starts = range(first, first + 4 * SHARE, SHARE)
            for part in pool.map(_cover, starts, [bootstraps] * len(starts)):
                drawn += part
            first = starts[-1] + SHARE
        drawn = drawn[: int(np.flatnonzero([log["passed"] for log in drawn])[logs - 1]) + 1]
        tables = list(pool.map(_errors, range(len(grid())), [repeats] * len(grid()), [seed] * len(grid())))
    return {
        "coverage": _coverage(drawn),
        "selection": _selection(tables, repeats),
        "seconds": round(time.perf_counter() - start, 1),
    }


_Covered = dict[str, Any]


def evaluate(setting: Setting, seed: int, bootstraps: int) -> tuple[float, EvaluationResult]:
    """The truth of a world, and what a log of it says."""
    world = World.draw(setting, seed)
    evaluation = Evaluation(
        NAMES, bootstraps=bootstraps, seed=seed, reward_range=(0.0, 1.0), unit_rows=setting.unit_rows
    )
    return world.truth, evaluation.update(world.log(seed)).result()


def _cover(first: int, bootstraps: int) -> list[_Covered]:
    """Which intervals of some logs hold the truth."""
    found = []
    for seed in range(first, first + SHARE):
        truth, result = evaluate(draw_setting(seed), seed, bootstraps)
        held = {
            f"{name} {method}": low <= truth <= high
            for name in NAMES
            for method, (low, high) in result.estimates[name].intervals.items()
        }
        headline = result.estimates[result.headline]
        held["headline"] = headline.low <= truth <= headline.high
        found.append({"passed": result.verdict.answerable, **held})
    return found


def _coverage(drawn: list[_Covered]) -> dict[str, Any]:
    passed = [log for log in drawn if log["passed"]]
    refused = [log for log in drawn if not log["passed"]]

    def share(logs: list[_Covered], what: str) -> float:
        return float(np.mean([log[what] for log in logs])) if logs else float("nan")

    methods = ("normal", "bootstrap")
    return {
        "logs": len(passed),
        "refused": len(refused),
        "nominal": 0.95,
        "monte_carlo_error": float(np.sqrt(0.95 * 0.05 / len(passed))),
        "headline": share(passed, "headline"),
        "passed": {n: {m: share(passed, f"{n} {m}") for m in methods} for n in NAMES},
        "refused_logs": {n: {m: share(refused, f"{n} {m}") for m in methods} for n in CALIBRATED},
        "anytime_all_logs": share(drawn, "ips anytime"),
    }


def _errors(index: int, repeats: int, seed: int) -> dict[str, Any]:
    """Squared errors of every estimator, and of the one that was chosen, in one setting."""
    setting = grid()[index]
    errors: dict[str, list[float]] = {name: [] for name in (*NAMES, "chosen")}
    passed, names = 0, []
    for repeat in range(repeats):
        truth, result = evaluate(setting, _GRID + seed * 1_000_003 + 1000 * index + repeat, 0)
        for name in NAMES:
            errors[name].append((result.estimates[name].value - truth) ** 2)
        errors["chosen"].append((result.estimates[result.headline].value - truth) ** 2)
        passed += result.verdict.answerable
        names.append(result.headline)
    return {
        "rows": setting.rows,
        "actions": setting.actions,
        "floor": setting.floor,
        "clicks": setting.noisy,
        "deterministic": setting.deterministic,
        "passed": passed / repeats,
        "chosen": max(set(names), key=names.count),
        "mse": {name: float(np.mean(values)) for name, values in errors.items()},
    }


def _selection(tables: list[dict[str, Any]], repeats: int) -> dict[str, Any]:
    """Mean squared errors averaged over the settings; and relative to the best estimator of each setting."""
    names = [*NAMES, "chosen"]
    mse = np.array([[table["mse"][name] for name in names] for table in tables])
    average = dict(zip(names, map(float, mse.mean(0)), strict=True))
    best = min(NAMES, key=average.__getitem__)
    relative = mse / mse[:, : len(NAMES)].min(1, keepdims=True)
    return {
        "measure": "mean squared error, averaged over the settings",
        "settings": len(tables),
        "repeats": repeats,
        "mse": average,
        "best_single": best,
        "chosen_over_best_single": average["chosen"] / average[best],
        "mean_ratio_to_best_of_setting": dict(zip(names, map(float, relative.mean(0)), strict=True)),
        "table": tables,
    }
