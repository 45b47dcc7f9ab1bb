"""Folders as transformers and sentence-transformers write them: what is in one, from its configuration."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.found import (
    CONFIG_FILES,
    SENTENCE_FILES,
    TOKENIZER_FILES,
    Found,
    chosen_of,
    inside,
    present,
    with_weights,
)
from multimodal_dql.encoders.model_folder import check_folder, read_json, read_modules
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_file import check_onnx
from multimodal_dql.encoders.weights import refuse_pickle
from multimodal_dql.errors import EncoderError

__all__ = ["ONNX_PLACES", "WEIGHTS", "modality_of", "sentence_folder", "transformers_folder", "weights_among"]

ONNX_PLACES = ("model.onnx", "onnx/model.onnx")
WEIGHTS = "model.safetensors"


def sentence_folder(name: str, source: Path) -> Found:
    """A folder with ``modules.json``; its runtime reads the pooling from it."""
    wanted = [*SENTENCE_FILES]
    modules = read_modules(name, source / "modules.json")
    for module in modules:
        folder = str(module.get("path", "")) if isinstance(module, dict) else ""
        wanted += [f"{folder}/config.json", f"{folder}/model.safetensors"] if folder else []
    network, _ = _network(name, source, "text")
    files = {
        **present(name, source, wanted),
        **present(name, source, TOKENIZER_FILES + CONFIG_FILES),
        **network,
    }
    prompts = {}
    if "config_sentence_transformers.json" in files:
        said = read_json(name, files["config_sentence_transformers.json"])
        default = (said.get("prompts") or {}).get(said.get("default_prompt_name") or "")
        prompts = {"prefix": default} if default else {}
    normal = any("Normalize" in str(module) for module in modules)
    return Found(
        "sentence-transformers",
        "text",
        files,
        prompts,
        pooling="none",
        normalisation="l2" if normal else "none",
    )


def transformers_folder(name: str, source: Path, modality: Modality | None) -> Found:
    """A folder with ``config.json``; what it reads, its tokenizer and processor files say."""
    check_folder(name, source)
    modality = modality_of(name, source, modality)
    network, outputs = _network(name, source, modality)
    config = read_json(name, source / "config.json")
    files = {**present(name, source, CONFIG_FILES), **present(name, source, TOKENIZER_FILES), **network}
    preprocessing: dict[str, Any] = dict(outputs)
    assumed: dict[str, Any] = {}
    if modality == "text":
        limit = config.get("max_position_embeddings") or (config.get("text_config") or {}).get(
            "max_position_embeddings"
        )
        preprocessing["max_tokens"] = min(int(limit or 256), 256)
        assumed = {} if limit else {"max_tokens": 256}
    return Found(
        "transformers", modality, files, preprocessing, assumed, citation=str(config.get("_name_or_path", ""))
    )


def modality_of(name: str, source: Path, said: Modality | None) -> Modality:
    """What the tokenizer and processor files in `source` read, or `said`; `EncoderError` where that must be said."""
    tokens = present(name, source, TOKENIZER_FILES)
    processor = (
        read_json(name, source / "preprocessor_config.json")
        if (source / "preprocessor_config.json").is_file()
        else {}
    )
    reads: list[Modality] = (
        ["text"] if any("vocab" in file or file.startswith("tokenizer.") for file in tokens) else []
    )
    if processor:
        sounds = "sampling_rate" in processor or "FeatureExtractor" in str(
            processor.get("feature_extractor_type", "")
        )
        sounds = sounds and "size" not in processor and "crop_size" not in processor
        reads.append("audio" if sounds else "image")
    if "vocab.json" in tokens and reads == ["text", "audio"] and "merges.txt" not in tokens:
        reads = ["audio"]  # speech recognition: the vocabulary is that of its output
    if said is None and len(reads) != 1:
        both = " and ".join(reads) or "nothing that is known here"
        raise EncoderError(
            name=name,
            detail=f"it reads {both}; say which with --modality (and add it once for each, with --name)",
            detail_zh=f"它可读取 {'、'.join(reads) or '未知内容'}；"
            "请用 --modality 指明（各添加一次，并用 --name 区分）",
        )
    return said or reads[0]


def weights_among(name: str, files: Collection[str]) -> str | None:
    """Which of the `files` of a model holds the weights to take; None if none does.

    ONNX if there is one (nothing more is needed then), else safetensors. `EncoderError` for weights in parts.
    """
    for file in (*ONNX_PLACES, WEIGHTS):
        if file in files:
            return file
    shards = [file for file in files if fnmatchcase(file, "model-*-of-*.safetensors")]
    if shards:
        raise EncoderError(
            name=name,
            detail=f"its weights lie in {len(shards)} parts; save the model in one: save_pretrained(..., "
            "max_shard_size='1TB')",
            detail_zh=f"权重分成了 {len(shards)} 份；请保存为一个文件：save_pretrained(..., max_shard_size='1TB')",
        )
    return None


def _network(name: str, source: Path, modality: Modality) -> tuple[dict[str, Path], dict[str, Any]]:
    """The files with the weights, and the output to take."""
    onnx = [place for place in ONNX_PLACES if (source / place).is_file()]
    chosen = weights_among(name, [*onnx, *(path.name for path in source.glob("*.safetensors"))])
    if chosen == WEIGHTS:
        return inside(name, source, [WEIGHTS]), {}
    if chosen is not None:
        files = with_weights(name, source / chosen)
        check_onnx(name, source / chosen, files)
        return files, chosen_of(onnx_session(name, source / chosen), modality)
    for path in sorted(source.glob("*")):
        if path.is_file():
            refuse_pickle(name, path)
    raise EncoderError(
        name=name,
        detail=f"{source} has no model.onnx and no model.safetensors; download one of them",
        detail_zh=f"{source} 中没有 model.onnx 或 model.safetensors；请下载其中之一",
    )
