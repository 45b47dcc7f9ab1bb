"""Models small enough to work out by hand, in every format that is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from multimodal_dql.encoders.wire import write_fields

FLOAT, INT64 = 1, 7
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "cat",
    "dog",
    "sea",
    "##s",
    "old",
    "new",
    "a",
    "the",
    "o",
    "r",
    "t",
)
TABLE = np.arange(len(WORDS) * 3, dtype=np.float32).reshape(-1, 3) % 7 / 7 + np.eye(
    len(WORDS), 3, dtype=np.float32
)
"""Token -> what the tiny text model gives for it."""

KERNEL = np.array([[1, 0, 0, 1, 2], [0, 1, 0, 1, -1], [0, 0, 1, 1, 0.5]], np.float32)
"""Mean colour -> what the tiny picture model gives for it."""


def tensor(name, values, *, dims=None, external=None):
    kind = INT64 if values.dtype == np.int64 else FLOAT
    fields = [*((1, n) for n in (dims or values.shape)), (2, kind), (8, name.encode())]
    if external is None:
        return write_fields([*fields, (9, values.tobytes())])
    entry = write_fields([(1, b"location"), (2, str(external).encode())])
    return write_fields([*fields, (13, entry), (14, 1)])


def node(operator, inputs, output, domain="", **attributes):
    fields = [*((1, name.encode()) for name in inputs), (2, output.encode()), (4, operator.encode())]
    for name, value in attributes.items():
        many = isinstance(value, list)
        numbers = [(8, n) for n in value] if many else [(3, value)]
        fields.append((5, write_fields([(1, name.encode()), *numbers, (20, 7 if many else 2)])))
    return write_fields([*fields, *([(7, domain.encode())] if domain else [])])


def value(name, shape, kind=FLOAT):
    dims = [(1, write_fields([(1, n) if isinstance(n, int) else (2, n.encode())])) for n in shape]
    described = write_fields([(1, kind), (2, write_fields(dims))])
    return write_fields([(1, name.encode()), (2, write_fields([(1, described)]))])


def model(nodes, inputs, outputs, constants=(), domain=""):
    graph = [(2, b"tiny"), *((1, n) for n in nodes), *((5, c) for c in constants)]
    graph += [*((11, i) for i in inputs), *((12, o) for o in outputs)]
    opsets = [(8, write_fields([(2, 17)]))]
    if domain:
        opsets.append((8, write_fields([(1, domain.encode()), (2, 1)])))
    return write_fields([(1, 8), *opsets, (7, write_fields(graph))])


def image_onnx(kernel=KERNEL, side=8, name="pixels"):
    """(1, 3, side, side) -> mean of each colour times `KERNEL`, (1, 5)."""
    nodes = [
        node("GlobalAveragePool", [name], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("MatMul", ["flat", "kernel"], "embedding"),
    ]
    ends = [value(name, (1, 3, side, side))], [value("embedding", (1, kernel.shape[1]))]
    return model(nodes, *ends, [tensor("kernel", kernel)])


def audio_onnx():
    """(1, samples) -> largest sample and mean square, (1, 2)."""
    nodes = [
        node("ReduceMax", ["samples"], "peak", axes=[1], keepdims=1),
        node("Mul", ["samples", "samples"], "square"),
        node("ReduceMean", ["square"], "power", axes=[1], keepdims=1),
        node("Concat", ["peak", "power"], "embedding", axis=1),
    ]
    return model(nodes, [value("samples", (1, "n"))], [value("embedding", (1, 2))])


def text_onnx(table=TABLE):
    """Tokens -> their rows of `TABLE`, (n, tokens, 3)."""
    ids = [value("input_ids", ("n", "tokens"), INT64), value("attention_mask", ("n", "tokens"), INT64)]
    nodes = [node("Gather", ["table", "input_ids"], "last_hidden_state", axis=0)]
    return model(nodes, ids, [value("last_hidden_state", ("n", "tokens", 3))], [tensor("table", table)])


def write_tokenizer(folder: Path) -> Path:
    """A WordPiece tokenizer, as a publisher of a BERT would leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(
        json.dumps({"model_type": "bert", "max_position_embeddings": 32, "vocab_size": len(WORDS)})
    )
    return folder


def text_folder(folder: Path, licence="mit") -> Path:
    """A folder as `transformers` writes it, with an ONNX export beside it."""
    write_tokenizer(folder)
    (folder / "model.onnx").write_bytes(text_onnx())
    readme = f"---\nlicense: {licence}\n---\n# tiny\n" if licence else "# tiny\n"
    (folder / "README.md").write_text(readme)
    return folder


def sentence_folder(folder: Path, pooling="pooling_mode_mean_tokens", modules=()) -> Path:
    """The same as sentence-transformers writes it: mean of the tokens, then length 1."""
    text_folder(folder)
    listed = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        *modules,
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 3, pooling: True}))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 8, "do_lower_case": False})
    )
    return folder


def dense_module(folder: Path, kernel, bias) -> None:
    """A Dense module of sentence-transformers with a hyperbolic tangent."""
    from safetensors.numpy import save_file

    folder.mkdir()
    config = {"activation_function": "torch.nn.modules.activation.Tanh"}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"linear.weight": kernel, "linear.bias": bias}, folder / "model.safetensors")


def two_towers(folder: Path) -> Path:
    """A folder as CLIP is published: texts and pictures in one file and one space, (n, 3)."""
    nodes = [
        node("Gather", ["table", "input_ids"], "hidden", axis=0),
        node("ReduceMean", ["hidden"], "text_embeds", axes=[1], keepdims=0),
        node("GlobalAveragePool", ["pixel_values"], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("MatMul", ["flat", "kernel"], "image_embeds"),
        node("MatMul", ["image_embeds", "turned"], "logits_per_image"),
    ]
    read = [value("input_ids", ("n", "t"), INT64), value("pixel_values", ("m", 3, "h", "w"))]
    names = {"logits_per_image": "m", "text_embeds": "n", "image_embeds": "m"}
    given = [value(name, (rows, 3)) for name, rows in names.items()]
    constants = [
        tensor("table", TABLE),
        tensor("kernel", np.ascontiguousarray(KERNEL[:, :3])),
        tensor("turned", np.eye(3, dtype=np.float32)),
    ]
    image_folder(folder)
    write_tokenizer(folder)
    (folder / "model.onnx").write_bytes(model(nodes, read, given, constants))
    return folder


def image_folder(folder: Path) -> Path:
    """A picture model of `transformers`: an image processor and an ONNX export."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 8, "width": 8},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "model.onnx").write_bytes(image_onnx(name="pixel_values"))
    (folder / "LICENSE").write_text("Apache License\nVersion 2.0\n")
    return folder


def audio_folder(folder: Path) -> Path:
    """A sound model of `transformers`: a feature extractor and an ONNX export."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16000,
        "padding_value": 0.0,
        "do_normalize": False,
        "return_attention_mask": False,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    nodes = [
        node("ReduceMax", ["input_values"], "peak", axes=[1], keepdims=1),
        node("Mul", ["input_values", "input_values"], "square"),
        node("ReduceMean", ["square"], "power", axes=[1], keepdims=1),
        node("Concat", ["peak", "power"], "embedding", axis=1),
    ]
    onnx = model(nodes, [value("input_values", (1, "n"))], [value("embedding", (1, 2))])
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "LICENSE").write_text("MIT License\n")
    return folder


def keras_folder(folder: Path) -> Path:
    """A Keras model as the conversion of the documentation leaves it: mean colour, then a dense layer."""
    import keras
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    made = keras_model()
    (folder / "model.json").write_text(made.to_json())
    save_file({v.path: v.numpy() for v in made.weights}, folder / "model.safetensors")
    (folder / "LICENSE").write_text("MIT License\n")
    assert keras.backend.backend() == "tensorflow"
    return folder


def keras_model():
    import keras

    picture = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", kernel_initializer="ones")(picture)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(picture, keras.layers.Dense(5, kernel_initializer="glorot_uniform")(pooled))


def saved_model(folder: Path) -> Path:
    """A text module: number of characters and of spaces."""
    import tensorflow as tf

    class Text(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            letters = tf.cast(tf.strings.length(texts, "UTF8_CHAR"), tf.float32)
            words = tf.strings.split(texts, " ").row_lengths()
            return tf.stack([letters, tf.cast(words, tf.float32)], axis=1)

    tf.saved_model.save(Text(), str(folder))
    (folder / "LICENSE").write_text("Apache License\n")
    return folder


def tflite(side=8):
    """(1, side, side, 3) -> mean of each colour, (1, 3)."""
    import tensorflow as tf

    class Mean(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, side, side, 3], tf.float32)])
        def __call__(self, picture):
            return tf.reduce_mean(picture, [1, 2])

    module = Mean()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.__call__.get_concrete_function()], module
    )
    return converter.convert()
