"""Drawn city: skylines, a bridge, a park, trams. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)
RAIN: Rgb = (214, 232, 245)


def skyline(c: Canvas, detail: str) -> None:
    """A city: by the `river`, in the `rain`, or seen from a roof `garden`."""
    p = c.palette
    c.sky()
    if detail == "rain":
        for x, y, s in ((24.0, 12.0, 12), (66.0, 8.0, 14), (112.0, 13.0, 13), (148.0, 9.0, 11)):
            c.cloud(x, y, s, alpha(mix(p.near, p.far, 0.5), 0.75))
    else:
        c.glow(118, 30, 44, p.accent, 0.75)
        c.circle(118, 30, 8.5, mix(p.accent, p.light, 0.65))
        c.cloud(36, 14, 6, alpha(p.light, 0.5))
    _houses(c, ground=66 if detail == "river" else 80)
    if detail == "river":
        c.rect(0, 66, 160, 92, (mix(p.bottom, p.far, 0.35), mix(p.near, p.far, 0.45)))
        for _ in range(60):
            left, y = c.uniform(0, 160), c.uniform(68, 90)
            shine = p.accent if c.uniform(0, 1) < 0.3 else p.light
            c.line([(left, y), (left + c.uniform(3, 10), y)], alpha(shine, 0.35), 0.5)
    if detail == "rain":
        for _ in range(170):
            drop, y, length = c.uniform(-6, 160), c.uniform(-5, 90), c.uniform(3, 7)
            c.line([(drop, y), (drop + length * 0.25, y + length)], alpha(RAIN, 0.5), 0.35)
        c.rect(0, 80, 160, 92, alpha(p.near, 0.6))
    if detail == "garden":
        _beehives(c)


def _houses(c: Canvas, *, ground: float) -> None:
    """Three rows of blocks, the nearest darkest."""
    p = c.palette
    rows = ((0.25, 26, 44, 9), (0.6, 18, 38, 12), (0.95, 10, 28, 15))
    for layer, (tone, low, high, width) in enumerate(rows):
        x = -6.0 - 3 * layer
        while x < 164:
            w, h = width * c.uniform(0.7, 1.25), c.uniform(low, high)
            fill = mix(mix(p.bottom, p.far, min(1.0, 0.5 + tone)), p.near, max(0.0, tone - 0.3) * 0.9)
            c.rect(x, ground - h, x + w, 92, (fill, mix(fill, p.bottom, 0.22 if layer < 2 else 0.08)))
            if c.uniform(0, 1) < 0.3:
                c.line([(x + w / 2, ground - h), (x + w / 2, ground - h - 5)], fill, 0.5)
            if layer:
                _windows(c, x, ground - h, w, h)
            x += w + c.uniform(-0.5, 1.6)


def _beehives(c: Canvas) -> None:
    p = c.palette
    c.rect(0, 74, 160, 92, (mix(p.near, p.far, 0.25), p.near))
    for x in range(12, 160, 27):
        c.shadow(x, 82, 13, 3, 0.5)
        c.rect(x - 8, 70, x + 8, 81, (mix(p.accent, WHITE, 0.35), p.accent), round_by=0.8)
        c.rect(x - 9, 67.5, x + 9, 70.5, p.main, round_by=0.8)
        c.rect(x - 4, 77.6, x + 4, 78.8, p.near, round_by=0.5)
    for _ in range(26):
        at, y = c.uniform(2, 158), c.uniform(46, 70)
        c.ellipse(at, y, 0.9, 0.6, p.near)
        c.ellipse(at - 0.3, y - 0.7, 0.7, 0.45, alpha(WHITE, 0.8))


def bridge(c: Canvas, detail: str) -> None:
    """A lit suspension bridge over a river."""
    p = c.palette
    c.sky(p.top, p.bottom)
    c.stars(60, 0, 40)
    c.ridge(60, 12, mix(p.far, p.bottom, 0.25), peaks=4)
    for i in range(26):
        x, h = i * 6.4, c.uniform(3, 13)
        c.rect(x, 60 - h, x + 5.2, 61, mix(p.far, p.near, 0.6))
        c.circle(x + 2.6, 60 - h * 0.5, 0.5, p.accent)
    c.rect(0, 60, 160, 92, (mix(p.bottom, p.far, 0.5), mix(p.near, p.top, 0.2)))
    for tower in (44, 116):
        c.rect(
            tower - 2, 17, tower + 2, 68, (mix(p.light, p.main, 0.2), mix(p.near, p.main, 0.25)), round_by=0.8
        )
        c.glow(tower, 17, 9, p.accent, 0.8)
    cables = []
    for left, right, sag in ((44, 116, 34.0), (-28, 44, 34.0), (116, 188, 34.0)):
        middle, half = (left + right) / 2, (right - left) / 2
        cables.append([(x, 18 + sag * (1 - ((x - middle) / half) ** 2)) for x in range(left, right + 1, 4)])
    for cable in cables:
        for x, y in cable:
            c.line([(x, y), (x, 56)], alpha(p.light, 0.45), 0.28)
        c.line(cable, p.light, 0.9)
        for x, y in cable:
            c.glow(x, y, 2.6, p.accent, 0.9)
            c.circle(x, y, 0.55, p.light)
    c.rect(-2, 55.5, 162, 58.5, (p.main, mix(p.main, p.near, 0.5)))
    for i in range(41):
        x = i * 4.0
        colour = p.accent if i % 2 else p.main
        c.glow(x, 60.5, 2.2, colour, 0.8)
        for j in range(6):
            y, w = 63 + j * 4.4, 0.5 + 0.34 * j
            c.line([(x - w + math.sin(i * 7 + j) * 1.1, y), (x + w, y)], alpha(colour, 0.52 - 0.07 * j), 0.6)
    for i in range(7):
        x = 14 + i * 22.5 + c.uniform(-4, 4)
        c.circle(x, 51.5, 0.8, p.near)
        c.rect(x - 0.7, 52.2, x + 0.7, 55.6, p.near, round_by=0.5)


def park(c: Canvas, detail: str) -> None:
    """A path between round trees, two walkers on it."""
    p = c.palette
    c.sky(mix(p.top, WHITE, 0.25), p.bottom)
    c.cloud(40, 14, 6, alpha(p.light, 0.8))
    c.cloud(118, 20, 5, alpha(p.light, 0.7))
    c.ridge(58, 12, mix(p.far, p.bottom, 0.45), peaks=3)
    c.rect(0, 56, 160, 92, (mix(p.far, p.bottom, 0.15), mix(p.far, p.near, 0.45)))
    c.shape(
        [(74, 54), (80, 54), (90, 66), (120, 96), (30, 96), (62, 68)], (mix(p.accent, p.light, 0.7), p.light)
    )
    for x, y, s in (
        (18.0, 58.0, 13.0),
        (44.0, 55.0, 9.0),
        (112.0, 55.0, 9.0),
        (134.0, 60.0, 14.0),
        (154.0, 56.0, 10.0),
    ):
        c.shadow(x + 2, y + 2, s, 2.4, 0.4)
        c.rect(x - s * 0.09, y - s, x + s * 0.09, y + 2, p.near, round_by=0.4)
        crown = mix(p.far, p.near, c.uniform(0.15, 0.5))
        c.ball(x, y - s * 1.3, s * 0.85, mix(crown, p.bottom, 0.45), crown)
        c.ball(x + s * 0.55, y - s * 0.85, s * 0.5, mix(crown, p.bottom, 0.3), mix(crown, p.near, 0.2))
    for x, y, s, colour in ((74.0, 76.0, 1.0, p.main), (88.0, 79.0, 1.1, p.accent)):
        _walker(c, x, y, s, colour)


def tram(c: Canvas, detail: str) -> None:
    """A two-car tram in a street of gabled houses."""
    p = c.palette
    c.sky()
    c.cloud(40, 12, 6, alpha(p.light, 0.8))
    c.cloud(120, 9, 4, alpha(p.light, 0.7))
    x = -4.0
    i = 0
    while x < 164:
        w, h = c.uniform(15, 23), c.uniform(26, 40)
        wall = mix(p.far, (p.bottom, p.light, p.accent)[i % 3], c.uniform(0.3, 0.65))
        c.rect(x, 68 - h, x + w, 70, (wall, mix(wall, p.far, 0.4)))
        c.poly([(x - 1, 68 - h), (x + w / 2, 60 - h), (x + w + 1, 68 - h)], mix(p.main, p.near, 0.45))
        for row in range(int(h / 10)):
            for k in range(3):
                left, top = x + w * (0.12 + 0.29 * k), 72 - h + row * 9
                c.rect(left, top, left + w * 0.18, top + 5.4, mix(p.near, p.far, 0.3), round_by=0.5)
                c.rect(left, top, left + w * 0.09, top + 5.4, alpha(p.light, 0.35), round_by=0.5)
        x += w
        i += 1
    c.rect(0, 70, 160, 92, (mix(p.near, p.far, 0.5), mix(p.near, p.far, 0.15)))
    c.line([(-2, 85), (162, 85)], mix(p.light, p.near, 0.4), 0.6)
    c.line([(-2, 88), (162, 88)], mix(p.light, p.near, 0.4), 0.6)
    c.line([(-2, 27), (162, 27)], p.near, 0.35)
    c.line([(70, 27), (76, 35), (84, 41), (92, 35), (98, 27)], p.near, 0.7)
    c.shadow(80, 85, 74, 4, 0.6)
    for left, right in ((16, 78), (82, 144)):
        c.rect(left, 41, right, 82, (mix(p.main, WHITE, 0.18), mix(p.main, p.near, 0.18)), round_by=5)
        c.rect(left, 69, right, 74, p.light)
        c.rect(left + 3, 46, right - 3, 63, mix(p.near, p.top, 0.25), round_by=2)
        for k in range(4):
            at = left + 5 + k * 14.2
            c.rect(
                at,
                47.5,
                at + 11.5,
                61.5,
                (mix(p.bottom, p.light, 0.3), mix(p.top, p.light, 0.45)),
                round_by=1.2,
            )
            c.circle(at + 5.5, 57, 2.1, (238, 196, 164))
            c.half(at + 5.5, 62, 3.6, 3.4, (180, 360), (p.accent, p.far, p.near)[k % 3])
            c.poly([(at + 1, 61.5), (at + 6, 47.5), (at + 8.4, 47.5), (at + 3.4, 61.5)], alpha(WHITE, 0.22))
        for k in (10, 50):
            c.circle(left + k, 82.5, 3.6, mix(p.near, (0, 0, 0), 0.4))
            c.circle(left + k, 82.5, 1.5, p.far)
    c.rect(77, 46, 83, 79, mix(p.near, (0, 0, 0), 0.3))
    c.rect(122, 36.5, 142, 41.5, p.near, round_by=1)
    c.circle(128, 39, 1.5, p.accent)
    c.line([(132, 39), (139, 39)], p.accent, 1)
    c.circle(141, 77, 1.8, p.accent)
    c.glow(143, 77, 10, p.accent, 0.6)


def _windows(c: Canvas, x: float, y: float, width: float, height: float) -> None:
    lit = mix(c.palette.accent, c.palette.light, 0.3)
    columns = max(2, int(width / 3))
    step = width / columns
    for row in range(int(height / 4.2)):
        for column in range(columns):
            if c.uniform(0, 1) < 0.42:
                left, top = x + step * (column + 0.28), y + 2.2 + row * 4.2
                c.rect(left, top, left + step * 0.48, top + 2, alpha(lit, c.uniform(0.35, 0.95)))


def _walker(c: Canvas, x: float, y: float, s: float, colour: Rgb) -> None:
    p = c.palette
    c.shadow(x, y + 9 * s, 7 * s, 1.6 * s, 0.5)
    c.line([(x, y), (x - 3 * s, y + 9 * s)], p.near, 2 * s)
    c.line([(x, y), (x + 3.2 * s, y + 8.4 * s)], mix(p.near, p.far, 0.3), 2 * s)
    c.rect(x - 2.4 * s, y - 10 * s, x + 2.4 * s, y + 1.5 * s, colour, round_by=2.2 * s)
    c.line([(x + 1 * s, y - 8 * s), (x + 4.4 * s, y - 3 * s)], mix(colour, p.near, 0.25), 1.5 * s)
    c.circle(x + 0.4 * s, y - 13 * s, 2.7 * s, (240, 196, 160))
    c.half(x + 0.2 * s, y - 13.3 * s, 2.9 * s, 2.9 * s, (170, 350), p.near)


SCENES = {
    "bridge": (bridge, (80.0, 52.0)),
    "park": (park, (80.0, 64.0)),
    "skyline": (skyline, (80.0, 60.0)),
    "tram": (tram, (98.0, 62.0)),
}
