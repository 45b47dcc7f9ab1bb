"""Google's speech embedding in ONNX Runtime: a sound becomes mean and spread of its windows.

Lin et al. (2020), Training Keyword Spotters with Limited and Synthesized Speech Data, arXiv:2002.01322.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality, check_sounds
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.runtimes.card_encoder import CardEncoder, need_files

__all__ = ["SpeechEmbedding"]

_PCM_PEAK = np.float32(32_767)
"""The first model reads samples as 16-bit numbers."""

_WINDOW_FRAMES = 76
_HOP_FRAMES = 8
_MEL_BANDS = 32
_WINDOW_SAMPLES = 512 + (_WINDOW_FRAMES - 1) * 160
"""Samples that give one window: frames of 512 samples every 160 (32 ms every 10 ms); .78 s in all."""

_RUN_WINDOWS = 64
"""Windows in one run of the second model: bounds memory for ten minutes of sound."""


class SpeechEmbedding(CardEncoder):
    """``melspectrogram.onnx`` then ``embedding_model.onnx``; `dim` is twice the length of a window's
    embedding.

    A sound shorter than one window is followed by silence.
    """

    reads: ClassVar[tuple[Modality, ...]] = ("audio",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        mel, embedding = need_files(card, files, "melspectrogram.onnx", "embedding_model.onnx")
        self._mel, self._embedding = onnx_session(self.name, mel), onnx_session(self.name, embedding)
        self._mel_input = self._mel.get_inputs()[0].name
        self._embedding_input = self._embedding.get_inputs()[0].name

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of sounds, shape (len(items), dim): mean over windows, then standard deviation."""
        sounds = check_sounds(self.name, items)
        if not sounds:
            return self.empty(0)
        return self.finished(np.stack([self._one(sound) for sound in sounds]))

    def _one(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.pad(sound, (0, max(0, _WINDOW_SAMPLES - len(sound))))
        frames = self._mel.run(None, {self._mel_input: padded[None] * _PCM_PEAK})[0].reshape(-1, _MEL_BANDS)
        frames = frames / np.float32(10) + np.float32(
            2
        )  # decibels to the range the second model was trained on
        starts = range(0, len(frames) - _WINDOW_FRAMES + 1, _HOP_FRAMES)
        windows = np.stack([frames[start : start + _WINDOW_FRAMES] for start in starts])[..., None]
        vectors = np.concatenate(
            [
                self._embedding.run(None, {self._embedding_input: windows[at : at + _RUN_WINDOWS]})[0]
                for at in range(0, len(windows), _RUN_WINDOWS)
            ]
        ).reshape(len(windows), -1)
        return np.concatenate([vectors.mean(axis=0), vectors.std(axis=0)])
