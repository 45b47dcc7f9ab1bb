"""Layers of places and machines: sea, rain, trains, kitchens; arguments as in `music`."""

from __future__ import annotations

import numpy as np

from multimodal_dql.datasets._demo.sound import RATE, Mood, Wave, hertz_of, noise, place, seconds

__all__ = ["beep", "bounce", "buzz", "city", "clock", "kitchen", "rain", "sea", "stream", "thunder", "train"]


def sea(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Waves that come in and draw back."""
    t = seconds(length)
    swell = 0.25 + np.maximum(0, np.sin(2 * np.pi * t / 2.6 - 0.9)) ** 2
    return np.asarray(noise(length, rng, 60, 5200, -1.2) * swell)


def rain(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Steady rain with near drops."""
    wave = noise(length, rng, 700, 7800, -0.4)
    wave /= np.abs(wave).max()
    t = seconds(RATE // 40)
    for at in rng.uniform(0, length / RATE, int(26 * length / RATE)):
        drop = np.sin(2 * np.pi * float(rng.uniform(900, 2900)) * t) * np.exp(-t * 190)
        place(wave, float(at), drop, float(rng.uniform(0.3, 1.1)))
    return wave


def thunder(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """One roll of thunder."""
    t = seconds(length)
    roll = (
        np.exp(-((t - 0.9) ** 2) / 0.08)
        + 0.7 * np.exp(-((t - 1.7) ** 2) / 0.3)
        + 0.3 * np.exp(-((t - 2.6) ** 2) / 0.4)
    )
    return np.asarray(noise(length, rng, 25, 260, -2.0) * roll)


def stream(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Bubbling water."""
    wave = noise(length, rng, 400, 3000, -1.0)
    wave *= 0.4 / np.abs(wave).max()
    t = seconds(RATE // 12)
    for at in rng.uniform(0, length / RATE, int(30 * length / RATE)):
        hertz = float(rng.uniform(420, 1200))
        place(wave, float(at), np.sin(2 * np.pi * (hertz * t + hertz * 2.4 * t**2)) * np.exp(-t * 42), 0.4)
    return wave


def city(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Traffic far away and a passing car."""
    t = seconds(length)
    near = np.exp(-((t - t[-1] * 0.55) ** 2) / 0.35)
    return np.asarray(
        noise(length, rng, 40, 900, -1.6) * (0.5 + near) + 0.004 * noise(length, rng, 900, 4000) * near
    )


def kitchen(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Sizzling and chopping."""
    wave = noise(length, rng, 3000, 7800)
    wave *= 0.3 / np.abs(wave).max()
    for at in np.arange(0.3, length / RATE, 0.21):
        knock = noise(RATE // 16, rng, 300, 3500) * np.exp(-seconds(RATE // 16) * 90)
        place(wave, float(at) + float(rng.uniform(0, 0.03)), knock / np.abs(knock).max(), 0.9)
    return wave


def clock(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Tick and tock."""
    wave = np.zeros(length)
    t = seconds(RATE // 20)
    for i, at in enumerate(np.arange(0.1, length / RATE, 0.5)):
        click = np.sin(2 * np.pi * (2600 if i % 2 else 2100) * t) + rng.standard_normal(t.size) * 0.4
        place(wave, float(at), click * np.exp(-t * 170))
    return wave


def bounce(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A table-tennis rally: bat, table, table."""
    wave = np.zeros(length)
    t = seconds(RATE // 16)
    at, gap = 0.08, 0.42
    while at < length / RATE - 0.1:
        for dx, hertz, gain in ((0.0, 1250, 1.0), (gap * 0.45, 820, 0.7)):
            place(
                wave,
                at + dx,
                np.sin(2 * np.pi * hertz * t) * np.exp(-t * 95),
                gain * float(rng.uniform(0.7, 1)),
            )
        at += gap
        gap = max(0.2, gap * 0.93)
    return wave


def train(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Wheels over rail joints."""
    wave = noise(length, rng, 50, 1400, -1.5)
    wave *= 0.35 / np.abs(wave).max()
    for at in np.arange(0.12, length / RATE, 0.74):
        for dx in (0.0, 0.13):
            clack = noise(RATE // 12, rng, 150, 1900) * np.exp(-seconds(RATE // 12) * 55)
            place(wave, float(at) + dx, clack / np.abs(clack).max(), 0.9 - 2 * dx)
    return wave


def beep(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """A small machine that talks in tones."""
    wave = np.zeros(length)
    at = 0.05
    while at < length / RATE - 0.2:
        duration = float(rng.choice([0.08, 0.12, 0.2]))
        t = seconds(round(duration * RATE))
        hertz = hertz_of(mood.root + 24 + int(rng.choice(mood.scale)))
        glide = float(rng.choice([0.0, 0.0, 900.0]))
        tone = np.sin(2 * np.pi * (hertz * t + glide * t**2)) + 0.25 * np.sin(6 * np.pi * hertz * t)
        place(wave, at, tone * np.sin(np.pi * t / t[-1]) ** 0.4)
        at += duration + float(rng.choice([0.03, 0.06, 0.2]))
    return wave


def buzz(length: int, mood: Mood, rng: np.random.Generator) -> Wave:
    """Bees passing by."""
    t = seconds(length)
    wave = np.zeros(length)
    for _ in range(4):
        hertz = float(rng.uniform(170, 250))
        wobble = hertz * (1 + 0.04 * np.sin(2 * np.pi * float(rng.uniform(0.3, 1.4)) * t + rng.uniform(0, 6)))
        phase = 2 * np.pi * np.cumsum(wobble) / RATE
        near = 0.2 + np.exp(-((t - float(rng.uniform(0, t[-1]))) ** 2) / 0.25)
        wave += near * sum(np.sin(k * phase) / k for k in range(1, 9))
    return wave
