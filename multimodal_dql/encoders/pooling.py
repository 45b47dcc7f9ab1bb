"""From what a network gives for one batch to one vector an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.cards import Card
from multimodal_dql.errors import EncoderError

__all__ = ["POOLINGS", "chosen_output", "pooled"]

POOLINGS = ("mean", "cls", "last", "max", "none")
"""Over the tokens, patches or frames of an item: their mean, the first, the last, the largest of each number; ``none``
for an output that is one vector an item already (a pooler's, a projection's)."""


def chosen_output(card: Card, outputs: Mapping[str, Any]) -> NDArray[np.float32]:
    """The output that ``preprocessing.output`` names, or the first; `EncoderError` if there is none of that name."""
    name = card.preprocessing.get("output", next(iter(outputs), None))
    if name not in outputs:
        raise EncoderError(
            name=card.name,
            detail=f"the model gives {sorted(outputs)}; name one as preprocessing.output in the card",
            detail_zh=f"模型的输出有 {sorted(outputs)}；请在卡片的 preprocessing.output 中指定一个",
        )
    return np.asarray(outputs[str(name)], np.float32)


def pooled(
    card: Card, hidden: NDArray[np.float32], mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """`hidden` (n, steps, D), or a feature map (n, ..., D), to (n, D); (n, D) stays what it is.

    A feature map with its channels first, ``preprocessing.layout = "channels-first"``, is (n, D, ...).

    Args:
        card: its `pooling` is one of `POOLINGS`.
        hidden: what the network gives.
        mask: of the steps that are there, (n, steps); None for all of them.

    """
    if card.pooling not in POOLINGS:
        raise EncoderError(
            name=card.name,
            detail=f"pooling is '{card.pooling}'; write one of {', '.join(POOLINGS)}",
            detail_zh=f"pooling 为 “{card.pooling}”；请写 {'、'.join(POOLINGS)} 之一",
        )
    if hidden.ndim <= 2:
        return hidden.reshape(len(hidden), -1)
    if hidden.ndim > 3:
        first = card.word("layout", "channels-last", "channels-first") == "channels-first"
        hidden = np.moveaxis(hidden, 1, -1) if first else hidden
    hidden = hidden.reshape(len(hidden), -1, hidden.shape[-1])
    if card.pooling == "none":
        if hidden.shape[1] == 1:
            return np.asarray(hidden[:, 0], np.float32)
        raise EncoderError(
            name=card.name,
            detail=f'the model gives {hidden.shape[1]} rows an item; write pooling = "mean" (or cls, last, max)',
            detail_zh=f'模型每项输出 {hidden.shape[1]} 行；请写 pooling = "mean"（或 cls、last、max）',
        )
    if mask is None:
        mask = np.ones(hidden.shape[:2], np.bool_)
    return np.asarray(_over_steps(card.pooling, hidden, mask), np.float32)


def _over_steps(pooling: str, hidden: NDArray[np.float32], mask: NDArray[np.bool_]) -> Any:
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[np.arange(len(hidden)), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)]
    if pooling == "max":
        return np.where(mask[..., None], hidden, -np.inf).max(axis=1)
    if mask.all():
        return hidden.mean(axis=1)
    kept = mask[..., None].astype(np.float32)
    return (hidden * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
