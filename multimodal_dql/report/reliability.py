"""How far stated probabilities of being best can be believed: bin by bin, for the page and for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from multimodal_dql.report import numbers, plots
from multimodal_dql.report.texts import Texts

if TYPE_CHECKING:
    from multimodal_dql.calibration import ReliabilityBin

__all__ = ["ReliabilityRow", "reliability_to_list", "reliability_view"]


@dataclass(frozen=True)
class ReliabilityRow:
    """One bin: what was said, what came, and a drawing of both with the interval of what came."""

    said: str
    came: str
    chart: Markup


def reliability_view(bins: Sequence[ReliabilityBin], t: Texts) -> tuple[ReliabilityRow, ...]:
    """The rows of the section; the upright line is what was said, the dot with its interval what came."""
    scale = plots.Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
    return tuple(
        ReliabilityRow(
            t("reliability_said", stated=numbers.rate(b.stated), n=numbers.count(b.variants)),
            t(
                "reliability_came",
                true=numbers.rate(b.true),
                low=numbers.rate(b.true_low),
                high=numbers.rate(b.true_high),
            ),
            plots.interval(scale, b.true, b.true_low, b.true_high, zero=b.stated),
        )
        for b in bins
    )


def reliability_to_list(bins: Sequence[ReliabilityBin]) -> list[dict[str, Any]]:
    """The bins as JSON types."""
    return [asdict(b) for b in bins]
