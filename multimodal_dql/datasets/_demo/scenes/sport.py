"""Drawn sport: balls, a stadium, bicycles, tracks, shoes. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)
LEAF: Rgb = (74, 148, 84)


def ball(c: Canvas, detail: str) -> None:
    """A `football` on grass, or a `pingpong` table with bat and ball."""
    p = c.palette
    if detail == "football":
        c.sky()
        c.rays(p.light, 82, 44, 16, 0.2)
        c.ridge(66, 10, mix(p.far, p.bottom, 0.3), peaks=3)
        for i in range(7):
            y = 62 + i * 4.6
            c.rect(0, y, 160, y + 5, mix((72, 158, 90), (52, 132, 78), i % 2))
        c.line([(-2, 70), (162, 78)], alpha(WHITE, 0.85), 1.1)
        c.shadow(84, 76, 34, 5, 0.7)
        _football(c, 82, 48, 27)
        for _ in range(110):
            x, h = c.uniform(0, 160), c.uniform(2, 6)
            c.line([(x, 92), (x + c.uniform(-1.5, 1.5), 90 - h)], (40, 116, 66), 0.55)
        return
    c.spot(mix(p.bottom, WHITE, 0.25), mix(p.top, p.near, 0.2), 60, 24)
    c.poly([(-10, 92), (28, 44), (150, 44), (190, 92)], ((40, 110, 160), (24, 78, 128)))
    c.line([(28, 44), (150, 44)], WHITE, 0.9)
    c.line([(89, 44), (90, 92)], alpha(WHITE, 0.85), 0.8)
    c.rect(18, 38, 160, 51, alpha(WHITE, 0.16))
    for i in range(36):
        c.line([(18 + i * 4, 38), (18 + i * 4, 51)], alpha(WHITE, 0.3), 0.2)
    c.line([(18, 38), (160, 38)], WHITE, 1.1)
    for k in range(7):
        t = k / 7
        c.circle(
            142 - 36 * t, 20 + 30 * (t - 0.55) ** 2, 4.4 * (0.4 + 0.6 * t), alpha(p.accent, 0.12 + 0.08 * k)
        )
    c.glow(104, 26, 16, WHITE, 0.5)
    c.ball(104, 26, 5.4, WHITE, mix(p.accent, WHITE, 0.45))
    c.shadow(104, 66, 8, 2, 0.6)
    c.line([(42, 72), (26, 92)], (196, 142, 86), 8)
    c.line([(39, 76), (25, 93)], (160, 104, 58), 2)
    c.circle(58, 52, 23, (60, 30, 30))
    c.circle(57, 51, 22.4, ((236, 84, 70), (184, 36, 40)))
    c.glow(50, 42, 20, WHITE, 0.28)
    c.poly([(36, 62), (52, 74), (44, 78), (36, 72)], (206, 154, 98))


def stadium(c: Canvas, detail: str) -> None:
    """A floodlit pitch with a crowd and flags."""
    p = c.palette
    c.sky(mix(p.top, (6, 6, 30), 0.3), p.bottom)
    for x in (22.0, 138.0):
        c.rect(x - 0.8, 16, x + 0.8, 52, p.near)
        c.rect(x - 9, 8, x + 9, 17, mix(p.near, (0, 0, 0), 0.2), round_by=1)
        for k in range(8):
            lx, ly = x - 6.8 + (k % 4) * 4.5, 10.4 + (k // 4) * 4.2
            c.glow(lx, ly, 9, WHITE, 0.55)
            c.circle(lx, ly, 1.4, WHITE)
        side = 1 if x < 80 else -1
        c.poly([(x, 14), (x + side * 40, 92), (x + side * 120, 92)], alpha(WHITE, 0.08))
    c.poly([(0, 40), (160, 40), (160, 64), (0, 64)], (mix(p.near, p.far, 0.3), p.near))
    for row in range(6):
        for i in range(58):
            x = i * 2.8 + (row % 2) * 1.4
            colour = (p.main, p.accent, p.light, p.far)[int(c.rng.integers(4))]
            c.circle(x, 43 + row * 3.4 + c.uniform(-0.6, 0.6), 1.25, mix(colour, p.near, 0.35 - 0.04 * row))
    for i in range(9):
        x = 10 + i * 17 + c.uniform(-4, 4)
        c.line([(x, 54), (x, 38)], p.light, 0.4)
        c.poly([(x, 38), (x + 9, 39.5), (x + 8, 42), (x + 9, 44.5), (x, 44)], (p.main, p.accent)[i % 2])
    for i in range(9):
        shade = (58, 140, 84) if i % 2 else (70, 156, 94)
        y = 62 + 1.2 * i + 0.28 * i * i
        c.rect(0, y, 160, y + 8, mix(shade, p.near, 0.25))
    c.line([(-2, 64), (162, 64)], alpha(WHITE, 0.8), 0.5)
    c.rect(58, 48, 60, 68, WHITE)
    c.rect(100, 48, 102, 68, WHITE)
    c.rect(58, 47, 102, 49, WHITE)
    for i in range(10):
        c.line([(60 + i * 4.2, 49), (60 + i * 4.2, 67)], alpha(WHITE, 0.25), 0.2)
        c.line([(60, 50 + i * 1.9), (101, 50 + i * 1.9)], alpha(WHITE, 0.25), 0.2)
    c.shadow(80, 83, 9, 2, 0.6)
    _football(c, 80, 78, 5.6)


def bicycle(c: Canvas, detail: str) -> None:
    """A bicycle by a lake."""
    p = c.palette
    c.sky()
    c.glow(122, 24, 36, p.accent, 0.7)
    c.circle(122, 24, 7.5, mix(p.accent, WHITE, 0.5))
    c.cloud(40, 14, 6, alpha(p.light, 0.8))
    c.ridge(54, 20, mix(p.far, p.bottom, 0.35), peaks=3)
    c.ridge(56, 12, mix(p.far, p.near, 0.2), peaks=5)
    c.rect(0, 55, 160, 74, (mix(p.bottom, p.top, 0.35), mix(p.far, p.top, 0.4)))
    for _ in range(30):
        x, y = c.uniform(0, 160), c.uniform(56, 72)
        c.line([(x, y), (x + c.uniform(3, 9), y)], alpha(p.light, 0.6), 0.4)
    c.rect(0, 73, 160, 92, (mix(p.light, p.accent, 0.3), mix(p.far, p.near, 0.35)))
    for i in range(50):
        x = i * 3.3
        c.line([(x, 75), (x + c.uniform(-1, 1), 75 - c.uniform(1, 5))], mix((84, 150, 84), p.near, 0.25), 0.6)
    c.shadow(80, 84, 52, 4, 0.6)
    for x in (52, 110):
        c.ring(x, 66, 18, 1.5, mix(p.near, (0, 0, 0), 0.3))
        c.ring(x, 66, 16.6, 0.5, p.light)
        for k in range(12):
            a = math.radians(30 * k)
            c.line([(x, 66), (x + 16.5 * math.cos(a), 66 + 16.5 * math.sin(a))], alpha(p.light, 0.6), 0.22)
        c.circle(x, 66, 1.5, p.near)
    for line in (
        [(52, 66), (68, 40), (100, 39), (78, 66), (52, 66)],
        [(78, 66), (66, 36)],
        [(110, 66), (99, 34)],
    ):
        c.line(line, p.main, 1.8)
    c.line([(60, 34.5), (73, 34.5)], p.near, 2.8)
    c.line([(99, 34), (97, 29), (106, 28)], p.near, 1.5)
    c.circle(78, 66, 4, p.near)
    c.circle(78, 66, 2.6, p.accent)
    c.line([(78, 66), (82, 73), (86, 73)], p.near, 1)
    c.rect(103, 33, 117, 43, ((206, 158, 104), (158, 108, 62)), round_by=1.5)
    for k in range(4):
        c.line([(104, 35 + k * 2.2), (116, 35 + k * 2.2)], (134, 90, 52), 0.35)
    for dx, colour in ((0, p.main), (4, p.accent), (8, p.light)):
        c.line([(106 + dx, 33), (106 + dx, 28)], LEAF, 0.5)
        c.circle(106 + dx, 27, 2, colour)


def track(c: Canvas, detail: str) -> None:
    """A running track from above a bend, lanes numbered by dots, three runners' shadows."""
    p = c.palette
    c.sky((200, 84, 66), (222, 112, 84))
    c.shape(
        [(96, -30), (190, -30), (190, 130), (96, 130), (118, 92), (126, 45), (116, 0)],
        ((96, 176, 104), (66, 144, 84)),
    )
    for k in range(8):
        r = 16.0 * k
        points = [(112 - r - 12, -14), (126 - r, 18), (130 - r, 45), (126 - r, 74), (112 - r - 12, 106)]
        c.curve(points, alpha(WHITE, 0.92), 0.9)
    for i, (x, y) in enumerate(((104, 30), (84, 46), (70, 64), (36, 40))):
        colour = (p.main, p.accent, p.light, p.near)[i]
        c.line([(x, y), (x + 16, y + 11)], alpha((60, 16, 16), 0.38), 4.4)
        c.line([(x - 3, y - 5), (x + 3.5, y + 6)], (238, 194, 158), 1.8)
        c.ellipse(x, y, 3.2, 4.8, (mix(colour, WHITE, 0.2), colour))
        c.circle(x, y, 2.5, mix(p.near, (60, 36, 26), 0.5))
    c.line([(-4, 80), (100, 84)], WHITE, 1.6)


def shoe(c: Canvas, detail: str) -> None:
    """A running shoe with speed lines."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.5), mix(p.top, p.bottom, 0.2), 86, 40)
    c.circle(88, 44, 36, alpha(p.light, 0.5))
    for i, (y, x0, x1) in enumerate(((28.0, 4, 34), (40.0, -2, 24), (52.0, 8, 30), (63.0, -2, 18))):
        c.line([(x0, y), (x1, y)], (p.main, p.accent)[i % 2], 1.8)
    c.shadow(90, 79, 58, 5, 0.6)
    c.shape(
        [(40, 70), (36, 76), (60, 78), (110, 78), (142, 76), (146, 70), (130, 66), (80, 67)],
        (WHITE, mix(p.light, p.far, 0.45)),
    )
    upper = [
        (41, 69),
        (39, 48),
        (44, 33),
        (54, 31),
        (60, 38),
        (72, 40),
        (80, 34),
        (98, 46),
        (122, 55),
        (142, 61),
        (145, 69),
        (100, 71),
    ]
    c.shape(upper, (mix(p.main, WHITE, 0.22), mix(p.main, p.near, 0.15)))
    c.shape([(40, 68), (39, 52), (46, 46), (58, 52), (64, 69)], mix(p.main, p.near, 0.4))
    c.shape([(118, 56), (140, 60), (145, 69), (122, 70)], mix(p.main, p.near, 0.3))
    c.shape([(64, 66), (74, 54), (94, 50), (108, 62), (92, 60), (80, 68)], p.accent)
    c.shape([(45, 34), (53, 31.5), (60, 38), (54, 42), (47, 41)], p.near)
    for k in range(5):
        x, y = 78 + k * 6.4, 39 + k * 3.4
        c.line([(x - 2, y + 5), (x + 4, y - 1)], WHITE, 1.4)
    for k in range(11):
        c.line([(48 + k * 8.4, 78), (50 + k * 8.4, 75.4)], mix(p.far, p.near, 0.5), 0.9)


def _football(c: Canvas, x: float, y: float, r: float) -> None:
    """A football with pentagons."""
    c.ball(x, y, r, WHITE, (176, 184, 196))
    ink = (34, 38, 52)
    c.poly([(x + r * 0.3 * math.cos(a), y + r * 0.3 * math.sin(a)) for a in _fifths(-90)], ink)
    for angle in _fifths(-90):
        inner, outer = (x + r * 0.3 * math.cos(angle), y + r * 0.3 * math.sin(angle)), 0.68
        joint = (x + r * outer * math.cos(angle), y + r * outer * math.sin(angle))
        c.line([inner, joint], ink, r * 0.05)
        edge = [
            (x + r * 0.985 * math.cos(angle + d), y + r * 0.985 * math.sin(angle + d))
            for d in (-0.24, -0.12, 0, 0.12, 0.24)
        ]
        c.poly(
            [
                (x + r * 0.76 * math.cos(angle - 0.27), y + r * 0.76 * math.sin(angle - 0.27)),
                *edge,
                (x + r * 0.76 * math.cos(angle + 0.27), y + r * 0.76 * math.sin(angle + 0.27)),
                joint,
            ],
            ink,
        )
        for d in (-0.27, 0.27):
            other = angle + (0.628 if d > 0 else -0.628)
            c.line(
                [
                    (x + r * 0.76 * math.cos(angle + d), y + r * 0.76 * math.sin(angle + d)),
                    (x + r * 0.84 * math.cos(other), y + r * 0.84 * math.sin(other)),
                ],
                ink,
                r * 0.04,
            )


def _fifths(start: float) -> list[float]:
    return [math.radians(start + 72 * k) for k in range(5)]


SCENES = {
    "ball": (ball, (80.0, 46.0)),
    "bicycle": (bicycle, (84.0, 56.0)),
    "shoe": (shoe, (92.0, 52.0)),
    "stadium": (stadium, (80.0, 58.0)),
    "track": (track, (80.0, 45.0)),
}
