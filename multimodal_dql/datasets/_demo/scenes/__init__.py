"""Every drawn scene, by name.

A scene is a function that paints one `Canvas`; its second argument is a detail it knows, e.g. ``ferry`` for
the bay. Beside it stands the point that a close view is centred on, in the canvas's units.
"""

from __future__ import annotations

from collections.abc import Callable

from multimodal_dql.datasets._demo.canvas import Canvas
from multimodal_dql.datasets._demo.palettes import Point
from multimodal_dql.datasets._demo.scenes import (
    animals,
    city,
    food,
    garden,
    home,
    machines,
    music,
    nature,
    outings,
    people,
    rooms,
    sport,
    streets,
)

__all__ = ["SCENES"]

SCENES: dict[str, tuple[Callable[[Canvas, str], None], Point]] = {}
for _module in (
    *(animals, city, food, garden, home, machines, music),
    *(nature, outings, people, rooms, sport, streets),
):
    SCENES |= _module.SCENES
