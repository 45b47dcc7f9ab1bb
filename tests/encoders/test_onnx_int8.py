"""Toy models are written with `onnx_writer` and run by ONNX Runtime."""

import numpy as np
import pytest

from multimodal_dql.encoders.checks import example_samples
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_int8 import int8_products
from multimodal_dql.encoders.onnx_writer import Writer, tensor
from multimodal_dql.encoders.runtimes import onnx_text
from multimodal_dql.encoders.wire import write_fields

RNG = np.random.default_rng(4)
VALUES = RNG.integers(-127, 128, (64, 48)).astype(np.int8)
SCALES = RNG.uniform(1e-3, 1e-2, (1, 48)).astype(np.float32)


def value_info(name, shape):
    dims = b"".join(write_fields([(1, write_fields([(1, size)]))]) for size in shape)
    return write_fields([(1, name.encode()), (2, write_fields([(1, write_fields([(1, 1), (2, dims)]))]))])


def toy(*, opset=17, normalised=False, values=VALUES, scales=SCALES, domain=b""):
    """x (3, 5, 64) times a matrix of int8, after a layer normalisation or not."""
    w = Writer()
    source = "x"
    if normalised:
        ones = w.constant("ones", np.ones(64, np.float32))
        source = w.add("n", "LayerNormalization", "x", ones)
    cast = w.add("cast", "Cast", w.constant("q", values), to=1)
    w.add("y", "MatMul", source, w.add("w", "Mul", cast, w.constant("s", scales)))
    graph = [(1, node.message) for node in w.nodes] + [(2, b"toy")]
    graph += [(5, tensor(name, value)) for name, value in w.constants.items()]
    graph += [(11, value_info("x", (3, 5, 64))), (12, value_info("y", (3, 5, 48)))]
    version = write_fields([(1, domain), (2, opset)])
    return write_fields([(1, 8), (7, write_fields(graph)), (8, version)])


def run(model, x):
    return onnx_session("toy", model).run(None, {"x": x})[0]


@pytest.mark.parametrize(("normalised", "error"), [(False, 0.02), (True, 1e-4)])
def test_integer_products_are_near_those_of_the_file(normalised, error):
    x = RNG.normal(1, 2, (3, 5, 64)).astype(np.float32)
    x[0, 0], x[1, 1] = 0, 7  # rows of one value have no span
    model = toy(normalised=normalised)
    rewritten = int8_products(model)
    expected, found = run(model, x), run(rewritten, x)
    assert b"MatMulIntegerToFloat" in rewritten
    assert b"Cast" not in rewritten
    np.testing.assert_allclose(found, expected, atol=error * np.abs(expected).max())


def test_a_row_does_not_depend_on_the_others():
    x = RNG.normal(0, 1, (3, 5, 64)).astype(np.float32)
    other = 100 * x
    other[1, 2] = x[1, 2]
    model = int8_products(toy())
    np.testing.assert_array_equal(run(model, x)[1, 2], run(model, other)[1, 2])


@pytest.mark.parametrize(
    "model",
    [
        toy(opset=12),
        toy(opset=18),
        toy(domain=b"ai.onnx.ml"),
        toy(values=VALUES.astype(np.float32)),
        toy(scales=SCALES[:, :1]),
        toy()[:-300],
        b"",
        b"no model at all",
        b"\x3a\x02\x08\x01",
    ],
)
def test_other_files_are_left_alone(model):
    assert int8_products(model) is None


def test_minilm_gives_nearly_the_vectors_of_its_file(built_in, monkeypatch):
    fast = built_in("minilm")
    texts = [*example_samples("text"), "", "word " * 300, "今天的天气", "A man is eating food."]
    monkeypatch.setattr(onnx_text, "int8_products", lambda model: None)
    plain = onnx_text.OnnxTextEncoder(fast.card, fast.files)
    assert ((fast.encode(texts) * plain.encode(texts)).sum(axis=1) > 0.998).all()


def test_a_rewriting_that_does_harm_is_not_used(built_in, monkeypatch):
    encoder = built_in("minilm")
    expected = encoder.encode(["A man is eating food."])
    for model in (b"broken", toy()):
        monkeypatch.setattr(onnx_text, "int8_products", lambda _, model=model: model)
        plain = onnx_text.OnnxTextEncoder(encoder.card, encoder.files)
        assert (plain.encode(["A man is eating food."]) * expected).sum() > 0.998
