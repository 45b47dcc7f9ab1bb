"""How many updates a second the learner does, next to peers on the same job, in turns on the same machine.

The job is the same for all: batches of 256 from a replay of 100,000 transitions, observations of 256 numbers, two
hidden layers of 256, 10 actions, double and dueling (Stable-Baselines3: neither, and so a quarter less work), Huber
loss, clipping, Adam, and a soft target at every update (Stable-Baselines3: none within its ``train``).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from multimodal_dql.bench.contest import Contest, hold
from multimodal_dql.bench.training_jobs import Job
from multimodal_dql.errors import UsageError

__all__ = ["DEFAULT_PEERS", "REFERENCE", "bench_training", "peer_commands"]

REFERENCE: dict[int, dict[str, float]] = {
    1: {"stable_baselines3": 292, "jax": 318, "jax_numpy": 306},
    2: {"stable_baselines3": 392, "jax": 484, "jax_numpy": 434},
}
"""Updates a second by threads, measured by us on two cores of a server with AMX; used when no peer is at hand."""
DEFAULT_PEERS = Path(".venv-peers/bin/python")
SCRIPTS = Path(__file__).parent / "peers"
OURS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
PRODUCTS_METHOD = (
    "every matrix product of the traced update, of the same shape, transposes, precision and threads, done alone in "
    "turns with the whole update; the share is the processor time of the products over that of the update"
)


def bench_training(
    job: Job | None = None,
    *,
    peers: Path | None = None,
    rounds: int = 5,
    seconds: float = 1.0,
    patience: float = 180.0,
    seeds: int = 10,
    check_updates: int = 4000,
) -> dict[str, Any]:
    """Measure ours and, with an interpreter that has them, the peers; TensorFlow never starts in this process.

    Args:
        job: threads and sizes; None for the peers' job on 2 threads.
        peers: an interpreter with Stable-Baselines3, JAX and optax; None for `DEFAULT_PEERS` if it is there.
        rounds: of the contest, every contestant once in each.
        seconds: of one turn.
        patience: seconds that a contest waits for rounds in which nobody else used the processors.
        seeds: of the check that bfloat16 learns as well as float32; 0 leaves it out.
        check_updates: updates of each seed.

    Returns:
        ``updates_per_second`` by precision; ``reference`` by peer, and whether ``measured``; ``ratio`` by precision and
        peer: the median over rounds of ours over theirs within a round, or ours over the figure when not measured;
        ``contest``: span, processors used, and how quiet it was; ``products`` share and method; ``candidate_set``;
        ``learning_check``, None without seeds.

    Raises:
        UsageError: `peers` is no interpreter.
        ContestError: a process died.
    """
    job = job or Job()
    python = _interpreter(peers)
    rivals = peer_commands(python, job) if python else {}
    terms: dict[str, Any] = {"seconds": seconds, "rounds": rounds, "patience": patience}
    commands = {p: _ours("dense", replace(job, precision=p)) for p in OURS} | rivals
    commands |= {f"{p} products": _ours("dense-products", replace(job, precision=p)) for p in OURS}
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-bench-") as folder:
        place = Path(folder)
        with hold(commands, job.threads, place) as contestants:
            found = Contest(contestants, **terms).run()
        result = _against_peers(found, list(rivals), job.threads)
        result["products"] = {"share": {p: _share(found, p) for p in OURS}, "method": PRODUCTS_METHOD}
        result["candidate_set"] = _candidate_set(job, place, terms)
        result["learning_check"] = _learning_check(job.threads, seeds, check_updates, place)
    return {"threads": job.threads, "job": _described(job)} | result


def peer_commands(python: Path, job: Job) -> dict[str, list[str]]:
    """Name -> command line of every peer."""

    def command(script: str, feed: str = "scan") -> list[str]:
        return [str(python), "-W", "ignore", str(SCRIPTS / script), replace(job, feed=feed).to_json()]

    return {
        "stable_baselines3": command("sb3_dqn.py"),
        "jax": command("jax_dqn.py"),
        "jax_numpy": command("jax_dqn.py", "numpy"),
    }


def _interpreter(peers: Path | None) -> Path | None:
    """The interpreter of the peers, not resolved: a link in an environment names the environment."""
    if peers is None:
        return DEFAULT_PEERS.absolute() if DEFAULT_PEERS.exists() else None
    if not peers.is_file():
        raise UsageError(
            detail=f"--peers {peers}: there is no such interpreter; make bench-peers builds {DEFAULT_PEERS}",
            detail_zh=f"--peers {peers}：没有这个解释器；make bench-peers 会建立 {DEFAULT_PEERS}",
        )
    return peers.absolute()


def _ours(kind: str, job: Job) -> list[str]:
    return [sys.executable, "-m", "multimodal_dql.bench.training_jobs", kind, job.to_json()]


def _against_peers(found: Mapping[str, Any], rivals: list[str], threads: int) -> dict[str, Any]:
    """Rates and ratios; the figures from elsewhere where no peer ran."""
    rates, ratios = found["rates"], found["ratios"]
    if rivals:
        reference = {name: round(rates[name], 1) for name in rivals}
        ratio = {p: {name: round(ratios[p, name], 3) for name in rivals} for p in OURS}
    else:
        reference = dict(REFERENCE.get(threads, {}))
        ratio = {p: {name: round(rates[p] / rate, 3) for name, rate in reference.items()} for p in OURS}
    return {
        "updates_per_second": {p: round(rates[p], 1) for p in OURS},
        "reference": reference | {"measured": bool(rivals)},
        "ratio": ratio,
        "contest": _terms(found),
    }


def _terms(found: Mapping[str, Any]) -> dict[str, Any]:
    """How a contest went."""
    return {
        "span": {name: [round(x, 1) for x in span] for name, span in found["span"].items()},
        "processors": {name: round(used, 2) for name, used in found["processors"].items()},
        "updates_per_processor_second": {name: round(x, 1) for name, x in found["per_processor"].items()},
        "rounds": found["rounds"],
        "quiet_rounds": found["quiet_rounds"],
        "foreign_processors": round(found["foreign"], 2),
    }


def _share(found: Mapping[str, Any], name: str) -> float:
    """Processor time of the bare products over that of the update: a busy machine disturbs it least."""
    return round(float(found["per_processor"][name] / found["per_processor"][f"{name} products"]), 3)


def _candidate_set(job: Job, place: Path, terms: Mapping[str, Any]) -> dict[str, Any]:
    """The project's own network on a set of candidates."""
    commands = {"update": _ours("set", job), "update products": _ours("set-products", job)}
    with hold(commands, job.threads, place) as contestants:
        found = Contest(contestants, **terms).run()
    gigaflops = contestants[1].facts["flops"] / 1e9
    return {
        "updates_per_second": round(found["rates"]["update"], 2),
        "decisions_per_second": round(found["rates"]["update"] * job.batch),
        "products_share": _share(found, "update"),
        "products_gflop": round(gigaflops, 3),
        "candidates": job.candidates,
        "encoders": job.encoders,
        "hidden": job.set_hidden,
        "members": 1,
        "batch": job.batch,
        "contest": _terms(found),
    }


def _learning_check(threads: int, seeds: int, updates: int, place: Path) -> dict[str, Any] | None:
    """See `training_check`; in a process of its own, as everything that computes."""
    if not seeds:
        return None
    module = "multimodal_dql.bench.training_check"
    command = [sys.executable, "-m", module, str(threads), str(updates)]
    with hold({"learning check": command}, threads, place) as (check,):
        result: dict[str, Any] = check.ask(seeds)["result"]
    return result | {"updates": updates}


def _described(job: Job) -> dict[str, Any]:
    names = ("batch", "width", "hidden", "actions", "replay")
    return {name: getattr(job, name) for name in names} | {"hidden": list(job.hidden)}
