"""How a drawn person is put together: body, face, hair and hats. Units of 160 x 90."""

from __future__ import annotations

from dataclasses import dataclass

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Rgb, alpha, mix

__all__ = ["GREY_HAIR", "Person", "person"]

WHITE: Rgb = (255, 255, 255)
INK: Rgb = (44, 30, 34)
BLACK_HAIR: Rgb = (40, 34, 44)
GREY_HAIR: Rgb = (206, 206, 212)


# The line of the hair on the forehead, as offsets from the middle of the face.
_BOUND = ((-20.5, 0), (-19, -18), (-6, -28), (8, -28), (19, -18), (20.5, 0), (15, -12), (2, -18), (-12, -12))
_FRINGES = {
    "short": (
        *((-20, -4), (-21, -18), (-10, -28), (6, -29), (19, -22)),
        *((20.5, -4), (17, -11), (8, -15), (-4, -13), (-16, -13)),
    ),
    "bun": _BOUND,
    "long": _BOUND,
    "bob": ((-21, 4), (-20, -18), (-6, -28), (8, -28), (20, -18), (21, 4), (17, -8), (0, -9.4), (-17, -8)),
}


@dataclass(frozen=True)
class Person:
    """What one person looks like.

    Attributes:
        skin: colour of the skin.
        hair: colour of the hair.
        cut: ``short``, ``bob``, ``bun``, ``long``, ``bald`` or ``curly``.
        mood: ``smile``, ``laugh``, ``calm`` or ``surprise``.
        wears: what is put on: ``glasses``, ``cap``, ``chef``, ``beard``, ``scarf``, ``headband``, ``helmet``,
            ``goggles``.
        shirt: 0 the palette's main colour, 1 its accent, 2 its light.

    """

    skin: Rgb = (240, 196, 160)
    hair: Rgb = BLACK_HAIR
    cut: str = "short"
    mood: str = "smile"
    wears: tuple[str, ...] = ()
    shirt: int = 0


def person(c: Canvas, x: float, y: float, s: float, who: Person) -> None:
    p = c.palette
    shirt = (p.main, p.accent, p.light)[who.shirt]
    if sum(abs(a - b) for a, b in zip(shirt, who.skin, strict=True)) < 90:
        shirt = p.near

    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * s, y + b * s)

    if who.cut == "long":
        c.shape(
            [
                at(-22, -12),
                at(-14, -28),
                at(0, -32),
                at(14, -28),
                at(22, -12),
                at(24, 14),
                at(20, 36),
                at(-20, 36),
                at(-24, 14),
            ],
            (who.hair, mix(who.hair, INK, 0.4)),
        )
    if who.cut == "bob":
        c.shape(
            [
                at(-23, -8),
                at(-15, -27),
                at(0, -31),
                at(15, -27),
                at(23, -8),
                at(24, 12),
                at(15, 19),
                at(-15, 19),
                at(-24, 12),
            ],
            (who.hair, mix(who.hair, INK, 0.4)),
        )
    if who.cut == "bun":
        c.ball(*at(0, -33), 9 * s, mix(who.hair, WHITE, 0.2), who.hair)
    if who.cut == "curly":
        for a, b, r in (
            (-18, -8, 9),
            (-16, -20, 10),
            (-6, -28, 10),
            (7, -28, 10),
            (17, -19, 10),
            (19, -7, 9),
            (-20, 4, 6),
            (20, 4, 6),
        ):
            c.circle(*at(a, b), r * s, mix(who.hair, WHITE, 0.06 * (r % 3)))
    body = [at(-46, 56), at(-40, 36), at(-24, 28), at(0, 26), at(24, 28), at(40, 36), at(46, 56)]
    c.shape(body, (mix(shirt, WHITE, 0.12), mix(shirt, p.near, 0.3)))
    c.rect(x - 7 * s, y + 12 * s, x + 7 * s, y + 29 * s, mix(who.skin, (150, 70, 50), 0.22), round_by=4 * s)
    c.half(x, y + 27 * s, 11 * s, 7 * s, (0, 180), mix(who.skin, (150, 70, 50), 0.12))
    if "scarf" in who.wears:
        c.shape(
            [at(-16, 22), at(0, 19), at(16, 22), at(17, 30), at(0, 33), at(-17, 30)],
            (p.accent, mix(p.accent, p.near, 0.25)),
        )
        c.poly([at(5, 29), at(13, 28), at(16, 46), at(7, 47)], mix(p.accent, p.near, 0.15))
    for side in (-1, 1):
        c.circle(*at(side * 19, 0), 4.4 * s, mix(who.skin, (170, 80, 60), 0.16))
    head = [
        at(0, -24),
        at(13, -21),
        at(19.5, -8),
        at(18.5, 6),
        at(11, 18),
        at(0, 22),
        at(-11, 18),
        at(-18.5, 6),
        at(-19.5, -8),
        at(-13, -21),
    ]
    c.shape(head, (mix(who.skin, WHITE, 0.14), mix(who.skin, (190, 100, 70), 0.12)))
    _face(c, x, y, s, who)
    _hair(c, x, y, s, who)
    _hats(c, x, y, s, who)


def _face(c: Canvas, x: float, y: float, s: float, who: Person) -> None:
    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * s, y + b * s)

    brow = INK if who.hair == GREY_HAIR else mix(who.hair, INK, 0.5)
    lift = -2.2 if who.mood == "surprise" else 0.0
    for side in (-1, 1):
        c.arc(
            *at(side * 7.6, -5.4 + lift),
            4 * s,
            2.4 * s,
            (200, 340),
            GREY_HAIR if who.hair == GREY_HAIR else brow,
            1.0 * s,
        )
        c.circle(*at(side * 11.4, 7), 3.7 * s, alpha((240, 110, 100), 0.28))
        if who.mood == "laugh":
            c.arc(*at(side * 7.6, 0.6), 2.9 * s, 2.6 * s, (195, 345), INK, 1.1 * s)
        elif who.mood == "calm" and "glasses" not in who.wears:
            c.arc(*at(side * 7.6, -0.6), 2.9 * s, 1.8 * s, (15, 165), INK, 1.1 * s)
        else:
            big = 1.35 if who.mood == "surprise" else 1.0
            c.ellipse(*at(side * 7.6, 0), 1.9 * s * big, 2.4 * s * big, INK)
            c.circle(*at(side * 7.6 - 0.7, -0.9), 0.75 * s * big, WHITE)
    c.curve([at(0.4, 0.5), at(2, 5.4), at(-0.6, 6.2)], mix(who.skin, (140, 60, 50), 0.45), 0.9 * s)
    if "beard" in who.wears:
        hair = who.hair
        c.shape(
            [
                at(-17.4, 4),
                at(-10, 9.4),
                at(0, 8.6),
                at(10, 9.4),
                at(17.4, 4),
                at(14, 17),
                at(0, 26),
                at(-14, 17),
            ],
            (hair, mix(hair, INK, 0.25)),
        )
    lip = (176, 70, 70)
    if who.mood == "laugh":
        c.half(*at(0, 10.4), 7 * s, 6.6 * s, (0, 180), (130, 36, 44))
        c.half(*at(0, 10.4), 6.2 * s, 2 * s, (0, 180), WHITE)
        c.half(*at(0, 15), 3.4 * s, 2 * s, (0, 180), (230, 110, 110))
    elif who.mood == "surprise":
        c.ellipse(*at(0, 13), 3 * s, 3.8 * s, (130, 36, 44))
    else:
        c.arc(*at(0, 9.6), 6 * s, (4.4 if who.mood == "smile" else 2.2) * s, (20, 160), lip, 1.3 * s)
    if "glasses" in who.wears:
        frame = mix(c.palette.near, INK, 0.5)
        for side in (-1, 1):
            c.circle(*at(side * 7.8, 0), 5.9 * s, alpha(WHITE, 0.22))
            c.ring(x + side * 7.8 * s, y, 6.3 * s, 1.0 * s, frame)
            c.line([at(side * 13.8, -1), at(side * 18.6, -2.4)], frame, 0.9 * s)
        c.arc(*at(0, 0), 2 * s, 1.6 * s, (200, 340), frame, 0.9 * s)


def _hair(c: Canvas, x: float, y: float, s: float, who: Person) -> None:
    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * s, y + b * s)

    hair = (mix(who.hair, WHITE, 0.14), who.hair)
    if who.cut in _FRINGES:
        c.shape([at(*point) for point in _FRINGES[who.cut]], hair)
    if who.cut == "curly":
        for a, b, r in ((-14, -19, 6), (-6, -22, 6.4), (3, -23, 6.4), (12, -20, 6)):
            c.circle(*at(a, b), r * s, mix(who.hair, WHITE, 0.08))
    if who.cut == "bald":
        for side in (-1, 1):
            c.shape([at(side * 18, -10), at(side * 22, -4), at(side * 20.4, 5), at(side * 18, 3)], hair)
        c.ellipse(*at(-6, -17), 5 * s, 2.6 * s, alpha(WHITE, 0.35))


def _hats(c: Canvas, x: float, y: float, s: float, who: Person) -> None:
    p = c.palette

    def at(a: float, b: float) -> tuple[float, float]:
        return (x + a * s, y + b * s)

    if "chef" in who.wears:
        c.rect(x - 17 * s, y - 29 * s, x + 17 * s, y - 17 * s, (WHITE, (222, 224, 230)), round_by=1.4 * s)
        for a, b, r in ((-13, -34, 9.5), (0, -38, 11), (13, -34, 9.5)):
            c.ball(*at(a, b), r * s, WHITE, (214, 218, 228))
    if "cap" in who.wears:
        c.half(*at(0, -13), 21 * s, 19 * s, (180, 360), (mix(p.near, p.far, 0.45), p.near))
        c.rect(x - 21 * s, y - 15 * s, x + 21 * s, y - 11 * s, mix(p.near, INK, 0.3), round_by=1.5 * s)
        c.shape(
            [at(-20, -12), at(0, -14), at(22, -12), at(18, -7.6), at(0, -9), at(-16, -8)],
            mix(p.near, INK, 0.5),
        )
        c.circle(*at(0, -20), 3.4 * s, p.accent)
    if "helmet" in who.wears:
        c.half(*at(0, -9), 23 * s, 23 * s, (180, 360), (mix(p.main, WHITE, 0.2), mix(p.main, p.near, 0.2)))
        c.rect(x - 23 * s, y - 11 * s, x + 23 * s, y - 7.4 * s, p.near, round_by=1.5 * s)
        for a in (-9, 0, 9):
            c.line([at(a, -27 + abs(a) * 0.3), at(a * 1.15, -14)], alpha(WHITE, 0.6), 2 * s)
    if "headband" in who.wears:
        c.shape(
            [at(-20, -9), at(0, -15.4), at(20, -9), at(20, -13.6), at(0, -20.4), at(-20, -13.6)], p.accent
        )
    if "goggles" in who.wears:
        c.line([at(-20, -15), at(20, -15)], p.near, 2.4 * s)
        for side in (-1, 1):
            c.ellipse(*at(side * 7.6, -15), 7 * s, 4.8 * s, p.near)
            c.ellipse(*at(side * 7.6, -15), 5.6 * s, 3.5 * s, ((150, 236, 250), (60, 140, 210)))
