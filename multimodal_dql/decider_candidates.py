"""The candidates of a decision: their arrays, checked, and what of the network they alone decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_weights import Sizes, Weights
from multimodal_dql.errors import UsageError

__all__ = ["Made", "Prepared", "candidates", "misfit", "no_record", "wide_of"]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


class Made:
    """What is kept of candidates for one set of weights, `of`.

    Attributes:
        hidden: (M, K, H), the fused candidates without their offset.
        pools: (M, 3, H), their minimum, maximum and mean.
        wide: (M, 4, K), see `wide_of`; None until Q or a click rate is asked for.
    """

    __slots__ = ("hidden", "of", "pools", "wide")

    def __init__(self, of: Weights, hidden: Float, pools: Float) -> None:
        self.of, self.hidden, self.pools = of, hidden, pools
        self.wide: Float | None = None


class Prepared:
    """Candidates with everything computed that no context changes; from `multimodal_dql.decider.Decider.prepare`.

    It keeps the raw arrays: after new weights the first use computes the rest anew.

    Attributes:
        content: (K, P), zero where an encoder saw nothing.
        present: (K, E); None when every encoder saw every candidate.
        record: (K, R); None when nothing is recorded.
        available: (K,).
        missing: how many are not available.
        share: (K,), one divided by the number of available candidates where available, else 0.
        sizes: of the network they are for.
        made: what was computed last.
    """

    __slots__ = ("available", "content", "made", "missing", "present", "record", "share", "sizes")

    def __init__(
        self,
        content: Float,
        present: Float | None,
        record: Float | None,
        available: Bool,
        count: int,
        sizes: Sizes,
    ) -> None:
        self.content, self.present, self.record, self.available = content, present, record, available
        self.sizes = sizes
        self.missing = len(available) - count
        self.share = np.multiply(available, np.float32(1.0 / count))
        self.made: Made | None = None


def candidates(
    content: NDArray[Any],
    present: NDArray[Any] | None,
    record: NDArray[Any] | None,
    available: NDArray[np.bool_] | None,
    sizes: Sizes,
) -> Prepared:
    """Own copies of a decision's arrays, float32, after a look at their shapes. Raises `UsageError`."""
    content = np.array(content, np.float32, order="C")
    if content.ndim != 2 or content.shape[1] != sizes.content:
        raise misfit("content", content.shape, "(K, P)", ("K", sizes.content))
    k = len(content)
    if present is not None:
        present = np.array(present, np.float32)
        if present.shape != (k, len(sizes.widths)):
            raise misfit("present", present.shape, "(K, E)", (k, len(sizes.widths)))
        start = 0
        for i, width in enumerate(sizes.widths):
            content[:, start : start + width] *= present[:, i : i + 1]
            start += width
    if record is not None:
        record = np.array(record, np.float32)
        if record.shape != (k, sizes.record):
            raise misfit("record", record.shape, "(K, R)", (k, sizes.record))
    available = np.ones(k, bool) if available is None else np.array(available, bool)
    if available.shape != (k,):
        raise misfit("available", available.shape, "(K,)", (k,))
    count = int(np.count_nonzero(available))
    if not count:
        raise UsageError(
            detail="decide: no candidate is available; give at least one",
            detail_zh="decide：没有可用的候选；请至少给出一个",
        )
    return Prepared(content, present, record, available, count, sizes)


def misfit(name: str, got: tuple[int, ...], letters: str, wanted: tuple[Any, ...]) -> UsageError:
    """An array of the wrong shape."""
    shape = "(" + ", ".join(str(n) for n in wanted) + ("," if len(wanted) == 1 else "") + ")"
    return UsageError(
        detail=f"decide: {name} has the shape {got}; this network takes {letters} = {shape}",
        detail_zh=f"decide：{name} 的形状为 {got}；此网络需要 {letters} = {shape}",
    )


def no_record(width: int) -> Float:
    """(R,): nothing known of the rate, all of its uncertainty left, no impressions, as `state.record_features` says."""
    out = np.zeros(width, np.float32)
    out[1:2] = 1.0
    return out


def wide_of(p: Prepared, w: Weights) -> Float:
    """What the wide path and the rest of the visit know of the candidates alone, (M, 4, K).

    Trust in the content; the record's pull plus the bias of the click, so that both come in one addition; what follows
    later, less what the echo will make of that bias; `Prepared.share`, the same for all members.
    """
    record = np.broadcast_to(no_record(w.sizes.record), (len(p.content), w.sizes.record))
    if p.record is not None:
        record = p.record
    doubt = np.clip(record[:, 1:] @ w.trust[:, :-1] + w.trust[:, -1:], -80.0, 80.0)
    trust = 2.0 / (1.0 + np.exp(-doubt))
    later = (p.content @ w.later[:, :-1] + w.later[:, -1:])[..., 0]
    pull = trust[..., 1] * record[:, 0] + w.click_bias
    later = later - w.last[:, :1] * w.click_bias
    share = np.broadcast_to(p.share, pull.shape)
    return np.stack([trust[..., 0], pull, later, share], axis=1, dtype=np.float32)
