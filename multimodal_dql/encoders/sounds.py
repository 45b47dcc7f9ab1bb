"""A sound of any length to the samples a network reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import AUDIO_RATE_HZ
from multimodal_dql.encoders.cards import Card
from multimodal_dql.errors import EncoderError

__all__ = ["windows"]

_MAX_RATE_HZ = 192_000
_MAX_WINDOW_SECONDS = 600


def windows(sound: NDArray[np.float32], card: Card, exactly: int | None = None) -> list[NDArray[np.float32]]:
    """Mono `sound` at 16 kHz at the card's rate, in windows of about equal length, each of shape (samples,).

    From ``card.preprocessing``: `rate_hz` (16,000), `window_seconds` (30; a longer sound is cut into that many equal
    windows whose embeddings are averaged: attention costs the square of the length), `min_seconds` (a shorter
    sound is followed by silence) and `gain` (a factor).

    Args:
        sound: at 16 kHz.
        card: of the encoder.
        exactly: samples of every window, for a network that reads no other number.

    """
    rate = _between(card, "rate_hz", 16_000, 1, _MAX_RATE_HZ)
    if rate != AUDIO_RATE_HZ:
        import soxr

        sound = np.asarray(soxr.resample(sound, AUDIO_RATE_HZ, rate), np.float32)
    longest = exactly or round(rate * _between(card, "window_seconds", 30, 0.01, _MAX_WINDOW_SECONDS))
    shortest = exactly or round(rate * _between(card, "min_seconds", 0, 0, _MAX_WINDOW_SECONDS))
    gain = np.float32(card.number("gain", 1.0))
    count = max(1, -(-len(sound) // max(longest, 1)))
    cut: list[NDArray[np.float32]] = []
    for part in np.array_split(sound, count):
        cut.append(np.pad(part, (0, max(0, max(shortest, 1) - len(part)))) * gain)
    return cut


def _between(card: Card, key: str, default: float, low: float, high: float) -> Any:
    value = card.number(key, default)
    if not low <= value <= high:
        raise EncoderError(
            name=card.name,
            detail=f"preprocessing.{key} is {value}; write a number from {low} to {high}",
            detail_zh=f"preprocessing.{key} 为 {value}；请写 {low} 到 {high} 之间的数字",
        )
    return value
