"""The allocation network in NumPy against the Keras network it was taken from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multimodal_dql.allocation.network import AllocationNetwork
from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.network import CandidateQNetwork, NetworkConfig

R, C, K = 5, 3, 4


def made(seed: int = 0) -> tuple[Any, ObservationAdapter]:
    """A network with weights that are not at their start, and an adapter with some scale."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
    shifts = (rng.normal(size=n).astype(np.float32) for n in (R, C))
    sizes = (rng.uniform(0.5, 2.0, n).astype(np.float32) for n in (R, C))
    (record_mean, context_mean), (record_sd, context_sd) = shifts, sizes
    adapter = ObservationAdapter(
        ("arms",), ("test",), 1, K, 1, record_mean, record_sd, context_mean, context_sd
    )
    network = CandidateQNetwork(
        NetworkConfig((1,), C, R, 0.5, hidden=7, members=1, advantage="whole", value_scale=9.0, seed=seed)
    )
    network(adapter.inputs(told(1)))
    for variable in network.trainable_variables:
        variable.assign(variable.numpy() + 0.3 * rng.normal(size=variable.shape).astype(np.float32))
    return network, adapter


def told(tests: int, seed: int = 0, share: float = 0.6) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    mask = rng.random((tests, K)) < share
    mask[:, :2] = True
    arms = np.where(mask[:, :, None], rng.normal(size=(tests, K, R)), 0.0)
    return {
        "arms": arms.astype(np.float32),
        "test": rng.normal(size=(tests, C)).astype(np.float32),
        "mask": mask.astype(np.int8),
    }


@pytest.mark.parametrize(("tests", "share"), [(1, 0.6), (600, 0.6), (300, 1.0)])
def test_advantages_are_those_of_the_keras_network(tests: int, share: float) -> None:
    """With arms missing and with none missing; more tests than are scored at once."""
    network, adapter = made()
    seen = told(tests, 5, share)
    q = network(adapter.inputs(seen), training=False)["q"].numpy()[0]
    live = seen["mask"] > 0
    got = AllocationNetwork.of(network, adapter).advantages(seen["arms"], seen["test"], live)

    def centred(x: Any) -> Any:
        return x - np.where(live, x, 0.0).sum(axis=1, keepdims=True) / live.sum(axis=1, keepdims=True)

    scale = np.sqrt(9.0)  # the root of the value scale, which no choice depends on
    np.testing.assert_allclose(scale * centred(got)[live], centred(q)[live], atol=2e-4)


def test_it_travels_as_plain_arrays() -> None:
    network = AllocationNetwork.of(*made())
    again = AllocationNetwork.from_tensors(network.tensors())
    seen = told(20)
    for one in (network, again):
        assert one.advantages(seen["arms"], seen["test"], seen["mask"] > 0).dtype == np.float32
    np.testing.assert_array_equal(
        network.advantages(seen["arms"], seen["test"], seen["mask"] > 0),
        again.advantages(seen["arms"], seen["test"], seen["mask"] > 0),
    )


@pytest.mark.parametrize("name", ["fuse", "film", "ahead", "context_sd"])
def test_arrays_that_do_not_fit_are_refused(name: str) -> None:
    tensors = AllocationNetwork.of(*made()).tensors()
    for wrong in (tensors[name][:-1], np.full_like(tensors[name], np.nan)):
        with pytest.raises(ValueError, match=r".+"):
            AllocationNetwork.from_tensors({**tensors, name: wrong})
    del tensors[name]
    with pytest.raises((ValueError, KeyError)):
        AllocationNetwork.from_tensors(tensors)
