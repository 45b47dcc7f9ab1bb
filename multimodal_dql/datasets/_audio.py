"""Any common sound to mono float32 at 16 kHz. Runs in the decoder process only."""

from __future__ import annotations

import math
import os
import struct

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from multimodal_dql.datasets._files import is_sound, kind_of_bytes
from multimodal_dql.datasets._refusals import Refusal

__all__ = ["RATE", "decode_audio"]

RATE = 16_000  # samples a second, what the speech encoders expect
_MAX_CHANNELS = 8
_MIN_RATE, _MAX_RATE = 4_000, 384_000
_UNKNOWN = 2**63 - 1  # frames that libsndfile reports when the header gives no length, as in streamed FLAC
_BLOCK = 65_536  # frames decoded at a time: memory does not grow with the rate or the number of channels


def decode_audio(fd: int, size: int, *, max_seconds: float) -> NDArray[np.float32]:
    """Decode the file behind `fd` (of `size` bytes) to mono float32 at 16 kHz, shape (samples,), within
    -1..1.

    The header is checked before any sample is decoded: format, frames, channels, rate, duration. Channels
    are averaged and resampled block by block with soxr HQ, the resampler behind
    ``librosa.resample(res_type="soxr_hq")``, so the result is librosa's. A sound louder than full scale is
    divided by its peak. Raises `Refusal`.
    """
    head = os.pread(fd, 4096, 0)
    # libsndfile reads 25 formats; the four signatures that are used keep files away from the other parsers.
    if not is_sound(head):
        raise Refusal("not_a_sound", seen=kind_of_bytes(head))
    if head.startswith(b"RIFF"):
        _check_wav_length(fd, size)
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        # libsndfile closes the descriptor itself; a copy keeps the caller's open.
        with soundfile.SoundFile(os.dup(fd)) as sound:
            _check_header(sound, max_seconds)
            samples = _mono_16k(sound)
    except soundfile.LibsndfileError as error:
        raise Refusal("sound_damaged", reason=str(error.error_string)) from None
    if not np.isfinite(samples).all():
        raise Refusal("sound_not_finite")
    peak = float(np.abs(samples).max())
    return samples / np.float32(peak) if peak > 1 else samples


def _check_header(sound: soundfile.SoundFile, max_seconds: float) -> None:
    frames, rate, channels = sound.frames, sound.samplerate, sound.channels
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise Refusal("sound_rate", rate=rate, low=_MIN_RATE, high=_MAX_RATE)
    if channels > _MAX_CHANNELS:
        raise Refusal("sound_channels", channels=channels, budget=_MAX_CHANNELS)
    if frames <= 0:
        raise Refusal("sound_no_samples")
    if frames == _UNKNOWN:
        raise Refusal("sound_no_length")
    if frames > max_seconds * rate:
        raise Refusal("sound_too_long", seconds=frames / rate, budget=max_seconds)


def _mono_16k(sound: soundfile.SoundFile) -> NDArray[np.float32]:
    """Decode, average the channels and resample, one block after the other."""
    rate, announced = sound.samplerate, sound.frames
    resample = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
    parts: list[NDArray[np.float32]] = []
    decoded = 0
    while True:
        block = sound.read(_BLOCK, dtype="float32", always_2d=True)
        decoded += len(block)
        mono = block.mean(axis=1, dtype=np.float32)
        last = len(block) < _BLOCK
        parts.append(mono if resample is None else resample.resample_chunk(mono, last=last))
        if last:
            break
    if decoded == 0:
        raise Refusal("sound_no_samples")
    # Never more than announced, soundfile sees to that; MP3 may announce part of a frame of padding too much.
    if decoded < announced * (0.98 if sound.format == "MP3" else 1):
        raise Refusal("sound_cut_short", have=decoded, want=announced, unit="samples")
    return _fix_length(np.concatenate(parts), math.ceil(decoded * RATE / rate))


def _fix_length(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Cut or pad with zeros to `length`: the resampler may be a sample off where the ratio is not whole."""
    if len(samples) >= length:
        return samples[:length]
    return np.pad(samples, (0, length - len(samples)))


def _check_wav_length(fd: int, size: int) -> None:
    """Refuse a WAV whose data chunk promises more bytes than the file has; libsndfile would play what is
    left.

    Lengths 0 and 0xFFFFFFFF mean "not known" (written by programs that stream) and are left to libsndfile.
    """
    position = 12
    for _ in range(1000):  # a file of empty chunks must end as well
        chunk = os.pread(fd, 8, position)
        if len(chunk) < 8:
            return
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            have = size - position - 8
            if length not in (0, 0xFFFFFFFF) and have < length:
                raise Refusal("sound_cut_short", have=have, want=length, unit="bytes")
            return
        position += 8 + length + length % 2
