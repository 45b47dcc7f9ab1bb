"""From a recipe such as ``rain+pad calm 3.8`` to the samples of an audio teaser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._demo import ambience, music, voices
from multimodal_dql.datasets._demo.sound import MOODS, RATE, Mood, Wave

__all__ = ["LAYERS", "RATE", "teaser"]

LAYERS: dict[str, Callable[[int, Mood, np.random.Generator], Wave]] = {
    name: getattr(module, name) for module in (ambience, music, voices) for name in module.__all__
}


def teaser(recipe: str, rng: np.random.Generator) -> NDArray[np.int16]:
    """The samples of a recipe ``layer+layer mood seconds``, e.g. ``rain+pad calm 3.8``.

    Args:
        recipe: names from `LAYERS`, a name from `MOODS`, and a length.
        rng: the stream for everything accidental.

    Returns:
        Mono samples at `RATE`, shape (seconds * RATE,), faded at both ends, peaking at -2 dB.

    """
    layers, mood, seconds = recipe.split()
    length = round(float(seconds) * RATE)
    mixed = np.zeros(length)
    for place, name in enumerate(layers.split("+")):
        part = LAYERS[name](length, MOODS[mood], rng)
        # The first layer leads; what follows is heard behind it.
        mixed += part / max(float(np.abs(part).max()), 1e-9) * (1.0 if place == 0 else 0.55)
    fade = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.05 * RATE))
    mixed *= fade
    samples: NDArray[np.int16] = np.rint(mixed / np.abs(mixed).max() * 0.79 * 32767).astype(np.int16)
    return samples
