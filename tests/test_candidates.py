"""Projections and tables, by hand and by property."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.errors import RunError
from multimodal_dql.features import Features


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
