"""What one item costs an encoder: in a process of its own, on one core, so that nothing else is counted.

Run as a module this is that process: it reads one JSON object from stdin and writes one to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.paths import extra_cards
from multimodal_dql.errors import EncoderError, InputError

__all__ = ["Cost", "encoder_cost"]

_ITEMS = 64
_TIMED_SECONDS = 3.0
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)


@dataclass(frozen=True)
class Cost:
    """What an encoder costs.

    Attributes:
        milliseconds: of processor time an item, on one core, decoding not included.
        load_seconds: until the first item is encoded.
        peak_megabytes: most memory that its process held; Python itself is about 60 of them.
    """

    milliseconds: float
    load_seconds: float
    peak_megabytes: int


def encoder_cost(name: str, modality: Modality, items: Sequence[str]) -> Cost:
    """Measure the encoder `name` on texts, or on files of pictures or sounds; the first `_ITEMS` of them.

    Raises `EncoderError` if it cannot be loaded or does not survive.
    """
    task = {
        "name": name,
        "modality": modality,
        "items": list(items[:_ITEMS]),
        "cards": [str(f) for f in extra_cards()],
    }
    here = {**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-m", "multimodal_dql.bench.encoder_cost"],
        input=json.dumps(task).encode("ascii"),
        capture_output=True,
        check=False,
        env=here,
    )
    lines = done.stdout.splitlines()
    said: dict[str, Any] = json.loads(lines[-1]) if done.returncode == 0 and lines else {}
    if "milliseconds" in said:
        return Cost(**said)
    cause = said.get("detail", f"its process ended with {done.returncode}; is there enough memory?")
    cause_zh = said.get("detail_zh", f"其进程以 {done.returncode} 结束；内存是否足够？")
    raise EncoderError(name=name, detail=cause, detail_zh=cause_zh)


def _measure(task: dict[str, Any]) -> dict[str, float]:
    import time

    from multimodal_dql.encoders.inputs import checked_encode
    from multimodal_dql.encoders.registry import load_encoder, use_cards

    for folder in task["cards"]:
        use_cards(Path(folder))
    items = _decoded(task["modality"], task["items"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = time.perf_counter()
    encoder = load_encoder(task["name"])
    checked_encode(encoder, items[:1])
    loaded = time.perf_counter() - began
    checked_encode(encoder, items)  # compiles, allocates
    start, done = time.process_time(), 0
    while (spent := time.process_time() - start) < _TIMED_SECONDS:
        checked_encode(encoder, items)
        done += len(items)
    return {
        "milliseconds": 1000 * spent / done,
        "load_seconds": loaded,
        "peak_megabytes": _peak_megabytes(),
    }


def _decoded(modality: Modality, items: list[str]) -> list[Any]:
    if modality == "text":
        return items
    from multimodal_dql.datasets.media import MediaLoader

    files = [Path(item) for item in items]
    with MediaLoader() as loader:
        found = list(loader.images(files) if modality == "image" else loader.audios(files))
    return [item for item in found if not isinstance(item, InputError)]


def _peak_megabytes() -> int:
    """Of this program alone: the figure of `getrusage` starts at that of the process which started it."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    given = json.loads(sys.stdin.buffer.read())
    try:
        answer: dict[str, Any] = _measure(given)
    except InputError as error:
        detail = error.fields.get("detail", error.text("en"))
        answer = {"detail": detail, "detail_zh": error.fields.get("detail_zh", error.text("zh"))}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
