"""The published tables of zr-obp again: relative error of seven estimators on logs whose answer is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.ope_draws import (
    Log,
    bts_distribution,
    digits_log,
    open_bandit_log,
    read_bts_prior,
    synthetic_log,
)
from multimodal_dql.datasets.open_bandit import read_open_bandit
from multimodal_dql.evaluation.ope import DM, DR, IPS, SNDR, SNIPS, Decisions, DRos, Estimator, SwitchDR

__all__ = ["PUBLISHED", "RUNS", "bench_ope_reference", "relative_errors", "slope_plus"]

Array = NDArray[np.float64]

ESTIMATORS = ("dm", "ipw", "snipw", "dr", "sndr", "switch_dr", "dr_os")
PUBLISHED: dict[str, dict[str, float]] = {
    name: dict(zip(ESTIMATORS, row, strict=True))
    for name, row in (
        ("open_bandit", (0.156876, 0.311082, 0.311795, 0.292464, 0.302407, 0.258410, 0.159520)),
        ("synthetic", (0.074390, 0.009481, 0.006665, 0.006175, 0.006118, 0.006175, 0.021951)),
        ("digits", (0.436541, 0.030288, 0.022764, 0.016156, 0.022082, 0.034657, 0.015868)),
    )
}
"""examples/{obd,synthetic,multiclass}/README.md of github.com/st-tech/zr-obp, mean over the runs."""
RUNS = {"open_bandit": 30, "synthetic": 20, "digits": 30}
LAMBDAS = (10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10_000.0, float("inf"))
SCREENS = 1_000_000
"""Screens drawn for the distribution of the Thompson sampling policy."""


def bench_ope_reference(
    data: Path,
    *,
    runs: int | None = None,
    screens: int = SCREENS,
    tables: Sequence[str] = tuple(PUBLISHED),
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Mean relative error of each estimator in each table, the published one, and the difference.

    Args:
        data: folder of the Open Bandit Dataset: ``random/all``, ``bts/all`` and ``prior_bts.yaml``.
        runs: of each table; by default as many as the published table has.
        screens: drawn for the Thompson sampling policy; the published table needs `SCREENS`.
        tables: which.
        progress: called with the table, runs done and runs to do.

    Raises:
        EventsError: the data are missing or damaged.
    """
    begun = time.perf_counter()
    makers: dict[str, Callable[[], Callable[[int], Log]]] = {
        "open_bandit": lambda: _open_bandit(data, screens),
        "synthetic": lambda: synthetic_log,
        "digits": lambda: digits_log,
    }
    result: dict[str, Any] = {}
    published, difference, seconds = {}, {}, {}
    for table in tables:
        started, count = time.perf_counter(), runs or RUNS[table]
        draw, errors = makers[table](), []
        for run in range(count):
            errors.append(relative_errors(draw(run)))
            if progress:
                progress(table, run + 1, count)
        means = {name: float(np.mean([of[name] for of in errors])) for name in ESTIMATORS}
        result[table] = {name: round(mean, 6) for name, mean in means.items()}
        seconds[table] = round(time.perf_counter() - started, 1)
        if count == RUNS[table]:
            published[table] = PUBLISHED[table]
            difference[table] = {n: round(means[n] - PUBLISHED[table][n], 6) + 0.0 for n in ESTIMATORS}
    seconds["all"] = round(time.perf_counter() - begun, 1)
    return result | {"published": published, "difference": difference, "seconds": seconds}


def _open_bandit(data: Path, screens: int) -> Callable[[int], Log]:
    """Random policy's log, judged by the mean reward on the Thompson sampling policy's own log."""
    logged = read_open_bandit(data / "random" / "all")
    truth = float(read_open_bandit(data / "bts" / "all").reward.mean())
    alpha, beta = read_bts_prior(data / "prior_bts.yaml", "all")
    positions = int(logged.position.max()) + 1
    distribution = bts_distribution(alpha, beta, positions=positions, draws=screens)
    return lambda run: open_bandit_log(logged, distribution, truth, run)


def relative_errors(log: Log) -> dict[str, float]:
    """|estimate - truth| / truth of each estimator."""
    decisions = Decisions(
        unit=np.arange(len(log.action), dtype=np.uint64),
        reward=log.reward,
        action=log.action,
        propensity=log.propensity,
        target=log.target,
        predicted=log.predicted,
    )
    switch, shrunk = (kind(LAMBDAS[slope_plus(kind(LAMBDAS).terms(decisions))]) for kind in (SwitchDR, DRos))
    estimators: Iterable[Estimator] = (DM(), IPS(), SNIPS(), DR(), SNDR(), switch, shrunk)
    values = [estimator.update(decisions).result().value for estimator in estimators]
    return {name: abs(value - log.truth) / log.truth for name, value in zip(ESTIMATORS, values, strict=True)}


def slope_plus(terms: Array, delta: float = 0.05) -> int:
    """SLOPE as the examples of zr-obp use it (Tucker & Lee 2021): which column to take of terms (N, L).

    The half width c of each column's one-sided Student interval at level `delta` stands for its variance. From the
    widest to the narrowest, a column is kept while its mean is within ``c + (sqrt(6) - 1) c'`` of every kept one's; the
    last one kept is chosen. (0.05 is the default that obp had when the tables were made; today it has 0.1.)
    """
    from scipy.special import stdtrit

    n, means = len(terms), terms.mean(0)
    half = stdtrit(n - 1, 1 - delta) * np.sqrt(terms.var(0) / (n - 1))
    order = np.argsort(half)[::-1]
    for at in range(1, len(order)):
        column, kept = order[at], order[:at]
        if (np.abs(means[kept] - means[column]) > half[column] + (np.sqrt(6) - 1) * half[kept]).any():
            return int(order[at - 1])
    return int(order[-1])
