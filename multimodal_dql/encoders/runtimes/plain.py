"""Pictures and sounds straight into a network: the card says how a picture is cut and a sound is sampled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.pictures import square_input
from multimodal_dql.encoders.pooling import chosen_output, pooled
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne
from multimodal_dql.encoders.runtimes.networks import (
    Network,
    keras_network,
    litert_network,
    onnx_network,
    text_tower,
)
from multimodal_dql.encoders.sounds import windows
from multimodal_dql.errors import EncoderError

__all__ = [
    "KerasAudioEncoder",
    "KerasImageEncoder",
    "LiteRTAudioEncoder",
    "NetworkEncoder",
    "OnnxAudioEncoder",
    "OnnxImageEncoder",
]


class NetworkEncoder(OneByOne):
    """A network of one input; of a file with two towers, the one that is no text's.

    Attributes:
        network: makes the network of a card.

    """

    network: ClassVar[Callable[[Card, dict[str, Path]], Network]]

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        self._network = type(self).network(card, files)
        self._rest = text_tower(self._network.shapes)
        shapes = {name: shape for name, shape in self._network.shapes.items() if name not in self._rest}
        if len(shapes) != 1:
            raise EncoderError(
                name=self.name,
                detail=f"the model reads {sorted(shapes)}; a model of one input is needed",
                detail_zh=f"模型有输入 {sorted(shapes)}；需要只有一个输入的模型",
            )
        ((self._input, self._shape),) = shapes.items()

    def _vector(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network makes of one prepared input, pooled, (dim,)."""
        try:
            outputs = self._network.run({self._input: value, **self._rest})
        except Exception as error:  # each library has its own errors
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise EncoderError(
                name=self.name,
                detail=f"the model cannot run on an input of shape {value.shape}: {said[0]}",
                detail_zh=f"模型无法处理形状为 {value.shape} 的输入：{said[0]}",
            ) from error
        rows = pooled(self.card, chosen_output(self.card, outputs))
        rows = rows if len(rows) == 1 else pooled(self.card, rows[None])
        return np.asarray(rows[0], np.float32)


class _Image(NetworkEncoder):
    """Reads (1, side, side, 3), or (1, 3, side, side) where the model declares three channels first."""

    reads: ClassVar[tuple[Modality, ...]] = ("image",)

    def _one(self, item: NDArray[np.uint8]) -> NDArray[np.float32]:
        value = square_input(item, self.card)[None]
        if len(self._shape) == 4 and self._shape[1] == 3 and self._shape[3] != 3:
            value = np.ascontiguousarray(value.transpose(0, 3, 1, 2))
        return self._vector(value)


class _Audio(NetworkEncoder):
    """Reads samples as (samples,), (1, samples), (1, 1, samples) or (1, samples, 1), whichever the model declares.

    The embeddings of a sound's windows are averaged.
    """

    reads: ClassVar[tuple[Modality, ...]] = ("audio",)

    def _one(self, item: NDArray[np.float32]) -> NDArray[np.float32]:
        rank = len(self._shape)
        wide = max(self._shape, default=-1)
        last = rank == 3 and self._shape[2] == 1
        shape = (1, -1, 1) if last else (1,) * (rank - 1) + (-1,)
        parts = windows(item, self.card, exactly=wide if wide > 1 else None)
        return np.asarray(np.mean([self._vector(part.reshape(shape)) for part in parts], axis=0), np.float32)


class OnnxImageEncoder(_Image):
    """``model.onnx`` on pictures."""

    code = "onnx-image"
    network = onnx_network


class OnnxAudioEncoder(_Audio):
    """``model.onnx`` on samples."""

    code = "onnx-audio"
    network = onnx_network


class LiteRTAudioEncoder(_Audio):
    """``model.tflite`` on samples."""

    code = "litert-audio"
    network = litert_network


class KerasImageEncoder(_Image):
    """A Keras network on pictures; TensorFlow is loaded (5 s)."""

    code = "keras-image"
    network = keras_network


class KerasAudioEncoder(_Audio):
    """A Keras network on samples; TensorFlow is loaded (5 s)."""

    code = "keras-audio"
    network = keras_network
