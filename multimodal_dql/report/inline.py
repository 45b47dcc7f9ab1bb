"""Pictures and sounds made again from decoded samples, as data URIs.

What a user's file holds never reaches the browser: `multimodal_dql.datasets.media` decodes it in an isolated
worker, and what is written into the page is a fresh, small encoding of the plain samples.
"""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import Lang, MediaError
from multimodal_dql.report.usertext import without_folder

__all__ = [
    "CHOSEN_WIDTH",
    "MAX_PAGE_MEDIA_BYTES",
    "THUMBNAIL_WIDTH",
    "Inliner",
    "MediaSource",
    "Picture",
    "Sound",
    "picture_uri",
    "sound_uri",
]

CHOSEN_WIDTH = 480
"""Pixels: the largest picture on the page."""
THUMBNAIL_WIDTH = 176
"""Pixels: a sibling's picture, twice the width at which it is shown."""
MAX_SOUND_SECONDS = 10.0
SOUND_RATE = 16_000
MAX_PAGE_MEDIA_BYTES = 96 * 1024 * 1024
"""Beyond this much inlined media browsers become slow: what comes later (siblings last) is left out."""
_WEBP_QUALITY = 82


class MediaSource(Protocol):
    """What decodes media; `multimodal_dql.datasets.media.MediaLoader` does."""

    def image(self, path: Path) -> NDArray[np.uint8]:
        """RGB, shape (H, W, 3)."""

    def audio(self, path: Path) -> NDArray[np.float32]:
        """Mono at 16 kHz, shape (samples,)."""


@dataclass(frozen=True)
class Picture:
    """A picture for the page, or the reason why there is none.

    Attributes:
        uri: data URI (empty when there is a problem).
        width: pixels.
        height: pixels.
        problem: why it cannot be shown; ``None`` when it can.

    """

    uri: str
    width: int = 0
    height: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Sound:
    """A sound for the page, or the reason why there is none.

    Attributes:
        uri: data URI (empty when there is a problem).
        seconds: how long it plays.
        cut: whether only its beginning is there.
        problem: why it cannot be played; ``None`` when it can.

    """

    uri: str
    seconds: float = 0.0
    cut: bool = False
    problem: str | None = None


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def picture_uri(pixels: NDArray[np.uint8], width: int = CHOSEN_WIDTH) -> Picture:
    """RGB `pixels` (H, W, 3) as WebP, shrunk to at most `width` pixels wide and twice that high."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_WEBP_QUALITY)
    return Picture(_data_uri("image/webp", buffer.getvalue()), image.width, image.height)


def sound_uri(samples: NDArray[np.float32], seconds: float = MAX_SOUND_SECONDS) -> Sound:
    """Mono 16 kHz `samples` (in -1..1) as 16-bit WAV, cut to `seconds`."""
    kept = samples[: round(seconds * SOUND_RATE)]
    pcm = np.rint(np.clip(kept, -1.0, 1.0) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SOUND_RATE)
        out.writeframes(pcm.tobytes())
    return Sound(
        _data_uri("audio/wav", buffer.getvalue()), len(kept) / SOUND_RATE, cut=len(kept) < len(samples)
    )


class Inliner:
    """Media files as data URIs within a budget; a file that cannot be used costs a sentence, not the page.

    Args:
        source: decodes the files.
        folder: the catalogue's; reasons name files as they are called below it.
        lang: language of the reasons.
        left_out: the reason given for what no longer fits the budget.
        budget: bytes of data URIs on the whole page.

    """

    def __init__(
        self, source: MediaSource, folder: Path, lang: Lang, left_out: str, budget: int = MAX_PAGE_MEDIA_BYTES
    ) -> None:
        self._source, self._folder, self._lang = source, folder, lang
        self._left_out, self._budget = left_out, budget
        # The chosen variant is shown large and again in the list of its story: decode it once.
        self._last: tuple[Path, NDArray[np.uint8]] | None = None

    def picture(self, path: Path, width: int) -> Picture:
        """The picture at `path`, at most `width` pixels wide."""
        if self._budget <= 0:
            return Picture("", problem=self._left_out)
        try:
            if self._last is None or self._last[0] != path:
                self._last = (path, self._source.image(path))
        except MediaError as error:
            return Picture("", problem=self._reason(error))
        made = picture_uri(self._last[1], width)
        self._budget -= len(made.uri)
        return made

    def sound(self, path: Path) -> Sound:
        """The beginning of the sound at `path`."""
        if self._budget <= 0:
            return Sound("", problem=self._left_out)
        try:
            samples = self._source.audio(path)
        except MediaError as error:
            return Sound("", problem=self._reason(error))
        made = sound_uri(samples)
        self._budget -= len(made.uri)
        return made

    def _reason(self, error: MediaError) -> str:
        return without_folder(error.text(self._lang), self._folder)
