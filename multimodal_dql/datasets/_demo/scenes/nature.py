"""Drawn nature: sea, night sky, hills, balloons over them. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def bay(c: Canvas, detail: str) -> None:
    """The sea with waves; `glow` lights them up, `boat`, `ferry` and `island` float on it."""
    p = c.palette
    c.sky(p.top, p.bottom)
    if detail == "glow":
        c.stars(90, 0, 42)
        c.circle(122, 16, 6, p.light)
        c.glow(122, 16, 24, p.light, 0.4)
        c.circle(124.5, 14.5, 5.4, mix(p.top, p.bottom, 0.2))
    else:
        c.glow(112, 36, 52, p.accent, 0.75)
        c.circle(112, 36, 9, mix(p.accent, p.light, 0.6))
        c.cloud(34, 17, 7, alpha(p.light, 0.5))
        c.cloud(78, 11, 4.5, alpha(p.light, 0.35))
    c.ridge(47, 9, mix(p.far, p.bottom, 0.4), peaks=3)
    c.rect(0, 46, 160, 92, (mix(p.far, p.bottom, 0.3), mix(p.near, p.far, 0.3)))
    if detail != "glow":
        for i in range(9):
            width = 4 + 2.2 * i
            c.line(
                [(112 - width, 47.5 + i * i * 0.55), (112 + width, 47.5 + i * i * 0.55)],
                alpha(p.light, 0.5),
                0.8,
            )
    for row in range(5):
        y = 52 + row * 8.5
        crest = [
            (x, y + (1.0 + row * 0.35) * math.sin(x / (5.0 + row * 1.6) + row * 2.1))
            for x in range(-2, 164, 2)
        ]
        body = mix(p.far, p.near, 0.25 + 0.16 * row)
        c.poly([*crest, (164, 96), (-4, 96)], alpha(body, 0.75))
        shine = p.accent if detail == "glow" else p.light
        c.line(
            crest, alpha(shine, 0.35 + 0.1 * row) if detail == "glow" else alpha(shine, 0.3), 0.5 + 0.16 * row
        )
        if detail == "glow":
            for x, y_crest in crest[:: 4 - row // 2]:
                c.glow(x, y_crest, 3.0 + row, (70, 235, 255), 0.5)
    if detail == "glow":
        for _ in range(70):
            c.circle(c.uniform(0, 160), c.uniform(54, 90), c.uniform(0.15, 0.6), alpha((190, 255, 255), 0.85))
    if detail in ("boat", "island"):
        _sailboat(c, 58, 60)
    if detail == "ferry":
        _ferry(c, 62, 60)
    if detail == "island":
        c.shape(
            [(92, 53), (104, 44), (120, 38), (134, 43), (148, 53), (120, 56)],
            (p.near, mix(p.near, p.far, 0.4)),
        )
        c.line([(118, 40), (118, 30)], p.light, 2)
        c.circle(118, 29, 1.8, p.accent)
        c.glow(118, 29, 12, p.accent, 0.6)


def nightsky(c: Canvas, detail: str) -> None:
    """A starry sky over hills, with a `comet` or an observatory `dome`."""
    p = c.palette
    c.sky(mix(p.top, (4, 6, 24), 0.5), mix(p.bottom, p.top, 0.2))
    for i in range(26):
        x = i * 6.6
        c.glow(x, 50 - 0.24 * x + c.uniform(-7, 7), c.uniform(8, 18), mix(p.far, p.light, 0.4), 0.14)
    c.stars(190, 0, 74)
    for _ in range(5):
        x, y = c.uniform(8, 152), c.uniform(5, 40)
        c.glow(x, y, 3.2, p.light, 0.7)
    if detail == "comet":
        for i in range(34):
            t = i / 34
            c.glow(
                58 + 76 * t,
                44 - 31 * t - 6 * t * t,
                3.5 + 11 * t,
                mix(p.light, p.main, t),
                0.34 * (1 - t) + 0.02,
            )
        c.glow(58, 44, 15, p.light, 0.9)
        c.ball(58, 44, 3.2, WHITE, p.light)
    if detail == "stars":
        dipper = [(34, 22), (50, 17), (63, 24), (78, 28), (82, 43), (105, 45), (108, 29)]
        c.line([*dipper, dipper[3]], alpha(p.accent, 0.55), 0.5)
        for x, y in dipper:
            c.glow(x, y, 5, p.accent, 0.8)
            c.circle(x, y, 1.1, WHITE)
    c.ridge(77, 15, mix(p.far, p.near, 0.45), peaks=4)
    c.ridge(86, 12, mix(p.near, (0, 0, 0), 0.2), peaks=5)
    if detail == "dome":
        base = mix(p.light, p.far, 0.25)
        c.rect(58, 58, 102, 84, (base, mix(base, p.near, 0.5)))
        c.half(80, 59, 24, 24, (180, 360), (p.light, mix(p.light, p.far, 0.5)))
        c.poly([(84, 36), (91, 37), (96, 59), (87, 59)], p.near)
        c.line([(89, 50), (104, 25)], p.accent, 2.6)
        c.poly([(101, 26), (106, 23), (190, -30), (120, -40)], alpha(p.accent, 0.13))
        c.rect(55, 57, 105, 60.5, mix(p.main, p.far, 0.3), round_by=1)


def mountains(c: Canvas, detail: str) -> None:
    """Layered hills, with tea `terrace` lines or a `lake`."""
    p = c.palette
    c.sky()
    c.glow(106, 28, 48, p.accent, 0.8)
    c.circle(106, 28, 8, mix(p.accent, WHITE, 0.55))
    layers = 5
    for i in range(layers):
        fill = mix(mix(p.bottom, p.far, 0.45), p.near, i / (layers - 1) * 0.92)
        c.ridge(52 + i * 9, 26 - i * 3.2, (fill, mix(fill, p.bottom, 0.45)), peaks=3 + i % 3)
        if i < 3:
            for _ in range(3):
                c.glow(c.uniform(0, 160), 58 + i * 8, 26, p.bottom, 0.22)
    if detail == "terrace":
        for row in range(8):
            y = 56 + row * 5.2
            points = [(x, y + 5 * math.sin(x / 26 + row * 0.22) + 0.06 * x) for x in range(-6, 168, 6)]
            c.poly([*points, (168, 96), (-6, 96)], mix(p.far, p.near, 0.12 + 0.1 * row))
            for east, crest in points:
                c.ellipse(east + 3 * (row % 2), crest + 0.8, 3.6, 1.7, mix(p.far, p.top, 0.35 - 0.04 * row))
        for x, y in ((44.0, 68.0), (54.0, 71.0), (118.0, 66.0)):
            c.poly([(x - 3, y + 6), (x, y - 1), (x + 3, y + 6)], p.main)
            c.poly([(x - 3.4, y - 1), (x, y - 4), (x + 3.4, y - 1)], mix(p.accent, p.light, 0.3))
    if detail == "lake":
        c.rect(0, 68, 160, 92, (mix(p.bottom, p.far, 0.3), mix(p.far, p.near, 0.4)))
        for _ in range(44):
            x, y = c.uniform(0, 160), c.uniform(69, 90)
            c.line([(x, y), (x + c.uniform(3, 12), y)], alpha(p.light, 0.4), 0.4)
        for i in range(60):
            x = c.uniform(0, 52) if i % 2 else c.uniform(118, 162)
            top, lean = 74 - c.uniform(2, 17), c.uniform(-3, 3)
            c.curve(
                [(x, 92), (x + lean * 0.4, 83), (x + lean, top)], mix(p.near, p.far, c.uniform(0, 0.4)), 0.5
            )
            c.ellipse(x + lean, top - 1.4, 0.7, 2.2, mix(p.accent, p.near, 0.35))
    for i in range(6):
        _bird(c, 30 + i * 7 + c.uniform(-2, 2), 18 + c.uniform(-5, 5), 2.2, p.near)


def balloon(c: Canvas, detail: str) -> None:
    """Hot-air balloons: `many` over the hills, or `one` from near."""
    p = c.palette
    c.sky()
    c.glow(80, 70, 80, p.accent, 0.5)
    c.cloud(28, 30, 7, alpha(p.light, 0.55))
    c.cloud(136, 18, 6, alpha(p.light, 0.5))
    c.ridge(82, 16, mix(p.far, p.bottom, 0.3), peaks=3)
    c.ridge(90, 12, mix(p.near, p.far, 0.35), peaks=4)
    colours = [p.main, p.accent, p.light, mix(p.main, p.top, 0.5), mix(p.near, p.main, 0.35)]
    spots = [
        (112, 40, 17.0),
        (52, 34, 12.0),
        (24, 60, 7.0),
        (82, 58, 6.0),
        (142, 62, 6.0),
        (76, 18, 4.5),
        (146, 26, 5.0),
    ]
    for i, (x, y, r) in enumerate([(80, 36, 27.0)] if detail == "one" else spots):
        _balloon(c, x, y, r, (colours[i % 3], colours[(i + 2) % 5]))


def _sailboat(c: Canvas, x: float, y: float) -> None:
    p = c.palette
    c.shadow(x, y + 5, 15, 2.2, 0.5)
    c.poly([(x - 1, y - 27), (x - 1, y - 3), (x - 13, y - 3)], (WHITE, mix(p.light, p.far, 0.25)))
    c.poly([(x + 1, y - 24), (x + 1, y - 3), (x + 12, y - 3)], (p.main, mix(p.main, p.near, 0.25)))
    c.line([(x, y - 29), (x, y)], p.near, 0.7)
    c.poly([(x - 14, y - 1), (x + 15, y - 1), (x + 10, y + 4.5), (x - 9, y + 4.5)], p.near)


def _ferry(c: Canvas, x: float, y: float) -> None:
    p = c.palette
    c.shadow(x, y + 7, 34, 3, 0.5)
    c.rect(x - 17, y - 15, x + 15, y - 7, p.light, round_by=1.5)
    c.rect(x - 23, y - 8, x + 24, y + 1, WHITE, round_by=1.5)
    for i in range(9):
        c.rect(x - 20 + i * 4.8, y - 6, x - 17.4 + i * 4.8, y - 3, p.far, round_by=0.5)
    for i in range(6):
        c.rect(x - 14 + i * 4.8, y - 13, x - 11.4 + i * 4.8, y - 10.2, p.far, round_by=0.5)
    c.rect(x - 2, y - 23, x + 6, y - 14, p.main, round_by=0.8)
    c.rect(x - 2, y - 21, x + 6, y - 19, p.light)
    c.poly(
        [(x - 31, y), (x + 34, y), (x + 27, y + 8), (x - 25, y + 8)], (p.near, mix(p.near, (0, 0, 0), 0.3))
    )
    c.line([(x - 30, y + 2), (x + 32, y + 2)], p.main, 0.9)
    c.line([(x - 40, y + 8.5), (x + 40, y + 8.5)], alpha(p.light, 0.7), 0.8)


def _bird(c: Canvas, x: float, y: float, size: float, colour: Rgb) -> None:
    c.curve([(x - size, y - size * 0.4), (x - size * 0.4, y - size * 0.5), (x, y)], colour, 0.4)
    c.curve([(x, y), (x + size * 0.4, y - size * 0.5), (x + size, y - size * 0.4)], colour, 0.4)


def _balloon(c: Canvas, x: float, y: float, r: float, colours: tuple[Rgb, Rgb]) -> None:
    one, other = colours
    bottom = y + r * 1.28
    for i, share in enumerate((1.0, 0.72, 0.36)):
        rx = r * share
        fill = one if i % 2 == 0 else other
        c.half(x, y, rx, r, (180, 360), (mix(fill, WHITE, 0.3), fill))
        tail = [(x - rx, y), (x - rx * 0.86, y + r * 0.5), (x - rx * 0.26, bottom), (x + rx * 0.26, bottom)]
        c.poly([*tail, (x + rx * 0.86, y + r * 0.5), (x + rx, y)], (fill, mix(fill, c.palette.near, 0.3)))
    c.glow(x - r * 0.4, y - r * 0.45, r * 0.6, WHITE, 0.45)
    basket = bottom + r * 0.34
    for dx in (-0.2, 0.2):
        c.line([(x + r * dx, bottom), (x + r * dx * 0.8, basket)], c.palette.near, 0.25)
    c.rect(
        x - r * 0.19,
        basket,
        x + r * 0.19,
        basket + r * 0.26,
        mix(c.palette.near, (150, 96, 50), 0.6),
        round_by=r * 0.04,
    )


SCENES = {
    "balloon": (balloon, (80.0, 40.0)),
    "bay": (bay, (84.0, 58.0)),
    "mountains": (mountains, (80.0, 50.0)),
    "nightsky": (nightsky, (74.0, 40.0)),
}
