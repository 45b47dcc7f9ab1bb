"""Seconds and memory of off-policy evaluation: seven estimators with tuning, 1,000 bootstraps, on synthetic rows.

The job is that of Open Bandit Pipeline 0.5.7 (DM, IPW, SNIPW, DR, SNDR, SWITCH-DR, DRos): 1.7 s for the values and
54 s for the bootstraps of a million rows with ten actions, at a peak of 1.0 GB.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import Decisions, Evaluation, RewardModel
from multimodal_dql.evaluation.ope.decisions import mixed

__all__ = ["ESTIMATED", "bench_evaluate"]

Array = NDArray[np.float64]
ESTIMATED = ("dm", "ips", "snips", "dr", "sndr", "switch_dr", "dr_os")
REFERENCE = {"seconds": 56.0, "peak_mb": 1000.0}
STORIES, PART = 1000, 100_000


def bench_evaluate(
    rows: int = 1_000_000,
    actions: int = 10,
    bootstraps: int = 1000,
    *,
    stream: bool = False,
    only: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure in a process of its own, so that the peak is that of this job and nothing else.

    Args:
        rows: decisions.
        actions: variants of a story.
        bootstraps: resamples.
        stream: rows come from a Parquet file in batches, at constant memory, instead of from arrays; reading is timed.
        only: no smaller files before it.
        seed: of the rows.

    Returns:
        ``seconds`` of everything but generating the rows (fitting and cross-fitted prediction of the reward model,
        checks, estimates, tuning, bootstraps, diagnostics) and its parts; ``peak_mb``, the largest resident size of
        the process, interpreter and held rows included. With `stream` also ``scaling``, for 10^4 rows, 10^5, ... or,
        with `only`, for these rows alone.

    Raises:
        UsageError: the file would not fit on the disk.
    """
    if not stream:
        return {**_process(rows, actions, bootstraps, 0, seed), "reference": {"obp 0.5.7": REFERENCE}}
    _check_room(rows, actions)
    sizes = [*(() if only else (10**k for k in range(4, 10) if 10**k < rows)), rows]
    found = [_process(size, actions, bootstraps, 1, seed) for size in sizes]
    kept = ("rows", "seconds", "processor_seconds", "peak_mb", "file_mb")
    scaling = [{name: one[name] for name in kept} for one in found]
    return {**found[-1], "scaling": scaling, "reference": {"obp 0.5.7": REFERENCE}}


def _check_room(rows: int, actions: int) -> None:
    """Eight bytes a number, and hardly compressible: a unit, an item, an action, two numbers, a target an action."""
    needed, folder = rows * (8 * actions + 26), tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            detail=f"the file takes about {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; name fewer "
            "rows, or another folder in TMPDIR",
            detail_zh=f"文件约需 {needed / 1e9:.1f} GB，而 {folder} 只剩 {free / 1e9:.1f} GB；请减少行数，"
            "或用 TMPDIR 指定其他文件夹",
        )


def _process(*job: int) -> dict[str, Any]:
    code = "from multimodal_dql.bench.evaluate import main; main()"
    done = subprocess.run(  # noqa: S603  (our own interpreter and numbers)
        [sys.executable, "-c", code, *map(str, job)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """What the process of `bench_evaluate` runs; arguments: rows, actions, bootstraps, stream, seed."""
    rows, actions, bootstraps, stream, seed = map(int, sys.argv[1:])
    measure = _streamed if stream else _held
    result = measure(rows, actions, bootstraps, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**result, "peak_mb": round(peak), "estimators": len(ESTIMATED), "rows": rows}))


class Rows:
    """A part of the log: columns by name, ready for model and estimators."""

    def __init__(self, first: int, n: int, actions: int, seed: int) -> None:
        rng = np.random.default_rng([seed, first])
        self.unit = mixed(np.arange(first, first + n, dtype=np.uint64))
        self.item = rng.integers(0, STORIES, n, dtype=np.uint64)
        logits = rng.normal(size=(n, actions))
        logging = np.exp(logits, out=logits)
        logging /= logging.sum(1, keepdims=True)
        logging *= 0.8
        logging += 0.2 / actions
        self.action = (rng.random(n)[:, None] > logging.cumsum(1)[:, :-1]).sum(1)
        self.propensity = logging[np.arange(n), self.action]
        self.reward = (rng.random(n) < 0.02 + 0.08 * self.action / actions).astype(np.float64)
        self.target = rng.dirichlet(np.ones(actions), n)

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Of the candidates."""
        K = self.target.shape[1]
        return self.item[:, None] * np.uint64(K) + np.arange(1, K + 1, dtype=np.uint64)


COLUMNS = ("unit", "item", "action", "propensity", "reward")


def _joined(parts: list[Rows]) -> Rows:
    whole = object.__new__(Rows)
    for name in (*COLUMNS, "target"):
        setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
    return whole


def _held(rows: int, actions: int, bootstraps: int, seed: int) -> dict[str, Any]:
    parts = [Rows(first, min(PART, rows - first), actions, seed) for first in range(0, rows, PART)]
    whole = _joined(parts)
    del parts

    def read() -> Iterator[Rows]:
        for first in range(0, rows, PART):
            part = object.__new__(Rows)
            for name in (*COLUMNS, "target"):
                setattr(part, name, getattr(whole, name)[first : first + PART])
            yield part

    return _measured(read, bootstraps)


def _measured(read: Any, bootstraps: int) -> dict[str, Any]:
    """Two passes: the model, then the evaluation."""
    start, busy = time.perf_counter(), time.process_time()
    model = RewardModel()
    for part in read():
        model.update(part.keys, part.item, part.action, part.reward, part.unit)
    fitted = time.perf_counter()
    evaluation = Evaluation(ESTIMATED, bootstraps=bootstraps, reward_range=(0.0, 1.0))
    for part in read():
        evaluation.update(
            Decisions(
                part.unit,
                part.reward,
                part.action,
                part.propensity,
                part.target,
                model.predict(part.keys, part.item, part.unit),
            )
        )
    summed = time.perf_counter()
    result = evaluation.result()
    end = time.perf_counter()
    return {
        "seconds": round(end - start, 3),
        "processor_seconds": round(time.process_time() - busy, 3),
        "model_seconds": round(fitted - start, 3),
        "pass_seconds": round(summed - fitted, 3),
        "result_seconds": round(end - summed, 3),
        "values": {name: estimate.value for name, estimate in result.estimates.items()},
    }


def _streamed(rows: int, actions: int, bootstraps: int, seed: int) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        writer = None
        for first in range(0, rows, PART):
            part = Rows(first, min(PART, rows - first), actions, seed)
            columns = {name: pa.array(getattr(part, name)) for name in COLUMNS}
            columns["target"] = pa.FixedSizeListArray.from_arrays(pa.array(part.target.ravel()), actions)
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False)
            writer.write_table(table)
        if writer is not None:
            writer.close()

        def read() -> Iterator[Rows]:
            file = pq.ParquetFile(path, pre_buffer=False)
            for batch in file.iter_batches(PART, use_threads=False):
                part = object.__new__(Rows)
                for name in COLUMNS:
                    setattr(part, name, batch.column(name).to_numpy())
                part.target = batch.column("target").flatten().to_numpy().reshape(-1, actions)
                yield part

        size = path.stat().st_size / 1e6
        return {**_measured(read, bootstraps), "file_mb": round(size)}
