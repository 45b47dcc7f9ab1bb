"""Drawn animals: cats, whales. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)
FUR: Rgb = (240, 150, 70)


def cat(c: Canvas, detail: str) -> None:
    """A ginger cat: its `face`, or sitting on a station `platform`."""
    p = c.palette
    if detail == "platform":
        _platform(c)
        _cat_body(c, 64, 50)
        _cat_face(c, 64, 40, 0.62)
        c.half(64, 27, 9.4, 7, (180, 360), (mix(p.far, p.near, 0.5), p.near))
        c.rect(52, 25.6, 76, 28.4, p.near, round_by=1.2)
        c.circle(64, 23, 1.6, p.accent)
        return
    c.spot(mix(p.bottom, WHITE, 0.25), mix(p.top, p.far, 0.3), 80, 42)
    c.rays(p.light, 80, 46, 18, 0.14)
    c.shape([(36, 100), (44, 78), (62, 70), (98, 70), (116, 78), (124, 100)], (FUR, mix(FUR, p.near, 0.35)))
    _cat_face(c, 80, 47, 1.2)
    c.arc(80, 62, 26, 13, (30, 150), p.main, 3)
    c.ball(80, 76, 4.4, mix(p.accent, WHITE, 0.5), p.accent)


def whale(c: Canvas, detail: str) -> None:
    """A whale under the surface, a kayak above it."""
    p = c.palette
    c.sky(mix(p.bottom, WHITE, 0.1), mix(p.top, p.near, 0.65))
    c.rect(0, 0, 160, 15, (mix(p.bottom, WHITE, 0.35), mix(p.bottom, WHITE, 0.1)))
    for k in range(7):
        x = 18 + k * 22
        c.poly([(x, 14), (x + 9, 14), (x - 6 + c.uniform(-12, 12), 92), (x - 24, 92)], alpha(WHITE, 0.06))
    crest = [(x, 14.5 + 0.9 * math.sin(x / 5)) for x in range(-2, 164, 2)]
    c.line(crest, alpha(WHITE, 0.7), 0.7)
    c.shape([(86, 13), (98, 15.6), (116, 15.6), (128, 13), (107, 12)], p.main)
    c.line([(104, 13), (104, 7)], p.near, 2.6)
    c.circle(104, 4.6, 2.2, (238, 194, 158))
    c.line([(95, 3), (114, 13)], p.accent, 0.7)
    for _ in range(26):
        c.ring(c.uniform(8, 150), c.uniform(20, 84), c.uniform(0.4, 1.6), 0.25, alpha(WHITE, 0.55))
    body = mix(p.near, p.far, 0.45)
    c.glow(70, 54, 66, p.far, 0.5)
    c.shape(
        [(122, 42), (136, 31), (150, 26), (146, 36), (151, 46), (138, 44), (126, 49)],
        (mix(body, WHITE, 0.1), body),
    )
    outline = [
        (18, 56),
        (22, 44),
        (40, 35),
        (66, 32),
        (92, 35),
        (114, 41),
        (128, 43),
        (126, 48),
        (108, 55),
        (84, 64),
        (56, 70),
        (32, 68),
    ]
    c.shape(outline, (mix(body, WHITE, 0.22), mix(p.near, body, 0.5)))
    belly = [(20, 58), (36, 61), (58, 62), (80, 62), (64, 69), (44, 70.5), (30, 67.5)]
    c.shape(belly, (mix(p.light, body, 0.25), mix(p.light, body, 0.45)))
    for k in range(6):
        c.curve(
            [(24 + k * 2, 60.5 + k * 1.4), (44, 62.6 + k * 1.3), (66 - k * 1.6, 63 + k)],
            alpha(body, 0.7),
            0.4,
        )
    c.shape([(58, 60), (66, 72), (80, 84), (72, 68), (68, 59)], (body, mix(p.near, body, 0.4)))
    c.circle(34, 53, 1.6, WHITE)
    c.circle(33.7, 53, 1.1, (14, 18, 30))
    c.curve([(18.6, 57.4), (28, 57), (38, 59)], mix(p.near, (0, 0, 0), 0.3), 0.6)
    for k in range(3):
        c.arc(16, 54, 7 + k * 6, 7 + k * 6, (150, 210), alpha(p.accent, 0.8 - 0.2 * k), 0.8)
    c.ridge(96, 10, mix(p.near, (0, 0, 0), 0.25), peaks=5)


def _cat_face(c: Canvas, x: float, y: float, s: float) -> None:
    dark = mix(FUR, (110, 50, 20), 0.55)

    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * s, y + b * s)

    for side in (-1, 1):
        c.shape(
            [at(side * 7, -15), at(side * 20, -29), at(side * 25, -6), at(side * 15, -8)],
            (FUR, mix(FUR, dark, 0.2)),
        )
        c.shape([at(side * 12, -15), at(side * 19.4, -24.5), at(side * 21.6, -10)], (250, 176, 160))
    c.shape(
        [
            at(0, -20),
            at(16, -16),
            at(25, -2),
            at(22, 12),
            at(10, 20),
            at(0, 22),
            at(-10, 20),
            at(-22, 12),
            at(-25, -2),
            at(-16, -16),
        ],
        (mix(FUR, WHITE, 0.22), mix(FUR, dark, 0.15)),
    )
    for k in (-1, 0, 1):
        c.curve([at(k * 6, -19.5), at(k * 5, -14), at(k * 3.6, -9)], dark, 2.1 * s)
        if k:
            c.curve([at(k * 24, 0), at(k * 20, 1), at(k * 16.5, 3)], dark, 1.5 * s)
            c.curve([at(k * 22.6, 7), at(k * 19, 7), at(k * 16, 8)], dark, 1.5 * s)
    c.shape([at(0, 3), at(9, 8), at(9.4, 15), at(0, 19.5), at(-9.4, 15), at(-9, 8)], mix(WHITE, FUR, 0.12))
    for side in (-1, 1):
        c.ellipse(*at(side * 10.4, -1), 5.9 * s, 6.3 * s, (40, 26, 20))
        c.ellipse(*at(side * 10.4, -1), 5.2 * s, 5.6 * s, ((176, 222, 96), (96, 168, 70)))
        c.ellipse(*at(side * 10, -1), 2.2 * s, 4.8 * s, (22, 18, 22))
        c.circle(*at(side * 10.4 - 1.5, -3.4), 1.5 * s, WHITE)
        for dy in (-1.6, 1.4, 4.4):
            c.line([at(side * 10, 12 + dy * 0.4), at(side * 29, 9 + dy * 1.5)], alpha(WHITE, 0.85), 0.35 * s)
        c.arc(*at(side * 3.4, 12), 3.4 * s, 3 * s, (0, 180), (92, 48, 36), 0.8 * s)
    c.shape([at(-3, 6), at(3, 6), at(0, 9.6)], (232, 110, 110))
    c.line([at(0, 9), at(0, 12)], (92, 48, 36), 0.8 * s)


def _cat_body(c: Canvas, x: float, y: float) -> None:
    dark = mix(FUR, (110, 50, 20), 0.55)
    c.shadow(x + 4, y + 30, 30, 5, 0.6)
    c.curve(
        [(x + 12, y + 26), (x + 28, y + 24), (x + 33, y + 12), (x + 27, y + 3)], mix(FUR, dark, 0.25), 4.6
    )
    c.shape(
        [
            (x - 14, y + 29),
            (x - 15, y + 12),
            (x - 9, y - 4),
            (x, y - 8),
            (x + 9, y - 4),
            (x + 16, y + 12),
            (x + 16, y + 29),
            (x, y + 31),
        ],
        (FUR, mix(FUR, dark, 0.4)),
    )
    c.shape([(x - 6, y + 28), (x - 7, y + 8), (x, y), (x + 7, y + 8), (x + 6, y + 28)], mix(WHITE, FUR, 0.2))
    for dx in (-7.5, 7.5):
        c.ellipse(x + dx, y + 28.5, 5.4, 3, mix(WHITE, FUR, 0.25))
    for k in range(3):
        c.curve([(x + 16 - k * 0.6, y + 10 + k * 6), (x + 11, y + 10.4 + k * 6)], dark, 1.7)


def _platform(c: Canvas) -> None:
    p = c.palette
    c.sky()
    c.ridge(56, 18, mix(p.far, p.bottom, 0.35), peaks=4)
    c.rect(92, 22, 168, 72, (mix(p.main, WHITE, 0.2), mix(p.main, p.near, 0.25)), round_by=4)
    c.rect(96, 29, 168, 46, mix(p.near, p.top, 0.2), round_by=2)
    for k in range(4):
        c.rect(
            99 + k * 17,
            31,
            112 + k * 17,
            44,
            (mix(p.bottom, p.light, 0.5), mix(p.top, p.light, 0.4)),
            round_by=1,
        )
    c.rect(92, 58, 168, 62, p.light)
    c.rect(0, 70, 160, 92, (mix(p.light, p.far, 0.4), mix(p.far, p.near, 0.45)))
    c.line([(-2, 73.5), (162, 73.5)], p.accent, 1.8)
    c.line([(20, 6), (20, 76)], p.near, 1.8)
    c.circle(20, 20, 12.5, p.near)
    c.circle(20, 20, 11, WHITE)
    for k in range(12):
        a = math.radians(30 * k)
        c.line(
            [
                (20 + 8.4 * math.cos(a), 20 + 8.4 * math.sin(a)),
                (20 + 10 * math.cos(a), 20 + 10 * math.sin(a)),
            ],
            p.near,
            0.7,
        )
    c.line([(20, 20), (14.4, 23)], p.near, 1.3)
    c.line([(20, 20), (27, 16.6)], p.near, 0.9)


SCENES = {
    "cat": (cat, (72.0, 46.0)),
    "whale": (whale, (66.0, 42.0)),
}
