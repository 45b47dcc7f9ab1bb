"""Invariants of the network: order, padding, missing modalities, set size."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.network import CandidateQNetwork, NetworkConfig, dueling
from multimodal_dql.run_config import _Network

B, P, C, R = 4, 7, 5, 3
WIDTHS = (4, 3)


@pytest.fixture(scope="module")
def network() -> CandidateQNetwork:
    net = CandidateQNetwork(NetworkConfig(WIDTHS, C, R, base_rate=0.02, hidden=16, members=3, seed=1))
    net(batch(np.random.default_rng(0), 2))
    # Heads start near zero; larger weights make a broken invariant visible.
    rng = np.random.default_rng(1)
    for variable in net.trainable_variables:
        variable.assign(variable + 0.3 * rng.standard_normal(variable.shape).astype("float32"))
    return net


def batch(rng: np.random.Generator, k: int) -> dict[str, np.ndarray]:
    return {
        "content": rng.standard_normal((B, k, P)).astype("float32"),
        "present": np.ones((B, k, len(WIDTHS)), "float32"),
        "record": rng.standard_normal((B, k, R)).astype("float32"),
        "context": rng.standard_normal((B, C)).astype("float32"),
        "available": np.ones((B, k), bool),
    }


def q(network: CandidateQNetwork, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return network(inputs)["q"].numpy()


def test_dueling_by_hand() -> None:
    # V = 2; A = (1, 3, 100) with the third not available: mean of A is 2, so Q = (1, 3, ...).
    out = np.asarray(dueling(np.array([[2.0]]), np.array([[1.0, 3.0, 100.0]]), np.array([[1.0, 1.0, 0.0]])))
    np.testing.assert_allclose(out[0, :2], [1.0, 3.0])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_permuting_candidates_permutes_q(network: CandidateQNetwork, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    inputs, order = batch(rng, k), rng.permutation(k)
    shuffled = {n: a[:, order] if n != "context" else a for n, a in inputs.items()}
    np.testing.assert_allclose(q(network, inputs)[:, :, order], q(network, shuffled), atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 5))
def test_padding_changes_nothing(network: CandidateQNetwork, seed: int, k: int, padding: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = batch(rng, k)
    padded = dict(inputs)
    for name in ("content", "present", "record"):
        junk = 50 * rng.standard_normal((B, padding, inputs[name].shape[2])).astype("float32")
        padded[name] = np.concatenate([inputs[name], junk], axis=1)
    padded["available"] = np.concatenate([inputs["available"], np.zeros((B, padding), bool)], axis=1)
    np.testing.assert_allclose(q(network, inputs), q(network, padded)[:, :, :k], atol=2e-5)


def test_a_missing_modality_is_finite_and_differs(network: CandidateQNetwork) -> None:
    inputs = batch(np.random.default_rng(3), 4)
    whole = q(network, inputs)
    for modality in range(len(WIDTHS)):
        without = {**inputs, "present": inputs["present"].copy()}
        without["present"][:, 1, modality] = 0.0
        changed = q(network, without)
        assert np.isfinite(changed).all()
        assert (np.abs(changed - whole)[:, :, 1] > 1e-4).all()


def test_what_an_absent_modality_would_hold_does_not_matter(network: CandidateQNetwork) -> None:
    inputs = batch(np.random.default_rng(4), 3)
    inputs["present"][:, :, 0] = 0.0
    other = {**inputs, "content": inputs["content"].copy()}
    other["content"][:, :, : WIDTHS[0]] = 9.0
    np.testing.assert_allclose(q(network, inputs), q(network, other), atol=2e-5)


@pytest.mark.parametrize("k", [1, 2, 20, 200])
def test_any_number_of_candidates(network: CandidateQNetwork, k: int) -> None:
    out = q(network, batch(np.random.default_rng(5), k))
    assert out.shape == (3, B, k)
    assert np.isfinite(out).all()


def test_a_duplicated_candidate_gets_the_same_q(network: CandidateQNetwork) -> None:
    inputs = batch(np.random.default_rng(6), 3)
    twice = {n: np.concatenate([a, a[:, :1]], axis=1) if n != "context" else a for n, a in inputs.items()}
    out = q(network, twice)
    np.testing.assert_allclose(out[:, :, 0], out[:, :, 3], atol=2e-5)


def test_members_differ_and_do_not_touch_each_other(network: CandidateQNetwork) -> None:
    inputs = batch(np.random.default_rng(7), 3)
    before = q(network, inputs)
    assert not np.allclose(before[0], before[1])
    kernel = network.fuse.kernel
    kept = kernel.numpy()
    changed = kept.copy()
    changed[1, :, 0] += 1.0  # one column: layer normalisation does not see a shift of all
    kernel.assign(changed)
    after = q(network, inputs)
    kernel.assign(kept)
    np.testing.assert_array_equal(before[[0, 2]], after[[0, 2]])
    assert not np.allclose(before[1], after[1])


def test_a_narrow_audience_layer_is_narrow_and_none_is_the_hidden_width() -> None:
    """Left out it changes no bit of a network, which older runs rely on."""
    outs = []
    for audience in (None, 16, 3):
        net = CandidateQNetwork(
            NetworkConfig(WIDTHS, C, R, base_rate=0.02, hidden=16, members=2, seed=1, audience=audience)
        )
        outs.append(q(net, batch(np.random.default_rng(0), 4)))
        assert net.film.kernel.shape == (2, audience or 16, 32)
        assert net.value_hidden.kernel.shape == (2, (audience or 16) + 16, 16)
    np.testing.assert_array_equal(outs[0], outs[1])
    assert not np.array_equal(outs[0], outs[2])


def built(**settings: object) -> CandidateQNetwork:
    net = CandidateQNetwork(
        NetworkConfig(WIDTHS, C, R, base_rate=0.02, hidden=16, members=3, seed=1, **settings)
    )
    net(batch(np.random.default_rng(0), 2))
    rng = np.random.default_rng(1)
    for variable in net.trainable_variables:
        variable.assign(variable + 0.3 * rng.standard_normal(variable.shape).astype("float32"))
    return net


OTHERS = (
    {"advantage": "whole"},
    {"advantage": "reward_and_later", "value_scale": 30.0},
    {"advantage": "whole", "bins": 21, "bin_low": -5.0, "bin_high": 5.0},
    {"advantage": "reward_and_linear"},
)


@pytest.mark.parametrize("settings_", OTHERS, ids=["whole", "reward", "bins", "linear"])
def test_other_advantages_keep_the_invariants(settings_: dict[str, object]) -> None:
    net, inputs = built(**settings_), batch(np.random.default_rng(8), 4)
    out, order = q(net, inputs), np.array([2, 0, 3, 1])
    shuffled = {n: a[:, order] if n != "context" else a for n, a in inputs.items()}
    np.testing.assert_allclose(out[:, :, order], q(net, shuffled), atol=1e-4)
    padded = {
        n: np.concatenate([a, np.full_like(a[:, :1], 9 if n != "available" else 0)], axis=1)
        if n != "context"
        else a
        for n, a in inputs.items()
    }
    np.testing.assert_allclose(out, q(net, padded)[:, :, :4], atol=1e-4)
    assert out.std(axis=2).min() > 1e-3


def test_the_reward_now_learns_from_rewards_alone() -> None:
    import tensorflow as tf

    net, inputs = built(advantage="reward_and_later"), batch(np.random.default_rng(9), 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net(inputs)["q"] ** 2)
    found = tape.gradient(loss, [net.reward.kernel, net.ahead.kernel])
    assert found[0] is None
    assert float(tf.reduce_max(tf.abs(found[1]))) > 0


def test_a_choice_is_charged_the_price_of_what_it_spends() -> None:
    """``A = r - c p+``, by the network's own numbers, in any order; no gradient of Q reaches what is known of now."""
    import tensorflow as tf

    net, inputs = built(advantage="reward_and_price"), batch(np.random.default_rng(11), 3)
    with tf.GradientTape() as tape:
        out = net(inputs)
        loss = tf.reduce_sum(out["q"] ** 2)
    heads = [net.reward.kernel, net.spend.kernel, net.price.kernel, net.fuse.kernel]
    assert tape.gradient(loss, heads) == [None] * 4
    r, c, p = (out[name].numpy() for name in ("reward", "spend", "price"))
    assert c.min() > 0
    assert p.min() < 0 < p.max()
    np.testing.assert_allclose(r, c * out["worth"].numpy(), rtol=1e-5)
    charged, found = r - c * np.maximum(p, 0.0), out["q"].numpy()
    np.testing.assert_allclose(found - found[:, :, :1], charged - charged[:, :, :1], atol=1e-4)
    order = np.array([2, 0, 1])
    shuffled = {n: a[:, order] if n != "context" else a for n, a in inputs.items()}
    np.testing.assert_allclose(found[:, :, order], net(shuffled)["q"].numpy(), atol=1e-4)


def test_bins_give_a_mean_inside_them() -> None:
    net, inputs = built(**OTHERS[2]), batch(np.random.default_rng(10), 3)
    out = net(inputs)
    assert out["q_logits"].shape == (3, B, 3, 21)
    assert np.abs(out["q"].numpy()).max() < 5.0


def test_the_usual_form_has_no_further_weights() -> None:
    """A run that was saved before these settings existed still fits."""
    usual, whole = ({v.path.split("/")[1] for v in built(**kw).weights} for kw in ({}, OTHERS[0]))
    assert whole - usual == {"ahead", "value_scale"}
    assert usual - whole == {"later", "echo"}


def test_network_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="whole"):
        NetworkConfig(WIDTHS, C, R, base_rate=0.02, advantage="hole")
    with pytest.raises(UsageError, match="advantage='whole'"):
        NetworkConfig(WIDTHS, C, R, base_rate=0.02, bins=51)


def test_a_run_directory_holds_no_other_form() -> None:
    """Agents decide by clicks; a configuration that asks for another network is refused before one is made."""
    usual = asdict(NetworkConfig(WIDTHS, C, R, base_rate=0.02))
    assert _Network.model_validate(usual).hidden == 48
    for changed in ({"advantage": "whole"}, {"bins": 51}, {"value_scale": 2.0}):
        with pytest.raises(ValidationError):
            _Network.model_validate(usual | changed)
