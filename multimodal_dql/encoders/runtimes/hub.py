"""Modules of TensorFlow Hub (a SavedModel in a folder) through `hub.load`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import AUDIO_RATE_HZ, Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.pictures import square_input
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne, need_files
from multimodal_dql.encoders.saved_model import check_saved_model
from multimodal_dql.encoders.sources import common_folder
from multimodal_dql.errors import EncoderError

__all__ = ["HubEncoder"]


class HubEncoder(OneByOne):
    """A SavedModel, called as a whole or by the card's `signature`.

    Texts come as a string tensor (1,), pictures as float32 (1, side, side, 3), sounds as float32 (samples,),
    or (1, samples) if ``preprocessing.batched`` is true; a sound shorter than ``min_seconds`` is followed by
    silence. Of several outputs, ``preprocessing.output`` names the one to take, or counts it from 0. With
    `pooling` ``mean`` an output of several rows (frames, D) becomes their mean.

    A SavedModel is a program: one that does more than compute is refused (`multimodal_dql.encoders.saved_model`), and
    the hashes on the card are what one trusts.
    """

    code = "tensorflow-hub"
    reads: ClassVar[tuple[Modality, ...]] = ("text", "image", "audio")

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        (program,) = need_files(card, files, "saved_model.pb")
        check_saved_model(card.name, program)
        folder = common_folder(card, files)
        try:
            with silenced():  # TensorFlow greets on import, and again when it first computes
                import tensorflow as tf
                import tensorflow_hub as hub

                self._tf = tf
                self._module = hub.load(str(folder))
            self._call = self._module.signatures[card.signature] if card.signature else self._module
        except Exception as error:  # TensorFlow's own errors among them
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EncoderError(
                name=self.name,
                detail=f"its SavedModel or signature '{card.signature}' cannot be loaded: {said}",
                detail_zh=f"SavedModel 或签名 “{card.signature}” 无法加载：{said}",
            ) from error

    def _input(self, item: Any) -> Any:
        """A text, picture or sound as the tensor that the module takes."""
        if self.modality == "text":
            return self._tf.constant([item])
        if self.modality == "image":
            return self._tf.constant(square_input(item, self.card)[None])
        shortest = round(AUDIO_RATE_HZ * self.card.number("min_seconds", 0))
        sound = np.pad(item, (0, max(0, shortest - len(item))))
        return self._tf.constant(sound[None] if self.card.preprocessing.get("batched") is True else sound)

    def _one(self, item: Any) -> NDArray[np.float32]:
        value = self._input(item)
        if self.card.signature:
            (argument,) = self._call.structured_input_signature[1]
            output = self._call(**{argument: value})
        else:
            output = self._call(value)
        if isinstance(output, list | tuple):
            output = dict(enumerate(output))
        if isinstance(output, dict):
            output = self._chosen(output)
        rows = np.asarray(output, np.float32)
        rows = rows.reshape(-1, rows.shape[-1]) if rows.ndim else rows.reshape(1, 1)
        if len(rows) > 1 and self.card.pooling != "mean":
            raise EncoderError(
                name=self.name,
                detail=f'the module gives {len(rows)} rows an item; write pooling = "mean" in the card',
                detail_zh=f'模块每项输出 {len(rows)} 行；请在卡片中写 pooling = "mean"',
            )
        return np.asarray(rows.mean(axis=0), np.float32)

    def _chosen(self, outputs: dict[Any, Any]) -> Any:
        wanted = self.card.preprocessing.get("output")
        if wanted is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        if wanted not in outputs:
            raise EncoderError(
                name=self.name,
                detail=f"the module gives {sorted(outputs)}; name one as preprocessing.output in the card",
                detail_zh=f"模块的输出有 {sorted(outputs)}；请在卡片的 preprocessing.output 中指定一个",
            )
        return outputs[wanted]
