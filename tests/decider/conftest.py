"""Networks with weights at random, and deciders of both kinds that have those weights."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.decider import Decider
from tests.decider.networks import BASE_RATE, NETWORKS, C, R, batch, tensors_of


@pytest.fixture(scope="module")
def networks():
    """Networks with every weight away from its start: heads start at zero, norms at one, which would hide mistakes."""
    from multimodal_dql.network import CandidateQNetwork, NetworkConfig

    out = {}
    for seed, (name, shape) in enumerate(NETWORKS.items()):
        rng = np.random.default_rng(seed)
        config = NetworkConfig(context_width=C, record_width=R, base_rate=BASE_RATE, seed=seed, **shape)
        network = CandidateQNetwork(config)
        network(batch(rng, shape["widths"], 2))
        for variable in network.trainable_variables:
            variable.assign(variable + 0.3 * rng.standard_normal(variable.shape).astype("float32"))
        out[name] = network
    return out


@pytest.fixture(scope="module", params=[False, True], ids=["numpy", "compiled"])
def deciders(request, networks) -> dict[str, Decider]:
    return {
        name: Decider.from_tensors(tensors_of(network), BASE_RATE, compiled=request.param)
        for name, network in networks.items()
    }


@pytest.fixture(scope="module")
def decider(deciders) -> Decider:
    return deciders["one member"]


@pytest.fixture(scope="module")
def scales(networks) -> dict[str, float]:
    """The usual size of Q. Value and advantage may cancel in one decision; neither side is exact to that remainder."""
    out = {}
    for name, network in networks.items():
        q = network(batch(np.random.default_rng(0), NETWORKS[name]["widths"], 6, b=64))["q"].numpy()
        out[name] = float(np.median(np.abs(q).max(axis=(0, 2))))
    return out
