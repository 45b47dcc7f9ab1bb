"""Google's speech embedding in ONNX Runtime: a sound becomes mean and spread of its windows.

Lin et al. (2020), Training Keyword Spotters with Limited and Synthesized Speech Data, arXiv:2002.01322.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne, need_files
from multimodal_dql.errors import EncoderError

__all__ = ["SpeechEmbedding", "sliding_vectors", "window_vectors"]

_PCM_PEAK = np.float32(32_767)
"""The first model reads samples as 16-bit numbers."""

_WINDOW_FRAMES = 76
_HOP_FRAMES = 8
_MEL_BANDS = 32
_WINDOW_SAMPLES = 512 + (_WINDOW_FRAMES - 1) * 160
"""Samples that give one window: frames of 512 samples every 160 (32 ms every 10 ms); .78 s in all."""

_RUN_WINDOWS = 134
"""Windows in one run of the second model: bounds memory for ten minutes of sound. Together these span
1,140 frames, fifteen times a window's, so that such a run has no padding."""

_LONG_INPUT = {"new_shape__262": np.array([1, 1, -1, _MEL_BANDS], np.int64)}
"""In the second model, the shape to which it brings its input (n, 76, 32, 1) before its first convolution:
(n, 1, 76, 32) in the file, which makes n pictures of a window each; this one makes a single long picture."""


class SpeechEmbedding(OneByOne):
    """``melspectrogram.onnx`` then ``embedding_model.onnx``; `dim` is twice the length of a window's
    embedding.

    A sound shorter than one window is followed by silence.
    """

    code = "onnx-speech-embedding"
    reads: ClassVar[tuple[Modality, ...]] = ("audio",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        mel, embedding = need_files(card, files, "melspectrogram.onnx", "embedding_model.onnx")
        self._mel, self._embedding = onnx_session(self.name, mel), onnx_session(self.name, embedding)
        self._mel_input = self._mel.get_inputs()[0].name
        try:
            self._sliding = onnx_session(self.name, embedding, _LONG_INPUT)
            self._slides = _agree(self._sliding, self._embedding)
        except EncoderError:  # another file, whose constant of this name is something else
            self._slides = False

    def _one(self, item: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean over windows, then standard deviation."""
        padded = np.pad(item, (0, max(0, _WINDOW_SAMPLES - len(item))))
        frames = self._mel.run(None, {self._mel_input: padded[None] * _PCM_PEAK})[0].reshape(-1, _MEL_BANDS)
        # Decibels to the range the second model was trained on.
        frames = frames / np.float32(10) + np.float32(2)
        vectors = (
            sliding_vectors(self._sliding, frames)
            if self._slides
            else window_vectors(self._embedding, frames)
        )
        return np.concatenate([vectors.mean(axis=0), vectors.std(axis=0)])


def window_vectors(session: Any, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings of the windows of `frames` (at least 76, 32), each cut out and run by itself.

    Returns shape (windows, D). Windows overlap by nine tenths, so nearly everything is computed ten times.
    """
    name = session.get_inputs()[0].name
    starts = range(0, len(frames) - _WINDOW_FRAMES + 1, _HOP_FRAMES)
    windows = np.stack([frames[start : start + _WINDOW_FRAMES] for start in starts])[..., None]
    runs = [windows[at : at + _RUN_WINDOWS] for at in range(0, len(windows), _RUN_WINDOWS)]
    return np.concatenate([session.run(None, {name: run})[0].reshape(len(run), -1) for run in runs])


def sliding_vectors(session: Any, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same from a session whose network slides over `frames` (at least 76, 32), shape (windows, D).

    The network is convolutions and poolings that pad no frames, and its strides multiply to the hop; so its
    last layer, laid over a long picture, has one column a window (Long, Shelhamer and Darrell, 2015, Fully
    Convolutional Networks for Semantic Segmentation, arXiv:1411.4038).
    """
    name = session.get_inputs()[0].name
    windows = (len(frames) - _WINDOW_FRAMES) // _HOP_FRAMES + 1
    vectors = []
    for first in range(0, windows, _RUN_WINDOWS):
        count = min(_RUN_WINDOWS, windows - first)
        begin = first * _HOP_FRAMES
        needed = _WINDOW_FRAMES + (count - 1) * _HOP_FRAMES
        # The declared input is whole windows: zeros fill the last, and reach no window that is asked for.
        picture = np.zeros((-(-needed // _WINDOW_FRAMES), _WINDOW_FRAMES, _MEL_BANDS, 1), np.float32)
        picture.reshape(-1, _MEL_BANDS)[:needed] = frames[begin : begin + needed]
        columns = (picture.size // _MEL_BANDS - _WINDOW_FRAMES) // _HOP_FRAMES + 1
        output = session.run(None, {name: picture})[0].reshape(-1, columns)  # (D, columns) in memory
        vectors.append(output[:, :count].T)
    return np.concatenate(vectors)


def _agree(sliding: Any, plain: Any) -> bool:
    """Whether sliding gives what windows give: not for a file that pads, or has no such constant."""
    noise = np.random.default_rng(0).normal(0, 2, (_WINDOW_FRAMES + 4 * _HOP_FRAMES, _MEL_BANDS))
    frames = noise.astype(np.float32)
    expected = window_vectors(plain, frames)
    try:
        found = sliding_vectors(sliding, frames)
    except Exception:  # the network does not run on such an input; ONNX Runtime's errors share no base
        return False
    scale = float(np.abs(expected).max())
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= 1e-5 * scale)
