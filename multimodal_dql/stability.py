"""How steadily a training went: its metrics and what its monitors said, in a few numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from multimodal_dql.errors import RunError
from multimodal_dql.metrics import METRICS_FILE, read_metrics
from multimodal_dql.monitors import ACTIONS, Finding
from multimodal_dql.run_file import read_file

__all__ = ["STABILITY_FILE", "Stability", "Verdict", "findings_text", "read_stability", "summarise"]

STABILITY_FILE = "stability.json"

Verdict = Literal["steady", "watch", "repaired", "stopped"]
_GRAVEST: tuple[tuple[str, Verdict], ...] = (("stop", "stopped"), ("lower", "repaired"), ("skip", "repaired"))


@dataclass(frozen=True)
class Stability:
    """A training in a few numbers; means over its first and last quarter. NaN where nothing was measured.

    Attributes:
        verdict: the gravest action of a monitor: ``steady`` none, ``watch`` a warning, ``repaired`` something was left
            out or the learning rate lowered, ``stopped``.
        iterations: that were measured.
        q_mean: mean maximal Q at the start of visits, late, in average clicks.
        return_mean: realised discounted return of the same visits, late, in average clicks.
        gradient_norm: before clipping, late.
        churn_early: share of probe decisions whose greedy candidate changed from one iteration to the next, early.
        churn: the same, late.
        dead_share: share of hidden units that were zero on every probe decision, at the end.
        findings: what monitors said, in order.
    """

    verdict: Verdict
    iterations: int
    q_mean: float
    return_mean: float
    gradient_norm: float
    churn_early: float
    churn: float
    dead_share: float
    findings: tuple[Finding, ...] = ()

    @property
    def overestimate(self) -> float:
        """Q over realised return, late: 1 is honest, 2 promises twice what comes."""
        return self.q_mean / self.return_mean if self.return_mean > 0 else math.nan


def summarise(values: Mapping[str, Sequence[float]], findings: Sequence[Finding]) -> Stability:
    """The stability of a training.

    Args:
        values: metrics by name, one number an iteration.
        findings: what its monitors said.
    """
    length = max((len(series) for series in values.values()), default=0)
    quarter = max(length // 4, 1)

    def mean(name: str, part: slice) -> float:
        known = [v for v in values.get(name, ())[part] if math.isfinite(v)]
        return fmean(known) if known else math.nan

    early, late = slice(0, quarter), slice(-quarter, None)
    actions = {found.action for found in findings}
    verdict: Verdict = "watch" if actions else "steady"
    for action, name in reversed(_GRAVEST):
        verdict = name if action in actions else verdict
    return Stability(
        verdict=verdict,
        iterations=length,
        q_mean=mean("q_mean", late),
        return_mean=mean("return_mean", late),
        gradient_norm=mean("gradient_norm", late),
        churn_early=mean("churn", early),
        churn=mean("churn", late),
        dead_share=mean("dead_share", slice(-1, None)),
        findings=tuple(findings),
    )


def findings_text(findings: Sequence[Finding]) -> str:
    """The text of ``stability.json``; JSON has no word for not-a-number, which becomes null."""
    rows = [
        {
            name: value if isinstance(value, str) or math.isfinite(value) else None
            for name, value in row.items()
        }
        for row in map(asdict, findings)
    ]
    return json.dumps({"findings": rows}, indent=1) + "\n"


def read_stability(run: Path) -> Stability:
    """The stability of a run, from its ``metrics.jsonl`` and ``stability.json``.

    Raises:
        RunError: one of them is missing or damaged.
    """
    try:
        data = json.loads(read_file(run / STABILITY_FILE))
        # A value that was not finite is null in the file.
        found = [
            Finding(
                str(f["monitor"]),
                int(f["iteration"]),
                *(math.nan if f[name] is None else float(f[name]) for name in ("value", "limit")),
            )
            for f in data["findings"]
        ]
        if not all(f.monitor in ACTIONS for f in found):
            raise ValueError("a monitor that is not known")
        _, values = read_metrics(run)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RunError(
            path=run,
            detail=f"has no record of its training ({METRICS_FILE}, {STABILITY_FILE}); train anew",
            detail_zh=f"没有训练记录（{METRICS_FILE}、{STABILITY_FILE}）；请重新训练",
        ) from error
    return summarise(values, found)
