"""Hostile and broken SavedModels and LiteRT files: each refused in one clear line, and nothing written."""

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from tests.encoders.hostile import Cases, assert_refused, use

CASES = Cases()


def _program(box, function):
    import tensorflow as tf

    class Program(tf.Module):
        __call__ = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string)])

    tf.saved_model.save(Program(), str(box.root / "files/program"))
    return box.root / "files/program"


@CASES.add("operator WriteFile, which reaches beyond the model", slow=True)
def a_program_that_writes_a_file(box):
    import tensorflow as tf

    def function(self, texts):
        tf.io.write_file(str(box.canary), "x")
        return tf.ones([1, 2])

    add_source(_program(box, function), name="evil", licence="MIT")


@CASES.add("PyFunc, which reaches beyond the model", slow=True)
def a_program_that_calls_python(box):
    import tensorflow as tf

    def function(self, texts):
        return tf.reshape(tf.numpy_function(lambda x: np.ones(2, np.float32), [texts], tf.float32), [1, 2])

    add_source(_program(box, function), name="evil", licence="MIT")


@CASES.add("operator ReadFile, which reaches beyond the model", slow=True)
def a_program_that_reads_a_file(box):
    import tensorflow as tf

    def function(self, texts):
        length = tf.strings.length(tf.io.read_file("/etc/hostname"))
        return tf.cast(tf.fill([1, 2], length), tf.float32)

    add_source(_program(box, function), name="evil", licence="MIT")


@CASES.add("reaches beyond the model", slow=True)
def a_program_that_saves_its_variables_when_called(box):
    import tensorflow as tf

    def function(self, texts):
        tf.raw_ops.SaveV2(
            prefix=str(box.canary), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)]
        )
        return tf.ones([1, 2])

    add_source(_program(box, function), name="evil", licence="MIT")


@CASES.add("operator EvilOp, which TensorFlow does not have", slow=True)
def a_program_with_an_operator_of_a_library(box):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    folder = _program(box, lambda self, texts: tf.ones([1, 2]) * tf.cast(tf.size(texts), tf.float32))
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    message.meta_graphs[0].graph_def.library.function[0].node_def[0].op = "EvilOp"
    (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    add_source(folder, name="evil", licence="MIT")


@CASES.add("is no SavedModel", library=True)
def a_program_that_is_none(box):
    files = {"saved_model.pb": box.file("saved_model.pb", b"\xff" * 40)}
    use(box.card(files, runtime="hub", modality="text", dim=2))


@CASES.add("unresolved custom op", slow=True, library=True)
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


@CASES.add("LiteRT refuses the model", library=True)
def a_lite_model_that_is_none(box):
    add_source(box.file("m.tflite", b"TFL3" * 64), name="evil", licence="MIT")


@pytest.mark.parametrize(("attack", "words", "library"), CASES)
def test_it_is_refused_in_one_line_and_writes_nothing(attack, words, library, tmp_path, monkeypatch):
    assert_refused(attack, words, tmp_path, monkeypatch, library=library)
