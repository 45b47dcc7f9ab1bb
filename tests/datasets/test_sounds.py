from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from multimodal_dql.datasets.media import MediaLimits, MediaLoader, load_audio
from multimodal_dql.errors import MediaDamaged, MediaError, MediaFormatError, MediaTooLarge, SoundInvalid

RATE = 16_000


@pytest.fixture(scope="module")
def loader() -> Iterator[MediaLoader]:
    with MediaLoader(MediaLimits(seconds=60)) as loader:
        yield loader


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0, loud: float = 0.5) -> NDArray[np.float64]:
    return loud * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def written(path: Path, samples: NDArray[Any], rate: int, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_16", 1e-3),
        ("wav", "PCM_U8", 2e-2),
        ("wav", "PCM_24", 1e-3),
        ("wav", "FLOAT", 1e-3),
        ("wav", "DOUBLE", 1e-3),
        ("wav", "ULAW", 3e-2),
        ("flac", "PCM_16", 1e-3),
        ("ogg", "VORBIS", 5e-2),
        ("ogg", "OPUS", 5e-2),
        ("mp3", "MPEG_LAYER_III", 5e-2),
    ],
)
def test_formats(tmp_path: Path, loader: MediaLoader, suffix: str, subtype: str, tolerance: float) -> None:
    path = written(tmp_path / f"x.{suffix}", tone(48_000), 48_000, subtype=subtype)
    sound = loader.audio(path)
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert sound.flags.writeable
    assert abs(len(sound) - RATE) <= (0 if suffix != "mp3" else 1200)  # MP3 pads to whole frames
    middle = sound[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == 220  # 440 Hz in half a second
    np.testing.assert_allclose(np.sqrt(2 * np.mean(middle**2)), 0.5, atol=tolerance)


def test_16_khz_comes_through_untouched(tmp_path: Path, loader: MediaLoader) -> None:
    samples = tone(RATE).astype(np.float32)
    path = written(tmp_path / "x.wav", samples, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(loader.audio(path), samples)
    np.testing.assert_array_equal(load_audio(path), samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_resampling_in_blocks_is_resampling_at_once(tmp_path: Path, loader: MediaLoader, rate: int) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 150_001).astype(np.float32)
    path = written(tmp_path / "x.wav", samples, rate, subtype="FLOAT")
    wanted = soxr.resample(samples, rate, RATE, quality="HQ")
    found = loader.audio(path)
    assert len(found) == -(-len(samples) * RATE // rate)
    assert abs(len(found) - len(wanted)) <= 1
    np.testing.assert_allclose(found[: len(wanted)], wanted[: len(found)], atol=1e-5)


@pytest.mark.slow
def test_resampling_is_librosas(tmp_path: Path, loader: MediaLoader) -> None:
    import librosa  # compiles for a while in a new environment

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 150_001).astype(np.float32)
    path = written(tmp_path / "x.wav", samples, 22_050, subtype="FLOAT")
    wanted = librosa.resample(samples, orig_sr=22_050, target_sr=RATE, res_type="soxr_hq")
    found = loader.audio(path)
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_channels_are_averaged(tmp_path: Path, loader: MediaLoader) -> None:
    left, right = tone(RATE, hertz=300), tone(RATE, hertz=500)
    path = written(tmp_path / "x.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(loader.audio(path), (left + right) / 2, atol=1e-6)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.flac", tone(RATE), RATE)
    path.rename(tmp_path / "声音.jpg")
    assert len(loader.audio(tmp_path / "声音.jpg")) == RATE


def test_louder_than_full_scale_is_scaled_to_it(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.wav", tone(RATE, loud=8.0), RATE, subtype="FLOAT")
    sound = loader.audio(path)
    np.testing.assert_allclose(np.abs(sound).max(), 1.0, atol=1e-6)
    np.testing.assert_allclose(sound, tone(RATE, loud=1.0) / tone(RATE, loud=1.0).max(), atol=1e-5)


def test_silence_is_a_sound(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.wav", np.zeros(44_100), 44_100)
    np.testing.assert_array_equal(loader.audio(path), np.zeros(RATE, np.float32))


def test_one_sample_is_a_sound(tmp_path: Path, loader: MediaLoader) -> None:
    assert len(loader.audio(written(tmp_path / "x.wav", np.array([0.5]), 48_000))) == 1


# Refusals


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 70_000, -1])
def test_samples_that_are_not_numbers(tmp_path: Path, loader: MediaLoader, bad: float, place: int) -> None:
    samples = tone(44_100, 3)
    samples[place] = bad
    path = written(tmp_path / "x.wav", samples, 44_100, subtype="FLOAT")
    with pytest.raises(SoundInvalid, match="samples that are not numbers") as caught:
        loader.audio(path)
    assert caught.value.exit_code == 2
    assert "非数值" in caught.value.text("zh")


def test_doubles_beyond_float32(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.wav", np.array([0.0, 1e300, 0.0]), RATE, subtype="DOUBLE")
    with pytest.raises(SoundInvalid, match="samples that are not numbers"):
        loader.audio(path)


def test_all_samples_nan(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(SoundInvalid, match="samples that are not numbers"):
        loader.audio(path)


def test_too_long_is_refused_from_the_header(tmp_path: Path, loader: MediaLoader) -> None:
    assert len(loader.audio(written(tmp_path / "x.wav", np.zeros(60 * 4_000), 4_000))) == 60 * RATE
    path = written(tmp_path / "x.flac", np.zeros(61 * 8_000), 8_000)
    with pytest.raises(MediaTooLarge, match=r"61\.0 seconds is more than the budget of 60 seconds"):
        loader.audio(path)


def flac_with_length(path: Path, seconds: int, frames: int) -> Path:
    """A FLAC of noise at 8 kHz whose header announces `frames` (36 bits of STREAMINFO; 0 means not known)."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * 8_000)
    data = bytearray(written(path, noise, 8_000).read_bytes())
    told = int.from_bytes(data[18:26], "big")
    assert told & ((1 << 36) - 1) == seconds * 8_000
    data[18:26] = ((told >> 36 << 36) | frames).to_bytes(8, "big")
    path.write_bytes(data)
    return path


def test_a_length_in_the_header_is_believed_when_it_is_too_long(tmp_path: Path, loader: MediaLoader) -> None:
    path = flac_with_length(tmp_path / "x.flac", 1, 8_000 * 1_000_000)
    with pytest.raises(MediaTooLarge, match=r"1,000,000\.0 seconds is more than the budget"):
        loader.audio(path)


def test_a_streamed_flac_without_length(tmp_path: Path, loader: MediaLoader) -> None:
    with pytest.raises(SoundInvalid, match="header does not say how long the sound is"):
        loader.audio(flac_with_length(tmp_path / "x.flac", 3, 0))


def test_too_many_channels(tmp_path: Path, loader: MediaLoader) -> None:
    assert len(loader.audio(written(tmp_path / "x.wav", np.zeros((100, 8)), RATE))) == 100
    with pytest.raises(SoundInvalid, match="1,024 channels is more than 8"):
        loader.audio(written(tmp_path / "y.wav", np.zeros((100, 1024)), RATE))


@pytest.mark.parametrize("rate", [3_999, 384_001])
def test_odd_rates(tmp_path: Path, loader: MediaLoader, rate: int) -> None:
    with pytest.raises(SoundInvalid, match=f"a sample rate of {rate:,} Hz is outside 4,000 to 384,000 Hz"):
        loader.audio(written(tmp_path / "x.wav", np.zeros(100), rate))


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_zero_length(tmp_path: Path, loader: MediaLoader, suffix: str) -> None:
    path = written(tmp_path / f"x.{suffix}", np.zeros(0), RATE)
    with pytest.raises((SoundInvalid, MediaDamaged)) as caught:
        loader.audio(path)
    if suffix == "wav":
        assert "no samples (zero length)" in str(caught.value)


def test_a_cut_wav_says_how_much_is_there(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.wav", tone(RATE), RATE)
    path.write_bytes(path.read_bytes()[:10_044])
    with pytest.raises(MediaDamaged, match="cut short: 10,000 of 32,000 announced bytes are there"):
        loader.audio(path)


def test_a_streamed_wav_without_lengths_is_read(tmp_path: Path, loader: MediaLoader) -> None:
    path = written(tmp_path / "x.wav", tone(RATE), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(loader.audio(path)) == RATE


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7, 0.98])
def test_a_cut_flac(tmp_path: Path, loader: MediaLoader, keep: float) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    path = written(tmp_path / "x.flac", noise, RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(MediaDamaged, match=r"damaged or cut short|is cut short"):
        loader.audio(path)


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_cut_mp3(tmp_path: Path, loader: MediaLoader, keep: float) -> None:
    path = written(tmp_path / "x.mp3", np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE), RATE)
    loader.audio(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(MediaDamaged, match="is cut short"):
        loader.audio(path)


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_a_header_alone(tmp_path: Path, loader: MediaLoader, suffix: str) -> None:
    path = written(tmp_path / f"x.{suffix}", tone(RATE), RATE)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(MediaError):
        loader.audio(path)


def test_a_wav_of_endless_chunks_ends(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF\x00\x00\x10\x00WAVE" + b"junk\x00\x00\x00\x00" * 100_000)
    with pytest.raises(MediaError):
        loader.audio(path)


def test_a_wav_that_lies_about_everything(tmp_path: Path, loader: MediaLoader) -> None:
    header = struct.pack("<HHIIHH", 1, 65_535, 0xFFFFFFFF, 0, 0, 0)
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + header + b"data\x04\x00\x00\x00abcd")
    with pytest.raises(MediaError):
        loader.audio(path)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"no sound here\n" * 20, "a text file"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "a picture"),
        (b"\x00\x00\x00\x1cftypM4A " + b"\x00" * 50, "a video or AAC file"),
        (b"RF64\xff\xff\xff\xffWAVEds64" + b"\x00" * 50, "in a format that is not known here"),
        (b"FORM\x00\x00\x00\x40AIFFCOMM" + b"\x00" * 50, "in a format that is not known here"),
        (b"\xff\xff\xff\xff" * 20, "in a format that is not known here"),
    ],
)
def test_what_is_not_a_sound_is_named(tmp_path: Path, loader: MediaLoader, data: bytes, seen: str) -> None:
    path = tmp_path / "teaser.wav"
    path.write_bytes(data)
    with pytest.raises(MediaFormatError) as caught:
        loader.audio(path)
    assert (
        f"teaser.wav: is {seen}, not a sound that can be read; export it as one of WAV, FLAC, OGG, MP3"
        in str(caught.value)
    )


def test_formats_that_are_not_wanted_never_reach_libsndfile(tmp_path: Path, loader: MediaLoader) -> None:
    for suffix in ("au", "caf", "w64", "aiff", "mat"):
        options = {"format": "MAT5"} if suffix == "mat" else {}
        path = written(tmp_path / f"x.{suffix}", tone(RATE), RATE, **options)
        with pytest.raises(MediaFormatError):
            loader.audio(path)


def test_broken_files_do_not_use_up_descriptors(tmp_path: Path, loader: MediaLoader) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt " + b"\x00" * 40)
    good = written(tmp_path / "good.wav", tone(RATE), RATE)
    loader.audio(good)
    (pid,) = loader.pids
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        with pytest.raises(MediaError):
            loader.audio(bad)
        loader.audio(good)
    assert loader.pids == (pid,)
    assert len(os.listdir(f"/proc/{pid}/fd")) == before


def test_flipped_bytes_never_do_more_than_an_error(tmp_path: Path, loader: MediaLoader) -> None:
    rng = np.random.default_rng(1)
    survived = 0
    for suffix in ("wav", "flac", "ogg", "mp3"):
        good = np.frombuffer(written(tmp_path / f"x.{suffix}", tone(22_050), 22_050).read_bytes(), np.uint8)
        for number in range(25):
            bad = good.copy()
            places = rng.integers(0, len(bad) if number % 2 else 100, 3)
            bad[places] = rng.integers(0, 256, 3)
            path = tmp_path / "bad"
            path.write_bytes(bad.tobytes())
            try:
                sound = loader.audio(path)
            except MediaError:
                continue
            survived += 1
            assert np.isfinite(sound).all()
            assert np.abs(sound).max() <= 1
    assert survived > 0
