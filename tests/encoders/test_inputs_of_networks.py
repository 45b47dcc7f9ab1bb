"""What pictures and sounds become before a network, and what its output becomes afterwards, worked out by hand."""

import numpy as np
import pytest

from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.pictures import square_input
from multimodal_dql.encoders.pooling import chosen_output, pooled
from multimodal_dql.encoders.sounds import windows
from multimodal_dql.errors import EncoderError


def card(modality="image", pooling="none", **preprocessing):
    return Card(
        name="toy",
        modality=modality,
        runtime="onnx",
        dim=1,
        summary="x",
        licence="MIT",
        citation="none",
        pooling=pooling,
        preprocessing=preprocessing,
    )


def test_a_crop_leaves_the_sides_out_and_a_squash_does_not():
    picture = np.zeros((2, 6, 3), np.uint8)
    picture[:, :2], picture[:, 4:] = 100, 200
    assert square_input(picture, card(side=2)).tolist() == np.zeros((2, 2, 3)).tolist()
    squashed = square_input(picture, card(side=2, resize="squash", interpolation="bilinear"))
    assert squashed[0, 0, 0] > 0
    assert squashed[0, 1, 0] == pytest.approx(2 * squashed[0, 0, 0], abs=1)


def test_nearest_keeps_grey_levels_that_others_would_mix():
    picture = np.repeat(np.array([[[0], [255]]], np.uint8), 3, axis=2).repeat(4, axis=0).repeat(2, axis=1)
    near = square_input(picture, card(side=3, interpolation="nearest"))
    assert set(near.ravel().tolist()) == {0.0, 255.0}
    assert len(set(square_input(picture, card(side=3)).ravel().tolist())) > 2


def test_each_colour_has_its_own_mean_and_scale_after_the_order_of_colours():
    picture = np.array([[[10, 20, 30]]], np.uint8)
    given = square_input(picture, card(side=1, colours="bgr", mean=(30.0, 0.0, 0.0), scale=(1.0, 2.0, 10.0)))
    assert given.tolist() == [[[0.0, 10.0, 1.0]]]


@pytest.mark.parametrize(
    "setting", [{"resize": "fit"}, {"interpolation": "area"}, {"side": 0}, {"side": 5000}]
)
def test_a_setting_nobody_knows_is_named(setting):
    with pytest.raises(EncoderError, match=f"preprocessing.{next(iter(setting))}"):
        square_input(np.zeros((4, 4, 3), np.uint8), card(**{"side": 2, **setting}))


def test_a_sound_is_cut_into_equal_windows():
    sound = np.arange(10, dtype=np.float32)
    parts = windows(sound, card("audio"), exactly=4)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 0], [7, 8, 9, 0]]


def test_a_short_sound_is_followed_by_silence_and_the_gain_applies():
    (part,) = windows(np.ones(2, np.float32), card("audio", min_seconds=4 / 16_000, gain=3.0))
    assert part.tolist() == [3, 3, 0, 0]


def test_another_rate_has_another_number_of_samples():
    seconds = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 100 * seconds).astype(np.float32)
    (part,) = windows(tone, card("audio", rate_hz=48_000))
    assert len(part) == 48_000
    wanted = np.sin(2 * np.pi * 100 * np.arange(48_000) / 48_000)
    np.testing.assert_allclose(part[2000:-2000], wanted[2000:-2000], atol=1e-3)


@pytest.mark.parametrize(
    "setting", [{"rate_hz": 0}, {"window_seconds": 1e9}, {"min_seconds": -1}, {"rate_hz": float("nan")}]
)
def test_an_impossible_number_is_named(setting):
    with pytest.raises(EncoderError, match=f"preprocessing.{next(iter(setting))}"):
        windows(np.ones(2, np.float32), card("audio", **setting))


HIDDEN = np.array([[[1, 9], [3, 5], [8, 1]]], np.float32)


@pytest.mark.parametrize(
    ("pooling", "all_steps", "two_steps"),
    [("mean", [4, 5], [2, 7]), ("cls", [1, 9], [1, 9]), ("last", [8, 1], [3, 5]), ("max", [8, 9], [3, 9])],
)
def test_a_mask_says_which_steps_count(pooling, all_steps, two_steps):
    toy = card(pooling=pooling)
    assert pooled(toy, HIDDEN).tolist() == [all_steps]
    assert pooled(toy, HIDDEN, np.array([[True, True, False]])).tolist() == [two_steps]


def test_a_feature_map_is_averaged_over_its_places():
    grid = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    assert pooled(card(pooling="mean"), grid).tolist() == [[5, 6]]
    first = card(pooling="mean", layout="channels-first")
    assert pooled(first, grid.transpose(0, 3, 1, 2)).tolist() == [[5, 6]]


def test_one_row_needs_no_pooling_and_several_do():
    assert pooled(card(), HIDDEN[:, :1]).tolist() == [[1, 9]]
    assert pooled(card(), HIDDEN[:, 0]).tolist() == [[1, 9]]
    with pytest.raises(EncoderError, match='3 rows an item; write pooling = "mean"'):
        pooled(card(), HIDDEN)
    with pytest.raises(EncoderError, match="pooling is 'median'"):
        pooled(card(pooling="median"), HIDDEN)


def test_the_output_that_is_named_or_the_first():
    outputs = {"a": np.zeros(1), "b": np.ones(1)}
    assert chosen_output(card(), outputs) == 0
    assert chosen_output(card(output="b"), outputs) == 1
    with pytest.raises(EncoderError, match=r"\['a', 'b'\]; name one as preprocessing.output"):
        chosen_output(card(output="c"), outputs)
