"""The weights rearranged: FiLM of either sign, and weights of another network."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.decider import Decider
from multimodal_dql.errors import UsageError
from tests.decider.networks import BASE_RATE, batch, close, prepared, tensors_of


def test_a_scale_below_zero_turns_the_pools_around(networks, scales) -> None:
    """FiLM scales far on both sides of zero, so that many a largest sibling becomes the smallest."""
    network = networks["one member"]
    tensors = tensors_of(network)
    name = "candidate_q_network/film/bias"
    old = network.film.bias.numpy()
    try:
        network.film.bias.assign(old - 1.0)
        x = batch(np.random.default_rng(3), (4, 3), 7)
        wanted = network(x)["q"].numpy()[:, 0]
    finally:
        network.film.bias.assign(old)
    for compiled in (False, True):
        decider = Decider.from_tensors(tensors | {name: old - 1.0}, BASE_RATE, compiled=compiled)
        there = x["available"][0]
        assert close(
            decider.q(prepared(decider, x), x["context"][0])[:, there], wanted[:, there], scales["one member"]
        )


def test_other_weights_are_refused_and_the_old_ones_kept(networks, deciders) -> None:
    tensors = tensors_of(networks["one member"])
    decider = Decider.from_tensors(tensors, BASE_RATE)
    state = decider._state
    without = {n: t for n, t in tensors.items() if "later" not in n}
    with pytest.raises(UsageError, match="decides by clicks"):
        Decider.from_tensors(without, BASE_RATE)
    with pytest.raises(UsageError, match="decides by clicks"):
        decider.refresh(tensors_of(networks["one wide encoder"]))
    assert decider._state is state
