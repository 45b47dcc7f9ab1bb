"""The engagement model as a file. A file may come from anyone: every number is checked before it is used."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_dql.errors import RunError
from multimodal_dql.simulation.engagement import PARAMETERS, EngagementModel, Evidence

__all__ = ["FILE_NAME", "model_from_json", "model_to_json", "read_engagement"]

FILE_NAME = "engagement.json"
_FORMAT = "multimodal-dql engagement 1"
_MAX_BYTES = 1 << 20
_MAX_ARMS = 1000

# Ranges that keep sampling finite in time and memory; every fit lies far inside.
_RANGES = {
    "base_logit_mean": (-20.0, 20.0),
    "base_logit_sd": (0.0, 10.0),
    "within_logit_sd": (0.0, 10.0),
    "within_df": (2.0 + 1e-6, 1e6),
    "overdispersion": (1.0, 1e4),
    "log_impressions_mean": (0.0, 27.0),
    "log_impressions_test_sd": (0.0, 10.0),
    "log_impressions_arm_sd": (0.0, 10.0),
    "log_impressions_base_slope": (-10.0, 10.0),
    "log_impressions_arms_slope": (-10.0, 10.0),
}


def model_to_json(model: EngagementModel) -> str:
    """The model as text, to be read by `model_from_json`."""
    return json.dumps({"format": _FORMAT, **model.to_dict()}, indent=1, allow_nan=False) + "\n"


def model_from_json(text: str) -> EngagementModel:
    """Read what `model_to_json` wrote. Raises ValueError, saying what is wrong, when it is anything else."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise ValueError(f"it does not say format '{_FORMAT}'")
    known = {"format", "arm_shares", "intervals", "covariance", "evidence", *PARAMETERS}
    if set(data) != known:
        raise ValueError(f"names are missing or too many: {', '.join(sorted(set(data) ^ known))[:200]}")
    numbers = {name: _number(name, data[name], *_RANGES[name]) for name in PARAMETERS}
    return EngagementModel(
        **numbers,
        arm_shares=_arm_shares(data["arm_shares"]),
        intervals=_intervals(data["intervals"]),
        covariance=_covariance(data["covariance"]),
        evidence=_evidence(data["evidence"]),
    )


def read_engagement(run: Path) -> EngagementModel:
    """The model in a run directory, or in a file. Raises `RunError` with the cure."""
    path = run / FILE_NAME if run.is_dir() else run
    cure = "fit it again: multimodal-dql engagement fit TESTS --out RUN"
    cure_zh = "请重新拟合：multimodal-dql engagement fit TESTS --out RUN"
    if not path.is_file():
        raise RunError(
            path=path, detail=f"there is no engagement model; {cure}", detail_zh=f"没有互动模型；{cure_zh}"
        )
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is larger than 1 MB")
        return model_from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = " ".join(str(error).split())
    raise RunError(
        path=path,
        detail=f"is not an engagement model ({why}); {cure}",
        detail_zh=f"不是可用的互动模型（{why}）；{cure_zh}",
    )


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    if not low <= value <= high:  # false for not-a-number too
        raise ValueError(f"{name} is not from {low:g} to {high:g}")
    return float(value)


def _list(name: str, value: Any, longest: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > longest:
        raise ValueError(f"{name} is not a list of at most {longest}")
    return value


def _arm_shares(value: Any) -> tuple[float, ...]:
    shares = tuple(_number("arm_shares", share, 0.0, 1.0) for share in _list("arm_shares", value, _MAX_ARMS))
    if not math.isclose(sum(shares), 1.0, abs_tol=1e-3):
        raise ValueError("arm_shares do not sum to 1")
    return shares


def _intervals(value: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict) or not set(value) <= set(PARAMETERS):
        raise ValueError("intervals are not intervals of the parameters")
    out = {}
    for name, ends in value.items():
        pair = _list("intervals", ends, 2)
        if len(pair) != 2:
            raise ValueError("an interval has two ends")
        low, high = (_number("intervals", end, -1e6, 1e6) for end in pair)
        if low > high:
            raise ValueError("an interval is upside down")
        out[name] = (low, high)
    return out


def _covariance(value: Any) -> tuple[tuple[float, ...], ...]:
    rows = tuple(
        tuple(_number("covariance", number, -1e6, 1e6) for number in _list("covariance", row, 5))
        for row in _list("covariance", value, 5)
    )
    if not rows:
        return rows
    if len(rows) != 5 or any(len(row) != 5 for row in rows):
        raise ValueError("covariance is not 5 x 5")
    matrix = np.array(rows)
    if np.abs(matrix - matrix.T).max() > 1e-6 or np.linalg.eigvalsh(matrix).min() < -1e-6:
        raise ValueError("covariance is not symmetric and positive")
    return rows


def _evidence(value: Any) -> Evidence:
    names = set(vars(Evidence()))
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError("evidence is incomplete")
    if value["pool"] not in ("text", "arm", "none"):
        raise ValueError("evidence.pool is not text, arm or none")
    counts = {}
    for name in names - {"pool", "log_likelihood"}:
        number = _number(name, value[name], 0, 2**53)
        if number != int(number):
            raise ValueError(f"{name} is not a whole number")
        counts[name] = int(number)
    loglik = _number("log_likelihood", value["log_likelihood"], -1e15, 1e15)
    return Evidence(**counts, pool=value["pool"], log_likelihood=loglik)
