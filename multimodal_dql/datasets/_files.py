"""Opening files that may be anything: folders, FIFOs, devices, nothing at all. Never blocks, follows
links.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from multimodal_dql.datasets._refusals import Refusal

__all__ = ["is_sound", "kind_of_bytes", "open_regular"]

# Where a signature stands, the signature, and what it says; the first that fits counts.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyphei", "heic"),
    (4, b"ftyphev", "heic"),
    (4, b"ftypmif1", "heic"),
    (4, b"ftypavif", "picture"),
    (4, b"ftyp", "video"),
    (0, b"\x1a\x45\xdf\xa3", "video"),
    (0, b"%PDF", "pdf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x89PNG", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
    (0, b"GIF8", "picture"),
    (0, b"BM", "picture"),
    (0, b"II*\x00", "picture"),
    (0, b"MM\x00*", "picture"),
    (8, b"WEBP", "picture"),
)


def open_regular(path: str | Path, max_bytes: int) -> tuple[int, int]:
    """Open `path` for reading and return (file descriptor, size in bytes).

    Raises `Refusal` when there is no such file, when it is not a regular file, empty or larger than
    `max_bytes`. The kind is checked before opening (opening a device may act on it) and again on what was
    opened (it may have been exchanged meanwhile); O_NONBLOCK makes the opening of a FIFO return at once.
    """
    try:
        _refuse_special(os.stat(path).st_mode)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal("missing") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise Refusal("unreadable", reason=getattr(error, "strerror", None) or "invalid path") from None
    try:
        info = os.fstat(fd)
        _refuse_special(info.st_mode)
        if info.st_size == 0:
            raise Refusal("empty")
        if info.st_size > max_bytes:
            raise Refusal("file_too_large", megabytes=info.st_size / 1e6, budget=max_bytes / 1e6)
    except BaseException:
        os.close(fd)
        raise
    return fd, info.st_size


def _refuse_special(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    for is_kind, kind in (
        (stat.S_ISDIR, "folder"),
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    ):
        if is_kind(mode):
            raise Refusal("not_a_file", kind=kind)
    raise Refusal("not_a_file", kind="special")


def kind_of_bytes(head: bytes) -> str:
    """What the first bytes of a file look like: a key of the table of seen kinds in `_refusals`."""
    lowered = head.lower()
    if b"<svg" in lowered:
        return "svg"
    if lowered.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<!doctype html", b"<html")):
        return "html"
    if is_sound(head):
        return "sound"
    for start, magic, kind in _MAGIC:
        if head.startswith(magic, start):
            return kind
    return "text" if _is_text(head) else "unknown"


def is_sound(head: bytes) -> bool:
    """Whether the first bytes are those of WAV, FLAC, OGG or MP3."""
    return (
        (head[:4] == b"RIFF" and head[8:12] == b"WAVE")
        or head.startswith((b"fLaC", b"OggS", b"ID3"))
        # MPEG audio frame: 11 sync bits, then a layer and a bit rate that are not the reserved values.
        or (
            len(head) > 3
            and head[0] == 0xFF
            and head[1] & 0xE0 == 0xE0
            and head[1] & 0x06 != 0
            and head[1] & 0x18 != 0x08
            and head[2] & 0xF0 != 0xF0
        )
    )


def _is_text(head: bytes) -> bool:
    """Valid UTF-8 (perhaps cut in its last character) without control characters."""
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return all(c.isprintable() or c in "\t\r\n\x0c" or ord(c) > 0x9F for c in text)
    return False
