"""A small catalogue with real pictures and sounds, and a complete ranking of it."""

from __future__ import annotations

import wave
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.errors import MediaError, Problem
from multimodal_dql.evaluation.statistics import Comparison
from multimodal_dql.ranking import RankedItem, RankedVariant, Ranking, Reason
from multimodal_dql.report import TrainingCurve

HOSTILE = '<script>alert("x")</script> & <img src=http://example.com/x.png onerror=alert(1)>'
RTL = "مكتبة المدينة تفتح أبوابها ليلاً 🌙"
CHINESE = "古桥下的夜市：一碗面如何留住一条街"


@dataclass(frozen=True)
class Sample:
    ranking: Ranking
    catalogue: Catalogue
    comparisons: tuple[Comparison, ...]
    control: Comparison
    training: TrainingCurve


def draw_picture(path: Path, seed: int) -> Path:
    """A soft gradient, 640 x 360."""
    x, y = np.meshgrid(np.linspace(0, 1, 640), np.linspace(0, 1, 360))
    shades = [128 + 100 * np.sin(3 * x + (k + 1) * y + seed + k) for k in range(3)]
    Image.fromarray(np.stack(shades, axis=-1).astype(np.uint8)).save(path)
    return path


def write_tone(path: Path, seconds: float = 0.5, rate: int = 22_050) -> Path:
    """A quiet tone of 330 Hz."""
    samples = 0.2 * np.sin(2 * np.pi * 330 * np.arange(int(rate * seconds)) / rate)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def ranked(variant_id: str, rank: int, best: float, rate: float, *reasons: Reason) -> RankedVariant:
    lift = 0.1 * (2 - rank)
    return RankedVariant(
        variant_id,
        rank,
        q_value=3 * rate,
        probability_best=best,
        click_rate=rate,
        click_rate_low=rate * 0.8,
        click_rate_high=rate * 1.25,
        lift=lift,
        lift_low=lift - 0.04,
        lift_high=lift + 0.05,
        reasons=reasons,
    )


def build(folder: Path) -> Sample:
    """Four stories: a winner with everything, a lean without pictures, a hostile tie, and a lone variant."""
    a, b = draw_picture(folder / "a.png", 0), draw_picture(folder / "b.png", 2)
    broken = folder / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    tone, long_tone = write_tone(folder / "tone.wav"), write_tone(folder / "long.wav", 12.0, 8_000)
    rows = [
        Variant("bridge", "a", a, CHINESE, tone, extra={"title": "The old bridge"}),
        Variant("bridge", "b", b, "How a bowl of noodles kept a street alive", long_tone),
        Variant("bridge", "c", broken, "A street, a bridge, a bowl", None),
        Variant("library", "night", None, RTL, None),
        Variant("library", "day", None, "The library that never closes", None),
        Variant("tie", "=1+1", a, HOSTILE, None),
        Variant("tie", "<b>", b, "@SUM(A1)", None),
        Variant("tie", "bare", None, None, None),
        Variant("alone", "only", b, "Alone", None),
    ]
    order = dict.fromkeys(row.item_id for row in rows)
    items = tuple(Item(name, tuple(row for row in rows if row.item_id == name)) for name in order)
    up = Reason("modality", 0.062, "The picture speaks for it.", "图片是它的优势。")
    down = Reason("modality", -0.031, "The headline speaks against it.", "标题是它的劣势。")
    near = Reason("neighbour", 0.018, "It is close to a known winner.", "它与已知的胜者相近。")
    ranking = Ranking(
        items=(
            RankedItem(
                "bridge",
                "winner",
                (
                    ranked("b", 1, 0.91, 0.042, up, near),
                    ranked("a", 2, 0.07, 0.035, down),
                    ranked("c", 3, 0.02, 0.03),
                ),
            ),
            RankedItem(
                "library", "lean", (ranked("night", 1, 0.63, 0.05, up), ranked("day", 2, 0.37, 0.047))
            ),
            RankedItem(
                "tie",
                "no_clear_winner",
                (
                    ranked("=1+1", 1, 0.37, 0.02, up),
                    ranked("<b>", 2, 0.33, 0.0199),
                    ranked("bare", 3, 0.3, 0.0198),
                ),
            ),
            RankedItem("alone", "winner", (ranked("only", 1, 1.0, 0.031),)),
        ),
        evidence="a simulated audience, not real readers",
        evidence_zh="依据是模拟受众，而非真实读者。",
        context={"device": "手机"},
        skipped=(
            Problem(
                "stories.csv, line 4, image",
                MediaError(path="broken.png", detail="cannot be read", detail_zh="无法读取"),
                item_id="bridge",
                variant_id="c",
            ),
        ),
        agent={"run": "runs/demo", "seed": "7", "encoders": "use-multilingual, efficientnet-lite0"},
    )
    uplift = np.array([0.2, -0.05, 0.1])
    names = ("bridge", "library", "tie")
    first = Comparison("learned", "first", 0.1, 0.04, 0.16, 0.033, 0.03, 20_000, names, uplift)
    uniform = replace(first, against="uniform", uplift=0.06, low=0.01, high=0.11)
    control = replace(first, arm="permuted", uplift=-0.004, low=-0.02, high=0.012)
    steps = tuple(range(0, 1000, 10))
    training = TrainingCurve(
        steps,
        {
            "loss": tuple(1 / (1 + step / 100) for step in steps),
            "my_metric": tuple(float("nan") if step < 300 else step / 1000 for step in steps),
        },
    )
    return Sample(ranking, Catalogue(folder / "stories.csv", items), (first, uniform), control, training)
