"""Drawn from above or in the street: maps, umbrellas, lanterns. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)
RAIN: Rgb = (214, 232, 245)


def map_(c: Canvas, detail: str) -> None:
    """A city map seen from above: a tram `line`, a `loop` round a lake, or `pins`."""
    p = c.palette
    ground = mix(p.bottom, p.light, 0.35)
    c.sky(ground, mix(ground, p.far, 0.12))
    for x0, y0, x1, y1 in ((6, 6, 40, 30), (108, 54, 150, 84), (66, 60, 92, 82)):
        c.rect(x0, y0, x1, y1, mix((120, 190, 120), ground, 0.45), round_by=4)
        for _ in range(12):
            c.circle(
                c.uniform(x0 + 3, x1 - 3), c.uniform(y0 + 3, y1 - 3), 1.7, mix((84, 156, 96), ground, 0.25)
            )
    street = mix(WHITE, ground, 0.15)
    for y in (14.0, 33.0, 52.0, 71.0, 88.0):
        c.curve([(-4, y + c.uniform(-4, 4)), (50, y), (110, y + c.uniform(-4, 4)), (166, y)], street, 2.6)
    for x in (18.0, 45.0, 72.0, 99.0, 126.0, 150.0):
        c.curve([(x + c.uniform(-5, 5), -4), (x, 30), (x + c.uniform(-4, 4), 60), (x, 96)], street, 1.9)
    water = mix(p.top, (72, 160, 220), 0.6)
    if detail == "loop":
        shore = [(46, 50), (58, 30), (84, 24), (110, 32), (122, 48), (106, 64), (80, 70), (56, 66)]
        c.shape(shore, (mix(water, WHITE, 0.2), water))
        c.shape([(80, 44), (88, 42), (92, 47), (84, 50)], mix((84, 156, 96), ground, 0.2))
        wide = [(80 + (x - 82) * 1.2, 46 + (y - 47) * 1.22) for x, y in shore]
        c.curve([*wide, wide[0]], WHITE, 3.8)
        c.curve([*wide, wide[0]], p.main, 2.3)
        stops = [wide[0], wide[1], wide[3], wide[4], wide[6]]
    else:
        c.curve([(-6, 66), (30, 60), (60, 46), (96, 44), (130, 26), (168, 22)], water, 11)
        c.curve([(-6, 65), (30, 59), (60, 45), (96, 43), (130, 25), (168, 21)], mix(water, WHITE, 0.25), 3)
        stops = [(18, 78), (42, 64), (62, 66), (86, 52), (104, 34), (124, 30), (142, 12)]
    if detail == "line":
        c.line(stops, WHITE, 4.6)
        c.line(stops, p.main, 3)
    if detail == "pins":
        stops = [(34, 44), (78, 56), (112, 28), (136, 58)]
        path = [(34, 44), (52, 58), (78, 56), (94, 34), (112, 28), (126, 46), (136, 58)]
        for k in range(0, 60):
            t = k / 59 * (len(path) - 1)
            a, b = path[int(t)], path[min(int(t) + 1, len(path) - 1)]
            f = t - int(t)
            c.circle(a[0] + (b[0] - a[0]) * f, a[1] + (b[1] - a[1]) * f, 0.8, p.near)
        for i, (east, south) in enumerate(stops):
            _pin(c, east, south, 8.4, (p.main, p.accent)[i % 2])
        return
    for i, (x, y) in enumerate(stops):
        c.circle(x, y, 3, p.near)
        c.circle(x, y, 1.9, WHITE if 0 < i < len(stops) - 1 else p.accent)
    _pin(c, *stops[-1], 9, p.main)


def umbrellas(c: Canvas, detail: str) -> None:
    """Umbrellas from above in a wet `street`, or `one` from the side."""
    p = c.palette
    if detail == "one":
        c.spot(mix(p.bottom, p.light, 0.4), mix(p.top, p.far, 0.3))
        _rain(c, 70)
        c.shadow(80, 83, 34, 4, 0.45)
        c.line([(80, 32), (80, 76)], p.near, 1.5)
        c.arc(84, 75.5, 4, 5, (0, 180), p.near, 1.9)
        colours = (p.main, mix(p.main, WHITE, 0.25), p.accent, mix(p.main, WHITE, 0.25), p.main)
        edges = [36.0, 52.0, 70.0, 90.0, 108.0, 124.0]
        for i, colour in enumerate(colours):
            left, right = edges[i], edges[i + 1]
            rib = [
                (80 + (e - 80) * math.sin(t * math.pi / 2), 16 + 34 * (1 - math.cos(t * math.pi / 2)))
                for e in (left,)
                for t in (k / 12 for k in range(13))
            ]
            back = [
                (80 + (right - 80) * math.sin(t * math.pi / 2), 16 + 34 * (1 - math.cos(t * math.pi / 2)))
                for t in (k / 12 for k in range(12, -1, -1))
            ]
            hem = [(left + (right - left) * k / 8, 50 - 4 * math.sin(math.pi * k / 8)) for k in range(9)]
            c.poly([*rib, *hem, *back], (mix(colour, WHITE, 0.15), mix(colour, p.near, 0.15)))
        c.line([(80, 16), (80, 10)], p.near, 1.2)
        for x in edges:
            c.circle(x, 50.4, 0.8, p.near)
        return
    c.sky(mix(p.far, p.near, 0.45), mix(p.near, p.far, 0.25))
    for i in range(11):
        c.line([(-10 + i * 20, -4), (-40 + i * 20, 96)], alpha(p.light, 0.08), 0.5)
    for _ in range(26):
        c.ellipse(
            c.uniform(0, 160), c.uniform(0, 90), c.uniform(4, 13), c.uniform(1.5, 4), alpha(p.top, 0.22)
        )
    spots = [
        (30, 26, 19),
        (82, 18, 14),
        (128, 28, 18),
        (58, 60, 21),
        (106, 66, 17),
        (148, 72, 15),
        (12, 74, 15),
    ]
    colours = (p.main, p.accent, p.light, mix(p.main, p.accent, 0.5), mix(p.top, WHITE, 0.35))
    for i, (x, y, r) in enumerate(spots):
        _umbrella_above(c, x + c.uniform(-3, 3), y + c.uniform(-3, 3), r, colours[i % 5])
    _rain(c, 120)


def lanterns(c: Canvas, detail: str) -> None:
    """Paper lanterns over an old street with curved roofs."""
    p = c.palette
    c.sky(mix(p.top, (8, 6, 24), 0.35), p.bottom)
    c.glow(122, 18, 26, p.light, 0.5)
    c.circle(122, 18, 8, mix(p.light, p.accent, 0.2))
    for side in (-1, 1):
        for i, (x, y, w) in enumerate(((10, 46, 34), (34, 56, 24), (50, 62, 15))):
            centre = x if side < 0 else 160 - x
            wall = mix(p.near, p.far, 0.15 + 0.12 * i)
            c.rect(centre - w * 0.42, y, centre + w * 0.42, 92, wall)
            for k in range(3):
                left = centre - w * 0.33 + k * w * 0.24
                c.rect(left, y + 6, left + w * 0.17, y + 19, alpha(p.accent, 0.8), round_by=0.4)
                c.line([(left + w * 0.085, y + 6), (left + w * 0.085, y + 19)], wall, 0.35)
            roof = [
                (centre - w * 0.68, y - 3),
                (centre - w * 0.45, y + 1.5),
                (centre - w * 0.2, y - 6),
                (centre, y - 8),
            ]
            mirror = [(2 * centre - a, b) for a, b in reversed(roof)]
            c.poly(
                [*roof, *mirror, (centre + w * 0.48, y + 3), (centre - w * 0.48, y + 3)],
                mix(p.near, p.far, 0.05),
            )
    c.poly(
        [(58, 92), (74, 68), (86, 68), (102, 92)], (mix(p.far, p.accent, 0.35), mix(p.near, p.accent, 0.2))
    )
    spots = [
        (30, 30, 9.0),
        (66, 22, 6.5),
        (104, 36, 10.0),
        (140, 44, 6.5),
        (84, 46, 5.0),
        (50, 50, 4.5),
        (14, 18, 5.0),
    ]
    strings = [(-4, 4), (40, 12), (80, 9), (120, 13), (164, 3)]
    c.curve(strings, mix(p.near, (0, 0, 0), 0.3), 0.5)
    for x, y, r in spots:
        c.line([(x, 8), (x, y - r)], mix(p.near, (0, 0, 0), 0.3), 0.35)
        c.glow(x, y, r * 3.2, p.accent, 0.55)
        red = (226, 52, 44)
        c.ellipse(x, y, r * 1.12, r * 0.92, mix(red, p.near, 0.15))
        c.ball(x, y, r * 0.95, (255, 214, 130), red)
        for bend in (-0.66, 0.0, 0.66):
            c.arc(
                x,
                y,
                r * abs(bend) * 1.1,
                r * 0.9,
                (90, 270) if bend < 0 else (-90, 90),
                alpha((160, 20, 20), 0.5),
                0.3,
            )
        for top in (-1, 1):
            c.rect(
                x - r * 0.42,
                y + top * r * 0.9 - r * 0.1,
                x + r * 0.42,
                y + top * r * 0.9 + r * 0.1,
                p.accent,
                round_by=0.3,
            )
        for dx in (-0.2, 0.0, 0.2):
            c.line([(x + r * dx, y + r), (x + r * dx, y + r * 1.7)], p.accent, 0.35)


def _pin(c: Canvas, x: float, y: float, size: float, colour: Rgb) -> None:
    c.shadow(x, y, size * 0.8, size * 0.3, 0.6)
    c.poly(
        [(x - size * 0.5, y - size * 1.15), (x + size * 0.5, y - size * 1.15), (x, y)],
        mix(colour, c.palette.near, 0.2),
    )
    c.ball(x, y - size * 1.4, size * 0.62, mix(colour, WHITE, 0.25), mix(colour, c.palette.near, 0.15))
    c.circle(x, y - size * 1.4, size * 0.25, WHITE)


def _rain(c: Canvas, count: int) -> None:
    for _ in range(count):
        x, y, length = c.uniform(-6, 160), c.uniform(-8, 92), c.uniform(2.5, 6)
        c.line([(x, y), (x + length * 0.3, y + length)], alpha(RAIN, 0.5), 0.3)


def _umbrella_above(c: Canvas, x: float, y: float, r: float, colour: Rgb) -> None:
    c.shadow(x + 3, y + 4, r * 1.25, r * 1.2, 0.75)
    turn = c.uniform(0, 0.78)
    corners = [
        (x + r * math.cos(turn + k * math.pi / 4), y + r * math.sin(turn + k * math.pi / 4)) for k in range(9)
    ]
    for k in range(8):
        light = 0.5 + 0.5 * math.cos(turn + (k + 0.5) * math.pi / 4 - math.radians(235))
        shade = mix(mix(colour, c.palette.near, 0.3), mix(colour, WHITE, 0.3), light)
        a, b = corners[k], corners[k + 1]
        hem = ((a[0] + b[0]) / 2 * 0.95 + x * 0.05, (a[1] + b[1]) / 2 * 0.95 + y * 0.05)
        c.poly([(x, y), a, hem, b], shade)
    for k in range(8):
        c.line([(x, y), corners[k]], alpha(c.palette.near, 0.35), 0.25)
        c.circle(*corners[k], 0.6, c.palette.near)
    c.circle(x, y, 1.1, c.palette.near)


SCENES = {
    "lanterns": (lanterns, (90.0, 36.0)),
    "map": (map_, (92.0, 46.0)),
    "umbrellas": (umbrellas, (74.0, 44.0)),
}
