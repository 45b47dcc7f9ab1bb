"""Rankings and comparisons for other programs: plain dictionaries for JSON, and CSV for spreadsheets.

The keys and columns are a contract: more may be added, none is renamed or removed without a new
`SCHEMA_VERSION`.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.errors import Lang, Problem
from multimodal_dql.evaluation.statistics import Comparison
from multimodal_dql.ranking import RankedVariant, Ranking
from multimodal_dql.report.output import write_text
from multimodal_dql.report.usertext import for_spreadsheet, variants_by_key, without_folder

__all__ = [
    "CSV_COLUMNS",
    "SCHEMA_VERSION",
    "comparison_to_dict",
    "json_number",
    "ranking_to_dict",
    "write_csv",
]

SCHEMA_VERSION = 1

CSV_COLUMNS = (
    "item_id",
    "title",
    "verdict",
    "rank",
    "variant_id",
    "headline",
    "image",
    "audio",
    "probability_best",
    "click_rate",
    "click_rate_low",
    "click_rate_high",
    "lift",
    "lift_low",
    "lift_high",
    "q_value",
    "main_reason",
    "evidence",
)


def json_number(value: float) -> float | None:
    """`value` for JSON, which has no word for not-a-number and infinity: those become null."""
    return float(value) if math.isfinite(value) else None


def ranking_to_dict(ranking: Ranking) -> dict[str, Any]:
    """`ranking` as JSON types: ``items``, ``evidence`` (and ``_zh``), ``context``, ``skipped``, ``agent``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "items": [
            {
                "item_id": item.item_id,
                "verdict": item.verdict,
                "variants": [_variant(variant) for variant in item.variants],
            }
            for item in ranking.items
        ],
        "evidence": ranking.evidence,
        "evidence_zh": ranking.evidence_zh,
        "context": dict(ranking.context),
        "skipped": [_problem(problem) for problem in ranking.skipped],
        "agent": dict(ranking.agent),
    }


def _variant(variant: RankedVariant) -> dict[str, Any]:
    return {
        "variant_id": variant.variant_id,
        "rank": variant.rank,
        "q_value": json_number(variant.q_value),
        "probability_best": json_number(variant.probability_best),
        "click_rate": json_number(variant.click_rate),
        "click_rate_low": json_number(variant.click_rate_low),
        "click_rate_high": json_number(variant.click_rate_high),
        "lift": json_number(variant.lift),
        "lift_low": json_number(variant.lift_low),
        "lift_high": json_number(variant.lift_high),
        "reasons": [
            {"kind": reason.kind, "effect": json_number(reason.effect), "en": reason.en, "zh": reason.zh}
            for reason in variant.reasons
        ],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "item_id": problem.item_id,
        "variant_id": problem.variant_id,
        "where": problem.where,
        "severity": problem.severity,
        "en": problem.error.text("en"),
        "zh": problem.error.text("zh"),
    }


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """`comparison` as JSON types; ``items`` holds the uplift of each story."""
    return {
        "schema_version": SCHEMA_VERSION,
        "arm": comparison.arm,
        "against": comparison.against,
        "uplift": json_number(comparison.uplift),
        "low": json_number(comparison.low),
        "high": json_number(comparison.high),
        "arm_rate": json_number(comparison.arm_rate),
        "against_rate": json_number(comparison.against_rate),
        "sessions": comparison.sessions,
        "items": [
            {"item_id": item_id, "uplift": json_number(float(uplift))}
            for item_id, uplift in zip(comparison.item_ids, comparison.item_uplift, strict=True)
        ],
    }


def write_csv(ranking: Ranking, path: str | Path, catalogue: Catalogue, *, lang: Lang = "en") -> Path:
    """One row a variant, `CSV_COLUMNS`, best first within each item; returns the path.

    The file starts with a byte order mark, without which spreadsheet programs garble Chinese. Users' text
    that a spreadsheet would run as a formula gets an apostrophe before it. Numbers are written in full
    precision.

    Args:
        ranking: what to write.
        path: the file; missing folders are made.
        catalogue: where headlines and media paths come from.
        lang: language of the reason and the evidence.

    Raises:
        OutputError: `path` cannot be written.

    """
    known = variants_by_key(catalogue)
    titles = {item.item_id: item.title for item in catalogue.items}
    evidence = ranking.evidence_zh if lang == "zh" else ranking.evidence
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    for item in ranking.items:
        for ranked in item.variants:
            variant = known.get((item.item_id, ranked.variant_id))
            texts = (
                variant.caption if variant else None,
                _place(variant.image, catalogue) if variant else None,
                _place(variant.audio, catalogue) if variant else None,
            )
            reason = ranked.reasons[0].text(lang) if ranked.reasons else ""
            writer.writerow(
                [
                    for_spreadsheet(item.item_id),
                    for_spreadsheet(titles.get(item.item_id, item.item_id)),
                    item.verdict,
                    ranked.rank,
                    for_spreadsheet(ranked.variant_id),
                    *(for_spreadsheet(text or "") for text in texts),
                    *map(
                        _cell,
                        (
                            ranked.probability_best,
                            ranked.click_rate,
                            ranked.click_rate_low,
                            ranked.click_rate_high,
                            ranked.lift,
                            ranked.lift_low,
                            ranked.lift_high,
                            ranked.q_value,
                        ),
                    ),
                    for_spreadsheet(reason),
                    for_spreadsheet(evidence),
                ]
            )
    return write_text(path, buffer.getvalue(), encoding="utf-8-sig")


def _place(media: Path | None, catalogue: Catalogue) -> str | None:
    """Where `media` is, as catalogues write it: relative to their own folder."""
    return without_folder(str(media), catalogue.path.parent) if media else None


def _cell(value: float) -> float | str:
    """`value` for a cell; an unknown number is an empty cell. A NumPy number would write its type too."""
    return float(value) if math.isfinite(value) else ""
