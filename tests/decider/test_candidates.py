"""The candidates of a decision: what may be left out, and arrays that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from tests.decider.networks import BASE_RATE, batch


def test_what_is_left_out_has_its_meaning(decider) -> None:
    """None: every encoder saw everything, nothing is recorded, everything is available."""
    x = batch(np.random.default_rng(8), decider.sizes.widths, 4)
    content, context = x["content"][0], x["context"][0]
    record = np.tile([0.0, 1.0, 0.0], (4, 1))
    full = decider.prepare(content, np.ones((4, 2)), record, np.ones(4, bool))
    np.testing.assert_array_equal(decider.q(decider.prepare(content), context), decider.q(full, context))


def test_no_record_is_what_the_state_says_of_no_impressions(decider) -> None:
    from multimodal_dql.state import record_features

    none = np.zeros((1, 3), np.int64)
    record = record_features(none, none, np.ones((1, 3), bool), BASE_RATE)[0]
    x = batch(np.random.default_rng(9), decider.sizes.widths, 3)
    content, context = x["content"][0], x["context"][0]
    np.testing.assert_array_equal(
        decider.q(decider.prepare(content), context),
        decider.q(decider.prepare(content, None, record), context),
    )


@pytest.mark.parametrize("place", ["content", "context", "record"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_what_is_no_number_is_refused_not_decided(deciders, place: str, value: float) -> None:
    for name in ("one member", "ensemble"):
        decider = deciders[name]
        x = batch(np.random.default_rng(1), decider.sizes.widths, 4)
        x["present"][:] = 1.0
        x[place][0].flat[0] = value
        with pytest.raises(UsageError, match="NaN"):
            decider.decide(
                *(x[n][0] for n in ("content", "context")), 0.5, *(x[n][0] for n in ("present", "record"))
            )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"content": np.zeros((3, 6))},
            r"content has the shape \(3, 6\); this network takes \(K, P\) = \(K, 7\)",
        ),
        ({"content": np.zeros(7)}, "content"),
        ({"context": np.zeros(4)}, r"context has the shape \(4,\); this network takes \(C,\) = \(5,\)"),
        ({"context": np.zeros((1, 5))}, "context"),
        ({"context": 1.0}, "context"),
        ({"present": np.zeros((3, 1))}, "present"),
        ({"record": np.zeros((2, 3))}, "record"),
        ({"available": np.ones(2, bool)}, "available"),
        ({"available": np.zeros(3, bool)}, "no candidate is available"),
        ({"content": np.zeros((0, 7))}, "no candidate is available"),
    ],
)
def test_arrays_that_do_not_fit_are_named(decider, changed, told) -> None:
    asked = {"content": np.zeros((3, 7)), "context": np.zeros(5), "u": 0.5} | changed
    with pytest.raises(UsageError, match=told) as caught:
        decider.decide(**asked)
    assert "\n" not in caught.value.text("zh")


def test_candidates_prepared_for_another_network_are_refused(deciders) -> None:
    kept = deciders["one member"].prepare(np.zeros((3, 7)))
    with pytest.raises(UsageError, match="another shape"):
        deciders["ensemble, narrow audience"].q(kept, np.zeros(5))
