"""Encoders whose vectors a reader can work out."""

from pathlib import Path

import numpy as np

from multimodal_dql.encoders.base import Encoder, check_images, check_sounds, check_texts


class Lengths(Encoder):
    """Text -> its number of characters and of spaces. Counts how often it is asked, and for what."""

    name, modality, dim, fingerprint = "lengths", "text", 2, "lengths-1"

    def __init__(self):
        self.seen = []

    def encode(self, items):
        texts = check_texts(self.name, items)
        self.seen += texts
        return np.array([[len(text), text.count(" ")] for text in texts], np.float32).reshape(-1, 2)


class Greys(Encoder):
    """Picture -> mean of each channel."""

    name, modality, dim, fingerprint = "greys", "image", 3, "greys-1"

    def encode(self, items):
        pictures = check_images(self.name, items)
        return np.array([p.mean(axis=(0, 1)) for p in pictures], np.float32).reshape(-1, 3)


class Loudness(Encoder):
    """Sound -> root mean square."""

    name, modality, dim, fingerprint = "loudness", "audio", 1, "loudness-1"

    def encode(self, items):
        sounds = check_sounds(self.name, items)
        return np.array([np.sqrt(np.mean(s**2)) for s in sounds], np.float32).reshape(-1, 1)


def write_card(folder: Path, name: str, body: str) -> Path:
    """A card file below `folder`, with the fields nobody cares about filled in."""
    path = folder / name / "card.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'name = "{name}"\nsummary = "a toy"\nlicence = "CC0-1.0"\ncitation = "none"\n'
    path.write_text(head + body, "utf-8")
    return path
