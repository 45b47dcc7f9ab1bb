"""The files of a model as Hugging Face lays them out, looked through before any library opens them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.encoders.weights import refuse_pickle
from multimodal_dql.errors import EncoderError

__all__ = ["check_folder", "read_json", "read_modules"]

_MAX_JSON_BYTES = 64 << 20
"""The largest vocabulary in a ``tokenizer.json`` has 20 MB."""

_CONFIGS = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
)
_SAFE = ("model.safetensors", "model.onnx", "onnx/model.onnx")


def read_json(name: str, path: Path) -> Any:
    """The JSON at `path`; `EncoderError` for none, for too much of it, and for a pit of brackets."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise Reason(f"more than {_MAX_JSON_BYTES} bytes", f"超过 {_MAX_JSON_BYTES} 字节")
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason, reason_zh = both(error)
        raise EncoderError(
            name=name,
            detail=f"{path.name} cannot be read: {reason}; download it again",
            detail_zh=f"无法读取 {path.name}：{reason_zh}；请重新下载",
        ) from error


def read_modules(name: str, path: Path) -> list[Any]:
    """What the ``modules.json`` of sentence-transformers at `path` lists."""
    listed = read_json(name, path)
    if not isinstance(listed, list):
        raise EncoderError(
            name=name,
            detail=f"{path.name} lists no modules; download it again",
            detail_zh=f"{path.name} 没有列出模块；请重新下载",
        )
    return listed


def check_folder(name: str, folder: Path) -> None:
    """Raises `EncoderError` for a folder of `transformers` that wants code of its own to be run."""
    for file in _CONFIGS:
        path = folder / file
        if not path.is_file():
            continue
        config = read_json(name, path)
        if not isinstance(config, dict):
            raise EncoderError(
                name=name,
                detail=f"{file} holds no settings; download it again",
                detail_zh=f"{file} 没有设置；请重新下载",
            )
        if _holds(config, "auto_map") or _holds(config, "custom_pipelines"):
            raise EncoderError(
                name=name,
                detail=f"{file} asks for code of its own (auto_map), which is never run; export the "
                "model to ONNX where "
                "you trust it, and add the ONNX file",
                detail_zh=f"{file} 要求运行自带代码（auto_map），本程序绝不运行；请在可信环境中导出为 "
                "ONNX，再添加该文件",
            )
    if any((folder / file).is_file() for file in _SAFE):
        return  # pickles beside these, as publishers leave them, are never opened
    for path in sorted(folder.glob("pytorch_model*.bin")):
        refuse_pickle(name, path)


def _holds(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_holds(inner, key) for inner in value.values())
    return isinstance(value, list) and any(_holds(inner, key) for inner in value)
