"""Any raster picture to RGB uint8, at most `side` pixels on the longer side. Runs in the decoder process
only.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import (  # importing a plugin registers its format; `Image.open` looks only among the registered
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from multimodal_dql.datasets._files import kind_of_bytes
from multimodal_dql.datasets._refusals import Refusal

__all__ = ["decode_image"]

# Pillow knows some forty formats, several of them programs (EPS, WMF) or parsers nobody looks after; these
# are the ones that media teams use. The content decides which of them is tried, never the file name.
_PLUGINS = {  # MPO, the two-picture JPEG of some cameras, is opened by the JPEG plugin
    "PNG": PngImagePlugin,
    "JPEG": JpegImagePlugin,
    "WEBP": WebPImagePlugin,
    "GIF": GifImagePlugin,
    "BMP": BmpImagePlugin,
    "TIFF": TiffImagePlugin,
    "AVIF": AvifImagePlugin,
}
# WebP and AVIF are optional in builds of Pillow.
_FORMATS = tuple(name for name in _PLUGINS if name not in ("WEBP", "AVIF") or features.check(name.lower()))

# The pixel budget is checked below, with an error that names the size; Pillow's own limit would only warn.
Image.MAX_IMAGE_PIXELS = None

# EXIF orientation (TIFF tag 0x0112) to the operation that undoes it.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(file: BinaryIO, *, max_pixels: int, side: int) -> NDArray[np.uint8]:
    """Decode the first frame of `file` to RGB, upright, over white, shape (H, W, 3) with max(H, W) <= side.

    The header is read first: a picture over the pixel budget is refused before anything is decoded. A picture
    larger than `side` is divided by the smallest whole number that makes it fit (JPEG partly inside the
    decoder, the rest as averages over square blocks), so 1280 x 720 comes as 640 x 360. That costs less than
    one millisecond, where resampling costs more than decoding, and leaves more pixels than any encoder takes.
    Raises `Refusal`.
    """
    head = file.read(4096)
    file.seek(0)
    try:
        image: Image.Image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        seen = kind_of_bytes(head)
        if seen == "picture":  # the signature is right, the header behind it is not
            raise Refusal("picture_damaged", reason="header") from None
        raise Refusal("not_a_picture", seen=seen) from None
    width, height = image.size
    if width * height > max_pixels:
        raise Refusal("picture_too_large", width=width, height=height, budget=max_pixels / 1e6)
    factor = -(-max(width, height) // side)
    if factor > 1:
        # JPEG decodes at 1/2, 1/4 or 1/8 for less than the price of the whole; other formats ignore this.
        part = min(8, 1 << (factor.bit_length() - 1))
        image.draft("RGB", (max(1, width // part), max(1, height // part)))
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image, side)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.ascontiguousarray(np.asarray(rgb, dtype=np.uint8))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) when there is none or the EXIF block is damaged: the pixels are
    still good.
    """
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # Pillow raises many kinds here, and none of them is worth losing the picture
        return 1


def _to_rgb(image: Image.Image, side: int) -> Image.Image:
    """To RGB within `side`: transparency over white; 16-bit, 32-bit and floating grey scaled to 8 bits."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _grey_to_8_bits(image)
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    factor = -(-max(image.size) // side)
    if factor > 1:
        image = image.reduce(factor)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating grey to 8 bits; `Image.convert` would clip everything above 255 to white.

    16 bits: the high byte. 32-bit integers and floats have no fixed white: integers up to 65,535 count as
    16-bit and floats within 0..1 as such; anything else is stretched from its minimum to its maximum.
    """
    grey = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((grey >> 8).astype(np.uint8))
    if not np.isfinite(grey).all():
        raise Refusal("picture_damaged", reason="NaN")
    low, high = float(grey.min()), float(grey.max())
    white = 65535.0 if image.mode == "I" else 1.0
    if low >= 0 and high <= white:
        low, high = 0.0, white
    scale = 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(np.clip((grey - low) * scale + 0.5, 0, 255).astype(np.uint8))
