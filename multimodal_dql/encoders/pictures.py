"""A picture of any size to the square of numbers a network reads."""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.cards import Card
from multimodal_dql.errors import EncoderError

__all__ = ["square_input"]

_PATIENCE = 64
"""Pictures resized by Pillow before the compiled code is loaded, which gives the same bits: loading it takes 0.7 s and
each picture gains 1 to 3 ms, so a few are not worth it."""

_MAX_SIDE = 4096
"""Pixels; more is a mistake in a card, and costs gigabytes."""

_resized = count()


def square_input(picture: NDArray[np.uint8], card: Card) -> NDArray[np.float32]:
    """Crop or squash, resize, shift and scale one RGB picture (H, W, 3); shape (side, side, 3).

    From ``card.preprocessing``: `side` in pixels; `resize` ``crop`` (a centre square of `crop` times the shorter
    side) or ``squash`` (all of it, whatever its proportions); `interpolation` ``bicubic``, ``bilinear``,
    ``lanczos`` or ``nearest``; `mean` and `scale` in grey levels (0..255), one number or one a colour, by default 0
    and 1; `colours` ``rgb`` or ``bgr``.
    """
    side = int(card.number("side"))
    if not 1 <= side <= _MAX_SIDE:
        raise EncoderError(
            name=card.name,
            detail=f"preprocessing.side is {side}; write pixels from 1 to {_MAX_SIDE}",
            detail_zh=f"preprocessing.side 为 {side}；请写 1 到 {_MAX_SIDE} 的像素数",
        )
    pixels = _square(picture, card, side)
    if card.word("colours", "rgb", "bgr") == "bgr":
        pixels = pixels[..., ::-1]
    return _shifted(pixels, card.numbers("mean", 0.0), card.numbers("scale", 1.0))


def _square(picture: NDArray[np.uint8], card: Card, side: int) -> NDArray[np.uint8]:
    interpolation = card.word("interpolation", "bicubic", "bilinear", "lanczos", "nearest")
    if card.word("resize", "crop", "squash") == "squash":
        return _by_pillow(picture, side, interpolation)
    height, width = picture.shape[:2]
    edge = card.number("crop", 1.0) * min(height, width)
    # Each border goes to its nearest pixel, so the crop may be a pixel wider than high.
    borders = (width - edge) / 2, (height - edge) / 2, (width + edge) / 2, (height + edge) / 2
    left, upper, right, lower = (round(border) for border in borders)
    right, lower = max(right, left + 1), max(lower, upper + 1)
    # Cropped before it is resized, so that no pixels from beyond the border come in.
    middle = picture[upper:lower, left:right]
    if interpolation != "bicubic" or next(_resized) < _PATIENCE:
        return _by_pillow(middle, side, interpolation)
    if middle.shape[:2] == (side, side):
        return middle
    from multimodal_dql.encoders.resize import resized

    return resized(picture[upper:lower], left, right, side)


def _by_pillow(pixels: NDArray[np.uint8], side: int, interpolation: str) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (side, side):
        return pixels
    from PIL import Image

    method = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), method))


def _shifted(
    pixels: NDArray[np.uint8], mean: tuple[float, ...], scale: tuple[float, ...]
) -> NDArray[np.float32]:
    out = pixels.astype(np.float32)
    out -= np.array(mean, np.float32)
    out /= np.array(scale, np.float32)
    return out
