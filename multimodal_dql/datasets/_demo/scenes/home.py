"""Drawn money and household things: coins, charts, clocks, hearts, bulbs, envelopes. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def coins(c: Canvas, detail: str) -> None:
    """Growing stacks of coins with a sprout."""
    p = c.palette
    _backdrop(c)
    c.rect(0, 74, 160, 92, (mix(p.far, p.light, 0.3), mix(p.far, p.near, 0.2)))
    gold, rim = (255, 208, 84), (206, 142, 34)
    for i, count in enumerate((2, 4, 6, 9, 12)):
        x = 28 + i * 26.0
        c.shadow(x + 3, 79, 16, 4, 0.6)
        for k in range(count):
            y = 77 - k * 4.1
            dx = c.uniform(-0.6, 0.6)
            c.ellipse(x + dx, y, 11, 3.6, rim)
            c.rect(x + dx - 11, y - 3, x + dx + 11, y, (mix(gold, rim, 0.3), rim))
            c.ellipse(x + dx, y - 3, 11, 3.6, (mix(gold, WHITE, 0.35), gold))
            c.ellipse(x + dx, y - 3, 8.2, 2.5, mix(gold, rim, 0.35))
            c.ellipse(x + dx, y - 3.2, 7.6, 2.2, gold)
        top = 77 - (count - 1) * 4.1 - 3
        if i >= 2:
            height = 4 + 3.0 * (i - 2)
            c.line([(x, top), (x, top - height)], (70, 150, 80), 1)
            for side in (-1, 1):
                c.shape(
                    [
                        (x, top - height),
                        (x + side * 4, top - height - 5),
                        (x + side * 9, top - height - 4),
                        (x + side * 5, top - height),
                    ],
                    ((140, 210, 110), (64, 150, 84)),
                )


def chart(c: Canvas, detail: str) -> None:
    """A chart with `bars` or a rising `line`."""
    p = c.palette
    c.sky(mix(p.bottom, WHITE, 0.35), mix(p.bottom, p.top, 0.4))
    c.shadow(82, 48, 80, 52, 0.35)
    c.rect(16, 10, 144, 82, WHITE, round_by=4)
    for i in range(5):
        c.line([(26, 70 - i * 12), (136, 70 - i * 12)], mix(WHITE, p.far, 0.22), 0.4)
    heights = [9, 15, 13, 22, 27, 25, 36, 46]
    if detail == "bars":
        for i, h in enumerate(heights):
            x = 29 + i * 13.4
            colour = p.main if i == len(heights) - 1 else mix(p.far, p.top, 0.2)
            c.rect(x, 70 - h, x + 9, 70, (mix(colour, WHITE, 0.3), colour), round_by=1.6)
            c.rect(x, 68, x + 9, 70, colour)
        c.glow(127, 20, 10, p.accent, 0.6)
        c.ball(127, 19, 4, mix(p.accent, WHITE, 0.5), p.accent)
    else:
        points = [(28 + i * 14.6, 68 - h) for i, h in enumerate(heights)]
        c.poly([*points, (points[-1][0], 70), (28, 70)], (mix(p.main, WHITE, 0.35), mix(p.main, WHITE, 0.88)))
        c.line(points, p.main, 1.7)
        for i, (x, y) in enumerate(points):
            c.circle(x, y, 2.3, WHITE)
            c.circle(x, y, 1.6, p.accent if i == len(points) - 1 else p.main)
        other = [(28 + i * 14.6, 62 - h * 0.35 + 3 * math.sin(i)) for i, h in enumerate(heights)]
        c.line(other, alpha(p.far, 0.8), 0.9)
    c.line([(25, 70), (137, 70)], p.near, 0.8)
    for i in range(8):
        c.rect(30 + i * 13.4, 73, 36 + i * 13.4, 74.6, mix(WHITE, p.near, 0.35), round_by=0.7)
    c.rect(26, 15, 58, 17.6, p.near, round_by=1)
    c.rect(26, 20, 46, 21.6, mix(WHITE, p.near, 0.4), round_by=0.7)


def clock(c: Canvas, detail: str) -> None:
    """An alarm clock, `plain` or by `night`."""
    p = c.palette
    night = detail == "night"
    _backdrop(c, 80, 42)
    if night:
        c.sky(mix(p.top, (0, 0, 0), 0.2), mix(p.bottom, p.top, 0.4))
        c.stars(60, 0, 50)
        c.glow(80, 46, 66, p.accent, 0.35)
    c.rect(0, 78, 160, 92, (mix(p.far, p.near, 0.35), p.near))
    c.shadow(80, 80, 40, 5, 0.7)
    for side in (-1, 1):
        c.line([(80 + side * 16, 66), (80 + side * 23, 79)], p.near, 3)
        c.half(
            80 + side * 22, 19, 11, 11, (180 + side * 30, 360 + side * 30), (mix(p.main, WHITE, 0.3), p.main)
        )
    c.rect(78.6, 8, 81.4, 18, p.near, round_by=1)
    c.circle(80, 46, 33, (mix(p.main, WHITE, 0.2), mix(p.main, p.near, 0.35)))
    c.circle(
        80, 46, 27.5, (WHITE, mix(p.light, p.far, 0.3)) if not night else (mix(p.near, p.top, 0.4), p.near)
    )
    ink = p.near if not night else p.light
    for k in range(60):
        a = math.radians(6 * k)
        inner = 22.6 if k % 5 == 0 else 25
        c.line(
            [
                (80 + inner * math.cos(a), 46 + inner * math.sin(a)),
                (80 + 26 * math.cos(a), 46 + 26 * math.sin(a)),
            ],
            ink,
            1.0 if k % 5 == 0 else 0.3,
        )
    hour, minute = (-30.0, -90.0) if night else (-150.0, -54.0)
    for angle, length, width in ((hour, 13.5, 2.2), (minute, 20.5, 1.5)):
        a = math.radians(angle)
        c.line([(80, 46), (80 + length * math.cos(a), 46 + length * math.sin(a))], ink, width)
    c.line([(75, 53), (94, 27)], p.accent, 0.6)
    c.circle(80, 46, 2.2, p.main)
    c.half(80, 46, 27.5, 27.5, (200, 290), alpha(WHITE, 0.12))


def heart(c: Canvas, detail: str) -> None:
    """A heart with a pulse line across it."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.4), mix(p.top, p.bottom, 0.3), 80, 42)
    for r in (58, 48, 38):
        c.circle(80, 46, r, alpha(p.light, 0.16))
    c.shadow(80, 84, 30, 4, 0.5)
    red = (236, 74, 92)
    outline = []
    for k in range(90):
        t = 2 * math.pi * k / 90
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        outline.append((80 + 2.05 * x, 43 - 2.05 * y))
    c.poly(outline, (mix(red, WHITE, 0.25), mix(red, (120, 10, 40), 0.3)))
    c.glow(64, 32, 17, WHITE, 0.55)
    pulse = [
        (-4, 46),
        (40, 46),
        (48, 40),
        (54, 46),
        (62, 46),
        (68, 62),
        (77, 18),
        (86, 66),
        (93, 46),
        (102, 46),
        (108, 40),
        (116, 46),
        (164, 46),
    ]
    c.line(pulse, p.near, 2.6)
    c.line(pulse, WHITE, 1.5)
    c.glow(164, 46, 14, p.accent, 0.7)


def bulb(c: Canvas, detail: str) -> None:
    """A glowing light bulb on a cord."""
    p = c.palette
    c.spot(mix(p.far, p.accent, 0.3), mix(p.near, p.top, 0.35), 80, 48)
    c.rays((255, 226, 140), 80, 50, 20, 0.09)
    c.glow(80, 50, 78, (255, 214, 110), 0.75)
    c.line([(80, -4), (80, 16)], mix(p.near, (0, 0, 0), 0.4), 1.2)
    c.rect(71, 13, 89, 26, ((214, 220, 228), (120, 130, 142)), round_by=2)
    for k in range(4):
        c.line([(71, 15.4 + k * 2.8), (89, 16.6 + k * 2.8)], (92, 100, 112), 0.6)
    glass = [
        (71, 26),
        (66, 38),
        (57, 52),
        (60, 68),
        (72, 77),
        (80, 78),
        (88, 77),
        (100, 68),
        (103, 52),
        (94, 38),
        (89, 26),
    ]
    c.shape(glass, ((255, 250, 220), (255, 206, 92)))
    c.glow(80, 56, 24, WHITE, 0.8)
    c.curve(
        [(75, 27), (75, 44), (72, 52), (77, 47), (80, 53), (83, 47), (88, 52), (85, 44), (85, 27)],
        (214, 110, 30),
        0.9,
    )
    c.curve([(63, 50), (63, 60), (69, 69)], alpha(WHITE, 0.9), 1.5)
    for x, y, on in ((28, 60, True), (132, 60, False)):
        c.shadow(x + 2, y + 2, 15, 19, 0.5)
        c.rect(x - 9, y - 13, x + 9, y + 13, (p.light, mix(p.light, p.far, 0.35)), round_by=2.4)
        c.rect(x - 4.6, y - 7, x + 4.6, y + 7, mix(p.light, p.far, 0.45), round_by=1.2)
        c.rect(x - 4, y - 6.4 if on else y, x + 4, y if on else y + 6.4, p.main if on else p.near, round_by=1)


def envelope(c: Canvas, detail: str) -> None:
    """Five labelled paper envelopes with notes."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.3), mix(p.top, p.far, 0.35), 70, 34)
    paper = (226, 186, 134)
    for i, colour in enumerate((p.main, p.accent, p.far, p.near, mix(p.main, p.accent, 0.5))):
        x, y = 16 + i * 21.0, 20 + (i % 2) * 6 + i * 1.5
        c.shadow(x + 25, y + 30, 38, 30, 0.5)
        c.rect(x + 6, y - 11, x + 38, y + 14, ((170, 212, 170), (112, 168, 124)), round_by=1)
        c.ring(x + 22, y - 3, 4.6, 0.9, (226, 244, 222))
        c.rect(x + 8.4, y - 8.6, x + 12, y - 7, (226, 244, 222))
        c.rect(x, y, x + 44, y + 46, (mix(paper, WHITE, 0.25), mix(paper, (150, 104, 60), 0.3)), round_by=1.4)
        c.poly(
            [(x, y + 1), (x + 44, y + 1), (x + 22, y + 20)],
            (mix(paper, WHITE, 0.42), mix(paper, (150, 104, 60), 0.18)),
        )
        c.line([(x, y + 1), (x + 22, y + 20), (x + 44, y + 1)], (160, 116, 70), 0.4)
        c.circle(x + 22, y + 18, 4.6, colour)
        c.circle(x + 22, y + 18, 3.2, mix(colour, WHITE, 0.3))
        c.rect(x + 8, y + 30, x + 36, y + 39, mix(WHITE, paper, 0.15), round_by=1)
        c.line([(x + 11, y + 34.5), (x + 22 + 2.4 * i, y + 34.5)], colour, 1.3)


def _backdrop(c: Canvas, x: float = 80, y: float = 40) -> None:
    """A plain ground with a pale disc behind the thing."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.2), mix(p.top, p.far, 0.2), x, y)
    c.circle(x, y + 4, 34, alpha(p.light, 0.2))
    c.circle(x, y + 4, 42, alpha(p.light, 0.12))


SCENES = {
    "bulb": (bulb, (80.0, 50.0)),
    "chart": (chart, (80.0, 46.0)),
    "clock": (clock, (80.0, 46.0)),
    "coins": (coins, (110.0, 54.0)),
    "envelope": (envelope, (76.0, 46.0)),
    "heart": (heart, (80.0, 44.0)),
}
