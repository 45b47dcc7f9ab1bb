"""Whether an agent is as sure as it should be: what it says of stories against what is true of its audience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.calibration import reliability_bins
from multimodal_dql.features import Features
from multimodal_dql.rank import rank
from multimodal_dql.setting import Setting, read_setting
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.typical import true_rates, typical_impressions

__all__ = ["BINS", "bench_calibration"]

BINS = (0.0, 0.05, 0.15, 0.30, 0.50, 0.70, 0.85, 1.0)


@dataclass(frozen=True)
class _Statements:
    """What was stated and what is true of every variant: (N,) each."""

    inside: NDArray[np.bool_]
    stated: NDArray[np.float64]
    best: NDArray[np.bool_]


def bench_calibration(runs: Sequence[Path], encode: Any) -> dict[str, Any]:
    """Pool the statements of several runs about the catalogue that `encode(encoders)` gives.

    A run is judged in front of the audience that it was trained for, each story by members that did not learn from it.

    Args:
        runs: directories of training runs.
        encode: from names of encoders to the features of a catalogue.
    """
    found = []
    for run in runs:
        setting = read_setting(run, None)
        if setting.agent is not None:
            found.append(_statements(setting, encode(list(setting.agent.encoders))))
    stated = np.concatenate([f.stated for f in found])
    best = np.concatenate([f.best for f in found])
    rows = [
        {"from": b.low, "to": b.high, "variants": b.variants, "stated": b.stated, "true": b.true}
        for b in reliability_bins(stated, best, BINS)
    ]
    return {
        "coverage_90": [float(f.inside.mean()) for f in found],
        "probability_of_being_best": rows,
        "runs": [str(run) for run in runs],
    }


def _statements(setting: Setting, encoded: Features) -> _Statements:
    """The ranking of one run against the truth of its audience."""
    seed = int(setting.agent.facts["training"]["seed"]) if setting.agent else 0
    stage: Stage = Setting(setting.agent, setting.audience, setting.config, seed).stage(encoded)
    rates = true_rates(stage, typical_impressions(stage, seed, 1024))
    if setting.agent is None:
        raise ValueError("a run holds an agent")
    ranking = rank(setting.agent, encoded)
    inside, stated, best = [], [], []
    for i, (item, entry) in enumerate(zip(ranking.items, encoded.catalogue.items, strict=True)):
        slot = {v.variant_id: k for k, v in enumerate(entry.variants)}
        for v in item.variants:
            truth = rates[i, slot[v.variant_id]]
            inside.append(v.click_rate_low <= truth <= v.click_rate_high)
            stated.append(v.probability_best)
            best.append(truth == rates[i].max())
    return _Statements(np.array(inside), np.array(stated), np.array(best))
