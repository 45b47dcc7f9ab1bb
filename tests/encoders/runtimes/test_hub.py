"""TensorFlow Hub's loader on modules small enough to work out by hand."""

import hashlib

import numpy as np
import pytest

from multimodal_dql.encoders.cards import read_card
from multimodal_dql.encoders.checks import check_encoder
from multimodal_dql.encoders.registry import load_card
from multimodal_dql.errors import EncoderError, EncoderUnavailable
from tests.encoders.toys import write_card

pytestmark = pytest.mark.slow  # importing TensorFlow takes seconds


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Folder -> SavedModels ``text``, ``image`` and ``audio``, saved as a publisher would."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("hub")

    class Text(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            return tf.stack([self.lengths(texts), tf.ones_like(self.lengths(texts))], axis=1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def named(self, texts):
            return {"double": 2 * self.lengths(texts)[:, None], "other": self.lengths(texts)}

        def lengths(self, texts):
            return tf.cast(tf.strings.length(texts, "UTF8_CHAR"), tf.float32)

    class Image(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def __call__(self, pictures):
            return tf.reduce_mean(pictures, [1, 2])

    class Audio(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, samples):
            frames = tf.signal.frame(samples, 4, 4, pad_end=True)
            return tf.stack([tf.reduce_max(frames, 1), tf.reduce_min(frames, 1)], axis=1)

    text = Text()
    tf.saved_model.save(text, str(root / "text"), signatures={"named": text.named})
    tf.saved_model.save(Image(), str(root / "image"))
    tf.saved_model.save(Audio(), str(root / "audio"))
    return root


def card_for(folder, cards, settings, *, via="folder"):
    lines = [settings, 'runtime = "hub"']
    for path in sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name != "fingerprint.pb"
    ):
        name = path.relative_to(folder).as_posix()
        if via == "folder":
            source = f'{{ kind = "folder", path = "{path}" }}'
        else:
            source = f'{{ kind = "hub", handle = "{via}", path = "{name}" }}'
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f'[[files]]\nname = "{name}"\nsha256 = "{digest}"\nbytes = {path.stat().st_size}')
        lines.append(f"sources = [{source}]")
    head = [line for line in lines if "[preprocessing]" not in line]
    body = [line for line in lines if "[preprocessing]" in line]
    if body:  # top-level keys come before tables
        before, table = body[0].split("[preprocessing]")
        head = [before, head[0], "[preprocessing]" + table, *head[1:]]
    return read_card(write_card(cards, "toy", "\n".join(head)))


def test_text_is_called_as_a_whole(modules, tmp_path):
    encoder = load_card(card_for(modules / "text", tmp_path, 'modality = "text"\ndim = 2'))
    assert encoder.encode(["abc", "标题"]).tolist() == [[3, 1], [2, 1]]
    check_encoder(encoder)


def test_a_signature_and_one_of_its_outputs(modules, tmp_path):
    settings = 'modality = "text"\ndim = 1\nsignature = "named"\n[preprocessing]\noutput = "double"\n'
    assert load_card(card_for(modules / "text", tmp_path, settings)).encode(["abc"]).tolist() == [[6]]


def test_an_output_must_be_named_when_there_are_several(modules, tmp_path):
    settings = 'modality = "text"\ndim = 1\nsignature = "named"'
    with pytest.raises(EncoderError, match=r"\['double', 'other'\]; name one"):
        load_card(card_for(modules / "text", tmp_path, settings)).encode(["abc"])


def test_a_signature_that_is_not_there_is_refused(modules, tmp_path):
    settings = 'modality = "text"\ndim = 1\nsignature = "nmaed"'
    with pytest.raises(EncoderError, match="signature 'nmaed' cannot be loaded"):
        load_card(card_for(modules / "text", tmp_path, settings))


def test_pictures_are_scaled_as_the_card_says(modules, tmp_path):
    settings = 'modality = "image"\ndim = 3\n[preprocessing]\nside = 8\nmean = 0.0\nscale = 255.0\n'
    encoder = load_card(card_for(modules / "image", tmp_path, settings))
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 0] = 255
    assert encoder.encode([picture]).tolist() == [[1, 0, 0]]
    check_encoder(encoder)


def test_frames_of_a_sound_become_their_mean(modules, tmp_path):
    settings = 'modality = "audio"\ndim = 2\npooling = "mean"'
    encoder = load_card(card_for(modules / "audio", tmp_path, settings))
    assert encoder.encode([np.array([1, 2, 3, 4, -1, 0, 0, 0], np.float32)]).tolist() == [[2, 0]]
    with pytest.raises(EncoderError, match=r'2 rows an item; write pooling = "mean"'):
        load_card(card_for(modules / "audio", tmp_path, 'modality = "audio"\ndim = 2')).encode(
            [np.zeros(8, np.float32)]
        )


def test_a_handle_is_resolved_by_tensorflow_hub_and_verified(modules, tmp_path):
    settings = 'modality = "text"\ndim = 2'
    card = card_for(modules / "text", tmp_path, settings, via=str(modules / "text"))
    assert load_card(card).encode(["ab"]).tolist() == [[2, 1]]
    other = card_for(modules / "text", tmp_path, settings, via=str(modules / "image"))
    with pytest.raises(EncoderError, match="is not the one on its card"):
        load_card(other)


def test_a_handle_that_leads_nowhere_is_unavailable(modules, tmp_path):
    card = card_for(modules / "text", tmp_path, 'modality = "text"\ndim = 2', via=str(tmp_path / "nothing"))
    with pytest.raises(EncoderUnavailable, match="nothing"):
        load_card(card)
