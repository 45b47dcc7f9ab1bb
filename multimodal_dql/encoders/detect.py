"""What a file or folder of somebody's is: runtime, modality, files and settings, from its layout alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.detect_folder import sentence_folder, transformers_folder
from multimodal_dql.encoders.found import (
    CONFIG_FILES,
    TOKENIZER_FILES,
    Found,
    chosen_of,
    inside,
    present,
    with_weights,
)
from multimodal_dql.encoders.keras_file import CONVERT_KERAS
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_file import check_onnx
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.runtimes.networks import TEXT_INPUTS, litert_interpreter
from multimodal_dql.encoders.saved_model import check_saved_model
from multimodal_dql.encoders.weights import refuse_pickle
from multimodal_dql.errors import EncoderError

__all__ = ["Found", "detect"]

_SIDE = 224


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
            detail=f"there is no file or folder {source}; give a model's folder or file, or its owner/name on Hugging "
            "Face",
            detail_zh=f"没有文件或文件夹 {source}；请给出模型的文件夹或文件，或它在 Hugging Face 上的 owner/name",
        )
    if (source / "saved_model.pb").is_file():
        return _saved_model(name, source, modality)
    if (source / "modules.json").is_file():
        return sentence_folder(name, source)
    if (source / "model.json").is_file():
        files = inside(name, source, ("model.json", "model.safetensors"))
        return _with_side(Found("keras", modality or "image", files), _SIDE)
    if (source / "config.json").is_file():
        return transformers_folder(name, source, modality)
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
    files = with_weights(name, source)
    check_onnx(name, source, files)
    session = onnx_session(name, source)
    inputs = {
        node.name: tuple(n if isinstance(n, int) else -1 for n in node.shape) for node in session.get_inputs()
    }
    rest = sorted(set(inputs) - TEXT_INPUTS)
    if "input_ids" in inputs and modality is None and rest:
        raise EncoderError(
            name=name,
            detail=f"{source.name} reads texts and {', '.join(rest)}; say which with --modality (and add it once for "
            "each, with --name)",
            detail_zh=f"{source.name} 读取文本和 {'、'.join(rest)}；"
            "请用 --modality 指明（各添加一次，并用 --name 区分）",
        )
    if "input_ids" in inputs and modality in (None, "text"):
        preprocessing = chosen_of(session, "text")
        tokens = present(name, source.parent, TOKENIZER_FILES + CONFIG_FILES)
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
    if len(rest) != 1:
        raise EncoderError(
            name=name,
            detail=f"{source.name} reads {sorted(inputs)}; export the part for one modality alone",
            detail_zh=f"{source.name} 有输入 {sorted(inputs)}；请只导出一种模态的部分",
        )
    found = _by_shape(Found("onnx", "image", files), inputs[rest[0]], modality)
    return replace(found, preprocessing={**chosen_of(session, found.modality), **found.preprocessing})


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
    inner = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    hidden = {path for path in inner if any(part.startswith(".") for part in path.parts)}  # of git, of a hub
    files = inside(
        name, source, [p.as_posix() for p in inner if p not in hidden and p.name != "fingerprint.pb"]
    )
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
