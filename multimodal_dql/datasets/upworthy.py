"""The columns of the Upworthy Research Archive, and which of its tests to leave out.

Source: Matias, Munger, Le Quere, Ebersole (2021), The Upworthy Research Archive, a time series of 32,487 experiments in
U.S. media, Scientific Data 8:195; https://osf.io/jd64p/, CC BY 4.0. The archive is not shipped here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

__all__ = [
    "ARM_COLUMNS",
    "LEAKY_COLUMNS",
    "RISK_WINDOW",
    "created_of",
    "in_risk_window",
    "is_upworthy",
]

ARM_COLUMNS = {
    "test": "clickability_test_id",
    "headline": "headline",
    "image": "eyecatcher_id",
    "impressions": "impressions",
    "clicks": "clicks",
}
"""What is read, under the names used here. The columns ``excerpt`` and ``lede`` were not shown in the tests; a
picture is an id only, its file is not part of the archive."""

LEAKY_COLUMNS = ("significance", "winner", "first_place")
"""Dashboard values from after a test. They hold its outcome, so they are never read and never features."""

RISK_WINDOW = (np.datetime64("2013-06-25"), np.datetime64("2014-01-10"))
"""First and last day (UTC) on which tests were created that the archive's authors advise to leave out: most of them
fail a sample-ratio check, so their arms did not meet the same readers."""

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)


def is_upworthy(columns: Iterable[str]) -> bool:
    """Whether a table with these columns is from the archive."""
    return ARM_COLUMNS["test"] in set(columns)


def created_of(test_id: str) -> np.datetime64:
    """When a test was created: the first four bytes of its id are seconds since 1970 (UTC), as in any MongoDB ObjectId.

    >>> str(created_of("546d88fb0000000000000000"))
    '2014-11-20T06:23:55'
    """
    if not _OBJECT_ID.fullmatch(test_id):
        return np.datetime64("NaT", "s")
    return np.datetime64(int(test_id[:8], 16), "s")


def in_risk_window(flag: object, created: np.datetime64) -> bool:
    """Whether a row is from the risk window: by its column ``srm_window_risk`` if it has one, else by its day.

    The column comes with some copies of the archive; the original download has none.
    """
    if flag is not None and str(flag).strip():
        return str(flag).strip().lower() in ("1", "1.0", "true")
    if np.isnat(created):
        return False
    day = created.astype("datetime64[D]")
    return bool(RISK_WINDOW[0] <= day <= RISK_WINDOW[1])
