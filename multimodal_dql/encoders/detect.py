"""What a file or folder of somebody's is: runtime, modality, files and settings, from its layout alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.keras_file import CONVERT_KERAS
from multimodal_dql.encoders.model_folder import check_folder, read_json
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_file import check_onnx, read_onnx
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.runtimes.networks import litert_interpreter
from multimodal_dql.encoders.saved_model import check_saved_model
from multimodal_dql.encoders.weights import refuse_pickle
from multimodal_dql.errors import EncoderError

__all__ = ["Found", "detect"]

_TOKENIZER = (
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
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_TAKEN = (
    "sentence_embedding",
    "text_embeds",
    "image_embeds",
    "audio_embeds",
    "pooler_output",
    "last_hidden_state",
)
"""Outputs by usual names, the best first."""

_MAX_FILES = 200
_SIDE = 224


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


def detect(name: str, source: Path, modality: Modality | None = None) -> Found:
    """What `source` is, as the encoder `name`; `EncoderError` says why it cannot be used.

    Args:
        name: of the encoder to be, for messages.
        source: a file or folder.
        modality: what the user says it reads; None to find out.

    """
    if source.is_file():
        return _of_file(name, source, modality)
    if not source.is_dir():
        raise EncoderError(
            name=name,
            detail=f"there is no file or folder {source}; download the model first (huggingface-cli "
            "download, git clone) "
            "and give its folder",
            detail_zh=f"没有文件或文件夹 {source}；请先下载模型（hf download、git clone），再给出其文件夹",
        )
    if (source / "saved_model.pb").is_file():
        return _saved_model(name, source, modality)
    if (source / "modules.json").is_file():
        return _sentence(name, source)
    if (source / "model.json").is_file():
        files = _inside(name, source, ("model.json", "model.safetensors"))
        return _with_side(Found("keras", modality or "image", files), _SIDE)
    if (source / "config.json").is_file():
        return _transformers(name, source, modality)
    models = sorted(source.glob("*.onnx")) + sorted(source.glob("*.tflite"))
    if len(models) == 1:
        return _of_file(name, models[0], modality)
    raise EncoderError(
        name=name,
        detail=f"{source} is no model that is known here: it has no config.json, modules.json, "
        "saved_model.pb, model.json "
        "or single .onnx or .tflite file",
        detail_zh=f"{source} 不是此处认识的模型：没有 config.json、modules.json、saved_model.pb、model.json，"
        "也没有唯一的 .onnx 或 .tflite 文件",
    )


def _of_file(name: str, source: Path, modality: Modality | None) -> Found:
    refuse_pickle(name, source)
    if source.suffix in (".keras", ".h5", ".hdf5"):
        command = CONVERT_KERAS.format(path=source)
        raise EncoderError(
            name=name,
            detail=f"{source.name} can hold code and is never opened; convert it where you trust it, "
            "then add the folder: "
            f"{command}",
            detail_zh=f"{source.name} 可能含有代码，绝不会打开；请在可信环境中转换后添加文件夹：{command}",
        )
    if source.suffix == ".onnx":
        return _onnx(name, source, modality)
    if source.suffix == ".tflite":
        interpreter = litert_interpreter(name, source.read_bytes())
        shape = tuple(int(n) for n in interpreter.get_input_details()[0]["shape_signature"])
        return _by_shape(Found("litert", "image", {"model.tflite": source.resolve()}), shape, modality)
    raise EncoderError(
        name=name,
        detail=f"{source.name} is no model that is known here; give an .onnx or .tflite file, or a model's folder",
        detail_zh=f"{source.name} 不是此处认识的模型；请给出 .onnx 或 .tflite 文件，或模型文件夹",
    )


def _onnx(name: str, source: Path, modality: Modality | None) -> Found:
    files = _with_weights(name, source)
    check_onnx(name, source, files)
    session = onnx_session(name, source)
    inputs = {
        node.name: tuple(n if isinstance(n, int) else -1 for n in node.shape) for node in session.get_inputs()
    }
    preprocessing = _output_of(session)
    if "input_ids" in inputs:
        tokens = _present(name, source.parent, _TOKENIZER + _CONFIGS)
        if not any(file in tokens for file in ("tokenizer.json", "vocab.txt", "tokenizer.model")):
            raise EncoderError(
                name=name,
                detail=f"{source.name} reads tokens, and there is no tokenizer.json beside it; copy "
                "the model's tokenizer "
                "files there",
                detail_zh=f"{source.name} 的输入是词元，但旁边没有 tokenizer.json；请把模型的分词器文件复制到那里",
            )
        length = inputs["input_ids"][-1]
        found = Found("onnx", "text", {**files, **tokens}, {**preprocessing, "max_tokens": 256})
        if length > 1:  # exported for texts of one length
            return replace(
                found, preprocessing={**preprocessing, "max_tokens": length, "padding": "max_length"}
            )
        return replace(found, assumed={"max_tokens": 256})
    if len(inputs) != 1:
        raise EncoderError(
            name=name,
            detail=f"{source.name} reads {sorted(inputs)}; export the part for one modality alone",
            detail_zh=f"{source.name} 有输入 {sorted(inputs)}；请只导出一种模态的部分",
        )
    return _by_shape(Found("onnx", "image", files, preprocessing), next(iter(inputs.values())), modality)


def _output_of(session: Any) -> dict[str, Any]:
    names = [node.name for node in session.get_outputs()]
    if len(names) == 1:
        return {}
    return {"output": next((name for name in _TAKEN if name in names), names[0])}


def _by_shape(found: Found, shape: tuple[int, ...], modality: Modality | None) -> Found:
    """Pictures have four axes, three of one being colours; sounds have fewer."""
    modality = modality or ("image" if len(shape) == 4 else "audio")
    if modality != "image":
        return replace(found, modality=modality)
    first = shape[1:2] == (3,) and shape[3:] != (3,)
    side = next((n for n in shape[1:] if n not in (-1, 1, 3)), _SIDE)
    found = replace(found, modality="image", preprocessing={**found.preprocessing})
    if first:
        found.preprocessing["layout"] = "channels-first"
    return _with_side(found, side)


def _with_side(found: Found, side: int) -> Found:
    if found.modality != "image":
        return found
    assumed = {"mean": 0.0, "scale": 255.0}
    return replace(found, preprocessing={**found.preprocessing, "side": side, **assumed}, assumed=assumed)


def _saved_model(name: str, source: Path, modality: Modality | None) -> Found:
    check_saved_model(name, source / "saved_model.pb")
    listed = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name != "fingerprint.pb"]
    files = _inside(name, source, [path.relative_to(source).as_posix() for path in listed])
    try:
        with silenced():  # TensorFlow greets on import, and again when it first computes
            import tensorflow as tf

            loaded = tf.saved_model.load(str(source))
    except Exception as error:  # TensorFlow's own errors among them
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            name=name,
            detail=f"the SavedModel cannot be loaded: {said}",
            detail_zh=f"SavedModel 无法加载：{said}",
        ) from error
    found = Found("hub", modality or "text", files)
    functions = getattr(loaded.__call__, "concrete_functions", []) if callable(loaded) else []
    if functions:
        spec = _first_spec(tf, functions[0].structured_input_signature)
    else:
        if not loaded.signatures:
            raise EncoderError(
                name=name,
                detail="the SavedModel has nothing to call; save it with a __call__ or a signature",
                detail_zh="该 SavedModel 没有可调用的函数；保存时请带上 __call__ 或签名",
            )
        signature = "serving_default" if "serving_default" in loaded.signatures else min(loaded.signatures)
        spec = _first_spec(tf, loaded.signatures[signature].structured_input_signature)
        outputs = sorted(loaded.signatures[signature].structured_outputs)
        chosen = {"output": outputs[0]} if len(outputs) > 1 else {}
        found = replace(found, signature=signature, preprocessing=chosen, assumed=chosen)
    if spec is None or spec.dtype == tf.string:
        return replace(found, modality=modality or "text")
    rank = spec.shape.rank
    modality = modality or ("image" if rank == 4 else "audio")
    if modality == "image":
        sides = [n for n in spec.shape.as_list()[1:3] if n]
        return _with_side(replace(found, modality="image"), int(sides[0]) if sides else _SIDE)
    batched = {"batched": True} if rank == 2 else {}
    return replace(found, modality=modality, preprocessing={**found.preprocessing, **batched})


def _first_spec(tf: Any, signature: Any) -> Any:
    specs = [spec for spec in tf.nest.flatten(signature) if isinstance(spec, tf.TensorSpec)]
    return specs[0] if specs else None


def _sentence(name: str, source: Path) -> Found:
    wanted = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]
    for module in read_json(name, source / "modules.json"):
        folder = str(module.get("path", "")) if isinstance(module, dict) else ""
        wanted += [f"{folder}/config.json", f"{folder}/model.safetensors"] if folder else []
    network, _ = _network(name, source)
    files = {**_present(name, source, wanted), **_present(name, source, _TOKENIZER + _CONFIGS), **network}
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


def _transformers(name: str, source: Path, modality: Modality | None) -> Found:
    check_folder(name, source)
    tokens = _present(name, source, _TOKENIZER)
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
    files = {**_present(name, source, _CONFIGS), **tokens, **network}
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
            files = _with_weights(name, path)
            check_onnx(name, path, files)
            return files, _output_of(onnx_session(name, path))
    shards = sorted(path.name for path in source.glob("model-*-of-*.safetensors"))
    if (source / "model.safetensors").is_file():
        return _inside(name, source, ["model.safetensors"]), {}
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


def _with_weights(name: str, model: Path) -> dict[str, Path]:
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


def _present(name: str, folder: Path, wanted: Any) -> dict[str, Path]:
    return _inside(name, folder, [file for file in wanted if (folder / file).is_file()])


def _inside(name: str, folder: Path, wanted: Any) -> dict[str, Path]:
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
    if root.parent.name == "snapshots" and root.parents[1].name.startswith("models--"):
        root = root.parents[1]
    if not found.is_relative_to(root):
        raise EncoderError(
            name=name,
            detail=f"{path} is a link that leads out of its folder; put the file itself there",
            detail_zh=f"{path} 是指向文件夹之外的链接；请放入文件本身",
        )
    return found
