"""The content prior: what past A/B tests say of headlines nobody has seen yet, learned through splits without leaks.

`contents` reads and embeds, `blocks` makes the columns, `ridge` is the regression, `model` puts them together; `split`
keeps the answers out, `metrics` and `reliability` say how good it is, `file` and `scoring` put it to use.
"""

from __future__ import annotations

from multimodal_dql.prior.blocks import BlockSettings
from multimodal_dql.prior.catalogue_ranking import rank_by_prior
from multimodal_dql.prior.contents import Contents, headline_contents
from multimodal_dql.prior.file import read_prior, write_prior
from multimodal_dql.prior.metrics import Pairs, gain, pair_correct, pairs_of, ranking, score_p
from multimodal_dql.prior.model import cross_validate, fit_prior
from multimodal_dql.prior.reliability import calibration, recalibrated
from multimodal_dql.prior.ridge import targets
from multimodal_dql.prior.scoring import check_encoders, read_text_rows, rows_of, score_rows
from multimodal_dql.prior.split import apart_from, check_no_leak, time_split

__all__ = [
    "BlockSettings",
    "Contents",
    "Pairs",
    "apart_from",
    "calibration",
    "check_encoders",
    "check_no_leak",
    "cross_validate",
    "fit_prior",
    "gain",
    "headline_contents",
    "pair_correct",
    "pairs_of",
    "rank_by_prior",
    "ranking",
    "read_prior",
    "read_text_rows",
    "recalibrated",
    "rows_of",
    "score_p",
    "score_rows",
    "targets",
    "time_split",
    "write_prior",
]
