"""The compiled resize gives every bit that Pillow gives, and is loaded only when it pays."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from multimodal_dql.encoders.resize import bicubic_weights, resized

SIZE = st.integers(1, 2000)
ONE = 1 << 22


def by_pillow(picture, left, right, side):
    """Across, then down: in two steps, as Pillow 13 takes the other order for tall pictures."""
    middle = Image.fromarray(np.ascontiguousarray(picture[:, left:right]))
    across = middle.resize((side, middle.height), Image.Resampling.BICUBIC)
    return np.asarray(across.resize((side, side), Image.Resampling.BICUBIC))


def noise(height, width, seed, levels=256):
    rng = np.random.Generator(np.random.Philox(seed))
    return (rng.integers(0, levels, (height, width, 3)) * (255 // (levels - 1))).astype(np.uint8)


@settings(deadline=None, max_examples=60)
@given(SIZE, SIZE, st.integers(1, 320), st.integers(0, 2**32), st.sampled_from([2, 4, 256]))
@example(630, 630, 224, 0, 256)
@example(1, 1, 224, 0, 256)
@example(1, 2000, 224, 1, 2)  # two levels: the overshoot of the kernel is clipped at both ends
@example(2000, 1, 224, 2, 2)
@example(2000, 1999, 1, 3, 2)
@example(224, 224, 224, 4, 256)
@example(224, 225, 224, 5, 256)
def test_every_bit_is_pillows(height, width, side, seed, levels):
    picture = noise(height, width, seed, levels)
    np.testing.assert_array_equal(resized(picture, 0, width, side), by_pillow(picture, 0, width, side))


@settings(deadline=None, max_examples=60)
@given(SIZE, st.integers(-1, 1), st.integers(8, 320), st.integers(0, 2**32))
@example(630, 0, 224, 0)
@example(1, 1, 224, 0)
@example(2, -1, 224, 0)
@example(2000, -1, 8, 0)
def test_a_crop_is_what_pillow_makes_of_it_in_one_step(height, more, side, seed):
    picture = noise(height, max(1, height + more), seed)
    wanted = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized(picture, 0, picture.shape[1], side), np.asarray(wanted))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.data())
def test_no_pixel_from_beyond_the_columns_comes_in(height, width, more, side, data):
    left = data.draw(st.integers(0, more))
    picture = noise(height, width + more, height)
    wanted = by_pillow(picture, left, left + width, side)
    np.testing.assert_array_equal(resized(picture, left, left + width, side), wanted)


@pytest.mark.parametrize("number", [0, 1], ids=["china", "flower"])
@pytest.mark.parametrize("side", [64, 192, 224, 600])
def test_photographs(number, side):
    photo = load_sample_images().images[number]
    np.testing.assert_array_equal(resized(photo, 31, 451, side), by_pillow(photo, 31, 451, side))


def test_any_layout_and_pictures_that_may_not_be_written():
    picture = noise(90, 70, 1)
    wanted = by_pillow(picture, 5, 60, 32)
    frozen = picture.copy()
    frozen.flags.writeable = False
    for same in (
        frozen,
        np.asfortranarray(picture),
        picture[::-1].copy()[::-1],
        picture[:, ::-1].copy()[:, ::-1],
    ):
        np.testing.assert_array_equal(resized(same, 5, 60, 32), wanted)


@pytest.mark.parametrize(
    ("shape", "left", "right", "side"),
    [
        ((9, 9, 3), -1, 5, 4),
        ((9, 9, 3), 0, 10, 4),
        ((9, 9, 3), 5, 5, 4),
        ((9, 9, 4), 0, 9, 4),
        ((9, 9), 0, 9, 4),
        ((0, 9, 3), 0, 9, 4),
        ((9, 9, 3), 0, 9, 0),
    ],
)
def test_what_is_not_there_is_refused(shape, left, right, side):
    with pytest.raises(ValueError, match="picture"):
        resized(np.zeros(shape, np.uint8), left, right, side)


def test_threads_do_not_share_memory():
    pictures = [noise(200 + n, 300, n) for n in range(24)]
    alone = [resized(picture, 0, 300, 224) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: resized(picture, 0, 300, 224), pictures))
    np.testing.assert_array_equal(together, alone)


def test_weights_by_hand():
    # Three pixels to one: at distances 1/3, 0, 1/3 the kernel is 7/9, 1, 7/9, which sum to 23/9.
    first, weights = bicubic_weights(3, 1)
    assert first.tolist() == [0]
    assert weights.tolist() == [[round(7 * ONE / 23), round(9 * ONE / 23), round(7 * ONE / 23), 0]]
    # As many as before: each pixel is itself.
    first, weights = bicubic_weights(5, 5)
    itself = np.arange(5)
    np.testing.assert_array_equal(weights[itself, itself - first], ONE)
    assert weights.sum() == 5 * ONE


@given(SIZE, st.integers(1, 320))
def test_weights_sum_to_one_and_stay_inside(size, side):
    first, weights = bicubic_weights(size, side)
    taps = weights.shape[1]
    assert taps % 4 == 0
    # Each weight is rounded by at most half a unit.
    assert np.abs(weights.sum(axis=1) - ONE).max() <= taps / 2
    beyond = first[:, None] + np.arange(taps) >= size
    assert not weights[beyond].any()
    assert first.min() >= 0


SCRIPT = """
import json, sys
import numpy as np
from multimodal_dql.encoders.cards import card_paths, read_card
from multimodal_dql.encoders.pictures import square_input

card = read_card(card_paths()["efficientnet-lite0"])
rng = np.random.Generator(np.random.Philox(7))
sizes = [(9, 5, 3), (300, 451, 3), (1, 90, 3), (720, 600, 3)]
pictures = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
before = [square_input(picture, card) for picture in pictures]
for _ in range(60):
    square_input(pictures[0], card)
few = "numba" in sys.modules
after = [square_input(picture, card) for picture in pictures]
same = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(before, after))
print(json.dumps([few, "numba" in sys.modules, same]))
"""


def test_a_few_pictures_load_no_compiler_and_many_get_the_same_bits():
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [False, True, True]


def test_a_crop_of_the_right_size_needs_no_resize():
    script = (
        "import sys, numpy as np\n"
        "from multimodal_dql.encoders.cards import card_paths, read_card\n"
        "from multimodal_dql.encoders.pictures import square_input\n"
        "card = read_card(card_paths()['efficientnet-lite0'])\n"
        "picture = np.arange(256 * 256 * 3, dtype=np.uint32).reshape(256, 256, 3).astype(np.uint8)\n"
        "square = square_input(picture, card)\n"
        "wanted = (picture[16:240, 16:240].astype(np.float32) - np.float32(127)) / np.float32(128)\n"
        "print(np.array_equal(square, wanted), 'PIL' in sys.modules, 'numba' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["True", "False", "False"]
