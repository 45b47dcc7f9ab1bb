"""Drawn wetland and garden: birds, bees, flowers. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def bird(c: Canvas, detail: str) -> None:
    """White `egret`s in the reeds, or a `flock` over the water."""
    p = c.palette
    c.sky()
    c.glow(120, 30, 50, p.accent, 0.85)
    c.circle(120, 30, 10, mix(p.accent, WHITE, 0.5))
    c.ridge(52, 15, mix(p.far, p.bottom, 0.35), peaks=3)
    c.ridge(57, 9, mix(p.far, p.near, 0.2), peaks=5)
    c.rect(0, 56, 160, 92, (mix(p.bottom, p.far, 0.25), mix(p.far, p.near, 0.3)))
    for _ in range(60):
        x, y = c.uniform(0, 160), c.uniform(57, 90)
        c.line([(x, y), (x + c.uniform(3, 12), y)], alpha(p.light, 0.45), 0.4)
    if detail == "flock":
        for i in range(15):
            side, row = (-1 if i % 2 else 1), (i + 1) // 2
            _flying(c, 74 + side * row * 9.5, 14 + row * 5.6 + c.uniform(-1.2, 1.2), 4.5 - row * 0.2, i % 3)
    else:
        _egret(c, 66, 74, 1.0, 1)
        _egret(c, 104, 70, 0.72, -1)
        _flying(c, 40, 16, 5.4, 0)
        _flying(c, 24, 26, 4.2, 1)
    for i in range(44):
        x = c.uniform(-2, 34) if i % 2 else c.uniform(126, 162)
        top, lean = 66 - c.uniform(0, 26), c.uniform(-4, 4)
        c.curve(
            [(x, 94), (x + lean * 0.4, 82), (x + lean, top)],
            mix(p.near, (80, 130, 70), c.uniform(0, 0.5)),
            0.6,
        )
        if i % 3 == 0:
            c.ellipse(x + lean, top, 0.9, 3.2, mix(p.main, p.near, 0.4))


def bee(c: Canvas, detail: str) -> None:
    """Bees on honeycomb dripping with honey."""
    p = c.palette
    c.sky(mix(p.top, WHITE, 0.25), p.bottom)
    honey = (250, 176, 40)
    for row in range(-1, 6):
        for k in range(-1, 9):
            x, y = 10 + k * 20.8 + (row % 2) * 10.4, 6 + row * 18.0
            if x + y * 0.9 > 150:
                continue
            cell = [
                (x + 11 * math.cos(math.radians(60 * j + 30)), y + 11 * math.sin(math.radians(60 * j + 30)))
                for j in range(6)
            ]
            c.poly(cell, ((226, 150, 40), (188, 110, 24)))
            inner = [
                (x + 9 * math.cos(math.radians(60 * j + 30)), y + 9 * math.sin(math.radians(60 * j + 30)))
                for j in range(6)
            ]
            full = c.uniform(0, 1) < 0.7
            c.poly(inner, (mix(honey, WHITE, 0.4), honey) if full else ((150, 84, 22), (112, 58, 16)))
            if full:
                c.ellipse(x - 3, y - 4, 2.6, 1.3, alpha(WHITE, 0.55))
    for x, y, s, turn in (
        (104, 40, 1.35, -0.35),
        (46, 62, 0.9, 0.4),
        (134, 72, 0.8, -0.6),
        (66, 22, 0.7, 0.2),
    ):
        _bee(c, x, y, s, turn)
    c.curve([(160, 96), (150, 82), (140, 76)], alpha(p.near, 0.35), 0.5)


def flower(c: Canvas, detail: str) -> None:
    """A bouquet in a jug."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.45), mix(p.top, p.bottom, 0.25), 80, 34)
    c.rect(0, 74, 160, 92, (mix(p.light, p.far, 0.25), mix(p.light, p.far, 0.55)))
    c.shadow(80, 82, 32, 5, 0.6)
    heads = [
        (58, 30, 11),
        (84, 20, 13),
        (108, 32, 11),
        (70, 46, 10),
        (98, 47, 11),
        (44, 44, 7),
        (122, 46, 7.5),
        (82, 38, 8),
    ]
    for x, y, _ in heads:
        c.curve([(x, y), ((x + 80) / 2, 54), (80, 66)], (70, 134, 84), 1.1)
    for x, y, turn in ((48, 56, -0.5), (114, 58, 0.4), (62, 58, -0.9), (102, 60, 0.9)):
        c.shape(
            [(80, 66), (x, y - 5), (x + 10 * turn, y - 9), (x + 4, y + 4)], ((120, 190, 110), (56, 128, 84))
        )
    colours = ((240, 110, 90), (250, 176, 90), (236, 96, 140), (255, 214, 120), (240, 140, 150))
    for i, (x, y, r) in enumerate(heads):
        colour = colours[i % 5]
        for ring in range(3):
            count, reach = 11 - ring * 2, r * (0.72 - 0.24 * ring)
            for k in range(count):
                a = 2 * math.pi * (k + 0.5 * ring) / count
                px, py = x + reach * math.cos(a), y + reach * math.sin(a)
                c.circle(
                    px,
                    py,
                    r * (0.3 - 0.04 * ring),
                    mix(mix(colour, (120, 20, 40), 0.18), WHITE, 0.22 * ring + 0.1 * (k % 2)),
                )
        c.circle(x, y, r * 0.2, (255, 236, 150))
    c.shape([(66, 62), (94, 62), (97, 74), (92, 84), (68, 84), (63, 74)], (WHITE, mix(p.light, p.far, 0.45)))
    c.rect(66, 59.5, 94, 64, WHITE, round_by=1.8)
    c.curve([(95, 65), (104, 68), (96, 78)], mix(p.light, p.far, 0.2), 2)
    c.line([(65, 73), (95, 73)], p.main, 1.2)


def _flying(c: Canvas, x: float, y: float, s: float, pose: int) -> None:
    lift = (-1.0, -0.35, 0.45)[pose]
    shade = mix(WHITE, c.palette.far, 0.25)
    for side in (-1, 1):
        c.shape(
            [
                (x, y - s * 0.16),
                (x + side * s * 0.7, y + s * lift * 0.5),
                (x + side * s * 1.5, y + s * lift * 0.8),
                (x + side * s * 0.6, y + s * 0.25),
            ],
            WHITE if side > 0 else shade,
        )
    c.ellipse(x, y, s * 0.3, s * 0.5, WHITE)
    c.line([(x, y + s * 0.4), (x, y + s * 0.9)], c.palette.near, 0.35)
    c.line([(x, y - s * 0.5), (x, y - s * 0.78)], c.palette.accent, 0.5)


def _egret(c: Canvas, x: float, y: float, s: float, face: int) -> None:
    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * s * face, y + b * s)

    shade = mix(WHITE, c.palette.far, 0.22)
    c.ellipse(x, y + 1, 13 * s, 1.6 * s, alpha(c.palette.near, 0.25))
    c.line([at(-2, -14), at(-3, 0)], (60, 62, 60), 0.9 * s)
    c.line([at(3, -14), at(4.6, -7), at(3.4, 0)], (60, 62, 60), 0.9 * s)
    c.curve([at(9, -26), at(17, -33), at(12, -43), at(11, -50), at(16, -54)], WHITE, 3.1 * s)
    c.shape([at(-20, -15), at(-6, -27), at(8, -29), at(13, -23), at(6, -15), at(-6, -12)], (WHITE, shade))
    c.curve([at(-17, -15), at(-6, -19), at(5, -20)], shade, 1.1 * s)
    c.curve([at(-15, -13), at(-6, -16), at(3, -16)], shade, 0.9 * s)
    c.circle(*at(16.6, -54), 2.8 * s, WHITE)
    c.poly([at(18, -55.4), at(30, -52.6), at(18, -52.6)], (240, 180, 40))
    c.circle(*at(17.6, -54.8), 0.6 * s, (30, 30, 30))
    c.curve([at(14.6, -55.6), at(9, -55), at(5, -51)], WHITE, 0.6 * s)


def _bee(c: Canvas, x: float, y: float, s: float, turn: float) -> None:
    def at(a: float, b: float) -> tuple[float, float]:
        return (
            x + s * (a * math.cos(turn) - b * math.sin(turn)),
            y + s * (a * math.sin(turn) + b * math.cos(turn)),
        )

    dark = (48, 32, 28)
    c.shadow(x + 2, y + 5 * s, 17 * s, 12 * s, 0.45)
    for dx in (-7, -1, 5):
        c.line([at(dx, 6), at(dx - 1.4, 12)], dark, 0.8 * s)
    outline = [(-15, 0), (-10, -7.4), (0, -9.4), (9, -7), (12, 0), (9, 7), (0, 9.4), (-10, 7.4)]
    c.shape([at(a, b) for a, b in outline], ((255, 214, 80), (240, 166, 30)))
    for left, h in ((-10.5, 6.6), (-4, 8.8), (3, 8.6)):
        c.shape(
            [
                at(left, -h),
                at(left + 3.4, -h - 0.3),
                at(left + 4.2, 0),
                at(left + 3.4, h + 0.3),
                at(left, h),
                at(left + 0.8, 0),
            ],
            dark,
        )
    c.circle(*at(14, -0.6), 6 * s, dark)
    c.circle(*at(16.4, -2.2), 1.9 * s, WHITE)
    c.circle(*at(17, -2.2), 1.0 * s, (20, 16, 20))
    c.arc(*at(16.6, 1.2), 1.9 * s, 1.5 * s, (10, 150), (255, 180, 150), 0.5 * s)
    for b in (-1, 1):
        c.curve([at(16, -5.4), at(20, -9 - b), at(22 + b, -11 + b)], dark, 0.6 * s)
    for a, b in ((-8, -17), (2, -18)):
        c.shape(
            [at(-1, -8), at(a - 5, b + 2), at(a - 1, b - 4), at(a + 5, b + 1)], alpha((236, 248, 255), 0.8)
        )


SCENES = {
    "bee": (bee, (94.0, 46.0)),
    "bird": (bird, (74.0, 48.0)),
    "flower": (flower, (80.0, 44.0)),
}
