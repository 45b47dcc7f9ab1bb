"""Drawn machines: phones, satellites, robots. Units of 160 x 90."""

from __future__ import annotations

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def phone(c: Canvas, detail: str) -> None:
    """A phone showing its `battery`, `low` on charge, or a `scroll` of posts."""
    p = c.palette
    _backdrop(c, 80, 40)
    if detail == "low":
        c.rays(p.accent, 80, 45, 18, 0.1)
    c.shadow(86, 50, 38, 56, 0.6)
    c.rect(55, 1, 105, 89, mix(p.near, (0, 0, 0), 0.45), round_by=7)
    c.rect(57.4, 3.4, 102.6, 86.6, (mix(p.near, p.top, 0.3), p.near), round_by=5.2)
    c.rect(73, 5, 87, 7.4, mix(p.near, (0, 0, 0), 0.6), round_by=1.2)
    if detail == "scroll":
        c.rect(57.4, 10, 102.6, 82, mix(p.light, WHITE, 0.6))
        for k in range(3):
            y = 13 + k * 24
            colour = (p.main, p.accent, p.far)[k]
            c.circle(63, y + 2.4, 2.6, mix(colour, p.near, 0.2))
            c.rect(68, y + 0.6, 88, y + 2, mix(p.near, WHITE, 0.4), round_by=0.6)
            c.rect(68, y + 3.2, 80, y + 4.4, mix(p.near, WHITE, 0.7), round_by=0.6)
            c.rect(60, y + 7, 100, y + 20, (mix(colour, WHITE, 0.4), colour), round_by=2)
            c.poly(
                [(60, y + 20), (74, y + 11), (84, y + 17), (90, y + 13), (100, y + 20)], alpha(p.near, 0.35)
            )
        c.poly([(92, 58), (100, 50), (108, 58), (104, 58), (104, 76), (96, 76), (96, 58)], p.main)
        return
    low = detail == "low"
    level, colour = (0.14, (255, 84, 84)) if low else (0.82, (84, 220, 140))
    c.rect(68, 22, 92, 66, alpha(WHITE, 0.16), round_by=4)
    c.rect(75, 18.4, 85, 22, alpha(WHITE, 0.5), round_by=1)
    c.ring(80, 44, 28, 0.5, alpha(colour, 0.6))
    c.glow(80, 60 if low else 44, 30, colour, 0.45)
    c.rect(70.4, 63.6 - 39 * level, 89.6, 63.6, (mix(colour, WHITE, 0.3), colour), round_by=2.4)
    c.poly(
        [(82, 30), (73.4, 47), (79.6, 47), (77.4, 60), (87, 41.6), (80.6, 41.6)],
        WHITE if not low else alpha(WHITE, 0.5),
    )
    for k in range(3):
        c.rect(64, 71 + k * 4, (96, 88, 92)[k], 72.8 + k * 4, alpha(WHITE, 0.35 - 0.06 * k), round_by=0.8)
    for x, y, s in ((24, 26, 7), (136, 20, 6), (22, 66, 5), (140, 64, 8)):
        c.rect(
            x - s,
            y - s,
            x + s,
            y + s,
            (mix(p.main, WHITE, 0.25), p.main) if s % 2 else (mix(p.accent, WHITE, 0.3), p.accent),
            round_by=s * 0.45,
        )
        c.circle(x, y, s * 0.42, alpha(WHITE, 0.9))
        c.circle(x, y, s * 0.2, p.near)


def satellite(c: Canvas, detail: str) -> None:
    """A little satellite above the rim of a planet."""
    p = c.palette
    c.sky(mix(p.top, (2, 2, 16), 0.65), mix(p.top, (2, 2, 16), 0.35))
    c.stars(170, 0, 90)
    c.glow(60, 165, 190, mix(p.main, p.bottom, 0.5), 0.6)
    c.circle(60, 172, 112, (mix(p.bottom, p.light, 0.15), p.near))
    for _ in range(12):
        x, y = c.uniform(-10, 130), c.uniform(66, 92)
        c.ellipse(x, y, c.uniform(5, 16), c.uniform(1, 2.6), alpha(p.light, 0.2))
    c.arc(60, 172, 112.6, 112.6, (215, 325), mix(p.bottom, WHITE, 0.65), 0.8)
    c.arc(60, 172, 148, 148, (236, 320), alpha(p.light, 0.35), 0.4)
    c.glow(140, 12, 32, p.accent, 0.8)
    c.circle(140, 12, 6, mix(p.accent, WHITE, 0.6))
    x, y = 84, 36
    for side in (-1, 1):
        c.line([(x, y), (x + side * 14, y - side * 5)], p.light, 1)
        for k in range(3):
            a = x + side * (14 + k * 10.5)
            b = y - side * (5 + k * 3.8)
            ux, uy = side * 9.6, -side * 3.5
            panel = [
                (a + 1.8, b + 8),
                (a + ux + 1.8, b + uy + 8),
                (a + ux - 1.8, b + uy - 8),
                (a - 1.8, b - 8),
            ]
            c.poly(panel, (mix((70, 120, 210), WHITE, 0.25), (34, 66, 150)))
            for j in (-0.4, 0.0, 0.4):
                c.line([(a + j * 4, b + j * 14), (a + ux + j * 4, b + uy + j * 14)], alpha(WHITE, 0.5), 0.25)
    c.poly(
        [(x - 9, y - 7), (x + 4, y - 12), (x + 9, y - 7), (x + 9, y + 8), (x - 4, y + 13), (x - 9, y + 8)],
        mix(p.accent, WHITE, 0.25),
    )
    c.poly([(x - 9, y - 7), (x - 4, y - 2), (x - 4, y + 13), (x - 9, y + 8)], mix(p.accent, p.near, 0.3))
    c.poly([(x - 9, y - 7), (x + 4, y - 12), (x + 9, y - 7), (x - 4, y - 2)], mix(p.accent, WHITE, 0.6))
    c.circle(x + 2.6, y + 4, 3.4, p.near)
    c.circle(x + 2.6, y + 4, 2.3, p.main)
    c.line([(x - 2, y - 8), (x - 9, y - 24)], p.light, 0.5)
    c.circle(x - 9, y - 24, 1.2, p.main)
    for k in range(3):
        c.arc(x - 9, y - 24, 4 + 3.4 * k, 4 + 3.4 * k, (200, 270), alpha(p.light, 0.8 - 0.2 * k), 0.6)


def robot(c: Canvas, detail: str) -> None:
    """A friendly delivery robot with a tray."""
    p = c.palette
    c.sky(mix(p.top, WHITE, 0.2), p.bottom)
    for i in range(8):
        x, h = i * 21.0 - 4, c.uniform(22, 46)
        c.rect(x, 70 - h, x + 18, 72, mix(p.far, p.bottom, 0.45))
        for k in range(int(h / 8)):
            c.rect(x + 3, 73 - h + k * 7, x + 15, 76 - h + k * 7, alpha(p.light, 0.5))
    c.rect(0, 70, 160, 92, (mix(p.light, p.far, 0.35), mix(p.far, p.near, 0.3)))
    c.shadow(80, 84, 36, 5, 0.7)
    for x in (64.0, 96.0):
        c.circle(x, 80, 5.6, mix(p.near, (0, 0, 0), 0.4))
        c.circle(x, 80, 2.2, p.light)
    c.rect(56, 50, 104, 80, (WHITE, mix(p.light, p.far, 0.45)), round_by=7)
    c.rect(63, 56, 97, 73, (mix(p.main, WHITE, 0.2), p.main), round_by=3)
    c.line([(70, 64.5), (90, 64.5)], WHITE, 1.3)
    c.circle(94, 77, 1.1, p.accent)
    for side in (-1, 1):
        c.curve(
            [(80 + side * 24, 56), (80 + side * 33, 58), (80 + side * 35, 48)], mix(p.light, p.far, 0.4), 3.2
        )
    c.rect(76, 42, 84, 51, mix(p.light, p.far, 0.5))
    c.line([(80, 18), (80, 9)], p.near, 1)
    c.glow(80, 8, 8, p.accent, 0.9)
    c.circle(80, 8, 2.4, p.accent)
    c.rect(54, 16, 106, 46, (WHITE, mix(p.light, p.far, 0.35)), round_by=11)
    c.rect(59, 21, 101, 41.5, (mix(p.near, p.top, 0.25), p.near), round_by=7)
    for x in (70, 90):
        c.glow(x, 30, 9, (110, 240, 255), 0.7)
        c.circle(x, 30, 4.1, (130, 240, 255))
        c.circle(x - 1.2, 28.6, 1.3, WHITE)
    c.arc(80, 33, 5, 4.4, (20, 160), (130, 240, 255), 1.2)
    for x in (63.5, 96.5):
        c.circle(x, 36.5, 2, alpha((255, 130, 150), 0.75))
    # The tray with a covered lunch.
    c.rect(106, 46, 140, 48.4, mix(p.near, p.far, 0.3), round_by=1)
    c.half(122, 46, 13, 13, (180, 360), (WHITE, mix(p.light, p.far, 0.5)))
    c.circle(122, 32, 1.9, p.main)
    c.steam(122, 29, 11)


def _backdrop(c: Canvas, x: float = 80, y: float = 40) -> None:
    """A plain ground with a pale disc behind the thing."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.2), mix(p.top, p.far, 0.2), x, y)
    c.circle(x, y + 4, 34, alpha(p.light, 0.2))
    c.circle(x, y + 4, 42, alpha(p.light, 0.12))


SCENES = {
    "phone": (phone, (80.0, 42.0)),
    "robot": (robot, (86.0, 46.0)),
    "satellite": (satellite, (88.0, 38.0)),
}
