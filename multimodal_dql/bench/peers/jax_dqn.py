"""A minimal dueling double DQN in JAX as a contestant: ``python jax_dqn.py JOB``, with ``"feed"`` in the job.

``feed`` is ``scan``: the replay lies on the device, 100 updates are one compiled scan; or ``numpy``: one compiled
update at a time on a batch that NumPy draws. Both with Huber loss, clipping, optax's Adam, and a soft target at every
update.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from serving import keep_to, serve

STEPS = 100
"""Updates in one scan."""


def initial(key: Any, sizes: list[int], actions: int) -> dict[str, Any]:
    """Kernels of variance 2 / fan-in and zero biases: the body, then value and advantages."""
    keys = jax.random.split(key, len(sizes) + 1)

    def dense(k: Any, fan_in: int, units: int) -> tuple[Any, Any]:
        return jax.random.normal(k, (fan_in, units)) * (2.0 / fan_in) ** 0.5, jnp.zeros(units)

    pairs = itertools.pairwise(sizes)
    body = [dense(k, i, o) for k, (i, o) in zip(keys[2:], pairs, strict=False)]
    return {
        "body": body,
        "value": dense(keys[0], sizes[-1], 1),
        "advantage": dense(keys[1], sizes[-1], actions),
    }


def q_values(network: dict[str, Any], x: Any) -> Any:
    """Q (B, A) of observations (B, D)."""
    for kernel, bias in network["body"]:
        x = jax.nn.relu(x @ kernel + bias)
    value = x @ network["value"][0] + network["value"][1]
    advantage = x @ network["advantage"][0] + network["advantage"][1]
    return value + advantage - advantage.mean(axis=1, keepdims=True)


def update(optimizer: Any, carry: Any, batch: Any) -> tuple[Any, Any]:
    """One step of dueling double Q-learning."""
    online, target, moments = carry
    seen, action, reward, after, done = batch
    best = q_values(online, after).argmax(axis=1)
    value = jnp.take_along_axis(q_values(target, after), best[:, None], axis=1)[:, 0]
    y = reward + 0.99 * (1.0 - done) * value

    def loss(network: Any) -> Any:
        chosen = jnp.take_along_axis(q_values(network, seen), action[:, None], axis=1)[:, 0]
        return optax.huber_loss(chosen, y).mean()

    size, gradient = jax.value_and_grad(loss)(online)
    change, moments = optimizer.update(gradient, moments, online)
    online = optax.apply_updates(online, change)
    target = optax.incremental_update(online, target, 0.005)
    return (online, target, moments), size


def main() -> None:
    """Fill the replay, then train on request."""
    job = json.loads(sys.argv[1])
    keep_to(job["threads"])
    n, width, batch = job["replay"], job["width"], job["batch"]
    rng = np.random.default_rng(0)
    seen, after = (rng.standard_normal((n, width), dtype=np.float32) for _ in range(2))
    action = rng.integers(0, job["actions"], n).astype(np.int32)
    reward, done = rng.standard_normal(n).astype(np.float32), (rng.random(n) < 0.01).astype(np.float32)
    replay = (seen, action, reward, after, done)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
    online = initial(jax.random.key(0), [width, *job["hidden"]], job["actions"])
    state = [(online, jax.tree.map(jnp.copy, online), optimizer.init(online))]
    step = functools.partial(update, optimizer)

    if job["feed"] == "numpy":
        compiled = jax.jit(step, donate_argnums=0)

        def run(updates: int) -> None:
            for _ in range(updates):
                index = rng.integers(0, n, batch)
                state[0], size = compiled(state[0], tuple(part[index] for part in replay))
            size.block_until_ready()
    else:
        held = tuple(jnp.asarray(part) for part in replay)

        @functools.partial(jax.jit, donate_argnums=0)
        def many(carry: Any, key: Any, held: Any) -> Any:
            index = jax.random.randint(key, (STEPS, batch), 0, n)
            return jax.lax.scan(lambda c, i: step(c, tuple(part[i] for part in held)), carry, index)

        keys = [jax.random.key(1)]

        def run(updates: int) -> None:
            for _ in range(max(updates // STEPS, 1)):
                keys[0], key = jax.random.split(keys[0])
                state[0], sizes = many(state[0], key, held)
            sizes.block_until_ready()

    run(STEPS)
    serve(run)


main()
