"""How many microseconds one decision takes on one thread, next to a plain network and to published figures.

The measured decisions: an audience of 64 numbers, candidates of 64 numbers from one encoder, a record of 3, a network
of hidden width 256 with an audience layer of 64 and one member, siblings pooled, and a Bayesian head of 64 posterior
samples.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.plain_network import plain_networks
from multimodal_dql.decider import Decider, Prepared, ThompsonHead
from multimodal_dql.decider_weights import Sizes
from multimodal_dql.last_layer import LastLayer
from multimodal_dql.run_file import LAYER, SCHEMA_VERSION, WEIGHTS

__all__ = ["GOALS", "PUBLISHED", "bench_decide", "measure", "write_run"]

GOALS = {
    "10": {"p50_us": 100, "network_p50_us": 40},
    "100": {"p50_us": 500, "network_p50_us": 200},
    "load_ms": 200,
}
"""What one thread of a server with about 100 GFLOP/s a core should reach."""

PUBLISHED = {
    "Vowpal Wabbit squarecb, features parsed beforehand": {
        "10": {"p50_us": [42, 87]},
        "100": {"p50_us": [439, 623]},
        "measured_here": False,
    }
}
"""Microseconds a decision on another machine, (lowest, highest) of its settings."""

SIZES = Sizes(widths=(64,), context=64, record=3, hidden=256, members=1, audience=64)
BASE_RATE = 0.02
SAMPLES = 64
SKETCH = 64
CANDIDATES = (10, 100)
Work = dict[tuple[str, str], Callable[[int], object]]
"""What is timed, by decider or reference and kind; called with the number of the call."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

LOAD = """import sys, time
began = time.perf_counter()
from pathlib import Path
from multimodal_dql.decider import Decider
ready = time.perf_counter()
Decider.load(Path(sys.argv[1]), compiled=len(sys.argv) > 2)
print(1e3 * (time.perf_counter() - ready), 1e3 * (ready - began))
"""


def bench_decide(rounds: int = 20, calls: int = 300) -> dict[str, Any]:
    """Time decisions in a fresh process that has one thread.

    Args:
        rounds: of measuring; reported are medians over rounds, so that what else the machine does counts little.
        calls: of each kind in a round.

    Returns:
        ``"10"`` and ``"100"``, the number of candidates: ``network_*`` are Q of prepared candidates in front of a new
        audience; ``p50_us`` and ``p99_us`` the whole decision, from raw arrays to a choice and its probability;
        ``prepared_*`` the same with prepared candidates. These are with compiled steps, ``numpy`` has them without.
        ``load_ms`` is `Decider.load` in a fresh process, ``process_ms`` that whole process, ``numpy_process_ms`` one
        that imports NumPy and ends.
    """
    code = "import json; from multimodal_dql.bench.decide import measure"
    measured = json.loads(_python(f"{code}; print(json.dumps(measure({rounds}, {calls})))").splitlines()[-1])
    return {
        **measured["compiled"],
        "numpy": measured["numpy"],
        "reference": {**measured["reference"], **PUBLISHED},
        **_loading(max(3, rounds // 4)),
        "largest_difference": measured["largest_difference"],
        "goals": GOALS,
        "network": {
            "context": SIZES.context,
            "content": SIZES.content,
            "hidden": SIZES.hidden,
            "audience": SIZES.audience,
            "members": SIZES.members,
            "head_samples": SAMPLES,
        },
        "threads": 1,
    }


def measure(rounds: int, calls: int) -> dict[str, Any]:
    """All figures but those of loading, in this process with the threads that it has."""
    rng = np.random.Generator(np.random.Philox(key=[0, 8]))
    tensors, head = _tensors(rng), _head(rng)
    deciders = {
        "compiled": Decider.from_tensors(tensors, BASE_RATE, head=head, compiled=True),
        "numpy": Decider.from_tensors(tensors, BASE_RATE, head=head),
    }
    references = plain_networks(rng, SIZES.context + SIZES.content)
    out: dict[str, Any] = {"compiled": {}, "numpy": {}, "reference": {}, "largest_difference": 0.0}
    for k in CANDIDATES:
        asked = _Asked(rng, k, calls)
        work: Work = {(name, ""): partial(asked.plain, run) for name, run in references.items()}
        found_q = []
        for name, decider in deciders.items():
            kept = decider.prepare(asked.content, asked.present, asked.record, asked.available)
            found_q.append(decider.q(kept, asked.contexts[0]))
            work[name, "network_"] = partial(asked.network, decider, kept)
            work[name, "prepared_"] = partial(asked.prepared, decider, kept)
            work[name, ""] = partial(asked.whole, decider)
        for (name, kind), found in _times(work, rounds, calls).items():
            place = out if name in out else out["reference"]
            place.setdefault(name, {}).setdefault(str(k), {}).update(
                {f"{kind}{p}_us": us for p, us in found.items()}
            )
        gap = float(np.abs(found_q[0] - found_q[1]).max() / np.abs(found_q[0]).max())
        out["largest_difference"] = max(out["largest_difference"], gap)
    return out


class _Asked:
    """The arrays of decisions among the same K candidates, and what is timed about them."""

    def __init__(self, rng: np.random.Generator, k: int, calls: int) -> None:
        self.content, self.own = _normal(rng, k, SIZES.content), _normal(rng, k, SAMPLES)
        self.present, self.available = np.ones((k, 1), np.float32), np.ones(k, bool)
        self.record = np.tile(np.array([0.0, 1.0, 0.0], np.float32), (k, 1))
        self.contexts, self.u = _normal(rng, calls, SIZES.context), rng.random(calls).tolist()

    def plain(self, network: Callable[..., object], i: int) -> object:
        return network(self.contexts[i], self.content)

    def network(self, decider: Decider, kept: Prepared, i: int) -> object:
        return decider.q(kept, self.contexts[i])

    def prepared(self, decider: Decider, kept: Prepared, i: int) -> object:
        return decider.decide(kept, self.contexts[i], self.u[i], own=self.own)

    def whole(self, decider: Decider, i: int) -> object:
        return decider.decide(
            self.content, self.contexts[i], self.u[i], self.present, self.record, self.available, self.own
        )


def write_run(folder: Path, seed: int = 0) -> None:
    """A run directory with random weights of the measured sizes, as `Agent.save` would write it."""
    from safetensors.numpy import save

    rng = np.random.Generator(np.random.Philox(key=[seed, 8]))
    data = save({f"network/candidate_q_network/{name}": tensor for name, tensor in _tensors(rng).items()})
    layer = save(LastLayer.prior(sum(SIZES.widths)).tensors())
    network = {
        "widths": list(SIZES.widths),
        "context_width": SIZES.context,
        "record_width": SIZES.record,
        "hidden": SIZES.hidden,
        "members": SIZES.members,
        "audience": SIZES.audience,
        "modality_dropout": 0.1,
        "content_noise": 0.5,
        "seed": seed,
    }
    config = {
        "schema_version": SCHEMA_VERSION,
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "last_layer_sha256": hashlib.sha256(layer).hexdigest(),
        "network": network,
        "base_rate": BASE_RATE,
        "context": [{"name": "x", "kind": "number", "values": [], "low": 0.0, "high": 1.0}],
        "encoders": [{"name": "random", "modality": "text", "fingerprint": "random"}],
        "fold": [],
        "item_ids": [],
        "winners": [],
        "audience": [[0.5]],
        "facts": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(data)
    (folder / LAYER).write_bytes(layer)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _loading(repeats: int) -> dict[str, float]:
    """Milliseconds to load a run, each in a fresh process: medians."""
    found: dict[str, list[float]] = {"load_ms": [], "import_ms": [], "load_compiled_ms": []}
    processes: dict[str, list[float]] = {"process_ms": [], "numpy_process_ms": []}
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-bench-") as folder:
        write_run(Path(folder))
        _python(LOAD, folder, "compiled")  # compiles, fills caches
        for _ in range(repeats):
            began = time.perf_counter()
            load, imports = (float(ms) for ms in _python(LOAD, folder).split())
            loaded = time.perf_counter()
            _python("import numpy")
            processes["process_ms"].append(1e3 * (loaded - began))
            processes["numpy_process_ms"].append(1e3 * (time.perf_counter() - loaded))
            found["load_ms"].append(load)
            found["import_ms"].append(imports)
            found["load_compiled_ms"].append(float(_python(LOAD, folder, "compiled").split()[0]))
    return {name: round(median(ms), 1) for name, ms in (found | processes).items()}


def _times(work: Work, rounds: int, calls: int) -> dict[tuple[str, str], dict[str, float]]:
    """Median and 99th percentile in microseconds of each, by turns: medians over the rounds after a first."""
    clock = time.perf_counter_ns
    found: dict[tuple[str, str], list[NDArray[np.float64]]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, call in work.items():
            spent = np.empty(calls)
            for i in range(calls):
                began = clock()
                call(i)
                spent[i] = clock() - began
            found[name].append(np.percentile(spent, (50, 99)) / 1e3)
    medians = {name: np.median(of[1:], axis=0) for name, of in found.items()}
    return {name: {"p50": round(float(m[0]), 1), "p99": round(float(m[1]), 1)} for name, m in medians.items()}


def _python(code: str, *arguments: str) -> str:
    """What a fresh interpreter with one thread prints."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    # The package as imported here, wherever it was imported from.
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    done = subprocess.run(  # noqa: S603 - this interpreter, this code
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32)


def _tensors(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Random weights of about the size that training leaves."""
    out = {}
    for name, shape in SIZES.shapes().items():
        scale = 1.0 / max(shape[-2], 1) ** 0.5 if name.endswith("kernel") else 0.1
        out[name] = scale * _normal(rng, *shape) + np.float32(name.endswith("gain"))
    return out


def _head(rng: np.random.Generator) -> ThompsonHead:
    """Random samples, and products of random signs as complete ones would be too many."""
    features = 1 + SIZES.context + SIZES.content + SKETCH + SIZES.hidden
    w, v = (np.sign(_normal(rng, width, SKETCH)) for width in (SIZES.content, SIZES.context))
    weights = 0.1 * _normal(rng, features, SAMPLES)
    return ThompsonHead.of(weights, SIZES.context, SIZES.content, SIZES.hidden, (w, v))
