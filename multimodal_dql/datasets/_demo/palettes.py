"""Colours of the demo's thumbnails: what a colour is, how two are mixed, and palettes that go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["PALETTES", "Fill", "Palette", "Point", "Rgb", "Rgba", "alpha", "mix"]

Rgb: TypeAlias = tuple[int, int, int]
Rgba: TypeAlias = tuple[int, int, int, int]
Fill: TypeAlias = Rgb | Rgba | tuple[Rgb, Rgb]
"""One colour, one translucent colour, or a vertical gradient from the first colour to the second."""
Point: TypeAlias = tuple[float, float]


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """The colour `share` of the way from `a` to `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def alpha(colour: Rgb, opacity: float) -> Rgba:
    """`colour` with an opacity from 0 to 1."""
    return (*colour, round(255 * opacity))


@dataclass(frozen=True)
class Palette:
    """Seven colours that go together.

    Attributes:
        top: upper background.
        bottom: lower background.
        far: what is far away; a middle tone.
        near: what is near; the darkest tone of a bright palette.
        main: the thing the picture is about.
        accent: the second colour that is meant to be seen.
        light: highlights and text.

    """

    top: Rgb
    bottom: Rgb
    far: Rgb
    near: Rgb
    main: Rgb
    accent: Rgb
    light: Rgb

    @property
    def dark(self) -> Rgb:
        """The darkest colour, for outlines and text on light ground."""
        return mix(min(self.near, self.top, self.far, key=sum), (10, 10, 24), 0.35)


def _palette(colours: str) -> Palette:
    return Palette(*((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in colours.split()))


PALETTES = {
    "dawn": _palette("6f7fc0 ffc9a8 a592c4 4a4a7c f27e63 ffd166 fff4e3"),
    "dusk": _palette("2b2d5b f2836b 6b4a86 2a2148 f25c54 ffb84c ffe8d0"),
    "night": _palette("0b1437 2d5088 223769 0a1029 5b9be0 ffd76a eaf2ff"),
    "day": _palette("5cb8f0 d8f1fb 8cc3d9 2f6f8f f2704e ffc83d ffffff"),
    "mint": _palette("9fe0c9 eefaf0 6cc7a8 1f6e5c f2785c ffcb57 ffffff"),
    "berry": _palette("5a1846 e26d8b a13670 34102d ff5d8f ffc857 ffeaf1"),
    "sand": _palette("f4d3a6 fff3df dcab73 8a5a3b d9572b 2a9d8f fffbf2"),
    "tea": _palette("c7dfb6 f7f8e6 8db580 3c5a3e b5651d d9a441 fffdf3"),
    "ink": _palette("dfd9cb faf7f0 b9b4a6 35322f b23a2e c9a227 ffffff"),
    "neon": _palette("14003a 5a1080 35105e 0a0124 ff2e93 22e1ff f6e9ff"),
    "slate": _palette("3b4a5a 93a8b8 66788a 1f2933 e8704a f4c95d f5f8fa"),
    "lemon": _palette("ffd93d fff3b0 f5b82e 6d4700 e85d3a 3a86c8 ffffff"),
    "ocean": _palette("0e6ba8 8adcec 3fa0c8 0a3d62 ff8c61 ffe66d f0fbff"),
    "coral": _palette("ff9a8b ffe3d3 f26b6b 7a2e3a 2f9c95 ffd166 fff8f3"),
    "forest": _palette("2f5d50 b7d7a8 5e8c61 16302b e9a23b f4e285 fafff2"),
    "festival": _palette("6d0a1c e2413a a81e2a 3f060f ffc23c ff8a3c fff0d6"),
}
