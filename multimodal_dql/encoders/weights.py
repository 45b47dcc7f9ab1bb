"""Weights in safetensors: looked at before anything is allocated, and finite."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.errors import EncoderError

__all__ = ["CONVERT_TORCH", "PICKLES", "check_weights", "need_torch", "read_weights", "refuse_pickle"]

_MAX_HEADER_BYTES = 100 << 20
"""The format's own limit."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".msgpack")
"""Formats that are or may hold pickles."""

CONVERT_TORCH = (
    'python -c "import torch; from safetensors.torch import save_file; save_file({{k: v.clone() for k, v in '
    "torch.load('{path}', map_location='cpu', weights_only=True).items()}}, '{out}')\""
)
"""What turns a file of PyTorch tensors into safetensors; ``weights_only`` runs no code in the file."""


def refuse_pickle(name: str, path: Path) -> None:
    """Raises `EncoderError`, with the command that converts it, for weights kept in a pickle."""
    with path.open("rb") as file:
        begins = file.read(2)
    if path.suffix.lower() not in PICKLES and begins not in (b"\x80\x02", b"\x80\x04"):
        return
    command = CONVERT_TORCH.format(path=path, out=path.with_name("model.safetensors"))
    raise EncoderError(
        name=name,
        detail=f"{path.name} is a pickle, which can run code, and is never opened; convert it: {command}",
        detail_zh=f"{path.name} 是 pickle，可能执行代码，绝不会打开；请先转换：{command}",
    )


def need_torch(name: str) -> None:
    """Raises `EncoderError` where PyTorch, which runs a transformer from its safetensors, is not installed."""
    if find_spec("torch") is None:
        raise EncoderError(
            name=name,
            detail="it runs on PyTorch, which is not installed; pip install 'multimodal-dql[torch]', or add an ONNX "
            "export of the model",
            detail_zh="它需要 PyTorch，但未安装；请运行 pip install 'multimodal-dql[torch]'，或添加该模型的 ONNX 导出",
        )


def check_weights(name: str, path: Path) -> dict[str, int]:
    """Tensor name -> numbers in it; `EncoderError` if the header of `path` promises what the file does not hold."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise Reason(
                    f"a header of {length} bytes in a file of {size}",
                    f"文件 {size} 字节，头部却有 {length} 字节",
                )
            header = json.loads(file.read(length))
        counts: dict[str, int] = {}
        for tensor, facts in header.items():
            if tensor == "__metadata__":
                continue
            begin, end = facts["data_offsets"]
            count = 1
            for n in facts["shape"]:  # not np.prod: it wraps around
                count *= n
            if not 0 <= begin <= end <= size - 8 - length or count > 2 * (end - begin):
                raise Reason(
                    f"the tensor {tensor} declares {count} numbers and holds {end - begin} bytes",
                    f"张量 {tensor} 声明 {count} 个数，实有 {end - begin} 字节",
                )
            counts[tensor] = count
        return counts
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason, reason_zh = both(error)
        raise EncoderError(
            name=name,
            detail=f"{path.name} is no safetensors file: {reason}; export it again",
            detail_zh=f"{path.name} 不是 safetensors 文件：{reason_zh}；请重新导出",
        ) from error


def read_weights(name: str, path: Path) -> dict[str, NDArray[Any]]:
    """Tensor name -> array of the file at `path`; `EncoderError` for a broken file, NaN or infinity."""
    check_weights(name, path)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        values: dict[str, NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason, reason_zh = both(error)
        raise EncoderError(
            name=name,
            detail=f"{path.name} is no safetensors file: {reason}; export it again",
            detail_zh=f"{path.name} 不是 safetensors 文件：{reason_zh}；请重新导出",
        ) from error
    for tensor, value in values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise EncoderError(
                name=name,
                detail=f"{path.name} holds NaN or infinity in {tensor}; export the model again",
                detail_zh=f"{path.name} 的 {tensor} 中有 NaN 或无穷大；请重新导出模型",
            )
    return values
