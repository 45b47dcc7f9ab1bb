"""One decoder process, seen from the parent: start it, ask it, give up on it, start it anew."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._refusals import refusal_error
from multimodal_dql.errors import MediaError, MultimodalDQLError

__all__ = ["DecoderProcess", "Kind"]

Kind = Literal["image", "audio"]

_START_SECONDS = 120.0  # a cold disk, not the decoder, decides how long the imports take
_MAX_HEADER = 65_536  # bytes
_PIPE_BYTES = 1 << 20

# The child gets this process's import path, as multiprocessing's spawn does, and imports the worker and
# nothing else.
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from multimodal_dql.datasets._worker import main; main()"
)


class _Gone(Exception):
    pass


class DecoderProcess:
    """A decoder in a process of its own. Not safe for use by two threads at once, except `stop`."""

    def __init__(self, limits: dict[str, float]) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Process id of the running decoder, None when there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def decode(self, kind: Kind, path: Path) -> NDArray[Any]:
        """Decode one file: uint8 (H, W, 3) or float32 (samples,). Raises `MediaError`."""
        request = json.dumps({"kind": kind, "path": os.path.abspath(path)}).encode("ascii")
        if len(request) > _MAX_HEADER // 2:  # would not fit into the pipe in one go, and no path is that long
            raise refusal_error(path, "unreadable", {"reason": "the path is too long"})
        seconds = self._limits["timeout_seconds"]
        try:
            process = self._running()
            deadline = time.monotonic() + seconds
            assert process.stdin is not None  # opened as a pipe
            os.write(process.stdin.fileno(), struct.pack("<I", len(request)) + request)
            header = self._header(process, deadline)
            if "code" in header:
                if header["code"] == "memory":  # its heap may be in pieces: start afresh
                    self._kill()
                raise refusal_error(path, str(header["code"]), _fields(header["fields"]))
            return self._payload(process, kind, header["shape"], deadline)
        except MediaError:
            raise
        except TimeoutError:
            self._kill()
            raise refusal_error(path, "timeout", {"seconds": seconds}) from None
        except (_Gone, OSError, KeyError, TypeError, ValueError):  # died, or sent what no decoder sends
            self._kill()
            raise refusal_error(path, "crashed", {}) from None

    def stop(self) -> None:
        """End the process for good. A decode under way in another thread fails."""
        self._stopped = True
        self._kill()

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is not None and process.poll() is None:
            return process
        self._kill()
        with self._lock:
            if self._stopped:
                raise _Gone
            # One thread: the libraries' pools would only reserve memory that counts against the limit.
            threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own code
                [sys.executable, "-P", "-c", _BOOT, json.dumps(sys.path), json.dumps(self._limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **threads},
                bufsize=0,
            )
            self._process = process
        assert process.stdout is not None  # opened as a pipe
        os.set_blocking(process.stdout.fileno(), False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Fails over the user's quota of pipe memory, which makes it slower, not wrong.
            with contextlib.suppress(OSError):
                fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self._header(process, time.monotonic() + _START_SECONDS)["ready"]
        except (_Gone, TimeoutError, KeyError, ValueError):
            self._kill()
            if self._stopped:
                raise _Gone from None
            raise MultimodalDQLError(
                detail="the process that decodes media did not start; its own error is printed above"
            ) from None
        return process

    def _kill(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _header(self, process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
        (length,) = struct.unpack("<I", _read(process, 4, deadline))
        if length > _MAX_HEADER:
            raise _Gone
        header = json.loads(bytes(_read(process, length, deadline)))
        if not isinstance(header, dict):
            raise _Gone
        return header

    def _payload(
        self, process: subprocess.Popen[bytes], kind: Kind, shape: list[int], deadline: float
    ) -> NDArray[Any]:
        """Raw samples behind a header, as an array that the caller may write to; the shape must be a
        possible one.
        """
        shape = [int(n) for n in shape]
        if kind == "image":
            side = int(self._limits["side"])
            possible = len(shape) == 3 and shape[2] == 3 and all(1 <= n <= side for n in shape[:2])
            dtype: np.dtype[Any] = np.dtype(np.uint8)
        else:
            possible = len(shape) == 1 and 1 <= shape[0] <= self._limits["seconds"] * 16_000 + 1
            dtype = np.dtype(np.float32)
        if not possible:
            raise _Gone
        data = _read(process, math.prod(shape) * dtype.itemsize, deadline)
        return np.frombuffer(data, dtype=dtype).reshape(shape)


def _fields(fields: object) -> dict[str, str | float]:
    """Keep plain numbers and short printable text of what the decoder sent."""
    if not isinstance(fields, dict):
        raise _Gone
    kept: dict[str, str | float] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            kept[name] = "".join(c if c.isprintable() else " " for c in value)[:120].strip()
        elif isinstance(value, int | float):
            kept[name] = value
    return kept


def _read(process: subprocess.Popen[bytes], length: int, deadline: float) -> bytearray:
    """Exactly `length` bytes from the process. Raises TimeoutError at `deadline`, `_Gone` at the end of
    the pipe.
    """
    if process.stdout is None or process.stdout.closed:
        raise _Gone
    fd = process.stdout.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError
        got = os.readv(fd, [view[done:]])
        if got == 0:
            raise _Gone
        done += got
    return data
