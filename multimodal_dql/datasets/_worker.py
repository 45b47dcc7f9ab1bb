"""The decoder process: reads requests from standard input, writes results to standard output, trusts no file.

Started by `_process.DecoderProcess` in a fresh interpreter. Both directions carry frames of a 4-byte
little-endian length and that many bytes of JSON; a result is followed by its raw samples, whose number its
shape gives.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._files import open_regular
from multimodal_dql.datasets._refusals import Refusal

__all__ = ["main"]


def main() -> None:
    """Serve requests until standard input ends; ``sys.argv[1]`` holds the limits as JSON."""
    # Ctrl-C in a terminal reaches the whole group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = json.loads(sys.argv[1])
    # Decoding libraries print to the standard streams. Results keep a descriptor of their own.
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    from multimodal_dql.datasets import _audio, _image

    _lock_up(limits["memory_bytes"])
    _send(out, {"ready": os.getpid()})
    os.dup2(null, 2)  # until here a failing start could be seen
    while request := _receive(0):
        _limit_cpu(limits["timeout_seconds"])
        try:
            fd, size = open_regular(request["path"], limits["file_bytes"])
            try:
                result: NDArray[Any]
                if request["kind"] == "image":
                    with os.fdopen(os.dup(fd), "rb") as file:
                        result = _image.decode_image(file, max_pixels=limits["pixels"], side=limits["side"])
                else:
                    result = _audio.decode_audio(fd, size, max_seconds=limits["seconds"])
            finally:
                os.close(fd)
        except Refusal as refusal:
            _send(out, {"code": refusal.code, "fields": refusal.fields})
        except MemoryError:
            _send(out, {"code": "memory", "fields": {"megabytes": limits["memory_bytes"] / 1e6}})
        except Exception as error:  # a damaged file can raise anything inside a decoder
            code = "picture_damaged" if request["kind"] == "image" else "sound_damaged"
            _send(out, {"code": code, "fields": {"reason": str(error) or type(error).__name__}})
        else:
            _send(out, {"shape": result.shape}, np.ascontiguousarray(result))


def _lock_up(memory_bytes: int) -> None:
    """Bound what a file can make this process take: memory beyond what it has now, no files written, no
    core dumps.
    """
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:  # no /proc: the bound then includes the interpreter
        used = 0
    for kind, limit in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        wanted = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (wanted, wanted))
        except (
            OSError,
            ValueError,
        ):  # not every system lets every limit be set; the parent still watches the clock
            continue


def _limit_cpu(seconds: float) -> None:
    """End this process when one file takes more processor time than allowed, even if the parent has died."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    wanted = int(time.process_time() + seconds) + 2
    resource.setrlimit(
        resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )


def _receive(fd: int) -> dict[str, Any] | None:
    header = _read(fd, 4)
    if len(header) < 4:
        return None
    body = _read(fd, struct.unpack("<I", header)[0])
    return dict(json.loads(body))


def _read(fd: int, length: int) -> bytes:
    data = b""
    while len(data) < length and (part := os.read(fd, length - len(data))):
        data += part
    return data


def _send(fd: int, header: dict[str, Any], payload: NDArray[Any] | None = None) -> None:
    body = json.dumps(header).encode("ascii")
    _write(fd, struct.pack("<I", len(body)) + body)
    if payload is not None:
        _write(fd, payload.data.cast("B"))


def _write(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
