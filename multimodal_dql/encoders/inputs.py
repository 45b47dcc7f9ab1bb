"""What encoders read of a variant: its content key, its decoded input, and a guarded call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Variant
from multimodal_dql.datasets.media import MediaLoader, media_digest
from multimodal_dql.encoders.base import Encoder, Modality
from multimodal_dql.encoders.plugins import one_line
from multimodal_dql.errors import EncoderError, InputError

__all__ = ["checked_encode", "content_key", "decoded_chunks"]

_CHUNK = {"text": 256, "image": 16, "audio": 16}
"""Items encoded and stored at once: what an interrupted run loses at most."""


def checked_encode(encoder: Encoder, items: list[Any]) -> NDArray[np.float32]:
    """`encoder.encode(items)`, or an `EncoderError` that names the encoder if it breaks its contract."""
    try:
        vectors = encoder.encode(items)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # an encoder may be a stranger's code
        detail = one_line(error)
        raise EncoderError(name=encoder.name, detail=detail, detail_zh=detail) from error
    if not isinstance(vectors, np.ndarray) or vectors.shape != (len(items), encoder.dim):
        shape = getattr(vectors, "shape", type(vectors).__name__)
        wanted = (len(items), encoder.dim)
        raise EncoderError(
            name=encoder.name,
            detail=f"it gave {shape} instead of {wanted}; mend it, `encoders check` shows more",
            detail_zh=f"它返回 {shape}，应为 {wanted}；请修正，`encoders check` 会给出详情",
        )
    if not np.isfinite(vectors).all():
        raise EncoderError(
            name=encoder.name,
            detail="it gave NaN or infinity for this input",
            detail_zh="它对该输入返回了 NaN 或无穷大",
        )
    return vectors


def content_key(variant: Variant, modality: Modality) -> bytes | None:
    """SHA-256 of what an encoder of `modality` reads of `variant`; None if there is nothing.

    Raises `MediaError` for a file that cannot be read.
    """
    if modality == "text":
        text = variant.caption
        return (
            hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() if text and text.strip() else None
        )
    path = variant.image if modality == "image" else variant.audio
    return None if path is None else bytes.fromhex(media_digest(path))


def decoded_chunks(modality: Modality, todo: Mapping[bytes, Variant]) -> Iterator[dict[bytes, Any]]:
    """Chunks of key -> decoded input (or the `MediaError` it gave), files decoded ahead of the encoders."""
    if modality == "text":
        yield from _chunks(((key, variant.caption) for key, variant in todo.items()), _CHUNK["text"])
    elif modality == "image":
        files = {key: variant.image for key, variant in todo.items() if variant.image is not None}
        with MediaLoader() as loader:
            yield from _chunks(zip(files, loader.images(files.values()), strict=True), _CHUNK["image"])
    else:
        files = {key: variant.audio for key, variant in todo.items() if variant.audio is not None}
        with MediaLoader() as loader:
            yield from _chunks(zip(files, loader.audios(files.values()), strict=True), _CHUNK["audio"])


def _chunks(pairs: Iterator[tuple[bytes, Any]], size: int) -> Iterator[dict[bytes, Any]]:
    while chunk := dict(islice(pairs, size)):
        yield chunk
