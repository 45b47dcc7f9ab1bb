"""What the built-in encoders must get right on real sentences, photographs and kinds of sound."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from multimodal_dql.encoders.base import AUDIO_RATE_HZ

PAIRS = [
    ("Oil prices rise sharply and shares fall", "油价大涨，股市下跌"),
    ("Heavy rain floods the old town", "暴雨淹没老城"),
    ("Scientists discover a new planet", "科学家发现一颗新行星"),
    ("How to cook perfect dumplings at home", "如何在家做出完美的饺子"),
    ("The national team wins the football final", "国家队赢得足球决赛"),
    ("Five exercises for a healthy back", "保护背部健康的五个动作"),
]


def cosine(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def test_a_chinese_headline_is_nearest_to_its_english_translation(built_in):
    encoder = built_in("use-multilingual")
    likeness = cosine(encoder.encode([zh for _, zh in PAIRS]), encoder.encode([en for en, _ in PAIRS]))
    assert likeness.argmax(axis=1).tolist() == list(range(len(PAIRS)))
    assert likeness.argmax(axis=0).tolist() == list(range(len(PAIRS)))


@pytest.mark.parametrize("name", ["use-multilingual", "minilm"])
def test_a_paraphrase_is_nearer_than_another_topic(built_in, name):
    encoder = built_in(name)
    said = ["The cat sleeps on the sofa", "Share prices dropped today", "He cooked dinner for his family"]
    again = [
        "A kitten is napping on the couch",
        "The stock market fell this afternoon",
        "Dad made the family a meal",
    ]
    assert cosine(encoder.encode(said), encoder.encode(again)).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["use-multilingual", "minilm"])
def test_text_embeddings_have_length_one(built_in, name):
    norms = np.linalg.norm(built_in(name).encode(["one", "two words", ""]), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_minilm_tells_a_near_sentence_from_a_far_one(built_in):
    vectors = built_in("minilm").encode(
        ["A man is eating food.", "A man eats something.", "The new movie is awesome"]
    )
    likeness = cosine(vectors, vectors)
    assert likeness[0, 1] > 0.7
    assert likeness[0, 2] < 0.2


def test_minilm_reads_what_fits_and_no_more(built_in):
    encoder = built_in("minilm")
    long = "word " * 390
    same, other = encoder.encode([long, long + "an entirely different ending"])
    np.testing.assert_array_equal(same, other)


def test_crops_of_one_photograph_are_nearer_than_another_photograph(built_in):
    encoder = built_in("efficientnet-lite0")
    crops = [
        photo[y : y + 300, x : x + 400]
        for photo in load_sample_images().images
        for y, x in ((0, 0), (100, 200))
    ]
    likeness = cosine(*[encoder.encode([np.ascontiguousarray(crop) for crop in crops])] * 2)
    np.fill_diagonal(likeness, -1)
    assert likeness.argmax(axis=1).tolist() == [1, 0, 3, 2]


def test_efficientnet_gives_the_recorded_features(built_in):
    # The five strongest of 1,280 features of scikit-learn's china.jpg and flower.jpg.
    recorded = [
        {164: 3.1660, 702: 2.7299, 1190: 2.5121, 1104: 2.2639, 609: 2.1861},
        {303: 3.8276, 354: 3.4461, 1263: 2.9398, 949: 2.4447, 726: 2.2639},
    ]
    vectors = built_in("efficientnet-lite0").encode(load_sample_images().images)
    for vector, known in zip(vectors, recorded, strict=True):
        assert np.argsort(-vector)[:5].tolist() == list(known)
        np.testing.assert_allclose(vector[list(known)], list(known.values()), atol=2e-4)


def sounds_of(kind, rng):
    """Two sounds of one kind, with other pitches and other noise."""
    seconds = np.arange(2 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    made = []
    for pitch in (180, 220):
        if kind == "chord":
            sound = sum(np.sin(2 * np.pi * pitch * ratio * seconds) / 3 for ratio in (1, 1.25, 1.5))
        elif kind == "noise":
            sound = rng.standard_normal(len(seconds))
        elif kind == "clicks":
            sound = np.where(
                np.arange(len(seconds)) % (pitch * 20) < 60, rng.standard_normal(len(seconds)), 0
            )
        else:  # voice-like: a buzz whose loudness follows syllables
            sound = (
                np.sign(np.sin(2 * np.pi * pitch * seconds)) * np.abs(np.sin(2 * np.pi * 3 * seconds)) ** 3
            )
        made.append((0.2 * sound).astype(np.float32))
    return made


@pytest.mark.parametrize("name", ["speech-embedding", "librosa-descriptors"])
def test_sounds_of_a_kind_are_neighbours(built_in, name):
    rng = np.random.default_rng(3)
    sounds = [sound for kind in ("chord", "noise", "clicks", "voice") for sound in sounds_of(kind, rng)]
    vectors = built_in(name).encode(sounds)
    vectors = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)
    distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert distance.argmin(axis=1).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]


def test_librosa_descriptors_mean_what_they_say(built_in):
    seconds = np.arange(2 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    (vector,) = built_in("librosa-descriptors").encode([tone])
    assert vector[40:52].argmax() == 9  # the chroma class of A, counted from C
    assert vector[78] == pytest.approx(0.44, rel=0.05)  # centroid, kHz
    assert vector[82] == pytest.approx(0.5 / np.sqrt(2), rel=0.05)  # root mean square of a sine
    assert vector[84] == pytest.approx(2 * 440 / AUDIO_RATE_HZ, rel=0.05)  # two crossings a period


def test_a_sound_of_one_window_has_no_spread(built_in):
    rng = np.random.default_rng(0)
    short, longer = (0.1 * rng.standard_normal(n).astype(np.float32) for n in (12_512, 16_000))
    vectors = built_in("speech-embedding").encode([short, longer])
    assert np.all(vectors[0, 96:] == 0)
    assert np.any(vectors[1, 96:] > 0)


def test_a_short_sound_is_the_same_as_with_silence_after_it(built_in):
    sound = np.sin(np.arange(4000, dtype=np.float32))
    vectors = built_in("speech-embedding").encode([sound, np.pad(sound, (0, 12_512 - 4000))])
    np.testing.assert_array_equal(vectors[0], vectors[1])
