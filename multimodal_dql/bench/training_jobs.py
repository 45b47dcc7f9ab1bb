"""Our contestants of `bench training`: ``python -m multimodal_dql.bench.training_jobs KIND JOB``, JOB a `Job` as JSON.

A process of its own for each, because TensorFlow takes its threads before it starts and keeps them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from multimodal_dql.bench.peers.serving import keep_to, serve
from multimodal_dql.bench.products import bare_products, products_of
from multimodal_dql.learning.dueling_mlp import DuelingMLP
from multimodal_dql.learning.graph_replay import GraphReplay
from multimodal_dql.learning.learner import Learner
from multimodal_dql.learning.threads import one_thread_a_shard, shards_for
from multimodal_dql.learning.update import Transitions, UpdateConfig, Updater

__all__ = ["Job", "candidate_learner", "dense_learner"]

ROWS: dict[str, tuple[tuple[int, ...], Any]] = {
    "row": ((), np.int32),
    "next_row": ((), np.int32),
    "action": ((), np.int32),
}
NUMBERS: dict[str, tuple[tuple[int, ...], Any]] = {"reward": ((), np.float32), "factor": ((), np.float32)}
STORIES = 2000


@dataclass(frozen=True)
class Job:
    """What is learned; the same for everyone.

    Attributes:
        threads: processors.
        batch: transitions of an update.
        width: of an observation.
        hidden: widths of the hidden layers.
        actions: number of actions.
        replay: transitions held.
        precision: of the matrix products, ours only.
        candidates: K of the candidate set.
        encoders: that describe a candidate.
        content: width of each encoder's projected embedding.
        set_hidden: H of the candidate network.
        feed: of the JAX peer, see there.
    """

    threads: int = 2
    batch: int = 256
    width: int = 256
    hidden: tuple[int, ...] = (256, 256)
    actions: int = 10
    replay: int = 100_000
    precision: Literal["float32", "bfloat16"] = "float32"
    candidates: int = 20
    encoders: int = 5
    content: int = 24
    set_hidden: int = 64
    feed: str = "scan"

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` wrote."""
        read = json.loads(text)
        return cls(**read | {"hidden": tuple(read["hidden"])})

    @property
    def update(self) -> UpdateConfig:
        """Double Q-learning with Huber loss, clipping at 10, Adam at 1e-3 and a soft target at every update."""
        shards = shards_for(self.batch, self.threads)
        return UpdateConfig(loss="huber", clip_norm=10.0, target_rate=0.005, shards=shards)


def dense_learner(job: Job) -> Learner:
    """The peers' job: a dueling MLP on a table of observations, a transition naming its two rows."""
    import tensorflow as tf

    rng = np.random.Generator(np.random.Philox(key=[0, 12]))
    n = job.replay
    table = tf.Variable(
        tf.cast(rng.standard_normal((2 * n, job.width), dtype=np.float32), job.precision), trainable=False
    )
    replay = _replay(rng, n, 2 * n, job.actions)

    def observe(r: Any) -> Transitions:
        seen, after = tf.gather(table, r["row"]), tf.gather(table, r["next_row"])
        return Transitions(seen, r["action"], r["reward"], r["factor"], after)

    online, target = (
        DuelingMLP(job.width, job.actions, job.hidden, precision=job.precision) for _ in range(2)
    )
    return Learner(Updater(online, target, job.update, observe=observe), replay, job.batch)


def candidate_learner(job: Job) -> Learner:
    """The project's own network: a set of K candidates, each described by several encoders, embeddings by row."""
    import tensorflow as tf

    from multimodal_dql.network import CandidateQNetwork, NetworkConfig
    from multimodal_dql.state import RECORD_WIDTH

    rng = np.random.Generator(np.random.Philox(key=[0, 13]))
    k, widths, context = job.candidates, (job.content,) * job.encoders, 12

    def constant(*shape: int) -> Any:
        return tf.constant(rng.standard_normal(shape, dtype=np.float32))

    content, record, people = (
        constant(STORIES * k, sum(widths)),
        constant(4096, k, RECORD_WIDTH),
        constant(4096, context),
    )
    replay = _replay(rng, job.replay, STORIES, k)
    present = tf.ones((job.batch // job.update.shards, k, job.encoders))
    available = tf.ones((job.batch // job.update.shards, k), tf.bool)

    def state(row: Any) -> dict[str, Any]:
        candidates = tf.gather(content, row[:, None] * k + tf.range(k))
        seen = {"record": tf.gather(record, row % 4096), "context": tf.gather(people, row % 4096)}
        return {"content": candidates, "present": present, "available": available} | seen

    def observe(r: Any) -> Transitions:
        after = state(r["next_row"])
        return Transitions(state(r["row"]), r["action"], r["reward"], r["factor"], after, available)

    shape = NetworkConfig(widths, context, RECORD_WIDTH, 0.05, hidden=job.set_hidden, members=1)
    networks = [CandidateQNetwork(shape) for _ in range(2)]
    for network in networks:
        network.build()
    updater = Updater(networks[0], networks[1], job.update, observe=observe, training=True)
    return Learner(updater, replay, job.batch)


def _replay(rng: np.random.Generator, n: int, rows: int, actions: int) -> GraphReplay:
    replay = GraphReplay(n, ROWS | NUMBERS)
    seen, after = rng.integers(0, rows, (2, n))
    reward, factor = rng.standard_normal(n), 0.99 * (rng.random(n) >= 0.01)
    chosen = rng.integers(0, actions, n)
    replay.add({"row": seen, "next_row": after, "action": chosen, "reward": reward, "factor": factor})
    return replay


def main() -> None:
    """Serve ``dense`` or ``set``: whole updates or, with ``-products``, their matrix products alone."""
    kind, job = sys.argv[1], Job.from_json(sys.argv[2])
    keep_to(job.threads)
    one_thread_a_shard(job.threads)
    learner = candidate_learner(job) if kind.startswith("set") else dense_learner(job)
    run: Callable[[int], object] = learner.learn
    facts: dict[str, object] = {"step": 10 if kind.startswith("set") else 100}
    if kind.endswith("products"):
        products = products_of(learner)
        run, facts["flops"] = bare_products(products), sum(p.flops for p in products)
    run(10)
    serve(run, **facts)


if __name__ == "__main__":
    main()
