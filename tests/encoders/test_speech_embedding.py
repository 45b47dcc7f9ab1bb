import numpy as np
import pytest

from multimodal_dql.encoders.runtimes import onnx_audio
from multimodal_dql.encoders.runtimes.onnx_audio import sliding_vectors, window_vectors


@pytest.fixture(scope="module")
def encoder(built_in):
    return built_in("speech-embedding")


@pytest.mark.parametrize("frames", [76, 83, 84, 85, 151, 152, 300, 76 + 8 * 200 + 5])
def test_one_pass_over_the_spectrogram_gives_the_vectors_of_every_window(encoder, frames):
    mel = np.random.default_rng(frames).normal(0, 3, (frames, 32)).astype(np.float32)
    expected = window_vectors(encoder._embedding, mel)
    assert len(expected) == (frames - 76) // 8 + 1
    found = sliding_vectors(encoder._sliding, mel)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_built_in_file_is_run_in_one_pass(encoder):
    assert encoder._slides


def test_a_network_that_cannot_slide_is_given_windows(encoder, monkeypatch):
    sound = 0.3 * np.sin(np.arange(40_000, dtype=np.float32) ** 1.2)
    (expected,) = encoder.encode([sound])
    monkeypatch.setattr(onnx_audio, "_LONG_INPUT", {"no constant of this name": np.zeros(1, np.int64)})
    other = onnx_audio.SpeechEmbedding(encoder.card, encoder.files)
    assert not other._slides
    np.testing.assert_allclose(other.encode([sound])[0], expected, atol=1e-5 * np.abs(expected).max())
