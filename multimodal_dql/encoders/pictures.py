"""A picture of any size to the square of numbers a network reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.cards import Card

__all__ = ["square_input"]


def square_input(picture: NDArray[np.uint8], card: Card) -> NDArray[np.float32]:
    """Centre crop, bicubic resize, shift and scale of one RGB picture (H, W, 3); shape (side, side, 3).

    From ``card.preprocessing``: `side` in pixels, `crop` as a share of the shorter side, `mean` and `scale`
    in grey levels (0..255).
    """
    from PIL import Image

    side = int(card.number("side"))
    height, width = picture.shape[:2]
    edge = card.number("crop", 1.0) * min(height, width)
    # Each border goes to its nearest pixel, so the crop may be a pixel wider than high.
    borders = (width - edge) / 2, (height - edge) / 2, (width + edge) / 2, (height + edge) / 2
    left, upper, right, lower = (round(border) for border in borders)
    # Cropped before Pillow sees it: resize(box=...) would let pixels from beyond the border in.
    middle = Image.fromarray(picture[upper : max(lower, upper + 1), left : max(right, left + 1)])
    pixels = np.array(middle.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    pixels -= np.float32(card.number("mean"))
    pixels /= np.float32(card.number("scale"))
    return pixels
