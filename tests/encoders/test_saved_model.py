"""Programs that only compute pass, whatever they compute with; those that do more are in `test_hostile_programs`."""

import pytest

from multimodal_dql.encoders.saved_model import check_saved_model

pytestmark = pytest.mark.slow  # importing TensorFlow takes seconds


def spectrogram(tf):
    class Sound(tf.Module):
        def __init__(self):
            self.kernel = tf.Variable(tf.ones([3, 3, 1, 4]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, samples):
            padded = tf.pad(samples, [[0, tf.maximum(0, 800 - tf.size(samples))]])
            mel = tf.signal.linear_to_mel_weight_matrix(20, 201, 16_000)
            bands = tf.math.log(tf.abs(tf.signal.stft(padded, 400, 160, 400)) @ mel + 1e-3)
            frames = tf.nn.conv2d(bands[None, ..., None], self.kernel, 1, "SAME")
            return tf.reduce_mean(frames, [1, 2]), bands

    return Sound()


def vocabulary(tf, tmp_path):
    (tmp_path / "words.txt").write_text("cat\ndog\n")

    class Text(tf.Module):
        def __init__(self):
            source = tf.lookup.TextFileInitializer(
                str(tmp_path / "words.txt"), tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticVocabularyTable(source, 1)
            self.vectors = tf.Variable(tf.ones([3, 2]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(texts), "[^a-z ]", ""))
            rows = tf.nn.embedding_lookup(self.vectors, self.table.lookup(words.to_tensor("")))
            return tf.reduce_mean(rows, axis=1)

    return Text()


def loops(tf):
    class Loop(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, x):
            rows = tf.TensorArray(tf.float32, size=tf.shape(x)[0])
            for i in tf.range(tf.shape(x)[0]):
                tf.debugging.assert_all_finite(x[i], "numbers")
                rows = rows.write(i, x[i] / tf.norm(x[i]) if i > 0 else x[i])
            return rows.stack() + 0 * tf.random.normal([4])

    return Loop()


@pytest.mark.parametrize("make", [spectrogram, vocabulary, loops], ids=lambda f: f.__name__)
def test_a_module_that_only_computes(tmp_path, make):
    import tensorflow as tf

    module = make(tf, tmp_path) if make is vocabulary else make(tf)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    check_saved_model("toy", tmp_path / "saved/saved_model.pb")


def test_networks_that_keras_exports(tmp_path):
    import keras

    picture = keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), weights=None, include_top=False)
    picture.export(str(tmp_path / "picture"), verbose=False)
    sequence = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4), keras.layers.Dropout(0.1)])
    sequence.export(str(tmp_path / "sequence"), verbose=False)
    for name in ("picture", "sequence"):
        check_saved_model(name, tmp_path / name / "saved_model.pb")
