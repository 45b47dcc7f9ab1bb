"""Pictures and sounds from files that nobody vouches for, decoded where a crash, a hang or a bomb costs
one error.

Files are decoded in a separate process (a fresh interpreter that imports Pillow, soundfile and soxr,
nothing else) with bounded memory, time and file access; it is replaced when it dies. Pictures come as RGB
uint8, upright, transparency over white, first frame, at most 1,024 pixels on the longer side (no encoder
here looks at more, and a large photo then costs its bytes, not its pixels). Sounds come as mono float32 at
16 kHz within -1..1.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._files import open_regular
from multimodal_dql.datasets._process import DecoderProcess, Kind
from multimodal_dql.datasets._refusals import Refusal, refusal_error
from multimodal_dql.errors import MediaError

__all__ = ["MediaLimits", "MediaLoader", "load_audio", "load_image", "media_digest"]


@dataclass(frozen=True)
class MediaLimits:
    """What one file may cost.

    Attributes:
        pixels: width x height that a picture's header may announce.
        side: pixels on the longer side of a decoded picture; larger ones are reduced.
        seconds: longest sound.
        timeout_seconds: wall and processor time for decoding one file.
        memory_bytes: memory that decoding may take beyond the idle decoder process.
        file_bytes: size of the file itself.

    """

    pixels: int = 64_000_000
    side: int = 1024
    seconds: float = 600.0
    timeout_seconds: float = 20.0
    memory_bytes: int = 2 << 30
    file_bytes: int = 1 << 30


class MediaLoader:
    """Decodes pictures and sounds in `workers` processes that are started when first needed.

    A context manager; safe for use by several threads. `image` and `audio` decode one file and raise
    `MediaError`; `images` and `audios` decode many ahead of the caller and yield arrays or errors, in
    order.
    """

    def __init__(self, limits: MediaLimits | None = None, *, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.limits = limits or MediaLimits()
        self._decoders = [DecoderProcess(asdict(self.limits)) for _ in range(workers)]
        # Last in, first out: a caller that decodes one file at a time keeps to one process.
        self._idle: queue.LifoQueue[DecoderProcess] = queue.LifoQueue()
        for decoder in reversed(self._decoders):
            self._idle.put(decoder)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="media")
        self._closed = False

    def __enter__(self) -> MediaLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the decoders that are running now."""
        return tuple(pid for decoder in self._decoders if (pid := decoder.pid) is not None)

    def image(self, path: str | Path) -> NDArray[np.uint8]:
        """One picture as RGB, shape (H, W, 3), at most `limits.side` on the longer side. Raises
        `MediaError`.
        """
        return cast("NDArray[np.uint8]", self._decode("image", Path(path)))

    def audio(self, path: str | Path) -> NDArray[np.float32]:
        """One sound as mono at 16 kHz, shape (samples,). Raises `MediaError`."""
        return cast("NDArray[np.float32]", self._decode("audio", Path(path)))

    def images(self, paths: Iterable[str | Path]) -> Iterator[NDArray[np.uint8] | MediaError]:
        """As `image` for each of `paths`, in order, decoded ahead by all workers; errors are yielded, not
        raised.
        """
        return self._ahead("image", paths)

    def audios(self, paths: Iterable[str | Path]) -> Iterator[NDArray[np.float32] | MediaError]:
        """As `audio` for each of `paths`, in order, decoded ahead by all workers; errors are yielded, not
        raised.
        """
        return self._ahead("audio", paths)

    def close(self) -> None:
        """End the processes. Decodes under way fail; calling it twice is fine."""
        self._closed = True
        for decoder in self._decoders:
            decoder.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _decode(self, kind: Kind, path: Path) -> NDArray[Any]:
        if self._closed:
            raise RuntimeError("this MediaLoader is closed")
        decoder = self._idle.get()
        try:
            return decoder.decode(kind, path)
        finally:
            self._idle.put(decoder)

    def _try(self, kind: Kind, path: Path) -> NDArray[Any] | MediaError:
        try:
            return self._decode(kind, path)
        except MediaError as error:
            return error

    def _ahead(self, kind: Kind, paths: Iterable[str | Path]) -> Iterator[Any]:
        """Keep two files a worker under way: enough to hide the caller's work, few enough to bound memory."""
        pending: deque[Future[NDArray[Any] | MediaError]] = deque()
        try:
            for path in paths:
                pending.append(self._threads.submit(self._try, kind, Path(path)))
                if len(pending) > 2 * len(self._decoders):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


_shared: tuple[int, MediaLoader] | None = None
_shared_lock = threading.Lock()


def _shared_loader() -> MediaLoader:
    """The loader behind `load_image` and `load_audio`: made once a process, and anew in a process forked
    from it.
    """
    global _shared  # noqa: PLW0603 - one decoder process for all single calls, not one for each
    with _shared_lock:
        if _shared is None or _shared[0] != os.getpid():
            loader = MediaLoader()
            atexit.register(loader.close)
            _shared = (os.getpid(), loader)
        return _shared[1]


def load_image(path: str | Path) -> NDArray[np.uint8]:
    """One picture as RGB uint8, shape (H, W, 3), upright, over white, longer side at most 1,024. Raises
    `MediaError`.
    """
    return _shared_loader().image(path)


def load_audio(path: str | Path) -> NDArray[np.float32]:
    """One sound as mono float32 at 16 kHz, shape (samples,), within -1..1. Raises `MediaError`."""
    return _shared_loader().audio(path)


def media_digest(path: str | Path) -> str:
    """SHA-256 of a media file's bytes, in hexadecimal. Raises `MediaError` for what is not a readable
    file.
    """
    try:
        fd, _ = open_regular(path, MediaLimits().file_bytes)
    except Refusal as refusal:
        raise refusal_error(Path(path), refusal.code, refusal.fields) from None
    with os.fdopen(fd, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
