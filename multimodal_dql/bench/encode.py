"""How many items a second each built-in encoder does, on one thread, next to what was measured elsewhere."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.bare import against_bare
from multimodal_dql.datasets.media import MediaLoader
from multimodal_dql.encoders.base import AUDIO_RATE_HZ, Encoder
from multimodal_dql.encoders.registry import load_encoder

__all__ = ["GOALS", "REFERENCE", "bench_encode"]

REFERENCE: dict[str, dict[str, tuple[float, float]]] = {
    "text": {"use-multilingual": (1800, 2000), "minilm": (400, 750)},
    "image": {"efficientnet-lite0": (129, 129)},
    "audio": {"speech-embedding": (27, 27)},
}
"""Items a second (lowest, highest) that these versions reached on one thread of another machine."""

GOALS: dict[str, dict[str, float]] = {
    "text": {"use-multilingual": 1500, "minilm": 400},
    "image": {"efficientnet-lite0": 100},
    "audio": {"speech-embedding": 25},
}
"""Items a second that one thread of a recent server should reach."""

_TEXTS = 512
_PICTURES = 48
_SOUNDS = 12
_SECONDS = 3


def bench_encode(repeats: int = 5) -> dict[str, Any]:
    """Items a second: median of `repeats` runs after a warm-up, everything on one thread.

    Texts are headlines of about 12 words (the multilingual encoder also gets Chinese ones), pictures are
    decoded 1280 x 720 photographs as the media loader hands them on, sounds are three-second clips.
    ``decode_720p`` is JPEG files to arrays in the isolated decoder, which runs beside the encoder and is no
    part of its figure. ``bare`` compares the runtime alone, the encoder and the whole command on the same batches.

    Raises `EncoderError` when a built-in encoder cannot be loaded here.
    """
    rng = np.random.default_rng(2026)
    english = [_headline(rng) for _ in range(_TEXTS)]
    mixed = [_headline_zh(rng) if n % 4 == 3 else text for n, text in enumerate(english)]
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-bench-") as folder, MediaLoader() as loader:
        files = _photos(rng, Path(folder))
        decode = _rate(lambda: [loader.image(file) for file in files], len(files), repeats)
        pictures = [loader.image(files[n % len(files)]) for n in range(_PICTURES)]
    sounds = [_clip(rng) for _ in range(_SOUNDS)]
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-bench-") as folder, _one_thread():
        bare = _bare(rng, Path(folder), repeats)
    return {
        "text": {
            "use-multilingual": _encode_rate("use-multilingual", mixed, repeats),
            "minilm": _encode_rate("minilm", english, repeats),
        },
        "image": {
            "efficientnet-lite0": _encode_rate("efficientnet-lite0", pictures, repeats),
            "decode_720p": decode,
        },
        "audio": {"speech-embedding": _encode_rate("speech-embedding", sounds, repeats)},
        "bare": bare,
        "reference": {
            kind: {name: list(span) for name, span in of.items()} for kind, of in REFERENCE.items()
        },
        "goals": {kind: dict(of) for kind, of in GOALS.items()},
        "threads": 1,
    }


def _bare(rng: np.random.Generator, folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Encoder name -> what `against_bare` finds on generated files, all different."""
    texts = [f"{_headline(rng)}, {n}" for n in range(2 * _TEXTS)]
    photos = _photos(rng, folder)
    pictures, clips = [], []
    for n in range(2 * _PICTURES):  # what follows the picture in its file makes another content of it
        pictures.append(folder / f"copy-{n}.jpg")
        pictures[-1].write_bytes(photos[n % len(photos)].read_bytes() + str(n).encode())
    for n in range(4 * _SOUNDS):
        clips.append(folder / f"{n}.wav")
        _write_clip(clips[-1], _clip(rng))
    with MediaLoader() as loader:
        decoded = list(loader.images(pictures))
        heard = list(loader.audios(clips))
    given: dict[str, tuple[str, Sequence[Any], Sequence[object]]] = {
        "use-multilingual": ("caption", texts, texts),
        "minilm": ("caption", texts, texts),
        "efficientnet-lite0": ("image", decoded, pictures),
        "speech-embedding": ("audio", heard, clips),
    }
    found = {}
    for name, (column, items, cells) in given.items():
        catalogue = folder / f"{name}.jsonl"
        rows = (
            json.dumps({"item_id": str(n // 4), "variant_id": str(n), column: str(cell)})
            for n, cell in enumerate(cells)
        )
        catalogue.write_text("\n".join(rows), "utf-8")
        found[name] = against_bare(load_encoder(name), items, catalogue, repeats)
    return found


def _write_clip(path: Path, sound: NDArray[np.float32]) -> None:
    import soundfile

    soundfile.write(path, sound, AUDIO_RATE_HZ, subtype="PCM_16")


def _encode_rate(name: str, items: Sequence[Any], repeats: int) -> float:
    encoder: Encoder = load_encoder(name)
    return _rate(lambda: encoder.encode(items), len(items), repeats)


def _rate(work: Callable[[], object], items: int, repeats: int) -> float:
    """Items a second, rounded to a tenth: the median of `repeats` runs after one that does not count."""
    seconds = []
    with _one_thread():
        work()
        for _ in range(max(1, repeats)):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
    return round(items / statistics.median(seconds), 1)


def _one_thread() -> AbstractContextManager[object]:
    """Holds NumPy's matrix library to one thread; the other runtimes are made with one."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


_WHO = [
    "Local bakers",
    "Night-shift nurses",
    "Two retired engineers",
    "A village choir",
    "Young farmers",
    "The city's divers",
]
_DO = ["turn down", "rebuild", "quietly share", "argue about", "test", "fall in love with"]
_WHAT = [
    "a forgotten railway station",
    "the cheapest solar oven",
    "a recipe from 1890",
    "an orchestra of robots",
]
_WHY = ["and nobody noticed", "after a long winter", "to save the harbour", "because nobody else would"]
_WHO_ZH = ["夜班护士", "退休工程师", "山村合唱团", "年轻农民"]
_DO_ZH = ["悄悄改造", "重新打开", "意外发现", "集体放弃"]
_WHAT_ZH = ["废弃的火车站", "最便宜的太阳能烤箱", "百年前的菜谱", "一支机器人乐队"]
_WHY_ZH = ["没有人预料到", "因为老桥关闭了", "只为赢回港口", "整个冬天都在准备"]


def _headline(rng: np.random.Generator) -> str:
    """About 12 English words."""
    who, do, what, why = (str(rng.choice(words)) for words in (_WHO, _DO, _WHAT, _WHY))
    return f"{who} {do} {what} {why}"


def _headline_zh(rng: np.random.Generator) -> str:
    who, do, what, why = (str(rng.choice(words)) for words in (_WHO_ZH, _DO_ZH, _WHAT_ZH, _WHY_ZH))
    return f"{who}{do}{what}，{why}（{rng.integers(2, 99)}图）"


def _photos(rng: np.random.Generator, folder: Path) -> list[Path]:
    """JPEG files of 1280 x 720: smooth light with fine grain, about as heavy as a photograph."""
    from PIL import Image

    files = []
    for number in range(8):
        coarse = Image.fromarray(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8))
        light = np.asarray(coarse.resize((1280, 720), Image.Resampling.BICUBIC), np.float32)
        grain = rng.normal(0, 6, light.shape)
        files.append(folder / f"{number}.jpg")
        Image.fromarray(np.clip(light + grain, 0, 255).astype(np.uint8)).save(files[-1], quality=85)
    return files


def _clip(rng: np.random.Generator) -> NDArray[np.float32]:
    """Three seconds of a gliding tone in noise."""
    seconds = np.arange(_SECONDS * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    pitch = rng.uniform(100, 800)
    sound = 0.3 * np.sin(2 * np.pi * pitch * (1 + 0.1 * seconds) * seconds) + 0.05 * rng.standard_normal(
        len(seconds)
    )
    return np.asarray(sound, np.float32)
