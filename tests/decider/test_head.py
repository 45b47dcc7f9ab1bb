"""The head: shares of posterior samples as written out, and draws that report their own probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.decider import Decider, ThompsonHead
from multimodal_dql.errors import UsageError
from tests.decider.networks import BASE_RATE, batch, prepared, tensors_of


def head_for(
    decider: Decider, signs: bool, samples: int = 16, seed: int = 0
) -> tuple[ThompsonHead, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = decider.sizes
    both = None
    if signs:
        both = tuple(np.sign(rng.standard_normal((width, 8))) for width in (n.content, n.context))
    products = 8 if signs else n.content * n.context
    weights = rng.standard_normal((1 + n.context + n.content + products + n.hidden, samples))
    return ThompsonHead.of(weights, n.context, n.content, n.hidden, both, floor=0.05), weights


@pytest.mark.parametrize("k", [3, 40], ids=["few", "many"])
@pytest.mark.parametrize("signs", [False, True], ids=["products", "signs"])
def test_a_head_decides_as_written_out(deciders, networks, signs: bool, k: int) -> None:
    """Features, scores and votes one by one in float64."""
    decider = deciders["one member"]
    head, weights = head_for(decider, signs)
    x = batch(np.random.default_rng(6), decider.sizes.widths, k)
    kept, context = prepared(decider, x), x["context"][0].astype(float)
    content, there = kept.content.astype(float), x["available"][0]
    hidden = decider.hidden(kept, x["context"][0]).astype(float)
    own = np.random.default_rng(7).standard_normal((k, 16)).astype("float32")
    scores = np.empty((k, 16))
    for i in range(k):
        if head.signs is None:
            products = [
                context[c] * content[i, p] for c in range(len(context)) for p in range(content.shape[1])
            ]
        else:
            w, v = head.signs[0].astype(float), head.signs[1].astype(float) * 8**0.5
            products = (content[i] @ w) * (context @ v) / 8**0.5
        phi = np.concatenate([[1.0], context, content[i], products, hidden[i]])
        scores[i] = phi @ weights + own[i] if there[i] else -np.inf
    # No two candidates so close that float32 could change the order.
    top = np.sort(scores, axis=0)
    assert k < 2 or (top[-1] - top[-2]).min() > 1e-3
    wanted = np.zeros(k)
    for s in range(16):
        wanted[scores[:, s].argmax()] += 0.95 / 16
    wanted[there] += 0.05 / there.sum()
    decider.refresh(head=head)
    try:
        found = decider.probabilities(kept, x["context"][0], own)
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        alone = head.probabilities(kept.content, x["context"][0], hidden.astype("float32"), there, own)
        np.testing.assert_allclose(alone, wanted, atol=1e-12)
    finally:
        decider._state = (decider._state[0], None)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 30), u=st.floats(0, 1, exclude_max=True))
def test_probabilities_sum_to_one_and_the_draw_reports_its_own(deciders, seed, k, u) -> None:
    decider = deciders["one wide encoder"]
    head, _ = head_for(decider, signs=True, seed=seed % 5)
    decider.refresh(head=head)
    x = batch(np.random.default_rng(seed), decider.sizes.widths, k)
    kept = prepared(decider, x)
    p = decider.probabilities(kept, x["context"][0])
    there = x["available"][0]
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert (p[there] >= 0.05 / there.sum()).all()
    assert (p[~there] == 0.0).all()
    arrays = (x["content"][0], x["context"][0], u, x["present"][0], x["record"][0], there)
    action, probability = decider.decide(*arrays)
    assert (action, probability) == decider.decide(kept, x["context"][0], u)
    assert there[action]
    assert probability == p[action]
    # u lies where the cumulated probabilities pass it.
    assert p[:action].sum() <= u + 1e-12
    assert u <= p[: action + 1].sum() + 1e-12


def test_draws_follow_the_probabilities(decider) -> None:
    """20,000 even steps of u: each candidate is chosen its probability's share of them, to two steps."""
    from multimodal_dql.decider_head import draw

    p = np.array([0.125, 0.0, 0.5, 0.375, 0.0])
    actions = [draw(p, (i + 0.5) / 20_000)[0] for i in range(20_000)]
    np.testing.assert_allclose(np.bincount(actions, minlength=5) / 20_000, p, atol=1e-4)
    assert draw(p, np.nextafter(1.0, 0.0)) == (3, 0.375)
    assert draw(p, 0.0) == (0, 0.125)
    assert draw(np.array([0.0, 1.0]), 0.0) == (1, 1.0)


def test_own_effects_of_another_shape_are_refused(networks) -> None:
    decider = Decider.from_tensors(tensors_of(networks["one member"]), BASE_RATE)
    decider.refresh(head=head_for(decider, signs=True)[0])
    for shape in ((16,), (3, 1), (2, 16)):
        with pytest.raises(UsageError, match="own"):
            decider.decide(np.zeros((3, 7)), np.zeros(5), 0.5, own=np.zeros(shape))


def test_a_head_for_another_network_is_refused(deciders) -> None:
    head, weights = head_for(deciders["one member"], signs=False)
    for other in ("one wide encoder", "ensemble"):
        with pytest.raises(UsageError, match="head"):
            deciders[other].refresh(head=head)
    with pytest.raises(UsageError, match="rows"):
        ThompsonHead.of(weights[:-1], 5, 7, 16)
    with pytest.raises(UsageError, match="floor"):
        ThompsonHead.of(weights, 5, 7, 16, floor=1.5)
    with pytest.raises(UsageError, match="signs"):
        ThompsonHead.of(weights, 5, 7, 16, (np.ones((7, 35)), np.ones((4, 35))))
