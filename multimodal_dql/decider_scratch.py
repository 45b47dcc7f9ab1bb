"""The buffers of one thread for one set size, and views of them under the names that `multimodal_dql.decider` uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_candidates import no_record
from multimodal_dql.decider_weights import Weights

__all__ = ["Scratch", "with_row"]

Float = NDArray[np.float32]


def with_row(w: Weights) -> Float:
    """`Weights.own` and a row below it, (M, H + 1, H), into which each decision writes what its siblings add."""
    return np.pad(w.own, ((0, 0), (0, 1), (0, 0)))


class Scratch:
    """Buffers for K candidates under one set of weights.

    A view ending in ``_rows`` has three axes whatever M is. Without, rows and the kernels that they are multiplied with
    are plain vectors and matrices when M = 1. Bias rows of kernels are multiplied with a 1 that stands here for good.

    ``line`` (M, 1, 3H + A + 1) holds minimum, peak and mean of the siblings, the audience, and 1 in a row, so that each
    layer reads what it needs as one piece of it: `from_peak`, `from_mean`, `from_audience`.

    Args:
        w: the weights.
        k: K.
        tile: see `multimodal_dql.decider_steps.Steps`.
        own: from `with_row`, shared by all sizes of a thread.
    """

    def __init__(self, w: Weights, k: int, tile: bool, own: Float) -> None:
        sizes = w.sizes
        m, h, a, e = sizes.members, sizes.hidden, sizes.audience, len(sizes.widths)

        def new(*shape: int) -> Float:
            return np.ones(shape, np.float32)

        def row(of: Float) -> Any:
            return of[0, 0] if m == 1 else of

        def kernel(of: Float) -> Any:
            return of[0] if m == 1 else of

        def repeated(of: Float) -> Float:
            return np.repeat(of, k, axis=1) if tile else of

        # The candidates alone.
        self.ones = new(k)
        self.inputs = [new(k, width + 1) for width in sizes.widths]
        self.blocks = [x[:, :-1] for x in self.inputs]
        self.fused = new(m, k, e * h + e + sizes.record + 1)
        self.seen = self.fused[..., e * h : e * h + e]
        self.record = self.fused[..., e * h + e : -1]
        self.no_record = no_record(sizes.record)
        self.fuse_gain, self.fuse_floor = repeated(w.fuse_gain), repeated(w.fuse_floor)

        # The audience.
        context = new(1, 1, sizes.context + 1)
        self.ear = context[0, 0, :-1]
        self.context = row(context)
        self.hear = kernel(w.hear)
        line = new(m, 1, 3 * h + a + 1)
        self.pooled = line[..., : 3 * h].reshape(m, 3, h)
        self.heard_rows = line[..., 3 * h : -1]
        self.heard = row(self.heard_rows)
        self.from_audience, self.film = row(line[..., 3 * h :]), kernel(w.film)
        self.scale_rows = new(m, 1, h)
        self.scale = row(self.scale_rows)

        # Candidates in front of the audience.
        self.rows = new(m, k, h + 1)
        self.own = own
        self.own_last = row(self.own[:, h:])
        self.from_peak, self.around = row(line[..., h:]), kernel(w.around)
        self.scored = new(m, k, h)
        self.set_gain, self.set_floor = repeated(w.set_gain), repeated(w.set_floor)

        # Click and Q.
        self.from_mean, self.value_hidden = row(line[..., 2 * h :]), kernel(w.value_hidden)
        self.value_rows = new(m, 1, h)
        self.value = row(self.value_rows)
        self.tastes_rows = new(m, 1, sizes.content)
        self.taste, self.tastes = kernel(w.taste), row(self.tastes_rows)
