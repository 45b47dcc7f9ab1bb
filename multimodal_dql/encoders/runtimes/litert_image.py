"""Pictures through LiteRT, from a ``.tflite`` file or from weights that are converted once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.pictures import square_input
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne, need_files
from multimodal_dql.encoders.runtimes.networks import litert_interpreter
from multimodal_dql.encoders.sources import atomic_write
from multimodal_dql.errors import EncoderError, UnknownNameError

__all__ = ["LiteRTImageEncoder"]


def _efficientnet_lite0(files: dict[str, Path], card: Card) -> bytes:
    from multimodal_dql.encoders.efficientnet import convert_lite0

    return convert_lite0(*need_files(card, files, "weights.pth"))


_CONVERTERS: dict[str, Callable[[dict[str, Path], Card], bytes]] = {"efficientnet-lite0": _efficientnet_lite0}
_CONVERSION = 1
"""Raised when a conversion changes, so that models converted before are not used."""


class LiteRTImageEncoder(OneByOne):
    """On one thread. The card names a file ``model.tflite``, or a `converter` and what that needs.

    The model takes (1, side, side, 3).
    """

    code = "litert-image"
    reads: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        model = (
            _converted(card, files)
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


def _converted(card: Card, files: dict[str, Path]) -> bytes:
    """The converted model, from the cache if it is there and whole.

    The cached file begins with the SHA-256 of the rest. Two processes that convert at once both write a
    whole file.
    """
    if card.converter not in _CONVERTERS:
        raise UnknownNameError(kind="converter", kind_zh="转换器", name=card.converter, known=_CONVERTERS)
    weights = sorted((file.name, file.sha256) for file in card.files)
    key = hashlib.sha256(repr((card.converter, _CONVERSION, weights)).encode()).hexdigest()
    path = cache_root() / "encoders" / card.name / f"{key[:32]}.tflite"
    if path.is_file():
        stored = path.read_bytes()
        if hashlib.sha256(stored[32:]).digest() == stored[:32]:
            return stored[32:]
    try:
        model = _CONVERTERS[card.converter](files, card)
    except (ValueError, KeyError) as error:
        raise EncoderError(
            name=card.name,
            detail=f"its weights cannot be converted: {error}",
            detail_zh=f"权重无法转换：{error}",
        ) from error
    with atomic_write(path) as out:
        out.write(hashlib.sha256(model).digest() + model)
    return model
