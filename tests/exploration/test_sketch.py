"""One sketch for the linear policies and the Bayesian last layer: each keeps its own numbers, bit for bit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from multimodal_dql.exploration.features import HeadFeatures
from multimodal_dql.exploration.sketch import random_signs, sketched
from multimodal_dql.policies.linear import JointFeatures


@pytest.mark.parametrize(
    ("content", "context", "seed", "stream", "dtype", "w", "v"),
    [
        (20, 9, 0, 21, np.float64, "55e801cd3f065333", "39e3cf33e46d6cf3"),
        (20, 9, 5, 21, np.float64, "fa5974ccf4ad51b5", "e3d4c03832d3e5fe"),
        (40, 40, 0, 22, np.float32, "55fb83004e9b8781", "3431082b4b8135d4"),
        (40, 40, 5, 22, np.float32, "72534e081a5a4f01", "7f04508fae91acdc"),
    ],
)
def test_the_signs_of_a_seed_never_change(content, context, seed, stream, dtype, w, v) -> None:
    """SHA-256 of the signs as bytes: agents saved with one version of the package are read by the next."""
    found = random_signs(content, context, seed, stream, dtype)
    assert [part.dtype for part in found] == [dtype, dtype]
    assert [hashlib.sha256(part.astype(np.int8).tobytes()).hexdigest()[:16] for part in found] == [w, v]


def test_by_hand() -> None:
    """Content (1, 2) on signs (1, -1) is -1, context (3,) on -1 is -3; their product over the root of 64 is 3 / 8."""
    w, v = np.tile([[1.0], [-1.0]], 64), -np.ones((1, 64))
    assert sketched(np.array([[1.0, 2.0]]), np.array([3.0]), (w, v)).tolist() == [[0.375] * 64]


def test_both_users_take_the_sketch_in_their_own_precision() -> None:
    rng = np.random.default_rng(0)
    content, context = rng.standard_normal((5, 40)), rng.standard_normal((5, 40))
    w, v = random_signs(40, 40, 3, 21, np.float64)
    rows = JointFeatures(40, 40, seed=3)(content, context)[:, 81:]
    np.testing.assert_array_equal(rows, (content @ w) * (context @ v) / np.sqrt(64))

    layout, (w, v) = HeadFeatures(40, 40, seed=3), random_signs(40, 40, 3, 22, np.float32)
    single, one = content.astype(np.float32), context[0].astype(np.float32)
    found = layout(single, one)[:, layout.blocks["products"]]
    np.testing.assert_array_equal(found, (single @ w) * (one @ v) / np.float32(8))
    assert sketched(single, one, (w, v)).dtype == np.float32
