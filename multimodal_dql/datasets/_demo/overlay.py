"""Text on the demo's thumbnails: titles, bands, blocks, badges and speech bubbles."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from multimodal_dql.datasets._demo.canvas import HEIGHT, WIDTH
from multimodal_dql.datasets._demo.palettes import Palette, Rgb, mix
from multimodal_dql.fonts import font_for

__all__ = ["LOOKS", "overlay"]

WHITE: Rgb = (255, 255, 255)


def overlay(image: Image.Image, recipe: str, palette: Palette) -> Image.Image:
    """`image` with a text on it.

    Args:
        image: RGB, 640 x 360.
        recipe: ``look: text``, a look from `LOOKS`; ``|`` breaks the line.
        palette: colours of the text and what it stands on.

    Returns:
        A new image of the same size.

    """
    look, text = (part.strip() for part in recipe.split(":", 1))
    return LOOKS[look](image, text.split("|"), palette)


def _fitting(lines: list[str], width: float, height: float, largest: float, leading: float = 1.22) -> float:
    """The largest size in pixels at which `lines` fit into a box; `leading` is the line step in sizes."""
    widest = max(_measure(line, 100.0) for line in lines)
    return min(largest, 100.0 * width / widest, height / (leading * len(lines)))


def _measure(line: str, size: float) -> float:
    # The extra is the stroke that stands in for a bold face: the shipped font has one weight.
    return font_for(line, size).getlength(line) + size * 0.06


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    line: str,
    size: float,
    fill: Rgb,
    *,
    anchor: str = "ls",
) -> None:
    font: ImageFont.FreeTypeFont = font_for(line, size)
    draw.text(at, line, font=font, fill=fill, anchor=anchor, stroke_width=size * 0.022, stroke_fill=fill)


def _readable(ground: Rgb, palette: Palette) -> Rgb:
    """White or the palette's darkest colour, whichever stands out from `ground`."""
    return WHITE if 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2] < 150 else palette.dark


def _title(image: Image.Image, lines: list[str], palette: Palette) -> Image.Image:
    """Large white lines at the lower left, on a shade that grows towards the bottom."""
    size = _fitting(lines, WIDTH * 0.86, HEIGHT * 0.5, 62)
    shade = Image.linear_gradient("L").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    start = 1 - (size * 1.22 * len(lines) + 70) / HEIGHT
    shade = shade.point(
        [round(max(0.0, min(1.0, (v / 255 - start) / (1 - start))) ** 0.9 * 205) for v in range(256)]
    )
    result = image.copy()
    result.paste(mix(palette.dark, (0, 0, 0), 0.35), (0, 0, WIDTH, HEIGHT), shade)
    draw = ImageDraw.Draw(result)
    y = HEIGHT - 26 - size * 1.22 * (len(lines) - 1)
    draw.rectangle((30, y - size * 1.08 - 12, 30 + size * 1.1, y - size * 1.08 - 6), fill=palette.accent)
    for line in lines:
        _write(draw, (30, y), line, size, WHITE)
        y += size * 1.22
    return result


def _band(image: Image.Image, lines: list[str], palette: Palette) -> Image.Image:
    """One line on a coloured band along the bottom."""
    size = _fitting(lines, WIDTH * 0.86, 80, 40)
    ground = mix(palette.main, palette.dark, 0.12)
    result = image.copy()
    draw = ImageDraw.Draw(result, "RGBA")
    top = HEIGHT - round(size * 1.85)
    draw.rectangle((0, top, WIDTH, HEIGHT), fill=(*ground, 240))
    draw.rectangle((0, top - 6, WIDTH, top), fill=palette.accent)
    _write(draw, (30, HEIGHT - size * 0.92), lines[0], size, _readable(ground, palette), anchor="lm")
    return result


def _block(image: Image.Image, lines: list[str], palette: Palette) -> Image.Image:
    """Each line on its own marker stroke, at the upper left."""
    size = _fitting(lines, WIDTH * 0.62, HEIGHT * 0.5, 58, 1.5)
    result = image.copy()
    draw = ImageDraw.Draw(result)
    ink = _readable(palette.accent, palette)
    for row, line in enumerate(lines):
        top = 28 + row * size * 1.5
        width = _measure(line, size) + size * 0.7
        shade = mix(palette.dark, (0, 0, 0), 0.2)
        draw.rectangle((34, top + 7, 34 + width, top + size * 1.38 + 7), fill=shade)
        draw.rectangle((28, top, 28 + width, top + size * 1.38), fill=palette.accent)
        _write(draw, (28 + size * 0.35, top + size * 0.69), line, size, ink, anchor="lm")
    return result


def _badge(image: Image.Image, lines: list[str], palette: Palette) -> Image.Image:
    """A tilted round sticker at the upper right."""
    side = 320  # drawn twice too large, then tilted and averaged
    sticker = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(sticker)
    ground = palette.main
    draw.ellipse((8, 11, side - 3, side - 1), fill=(0, 0, 0, 70))
    draw.ellipse((3, 3, side - 9, side - 9), fill=WHITE)
    draw.ellipse((15, 15, side - 21, side - 21), fill=ground)
    draw.ellipse((27, 27, side - 33, side - 33), outline=(*WHITE, 170), width=3)
    size = _fitting(lines, side * 0.64, side * 0.62, side * 0.5, 1.1)
    middle = (side - 6) / 2
    ink = _readable(ground, palette)
    for row, line in enumerate(lines):
        y = middle + (row - (len(lines) - 1) / 2) * size * 1.1
        _write(draw, (middle, y), line, size, ink, anchor="mm")
    sticker = sticker.rotate(-9, Image.Resampling.BILINEAR).resize((160, 160), Image.Resampling.BOX)
    result = image.copy()
    result.paste(sticker, (WIDTH - 176, 14), sticker)
    return result


def _bubble(image: Image.Image, lines: list[str], palette: Palette) -> Image.Image:
    """A speech bubble at the upper left."""
    size = _fitting(lines, 168, 150, 38, 1.3)
    width = max(_measure(line, size) for line in lines) + size * 1.1
    height = size * 1.3 * len(lines) + size * 0.7
    layer = Image.new("RGBA", (WIDTH * 2, HEIGHT * 2), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for shift, fill in ((5, (0, 0, 0, 75)), (0, (*WHITE, 255))):
        left, top = 22 + shift, 22 + shift
        tail = [(left + width * 0.6, top + height - 4), (left + width * 0.82, top + height - 4)]
        tail.append((left + width * 0.94, top + height + size * 0.6))
        draw.polygon([(2 * x, 2 * y) for x, y in tail], fill=fill)
        draw.rounded_rectangle(
            (2 * left, 2 * top, 2 * (left + width), 2 * (top + height)), size * 1.1, fill=fill
        )
    layer = layer.reduce(2)
    result = image.copy()
    result.paste(layer, (0, 0), layer)
    pen = ImageDraw.Draw(result)
    for row, line in enumerate(lines):
        y = 22 + size * 0.35 + (row + 0.5) * size * 1.3
        _write(pen, (22 + width / 2, y), line, size, palette.dark, anchor="mm")
    return result


LOOKS = {"badge": _badge, "band": _band, "block": _block, "bubble": _bubble, "title": _title}
