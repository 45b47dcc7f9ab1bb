"""The update against hand-worked numbers, plain NumPy, Keras' optimiser and automatic differentiation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.dueling_mlp import DuelingMLP
from multimodal_dql.learning.losses import Bins, expectation
from multimodal_dql.learning.update import (
    METRICS,
    Transitions,
    UpdateConfig,
    Updater,
    pointwise_loss,
)
from multimodal_dql.network import CandidateQNetwork, NetworkConfig


class Taped:
    """A `DuelingMLP` that hides its written-out gradient, so that TensorFlow differentiates it."""

    def __init__(self, network: DuelingMLP) -> None:
        self.network, self.trainable_variables = network, network.trainable_variables

    def __call__(self, x: Any) -> Any:
        return self.network(x)


def transitions(
    n: int = 12, width: int = 5, actions: int = 3, seed: int = 0, weighted: bool = False
) -> Transitions:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(2, n, width)).astype(np.float32)
    return Transitions(
        observation=tf.constant(drawn[0]),
        action=tf.constant(rng.integers(0, actions, n), tf.int32),
        reward=tf.constant(rng.normal(size=n), tf.float32),
        factor=tf.constant(0.9 * (rng.random(n) < 0.7), tf.float32),
        next_observation=tf.constant(drawn[1]),
        next_available=tf.constant(rng.random((n, actions)) < 0.7) | (tf.range(actions) == 0),
        weight=tf.constant(rng.random(n) + 0.5, tf.float32) if weighted else None,
    )


def learned(config: UpdateConfig, *, taped: bool, steps: int = 3, weighted: bool = False) -> tuple[Any, Any]:
    """Weights and metrics after some updates of a small network."""
    made = [DuelingMLP(5, 3, (7, 6), seed=1) for _ in range(2)]
    networks = [Taped(n) for n in made] if taped else made
    updater = Updater(networks[0], networks[1], config)
    run = tf.function(updater.update)
    for i in range(steps):
        metrics = run(transitions(seed=i, weighted=weighted)).metrics.numpy()
    return [w.numpy() for w in [*updater.weights, *updater.slow]], metrics


# --- losses


def test_losses_by_hand() -> None:
    error = tf.constant([-3.0, -0.5, 0.0, 2.0])
    loss, slope = pointwise_loss(error, "huber")
    np.testing.assert_allclose(loss, [2.5, 0.125, 0.0, 1.5])
    np.testing.assert_allclose(slope, [-1.0, -0.5, 0.0, 1.0])
    loss, slope = pointwise_loss(error, "squared")
    np.testing.assert_allclose(loss, [9.0, 0.25, 0.0, 4.0])
    np.testing.assert_allclose(slope, [-6.0, -1.0, 0.0, 4.0])


# --- the whole update


def test_an_update_in_plain_numpy() -> None:
    """One linear layer, one transition, every number worked out: Q, target, gradient, clipping, Adam, Polyak."""
    online, target = DuelingMLP(1, 2, ()), DuelingMLP(1, 2, ())
    online.kernels[0].assign([[1.0, 2.0, 0.0]])  # V = x, A = (2x, 0): Q = (x + x, x - x) = (2x, 0)
    target.kernels[0].assign([[9.0, 9.0, 9.0]])  # must be overwritten by the online weights
    config = UpdateConfig(learning_rate=0.1, clip_norm=1.0, target_rate=0.25)
    updater = Updater(online, target, config)
    batch = Transitions(
        observation=tf.constant([[1.0]]),
        action=tf.constant([0]),
        reward=tf.constant([1.0]),
        factor=tf.constant([0.5]),
        next_observation=tf.constant([[2.0]]),
    )
    found = tf.function(updater.update)(batch)
    # Q(s, 0) = 2; next online Q = (4, 0) chooses 0, the target says 4; y = 1 + .5 * 4 = 3; error -1, loss 1.
    np.testing.assert_allclose(found.error, [-1.0])
    # dL/dQ = -2; dQ/dV = 1, dQ/dA = (1/2, -1/2): (-2, -1, 1) for the kernel and, as x = 1, for the bias.
    norm = np.sqrt(2 * (4 + 1 + 1))
    np.testing.assert_allclose(found.metrics, [1.0, 1.0, norm, 2.0], rtol=1e-6)
    # Adam's first step is the rate times the sign, whatever the clipping did to the size.
    np.testing.assert_allclose(online.kernels[0], [[1.1, 2.1, -0.1]], rtol=1e-5)
    np.testing.assert_allclose(online.biases[0], [0.1, 0.1, -0.1], rtol=1e-5)
    np.testing.assert_allclose(updater.adam.first[0], [[-0.2 / norm, -0.1 / norm, 0.1 / norm]], rtol=1e-5)
    np.testing.assert_allclose(target.kernels[0], [[1.025, 2.025, -0.025]], rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_written_out_gradient_equals_the_automatic_one(loss: Any, weighted: bool) -> None:
    config = UpdateConfig(loss=loss, clip_norm=1.0, learning_rate=1e-2)
    explicit, found = learned(config, taped=False, weighted=weighted)
    automatic, wanted = learned(config, taped=True, weighted=weighted)
    for a, b in zip(explicit, automatic, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("taped", [False, True])
def test_shards_change_nothing_but_rounding(taped: bool) -> None:
    config = UpdateConfig(learning_rate=1e-2)
    whole, metrics = learned(config, taped=taped, weighted=True)
    for shards in (2, 3):
        parts, found = learned(replace(config, shards=shards), taped=taped, weighted=True)
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        np.testing.assert_allclose(found, metrics, rtol=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_keras_adam(decay: float) -> None:
    """Same gradients, same weights as Keras' AdamW with clipping by the global norm."""
    import keras

    made = [DuelingMLP(5, 3, (7,), seed=1) for _ in range(2)]
    updater = Updater(made[0], made[1], UpdateConfig(clip_norm=0.5, learning_rate=1e-2, weight_decay=decay))
    weights = [keras.Variable(w.numpy()) for w in updater.weights]
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=decay, global_clipnorm=0.5, epsilon=1e-8)
    optimizer.build(weights)
    rng = np.random.default_rng(0)
    for _ in range(4):
        gradients = [tf.constant(rng.normal(size=w.shape), tf.float32) for w in weights]
        norm = updater.adam.step(gradients)
        optimizer.apply_gradients(list(zip(gradients, weights, strict=True)))
        np.testing.assert_allclose(norm, tf.linalg.global_norm(gradients), rtol=1e-5)
    for a, b in zip(updater.weights, weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-6)


def test_the_rate_falls_to_a_tenth() -> None:
    updater = Updater(
        DuelingMLP(2, 2, ()), DuelingMLP(2, 2, ()), UpdateConfig(learning_rate=1.0, decay_updates=10)
    )
    rates = []
    for count in (1, 6, 11, 50):
        updater.adam.count.assign(count)
        rates.append(float(updater.adam.rate()))
    np.testing.assert_allclose(rates, [1.0, 0.55, 0.1, 0.1], rtol=1e-6)


def test_a_periodic_target_moves_when_it_is_due() -> None:
    online, target = DuelingMLP(5, 3, (4,), seed=1), DuelingMLP(5, 3, (4,), seed=2)
    updater = Updater(online, target, UpdateConfig(target="periodic", target_period=2))
    run = tf.function(updater.update, autograph=False)
    start = online.kernels[0].numpy()
    run(transitions())
    np.testing.assert_array_equal(target.kernels[0], start)
    assert not np.array_equal(online.kernels[0].numpy(), start)
    run(transitions(seed=1))
    np.testing.assert_array_equal(target.kernels[0], online.kernels[0])


def test_an_update_learns_a_known_value() -> None:
    """A terminal step with reward 1 + action: Q must become just that. 500 steps at 1e-2 are plenty."""
    online, target = DuelingMLP(2, 3, (16,)), DuelingMLP(2, 3, (16,))
    updater = Updater(online, target, UpdateConfig(learning_rate=1e-2))
    x = tf.constant(np.random.default_rng(0).normal(size=(30, 2)), tf.float32)
    action = tf.range(30) % 3
    batch = Transitions(x, action, 1.0 + tf.cast(action, tf.float32), tf.zeros(30), x)
    run = tf.function(updater.update)
    for _ in range(500):
        run(batch)
    chosen = tf.gather(online(x), action, batch_dims=1)
    np.testing.assert_allclose(chosen, batch.reward, atol=0.1)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.lists(st.integers(1, 5), max_size=3), st.integers(0, 2**31))
def test_any_shape_of_network_has_the_right_gradient(
    width: int, actions: int, hidden: list[int], seed: int
) -> None:
    network = DuelingMLP(width, actions, hidden, seed=seed)
    rng = np.random.default_rng(seed)
    x = tf.constant(rng.normal(size=(4, width)), tf.float32)
    slope = tf.constant(rng.normal(size=(4, actions)), tf.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(x) * slope)
    wanted = tape.gradient(total, network.trainable_variables)
    products = network.products()
    layers, q = network.forward(products, x)
    found = network.gather_up(network.backward(products, layers, slope))
    np.testing.assert_allclose(q, network(x))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_q_is_value_plus_centred_advantage() -> None:
    network = DuelingMLP(4, 3, (5,), seed=3)
    x = tf.constant(np.random.default_rng(0).normal(size=(6, 4)), tf.float32)
    h = tf.nn.relu(x @ network.kernels[0] + network.biases[0])
    out = (h @ network.kernels[1] + network.biases[1]).numpy()
    wanted = out[:, :1] + out[:, 1:] - out[:, 1:].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(network(x), wanted, atol=1e-5)


def test_bfloat16_keeps_weights_and_q_in_float32_and_is_close() -> None:
    exact, rounded = (
        DuelingMLP(16, 3, (32, 32), seed=1),
        DuelingMLP(16, 3, (32, 32), precision="bfloat16", seed=1),
    )
    x = tf.constant(np.random.default_rng(0).normal(size=(50, 16)), tf.float32)
    q, wanted = rounded(x), exact(x).numpy()
    assert q.dtype == tf.float32
    assert {v.dtype for v in rounded.trainable_variables} == {tf.float32}
    # 8 bits of mantissa, three layers: errors of about a per cent of the spread, and more than float32 could make.
    difference = np.abs(q.numpy() - wanted).max() / wanted.std()
    assert 1e-4 < difference < 0.05


# --- the project's own network


def candidate_batch(n: int = 6, k: int = 4, seed: int = 0) -> Transitions:
    rng = np.random.default_rng(seed)

    def observation() -> dict[str, Any]:
        available = rng.random((n, k)) < 0.7
        available[:, 0] = True
        shapes = {"content": (n, k, 5), "present": (n, k, 2), "record": (n, k, 3), "context": (n, 4)}
        drawn = {name: tf.constant(rng.normal(size=shape), tf.float32) for name, shape in shapes.items()}
        return drawn | {"present": tf.ones(shapes["present"]), "available": tf.constant(available)}

    before, after = observation(), observation()
    action, factor = tf.zeros(n, tf.int32), tf.fill((n,), 0.5)
    reward = tf.constant(rng.normal(size=n), tf.float32)
    return Transitions(before, action, reward, factor, after, after["available"], tf.ones((3, n)))


def candidate_updater(config: UpdateConfig, batch: Transitions, **more: Any) -> Updater:
    shape = NetworkConfig((3, 2), 4, 3, 0.05, hidden=6, members=3, modality_dropout=0.0, content_noise=0.0)
    networks = [CandidateQNetwork(shape) for _ in range(2)]
    for network in networks:
        network(batch.observation)
    return Updater(networks[0], networks[1], config, **more)


def test_the_candidate_network_learns_alike_in_shards() -> None:
    """Gradients are compared, not weights: Adam makes whole steps even of a gradient that is 0 but for rounding."""
    batch = candidate_batch()
    results = []
    for shards in (1, 2):
        updater = candidate_updater(UpdateConfig(shards=shards), batch, training=True)
        found = tf.function(updater.update)(batch)
        assert found.error.shape == (3, 6)
        results.append([found.metrics.numpy(), found.error.numpy(), *(m.numpy() for m in updater.adam.first)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert max(np.abs(m).max() for m in results[0][2:]) > 0.01


def test_an_auxiliary_loss_reaches_what_q_does_not() -> None:
    batch = candidate_batch()

    def clicks(out: Any, b: Transitions) -> Any:
        return tf.square(out["click_logit"][..., 0])

    for auxiliary, moves in ((None, False), (clicks, True)):
        updater = candidate_updater(UpdateConfig(learning_rate=0.1), batch, auxiliary=auxiliary)
        before = updater.online.click.kernel.numpy()
        tf.function(updater.update)(batch)
        assert (not np.array_equal(before, updater.online.click.kernel.numpy())) == moves


class Table:
    """Q of a single state, (B, K), or with bins its logits (B, K, Z)."""

    def __init__(self, start: Any, bins: Bins | None = None) -> None:
        self.trainable_variables, self.bins = [tf.Variable(start)], bins

    def __call__(self, x: Any) -> Any:
        values = tf.repeat(self.trainable_variables[0][None], tf.shape(x)[0], axis=0)
        if self.bins is None:
            return values
        return {"q": expectation(tf.nn.softmax(values), self.bins), "q_logits": values}


def terminal(actions: list[int], rewards: list[float], available: list[bool]) -> Transitions:
    n = len(actions)
    x = tf.zeros((n, 1))
    free = tf.constant([available] * n)
    return Transitions(x, tf.constant(actions), tf.constant(rewards), tf.zeros(n), x, free, None, free)


def test_bins_learn_the_mean_of_rewards_that_are_coins() -> None:
    """Action 0 brings 4 in one of four, 1 always 2; the mean of the bins must be 1 and 2, to a tenth of a bin."""
    bins = Bins.around(0.0, 4.0)
    config = UpdateConfig(learning_rate=0.05, loss="hl_gauss", bins=bins)
    online, target = (Table(tf.zeros((2, bins.count)), bins) for _ in range(2))
    updater = Updater(online, target, config)
    batch = terminal([0, 0, 0, 0, 1, 1, 1, 1], [4.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0], [True, True])
    run = tf.function(updater.update)
    first = run(batch).metrics.numpy()[0]
    np.testing.assert_allclose(first, np.log(bins.count), rtol=1e-3)  # cross-entropy with even odds
    for _ in range(600):
        run(batch)
    np.testing.assert_allclose(online(batch.observation)["q"][0], [1.0, 2.0], atol=bins.width / 10)


def test_cql_has_its_known_answer() -> None:
    """Minimum of sum of pi (Q - y)^2 + alpha (log sum exp Q - Q(a)): Q = y - alpha / 2 (softmax(Q) / pi - 1).

    The third action cannot be chosen and must not be moved.
    """
    online, target = Table(tf.zeros(3)), Table(tf.zeros(3))
    updater = Updater(online, target, UpdateConfig(learning_rate=0.02, decay_updates=1500, cql=0.4))
    batch = terminal([0, 0, 0, 1], [1.0, 1.0, 1.0, 2.0], [True, True, False])
    run = tf.function(updater.update)
    for _ in range(1500):
        run(batch)
    q = online(batch.observation)[0].numpy()
    share = np.exp(q[:2]) / np.exp(q[:2]).sum()
    np.testing.assert_allclose(
        q[:2], np.array([1, 2]) - 0.2 * (share / np.array([0.75, 0.25]) - 1), atol=2e-3
    )
    assert q[2] == 0.0
    assert q[1] < 2.0 - 0.1


# --- mistakes


def test_mistakes_name_their_cure() -> None:
    with pytest.raises(UsageError, match="choose squared or huber or hl_gauss"):
        UpdateConfig(loss="absolute")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="hl_gauss' and bins belong together"):
        UpdateConfig(loss="hl_gauss")
    with pytest.raises(UsageError, match="cql=-1: give 0 or more"):
        UpdateConfig(cql=-1)
    with pytest.raises(UsageError, match="shards=0: give a number above 0"):
        UpdateConfig(shards=0)
    with pytest.raises(UsageError, match="other weights than the online one"):
        Updater(DuelingMLP(2, 2), DuelingMLP(3, 2), UpdateConfig())
    updater = Updater(DuelingMLP(5, 3, ()), DuelingMLP(5, 3, ()), UpdateConfig(shards=5))
    with pytest.raises(UsageError, match="multiple of 5"):
        updater.update(transitions())
    with pytest.raises(UsageError, match="float32 or bfloat16"):
        DuelingMLP(2, 2, precision="float16")  # type: ignore[arg-type]


def test_every_metric_is_named() -> None:
    assert len(METRICS) == learned(UpdateConfig(), taped=False, steps=1)[1].shape[0]
