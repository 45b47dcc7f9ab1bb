"""ONNX Runtime, set up so that the same input gives the same numbers at a predictable speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multimodal_dql.errors import EncoderError

__all__ = ["onnx_session"]


def onnx_session(name: str, model: Path) -> Any:
    """A session on one CPU thread for the file `model` of encoder `name`; `EncoderError` if refused."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions as well
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        detail = str(error).splitlines()[0]
        raise EncoderError(
            name=name,
            detail=f"ONNX Runtime refuses the model: {detail}",
            detail_zh=f"ONNX Runtime 拒绝该模型：{detail}",
        ) from error
