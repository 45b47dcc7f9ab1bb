"""What the demo's sounds are made of: moods, noise, struck tones, and putting one sound into another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOODS", "RATE", "Mood", "Wave", "beats", "hertz_of", "noise", "place", "seconds", "tone"]

RATE = 16_000
"""Samples a second."""

Wave: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Mood:
    """The musical side of a mood.

    Attributes:
        root: lowest note of the chord, as a MIDI number (60 is middle C).
        scale: steps above the root, in semitones.
        beats_per_minute: tempo.
        brightness: 0 dull, 1 brilliant.

    """

    root: int
    scale: tuple[int, ...]
    beats_per_minute: float
    brightness: float


MOODS = {
    "bright": Mood(60, (0, 2, 4, 7, 9, 12, 14, 16), 124, 0.9),
    "calm": Mood(55, (0, 2, 4, 7, 9, 12, 14, 16), 76, 0.45),
    "tense": Mood(57, (0, 1, 3, 7, 8, 12, 13, 15), 144, 0.8),
    "dark": Mood(50, (0, 3, 5, 7, 10, 12, 15, 17), 66, 0.3),
}


def seconds(length: int) -> Wave:
    return np.arange(length) / RATE


def hertz_of(midi: float) -> float:
    return float(440.0 * 2.0 ** ((midi - 69) / 12))


def noise(length: int, rng: np.random.Generator, low: float, high: float, slope: float = 0.0) -> Wave:
    """Noise between two frequencies in Hz; `slope` -1 falls like pink noise, -2 like brown."""
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    gain = np.where((frequency >= low) & (frequency <= high), np.maximum(frequency, 20.0) ** (slope / 2), 0.0)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * gain, length)


@cache
def tone(hertz: float, length: int, brightness: float, decay: float) -> Wave:
    """A struck string, `decay` in seconds: the higher a partial, the sooner it dies out. Read-only."""
    t = seconds(length)
    wave = np.zeros(length)
    for k in range(1, 8):
        if k * hertz < RATE * 0.45:
            wave += (
                brightness ** (k - 1) / k * np.sin(2 * np.pi * k * hertz * t) * np.exp(-t * k**0.7 / decay)
            )
    wave *= np.minimum(1.0, t / 0.004)
    wave.setflags(write=False)
    return wave


def place(wave: Wave, at_seconds: float, part: Wave, gain: float = 1.0) -> None:
    """Add `part` to `wave` from a moment on, cut at the end."""
    start = round(at_seconds * RATE)
    end = min(wave.size, start + part.size)
    if start < end:
        wave[start:end] += gain * part[: end - start]


def beats(length: int, mood: Mood, per_beat: int) -> Wave:
    return np.arange(0, length / RATE, 60 / mood.beats_per_minute / per_beat)
