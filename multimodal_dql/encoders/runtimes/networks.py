"""Networks of several libraries behind one call: named arrays in, named arrays out, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_file import check_onnx
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.runtimes.card_encoder import need_files
from multimodal_dql.encoders.sources import common_folder
from multimodal_dql.errors import EncoderError

__all__ = [
    "TEXT_INPUTS",
    "Network",
    "keras_network",
    "litert_interpreter",
    "litert_network",
    "onnx_network",
    "onnx_path",
    "text_tower",
]

Arrays = Mapping[str, NDArray[Any]]

_BLANK: Arrays = {
    "input_ids": np.zeros((1, 2), np.int64),
    "attention_mask": np.ones((1, 2), np.int64),
    "token_type_ids": np.zeros((1, 2), np.int64),
    "position_ids": np.array([[0, 1]], np.int64),
}
TEXT_INPUTS = frozenset(_BLANK)
"""Inputs of networks that read tokens."""


@dataclass(frozen=True)
class Network:
    """What a runtime calls.

    Attributes:
        shapes: input name -> its shape in the model's order; -1 for a length that is free.
        run: named inputs -> named outputs.

    """

    shapes: dict[str, tuple[int, ...]]
    run: Callable[[Arrays], dict[str, NDArray[Any]]]


def text_tower(shapes: Mapping[str, Any]) -> Arrays:
    """Blanks for the inputs of the text tower, where the inputs `shapes` are those of a file that holds two towers."""
    if "input_ids" not in shapes or len(shapes) < 2:
        return {}
    return {name: value for name, value in _BLANK.items() if name in shapes}


def onnx_path(card: Card, files: dict[str, Path]) -> Path:
    """``model.onnx`` of `card`, looked through, in a folder with whatever weights lie beside it."""
    (model,) = need_files(card, files, "model.onnx")
    check_onnx(card.name, model, files)
    if any(name.endswith((".onnx_data", ".data", ".bin")) for name in files):
        return common_folder(card, files) / "model.onnx"
    return model


def onnx_network(card: Card, files: dict[str, Path]) -> Network:
    """``model.onnx`` in ONNX Runtime."""
    session = onnx_session(card.name, onnx_path(card, files))
    names = [node.name for node in session.get_outputs()]
    shapes = {
        node.name: tuple(n if isinstance(n, int) else -1 for n in node.shape) for node in session.get_inputs()
    }

    def run(feed: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return Network(shapes, run)


def litert_network(card: Card, files: dict[str, Path]) -> Network:
    """``model.tflite`` in LiteRT; inputs of a free length are resized."""
    content = need_files(card, files, "model.tflite")[0].read_bytes()
    interpreter = litert_interpreter(card.name, content)
    (given,) = interpreter.get_input_details()[:1]
    name, index = given["name"], given["index"]

    def run(feed: Arrays) -> dict[str, NDArray[Any]]:
        value = feed[name]
        if tuple(interpreter.get_input_details()[0]["shape"]) != value.shape:
            interpreter.resize_tensor_input(index, value.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(index, value)
        interpreter.invoke()
        return {out["name"]: interpreter.get_tensor(out["index"]) for out in interpreter.get_output_details()}

    return Network({name: tuple(int(n) for n in given["shape_signature"])}, run)


def litert_interpreter(name: str, model: bytes) -> Any:
    """An interpreter on one thread, its tensors allocated; `EncoderError` for a model it refuses."""
    with silenced():  # LiteRT announces its delegate on stderr and has no switch for it in Python
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_content=model, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError, MemoryError) as error:
            said = str(error).strip().splitlines() or ["no reason given"]
            raise EncoderError(
                name=name,
                detail=f"LiteRT refuses the model: {said[0]}",
                detail_zh=f"LiteRT 拒绝该模型：{said[0]}",
            ) from error
    return interpreter


def keras_network(card: Card, files: dict[str, Path]) -> Network:
    """A Keras model rebuilt from JSON, or from its name among Keras Applications, with safetensors weights."""
    from multimodal_dql.encoders.keras_file import rebuilt

    model = rebuilt(card, files)
    import tensorflow as tf

    (shape,) = [value.shape for value in model.inputs][:1]
    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    def run(feed: Arrays) -> dict[str, NDArray[Any]]:
        (value,) = feed.values()
        given = call(tf.constant(value))
        outputs = (
            given
            if isinstance(given, dict)
            else dict(zip(model.output_names, tf.nest.flatten(given), strict=True))
        )
        return {name: np.asarray(output) for name, output in outputs.items()}

    return Network({"input": tuple(-1 if n is None else int(n) for n in shape)}, run)
