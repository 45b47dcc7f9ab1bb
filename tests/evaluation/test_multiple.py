"""Adjusted p-values: by hand, a published example, and against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.multiple import benjamini_hochberg, bonferroni, holm

# Benjamini & Hochberg (1995), section 4.1: fifteen comparisons of a thrombolysis trial.
PUBLISHED = (
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
)


def test_by_hand() -> None:
    # Sorted .01 .02 .03 .04. Holm: .04, max(.06), max(.06, .06), max(.06, .04). BH: .04 each, from above.
    p = [0.03, 0.01, 0.04, 0.02]
    assert holm(p) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert benjamini_hochberg(p) == pytest.approx([0.04] * 4)
    assert bonferroni(p) == pytest.approx([0.12, 0.04, 0.16, 0.08])


def test_published_counts() -> None:
    # The paper: Bonferroni rejects three, their procedure four.
    assert (bonferroni(PUBLISHED) <= 0.05).sum() == 3
    assert (benjamini_hochberg(PUBLISHED) <= 0.05).sum() == 4


@settings(max_examples=12, deadline=None)  # multipletests takes some 20 ms a call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_against_statsmodels(p: list[float]) -> None:
    for ours, theirs in ((holm, "holm"), (benjamini_hochberg, "fdr_bh"), (bonferroni, "bonferroni")):
        assert ours(p) == pytest.approx(multipletests(p, method=theirs)[1], abs=1e-12)
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()
    assert (holm(p) <= bonferroni(p) + 1e-12).all()


def test_none_is_none() -> None:
    assert holm([]).shape == benjamini_hochberg([]).shape == (0,)


@pytest.mark.parametrize("p", [[0.5, 1.2], [-0.1], [np.nan], [[0.1]]])
def test_mistakes_are_named(p: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg, bonferroni):
        with pytest.raises(UsageError):
            adjust(p)
