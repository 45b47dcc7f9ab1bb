"""A picture of any size to the square of numbers a network reads."""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.cards import Card

__all__ = ["square_input"]

_PATIENCE = 64
"""Pictures resized by Pillow before the compiled code is loaded, which gives the same bits: loading it takes 0.7 s and
each picture gains 1 to 3 ms, so a few are not worth it."""

_resized = count()


def square_input(picture: NDArray[np.uint8], card: Card) -> NDArray[np.float32]:
    """Centre crop, bicubic resize, shift and scale of one RGB picture (H, W, 3); shape (side, side, 3).

    From ``card.preprocessing``: `side` in pixels, `crop` as a share of the shorter side, `mean` and `scale`
    in grey levels (0..255).
    """
    side = int(card.number("side"))
    height, width = picture.shape[:2]
    edge = card.number("crop", 1.0) * min(height, width)
    # Each border goes to its nearest pixel, so the crop may be a pixel wider than high.
    borders = (width - edge) / 2, (height - edge) / 2, (width + edge) / 2, (height + edge) / 2
    left, upper, right, lower = (round(border) for border in borders)
    right, lower = max(right, left + 1), max(lower, upper + 1)
    mean, scale = card.number("mean"), card.number("scale")
    # Cropped before it is resized, so that no pixels from beyond the border come in.
    middle = picture[upper:lower, left:right]
    if middle.shape[:2] == (side, side):
        return _shifted(middle, mean, scale)
    if next(_resized) < _PATIENCE:
        from PIL import Image

        square = Image.fromarray(middle).resize((side, side), Image.Resampling.BICUBIC)
        return _shifted(np.asarray(square), mean, scale)
    from multimodal_dql.encoders.resize import resized

    return _shifted(resized(picture[upper:lower], left, right, side), mean, scale)


def _shifted(pixels: NDArray[np.uint8], mean: float, scale: float) -> NDArray[np.float32]:
    out = pixels.astype(np.float32)
    out -= np.float32(mean)
    out /= np.float32(scale)
    return out
