"""The two ways to rank a catalogue: by a trained agent, or by past A/B tests alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal_dql.commands.common import encode_for
from multimodal_dql.terminal import progress

if TYPE_CHECKING:
    from multimodal_dql.datasets.catalogue import Catalogue
    from multimodal_dql.ranking import Ranking

__all__ = ["rank_with_agent", "rank_with_prior"]


def rank_with_agent(
    run: Path, read: Catalogue, context: Sequence[str], *, strict: bool, out: Path | None
) -> tuple[Ranking, Catalogue]:
    """The ranking, and the catalogue without what could not be encoded."""
    from multimodal_dql.agent import Agent
    from multimodal_dql.rank import rank
    from multimodal_dql.report.output import writable_folder

    learned = Agent.load(run)
    fixed = learned.context.parse(list(context))
    if out is not None:
        writable_folder(out)
    encoded = encode_for(learned, run, read, strict)
    shown = dict(pair.split("=", 1) for pair in context)
    return rank(learned, encoded, fixed, shown=shown), encoded.catalogue


def rank_with_prior(run: Path, read: Catalogue, *, out: Path | None) -> Ranking:
    """Texts alone, by what past tests say of them."""
    from multimodal_dql.prior import check_encoders, rank_by_prior, read_prior, rows_of, score_rows
    from multimodal_dql.report.output import writable_folder

    fitted = read_prior(run)
    check_encoders(fitted, run)
    if out is not None:
        writable_folder(out)
    with progress() as tick:
        scores = score_rows(fitted, rows_of(read), progress=tick)
    return rank_by_prior(fitted, read, scores)
