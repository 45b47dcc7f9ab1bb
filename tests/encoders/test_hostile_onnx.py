"""Hostile and broken ONNX files: each refused in one clear line, and nothing written."""

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from multimodal_dql.errors import InputError
from tests.encoders import tiny
from tests.encoders.hostile import Cases, assert_refused, use

CASES = Cases()


def _image(constants=None, nodes=None, domain=""):
    nodes = nodes or [
        tiny.node("GlobalAveragePool", ["pixels"], "mean"),
        tiny.node("Flatten", ["mean"], "flat"),
        tiny.node("MatMul", ["flat", "kernel"], "embedding"),
    ]
    ends = [tiny.value("pixels", (1, 3, 8, 8))], [tiny.value("embedding", (1, 5))]
    return tiny.model(nodes, *ends, constants or [tiny.tensor("kernel", tiny.KERNEL)], domain)


@CASES.add("operator evil.ops.Shell, which is code from elsewhere")
def an_operator_from_elsewhere(box):
    model = _image(nodes=[tiny.node("Shell", ["pixels"], "embedding", "evil.ops")], domain="evil.ops")
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@CASES.add("which its card does not list")
def weights_outside_the_folder(box):
    secret = box.file("secret", tiny.KERNEL.tobytes())
    for place in ("../files/secret", str(secret)):
        model = _image([tiny.tensor("kernel", tiny.KERNEL, external=place)])
        (box.root / "files/sub").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="which its card does not list"):
            add_source(box.file(f"sub/{len(place)}.onnx", model), name="evil", licence="MIT")
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@CASES.add("declares 1000000000000 numbers")
def a_tensor_that_declares_terabytes(box):
    model = _image([tiny.tensor("kernel", tiny.KERNEL, dims=(10**6, 10**6))])
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@CASES.add("is no ONNX model")
def a_file_that_breaks_off(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx()[:-9])}))


@CASES.add("nested too deeply")
def graphs_within_graphs(box):
    from multimodal_dql.encoders.wire import write_fields

    graph = b""
    for _ in range(60):
        attribute = write_fields([(1, b"body"), (6, graph)])
        graph = write_fields([(1, write_fields([(4, b"Loop"), (5, attribute)]))])
    use(box.card({"model.onnx": box.file("m.onnx", write_fields([(7, graph)]))}))


@CASES.add("llocat", library=True)
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


@CASES.add("NaN or infinity")
def weights_that_are_no_numbers(box):
    model = tiny.image_onnx(kernel=np.full_like(tiny.KERNEL, np.nan))
    use(box.card({"model.onnx": box.file("m.onnx", model)}))


@pytest.mark.parametrize(("attack", "words", "library"), CASES)
def test_it_is_refused_in_one_line_and_writes_nothing(attack, words, library, tmp_path, monkeypatch):
    assert_refused(attack, words, tmp_path, monkeypatch, library=library)
