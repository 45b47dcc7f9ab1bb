"""Layers of voices: speech without words, crowds, birds, whales; arguments as in `music`."""

from __future__ import annotations

import math

import numpy as np

from multimodal_dql.datasets._demo.sound import RATE, Mood, Wave, noise, place, seconds

__all__ = ["birds", "crowd", "voice", "whale"]


_VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
    (490, 1350, 1690),
)


def voice(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Speech without words: syllables of gliding vowels, a falling sentence melody, breaths and hisses."""
    wave = np.zeros(length)
    base = float(rng.uniform(105, 215))
    at = 0.06
    total = length / RATE
    while at < total - 0.25:
        for _ in range(int(rng.integers(3, 7))):
            duration = float(rng.uniform(0.11, 0.24)) / (0.8 + 0.4 * mood.brightness)
            pitch = base * (1.16 - 0.3 * at / total) * float(rng.uniform(0.92, 1.1))
            place(wave, at, _syllable(duration, pitch, rng))
            at += duration * 0.96
        at += float(rng.uniform(0.12, 0.3))
    return wave


def _syllable(duration: float, pitch: float, rng: np.random.Generator) -> Wave:
    length = round(duration * RATE)
    t = seconds(length)
    share = t / duration
    start, end = (np.array(_VOWELS[int(i)], np.float64) for i in rng.choice(len(_VOWELS), 2, replace=False))
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.05 * np.sin(np.pi * share))) / RATE
    # Each harmonic is as loud as the gliding formants make it; nine moments are enough to interpolate.
    moments = np.linspace(0, 1, 9)
    centres = start[:, None] + (end - start)[:, None] * moments
    width = np.array([[70.0], [110.0], [150.0]])
    turn = np.exp(1j * phase)
    harmonic, wave = np.ones(length, np.complex128), np.zeros(length)
    for k in range(1, int(3600 / pitch)):
        harmonic *= turn
        loud = (np.array([[1.0], [0.5], [0.22]]) / (1 + ((k * pitch - centres) / width) ** 2)).sum(axis=0)
        wave += np.interp(share, moments, loud) * harmonic.imag
    wave *= np.sin(np.pi * np.clip(share, 0, 1)) ** 0.5
    if rng.uniform() < 0.35:
        hiss = noise(length, rng, 2500, 7500) * np.exp(-t * 45)
        wave += 0.5 * hiss / np.abs(hiss).max()
    return wave


def crowd(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A crowd: many voices at once, with a cheer."""
    wave = np.zeros(length)
    for _ in range(6):
        wave += np.roll(voice(length, mood, rng), int(rng.integers(length)))
    t = seconds(length)
    cheer = noise(length, rng, 500, 3200, -0.8)
    cheer *= np.exp(-((t - t[-1] * 0.6) ** 2) / 0.5) / np.abs(cheer).max()
    return np.asarray(wave / np.abs(wave).max() + cheer * (1.2 if mood.brightness > 0.6 else 0.3))


def birds(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Bird calls over a quiet morning."""
    wave = noise(length, rng, 300, 2500, -1.0)
    wave *= 0.06 / np.abs(wave).max()
    for at in rng.uniform(0, length / RATE - 0.4, int(2.6 * length / RATE)):
        base, trill = float(rng.uniform(2300, 4300)), float(rng.uniform(9, 24))
        t = seconds(round(float(rng.uniform(0.18, 0.45)) * RATE))
        phase = 2 * np.pi * (base * t + float(rng.uniform(-900, 900)) * t**2) + 7 * np.sin(
            2 * np.pi * trill * t
        )
        place(wave, float(at), np.sin(phase) * np.sin(np.pi * t / t[-1]) ** 2, float(rng.uniform(0.4, 1)))
    return wave


def whale(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Long gliding calls with an echo."""
    wave = np.zeros(length)
    at = 0.1
    while at < length / RATE - 0.6:
        duration = float(rng.uniform(0.7, 1.5))
        t = seconds(round(duration * RATE))
        share = t / duration
        hertz = float(rng.uniform(170, 420)) * 2 ** (
            float(rng.uniform(-1, 1)) * share + 0.1 * np.sin(9 * share)
        )
        phase = 2 * np.pi * np.cumsum(hertz) / RATE
        call = (np.sin(phase) + 0.45 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase)) * np.sin(
            math.pi * share
        ) ** 0.8
        for echo, gain in ((0.0, 1.0), (0.27, 0.4), (0.55, 0.2)):
            place(wave, at + echo, call, gain)
        at += duration * 0.9
    return wave
