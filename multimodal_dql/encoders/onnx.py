"""ONNX Runtime, set up so that the same input gives the same numbers at a predictable speed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from multimodal_dql.errors import EncoderError

__all__ = ["onnx_session"]

_NOT_FASTER = ["SkipLayerNormFusion"]
"""Rewritings that are left out: the fused sum and normalisation takes four times as long as the two apart."""


def onnx_session(name: str, model: Path | bytes, constants: Mapping[str, NDArray[Any]] | None = None) -> Any:
    """A session on one CPU thread for the file or the bytes `model` of encoder `name`.

    `constants` replace the constants of these names in the model, and must have their type; a name the model
    does not have is ignored.

    Raises:
        EncoderError: ONNX Runtime refuses the model.

    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions as well
    values = {
        key: onnxruntime.OrtValue.ortvalue_from_numpy(value) for key, value in (constants or {}).items()
    }
    try:
        for key, value in values.items():
            options.add_initializer(key, value)
        source = model if isinstance(model, bytes) else str(model)
        session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], disabled_optimizers=_NOT_FASTER
        )
    except Exception as error:  # its exceptions share no base class
        detail = str(error).splitlines()[0]
        raise EncoderError(
            name=name,
            detail=f"ONNX Runtime refuses the model: {detail}",
            detail_zh=f"ONNX Runtime 拒绝该模型：{detail}",
        ) from error
    session.multimodal_dql_constants = values  # the session reads their memory and does not own it
    return session
