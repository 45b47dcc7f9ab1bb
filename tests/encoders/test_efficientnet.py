import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from multimodal_dql.encoders.cards import card_paths, read_card
from multimodal_dql.encoders.pictures import square_input
from multimodal_dql.encoders.sources import resolve

# The five strongest of 1,000 logits of scikit-learn's china.jpg and flower.jpg, recorded from the original
# PyTorch implementation with the same weights.
RECORDED = [
    {698: 7.5123, 442: 6.7792, 663: 6.1139, 483: 5.6580, 975: 5.5281},
    {985: 7.5116, 108: 5.5550, 947: 5.5317, 309: 5.4440, 310: 4.7966},
]


@pytest.mark.slow
def test_keras_gives_the_original_logits_and_litert_the_same_features(built_in):
    litert = built_in("efficientnet-lite0")
    from multimodal_dql.encoders.efficientnet import build_lite0

    card = read_card(card_paths()["efficientnet-lite0"])
    model = build_lite0(resolve(card)["weights.pth"])
    photos = load_sample_images().images
    pooled, logits = (
        np.asarray(part) for part in model(np.stack([square_input(photo, card) for photo in photos]))
    )
    for row, known in zip(logits, RECORDED, strict=True):
        assert np.argsort(-row)[:5].tolist() == list(known)
        np.testing.assert_allclose(row[list(known)], list(known.values()), atol=1e-4)
    np.testing.assert_allclose(litert.encode(photos), pooled, atol=1e-4)


def test_the_square_is_the_middle_of_the_picture():
    card = read_card(card_paths()["efficientnet-lite0"])
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[16:240, 144:368] = 255  # exactly the centre crop of .875
    np.testing.assert_array_equal(square_input(picture, card), np.ones((224, 224, 3), np.float32))
