"""Drawn instruments, microphones and sound waves. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def piano(c: Canvas, detail: str) -> None:
    """Piano keys in perspective with notes floating up."""
    p = c.palette
    c.spot(mix(p.bottom, p.light, 0.3), mix(p.top, p.near, 0.15), 96, 26)
    for k in range(9):
        c.glow(
            c.uniform(10, 150), c.uniform(2, 40), c.uniform(6, 15), (p.accent, p.light, p.main)[k % 3], 0.45
        )
    c.poly(
        [(-4, 46), (164, 34), (164, 96), (-4, 96)], (mix(p.near, (0, 0, 0), 0.2), mix(p.near, (0, 0, 0), 0.6))
    )
    c.line([(-4, 50), (164, 38)], p.main, 1.6)

    def edge(i: float, far: bool) -> tuple[float, float]:
        x = 4 + i * 11.5 if far else -26 + i * 16
        return (x, (52 - 0.071 * x) if far else 98.0)

    for i in range(14):
        c.poly(
            [edge(i + 0.04, True), edge(i + 0.96, True), edge(i + 0.96, False), edge(i + 0.04, False)],
            (mix(p.light, p.far, 0.18), WHITE),
        )
    for i in range(14):
        if i % 7 in (2, 6):
            continue
        a, b, d, e = edge(i + 0.7, True), edge(i + 1.3, True), edge(i + 0.72, False), edge(i + 1.28, False)
        t = 0.58
        low = [
            (b[0] + (e[0] - b[0]) * t, b[1] + (e[1] - b[1]) * t),
            (a[0] + (d[0] - a[0]) * t, a[1] + (d[1] - a[1]) * t),
        ]
        c.poly([a, b, *low], ((58, 58, 72), (16, 16, 24)))
        c.line([(low[1][0] + 1, low[1][1] - 1.4), (low[0][0] - 1, low[0][1] - 1.4)], alpha(WHITE, 0.3), 0.5)
    for x, y, s in ((34, 30, 1.0), (66, 18, 1.25), (100, 24, 0.9), (128, 12, 1.1)):
        _note(c, x, y, s, p.accent if s > 1 else p.light)


def record(c: Canvas, detail: str) -> None:
    """A vinyl record with its arm."""
    p = c.palette
    c.spot(mix(p.bottom, p.light, 0.15), mix(p.top, p.near, 0.3), 72, 40)
    c.rect(16, 4, 144, 90, (mix(p.main, WHITE, 0.12), mix(p.main, p.near, 0.35)), round_by=6)
    c.shadow(75, 50, 50, 48, 0.7)
    c.circle(72, 47, 38, (20, 20, 28))
    for k in range(11):
        c.ring(72, 47, 36 - k * 1.9, 0.3, (52, 52, 64) if k % 3 else (86, 86, 100))
    for a in (-62, 118):
        c.slice(72, 47, 37, 37, (a, a + 26), alpha(WHITE, 0.1))
        c.slice(72, 47, 37, 37, (a + 9, a + 17), alpha(WHITE, 0.1))
    c.circle(72, 47, 13.5, (mix(p.accent, WHITE, 0.25), p.accent))
    c.ring(72, 47, 10.5, 0.5, alpha(p.near, 0.6))
    c.half(72, 47, 8, 8, (180, 360), p.main)
    c.circle(72, 47, 1.5, p.light)
    c.shadow(129, 21, 13, 13, 0.6)
    c.circle(128, 18, 9, (WHITE, mix(p.light, p.far, 0.5)))
    c.line([(128, 18), (130, 52), (101, 68)], mix(p.light, p.far, 0.15), 2)
    c.poly([(104, 63), (98, 66.5), (95, 73), (101, 72), (106, 68)], p.near)
    c.circle(128, 18, 4, p.near)
    for k in range(3):
        c.circle(120 + k * 8, 81, 2.6, (p.light, p.accent, p.near)[k])


def mic(c: Canvas, detail: str) -> None:
    """A studio microphone before coloured sound waves."""
    p = c.palette
    c.spot(mix(p.far, p.bottom, 0.6), mix(p.top, p.near, 0.4), 80, 42)
    for k in range(49):
        x = 4 + k * 3.2
        distance = abs(x - 80) / 80
        h = (0.22 + 0.78 * abs(math.sin(k * 0.72) * math.cos(k * 0.29))) * (38 * (1 - distance) + 5)
        c.line(
            [(x, 45 - h), (x, 45 + h)],
            mix(p.main, p.accent, distance) if k % 2 else mix(p.light, p.main, 0.5),
            1.3,
        )
    c.glow(80, 44, 42, p.near, 0.75)
    c.shadow(80, 88, 30, 4, 0.7)
    c.rect(78, 70, 82, 88, mix(p.near, p.far, 0.3))
    c.ellipse(80, 88, 17, 3.4, mix(p.near, (0, 0, 0), 0.4))
    c.arc(80, 42, 21, 28, (8, 172), mix(p.light, p.far, 0.3), 2.6)
    steel, shade = (228, 232, 240), (104, 112, 128)
    c.rect(64, 8, 96, 62, (mix(steel, WHITE, 0.4), shade), round_by=15)
    for row in range(9):
        for k in range(8):
            x, y = 67.4 + k * 3.6 + (row % 2) * 1.2, 12.5 + row * 3.2
            if abs(x - 80) < 14 - max(0.0, (18 - y) * 0.9):
                c.circle(x, y, 0.9, mix(shade, (30, 34, 44), 0.5))
    c.rect(63, 42, 97, 46, (p.main, mix(p.main, p.near, 0.3)))
    c.circle(80, 53, 2, p.accent)
    c.glow(80, 53, 7, p.accent, 0.8)
    c.rect(67.5, 14, 70.5, 40, alpha(WHITE, 0.4), round_by=1.4)


def wave(c: Canvas, detail: str) -> None:
    """A sound drawn as `bars` on a line, or `round` a circle."""
    p = c.palette
    c.sky(mix(p.top, p.near, 0.55), mix(p.far, p.near, 0.35))
    if detail == "round":
        c.glow(80, 45, 74, p.main, 0.5)
        for k in range(96):
            a = math.radians(3.75 * k)
            h = 3 + 14 * abs(math.sin(k * 0.41) * math.cos(k * 0.173)) + c.uniform(0, 3)
            tone = mix(p.main, p.accent, 0.5 + 0.5 * math.sin(a))
            c.line(
                [
                    (80 + 23 * math.cos(a), 45 + 23 * math.sin(a)),
                    (80 + (23 + h) * math.cos(a), 45 + (23 + h) * math.sin(a)),
                ],
                tone,
                0.85,
            )
        c.circle(80, 45, 20, (mix(p.main, WHITE, 0.2), mix(p.main, p.near, 0.35)))
        c.poly([(75.5, 36.5), (75.5, 53.5), (90, 45)], WHITE)
        return
    for layer in range(3):
        points = [
            (x, 45 + (18 - 5 * layer) * math.sin(x / (16 - 3 * layer) + layer) * math.sin(math.pi * x / 160))
            for x in range(0, 161, 2)
        ]
        c.line(points, alpha((p.main, p.light, p.accent)[layer], 0.28), 1)
    c.glow(62, 45, 58, p.main, 0.4)
    for k in range(46):
        x = 6 + k * 3.25
        h = (4 + 30 * abs(math.sin(k * 0.33) * math.sin(k * 0.119 + 0.4))) * (
            0.55 + 0.45 * math.sin(k * 1.9) ** 2
        )
        played = k < 19
        tone = mix(p.accent, p.main, k / 19) if played else mix(p.light, p.far, 0.55)
        c.line([(x, 45 - h), (x, 45 + h)], tone, 1.7)
    c.line([(67, 6), (67, 84)], p.light, 0.6)
    c.circle(67, 84, 2.2, p.light)
    c.circle(67, 6, 2.2, p.light)


def headphones(c: Canvas, detail: str) -> None:
    """Headphones floating before rings of quiet."""
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.15), mix(p.top, p.near, 0.45), 80, 44)
    for k in range(6):
        c.ring(80, 50, 22 + k * 12, 0.5, alpha(p.light, 0.4 - 0.06 * k))
    c.shadow(80, 84, 50, 5, 0.6)
    c.arc(80, 46, 33, 36, (184, 356), mix(p.near, (0, 0, 0), 0.3), 7)
    c.arc(80, 46, 33, 36, (188, 352), mix(p.far, WHITE, 0.2), 3.4)
    c.arc(80, 46, 34, 37, (210, 300), alpha(WHITE, 0.5), 0.8)
    for side in (-1, 1):
        x = 80 + side * 33
        c.rect(x - 2, 38, x + 2, 52, mix(p.light, p.far, 0.4), round_by=1)
        inner = x - side * 6
        c.rect(
            min(inner, inner - side * 7),
            46,
            max(inner, inner - side * 7),
            79,
            (mix(p.near, p.far, 0.35), p.near),
            round_by=3.4,
        )
        c.rect(x - 8, 43, x + 8, 82, (mix(p.main, WHITE, 0.28), mix(p.main, p.near, 0.3)), round_by=7)
        c.rect(
            x - 5 + side,
            49,
            x + 5 + side,
            76,
            (mix(p.main, p.near, 0.15), mix(p.main, p.near, 0.4)),
            round_by=4.6,
        )
        c.ring(x + side, 62.5, 3.2, 0.7, p.accent)
        c.line([(x - 5, 50), (x - 5, 60)], alpha(WHITE, 0.5), 0.9)
    for x, y, s in ((22, 22, 0.9), (138, 18, 1.0), (14, 66, 0.7), (148, 60, 0.75)):
        _note(c, x, y, s, p.accent)


def _note(c: Canvas, x: float, y: float, s: float, colour: Rgb) -> None:
    c.ellipse(x, y, 3.4 * s, 2.5 * s, colour)
    c.line([(x + 2.9 * s, y), (x + 2.9 * s, y - 13 * s)], colour, 0.9 * s)
    c.curve([(x + 2.9 * s, y - 13 * s), (x + 7 * s, y - 9.6 * s), (x + 7.4 * s, y - 5 * s)], colour, 1.4 * s)


SCENES = {
    "headphones": (headphones, (80.0, 50.0)),
    "mic": (mic, (80.0, 42.0)),
    "piano": (piano, (84.0, 52.0)),
    "record": (record, (84.0, 46.0)),
    "wave": (wave, (72.0, 45.0)),
}
