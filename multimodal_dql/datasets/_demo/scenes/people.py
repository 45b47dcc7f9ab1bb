"""Drawn people in plain shapes, one for each story that is about a person. Units of 160 x 90."""

from __future__ import annotations

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix
from multimodal_dql.datasets._demo.scenes.faces import GREY_HAIR, Person, person

__all__ = ["SCENES"]

WHITE: Rgb = (255, 255, 255)
BLACK_HAIR: Rgb = (40, 34, 44)
BROWN_HAIR: Rgb = (96, 58, 40)
RED_HAIR: Rgb = (190, 88, 50)

CAST = {
    "swimmer": Person((214, 156, 116), BROWN_HAIR, "short", "laugh", ("goggles",), 1),
    "child": Person((250, 210, 176), BLACK_HAIR, "bob", "surprise", ("scarf",), 0),
    "chef": Person((236, 190, 150), GREY_HAIR, "short", "calm", ("chef",), 2),
    "baker": Person((250, 208, 180), RED_HAIR, "curly", "laugh", ("scarf",), 2),
    "granny": Person((244, 202, 168), GREY_HAIR, "bun", "smile", ("glasses",), 0),
    "driver": Person((150, 98, 70), BLACK_HAIR, "curly", "smile", ("cap",), 0),
    "reader": Person((228, 178, 140), BLACK_HAIR, "long", "calm", ("glasses",), 1),
    "keeper": Person((236, 184, 152), GREY_HAIR, "bald", "laugh", ("beard",), 1),
    "courier": Person((232, 184, 142), BLACK_HAIR, "short", "smile", ("helmet",), 1),
    "runner": Person((246, 204, 176), BROWN_HAIR, "bun", "laugh", ("headband",), 1),
    "pianist": Person((120, 78, 58), BLACK_HAIR, "short", "calm", ("glasses", "beard"), 2),
    "grandpa": Person((240, 196, 160), GREY_HAIR, "short", "laugh", ("cap",), 0),
    "office": Person((246, 206, 172), BLACK_HAIR, "bob", "calm", ("glasses",), 0),
}
PAIRS = {
    "students": (
        Person((176, 120, 84), BLACK_HAIR, "curly", "laugh", ("glasses",), 0),
        Person((248, 208, 178), RED_HAIR, "long", "smile", (), 1),
    ),
    "table": (
        Person((244, 202, 166), BLACK_HAIR, "bob", "laugh", (), 0),
        Person((250, 210, 184), BROWN_HAIR, "short", "smile", ("beard", "glasses"), 1),
    ),
}


def portrait(c: Canvas, detail: str) -> None:
    """One person, head and shoulders."""
    _ground(c)
    person(c, 80, 47, 1.0, CAST[detail])
    if detail == "runner":
        for x, y in ((22, 20), (138, 28), (28, 64), (130, 70), (144, 52), (14, 42)):
            c.circle(x, y, 2.2, c.palette.accent)
    if detail == "reader":
        _book(c)
    if detail == "baker":
        for _ in range(60):
            c.circle(c.uniform(30, 130), c.uniform(4, 86), c.uniform(0.3, 0.9), alpha(WHITE, 0.75))


def pair(c: Canvas, detail: str) -> None:
    """Two people side by side."""
    _ground(c)
    left, right = PAIRS[detail]
    person(c, 52, 48, 0.82, left)
    person(c, 110, 46, 0.84, right)
    if detail == "table":
        p = c.palette
        c.rect(0, 76, 160, 92, (mix(p.light, p.far, 0.2), mix(p.light, p.far, 0.55)))
        for x in (52, 110):
            c.shadow(x, 83, 18, 4, 0.4)
            c.half(x, 76, 12, 11, (0, 180), (WHITE, mix(p.light, p.far, 0.4)))
            c.ellipse(x, 76, 12, 2.6, mix(p.main, p.accent, 0.5))
            c.steam(x, 73, 8)
        for x, tilt in ((26, -1), (134, 1)):
            tone = p.main if tilt < 0 else p.accent
            c.rect(x - 13, 6, x + 13, 22, tone, round_by=5)
            c.poly([(x - tilt * 2, 20), (x - tilt * 9, 20), (x - tilt * 12, 28)], tone)
            for k in range(3):
                c.circle(x - 6 + k * 6, 14, 1.6, WHITE)
    else:
        c.rect(68, 70, 92, 88, ((206, 214, 224), (130, 142, 160)), round_by=1.5)
        c.circle(80, 79, 4.6, c.palette.near)
        c.circle(80, 79, 3, c.palette.accent)
        c.line([(80, 70), (80, 58)], c.palette.light, 0.8)
        c.circle(80, 57, 1.4, c.palette.main)


def _ground(c: Canvas) -> None:
    p = c.palette
    c.spot(mix(p.bottom, WHITE, 0.2), mix(p.top, p.far, 0.25), 80, 40)
    for _ in range(9):
        c.glow(
            c.uniform(0, 160),
            c.uniform(0, 90),
            c.uniform(7, 18),
            (p.accent, p.light, p.far)[int(c.rng.integers(3))],
            0.35,
        )
    c.circle(80, 48, 44, alpha(p.light, 0.18))


def _book(c: Canvas) -> None:
    p = c.palette
    c.poly([(80, 92), (48, 86), (48, 70), (80, 75)], (WHITE, mix(p.light, p.far, 0.3)))
    c.poly([(80, 92), (112, 86), (112, 70), (80, 75)], (mix(WHITE, p.far, 0.1), mix(p.light, p.far, 0.4)))
    for k in range(4):
        for side in (-1, 1):
            c.line(
                [(80 + side * 5, 78 + k * 3.2), (80 + side * 27, 74.4 + k * 3.2)],
                mix(p.near, WHITE, 0.6),
                0.5,
            )


SCENES = {
    "pair": (pair, (80.0, 46.0)),
    "portrait": (portrait, (80.0, 44.0)),
}
