"""Rows of a catalogue -> embeddings in the stores, unit by unit, in constant memory, interruptible at any point.

A unit is so many rows that follow each other in the catalogue. Of its contents those that an encoder lacks are
encoded together and stored together, all or nothing. So what is encoded with what depends on the catalogue and on
what was cached before, and on nothing else: a run that was killed and started again, and a run on many machines,
store the same bytes in the same order as one that went through. (Sums in float32 are rounded differently in
batches of another size, if ever so little.)
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Variant
from multimodal_dql.encoders.base import Encoder, EncoderInfo, Modality
from multimodal_dql.encoders.inputs import checked_encode, decoded, source
from multimodal_dql.encoders.languages import covers
from multimodal_dql.encoders.registry import encoder_info, encoder_languages, load_encoder
from multimodal_dql.encoders.store import VectorStore
from multimodal_dql.errors import EncoderError, InputError

__all__ = [
    "MODALITIES",
    "UNIT_ROWS",
    "Active",
    "Engine",
    "Job",
    "LocalEngine",
    "Made",
    "Row",
    "Vectors",
    "encode_rows",
    "make",
]

MODALITIES: tuple[Modality, ...] = ("text", "image", "audio")
"""In the order in which they are encoded."""

UNIT_ROWS: dict[Modality, int] = {"text": 256, "image": 16, "audio": 16}
"""Rows of a unit: what a run that is killed loses at most, and the unit that is being written."""

_BATCH_BYTES = 64 << 20
"""Decoded pictures and sounds that go to an encoder together; ten minutes of sound are 38 MB."""

Row = tuple[Variant, bytes | None]
"""A variant and the key of its content in the modality at hand; None if it has none."""

Vectors = dict[bytes, NDArray[np.float32]]


@dataclass(eq=False)
class Active:
    """One encoder in a run: its facts, its store, and the model once it is needed."""

    info: EncoderInfo
    languages: tuple[str, ...]
    store: VectorStore
    model: Encoder | None

    @classmethod
    def of(cls, encoder: str | Encoder, root: Path) -> Active:
        """An encoder by name, or one made by the caller, with its store below `root`."""
        if isinstance(encoder, Encoder):
            return cls(encoder.info, tuple(encoder.languages), VectorStore(root, encoder.info), encoder)
        info = encoder_info(encoder)
        return cls(info, encoder_languages(encoder), VectorStore(root, info), None)

    def load(self) -> Encoder:
        """The model, made at the first call."""
        if self.model is None:
            self.model = load_encoder(self.info.name)
        return self.model

    def covers(self, variant: Variant) -> bool:
        """Whether the encoder understands the text of `variant`; others understand everything."""
        return self.info.modality != "text" or covers(self.languages, variant.caption or "")


@dataclass(frozen=True)
class Job:
    """The contents of one unit that some encoder lacks.

    Attributes:
        sources: key -> text or path, in the order of the catalogue.
        wanted: encoder name -> the keys it lacks.

    """

    sources: dict[bytes, str | Path]
    wanted: dict[str, frozenset[bytes]]


@dataclass(frozen=True)
class Made:
    """What came of a job: encoder name -> key -> vector, and why some contents gave none."""

    vectors: dict[str, Vectors] = field(default_factory=dict)
    broken: dict[bytes, InputError] = field(default_factory=dict)


class Engine(Protocol):
    """Where the work is done."""

    def ready(self, active: Active) -> None:
        """Makes sure that the encoder can be had; raises `EncoderUnavailable`."""
        ...

    def run(
        self, modality: Modality, encoders: Sequence[Active], jobs: Iterator[Job]
    ) -> Iterator[tuple[Job, Made]]:
        """Each job with what came of it, in order; jobs may be taken ahead."""
        ...


class LocalEngine:
    """The calling process: one network at a time, files decoded ahead of it in other processes."""

    def ready(self, active: Active) -> None:
        """Loads the model."""
        active.load()

    def run(
        self, modality: Modality, encoders: Sequence[Active], jobs: Iterator[Job]
    ) -> Iterator[tuple[Job, Made]]:
        """Each job with what came of it."""
        begun: deque[Job] = deque()

        def sources() -> Iterator[str | Path]:
            for job in jobs:
                begun.append(job)
                yield from job.sources.values()

        items = decoded(modality, sources())
        for first in items:
            job = begun.popleft()
            models = {
                active.info.name: active.load() for active in encoders if active.info.name in job.wanted
            }
            yield job, make(models, job, chain([first], islice(items, len(job.sources) - 1)))


def make(encoders: Mapping[str, Encoder], job: Job, items: Iterable[Any]) -> Made:
    """What `encoders` make of `items`, the decoded sources of `job` in their order."""
    made = Made({name: {} for name in job.wanted})
    waiting: dict[str, dict[bytes, Any]] = {name: {} for name in job.wanted}
    waiting_bytes = dict.fromkeys(job.wanted, 0)

    def flush(name: str) -> None:
        # NumPy's matrix library on one thread: sums do not depend on the processors here, small products are
        # many times faster, and workers beside each other do not fight.
        with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
            made.vectors[name].update(_vectors(encoders[name], waiting[name], made.broken))
        waiting[name], waiting_bytes[name] = {}, 0

    for key, item in zip(job.sources, items, strict=True):
        if isinstance(item, InputError):
            made.broken[key] = item
            continue
        # Each encoder fills batches of its own, so that its batches do not depend on what the others lack.
        for name, wanted in job.wanted.items():
            if key in wanted:
                waiting[name][key] = item
                waiting_bytes[name] += getattr(item, "nbytes", 0)
                if waiting_bytes[name] >= _BATCH_BYTES:
                    flush(name)
    for name in job.wanted:
        flush(name)
    return made


def encode_rows(
    modality: Modality,
    encoders: list[Active],
    rows: Iterable[Row],
    engine: Engine,
    *,
    available: Callable[[Active], bool],
    lost: Callable[[Variant, InputError], None],
    stored: Callable[[Active, Vectors, int], None],
) -> None:
    """Encodes and stores what `encoders`, all of `modality`, lack of `rows`.

    Args:
        modality: of the encoders.
        encoders: each with its store.
        rows: in the order of the catalogue.
        engine: where the work is done.
        available: asked before an encoder is used for the first time; one that is not is left out.
        lost: called for each variant whose content gave no embedding, with the reason.
        stored: called for each encoder of a job with the new vectors, and how many contents they came from.

    Raises:
        EncoderError: an encoder failed on everything that it was given; it is to blame, not the catalogue.
    """
    proven: set[str] = set()
    waiting: dict[bytes, list[Variant]] = {}
    failed: dict[bytes, InputError] = {}
    usable: dict[str, bool] = {}

    def use(active: Active) -> bool:
        if active.info.name not in usable:
            usable[active.info.name] = available(active)
        return usable[active.info.name]

    def jobs() -> Iterator[Job]:
        taken = iter(rows)
        while unit := list(islice(taken, UNIT_ROWS[modality])):
            fresh: dict[bytes, list[Variant]] = {}
            for variant, key in unit:
                if key is None:
                    continue
                if key in failed:
                    lost(variant, failed[key])
                elif key in waiting:
                    waiting[key].append(variant)
                else:
                    fresh.setdefault(key, []).append(variant)
            wanted: dict[str, frozenset[bytes]] = {}
            for active in encoders:
                mine = {key for key, variants in fresh.items() if active.covers(variants[0])}
                held = active.store.holds(mine)
                if held:
                    proven.add(active.info.name)
                missing = frozenset(mine - held)
                if missing and use(active):
                    wanted[active.info.name] = missing
            sources: dict[bytes, str | Path] = {}
            for key, variants in fresh.items():
                given = source(variants[0], modality)
                if given is not None and any(key in keys for keys in wanted.values()):
                    sources[key] = given
                    waiting[key] = variants
            if sources:
                yield Job(sources, wanted)

    def settle(job: Job, made: Made, kept: Future[None]) -> None:
        kept.result()
        for active in encoders:
            if active.info.name in job.wanted:
                stored(active, made.vectors[active.info.name], len(job.wanted[active.info.name]))
        for key in job.sources:
            waiting.pop(key, None)

    # A unit is written while the next one is encoded: waiting for the disk costs no time.
    with ThreadPoolExecutor(1, "store") as writer:
        before: tuple[Job, Made, Future[None]] | None = None
        for job, made in engine.run(modality, encoders, jobs()):
            if before is not None:
                settle(*before)
            _prove(proven, job, made)
            before = job, made, writer.submit(_keep, encoders, made)
            failed |= made.broken
            for key, error in made.broken.items():
                for variant in waiting.pop(key):
                    lost(variant, error)
        if before is not None:
            settle(*before)


def _keep(encoders: Sequence[Active], made: Made) -> None:
    """Stores what was made, encoder by encoder in their order."""
    for active in encoders:
        active.store.append(made.vectors.get(active.info.name, {}))


def _prove(proven: set[str], job: Job, made: Made) -> None:
    """Adds the encoders that gave something to `proven`; `EncoderError` for one that never did."""
    for name in job.wanted:
        if made.vectors[name]:
            proven.add(name)
        elif name not in proven:
            _refuse_useless(name, job, made)


def _refuse_useless(name: str, job: Job, made: Made) -> None:
    """Raises `EncoderError` if the encoder failed on several contents, and on every one."""
    errors = [made.broken.get(key) for key in job.wanted[name]]
    own = [e for e in errors if isinstance(e, EncoderError) and e.fields["name"] == name]
    if len(own) == len(errors) > 1:
        raise EncoderError(
            name=name,
            detail=f"it failed on all of the first {len(own)} items ({own[-1].fields['detail']}); leave it out of "
            f"--encoders, or see: multimodal-dql encoders check {name}",
            detail_zh=f"它在前 {len(own)} 项上全部失败（{own[-1].fields['detail_zh']}）；请从 --encoders 中去掉它，"
            f"或运行：multimodal-dql encoders check {name}",
        )


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """The process's libraries with threads, looked for (8 ms) when something has been imported."""
    from threadpoolctl import ThreadpoolController

    del modules
    return ThreadpoolController()


def _vectors(encoder: Encoder, items: Mapping[bytes, Any], broken: dict[bytes, InputError]) -> Vectors:
    """Key -> vector; if a batch fails, its items are tried one by one, so a bad one costs only itself."""
    if not items:
        return {}
    try:
        return dict(zip(items, checked_encode(encoder, list(items.values())), strict=True))
    except EncoderError as error:
        if len(items) == 1:
            broken.update(dict.fromkeys(items, error))
            return {}
    made: Vectors = {}
    for key, item in items.items():
        made |= _vectors(encoder, {key: item}, broken)
    return made
