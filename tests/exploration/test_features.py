"""Features by hand, and what the sketch of many products keeps."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.exploration.features import LARGEST_PRODUCT, HeadFeatures
from multimodal_dql.exploration.sketch import SKETCH


def rng_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 7]))


def test_two_candidates_by_hand() -> None:
    """[1, context, content, context x content (content runs fastest), hidden]."""
    layout = HeadFeatures(content=2, context=3, hidden=1)
    content = np.array([[1.0, 2.0], [0.0, -1.0]], np.float32)
    found = layout(content, np.array([10.0, 20.0, 30.0], np.float32), np.array([[7.0], [8.0]], np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [
        [1, 10, 20, 30, 1, 2, 10, 20, 20, 40, 30, 60, 7],
        [1, 10, 20, 30, 0, -1, 0, -10, 0, -20, 0, -30, 8],
    ]
    assert layout.width == 13
    assert layout.blocks == {
        "bias": slice(0, 1),
        "context": slice(1, 4),
        "content": slice(4, 6),
        "products": slice(6, 12),
        "hidden": slice(12, 13),
    }


def test_blocks_without_columns_are_not_there() -> None:
    layout = HeadFeatures(content=2, context=0)
    assert layout.blocks == {"bias": slice(0, 1), "content": slice(1, 3)}
    found = layout(np.array([[3.0, 4.0]], np.float32), np.zeros(0, np.float32))
    assert found.tolist() == [[1, 3, 4]]


@pytest.mark.parametrize(
    ("content", "context", "exact"),
    [(32, LARGEST_PRODUCT // 32, True), (33, LARGEST_PRODUCT // 32, False), (1, LARGEST_PRODUCT + 1, False)],
)
def test_products_are_sketched_when_they_are_many(content: int, context: int, exact: bool) -> None:
    layout = HeadFeatures(content, context)
    assert layout.exact is exact
    assert layout.products == (content * context if exact else SKETCH)
    blocks = list(layout.blocks.values())
    assert [part.start for part in blocks[1:]] == [part.stop for part in blocks[:-1]]
    assert blocks[-1].stop == layout.width
    rng = rng_of(0)
    found = layout(rng.standard_normal((3, content)), rng.standard_normal(context))
    assert found.shape == (3, layout.width)


def test_the_sketch_keeps_inner_products_in_expectation() -> None:
    """Over 400 draws of the signs the mean inner product of two rows is that of their outer products,
    ``(a . b)(x . y)``, within 5 standard errors: a false alarm in a million."""
    rng = rng_of(1)
    a, b = rng.standard_normal((2, 40)).astype(np.float32)
    x, y = rng.standard_normal((2, 40)).astype(np.float32)
    drawn = []
    for seed in range(400):
        layout = HeadFeatures(40, 40, seed=seed)
        part = layout.blocks["products"]
        one, other = layout(a[None], x)[0, part], layout(b[None], y)[0, part]
        drawn.append(float(one @ other))
    error = np.std(drawn) / 20
    assert abs(np.mean(drawn) - (a @ b) * (x @ y)) < 5 * error
    # The outer products are about 40 long, so the mean is known to a fraction of what it could be.
    assert error < 0.25 * np.linalg.norm(a) * np.linalg.norm(b) * np.linalg.norm(x) * np.linalg.norm(y) / 40


def test_signs_belong_to_the_seed() -> None:
    first, again, other = (HeadFeatures(40, 40, seed=s).signs for s in (1, 1, 2))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()
    assert set(np.unique(first[0])) == {-1.0, 1.0}
