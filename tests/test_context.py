"""Context fields by hand, and what a command line may say."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.context import ContextField, ContextSpec
from multimodal_dql.errors import UnknownNameError, UsageError

CONTEXT = ContextSpec(
    (ContextField("device", "category", ("mobile", "desktop")), ContextField("hour", "cycle", high=24.0))
)


def test_context_by_hand() -> None:
    out = CONTEXT.encode({"device": np.array([1.0]), "hour": np.array([6.0])})
    np.testing.assert_allclose(out, [[0, 1, 1, 0]], atol=1e-7)
    assert CONTEXT.width == 4


def test_context_is_read_or_refused_with_the_cure() -> None:
    assert CONTEXT.parse(["device=desktop", "hour= 18"]) == {"device": 1.0, "hour": 18.0}
    with pytest.raises(UnknownNameError, match="did you mean 'device'"):
        CONTEXT.parse(["devise=mobile"])
    with pytest.raises(UnknownNameError, match="did you mean 'mobile'"):
        CONTEXT.parse(["device=mobil"])
    with pytest.raises(UsageError, match="from 0 to 24"):
        CONTEXT.parse(["hour=nan"])
    with pytest.raises(UsageError, match="name=value"):
        CONTEXT.parse(["mobile"])
