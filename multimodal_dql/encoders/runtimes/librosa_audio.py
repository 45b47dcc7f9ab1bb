"""Hand-made descriptions of a sound with librosa: timbre, harmony, brightness, loudness, tempo."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import AUDIO_RATE_HZ, Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne

__all__ = ["LibrosaDescriptors"]

_FRAME_SAMPLES = 2048
_HOP_SAMPLES = 512
_MFCC = 20


class LibrosaDescriptors(OneByOne):
    """86 numbers, in this order.

    Mean and standard deviation over frames of 20 MFCC (40), 12 chroma classes (24) and 7 bands of spectral
    contrast in decibels (14); of the spectral centroid and the rolloff in kHz (4) and of the root mean
    square (2); mean rate of zero crossings (1); tempo in beats a second (1). They are not scaled to each
    other.
    """

    code = "librosa"
    reads: ClassVar[tuple[Modality, ...]] = ("audio",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        import librosa
        from librosa.onset import onset_strength

        self._librosa = librosa
        self._onset_strength = onset_strength

    def _one(self, item: NDArray[np.float32]) -> NDArray[np.float32]:
        feature = self._librosa.feature
        padded = np.pad(item, (0, max(0, _FRAME_SAMPLES - len(item))))  # librosa warns below one frame
        rate = {"sr": AUDIO_RATE_HZ}
        # One spectrogram serves all: magnitudes (1025, frames), and their squares.
        magnitude = np.abs(self._librosa.stft(padded, n_fft=_FRAME_SAMPLES, hop_length=_HOP_SAMPLES))
        power = magnitude**2
        decibels = self._librosa.power_to_db(feature.melspectrogram(S=power, **rate))
        # Tuning is fixed: to estimate it, librosa needs a pitch, and silence has none.
        chroma = feature.chroma_stft(S=power, tuning=0.0, **rate)
        contrast = feature.spectral_contrast(S=magnitude, **rate)
        centroid = feature.spectral_centroid(S=magnitude, **rate) / 1000
        rolloff = feature.spectral_rolloff(S=magnitude, **rate) / 1000
        loudness = feature.rms(y=padded, frame_length=_FRAME_SAMPLES, hop_length=_HOP_SAMPLES)
        crossings = feature.zero_crossing_rate(padded, frame_length=_FRAME_SAMPLES, hop_length=_HOP_SAMPLES)
        onsets = self._onset_strength(S=decibels, **rate)
        tempo = feature.tempo(onset_envelope=onsets, hop_length=_HOP_SAMPLES, **rate) / 60
        parts = [
            feature.mfcc(S=decibels, n_mfcc=_MFCC, **rate),
            chroma,
            contrast,
            centroid,
            rolloff,
            loudness,
        ]
        spread = [statistic for part in parts for statistic in (part.mean(axis=1), part.std(axis=1))]
        return np.concatenate([*spread, [crossings.mean()], tempo]).astype(np.float32)
