"""Pictures through LiteRT, from a ``.tflite`` file or from weights that are converted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.converted import Converter, converted
from multimodal_dql.encoders.pictures import square_input
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne, need_files
from multimodal_dql.encoders.runtimes.networks import litert_interpreter
from multimodal_dql.errors import EncoderError

__all__ = ["LiteRTImageEncoder"]


def _efficientnet_lite0(files: dict[str, Path], card: Card) -> bytes:
    from multimodal_dql.encoders.efficientnet import convert_lite0

    return convert_lite0(*need_files(card, files, "weights.pth"))


_CONVERTERS: dict[str, Converter] = {"efficientnet-lite0": _efficientnet_lite0}


class LiteRTImageEncoder(OneByOne):
    """On one thread. The card names a file ``model.tflite``, or a `converter` and what that needs.

    The model takes (1, side, side, 3).
    """

    code = "litert-image"
    reads: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        model = (
            converted(card, files, _CONVERTERS, ".tflite")
            if card.converter
            else need_files(card, files, "model.tflite")[0].read_bytes()
        )
        self._interpreter = litert_interpreter(self.name, model)
        self._input: dict[str, Any] = self._interpreter.get_input_details()[0]
        self._output: dict[str, Any] = self._interpreter.get_output_details()[0]
        side = int(card.number("side"))
        if tuple(self._input["shape"]) != (1, side, side, 3) or self._input["dtype"] is not np.float32:
            raise EncoderError(
                name=self.name,
                detail=f"it reads {self._input['shape']}, the card says float32 (1, {side}, {side}, 3)",
                detail_zh=f"模型输入为 {self._input['shape']}，卡片写的是 float32 (1, {side}, {side}, 3)",
            )

    def _one(self, item: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], square_input(item, self.card)[None])
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output["index"]), np.float32).reshape(-1)
