"""Drawn rooms: book shelves, windows, beds. Units of 160 x 90."""

from __future__ import annotations

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)


def books(c: Canvas, detail: str) -> None:
    """Shelves of books in lamp light, with a reading lamp."""
    p = c.palette
    wood = mix((96, 58, 36), p.near, 0.35)
    c.sky(mix(wood, (0, 0, 0), 0.35), mix(wood, (0, 0, 0), 0.5))
    colours = (p.main, p.accent, p.far, p.bottom, p.light, mix(p.main, p.near, 0.5), mix(p.far, p.near, 0.5))
    for row in range(3):
        base = 29 + row * 30
        x = 3.0
        while x < 158:
            w, h = c.uniform(2.6, 6), c.uniform(16, 24)
            colour = colours[int(c.rng.integers(len(colours)))]
            if c.uniform(0, 1) < 0.08:
                c.poly([(x, base), (x + w, base), (x + w + 5, base - h), (x + 5, base - h + 1)], colour)
                x += w + 6
                continue
            c.rect(
                x, base - h, x + w, base, (mix(colour, WHITE, 0.1), mix(colour, p.near, 0.25)), round_by=0.4
            )
            c.line([(x + w * 0.25, base - h * 0.8), (x + w * 0.75, base - h * 0.8)], alpha(WHITE, 0.6), 0.45)
            c.rect(x + w * 0.2, base - h * 0.45, x + w * 0.8, base - h * 0.25, alpha(p.accent, 0.6))
            x += w + 0.25
        c.rect(0, base, 160, base + 4.5, (mix(wood, WHITE, 0.25), wood))
        c.rect(0, base + 4.5, 160, base + 7, alpha((0, 0, 0), 0.35))
    c.glow(112, 60, 62, (255, 224, 150), 0.55)
    c.rect(84, 81, 150, 92, (mix(wood, WHITE, 0.3), wood), round_by=1)
    c.rect(111, 54, 113, 80, p.near)
    c.ellipse(112, 81, 9, 2, p.near)
    c.poly([(100, 55), (106, 40), (118, 40), (124, 55)], ((255, 240, 200), (255, 208, 120)))
    for side in (-1, 1):
        c.poly(
            [(136, 81), (136 + side * 11, 78.5), (136 + side * 11, 74), (136, 77)], mix(WHITE, p.accent, 0.15)
        )
    c.line([(136, 81), (136, 77)], p.far, 0.4)


def window(c: Canvas, detail: str) -> None:
    """A window with a plant: the `moon`, `rain` or `warm` evening light behind it."""
    p = c.palette
    wall = mix(p.far, p.near, 0.55 if detail == "moon" else 0.2)
    c.sky(mix(wall, WHITE, 0.12), wall)
    top, bottom = (mix(p.top, (6, 10, 40), 0.4), p.bottom) if detail == "moon" else (p.top, p.bottom)
    c.rect(32, 6, 128, 72, p.light, round_by=2)
    c.rect(35, 9, 125, 70, (top, bottom))
    if detail == "moon":
        for _ in range(50):
            c.circle(c.uniform(36, 124), c.uniform(10, 48), c.uniform(0.15, 0.5), p.light)
        c.glow(104, 24, 20, p.accent, 0.6)
        c.circle(104, 24, 7.5, mix(p.accent, WHITE, 0.5))
    if detail == "warm":
        c.glow(64, 44, 30, p.accent, 0.9)
        c.circle(64, 44, 9, mix(p.accent, WHITE, 0.5))
    for i in range(13):
        x, h = 35.0 + i * 7, c.uniform(6, 22)
        c.rect(x, 70 - h, min(x + 6.6, 125), 70, mix(p.far, p.near, 0.65))
        for k in range(int(h / 4)):
            if c.uniform(0, 1) < 0.6:
                left = x + 1.4 + 2.4 * (k % 2)
                c.rect(left, 72 - h + k * 3.4, left + 1.4, 73.6 - h + k * 3.4, p.accent)
    if detail == "rain":
        for _ in range(60):
            x, y, r = c.uniform(36, 124), c.uniform(10, 68), c.uniform(0.4, 1.1)
            c.line([(x, y - r * c.uniform(2, 7)), (x, y)], alpha(WHITE, 0.25), r * 0.8)
            c.circle(x, y, r, alpha(WHITE, 0.6))
            c.circle(x + r * 0.2, y + r * 0.2, r * 0.6, alpha(p.top, 0.5))
    c.rect(78.6, 8, 81.4, 71, p.light)
    c.rect(34, 33, 126, 35.4, p.light)
    c.poly([(44, 70), (70, 9), (76, 9), (50, 70)], alpha(WHITE, 0.12))
    for side in (-1, 1):
        for k in range(5):
            x = 80 + side * (62 - k * 5.4)
            c.rect(
                x - 3.2,
                2,
                x + 3.2,
                80,
                (mix(p.main, WHITE, 0.22 - 0.05 * (k % 2)), mix(p.main, p.near, 0.22 + 0.1 * (k % 2))),
                round_by=2,
            )
    c.rect(14, 1, 146, 4, p.near, round_by=1.5)
    c.rect(20, 72, 140, 77, (p.light, mix(p.light, p.far, 0.45)), round_by=0.6)
    for i, (dx, h) in enumerate(((-6, 15), (-2, 21), (3, 18), (7, 12))):
        leaf = (mix((96, 176, 110), p.light, 0.1 * i), (40, 112, 84))
        x = 62.0
        c.shape(
            [(x, 66), (x + dx - 2.6, 64 - h * 0.5), (x + dx * 1.5, 64 - h), (x + dx + 2.6, 64 - h * 0.5)],
            leaf,
        )
    c.poly([(54, 62), (70, 62), (67.5, 73), (56.5, 73)], (mix(p.main, WHITE, 0.2), mix(p.main, p.near, 0.3)))
    c.rect(53, 60.5, 71, 63.5, mix(p.main, WHITE, 0.1), round_by=0.8)
    c.rect(94, 64, 106, 73, (WHITE, mix(p.light, p.far, 0.4)), round_by=1)
    c.ring(107, 68, 2.6, 1.1, p.light)
    c.steam(100, 63, 9)


def bed(c: Canvas, detail: str) -> None:
    """A bed under a moonlit window."""
    p = c.palette
    wall = mix(p.top, p.near, 0.35)
    c.sky(mix(wall, p.far, 0.35), wall)
    c.rect(96, 6, 148, 50, p.light, round_by=2)
    c.rect(98.5, 8.5, 145.5, 47.5, (mix(p.top, (0, 0, 20), 0.4), p.bottom))
    for _ in range(30):
        c.circle(c.uniform(100, 144), c.uniform(10, 42), c.uniform(0.15, 0.45), p.light)
    c.glow(128, 22, 20, p.accent, 0.7)
    c.circle(128, 22, 8, mix(p.accent, WHITE, 0.5))
    c.circle(131.6, 19.6, 7, mix(p.top, p.bottom, 0.25))
    c.rect(121, 8, 123, 48, p.light)
    c.poly([(98, 48), (146, 48), (110, 92), (20, 92)], alpha(p.light, 0.1))
    c.rect(0, 78, 160, 92, (mix(p.near, p.far, 0.3), p.near))
    c.rect(6, 34, 16, 86, (mix(p.main, p.near, 0.35), mix(p.main, p.near, 0.6)), round_by=3)
    c.rect(8, 62, 128, 82, mix(p.near, p.main, 0.25), round_by=2)
    c.rect(14, 54, 124, 70, (p.light, mix(p.light, p.far, 0.5)), round_by=5)
    c.shape([(16, 55), (18, 44), (34, 41), (46, 45), (47, 56), (32, 59)], (WHITE, mix(p.light, p.far, 0.35)))
    c.ball(41, 45, 7.6, (250, 214, 178), (226, 172, 136))
    c.half(40, 43, 8.2, 7.6, (160, 340), mix(p.near, (60, 40, 30), 0.4))
    c.arc(43, 46, 1.8, 1.3, (20, 160), p.near, 0.5)
    c.arc(44.4, 49.6, 1.2, 0.8, (20, 160), (180, 90, 80), 0.4)
    cover = [(46, 57), (58, 45), (80, 43), (104, 47), (124, 55), (127, 74), (88, 78), (50, 74)]
    c.shape(cover, (mix(p.main, WHITE, 0.15), mix(p.main, p.near, 0.35)))
    for k in range(4):
        c.curve([(58 + k * 17, 48 + k), (62 + k * 17, 60), (58 + k * 17, 75)], alpha(p.light, 0.25), 0.8)
    for k in range(3):
        size = 2.6 + 1.5 * k
        x, y = 54 + k * 8, 34 - k * 9
        c.line([(x, y), (x + size, y), (x, y + size), (x + size, y + size)], p.accent, 0.8)
    c.rect(132, 62, 156, 86, (mix(p.main, p.near, 0.4), p.near), round_by=1)
    c.poly([(138, 56), (141, 47), (149, 47), (152, 56)], mix(p.accent, WHITE, 0.3))
    c.rect(144.3, 56, 145.7, 62, p.light)


SCENES = {
    "bed": (bed, (70.0, 46.0)),
    "books": (books, (100.0, 52.0)),
    "window": (window, (80.0, 50.0)),
}
