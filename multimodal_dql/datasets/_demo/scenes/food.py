"""Drawn food: noodles, plates, bread, tea. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)
LEAF: Rgb = (74, 148, 84)


def bowl(c: Canvas, detail: str) -> None:
    """A bowl of noodles with egg, greens and chopsticks, steaming."""
    p = c.palette
    c.spot(mix(p.bottom, p.accent, 0.25), mix(p.top, p.near, 0.15), 80, 34)
    c.rect(0, 66, 160, 92, (mix(p.near, (150, 96, 60), 0.5), mix(p.near, (60, 36, 26), 0.4)))
    c.line([(-2, 66), (162, 66)], alpha(p.light, 0.35), 0.6)
    c.glow(80, 34, 60, p.light, 0.4)
    c.shadow(80, 78, 54, 6, 0.7)
    c.ellipse(80, 76, 20, 4, mix(p.main, p.near, 0.5))
    c.half(80, 46, 45, 32, (0, 180), (mix(p.light, WHITE, 0.5), mix(p.light, p.far, 0.55)))
    for k in range(11):
        x = 44 + k * 7.2
        c.arc(x, 57 - 0.1 * (x - 80) ** 2 / 30, 2.4, 2.4, (20, 320), p.main, 0.7)
    c.curve([(39, 58), (60, 68.5), (80, 71), (100, 68.5), (121, 58)], p.main, 1.1)
    c.ellipse(80, 46, 45, 12.5, mix(p.light, p.far, 0.25))
    c.ellipse(80, 46, 42, 10.8, ((226, 168, 88), (188, 112, 48)))
    for i in range(15):
        y = 41.2 + 0.65 * i
        reach = 33 * math.sqrt(max(0.05, 1 - ((y - 46) / 10.5) ** 2))
        wave = [(80 - reach + 2 * reach * k / 8, y + 1.5 * math.sin(k * 1.7 + i * 1.3)) for k in range(9)]
        c.curve(wave, mix((252, 226, 150), (214, 158, 74), c.uniform(0, 0.7)), 1.25)
    for x, y in ((60, 45), (69, 42.5)):
        c.ellipse(x, y, 8, 4.2, (255, 252, 240))
        c.ellipse(x + 0.6, y, 4.4, 2.4, ((255, 186, 60), (240, 140, 30)))
        c.ellipse(x - 0.7, y - 0.8, 1.3, 0.6, alpha(WHITE, 0.7))
    for x, y, turn in ((96, 42, 0.2), (102, 45, 0.5), (92, 47, -0.2)):
        c.shape(
            [(x - 9, y + turn * 2), (x, y - 3.4), (x + 10, y - turn * 3), (x, y + 2.6)],
            ((120, 190, 92), (48, 120, 66)),
        )
        c.line([(x - 8, y + turn * 2), (x + 9, y - turn * 3)], (186, 222, 150), 0.45)
    for _ in range(22):
        c.circle(c.uniform(56, 106), c.uniform(40, 52), 0.85, (92, 168, 78))
    for dx in (0, 6):
        c.line([(98 + dx, 46), (146 + dx, 12)], (94, 50, 36), 1.6)
        c.line([(138 + dx, 17.6), (146 + dx, 12)], p.accent, 1.6)
    c.steam(74, 34, 26, WHITE)


def plate(c: Canvas, detail: str) -> None:
    """A plate from above: sliced `tomato` with basil, or `dumpling`s in a ring."""
    p = c.palette
    _table(c)
    c.shadow(83, 50, 54, 50, 0.6)
    c.circle(80, 45, 39, (WHITE, mix(p.light, p.far, 0.25)))
    c.ring(80, 45, 36.5, 0.9, mix(p.main, WHITE, 0.25))
    c.circle(80, 45, 29, (mix(p.light, p.far, 0.14), WHITE))
    if detail == "tomato":
        spots = [(80 + 17.5 * math.cos(k * 1.047), 45 + 17.5 * math.sin(k * 1.047)) for k in range(6)]
        for x, y in [*spots, (80, 45)]:
            _tomato_slice(c, x, y, 9.4, c.uniform(0, 1))
        for x, y, turn in ((76, 39, 0.3), (87, 47, 2.2), (74, 51, 4.0), (66, 34, 5.1), (95, 58, 1.2)):
            _leaf(c, x, y, 7.5, turn)
        for x, y in ((14, 22), (20, 70), (144, 24), (150, 66), (136, 78)):
            c.shadow(x + 2, y + 3, 14, 13, 0.6)
            c.ball(x, y, 10, (255, 140, 110), (206, 36, 34))
            for k in range(5):
                a = math.radians(72 * k + 20)
                c.shape(
                    [
                        (x, y - 3),
                        (x + 4 * math.cos(a) - 0.6, y - 3 + 2.8 * math.sin(a)),
                        (x + 6 * math.cos(a), y - 3 + 4.4 * math.sin(a)),
                    ],
                    LEAF,
                )
            c.line([(x, y - 3), (x + 1, y - 7)], (60, 120, 66), 1)
    else:
        for k in range(9):
            a = math.radians(40 * k - 90)
            _dumpling(c, 80 + 20 * math.cos(a), 45 + 20 * math.sin(a), a + math.pi / 2)
        c.circle(80, 45, 9.4, (p.light, mix(p.light, p.far, 0.5)))
        c.circle(80, 45, 7.6, ((124, 58, 34), (66, 28, 20)))
        c.ellipse(77, 42.4, 2.4, 1.2, alpha(WHITE, 0.35))
        for _ in range(9):
            c.circle(80 + c.uniform(-5, 5), 45 + c.uniform(-5, 5), 0.75, (120, 180, 80))
        for dx in (0, 5):
            c.line([(131 + dx, 8), (139 + dx, 84)], (112, 60, 40), 1.9)
            c.line([(131 + dx, 8), (133 + dx, 26)], p.main, 1.9)
        for x, y, turn in ((18, 24, 0.4), (24, 66, 2.0), (13, 47, 4.4)):
            _leaf(c, x, y, 11, turn)


def bread(c: Canvas, detail: str) -> None:
    """A scored loaf on a board with wheat and flour."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.3), mix(p.top, p.far, 0.4), 70, 28)
    c.rect(0, 64, 160, 92, (mix(p.far, p.light, 0.35), mix(p.far, p.near, 0.35)))
    c.shadow(80, 76, 66, 8, 0.6)
    c.rect(22, 66, 138, 76, ((190, 136, 86), (134, 86, 50)), round_by=4)
    c.rect(24, 66, 136, 69, (212, 160, 108), round_by=1.5)
    c.shadow(80, 68, 48, 5, 0.7)
    body = [
        (34, 62),
        (36, 46),
        (52, 31),
        (80, 25),
        (108, 31),
        (124, 46),
        (126, 62),
        (112, 68),
        (80, 69),
        (48, 68),
    ]
    c.shape(body, ((232, 168, 88), (150, 80, 34)))
    c.glow(66, 38, 32, (255, 226, 168), 0.55)
    for k in range(4):
        x = 50 + k * 17.0
        c.shape(
            [(x - 3, 55), (x + 2, 42), (x + 11, 32), (x + 10, 40), (x + 5, 52)],
            ((255, 236, 196), (236, 190, 124)),
        )
        c.curve([(x - 3, 55), (x + 2, 42), (x + 11, 32)], (146, 78, 34), 0.6)
    for _ in range(130):
        x, y = c.uniform(38, 122), c.uniform(32, 62)
        c.circle(x, y, c.uniform(0.15, 0.5), alpha(WHITE, 0.4))
    for k in range(3):
        base = (138 + k * 6, 82 - k)
        tip = (126 + k * 9, 30 + k * 6)
        c.curve([base, ((base[0] + tip[0]) / 2 + 4, 56), tip], (196, 150, 62), 0.7)
        for j in range(8):
            t = j * 0.055
            x, y = tip[0] + (base[0] - tip[0]) * t * 1.1, tip[1] + (base[1] - tip[1]) * t
            for side in (-1, 1):
                c.ellipse(x + side * 1.7, y, 1.5, 2.4, ((248, 206, 104), (206, 150, 54)))
    for _ in range(90):
        c.circle(c.uniform(8, 150), c.uniform(70, 88), c.uniform(0.15, 0.6), alpha(WHITE, 0.7))
    c.steam(80, 22, 15)


def tea(c: Canvas, detail: str) -> None:
    """A glass `cup` of green tea, or a clay `pot` with two cups."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.4), mix(p.top, p.far, 0.3), 80, 30)
    c.ridge(62, 20, alpha(p.far, 0.35), peaks=3)
    c.ridge(66, 13, alpha(p.far, 0.5), peaks=4)
    c.rect(0, 66, 160, 92, (mix(p.light, p.far, 0.3), mix(p.far, p.near, 0.3)))
    if detail == "pot":
        c.shadow(72, 77, 44, 6, 0.65)
        clay = p.main
        c.ring(110, 50, 11, 4, mix(clay, p.near, 0.3))
        c.shape(
            [(40, 54), (22, 40), (17, 38), (22, 36), (34, 42), (44, 44)],
            (mix(clay, WHITE, 0.15), mix(clay, p.near, 0.3)),
        )
        c.shape(
            [
                (38, 48),
                (50, 32),
                (74, 27),
                (98, 32),
                (110, 48),
                (106, 66),
                (92, 76),
                (74, 77),
                (56, 76),
                (42, 66),
            ],
            (mix(clay, WHITE, 0.25), mix(clay, p.near, 0.45)),
        )
        c.glow(58, 42, 20, WHITE, 0.35)
        c.ellipse(74, 32, 22, 5.4, mix(clay, p.near, 0.3))
        c.half(74, 32, 20, 9, (180, 360), (mix(clay, WHITE, 0.3), clay))
        c.ball(74, 22, 3.6, mix(clay, WHITE, 0.4), mix(clay, p.near, 0.3))
        cups = [(128, 72, 11.0), (150, 79, 10.0)]
        c.steam(20, 34, 16)
    else:
        cups = [(76, 62, 25.0)]
        for x, y, turn in ((122, 78, 0.4), (134, 74, 2.4), (28, 80, 1.2), (36, 74, 5.0)):
            _leaf(c, x, y, 12, turn)
        c.steam(76, 38, 22)
    for x, y, r in cups:
        c.shadow(x, y + r * 0.62, r * 1.5, r * 0.3, 0.6)
        c.ellipse(x, y + r * 0.58, r * 1.25, r * 0.27, (WHITE, mix(p.light, p.far, 0.5)))
        c.half(x, y - r * 0.5, r, r * 1.1, (0, 180), (WHITE, mix(p.light, p.far, 0.45)))
        c.ring(x + r * 1.08, y - r * 0.12, r * 0.3, r * 0.1, mix(p.light, p.far, 0.2))
        c.ellipse(x, y - r * 0.5, r, r * 0.27, mix(p.light, p.far, 0.15))
        c.ellipse(x, y - r * 0.48, r * 0.9, r * 0.21, ((206, 214, 110), (150, 176, 70)))
        _leaf(c, x - r * 0.25, y - r * 0.5, r * 0.42, 0.3)
        _leaf(c, x + r * 0.32, y - r * 0.46, r * 0.32, 2.8)
        c.arc(x, y - r * 0.3, r * 0.8, r * 0.72, (95, 150), alpha(p.main, 0.5), 0.8)


def _table(c: Canvas) -> None:
    """A tablecloth in the palette's light colours, seen from above."""
    p = c.palette
    base = mix(p.bottom, p.light, 0.3)
    c.spot(mix(base, WHITE, 0.35), mix(p.top, p.bottom, 0.45), 70, 30)
    for i in range(-4, 26):
        c.line([(i * 9, -4), (i * 9 - 26, 96)], alpha(p.far, 0.12), 2.2)


def _tomato_slice(c: Canvas, x: float, y: float, r: float, turn: float) -> None:
    c.shadow(x + 1, y + 1.4, r * 1.25, r * 1.2, 0.4)
    c.circle(x, y, r, (208, 40, 36))
    c.circle(x, y, r * 0.91, (244, 92, 72))
    for k in range(6):
        a = turn + math.radians(60 * k)
        cx, cy = x + r * 0.52 * math.cos(a), y + r * 0.52 * math.sin(a)
        c.circle(cx, cy, r * 0.24, (214, 54, 40))
        for d in (-0.09, 0.1):
            c.circle(cx + r * d, cy + r * d * 0.7, r * 0.055, (255, 214, 130))
    c.circle(x, y, r * 0.16, (255, 168, 138))
    c.ellipse(x - r * 0.4, y - r * 0.5, r * 0.3, r * 0.14, alpha(WHITE, 0.4))


def _leaf(c: Canvas, x: float, y: float, size: float, turn: float) -> None:
    ux, uy = math.cos(turn), math.sin(turn)
    ends = ((-0.5, 0.0), (-0.1, -0.28), (0.5, 0.0), (-0.1, 0.28))
    c.shape(
        [(x + size * (a * ux - b * uy), y + size * (a * uy + b * ux)) for a, b in ends],
        ((110, 186, 96), (46, 120, 70)),
    )
    c.line(
        [(x - size * 0.45 * ux, y - size * 0.45 * uy), (x + size * 0.45 * ux, y + size * 0.45 * uy)],
        (170, 214, 140),
        0.4,
    )


def _dumpling(c: Canvas, x: float, y: float, turn: float) -> None:
    ux, uy = math.cos(turn), math.sin(turn)

    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * ux - b * uy, y + a * uy + b * ux)

    c.shadow(x + 0.8, y + 1.6, 10, 7, 0.5)
    c.shape(
        [at(-8, 2), at(-4, -3.6), at(0, -4.8), at(4, -3.6), at(8, 2), at(4, 4.4), at(0, 4.9), at(-4, 4.4)],
        ((255, 247, 224), (232, 206, 160)),
    )
    for k in range(-3, 4):
        c.line([at(k * 1.9, -0.6 + 0.24 * abs(k)), at(k * 1.5, -4.2 + 0.42 * abs(k))], (208, 172, 124), 0.5)
    c.curve([at(-7, 1.4), at(-3.5, -1.2), at(0, -1.8), at(3.5, -1.2), at(7, 1.4)], (222, 188, 140), 0.5)


SCENES = {
    "bowl": (bowl, (78.0, 44.0)),
    "bread": (bread, (80.0, 50.0)),
    "plate": (plate, (80.0, 45.0)),
    "tea": (tea, (78.0, 50.0)),
}
