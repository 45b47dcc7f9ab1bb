"""What encoders read of a variant: its content key, its decoded input, and a guarded call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Variant
from multimodal_dql.datasets.media import MediaLoader, media_digest
from multimodal_dql.encoders.base import Encoder, Modality
from multimodal_dql.encoders.plugins import one_line
from multimodal_dql.errors import EncoderError, InputError

__all__ = ["checked_encode", "content_key", "decoded", "source"]

_DECODERS = 4


def checked_encode(encoder: Encoder, items: list[Any]) -> NDArray[np.float32]:
    """`encoder.encode(items)`, or an `EncoderError` that names the encoder if it breaks its contract."""
    try:
        vectors = encoder.encode(items)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # an encoder may be a stranger's code
        detail = one_line(error)
        raise EncoderError(name=encoder.name, detail=detail, detail_zh=f"引发异常 {detail}") from error
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


def source(variant: Variant, modality: Modality) -> str | Path | None:
    """What an encoder of `modality` reads of `variant`: its text, or the path of its file."""
    return {"text": variant.caption, "image": variant.image, "audio": variant.audio}[modality]


def decoded(
    modality: Modality, sources: Iterable[str | Path], loader: MediaLoader | None = None
) -> Iterator[Any]:
    """Inputs of encoders, or the `MediaError` that a file gave, in order; by `loader` if there is one.

    Files are decoded while the caller works on those before them, by at most `_DECODERS` processes: an encoder
    computes on one thread, and what that cannot keep up with need not be decoded sooner.
    """
    if modality == "text":
        yield from sources
        return
    if loader is not None:
        yield from (loader.images if modality == "image" else loader.audios)(sources)
        return
    cores = len(os.sched_getaffinity(0))
    with MediaLoader(workers=max(1, min(_DECODERS, cores - 1))) as own:
        yield from decoded(modality, sources, own)
