"""Layers of music: each takes a length in samples, a mood and a stream, and returns that many samples."""

from __future__ import annotations

import numpy as np

from multimodal_dql.datasets._demo.sound import RATE, Mood, Wave, beats, hertz_of, noise, place, seconds, tone

__all__ = ["bell", "chord", "drums", "pad", "pluck", "sweep"]


def pluck(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A melody of plucked notes that wanders on the scale and comes home."""
    wave, step = np.zeros(length), 2
    times = beats(length, mood, 2)
    for i, at in enumerate(times):
        step = int(np.clip(step + rng.integers(-2, 3), 0, len(mood.scale) - 1)) if i < len(times) - 2 else 0
        note = tone(hertz_of(mood.root + 12 + mood.scale[step]), RATE, 0.35 + 0.4 * mood.brightness, 0.45)
        place(wave, float(at), note, 0.7 + 0.3 * (i % 2 == 0))
        if i % 4 == 0:
            place(wave, float(at), tone(hertz_of(mood.root - 12 + mood.scale[0]), RATE, 0.4, 0.8), 0.6)
    return wave


def pad(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A slow chord that swells."""
    t = seconds(length)
    wave = np.zeros(length)
    for note in (mood.scale[0], mood.scale[2], mood.scale[3], mood.scale[5]):
        for detune in (-0.06, 0.05):
            phase = rng.uniform(0, 2 * np.pi)
            base = 2 * np.pi * hertz_of(mood.root + note + detune) * t + phase
            sine = np.sin(base)
            # Two more partials from the first: sin 2x = 2 sin x cos x, sin 3x = 3 sin x - 4 sin^3 x.
            wave += sine * (1 + 0.6 * mood.brightness * np.cos(base) + 0.36 - 0.48 * sine * sine)
    swell = np.sin(np.pi * np.clip(t / t[-1], 0, 1)) ** 0.6
    return np.asarray(wave * swell * (1 + 0.15 * np.sin(2 * np.pi * 0.8 * t)))


def chord(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Two struck chords, the second resolving the first."""
    wave = np.zeros(length)
    for at, shift in ((0.0, 5), (length / RATE * 0.42, 0)):
        for i, note in enumerate((0, mood.scale[2], 7, 12)):
            strum = at + 0.02 * i + float(rng.uniform(0, 0.006))
            place(
                wave,
                strum,
                tone(hertz_of(mood.root + shift + note), 2 * RATE, 0.4 + 0.3 * mood.brightness, 0.9),
            )
    return wave


def drums(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A drum loop: kick, snare, hats."""
    wave = np.zeros(length)
    t = seconds(RATE // 3)
    kick = np.sin(2 * np.pi * (46 * t + 9 * (1 - np.exp(-t * 26)))) * np.exp(-t * 13)
    snare = (noise(t.size, rng, 900, 7000) * 1.6 + 0.5 * np.sin(2 * np.pi * 190 * t)) * np.exp(-t * 21)
    hat = noise(t.size, rng, 5500, 7900) * np.exp(-t * 62)
    for i, at in enumerate(beats(length, mood, 4)):
        if i % 8 in (0, 5) or (i % 16 == 11):
            place(wave, float(at), kick, 1.0)
        if i % 8 == 4:
            place(wave, float(at), snare, 0.55)
        if i % 2 == 0 or rng.uniform() < 0.3:
            place(wave, float(at), hat, 0.5 if i % 4 == 2 else 0.3)
    return wave


def sweep(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A riser that ends in a hit."""
    t = seconds(length)
    share = t / t[-1]
    hertz = 120 * 2 ** (3.6 * share)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    rise = (np.sin(phase) + 0.4 * np.sin(2 * phase)) * share**1.5 + noise(length, rng, 800, 7000) * share**3
    hit = int(0.86 * length)
    rise[hit:] *= np.exp(-np.arange(length - hit) / (0.02 * RATE))
    wave = np.asarray(rise)
    place(wave, hit / RATE, tone(hertz_of(mood.root - 12), RATE, 0.6, 0.5), 1.4)
    return wave


def bell(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Bells with partials that are not in tune."""
    wave = np.zeros(length)
    for at in (0.0, 0.38, length / RATE * 0.55):
        hertz = hertz_of(mood.root + 24 + int(rng.choice(mood.scale[:5])))
        t = seconds(2 * RATE)
        for ratio, gain in ((0.5, 0.4), (1.0, 1.0), (1.19, 0.5), (2.0, 0.45), (2.74, 0.25)):
            place(wave, at, gain * np.sin(2 * np.pi * hertz * ratio * t) * np.exp(-t * (1.6 + ratio)))
    return wave
