"""The contract of an encoder as small named checks; every built-in passes the same ones.

from multimodal_dql.encoders.checks import check_encoder, example_samples

check_encoder(MyEncoder(), example_samples("text"))
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import AUDIO_RATE_HZ, Encoder, Modality
from multimodal_dql.encoders.plugins import one_line
from multimodal_dql.errors import EncoderError

__all__ = ["Check", "check_encoder", "example_samples", "iter_checks"]

Samples = Sequence[Any]

SLOWEST_SECONDS = 60.0
"""What one item may take: at this pace 1,000 items take more than half a day."""

_TOLERANCE = 1e-5
"""Largest difference, as a share of the largest number, that a batch may make: rounding of float32 sums."""


@dataclass(frozen=True)
class Check:
    """One clause of the contract. Calling it raises `EncoderError` if the encoder breaks it."""

    name: str
    name_zh: str
    run: Callable[[Encoder, Samples], None]

    def __call__(self, encoder: Encoder, samples: Samples) -> None:
        """Checks `encoder` on `samples`, at least two different items of its modality."""
        try:
            self.run(encoder, samples)
        except EncoderError:
            raise
        except (Exception, SystemExit) as error:  # a stranger's code; whatever it raises is a finding
            said = one_line(error)
            _fail(encoder, f"{self.name}: it raised {said}", f"{self.name_zh}：引发异常 {said}")


def check_encoder(encoder: Encoder, samples: Samples | None = None) -> None:
    """Runs every check on `encoder`; `EncoderError` names the first that fails and what to do.

    Args:
        encoder: what to check.
        samples: at least two different items of its modality; made up if None.

    """
    chosen = example_samples(encoder.modality) if samples is None else samples
    if len(chosen) < 2:
        _fail(encoder, "give at least two samples to check it with", "请至少给出两个样本")
    for check in iter_checks():
        check(encoder, chosen)


def iter_checks() -> Iterator[Check]:
    """Every check, cheapest first."""
    for run, name_zh in (
        (_facts, "基本信息"),
        (_pace, "速度"),
        (_shape, "形状"),
        (_dtype, "类型"),
        (_finite, "有限"),
        (_empty_batch, "空批次"),
        (_deterministic, "确定性"),
        (_tells_apart, "区分能力"),
        (_order_preserving, "保持顺序"),
        (_batch_invariant, "不受邻居影响"),
        (_leaves_input_alone, "不改输入"),
        (_odd_input, "异常输入"),
        (_bad_item, "拒绝非法项"),
    ):
        yield Check(run.__name__.removeprefix("_"), name_zh, run)


def example_samples(modality: Modality) -> list[Any]:
    """Items of `modality` that differ in content and size: sentences, noisy gradients, tones and noise."""
    rng = np.random.default_rng(7)
    if modality == "text":
        return [
            "Ten quiet ways to spend a rainy Sunday",
            "City council votes to reopen the old harbour railway after forty years of debate and delay",
            "Tiny robots",
            "Why bakers wake at three: a night behind the ovens",
        ]
    if modality == "image":
        sizes = ((90, 160), (224, 224), (301, 77))
        return [_example_picture(rng, height, width) for height, width in sizes]
    seconds = np.arange(2 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 440 * seconds)
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 400 * seconds) * seconds)
    noise = 0.1 * rng.standard_normal(AUDIO_RATE_HZ)
    return [sound.astype(np.float32) for sound in (tone, sweep, noise)]


def _example_picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    ramp = np.linspace(0, 200, width)[None, :, None] * rng.random((height, 1, 3))
    return np.asarray(np.clip(ramp + rng.normal(20, 10, (height, width, 3)), 0, 255), np.uint8)


def _facts(encoder: Encoder, samples: Samples) -> None:
    if not isinstance(encoder.name, str) or not encoder.name:
        _fail(encoder, "facts: set `name` to a string", "基本信息：`name` 须为字符串")
    if encoder.modality not in get_args(Modality):
        _fail(
            encoder,
            f"facts: `modality` is {encoder.modality!r}; one of {', '.join(get_args(Modality))}",
            f"基本信息：`modality` 为 {encoder.modality!r}；可用的有 {'、'.join(get_args(Modality))}",
        )
    if type(encoder.dim) is not int or encoder.dim < 1:
        _fail(
            encoder,
            f"facts: `dim` is {encoder.dim!r}; set it to the length of an embedding",
            f"基本信息：`dim` 为 {encoder.dim!r}；请设为向量的长度",
        )
    if not isinstance(encoder.fingerprint, str) or not encoder.fingerprint:
        _fail(
            encoder,
            "facts: set `fingerprint` to a string that changes with the weights and preprocessing",
            "基本信息：`fingerprint` 须为字符串，且随权重和预处理而变",
        )


def _pace(encoder: Encoder, samples: Samples) -> None:
    """In a thread that is left behind, so that an encoder that hangs is named, too."""
    raised: list[BaseException] = []

    def one_item() -> None:
        try:
            encoder.encode(samples[:1])
        except BaseException as error:  # raised again below
            raised.append(error)

    thread = threading.Thread(target=one_item, daemon=True)
    thread.start()
    thread.join(SLOWEST_SECONDS)
    if thread.is_alive():
        _fail(
            encoder,
            f"pace: one item takes more than {SLOWEST_SECONDS:g} s; use a smaller model",
            f"速度：一项耗时超过 {SLOWEST_SECONDS:g} 秒；请换用更小的模型",
        )
    if raised:
        raise raised[0]


def _shape(encoder: Encoder, samples: Samples) -> None:
    _wants_shape(encoder, "shape", "形状", encoder.encode(samples), len(samples))


def _dtype(encoder: Encoder, samples: Samples) -> None:
    dtype = encoder.encode(samples).dtype
    if dtype != np.float32:
        _fail(encoder, f"dtype: it gives {dtype}; return float32", f"类型：返回了 {dtype}；应为 float32")


def _finite(encoder: Encoder, samples: Samples) -> None:
    if not np.isfinite(encoder.encode(samples)).all():
        _fail(
            encoder,
            "finite: it gives NaN or infinity for a plain sample",
            "有限：对普通样本返回了 NaN 或无穷大",
        )


def _empty_batch(encoder: Encoder, samples: Samples) -> None:
    _wants_shape(encoder, "empty_batch", "空批次", encoder.encode([]), 0)


def _deterministic(encoder: Encoder, samples: Samples) -> None:
    if not np.array_equal(encoder.encode(samples), encoder.encode(samples)):
        _fail(
            encoder,
            "deterministic: two calls differ; switch off dropout and fix every seed",
            "确定性：两次调用结果不同；请关闭 dropout 并固定所有随机种子",
        )


def _tells_apart(encoder: Encoder, samples: Samples) -> None:
    vectors = encoder.encode(samples)
    if np.allclose(vectors, vectors[0], rtol=1e-6, atol=1e-9):
        _fail(
            encoder,
            "tells_apart: every sample gets the same vector; does it read its input?",
            "区分能力：所有样本的向量相同；它是否读取了输入？",
        )


def _order_preserving(encoder: Encoder, samples: Samples) -> None:
    forward, backward = encoder.encode(samples), encoder.encode(list(samples)[::-1])
    what = "order_preserving: row i must belong to item i", "保持顺序：第 i 行须对应第 i 项"
    _wants_close(encoder, what, forward, backward[::-1])


def _batch_invariant(encoder: Encoder, samples: Samples) -> None:
    together = encoder.encode(samples)
    alone = np.concatenate([encoder.encode([sample]) for sample in samples])
    what = "batch_invariant: an embedding changes with its neighbours", "不受邻居影响：向量随同批的其他项而变"
    _wants_close(encoder, what, together, alone)


def _leaves_input_alone(encoder: Encoder, samples: Samples) -> None:
    before = copy.deepcopy(list(samples))
    encoder.encode(samples)
    if not all(np.array_equal(old, new) for old, new in zip(before, samples, strict=True)):
        _fail(
            encoder,
            "leaves_input_alone: it writes into its input; work on a copy",
            "不改输入：它改写了输入；请在副本上操作",
        )


def _odd_input(encoder: Encoder, samples: Samples) -> None:
    """Valid, and unlike most: any script, half an emoji, nothing; one pixel; a click, silence."""
    odd: dict[Modality, list[Any]] = {
        "text": [
            "",
            " ",
            "标题：今天的天气",
            "مرحبا بالعالم",
            "👩‍👩‍👧 🎉",
            "cut \ud83d emoji",
            "e\u0301\u0000\u202e",
            "w " * 9000,
        ],
        "image": [np.zeros((1, 1, 3), np.uint8), np.full((1, 900, 3), 255, np.uint8)],
        "audio": [np.ones(1, np.float32), np.zeros(AUDIO_RATE_HZ, np.float32)],
    }
    items = odd[encoder.modality]
    vectors = encoder.encode(items)
    _wants_shape(encoder, "odd_input", "异常输入", vectors, len(items))
    if not np.isfinite(vectors).all():
        _fail(
            encoder,
            "odd_input: it gives NaN or infinity for an empty, tiny, silent or foreign item",
            "异常输入：对空的、极小的、无声的或其他文字的项返回了 NaN 或无穷大",
        )


def _bad_item(encoder: Encoder, samples: Samples) -> None:
    """What is no item at all must be refused with a message, not encoded and not crash."""
    for bad in (None, 3, np.full((2, 2), np.nan, np.float32), b"bytes"):
        try:
            encoder.encode([samples[0], bad])
        except EncoderError:
            continue
        except Exception as error:
            raised, kind = type(error).__name__, type(bad).__name__
            _fail(
                encoder,
                f"bad_item: {raised} for {kind}; raise EncoderError",
                f"拒绝非法项：{kind} 引发了 {raised}；应引发 EncoderError",
            )
        _fail(
            encoder,
            f"bad_item: it accepts {type(bad).__name__} as {encoder.modality}; raise EncoderError",
            f"拒绝非法项：把 {type(bad).__name__} 当作 {encoder.modality} 接受了；应引发 EncoderError",
        )


def _wants_shape(encoder: Encoder, check: str, check_zh: str, vectors: Any, count: int) -> None:
    shape, wanted = getattr(vectors, "shape", type(vectors).__name__), (count, encoder.dim)
    if shape != wanted:
        _fail(
            encoder,
            f"{check}: it gives {shape}; return an array of shape {wanted}",
            f"{check_zh}：返回了 {shape}；应为形状 {wanted} 的数组",
        )


def _wants_close(
    encoder: Encoder, what: tuple[str, str], one: NDArray[np.float32], other: NDArray[np.float32]
) -> None:
    scale = max(1e-12, float(np.abs(one).max()))
    worst = float(np.abs(one - other).max()) if one.shape == other.shape else np.inf
    if not worst <= _TOLERANCE * scale:
        _fail(
            encoder,
            f"{what[0]} (largest difference {worst:.2g})",
            f"{what[1]}（最大差异 {worst:.2g}）",
        )


def _fail(encoder: Encoder, detail: str, detail_zh: str) -> None:
    name = str(getattr(encoder, "name", type(encoder).__name__))
    raise EncoderError(
        name=name, detail=f"it breaks the contract: {detail}", detail_zh=f"违反约定：{detail_zh}"
    )
