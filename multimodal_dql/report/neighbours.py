"""What an encoder finds alike, to look at and listen to: one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.report.inline import picture_uri, sound_uri
from multimodal_dql.report.output import write_text
from multimodal_dql.report.page import render_page
from multimodal_dql.report.texts import Texts

__all__ = ["nearest", "write_neighbours"]

# key -> (English, Chinese)
_TEXTS = {
    "kicker": ("Nearest neighbours", "最近邻"),
    "deck": ("What {name} finds alike", "{name} 认为相似的内容"),
    "how": (
        "Each row begins with one item of the catalogue; beside it are the items whose embeddings "
        "have the largest cosine "
        "with its own. A good encoder puts beside it what you would.",
        "每行以目录中的一项开头，旁边是与其向量余弦最大的几项。好的编码器放在旁边的，正是您也会放的。",
    ),
    "facts": (
        "{dim} numbers an item, {speed} items a second on this machine, {memory} MB at most.",
        "每项 {dim} 个数，本机每秒 {speed} 项，内存峰值 {memory} MB。",
    ),
}
_PICTURE_WIDTH = 176


@dataclass(frozen=True)
class _Cell:
    text: str = ""
    picture: str = ""
    sound: str = ""
    cosine: str = ""


def nearest(vectors: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Places of the `count` other rows of `vectors` (n, D) with the largest cosine, the nearest first, (n, count)."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    return np.argsort(-alike, axis=1, kind="stable")[:, :count]


def write_neighbours(
    path: Path,
    t: Texts,
    *,
    name: str,
    items: Sequence[Any],
    vectors: NDArray[np.float32],
    speed: float,
    memory: float,
    rows: int = 24,
    count: int = 4,
) -> Path:
    """Writes the page of the encoder `name`.

    Args:
        path: of the page.
        t: its language.
        name: of the encoder.
        items: texts, pictures (H, W, 3) or sounds (samples,) at 16 kHz.
        vectors: their embeddings, (len(items), D).
        speed: items a second.
        memory: peak of the process in MB.
        rows: items shown at most.
        count: neighbours shown of each.

    """
    near = nearest(vectors, min(count, len(items) - 1))
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    shown = [
        [_cell(items[i]), *(_cell(items[j], f"{float(unit[i] @ unit[j]):.2f}") for j in near[i])]
        for i in range(min(rows, len(items)))
    ]
    place = 1 if t.lang == "zh" else 0
    facts = _TEXTS["facts"][place].format(
        dim=vectors.shape[1], speed=f"{speed:,.0f}", memory=f"{memory:,.0f}"
    )
    html = render_page(
        "neighbours.html.j2",
        t,
        title=name,
        kicker=_TEXTS["kicker"][place],
        deck=_TEXTS["deck"][place].format(name=name),
        how=_TEXTS["how"][place],
        facts=facts,
        rows=shown,
    )
    return write_text(path, html)


def _cell(item: Any, cosine: str = "") -> _Cell:
    if isinstance(item, str):
        return _Cell(text=item[:300], cosine=cosine)
    if item.ndim == 3:
        return _Cell(picture=picture_uri(item, _PICTURE_WIDTH).uri, cosine=cosine)
    return _Cell(sound=sound_uri(item).uri, cosine=cosine)
