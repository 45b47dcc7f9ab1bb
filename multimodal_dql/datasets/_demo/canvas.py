"""A small drawing surface for the demo's thumbnails: units, not pixels; gradients, glows, smooth curves.

The surface is 160 x 90 units whatever its size in pixels, so that a scene is drawn once and seen wide or
close. Everything is drawn `SUPERSAMPLE` times too large and averaged at the end, which gives smooth edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from multimodal_dql.datasets._demo.palettes import Fill, Palette, Point, Rgb, Rgba, alpha, mix

__all__ = ["HEIGHT", "WIDTH", "Canvas"]

WIDTH, HEIGHT = 640, 360
SUPERSAMPLE = 2
UNITS = (160.0, 90.0)
_FALLOFF_SIDE = 512

_Box: TypeAlias = tuple[int, int, int, int]
_Ink: TypeAlias = int | tuple[int, ...]
_Painter: TypeAlias = Callable[[ImageDraw.ImageDraw, _Box, _Ink], None]


class Canvas:
    """A picture being drawn.

    Args:
        palette: its colours.
        rng: the stream for everything accidental.
        zoom: 1 shows all 160 x 90 units, 2 a quarter of them.
        focus: the point in units that `zoom` keeps in view.

    """

    def __init__(
        self, palette: Palette, rng: np.random.Generator, *, zoom: float = 1.0, focus: Point = (80, 45)
    ) -> None:
        self.palette, self.rng = palette, rng
        self.size = (WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE)
        self.scale = self.size[0] / UNITS[0] * zoom
        self._left, self._top = (
            min(max(f - u / zoom / 2, 0.0), u - u / zoom) for f, u in zip(focus, UNITS, strict=True)
        )
        self.image = Image.new("RGB", self.size, palette.bottom)
        self._draw = ImageDraw.Draw(self.image, "RGBA")

    def finish(self) -> Image.Image:
        """The picture at its final size, edges smoothed."""
        return self.image.reduce(SUPERSAMPLE)

    def uniform(self, low: float, high: float) -> float:
        """A number from this picture's own random stream."""
        return float(self.rng.uniform(low, high))

    # ---------------------------------------------------------------- backgrounds

    def sky(self, top: Rgb | None = None, bottom: Rgb | None = None) -> None:
        """Fill everything with a vertical gradient; the whole frame, whatever the zoom."""
        strip = _strip(self.size[1], top or self.palette.top, bottom or self.palette.bottom)
        self.image.paste(Image.fromarray(strip).resize(self.size, Image.Resampling.NEAREST))

    def spot(self, centre: Rgb, edge: Rgb, x: float = 80, y: float = 40) -> None:
        """Fill everything with a round gradient around a point in units."""
        px, py = self._at((x, y))
        width, height = self.size
        reach = 0.72 * width  # pixels from the point to where the edge colour begins

        def in_gradient(offset: float) -> float:
            return min(max(128 + 128 * offset / reach, 0.0), 256.0)

        part = (in_gradient(-px), in_gradient(-py), in_gradient(width - px), in_gradient(height - py))
        left, right = (round((p / 128 - 1) * reach + px) for p in part[::2])
        top, bottom = (round((p / 128 - 1) * reach + py) for p in part[1::2])
        if (left, top, right, bottom) != (0, 0, width, height):
            self.image.paste(edge, (0, 0, width, height))
        # Interpolated at the final size and then repeated: averaging will undo the repetition.
        small = (-(-(right - left) // SUPERSAMPLE), -(-(bottom - top) // SUPERSAMPLE))
        disc = ImageOps.colorize(_radial(), centre, edge, whitepoint=178)
        shade = disc.resize(small, Image.Resampling.BILINEAR, box=part)
        self.image.paste(shade.resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))

    def rays(self, colour: Rgb, x: float, y: float, count: int = 14, opacity: float = 0.12) -> None:
        """Sun-burst wedges from a point."""
        for i in range(count):
            angle = 2 * math.pi * i / count
            half = math.pi / count / 2
            far = [(x + 220 * math.cos(a), y + 220 * math.sin(a)) for a in (angle - half, angle + half)]
            self.poly([(x, y), *far], alpha(colour, opacity))

    # ---------------------------------------------------------------- shapes

    def circle(self, x: float, y: float, r: float, fill: Fill) -> None:
        """A disc."""
        self.ellipse(x, y, r, r, fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Fill) -> None:
        """An upright ellipse."""
        box = self._box(x - rx, y - ry, x + rx, y + ry)
        self._paint(box, fill, lambda draw, b, ink: draw.ellipse(b, fill=ink))

    def ring(self, x: float, y: float, r: float, width: float, fill: Rgb | Rgba) -> None:
        """A circle line of a width in units."""
        self._draw.ellipse(self._box(x - r, y - r, x + r, y + r), outline=fill, width=self._width(width))

    def arc(
        self, x: float, y: float, rx: float, ry: float, span: Point, fill: Rgb | Rgba, width: float
    ) -> None:
        """Part of an ellipse line; `span` in degrees, clockwise from three o'clock, with round ends."""
        steps = np.radians(np.linspace(span[0], span[1], 40))
        self._ribbon([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in steps], fill, width)

    def slice(self, x: float, y: float, rx: float, ry: float, span: Point, fill: Rgb | Rgba) -> None:
        """A filled sector of an ellipse; `span` in degrees."""
        self._draw.pieslice(self._box(x - rx, y - ry, x + rx, y + ry), span[0], span[1], fill=fill)

    def half(self, x: float, y: float, rx: float, ry: float, span: Point, fill: Fill) -> None:
        """A filled segment of an ellipse: its arc over `span` degrees closed by a straight line."""
        steps = np.radians(np.linspace(span[0], span[1], 60))
        self.poly([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in steps], fill)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Fill, *, round_by: float = 0) -> None:
        """A rectangle, with rounded corners if `round_by` is above 0."""
        box, radius = self._box(x0, y0, x1, y1), round_by * self.scale
        if radius:
            self._paint(box, fill, lambda draw, b, ink: draw.rounded_rectangle(b, radius, fill=ink))
        else:
            self._paint(box, fill, lambda draw, b, ink: draw.rectangle(b, fill=ink))

    def poly(self, points: Sequence[Point], fill: Fill) -> None:
        """A polygon."""
        pixels = [self._at(p) for p in points]
        xs, ys = zip(*pixels, strict=True)
        box = (math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys)))

        def paint(draw: ImageDraw.ImageDraw, moved: _Box, ink: _Ink) -> None:
            dx, dy = moved[0] - box[0], moved[1] - box[1]
            draw.polygon([(x + dx, y + dy) for x, y in pixels], fill=ink)

        self._paint(box, fill, paint)

    def shape(self, points: Sequence[Point], fill: Fill) -> None:
        """A closed smooth curve through the points."""
        self.poly(_smooth(points, closed=True), fill)

    def line(self, points: Sequence[Point], fill: Rgb | Rgba, width: float) -> None:
        """Straight lines with round joints and ends."""
        pixels, thick = [self._at(p) for p in points], self._width(width)
        self._draw.line(pixels, fill=fill, width=thick, joint="curve")
        self._round_ends(pixels, fill, thick)

    def curve(self, points: Sequence[Point], fill: Rgb | Rgba, width: float) -> None:
        """An open smooth curve through the points."""
        self._ribbon(_smooth(points, closed=False), fill, width)

    # ---------------------------------------------------------------- light

    def glow(self, x: float, y: float, r: float, colour: Rgb, strength: float = 0.6) -> None:
        """Soft light around a point."""
        self._soft(x, y, r, r, colour, strength)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float = 0.45) -> None:
        """A soft contact shadow on the ground."""
        self._soft(x, y, rx, ry, mix(self.palette.dark, (0, 0, 0), 0.3), strength)

    def ball(self, x: float, y: float, r: float, inner: Rgb, outer: Rgb) -> None:
        """A shaded sphere lit from the upper left."""
        box = self._box(x - r, y - r, x + r, y + r)
        width, height = box[2] - box[0], box[3] - box[1]
        if width < 2 or height < 2:
            return
        # The light falls a third of the way in from the upper left.
        shade = ImageOps.colorize(_radial(), inner, outer)
        shade = shade.resize((width, height), Image.Resampling.BILINEAR, box=(59, 59, 256, 256))
        mask = Image.new("L", (width, height), 0)
        ImageDraw.Draw(mask).ellipse((0, 0, width - 1, height - 1), fill=255)
        self.image.paste(shade, box[:2], mask)

    # ---------------------------------------------------------------- scenery used by many scenes

    def ridge(self, base: float, height: float, fill: Fill, *, rough: float = 0.5, peaks: int = 5) -> None:
        """A line of hills across the frame, down to the bottom edge."""
        xs = np.linspace(-4, 164, 85)
        ys = np.zeros_like(xs)
        for octave in range(1, 5):
            phase, wave = self.rng.uniform(0, 2 * math.pi), peaks * octave / 168 * math.pi
            ys += np.sin(xs * wave + phase) * rough ** (octave - 1)
        ys = base - height * (ys - ys.min()) / (ys.max() - ys.min())
        outline = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        self.poly([*outline, (164, 96), (-4, 96)], fill)

    def stars(self, count: int, low: float = 0, high: float = 60, colour: Rgb | None = None) -> None:
        """Stars of several sizes between two heights."""
        tint = colour or self.palette.light
        for _ in range(count):
            x, y, size = self.uniform(0, 160), self.uniform(low, high), self.uniform(0.0, 1.0) ** 3
            self.circle(x, y, 0.14 + 0.4 * size, alpha(tint, 0.45 + 0.5 * size))

    def cloud(self, x: float, y: float, size: float, fill: Rgb | Rgba) -> None:
        """A flat-bottomed cloud."""
        for dx, dy, r in ((-1.2, 0.05, 0.55), (-0.5, -0.35, 0.75), (0.35, -0.2, 0.85), (1.15, 0.1, 0.5)):
            self.circle(x + dx * size, y + dy * size, r * size, fill)
        self.rect(x - 1.6 * size, y - 0.1 * size, x + 1.55 * size, y + 0.6 * size, fill, round_by=0.35 * size)

    def steam(self, x: float, y: float, height: float, colour: Rgb | None = None) -> None:
        """Three wisps rising from a point."""
        tint = alpha(colour or self.palette.light, 0.55)
        for dx in (-6.0, 0.0, 6.0):
            points = [(x + dx + 1.8 * math.sin(i * 1.5 + dx), y - height * i / 4) for i in range(5)]
            self.curve(points, tint, 1.3)

    # ---------------------------------------------------------------- inside

    def _ribbon(self, points: Sequence[Point], fill: Rgb | Rgba, width: float) -> None:
        """A line along dense points as one polygon: the joints of many short lines would show notches."""
        p = np.array([self._at(point) for point in points])
        along = np.gradient(p, axis=0)
        along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
        thick = max(1.0, width * self.scale)
        side = np.stack([-along[:, 1], along[:, 0]], axis=1) * thick / 2
        outline = np.concatenate([p + side, (p - side)[::-1]])
        self._draw.polygon([(float(x), float(y)) for x, y in outline], fill=fill)
        self._round_ends([(float(x), float(y)) for x, y in (p[0], p[-1])], fill, thick)

    def _round_ends(self, pixels: Sequence[Point], fill: Rgb | Rgba, thick: float) -> None:
        # A translucent line would show the overlap, so it stays blunt.
        if len(fill) == 3 and thick > 3:
            half = thick / 2
            for px, py in (pixels[0], pixels[-1]):
                self._draw.ellipse((px - half, py - half, px + half, py + half), fill=fill)

    def _at(self, point: Point) -> Point:
        return ((point[0] - self._left) * self.scale, (point[1] - self._top) * self.scale)

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> _Box:
        (left, top), (right, bottom) = self._at((x0, y0)), self._at((x1, y1))
        return (round(left), round(top), max(round(right), round(left)), max(round(bottom), round(top)))

    def _width(self, units: float) -> int:
        return max(1, round(units * self.scale))

    def _paint(self, box: _Box, fill: Fill, paint: _Painter) -> None:
        """Paint a shape: at once in a plain colour, or through a mask if it is to show a gradient."""
        if not _is_gradient(fill):
            paint(self._draw, box, cast(_Ink, fill))
            return
        seen = self._seen(box)
        size = (seen[2] - seen[0] + 1, seen[3] - seen[1] + 1)
        if min(size) < 1:
            return
        mask = Image.new("L", size, 0)
        dx, dy = box[0] - seen[0], box[1] - seen[1]
        paint(ImageDraw.Draw(mask), (dx, dy, dx + box[2] - box[0], dy + box[3] - box[1]), 255)
        strip = _strip(box[3] - box[1] + 1, *fill)[seen[1] - box[1] : seen[3] - box[1] + 1]
        self.image.paste(Image.fromarray(strip).resize(size, Image.Resampling.NEAREST), seen[:2], mask)

    def _seen(self, box: _Box) -> _Box:
        """The part of a box that is inside the frame."""
        return (max(box[0], 0), max(box[1], 0), min(box[2], self.size[0]), min(box[3], self.size[1]))

    def _soft(self, x: float, y: float, rx: float, ry: float, colour: Rgb, strength: float) -> None:
        left, top, right, bottom = box = self._box(x - rx, y - ry, x + rx, y + ry)
        seen = self._seen(box)
        size = (seen[2] - seen[0], seen[3] - seen[1])
        if min(size) < 2:
            return
        across, down = _FALLOFF_SIDE / (right - left), _FALLOFF_SIDE / (bottom - top)
        part = (
            (seen[0] - left) * across,
            (seen[1] - top) * down,
            (seen[2] - left) * across,
            (seen[3] - top) * down,
        )
        # The mask changes so slowly that taking the nearest pixel shows no steps, at a fifth of the time.
        mask = _falloff(round(strength * 100)).resize(size, Image.Resampling.NEAREST, box=part)
        self.image.paste(colour, seen, mask)


def _is_gradient(fill: Fill) -> TypeGuard[tuple[Rgb, Rgb]]:
    return isinstance(fill[0], tuple)


def _strip(height: int, top: Rgb, bottom: Rgb) -> NDArray[np.uint8]:
    """One column of pixels from `top` to `bottom`, shape (height, 1, 3)."""
    steps = np.linspace(top, bottom, height)
    return np.rint(steps).astype(np.uint8)[:, None, :]


@cache
def _radial() -> Image.Image:
    return Image.radial_gradient("L")


@cache
def _falloff(percent: int) -> Image.Image:
    """A round mask, `percent` opaque in the middle, 0 at the rim, eased so that no edge shows."""
    side = (np.arange(_FALLOFF_SIDE) + 0.5) / _FALLOFF_SIDE * 2 - 1
    distance = np.minimum(np.hypot(side[:, None], side[None, :]), 1.0)
    return Image.fromarray(np.rint(percent * 2.55 * (1 - distance) ** 2).astype(np.uint8))


def _smooth(points: Sequence[Point], *, closed: bool) -> list[Point]:
    """Points on the Catmull-Rom spline through `points`."""
    p = np.asarray(points, np.float64)
    ring = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(ring, ring[1:], ring[2:], ring[3:], strict=False):
        cubic = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        pieces.append(cubic / 2)
    if not closed:
        pieces.append(p[-1:])
    return [(float(x), float(y)) for x, y in np.concatenate(pieces)]
