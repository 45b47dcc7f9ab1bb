"""A Keras model from JSON and safetensors: data, of which no part is run as code.

``model.json`` holds the architecture as `Model.to_json` writes it, ``model.safetensors`` each variable under its
path. Keras's own safe mode is no security boundary, so the JSON is looked through first: every class must be a
layer of Keras's own that only computes. ``preprocessing.application`` names one of Keras Applications instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.encoders.runtimes.card_encoder import need_files
from multimodal_dql.encoders.weights import read_weights
from multimodal_dql.errors import EncoderError, UnknownNameError

__all__ = ["CONVERT_KERAS", "rebuilt"]

CONVERT_KERAS = (
    "python -c \"import keras; from safetensors.numpy import save_file; m = keras.saving.load_model('{path}', "
    "safe_mode=True); open('model.json', 'w').write(m.to_json()); save_file({{v.path: v.numpy() for v in m.weights}}, "
    "'model.safetensors')\""
)
"""What turns a ``.keras`` or ``.h5`` file of one's own into the two files read here."""

_REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Layer", "Wrapper"}
"""Layers that hold or load code."""

_PREPROCESSING = {"Rescaling", "Normalization", "Resizing", "CenterCrop"}
"""Preprocessing layers that open no vocabulary file and draw no random numbers."""

_PLAIN = {
    "__keras_tensor__",
    "__tuple__",
    "__numpy__",
    "__ellipsis__",
    "DTypePolicy",
    "Functional",
    "Sequential",
    "Model",
}
_MAX_JSON_BYTES = 16 << 20


def rebuilt(card: Card, files: dict[str, Path]) -> Any:
    """The model of `card`, filled; `EncoderError` for one that is not plain, or whose weights do not fit."""
    (weights,) = need_files(card, files, "model.safetensors")
    values = read_weights(card.name, weights)
    application = card.preprocessing.get("application")
    with silenced():  # TensorFlow greets on import
        import keras

        if application is not None:
            model = _application(card, str(application), keras)
        else:
            (described,) = need_files(card, files, "model.json")
            model = _from_json(card, described, sum(value.size for value in values.values()), keras)
    model.trainable = False
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    found = {name: value.shape for name, value in values.items()}
    if expected != found:
        wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))[0]
        raise _refused(
            card,
            f"its weights do not fit the network: {wrong} is {found.get(wrong)}, wanted {expected.get(wrong)}; export "
            "both files from one model",
            f"权重与网络不符：{wrong} 为 {found.get(wrong)}，应为 {expected.get(wrong)}；请从同一模型导出两个文件",
        )
    for variable in model.weights:
        variable.assign(values[variable.path])
    return model


def _application(card: Card, name: str, keras: Any) -> Any:
    known = [n for n, made in vars(keras.applications).items() if callable(made) and n[0].isupper()]
    if name not in known:
        raise UnknownNameError(kind="Keras application", kind_zh="Keras 应用模型", name=name, known=known)
    side = int(card.number("side"))
    keras.backend.clear_session()  # variables are found by their paths, which number layers per process
    options: dict[str, Any] = {"weights": None, "include_top": False, "pooling": "avg"}
    return getattr(keras.applications, name)(input_shape=(side, side, 3), **options)


def _from_json(card: Card, path: Path, count: int, keras: Any) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise Reason(f"more than {_MAX_JSON_BYTES} bytes", f"超过 {_MAX_JSON_BYTES} 字节")
        described = json.loads(path.read_text("utf-8"))
        for part in _parts(described):
            _check_part(card, part, max(count, 1 << 20), keras)
    except (ValueError, OSError, RecursionError) as error:
        reason, reason_zh = both(error)
        raise _refused(
            card, f"model.json cannot be read: {reason}", f"无法读取 model.json：{reason_zh}"
        ) from error
    try:
        return keras.models.model_from_json(json.dumps(described))
    except Exception as error:  # whatever Keras says of a wrong configuration
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _refused(card, f"Keras refuses model.json: {said}", f"Keras 拒绝 model.json：{said}") from error


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in `value`."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner)


def _check_part(card: Card, part: dict[str, Any], count: int, keras: Any) -> None:
    for key, value in part.items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, int) and not isinstance(n, bool) and abs(n) > count for n in numbers):
            raise Reason(f"{key} is {value}, more than there are weights", f"{key} 为 {value}，超过权重总数")
    name = part.get("class_name")
    if name is None:
        return
    module = str(part.get("module") or "keras")
    if name == "function":
        plain = module == "builtins" and hasattr(keras.activations, str(part.get("config")))
    elif name in _PLAIN:
        plain = module == "keras" or module.startswith("keras.")
    else:
        plain = _computes(str(name), module, keras)
    if not plain:
        raise _refused(
            card,
            f"model.json holds {module}.{name}, which is or may run code; rebuild the model from Keras's plain layers",
            f"model.json 含有 {module}.{name}，它是或可能执行代码；请只用 Keras 的普通层重建模型",
        )


def _computes(name: str, module: str, keras: Any) -> bool:
    """Whether a class is Keras's own and does nothing but compute."""
    if name in _REFUSED or not (module == "keras" or module.startswith("keras.")):
        return False
    for home in (keras.initializers, keras.regularizers, keras.constraints):
        if isinstance(getattr(home, name, None), type):
            return True
    if module.startswith(("keras.src.ops.numpy", "keras.src.ops.nn")):
        return name.isidentifier()
    layer = getattr(keras.layers, name, None)
    if not isinstance(layer, type):
        return False
    return name in _PREPROCESSING or ".preprocessing." not in layer.__module__


def _refused(card: Card, detail: str, detail_zh: str) -> EncoderError:
    return EncoderError(name=card.name, detail=detail, detail_zh=detail_zh)
