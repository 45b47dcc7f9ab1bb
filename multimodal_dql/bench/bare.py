"""How much of the time of an encoding run is the network itself.

Three rates on the same items, measured in turns so that whatever else the machine does falls on all of them: the
runtime alone (the calls that the encoder makes to it, repeated with their ready inputs), the encoder (with
tokenizer, resizing, pooling), and the whole command (reading the catalogue, hashing, decoding beside, storing).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.base import Encoder
from multimodal_dql.encoding import UNIT_ROWS
from multimodal_dql.encoding_stream import encode_file

__all__ = ["Recorded", "against_bare", "bare_calls"]

_RUNTIMES = {
    "use-multilingual": ("_network",),
    "minilm": ("_run",),
    "efficientnet-lite0": ("_interpreter",),
    "speech-embedding": ("_mel", "_sliding", "_embedding"),
}
"""Where a built-in encoder keeps what computes."""

Work = Callable[[], object]


class Recorded:
    """Stands for `target` and writes down every call to it or to its methods."""

    def __init__(self, target: Any, calls: list[Work]) -> None:
        self._target, self._calls = target, calls

    def __call__(self, *args: Any) -> Any:
        """A call to `target`."""
        self._calls.append(lambda: self._target(*args))
        return self._target(*args)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return Recorded(found, self._calls) if callable(found) else found


def bare_calls(encoder: Encoder, batches: Sequence[Sequence[Any]]) -> list[Work]:
    """The calls to its runtime by which `encoder` encodes `batches`, each with its inputs, to be repeated."""
    calls: list[Work] = []
    kept = {name: getattr(encoder, name) for name in _RUNTIMES[encoder.name]}
    try:
        for name, runtime in kept.items():
            setattr(encoder, name, Recorded(runtime, calls))
        for batch in batches:
            encoder.encode(batch)
    finally:
        for name, runtime in kept.items():
            setattr(encoder, name, runtime)
    return calls


def against_bare(encoder: Encoder, items: Sequence[Any], catalogue: Path, repeats: int) -> dict[str, float]:
    """Items a second of the runtime, the encoder and the command; the shares of the latter two in the first.

    The shares are of the processor time of the thread that computes, so that they hold on a busy machine as well:
    .9 means that this thread spends a tenth of it on something else than the network. Decoding and the reading of
    decoded files go on beside it, and cost nothing as long as another processor is free.

    Args:
        encoder: a built-in one, loaded.
        items: decoded inputs.
        catalogue: a file that holds them in this order, all different.
        repeats: rounds; the median counts.

    """
    size = UNIT_ROWS[encoder.modality]
    batches = [items[at : at + size] for at in range(0, len(items), size)]
    calls = bare_calls(encoder, batches)

    def command() -> None:
        with tempfile.TemporaryDirectory(prefix="multimodal-dql-bench-") as cache:
            encode_file(catalogue, [encoder], cache=Path(cache))

    works: dict[str, Work] = {
        "runtime": lambda: [call() for call in calls],
        "encoder": lambda: [encoder.encode(batch) for batch in batches],
        "command": command,
    }
    wall: dict[str, list[float]] = {name: [] for name in works}
    used: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(max(1, repeats) + 1):
        for name, work in works.items():
            began, began_thread = time.perf_counter(), time.thread_time()
            work()
            if turn:  # the first is to warm up
                wall[name].append(time.perf_counter() - began)
                used[name].append(time.thread_time() - began_thread)
    least = statistics.median(used["runtime"])
    return {
        **{name: round(len(items) / statistics.median(seconds), 1) for name, seconds in wall.items()},
        "encoder_share": round(least / statistics.median(used["encoder"]), 3),
        "command_share": round(least / statistics.median(used["command"]), 3),
    }
