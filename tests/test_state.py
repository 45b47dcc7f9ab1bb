"""Records, projections, tables and contexts, by hand and by property."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.errors import RunError, UnknownNameError, UsageError
from multimodal_dql.features import Features
from multimodal_dql.state import (
    ContentProjection,
    ContextField,
    ContextSpec,
    Counts,
    State,
    candidate_table,
    record_features,
)


def encoded(seed: int = 0, items: int = 6, dim: int = 8, name: str = "e", fingerprint: str = "f") -> Features:
    rng = np.random.default_rng(seed)
    stories = tuple(
        Item(
            f"s{i}",
            tuple(
                Variant(f"s{i}", str(k), None, f"标题 {i} {k}", None, impressions=10 * k, clicks=k)
                for k in range(2 + i % 3)
            ),
        )
        for i in range(items)
    )
    catalogue = Catalogue(Path("x.csv"), stories)
    n = len(catalogue.variants)
    present = np.ones(n, bool)
    present[1] = False
    vectors = rng.standard_normal((n, dim)).astype(np.float32) * present[:, None]
    info = EncoderInfo(name, "text", dim, fingerprint)
    return Features(catalogue, (info,), {name: vectors}, {name: present}, (), n, 0, 0.0)


def test_no_record_reads_nothing_known() -> None:
    zero = np.zeros((1, 3), dtype=np.int64)
    np.testing.assert_allclose(
        record_features(zero, zero, np.ones((1, 3), bool), 0.02), [[[0, 1, 0]] * 3], atol=1e-7
    )


def test_record_by_hand() -> None:
    # 200 impressions each, 8 and 0 clicks, base rate .02: pooled (8 + 4) / (400 + 200) = .02;
    # rates (8 + 4) / 400 = .03 and 4 / 400 = .01; spread sqrt(200 / 400).
    n, s = np.array([[200, 200]]), np.array([[8, 0]])
    out = record_features(n, s, np.ones((1, 2), bool), 0.02)[0]
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    np.testing.assert_allclose(out[:, 0], [logit(0.03) - logit(0.02), logit(0.01) - logit(0.02)], rtol=1e-5)
    np.testing.assert_allclose(out[:, 1], np.sqrt(0.5), rtol=1e-6)
    np.testing.assert_allclose(out[:, 2], np.log(201) / np.log(1e4), rtol=1e-6)


def test_padding_has_no_record() -> None:
    n = np.array([[100, 7_000]])
    out = record_features(n, n // 10, np.array([[True, False]]), 0.02)
    assert not out[0, 1].any()
    alone = record_features(n[:, :1], n[:, :1] // 10, np.array([[True]]), 0.02)
    np.testing.assert_array_equal(out[:, :1], alone)


def test_projection_whitens_the_differences_between_siblings() -> None:
    features = encoded(items=80)
    projection = ContentProjection.fit(features, width=4)
    content, present = projection.apply(features)
    item = features.catalogue.item_index
    assert content.shape == (len(item), 4)
    kept = present[:, 0] > 0
    rows, groups = content[kept], item[kept]
    centred = np.concatenate([rows[groups == g] - rows[groups == g].mean(0) for g in np.unique(groups)])
    covariance = centred.T @ centred / len(centred)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=0.05)
    assert (np.diag(covariance) > 0.5).all()
    assert (np.diag(covariance) < 1.2).all()
    assert not content[~kept].any()


def test_the_order_of_the_rows_does_not_change_the_projection() -> None:
    a, b = ContentProjection.fit(encoded()), ContentProjection.fit(encoded())
    np.testing.assert_array_equal(a.encoders[0].components, b.encoders[0].components)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "trained with e"),
        ({"dim": 9}, "dimension 9"),
        ({"fingerprint": "g"}, "has changed"),
    ],
)
def test_other_encoders_are_refused(change: dict[str, object], said: str) -> None:
    projection = ContentProjection.fit(encoded())
    with pytest.raises(RunError, match=said):
        projection.apply(encoded(**change))  # type: ignore[arg-type]


def test_table_lays_siblings_side_by_side() -> None:
    features = encoded()
    table = candidate_table(features, ContentProjection.fit(features))
    assert table.size == 4
    assert table.available.sum(axis=1).tolist() == [2, 3, 4, 2, 3, 4]
    assert table.table[1].tolist()[:3] == [2, 3, 4]
    assert table.impressions[2].tolist() == [0, 10, 20, 30]
    assert (table.table[~table.available] == len(features.catalogue.variants)).all()
    assert not table.content[-1].any()


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


def test_counts_are_never_an_input_of_the_network() -> None:
    z = np.zeros((2, 3, 1), np.float32)
    available = np.ones((2, 3), bool)
    without = State(z, z, z, z[:, 0], available, np.arange(2))
    assert without.counts is None
    with_counts = State(z, z, z, z[:, 0], available, np.arange(2), Counts.zeros(2, 3))
    assert without.inputs().keys() == with_counts.inputs().keys()
    assert "counts" not in without.inputs()


def test_no_counts_are_zero_and_open_ended() -> None:
    counts = Counts.zeros(2, 3)
    assert counts.impressions.shape == counts.clicks.shape == (2, 3)
    assert not counts.impressions.any()
    assert not counts.elapsed.any()
    assert np.isinf(counts.horizon).all()
    assert counts.prior_rate is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clicks": [[0, 0], [3, 0]]}, r"decision 1 has \[3, 0\] clicks on \[2, 2\] impressions"),
        ({"clicks": [[0, -1], [0, 0]]}, "decision 0 has"),
        ({"clicks": [[0], [0]]}, r"these are \(2, 2\) against \[\(2, 1\)\]"),
        ({"elapsed": [1.0]}, r"against \[\(1,\)\]"),
        ({"prior_rate": [0.1, 0.2]}, "prior_rate alike"),
        ({"impressions": [2, 2]}, "give impressions"),
    ],
)
def test_counts_that_cannot_be_are_refused(change: dict[str, list[object]], said: str) -> None:
    fields = {
        "impressions": [[1, 0], [2, 2]],
        "clicks": [[1, 0], [2, 0]],
        "elapsed": [1.0, 4.0],
        "horizon": [9.0, 9.0],
    }
    Counts(**{name: np.array(value) for name, value in fields.items()})
    with pytest.raises(UsageError, match=said) as caught:
        Counts(**{name: np.array(value) for name, value in (fields | change).items()})
    assert "计数" in caught.value.text("zh")
