"""Folders as transformers and sentence-transformers write them: what is in one, from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.found import (
    CONFIG_FILES,
    TOKENIZER_FILES,
    Found,
    chosen_of,
    inside,
    present,
    with_weights,
)
from multimodal_dql.encoders.model_folder import check_folder, read_json
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_file import check_onnx
from multimodal_dql.encoders.weights import refuse_pickle
from multimodal_dql.errors import EncoderError

__all__ = ["sentence_folder", "transformers_folder"]


def sentence_folder(name: str, source: Path) -> Found:
    """A folder with ``modules.json``; its runtime reads the pooling from it."""
    wanted = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]
    for module in read_json(name, source / "modules.json"):
        folder = str(module.get("path", "")) if isinstance(module, dict) else ""
        wanted += [f"{folder}/config.json", f"{folder}/model.safetensors"] if folder else []
    network, _ = _network(name, source)
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
    normal = any("Normalize" in str(module) for module in read_json(name, source / "modules.json"))
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
    if modality is None and len(reads) != 1:
        both = " and ".join(reads) or "nothing that is known here"
        raise EncoderError(
            name=name,
            detail=f"{source} reads {both}; say which with --modality (and add it once for each, with --name)",
            detail_zh=f"{source} 可读取 {'、'.join(reads) or '未知内容'}；请用 --modality 指明（"
            "各添加一次，并用 --name 区分）",
        )
    modality = modality or reads[0]
    network, outputs = _network(name, source)
    config = read_json(name, source / "config.json")
    files = {**present(name, source, CONFIG_FILES), **tokens, **network}
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


def _network(name: str, source: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """ONNX if there is one (nothing more is needed then), else safetensors; and the output to take."""
    for path in (source / "model.onnx", source / "onnx/model.onnx"):
        if path.is_file():
            files = with_weights(name, path)
            check_onnx(name, path, files)
            return files, chosen_of(onnx_session(name, path))
    shards = sorted(path.name for path in source.glob("model-*-of-*.safetensors"))
    if (source / "model.safetensors").is_file():
        return inside(name, source, ["model.safetensors"]), {}
    if shards:
        raise EncoderError(
            name=name,
            detail=f"its weights lie in {len(shards)} parts; save the model in one: save_pretrained(..., "
            "max_shard_size='1TB')",
            detail_zh=f"权重分成了 {len(shards)} 份；请保存为一个文件：save_pretrained(..., max_shard_size='1TB')",
        )
    for path in sorted(source.glob("*")):
        if path.is_file():
            refuse_pickle(name, path)
    raise EncoderError(
        name=name,
        detail=f"{source} has no model.onnx and no model.safetensors; download one of them",
        detail_zh=f"{source} 中没有 model.onnx 或 model.safetensors；请下载其中之一",
    )
