"""Hostile and broken cards and files: each refused in one clear line, in two languages, and nothing written.

Each case makes what somebody could be sent, then does what a user would do with it. Wherever the attack would write,
it would write the canary.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from multimodal_dql.encoders.checks import example_samples
from multimodal_dql.encoders.inputs import checked_encode
from multimodal_dql.encoders.registry import encoder_card, load_encoder, use_cards
from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.errors import InputError
from tests.encoders import tiny
from tests.encoders.test_sources import make_wheel

HEAD = 'name = "evil"\nsummary = "x"\ncitation = "none"\n'


@dataclass
class Box:
    """Where a case plays: folders of its own, and the file that must never appear."""

    root: Path

    @property
    def canary(self) -> Path:
        return self.root / "canary"

    def card(
        self, files=(), *, runtime="onnx", modality="image", dim=5, licence="MIT", extra="", settings=""
    ):
        """A card ``evil`` in a folder of cards, and that folder."""
        lines = [HEAD + f'modality = "{modality}"\nruntime = "{runtime}"\ndim = {dim}\n{extra}']
        lines += [f'licence = "{licence}"'] if licence else []
        lines += ["[preprocessing]\nside = 8\nmax_tokens = 8\n" + settings]
        for name, path in dict(files).items():
            lines.append(
                f'[[files]]\nname = "{name}"\nsha256 = "{sha256_of(path)}"\nbytes = {path.stat().st_size}'
            )
            lines.append(f'sources = [{{ kind = "folder", path = "{path}" }}]')
        return self.raw("\n".join(lines).encode())

    def raw(self, content: bytes) -> Path:
        path = self.root / "cards/evil/card.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.root / "cards"

    def file(self, name: str, content: bytes) -> Path:
        path = self.root / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def use(folder: Path) -> None:
    """What a user does with a folder of cards: names it, loads the encoder, encodes."""
    use_cards(folder)
    card = encoder_card("evil")
    assert card is not None
    checked_encode(load_encoder("evil"), example_samples(card.modality)[:2])


CASES: list[object] = []


def case(words: str, *, slow: bool = False) -> Callable[[Callable[[Box], None]], Callable[[Box], None]]:
    def keep(attack: Callable[[Box], None]) -> Callable[[Box], None]:
        marks = [pytest.mark.slow] if slow else []
        CASES.append(pytest.param(attack, words, id=attack.__name__, marks=marks))
        return attack

    return keep


class _Writes:
    """Unpickled, it writes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (os.system, (f"touch {self.canary}",))


# --- Cards ---------------------------------------------------------------------------------------------------------


@case("is not the one on its card")
def wrong_hash(box):
    model = box.file("m.onnx", tiny.image_onnx())
    folder = box.card({"model.onnx": model})
    model.write_bytes(tiny.image_onnx(kernel=tiny.KERNEL * 2))
    use(folder)


@case("stays inside its folder")
def a_file_name_that_climbs(box):
    use(box.card({"../../canary": box.file("m", b"x")}))


@case("stays inside its folder")
def an_absolute_file_name(box):
    use(box.card({str(box.canary): box.file("m", b"x")}))


@case("a path without '..'")
def a_source_that_climbs(box):
    text = box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}) / "evil/card.toml"
    text.write_text(text.read_text().replace(str(box.root / "files"), "../../files"))
    use(box.root / "cards")


@case("leads out of the card's folder")
def a_link_out_of_the_folder(box):
    model = box.file("m.onnx", tiny.image_onnx())
    path = box.card({"model.onnx": model}) / "evil/card.toml"
    path.write_text(path.read_text().replace(str(model), "inside.onnx"))
    (path.parent / "inside.onnx").symlink_to(model)
    use(box.root / "cards")


@case("licence")
def no_licence(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}, licence=""))


@case("dim")
def a_huge_dimension(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}, dim=10**12))


@case("gives (5,) numbers an item, the card says 7")
def a_dimension_that_is_not_the_measured_one(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}, dim=7))


@case("no runtime called 'pytorch'")
def an_unknown_runtime(box):
    use(box.card({"model.pt": box.file("m.pt", b"x")}, runtime="pytorch"))


@case("reads text, not image")
def another_modality(box):
    use(box.card({"modules.json": box.file("modules.json", b"[]")}, runtime="sentence-transformers"))


@case("has the name of another encoder")
def the_name_of_a_built_in(box):
    folder = box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())})
    path = folder / "evil/card.toml"
    path.write_text(path.read_text().replace('name = "evil"', 'name = "minilm"'))
    (folder / "evil").rename(folder / "minilm")
    use(folder)


@case("cannot be read")
def a_card_in_another_encoding(box):
    use(box.raw("summary = '标题'".encode("gb18030")))


@case("nested too deeply")
def a_card_of_brackets(box):
    use(box.raw(b"x = " + b"[" * 20_000 + b"]" * 20_000))


@case("at most 262144 bytes")
def a_card_without_end(box):
    use(box.raw(b"x = [" + b"1," * 1_000_000 + b"]"))


@case("requirement")
def an_option_of_the_installer(box):
    folder = box.card()
    path = folder / "evil/card.toml"
    source = '{ kind = "wheel", requirement = "--index-url=http://evil a==1", path = "m" }'
    path.write_text(
        path.read_text() + f'[[files]]\nname = "m"\nsha256 = "{"0" * 64}"\nbytes = 1\nsources = [{source}]\n'
    )
    use(folder)


@case("handle")
def a_hub_address_without_encryption(box):
    folder = box.card(runtime="hub")
    path = folder / "evil/card.toml"
    source = '{ kind = "hub", handle = "http://evil.example/m/1", path = "saved_model.pb" }'
    path.write_text(
        path.read_text()
        + f'[[files]]\nname = "saved_model.pb"\nsha256 = "first-fetch"\nsources = [{source}]\n'
    )
    use(folder)


@case("preprocessing.side is 1000000")
def a_picture_of_a_million_pixels_a_side(box):
    folder = box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())})
    path = folder / "evil/card.toml"
    path.write_text(path.read_text().replace("side = 8", "side = 1000000"))
    use(folder)


# --- Wheels --------------------------------------------------------------------------------------------------------


def _wheel_card(box, member, content):
    import hashlib

    folder = box.card()
    path = folder / "evil/card.toml"
    source = f'{{ kind = "wheel", requirement = "toy-weights==1.0", path = "{member}" }}'
    digest = hashlib.sha256(content).hexdigest()
    path.write_text(
        path.read_text()
        + f'[[files]]\nname = "model.onnx"\nsha256 = "{digest}"\nbytes = {len(content)}\nsources = [{source}]\n'
    )
    return folder


@case("stays inside its folder")
def a_wheel_that_slips_out(box):
    make_wheel(box.root / "registry", "../../../../canary", b"x")
    use(_wheel_card(box, "../../../../canary", b"x"))


@case("is not the file on the card")
def a_wheel_that_swells(box):
    make_wheel(box.root / "registry", "toy_weights/m.onnx", b"x")
    wheel = box.root / "registry/toy_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy_weights/bomb", b"\0" * (64 << 20))
    use(_wheel_card(box, "toy_weights/bomb", b"x"))


# --- ONNX ----------------------------------------------------------------------------------------------------------


def _image(constants=None, nodes=None, domain=""):
    nodes = nodes or [
        tiny.node("GlobalAveragePool", ["pixels"], "mean"),
        tiny.node("Flatten", ["mean"], "flat"),
        tiny.node("MatMul", ["flat", "kernel"], "embedding"),
    ]
    ends = [tiny.value("pixels", (1, 3, 8, 8))], [tiny.value("embedding", (1, 5))]
    return tiny.model(nodes, *ends, constants or [tiny.tensor("kernel", tiny.KERNEL)], domain)


@case("operator evil.ops.Shell, which is code from elsewhere")
def an_operator_from_elsewhere(box):
    model = _image(nodes=[tiny.node("Shell", ["pixels"], "embedding", "evil.ops")], domain="evil.ops")
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@case("which its card does not list")
def weights_outside_the_folder(box):
    secret = box.file("secret", tiny.KERNEL.tobytes())
    for place in ("../files/secret", str(secret)):
        model = _image([tiny.tensor("kernel", tiny.KERNEL, external=place)])
        (box.root / "files/sub").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="which its card does not list"):
            add_source(box.file(f"sub/{len(place)}.onnx", model), name="evil", licence="MIT")
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@case("declares 1000000000000 numbers")
def a_tensor_that_declares_terabytes(box):
    model = _image([tiny.tensor("kernel", tiny.KERNEL, dims=(10**6, 10**6))])
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@case("is no ONNX model")
def a_file_that_breaks_off(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx()[:-9])}))


@case("nested too deeply")
def graphs_within_graphs(box):
    from multimodal_dql.encoders.wire import write_fields

    graph = b""
    for _ in range(60):
        attribute = write_fields([(1, b"body"), (6, graph)])
        graph = write_fields([(1, write_fields([(4, b"Loop"), (5, attribute)]))])
    use(box.card({"model.onnx": box.file("m.onnx", write_fields([(7, graph)]))}))


@case("llocat")
def a_model_that_makes_terabytes(box):
    nodes = [
        tiny.node("ConstantOfShape", ["shape"], "made"),
        tiny.node("ReduceMax", ["made"], "most", axes=[0, 1], keepdims=1),
        tiny.node("GlobalAveragePool", ["pixels"], "mean"),
        tiny.node("Flatten", ["mean"], "flat"),
        tiny.node("Add", ["flat", "most"], "embedding"),
    ]
    model = _image([tiny.tensor("shape", np.array([10**6, 10**6]))], nodes)
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@case("NaN or infinity")
def weights_that_are_no_numbers(box):
    model = tiny.image_onnx(kernel=np.full_like(tiny.KERNEL, np.nan))
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


# --- Pickles, safetensors, Keras -----------------------------------------------------------------------------------


@case("is a pickle")
def a_pickle_as_the_only_weights(box):
    folder = tiny.write_tokenizer(box.root / "files")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Writes(box.canary)))
    add_source(folder, name="evil", licence="MIT")


@case("is a pickle")
def a_pickle_under_another_name(box):
    add_source(box.file("m.onnx", pickle.dumps(_Writes(box.canary))), name="evil", licence="MIT")


@case("is no safetensors file")
def weights_with_a_header_of_terabytes(box):
    content = struct.pack("<Q", 1 << 42) + b"{}"
    files = {"model.safetensors": box.file("w", content), "model.json": box.file("j", b"{}")}
    use(box.card(files, runtime="keras"))


@case("is no safetensors file")
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


@case("Lambda, which is or may run code", slow=True)
def a_keras_lambda_layer(box):
    import keras

    canary = str(box.canary)
    lambda_ = keras.layers.Lambda(lambda x: (__import__("os").mknod(canary), x)[1], name="evil")
    layer = keras.saving.serialize_keras_object(lambda_)

    def edit(layers):
        layers[1].update({key: layer[key] for key in ("module", "class_name", "config", "registered_name")})

    _keras(box, edit)


@case("which is or may run code", slow=True)
def a_keras_class_of_a_stranger(box):
    def edit(layers):
        layers[1].update(
            {"module": "os", "class_name": "system", "config": {"command": f"touch {box.canary}"}}
        )

    _keras(box, edit)


@case("TFSMLayer, which is or may run code", slow=True)
def a_keras_layer_that_loads_a_program(box):
    def edit(layers):
        config = {"filepath": str(box.root), "call_endpoint": "serve"}
        layers[1].update({"module": "keras.layers", "class_name": "TFSMLayer", "config": config})

    _keras(box, edit)


@case("more than there are weights", slow=True)
def a_keras_layer_of_terabytes(box):
    def edit(layers):
        layers[-1]["config"]["units"] = 10**12

    _keras(box, edit)


@case("holds NaN or infinity", slow=True)
def keras_weights_that_are_no_numbers(box):
    _keras(box, lambda layers: None, {"a": np.full(3, np.nan, np.float32)})


@case("can hold code and is never opened")
def a_keras_file(box):
    add_source(box.file("m.h5", b"\x89HDF\r\n\x1a\n"), name="evil", licence="MIT")


# --- SavedModel, LiteRT ---------------------------------------------------------------------------------------------


def _program(box, function):
    import tensorflow as tf

    class Program(tf.Module):
        __call__ = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string)])

    tf.saved_model.save(Program(), str(box.root / "files/program"))
    return box.root / "files/program"


@case("operator WriteFile, which reaches beyond the model", slow=True)
def a_program_that_writes_a_file(box):
    import tensorflow as tf

    def function(self, texts):
        tf.io.write_file(str(box.canary), "x")
        return tf.ones([1, 2])

    add_source(_program(box, function), name="evil", licence="MIT")


@case("PyFunc, which reaches beyond the model", slow=True)
def a_program_that_calls_python(box):
    import tensorflow as tf

    def function(self, texts):
        return tf.reshape(tf.numpy_function(lambda x: np.ones(2, np.float32), [texts], tf.float32), [1, 2])

    add_source(_program(box, function), name="evil", licence="MIT")


@case("operator ReadFile, which reaches beyond the model", slow=True)
def a_program_that_reads_a_file(box):
    import tensorflow as tf

    def function(self, texts):
        length = tf.strings.length(tf.io.read_file("/etc/hostname"))
        return tf.cast(tf.fill([1, 2], length), tf.float32)

    add_source(_program(box, function), name="evil", licence="MIT")


@case("reaches beyond the model", slow=True)
def a_program_that_saves_its_variables_when_called(box):
    import tensorflow as tf

    def function(self, texts):
        tf.raw_ops.SaveV2(
            prefix=str(box.canary), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)]
        )
        return tf.ones([1, 2])

    add_source(_program(box, function), name="evil", licence="MIT")


@case("operator EvilOp, which TensorFlow does not have", slow=True)
def a_program_with_an_operator_of_a_library(box):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    folder = _program(box, lambda self, texts: tf.ones([1, 2]) * tf.cast(tf.size(texts), tf.float32))
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    message.meta_graphs[0].graph_def.library.function[0].node_def[0].op = "EvilOp"
    (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    add_source(folder, name="evil", licence="MIT")


@case("is no SavedModel")
def a_program_that_is_none(box):
    files = {"saved_model.pb": box.file("saved_model.pb", b"\xff" * 40)}
    use(box.card(files, runtime="hub", modality="text", dim=2))


@case("unresolved custom op", slow=True)
def a_lite_model_with_an_operator_of_a_library(box):
    import tensorflow as tf

    class Text(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32)])
        def __call__(self, picture):
            return tf.raw_ops.Betainc(a=picture, b=picture, x=picture)

    module = Text()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.__call__.get_concrete_function()], module
    )
    converter.allow_custom_ops = True
    add_source(box.file("m.tflite", converter.convert()), name="evil", licence="MIT")


@case("LiteRT refuses the model")
def a_lite_model_that_is_none(box):
    add_source(box.file("m.tflite", b"TFL3" * 64), name="evil", licence="MIT")


# --- Folders of transformers and sentence-transformers --------------------------------------------------------------


@case("asks for code of its own (auto_map), which is never run")
def a_tokenizer_with_remote_code(box):
    folder = tiny.text_folder(box.root / "files")
    config = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(box.canary)!r}, 'w')\n")
    use(box.card({p.name: p for p in folder.iterdir()}, modality="text", dim=3, extra='pooling = "mean"\n'))


@case("asks for code of its own (auto_map), which is never run")
def a_model_with_remote_code(box):
    folder = tiny.text_folder(box.root / "files")
    config = {"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(box.canary)!r}, 'w')\n")
    add_source(folder, name="evil")


@case("is a link that leads out of its folder")
def a_folder_with_a_link_out_of_it(box):
    folder = tiny.text_folder(box.root / "files")
    (box.root / "elsewhere").write_text("cat\n")
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to(box.root / "elsewhere")
    add_source(folder, name="evil")


@case("the module os.system, which is not known here")
def a_module_that_is_a_command(box):
    module = {"idx": 2, "name": "2", "path": "", "type": "os.system"}
    add_source(tiny.sentence_folder(box.root / "files", modules=[module]), name="evil")


@case("leads out of its folder")
def a_module_in_another_folder(box):
    (box.root / "elsewhere").mkdir()
    (box.root / "elsewhere/config.json").write_text("{}")
    module = {"idx": 2, "name": "2", "path": "../elsewhere", "type": "sentence_transformers.models.Dense"}
    add_source(tiny.sentence_folder(box.root / "files", modules=[module]), name="evil")


@case("the pooling", slow=False)
def a_pooling_nobody_knows(box):
    add_source(tiny.sentence_folder(box.root / "files", pooling="pooling_mode_evil"), name="evil")


@case("nested too deeply")
def a_configuration_of_brackets(box):
    folder = tiny.text_folder(box.root / "files")
    (folder / "config.json").write_text("[" * 100_000)
    add_source(folder, name="evil")


@case("its tokenizer cannot be loaded")
def a_tokenizer_that_is_none(box):
    folder = tiny.text_folder(box.root / "files")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Evil"}}')
    add_source(folder, name="evil")


@case("no licence is named")
def a_licence_hidden_in_yaml(box):
    folder = tiny.text_folder(box.root / "files", licence=None)
    bomb = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)},*{chr(97 + i)}]\n" for i in range(20)
    )
    command = f"!!python/object/apply:os.system ['touch {box.canary}']"
    (folder / "README.md").write_text(f"---\n{bomb}license: {command}\n---\n")
    add_source(folder, name="evil")


@pytest.mark.parametrize(("attack", "words"), CASES)
def test_it_is_refused_in_one_line_and_writes_nothing(attack, words, tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "registry"))
    monkeypatch.setattr("multimodal_dql.encoders.paths._extra", [])
    (tmp_path / "registry").mkdir()
    with pytest.raises(InputError) as caught:
        attack(Box(tmp_path))
    english, chinese = caught.value.text("en"), caught.value.text("zh")
    assert words in english
    assert "\n" not in english + chinese
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
    assert not list(tmp_path.rglob("canary*"))
    assert not (tmp_path / "user-cards").exists()


def test_there_are_enough_of_them():
    assert len(CASES) >= 40
