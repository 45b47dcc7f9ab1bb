import numpy as np
import pytest

from multimodal_dql.encoders.base import EncoderInfo, check_images, check_sounds, check_texts
from multimodal_dql.errors import EncoderError
from tests.encoders.toys import Lengths


def test_texts_are_cut_and_halves_of_emoji_replaced():
    assert check_texts("e", ["abcdef", "标题标题", "\ud83d!"], 3) == ["abc", "标题标", "\ufffd!"]


def test_whole_emoji_and_right_to_left_text_stay_as_they_are():
    texts = ["👩‍👩‍👧 🎉", "مرحبا", ""]
    assert check_texts("e", texts) == texts


def test_a_text_that_is_none_is_refused_with_its_place_and_the_cure():
    with pytest.raises(EncoderError, match=r"encoder 'e': item 1 is NoneType; give a string"):
        check_texts("e", ["fine", None])


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["float", "grey", "alpha", "empty"],
)
def test_what_is_no_rgb_picture_is_refused(bad):
    with pytest.raises(EncoderError, match="item 0 is"):
        check_images("e", [bad])


@pytest.mark.parametrize(
    "bad",
    [np.zeros(4), np.zeros((4, 2), np.float32), np.zeros(0, np.float32), np.full(4, np.inf, np.float32)],
    ids=["float64", "stereo", "empty", "infinite"],
)
def test_what_is_no_mono_sound_is_refused(bad):
    with pytest.raises(EncoderError, match="item 0 is"):
        check_sounds("e", [bad])


def test_info_holds_the_facts():
    assert Lengths().info == EncoderInfo("lengths", "text", 2, "lengths-1")
