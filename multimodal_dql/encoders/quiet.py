"""Silence for libraries that write to the process's streams from C++, below Python's."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

__all__ = ["silenced"]

_lock = threading.RLock()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Sends the file descriptors of stdout and stderr nowhere. Exceptions pass, progress reports do not.

    The streams belong to the whole process: keep the body short, and free of anything that should be seen.
    """
    with _lock, open(os.devnull, "wb") as sink, contextlib.ExitStack() as undo:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, AttributeError):  # closed, or none at all
                stream.flush()
        for descriptor in (1, 2):
            try:
                copy = os.dup(descriptor)
            except OSError:  # a daemon may have closed it
                continue
            undo.callback(os.close, copy)
            undo.callback(os.dup2, copy, descriptor)
            os.dup2(sink.fileno(), descriptor)
        yield
