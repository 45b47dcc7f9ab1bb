"""From a recipe such as ``bay/glow night wide`` to a finished thumbnail.

Most recipes name a drawn scene; ``photo/crop grade`` takes one of the two photos that scikit-learn ships.
"""

from __future__ import annotations

import importlib.util
import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from multimodal_dql.datasets._demo.canvas import HEIGHT, WIDTH, Canvas
from multimodal_dql.datasets._demo.overlay import overlay
from multimodal_dql.datasets._demo.palettes import PALETTES, Palette
from multimodal_dql.datasets._demo.scenes import SCENES
from multimodal_dql.errors import MediaMissing

__all__ = ["encode", "picture"]

_CLOSE_ZOOM = 1.38
_FLAT = ("chart", "map", "wave")  # clean edges and few colours: PNG is kinder to them than JPEG

# Which photo, and which part of its 640 x 427 pixels (left, top, right, bottom), always 16:9.
_CROPS = {
    "china": ("china.jpg", (0, 20, 640, 380)),
    "roof": ("china.jpg", (56, 18, 376, 198)),
    "eaves": ("china.jpg", (50, 150, 370, 330)),
    "lake": ("china.jpg", (192, 122, 640, 374)),
    "flower": ("flower.jpg", (0, 42, 640, 402)),
    "petals": ("flower.jpg", (145, 132, 465, 312)),
    "bokeh": ("flower.jpg", (20, 50, 468, 302)),
}
_PHOTO_PALETTE = {"natural": "coral", "warm": "dusk", "cold": "ocean", "mono": "slate"}


def picture(recipe: str, text: str | None, rng: np.random.Generator) -> Image.Image:
    """Draw one thumbnail.

    Args:
        recipe: ``scene/detail palette view`` or ``photo/crop grade``.
        text: ``look: text`` to put over it, or None.
        rng: the stream for everything accidental.

    Returns:
        RGB, 640 x 360.

    Raises:
        MediaMissing: scikit-learn's photos are not where they should be.

    """
    kind, *rest = recipe.split()
    scene, detail = kind.split("/")
    if scene == "photo":
        image, palette = _photo(detail, rest[0])
    else:
        paint, focus = SCENES[scene]
        palette, view = PALETTES[rest[0]], rest[1]
        canvas = Canvas(palette, rng, zoom=_CLOSE_ZOOM if view == "close" else 1.0, focus=focus)
        paint(canvas, detail)
        image = canvas.finish()
    return overlay(image, text, palette) if text else image


def encode(image: Image.Image, recipe: str) -> tuple[str, bytes]:
    """The file ending and the bytes of a finished thumbnail."""
    buffer = io.BytesIO()
    if recipe.split("/", 1)[0] in _FLAT:
        image.save(buffer, "PNG", compress_level=6)
        return ".png", buffer.getvalue()
    image.save(buffer, "JPEG", quality=88, subsampling="4:2:2")
    return ".jpg", buffer.getvalue()


def _photo(crop: str, grade: str) -> tuple[Image.Image, Palette]:
    name, box = _CROPS[crop]
    image = _sample(name).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=box)
    if box[2] - box[0] < 400:
        image = image.filter(ImageFilter.UnsharpMask(radius=2.2, percent=90, threshold=2))
    if crop == "bokeh":
        image = ImageOps.mirror(image)
    if grade.startswith("duotone-"):
        palette = PALETTES[grade.removeprefix("duotone-")]
        grey = ImageOps.autocontrast(ImageOps.grayscale(image), cutoff=1)
        return ImageOps.colorize(grey, palette.dark, palette.light, mid=palette.main), palette
    palette = PALETTES[_PHOTO_PALETTE[grade]]
    if grade == "mono":
        grey = ImageOps.autocontrast(ImageOps.grayscale(image), cutoff=1)
        return ImageOps.colorize(grey, (18, 20, 26), (246, 242, 234)), palette
    gains = {"natural": (1.0, 1.0, 1.0), "warm": (1.1, 1.0, 0.82), "cold": (0.86, 0.99, 1.14)}[grade]
    table = [round(min(255.0, value * gain)) for gain in gains for value in range(256)]
    return ImageEnhance.Color(image.point(table)).enhance(1.12), palette


@cache
def _sample(name: str) -> Image.Image:
    # Finding a package does not import it: scikit-learn takes a second to import, its photos none.
    spec = importlib.util.find_spec("sklearn")
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "datasets" / "images" / name
        if path.is_file():
            with Image.open(path) as image:
                return image.convert("RGB")
    raise MediaMissing(
        path=name,
        code="missing",
        detail="this photo of scikit-learn is not installed; run pip install --force-reinstall scikit-learn",
        detail_zh="未找到 scikit-learn 自带的这张照片；请运行 pip install --force-reinstall scikit-learn",
    )
