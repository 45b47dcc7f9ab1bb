"""Hostile and broken pickles, safetensors, Keras models: each refused in one clear line, and nothing written."""

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from tests.encoders import tiny
from tests.encoders.hostile import Cases, assert_refused, use

CASES = Cases()


class _Writes:
    """Unpickled, it writes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (os.system, (f"touch {self.canary}",))


@CASES.add("is a pickle")
def a_pickle_as_the_only_weights(box):
    folder = tiny.write_tokenizer(box.root / "files")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Writes(box.canary)))
    add_source(folder, name="evil", licence="MIT")


@CASES.add("is a pickle")
def a_pickle_under_another_name(box):
    add_source(box.file("m.onnx", pickle.dumps(_Writes(box.canary))), name="evil", licence="MIT")


@CASES.add("is no safetensors file")
def weights_with_a_header_of_terabytes(box):
    content = struct.pack("<Q", 1 << 42) + b"{}"
    files = {"model.safetensors": box.file("w", content), "model.json": box.file("j", b"{}")}
    use(box.card(files, runtime="keras"))


@CASES.add("is no safetensors file")
def weights_that_declare_more_than_they_hold(box):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode()
    content = struct.pack("<Q", len(header)) + header + b"\0" * 4
    files = {"model.safetensors": box.file("w", content), "model.json": box.file("j", b"{}")}
    use(box.card(files, runtime="keras"))


def _keras(box, edit, weights=None):
    from safetensors.numpy import save_file

    folder = tiny.keras_folder(box.root / "files")
    described = json.loads((folder / "model.json").read_text())
    edit(described["config"]["layers"])
    (folder / "model.json").write_text(json.dumps(described))
    if weights is not None:
        save_file(weights, folder / "model.safetensors")
    use(box.card({n: folder / n for n in ("model.json", "model.safetensors")}, runtime="keras"))


@CASES.add("Lambda, which is or may run code", slow=True)
def a_keras_lambda_layer(box):
    import keras

    canary = str(box.canary)
    lambda_ = keras.layers.Lambda(lambda x: (__import__("os").mknod(canary), x)[1], name="evil")
    layer = keras.saving.serialize_keras_object(lambda_)

    def edit(layers):
        layers[1].update({key: layer[key] for key in ("module", "class_name", "config", "registered_name")})

    _keras(box, edit)


@CASES.add("which is or may run code", slow=True)
def a_keras_class_of_a_stranger(box):
    def edit(layers):
        layers[1].update(
            {"module": "os", "class_name": "system", "config": {"command": f"touch {box.canary}"}}
        )

    _keras(box, edit)


@CASES.add("TFSMLayer, which is or may run code", slow=True)
def a_keras_layer_that_loads_a_program(box):
    def edit(layers):
        config = {"filepath": str(box.root), "call_endpoint": "serve"}
        layers[1].update({"module": "keras.layers", "class_name": "TFSMLayer", "config": config})

    _keras(box, edit)


@CASES.add("more than there are weights", slow=True)
def a_keras_layer_of_terabytes(box):
    def edit(layers):
        layers[-1]["config"]["units"] = 10**12

    _keras(box, edit)


@CASES.add("holds NaN or infinity", slow=True)
def keras_weights_that_are_no_numbers(box):
    _keras(box, lambda layers: None, {"a": np.full(3, np.nan, np.float32)})


@CASES.add("can hold code and is never opened")
def a_keras_file(box):
    add_source(box.file("m.h5", b"\x89HDF\r\n\x1a\n"), name="evil", licence="MIT")


@pytest.mark.parametrize(("attack", "words", "library"), CASES)
def test_it_is_refused_in_one_line_and_writes_nothing(attack, words, library, tmp_path, monkeypatch):
    assert_refused(attack, words, tmp_path, monkeypatch, library=library)
