"""What a model of somebody's turned out to be, and which of its files are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.onnx_file import read_onnx
from multimodal_dql.errors import EncoderError

__all__ = [
    "CONFIG_FILES",
    "SENTENCE_FILES",
    "TOKENIZER_FILES",
    "Found",
    "chosen_of",
    "inside",
    "present",
    "with_weights",
]

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
CONFIG_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")
SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")
_TAKEN: dict[Modality, tuple[str, ...]] = {
    "text": ("sentence_embedding", "text_embeds", "pooler_output", "last_hidden_state"),
    "image": ("image_embeds", "pooler_output", "last_hidden_state"),
    "audio": ("audio_embeds", "pooler_output", "last_hidden_state"),
}
"""Outputs by usual names, the best first; a file with two towers has those of both."""

_MAX_FILES = 200


@dataclass(frozen=True)
class Found:
    """What a source turned out to be; `assumed` is what its files did not say, `pooling` None is to be tried."""

    runtime: str
    modality: Modality
    files: dict[str, Path]
    preprocessing: dict[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    pooling: str | None = None
    normalisation: Literal["l2", "none"] = "none"
    signature: str = ""
    citation: str = ""
    languages: tuple[str, ...] = ()


def chosen_of(session: Any, modality: Modality) -> dict[str, Any]:
    """The setting that names the output of an ONNX `session` for `modality`; empty where there is one output."""
    names = [node.name for node in session.get_outputs()]
    if len(names) == 1:
        return {}
    return {"output": next((name for name in _TAKEN[modality] if name in names), names[0])}


def with_weights(name: str, model: Path) -> dict[str, Path]:
    """The model and the files beside it that hold its weights."""
    try:
        outside = sorted(read_onnx(model).locations)
    except (ValueError, OSError, RecursionError):
        outside = []  # whoever opens the model says so
    files = {"model.onnx": _own(name, model.parent, model)}
    for location in outside:
        path = model.parent / location
        if ".." in Path(location).parts or Path(location).is_absolute() or not path.is_file():
            continue  # check_onnx names it
        files[location] = _own(name, model.parent, path)
    return files


def present(name: str, folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Those of the `wanted` files that are in `folder`."""
    return inside(name, folder, [file for file in wanted if (folder / file).is_file()])


def inside(name: str, folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """The `wanted` files of `folder`; `EncoderError` if one is missing or a link that leads out."""
    if len(wanted) > _MAX_FILES:
        raise EncoderError(
            name=name,
            detail=f"{folder} holds {len(wanted)} files; give the model's own folder",
            detail_zh=f"{folder} 中有 {len(wanted)} 个文件；请给出模型自己的文件夹",
        )
    for file in wanted:
        if not (folder / file).is_file():
            raise EncoderError(
                name=name,
                detail=f"{folder} lacks {file}; export it, too",
                detail_zh=f"{folder} 缺少 {file}；请一并导出",
            )
    return {file: _own(name, folder, folder / file) for file in wanted}


def _own(name: str, folder: Path, path: Path) -> Path:
    """`path` with links followed, as long as they stay in the folder (or in the hub cache the folder is part of)."""
    root, found = folder.resolve(), path.resolve()
    for above in (root, *root.parents[:-2]):
        if above.parent.name == "snapshots" and above.parents[1].name.startswith("models--"):
            root = above.parents[1]
    if not found.is_relative_to(root):
        raise EncoderError(
            name=name,
            detail=f"{path} is a link that leads out of its folder; put the file itself there",
            detail_zh=f"{path} 是指向文件夹之外的链接；请放入文件本身",
        )
    return found
