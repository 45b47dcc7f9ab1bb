"""Drawn outings: open-air cinema, trains, markets, suitcases. Units of 160 x 90."""

from __future__ import annotations

import math

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def cinema(c: Canvas, detail: str) -> None:
    """An open-air screen above the roofs, people on blankets before it."""
    p = c.palette
    c.sky(mix(p.top, (6, 4, 24), 0.35), p.bottom)
    c.stars(110, 0, 60)
    for i in range(22):
        x, h = i * 7.6, c.uniform(6, 22)
        c.rect(x, 66 - h, x + 6.6, 80, mix(p.far, p.near, 0.5))
        c.circle(x + 3.3, 66 - h * 0.6, 0.5, p.accent)
    c.glow(80, 34, 84, p.light, 0.4)
    c.rect(38, 10, 122, 59, p.near, round_by=1.5)
    c.rect(40, 12, 120, 57, (mix(p.light, p.accent, 0.25), mix(p.main, p.light, 0.35)))
    c.circle(98, 30, 7, mix(p.accent, WHITE, 0.4))
    c.poly(
        [(40, 57), (40, 48), (58, 36), (74, 48), (90, 40), (120, 52), (120, 57)], mix(p.main, p.near, 0.35)
    )
    c.circle(70, 38, 2.3, p.near)
    c.poly([(67, 57), (67.6, 43), (70, 40.5), (72.4, 43), (73, 57)], p.near)
    c.circle(77, 39, 2.1, p.near)
    c.poly([(74.4, 57), (75, 44), (77, 41.5), (79, 44), (80, 57)], p.near)
    for x in (46, 114):
        c.line([(x, 59), (x, 76)], p.near, 1.6)
    c.poly(
        [(-2, 92), (-2, 71), (162, 71), (162, 92)], (mix(p.near, p.main, 0.18), mix(p.near, (0, 0, 0), 0.3))
    )
    c.curve([(-4, 8), (40, 20), (80, 5), (124, 19), (164, 6)], p.near, 0.4)
    for i in range(17):
        x = i * 10.0
        y = 13 + 6 * math.sin(x / 12.6 - 1.6) - 1.5
        c.glow(x, y, 4, p.accent, 0.9)
        c.circle(x, y, 0.9, mix(p.accent, WHITE, 0.4))
    for x, s in ((14, 1.2), (30, 1.0), (58, 1.15), (72, 1.05), (100, 1.2), (128, 1.1), (143, 1.0)):
        y = 84 - s * 2
        c.glow(x, y - 8 * s, 6 * s, p.light, 0.3)
        tone = mix(p.near, p.main, c.uniform(0.0, 0.25))
        c.half(x, y + 7, 7.4 * s, 10 * s, (180, 360), mix(tone, (0, 0, 0), 0.35))
        c.circle(x, y - 6.2 * s, 3.6 * s, mix(tone, (0, 0, 0), 0.45))
        c.arc(x, y - 6.2 * s, 3.5 * s, 3.5 * s, (205, 335), alpha(p.accent, 0.9), 0.45)


def train(c: Canvas, detail: str) -> None:
    """A sleeper train at `night`, or the view from its `window`."""
    p = c.palette
    if detail == "window":
        _train_window(c)
        return
    c.sky()
    c.stars(120, 0, 50)
    c.glow(126, 18, 30, p.light, 0.55)
    c.circle(126, 18, 7.5, mix(p.light, p.accent, 0.3))
    c.ridge(56, 22, mix(p.far, p.bottom, 0.35), peaks=4)
    c.ridge(66, 16, mix(p.far, p.near, 0.5), peaks=5)
    c.rect(0, 76, 160, 92, (mix(p.near, p.far, 0.2), mix(p.near, (0, 0, 0), 0.35)))
    for x in range(-4, 164, 22):
        c.rect(x + 8, 70, x + 12, 92, mix(p.near, p.far, 0.25))
        c.arc(x + 21, 92, 9, 16, (180, 360), mix(p.near, p.far, 0.25), 2)
    c.rect(0, 72, 160, 75.5, mix(p.near, p.far, 0.35))
    body, stripe = mix(p.main, p.near, 0.35), p.accent
    for i in range(3):
        left = -22 + i * 52.0
        c.rect(left, 47, left + 50, 71, (mix(body, WHITE, 0.16), mix(body, p.near, 0.35)), round_by=2.2)
        c.line([(left + 1, 65.5), (left + 49, 65.5)], stripe, 0.9)
        for k in range(5):
            pane = left + 4.5 + k * 9
            c.glow(pane + 3, 56, 9, p.accent, 0.5)
            c.rect(
                pane, 52, pane + 6.2, 60.4, ((255, 244, 206), mix(p.accent, (255, 190, 90), 0.4)), round_by=1
            )
            if (k + i) % 3 == 0:
                c.circle(pane + 3, 56.6, 1.5, p.near)
                c.half(pane + 3, 60.5, 2.5, 2.6, (180, 360), p.near)
        for k in (8, 42):
            c.circle(left + k, 71.6, 2.3, mix(p.near, (0, 0, 0), 0.5))
    nose = [(134, 47), (146, 49), (155, 60), (157, 71), (134, 71)]
    c.poly(nose, (mix(body, WHITE, 0.16), mix(body, p.near, 0.35)))
    c.poly([(143, 51), (147, 52), (153, 60), (143, 60)], mix(p.near, p.top, 0.3))
    c.glow(156, 66, 20, p.light, 0.9)
    c.poly([(156, 65), (200, 55), (200, 84), (156, 68)], alpha(p.light, 0.2))


def market(c: Canvas, detail: str) -> None:
    """A market stall with a striped awning and crates of `tomato` or `fish`."""
    p = c.palette
    night = detail == "fish"
    c.sky(mix(p.top, p.bottom, 0.2), p.bottom)
    for i in range(9):
        x, h = i * 19.0 - 4, c.uniform(18, 34)
        c.rect(x, 62 - h, x + 18, 70, mix(p.far, p.bottom, c.uniform(0.1, 0.5)))
        c.rect(x + 4, 67 - h, x + 7, 72 - h, alpha(p.accent if night else p.light, 0.7))
        c.rect(x + 11, 67 - h, x + 14, 72 - h, alpha(p.accent if night else p.light, 0.7))
    c.rect(0, 70, 160, 92, (mix(p.near, p.far, 0.5), p.near))
    for x in (22, 138):
        c.rect(x - 1, 24, x + 1, 84, mix(p.near, (120, 80, 50), 0.5))
    c.rect(24, 36, 136, 58, alpha(mix(p.near, (0, 0, 0), 0.25), 0.55))
    c.glow(80, 34, 66, (255, 222, 150), 0.75 if night else 0.35)
    for x in (52, 108):
        c.line([(x, 26), (x, 35)], p.near, 0.4)
        c.glow(x, 37, 10, (255, 236, 180), 0.9)
        c.circle(x, 37, 2, (255, 244, 210))
    for i in range(12):
        colour = p.main if i % 2 == 0 else p.light
        left, right = 14 + i * 11.0, 25 + i * 11.0
        c.poly(
            [(24 + i * 9.33, 12), (33.33 + i * 9.33, 12), (right, 29), (left, 29)],
            (mix(colour, WHITE, 0.12), mix(colour, p.near, 0.1)),
        )
        c.half((left + right) / 2, 29, 5.5, 4.4, (0, 180), mix(colour, p.near, 0.18))
    # The seller, half hidden by the crates.
    c.rect(72, 46, 88, 66, p.accent, round_by=4)
    c.circle(80, 41.5, 5, (238, 194, 158))
    c.half(80, 40.5, 5.4, 5.2, (178, 362), p.near)
    c.rect(74, 52, 86, 66, p.light, round_by=1)
    tones = (
        ((226, 58, 44), (240, 120, 50), (120, 170, 70), (250, 200, 60))
        if not night
        else ((150, 176, 196), (196, 208, 218), (232, 140, 120), (120, 150, 176))
    )
    for i in range(4):
        left = 20 + i * 30.5
        c.poly(
            [(left, 62), (left + 28, 62), (left + 26, 82), (left + 2, 82)], ((168, 116, 70), (112, 72, 44))
        )
        for k in range(18):
            x, y = left + 3 + (k % 6) * 4.4 + c.uniform(-0.8, 0.8), 63.5 - (k // 6) * 2.8
            tone = tones[i]
            if night:
                c.ellipse(x, y, 3.6, 1.5, (mix(tone, WHITE, 0.4), mix(tone, p.near, 0.3)))
                c.poly([(x + 3, y), (x + 5, y - 1.6), (x + 5, y + 1.6)], tone)
                c.circle(x - 2, y - 0.3, 0.3, p.near)
            else:
                c.ball(x, y, 2.7, mix(tone, WHITE, 0.35), mix(tone, p.near, 0.25))
                c.line([(x, y - 2.4), (x + 0.5, y - 3.4)], (70, 130, 60), 0.5)
        c.line([(left + 1, 69), (left + 27, 69)], (90, 56, 34), 0.5)
        c.line([(left + 1.6, 75.5), (left + 26.4, 75.5)], (90, 56, 34), 0.5)
        c.rect(left + 8, 66.5, left + 20, 74, p.light, round_by=0.8)
        c.line([(left + 10, 70.2), (left + 18, 70.2)], p.main, 1)


def suitcase(c: Canvas, detail: str) -> None:
    """A suitcase with stickers on a platform."""
    p = c.palette
    c.sky()
    c.glow(120, 46, 60, p.accent, 0.6)
    c.ridge(66, 20, mix(p.far, p.bottom, 0.3), peaks=4)
    c.rect(0, 70, 160, 92, (mix(p.near, p.far, 0.35), p.near))
    c.line([(-2, 76), (162, 76)], p.accent, 1.4)
    c.shadow(72, 84, 48, 5, 0.7)
    c.line([(60, 22), (60, 9), (86, 9), (86, 22)], p.near, 2.4)
    c.rect(38, 20, 108, 82, (mix(p.main, WHITE, 0.2), mix(p.main, p.near, 0.3)), round_by=7)
    for k in range(5):
        c.line([(47 + k * 13, 23), (47 + k * 13, 79)], alpha(p.near, 0.2), 1)
    for x in (46, 100):
        c.circle(x, 84, 3.4, mix(p.near, (0, 0, 0), 0.5))
    c.circle(60, 40, 10, p.accent)
    c.circle(60, 40, 7.6, mix(p.top, WHITE, 0.15))
    c.poly([(53.5, 43), (58, 35), (61, 39), (63, 37), (66.5, 43)], WHITE)
    c.rect(78, 30, 100, 44, p.light, round_by=1.4)
    c.rect(80, 32, 98, 42, (p.top, p.bottom), round_by=1)
    c.circle(92, 36, 2.4, p.accent)
    c.poly([(56, 66), (80, 58), (84, 66), (60, 74)], mix(p.light, p.accent, 0.3))
    c.line([(62, 68), (78, 63)], p.near, 0.9)
    c.shadow(130, 83, 18, 3, 0.6)
    c.rect(119, 54, 141, 82, ((196, 144, 92), (138, 92, 54)), round_by=2.4)
    c.line([(124, 54), (124, 82)], (104, 66, 38), 1.4)
    c.line([(136, 54), (136, 82)], (104, 66, 38), 1.4)
    c.arc(130, 54, 5, 5, (180, 360), (104, 66, 38), 1.5)


def _train_window(c: Canvas) -> None:
    p = c.palette
    wall = mix(p.near, (92, 60, 44), 0.45)
    c.sky(mix(wall, WHITE, 0.1), wall)
    c.rect(22, 6, 138, 66, mix(wall, (0, 0, 0), 0.4), round_by=9)
    c.rect(25, 9, 135, 63, (p.top, p.bottom), round_by=7)
    c.glow(96, 38, 30, p.accent, 0.9)
    c.circle(96, 38, 8, mix(p.accent, WHITE, 0.5))
    c.rect(25, 44, 135, 57, (mix(p.far, p.bottom, 0.3), mix(p.far, p.near, 0.35)))
    for i in range(7):
        c.line(
            [(96 - 3 - i * 2.5, 45.5 + i * 1.7), (96 + 3 + i * 2.5, 45.5 + i * 1.7)], alpha(p.light, 0.6), 0.7
        )
    c.poly([(25, 44), (25, 36), (40, 33), (58, 39), (70, 44)], mix(p.far, p.near, 0.35))
    c.rect(25, 55, 135, 63, (mix(p.near, p.far, 0.45), p.near), round_by=3)
    c.poly([(52, 63), (82, 9), (92, 9), (62, 63)], alpha(WHITE, 0.13))
    for k in range(5):
        shade = 0.18 + 0.12 * (k % 2)
        c.rect(
            4 + k * 5, 2, 9.6 + k * 5, 66, (mix(p.main, WHITE, 0.1), mix(p.main, p.near, shade)), round_by=2
        )
        c.rect(
            150 - k * 5,
            2,
            155.6 - k * 5,
            66,
            (mix(p.main, WHITE, 0.1), mix(p.main, p.near, shade)),
            round_by=2,
        )
    c.rect(0, 70, 160, 92, (mix(p.light, p.accent, 0.12), mix(p.light, p.far, 0.4)))
    c.shadow(80, 73, 74, 4, 0.35)
    c.shadow(112, 84, 15, 3, 0.5)
    c.rect(103, 67, 119, 84, (WHITE, mix(p.light, p.far, 0.35)), round_by=2)
    c.ring(120.5, 74.5, 4, 1.5, mix(p.light, p.far, 0.2))
    c.steam(111, 66, 12)
    c.shadow(54, 86, 24, 3, 0.5)
    c.poly([(34, 84), (60, 79), (76, 83), (50, 89)], mix(p.main, p.near, 0.25))
    c.poly([(34, 82), (60, 77), (76, 81), (50, 87)], p.main)
    c.line([(42, 82.5), (62, 79)], p.light, 0.6)


SCENES = {
    "cinema": (cinema, (80.0, 44.0)),
    "market": (market, (80.0, 52.0)),
    "suitcase": (suitcase, (84.0, 52.0)),
    "train": (train, (92.0, 52.0)),
}
