"""Columns of an A/B test that hold its outcome, by their names: as features they would give the answer away."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["outcome_columns"]

_PARTS = (
    *(
        "winner",
        "won",
        "loser",
        "significance",
        "significant",
        "significance_level",
        "p_value",
        "pvalue",
        "z_score",
    ),
    *("first_place", "rank", "result", "outcome", "verdict"),
    *("ctr", "click_rate", "clickrate", "click_through_rate", "conversion_rate", "lift", "uplift"),
    *("conversions", "clicks", "impressions", "views", "votes", "confidence", "probability"),
)
_ENGLISH = re.compile(rf"(?:.*_)?(?:{'|'.join(_PARTS)})(?:_.*)?")
_CHINESE = re.compile("胜出|获胜|优胜|赢家|显著|置信|p值|名次|排名|结果|点击|展示|曝光|提升|转化|最佳")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def outcome_columns(columns: Iterable[str]) -> list[str]:
    """Those whose name says that they are known only after a test, in order: winner, significance, rates, counts.

    A word of the name decides, however it is written:

    >>> outcome_columns(["headline", "is_winner", "P-value", "firstPlace", "上线时间", "是否胜出", "wonder"])
    ['is_winner', 'P-value', 'firstPlace', '是否胜出']
    """
    return [name for name in columns if _after(name)]


def _after(name: str) -> bool:
    plain = unicodedata.normalize("NFKC", _CAMEL.sub("_", name)).casefold()
    plain = re.sub(r"[\s\-./]+", "_", plain.strip())
    return bool(_ENGLISH.fullmatch(plain) or _CHINESE.search(plain))
