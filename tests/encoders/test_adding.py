"""`encoders add`: a model on this machine becomes a card, and the card an encoder that keeps the contract."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from multimodal_dql.encoders.cards import read_card
from multimodal_dql.encoders.checks import check_encoder
from multimodal_dql.encoders.registry import encoder_info, load_encoder
from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.errors import EncoderError
from tests.encoders import tiny


@pytest.fixture(autouse=True)
def _own_cards(monkeypatch, tmp_path):
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))


def grey(level, side=8):
    return np.full((side, side, 3), level, np.uint8)


def test_an_onnx_file_of_pictures(tmp_path):
    path = tmp_path / "Tiny Model.onnx"
    path.write_bytes(tiny.image_onnx())
    added = add_source(path, licence="MIT")
    assert (added.card.name, added.card.modality, added.card.runtime) == ("tiny-model", "image", "onnx")
    assert (added.card.dim, added.card.files[0].sha256) == (5, sha256_of(path))
    assert added.assumed == {"mean": 0.0, "scale": 255.0}
    encoder = load_encoder("tiny-model")
    np.testing.assert_allclose(encoder.encode([grey(255)]), [tiny.KERNEL.sum(axis=0)], rtol=1e-6)
    check_encoder(encoder)


def test_settings_of_the_user_win(tmp_path):
    (tmp_path / "m.onnx").write_bytes(tiny.image_onnx())
    settings = {"mean": (255.0, 0.0, 0.0), "scale": 255.0, "colours": "bgr"}
    added = add_source(tmp_path / "m.onnx", licence="MIT", settings=settings)
    assert added.assumed == {}
    picture = grey(0)
    picture[..., 0] = 255  # red comes last, blue first with 255 taken away
    expected = np.array([-1, 0, 1]) @ tiny.KERNEL
    np.testing.assert_allclose(load_encoder("m").encode([picture]), [expected], rtol=1e-6)


def test_an_onnx_file_of_sounds(tmp_path):
    (tmp_path / "hear.onnx").write_bytes(tiny.audio_onnx())
    added = add_source(tmp_path / "hear.onnx", licence="MIT")
    assert (added.card.modality, added.card.dim) == ("audio", 2)
    encoder = load_encoder("hear")
    assert encoder.encode([np.array([0.5, -0.5], np.float32)]).tolist() == [[0.5, 0.25]]
    check_encoder(encoder)


def test_a_long_sound_is_cut_into_windows_that_are_averaged(tmp_path):
    (tmp_path / "hear.onnx").write_bytes(tiny.audio_onnx())
    add_source(tmp_path / "hear.onnx", licence="MIT", settings={"window_seconds": 0.5, "gain": 2.0})
    sound = np.concatenate([np.full(8000, 0.1), np.full(8000, 0.3)]).astype(np.float32)
    found = load_encoder("hear").encode([sound])
    np.testing.assert_allclose(found, [[0.4, (0.04 + 0.36) / 2]], rtol=1e-5)


def test_a_folder_of_transformers_with_an_onnx_file(tmp_path):
    added = add_source(tiny.text_folder(tmp_path / "tiny-bert"))
    card = added.card
    assert (card.runtime, card.modality, card.dim, card.licence) == ("transformers", "text", 3, "MIT")
    assert (card.pooling, card.number("max_tokens")) == ("mean", 32)
    assert encoder_info("tiny-bert").fingerprint == load_encoder("tiny-bert").fingerprint
    encoder = load_encoder("tiny-bert")
    expected = tiny.TABLE[[2, 5, 8, 3]].mean(axis=0)  # [CLS] cat ##s [SEP]
    np.testing.assert_allclose(encoder.encode(["Cats"]), [expected], rtol=1e-6)
    check_encoder(encoder)


def test_a_folder_as_a_hub_is_downloaded(tmp_path):
    """A pickle beside safe weights, code, and what the downloader notes: none is opened, none is on the card."""
    folder = tiny.text_folder(tmp_path / "whole")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / ".cache/huggingface").mkdir(parents=True)
    (folder / ".cache/huggingface/CACHEDIR.TAG").write_text("x")
    named = {file.name for file in add_source(folder).card.files}
    assert named == {"config.json", "tokenizer_config.json", "vocab.txt", "model.onnx"}
    assert load_encoder("whole").dim == 3


def test_a_bare_onnx_file_finds_its_tokenizer_beside_it(tmp_path):
    folder = tiny.text_folder(tmp_path / "beside")
    (folder / "model.onnx").rename(folder / "export.onnx")
    assert add_source(folder / "export.onnx").card.modality == "text"
    (tmp_path / "alone.onnx").write_bytes(tiny.text_onnx())
    with pytest.raises(EncoderError, match=r"no tokenizer\.json beside it"):
        add_source(tmp_path / "alone.onnx", licence="MIT")


@pytest.mark.parametrize(
    ("pooling", "tokens"),
    [("cls", [2]), ("last", [3]), ("mean", [2, 5, 3]), ("max", None)],
)
def test_poolings(tmp_path, pooling, tokens):
    add_source(tiny.text_folder(tmp_path / "toy"))
    path = tmp_path / "user-cards/toy/card.toml"
    path.write_text(path.read_text().replace('pooling = "mean"', f'pooling = "{pooling}"'))
    rows = tiny.TABLE[[2, 5, 3]]
    expected = rows.max(axis=0) if tokens is None else tiny.TABLE[tokens].mean(axis=0)
    np.testing.assert_allclose(load_encoder("toy").encode(["cat"]), [expected], rtol=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_to_one_length_does_not_reach_the_mean(tmp_path, side):
    folder = tiny.text_folder(tmp_path / "toy")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "padding_side": side}))
    added = add_source(folder, settings={"padding": "max_length", "max_tokens": 8})
    found = load_encoder("toy").encode(["cat", "the old sea"])
    np.testing.assert_allclose(found[0], tiny.TABLE[[2, 5, 3]].mean(axis=0), rtol=1e-6)
    first = added.path.read_text().replace('pooling = "mean"', 'pooling = "cls"')
    added.path.write_text(first)  # padding comes last, whatever the tokenizer says: the first token is [CLS]
    np.testing.assert_allclose(load_encoder("toy").encode(["cat"]), [tiny.TABLE[2]], rtol=1e-6)
    np.testing.assert_allclose(found[1], tiny.TABLE[[2, 12, 9, 7, 3]].mean(axis=0), rtol=1e-6)


def test_a_prefix_goes_before_each_text(tmp_path):
    add_source(tiny.text_folder(tmp_path / "toy"), settings={"prefix": "the "})
    found = load_encoder("toy").encode(["cat"])
    np.testing.assert_allclose(found, [tiny.TABLE[[2, 12, 5, 3]].mean(axis=0)], rtol=1e-6)


def test_a_folder_of_sentence_transformers(tmp_path):
    added = add_source(tiny.sentence_folder(tmp_path / "sentences"))
    card = added.card
    assert (card.runtime, card.dim, card.normalisation) == ("sentence-transformers", 3, "l2")
    encoder = load_encoder("sentences")
    mean = tiny.TABLE[[2, 5, 3]].mean(axis=0)
    np.testing.assert_allclose(encoder.encode(["cat"]), [mean / np.linalg.norm(mean)], rtol=1e-5)
    check_encoder(encoder)


def test_a_dense_module_is_applied_between_pooling_and_length_one(tmp_path):
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    folder = tiny.sentence_folder(tmp_path / "dense", modules=[dense])
    kernel, bias = np.array([[1, 2, 3], [0, 1, -1]], np.float32), np.array([0.5, -0.5], np.float32)
    tiny.dense_module(folder / "2_Dense", kernel, bias)
    assert add_source(folder).card.dim == 2
    expected = np.tanh(kernel @ tiny.TABLE[[2, 5, 3]].mean(axis=0) + bias)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(load_encoder("dense").encode(["cat"]), [expected], rtol=1e-5)


def test_pictures_through_an_image_processor(tmp_path):
    added = add_source(tiny.image_folder(tmp_path / "see"))
    assert (added.card.runtime, added.card.modality, added.card.dim) == ("transformers", "image", 5)
    encoder = load_encoder("see")
    np.testing.assert_allclose(encoder.encode([grey(255, 20)]), [tiny.KERNEL.sum(axis=0)], rtol=1e-5)
    check_encoder(encoder)


def test_sounds_through_a_feature_extractor(tmp_path):
    added = add_source(tiny.audio_folder(tmp_path / "listen"))
    assert (added.card.runtime, added.card.modality, added.card.dim) == ("transformers", "audio", 2)
    encoder = load_encoder("listen")
    assert encoder.encode([np.array([0.5, -0.5], np.float32)]).tolist() == [[0.5, 0.25]]
    check_encoder(encoder)


@pytest.mark.parametrize("bare", [False, True], ids=["folder", "onnx-file"])
def test_a_file_with_two_towers_is_added_once_for_each(tmp_path, bare):
    """The other tower gets a blank, and each takes its own output."""
    source = tiny.two_towers(tmp_path / "both")
    if bare:
        source = (source / "model.onnx").rename(source / "both.onnx")
    with pytest.raises(EncoderError, match="say which with --modality"):
        add_source(source)
    settings = {"side": 8, "scale": 255.0} if bare else {}
    for modality in ("text", "image"):
        card = add_source(source, modality=modality, name=modality, space="both", settings=settings).card
        assert (card.modality, card.space, card.dim) == (modality, "both", 3)
    expected = tiny.TABLE[[2, 5, 3]].mean(axis=0)
    np.testing.assert_allclose(load_encoder("text").encode(["cat"]), [expected], rtol=1e-6)
    found = load_encoder("image").encode([grey(255)])
    np.testing.assert_allclose(found, [tiny.KERNEL[:, :3].sum(axis=0)], rtol=1e-5)
    for modality in ("text", "image"):
        check_encoder(load_encoder(modality))


def test_weights_beside_an_onnx_file_are_hashed_and_found(tmp_path):
    nodes = [
        tiny.node("GlobalAveragePool", ["pixels"], "mean"),
        tiny.node("Flatten", ["mean"], "flat"),
        tiny.node("MatMul", ["flat", "kernel"], "embedding"),
    ]
    ends = [tiny.value("pixels", (1, 3, 8, 8))], [tiny.value("embedding", (1, 5))]
    constants = [tiny.tensor("kernel", tiny.KERNEL, external="big.data")]
    (tmp_path / "big.data").write_bytes(tiny.KERNEL.tobytes())
    (tmp_path / "m.onnx").write_bytes(tiny.model(nodes, *ends, constants))
    added = add_source(tmp_path / "m.onnx", licence="MIT")
    assert {file.name for file in added.card.files} == {"model.onnx", "big.data"}
    np.testing.assert_allclose(load_encoder("m").encode([grey(255)]), [tiny.KERNEL.sum(axis=0)], rtol=1e-6)


def test_one_folder_that_reads_two_modalities_asks_which(tmp_path):
    folder = tiny.image_folder(tmp_path / "clip")
    config = (folder / "config.json").read_text()
    tiny.write_tokenizer(folder)
    (folder / "config.json").write_text(config)
    with pytest.raises(EncoderError, match="reads text and image; say which with --modality"):
        add_source(folder)
    assert add_source(folder, modality="image", name="clip-image").card.dim == 5


def test_a_card_survives_its_own_writing(tmp_path):
    (tmp_path / "m.onnx").write_bytes(tiny.image_onnx())
    settings = {"note": 'a "quoted" \\ line\nand 标题 \x07', "flag": True, "mean": (1.0, 2.0, 3.5)}
    added = add_source(tmp_path / "m.onnx", licence="MIT", settings=settings, languages=("en", "zh"))
    assert {key: added.card.preprocessing[key] for key in settings} == settings
    assert read_card(added.path) == added.card
    assert added.card.languages == ("en", "zh")


@pytest.mark.parametrize(
    ("readme", "licence", "found"),
    [
        ("---\nlicense: apache-2.0\n---\n", "", "Apache-2.0"),
        ("---\ntags: x\nlicense: 'cc-by-4.0'\n---\n", "", "CC-BY-4.0"),
        ("---\nlicense: other\n---\n", "MIT License\n", "MIT"),
        ("# no front matter\nlicense: mit\n", "", None),
        ("", "", None),
    ],
)
def test_the_licence_is_read_or_asked_for(tmp_path, readme, licence, found):
    folder = tiny.text_folder(tmp_path / "toy")
    (folder / "README.md").write_text(readme)
    (folder / "LICENSE").write_text(licence)
    if found is None:
        with pytest.raises(EncoderError, match=r"--licence Apache-2\.0"):
            add_source(folder)
    else:
        assert add_source(folder).card.licence == found


def test_a_card_elsewhere_belongs_to_a_project(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(tiny.image_onnx())
    added = add_source(tmp_path / "m.onnx", licence="MIT", out=tmp_path / "project/cards")
    assert added.path == tmp_path / "project/cards/m/card.toml"
    (tmp_path / "project/pyproject.toml").write_text('[tool.multimodal-dql]\nencoders = ["cards"]\n')
    monkeypatch.chdir(tmp_path / "project")
    assert encoder_info("m").dim == 5
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="no encoder called 'm'"):
        encoder_info("m")


@pytest.mark.slow
def test_a_saved_model(tmp_path):
    folder = tiny.saved_model(tmp_path / "counts")
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("x")
    added = add_source(folder)
    assert not [file for file in added.card.files if file.name.startswith(".")]
    assert (added.card.runtime, added.card.modality, added.card.dim) == ("hub", "text", 2)
    encoder = load_encoder("counts")
    assert encoder.encode(["a b", "标题"]).tolist() == [[3, 2], [2, 1]]
    check_encoder(encoder)


@pytest.mark.slow
def test_a_saved_model_that_keras_exported(tmp_path):
    made = tiny.keras_model()
    made.export(str(tmp_path / "exported"))
    added = add_source(tmp_path / "exported", licence="MIT")
    assert (added.card.modality, added.card.dim, added.card.number("side")) == ("image", 5, 8)
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    expected = made(picture[None].astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(load_encoder("exported").encode([picture]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_tflite_file(tmp_path):
    (tmp_path / "mean.tflite").write_bytes(tiny.tflite())
    added = add_source(tmp_path / "mean.tflite", licence="MIT")
    assert (added.card.runtime, added.card.dim) == ("litert", 3)
    np.testing.assert_allclose(load_encoder("mean").encode([grey(51)]), [[0.2, 0.2, 0.2]], rtol=1e-6)
    check_encoder(load_encoder("mean"))


@pytest.mark.slow
def test_a_keras_model_from_json_and_safetensors(tmp_path):
    folder = tiny.keras_folder(tmp_path / "toy")
    added = add_source(folder, settings={"side": 8})
    assert (added.card.runtime, added.card.dim) == ("keras", 5)
    check_encoder(load_encoder("toy"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, on saving
def test_the_conversion_of_a_keras_file_is_what_the_message_says(tmp_path):
    made = tiny.keras_model()
    made.save(tmp_path / "mine.keras")
    with pytest.raises(EncoderError, match="convert it where you trust it") as caught:
        add_source(tmp_path / "mine.keras", licence="MIT")
    command = str(caught.value).split("then add the folder: python -c ")[1].strip('"')
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True, capture_output=True)
    add_source(tmp_path, name="mine", licence="MIT", settings={"side": 8})
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    expected = made(picture[None].astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(load_encoder("mine").encode([picture]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_keras_application_by_name(tmp_path):
    import keras
    from safetensors.numpy import save_file

    keras.backend.clear_session()
    options = {"weights": None, "include_top": False, "pooling": "avg"}
    made = keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), **options)
    folder = tmp_path / "user-cards/mobile"
    folder.mkdir(parents=True)
    save_file({v.path: v.numpy() for v in made.weights}, folder / "model.safetensors")
    path = folder / "model.safetensors"
    (folder / "card.toml").write_text(
        'name = "mobile"\nmodality = "image"\nruntime = "keras"\ndim = 576\nsummary = "x"\nlicence = "Apache-2.0"\n'
        'citation = "none"\n[preprocessing]\napplication = "MobileNetV3Small"\nside = 32\n'
        f'[[files]]\nname = "model.safetensors"\nsha256 = "{sha256_of(path)}"\nbytes = {path.stat().st_size}\n'
        'sources = [{ kind = "folder", path = "model.safetensors" }]\n'
    )
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    expected = made(picture[None].astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(load_encoder("mobile").encode([picture]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_tflite_file_of_sounds_of_any_length(tmp_path):
    import tensorflow as tf

    class Peak(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32)])
        def __call__(self, samples):
            return tf.stack([tf.reduce_max(samples, 1), tf.reduce_mean(samples * samples, 1)], axis=1)

    module = Peak()
    function = module.__call__.get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert()
    (tmp_path / "peak.tflite").write_bytes(content)
    assert add_source(tmp_path / "peak.tflite", licence="MIT").card.modality == "audio"
    encoder = load_encoder("peak")
    assert encoder.encode([np.array([0.5, -0.5, 0.5, -0.5], np.float32)]).tolist() == [[0.5, 0.25]]
    check_encoder(encoder)


@pytest.mark.slow
def test_a_keras_model_of_sounds(tmp_path):
    import keras
    from safetensors.numpy import save_file

    samples = keras.Input((None, 1))
    frames = keras.layers.Conv1D(3, 4, strides=4, padding="same")(samples)
    made = keras.Model(samples, keras.layers.GlobalMaxPooling1D()(frames))
    folder = tmp_path / "ear"
    folder.mkdir()
    (folder / "model.json").write_text(made.to_json())
    save_file({v.path: v.numpy() for v in made.weights}, folder / "model.safetensors")
    assert add_source(folder, licence="MIT", modality="audio").card.dim == 3
    sound = np.random.default_rng(0).normal(0, 1, 64).astype(np.float32)
    expected = made(sound[None, :, None]).numpy()
    np.testing.assert_allclose(load_encoder("ear").encode([sound]), expected, rtol=1e-5, atol=1e-6)
    check_encoder(load_encoder("ear"))


@pytest.mark.slow
def test_a_module_of_several_outputs_and_a_shortest_sound(tmp_path):
    """As YAMNet is: scores, embeddings and a spectrogram, for sounds that are not too short."""
    import tensorflow as tf

    class Three(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, samples):
            frames = tf.signal.frame(samples, 8, 8)
            embeddings = tf.stack([tf.reduce_max(frames, 1), tf.reduce_sum(frames, 1)], axis=1)
            return tf.zeros([1, 5]), embeddings, frames

    tf.saved_model.save(Three(), str(tmp_path / "three"))
    settings = {"output": 1, "min_seconds": 8 / 16_000}
    assert add_source(tmp_path / "three", licence="MIT", settings=settings).card.dim == 2
    encoder = load_encoder("three")
    assert encoder.encode([np.ones(2, np.float32)]).tolist() == [[1, 2]]
    check_encoder(encoder)
