"""The weights of a `CandidateQNetwork` rearranged for deciding one at a time: fewer products, the same numbers.

Everything here is exact algebra on the layers of `multimodal_dql.network`; only rounding differs. Shape letters: ``M``
members, ``K`` candidates, ``E`` encoders, ``P`` content width, ``C`` context width, ``R`` record width, ``H`` hidden
width, ``A`` width of the audience layer.

- A layer norm subtracts the mean of a layer's outputs. The mean of ``x W + b`` is ``x`` times the row means of ``W``,
  so they are subtracted from the weights once; what is left of the norm is a division by the root mean square.
- ``relu(g n + o) = max(g n, -o) + o``: the offset moves through the layers behind, all linear, into one bias there.
- FiLM, ``h (1 + gamma) + beta``, acts column by column: the pools over siblings follow from pools of ``h`` that no
  context changes (where ``1 + gamma < 0`` the smallest becomes the largest), and what ``beta`` does to every layer
  behind is a product of two matrices. (A peak below -1000, where the network stops it, is not stopped here.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPSILON", "Sizes", "Weights", "fold", "sizes_of"]

Float = NDArray[np.float32]

EPSILON = 1e-5
"""Added to the variance in every layer norm, as in `multimodal_dql.network.MemberNorm`."""


@dataclass(frozen=True)
class Sizes:
    """The shape of a network.

    Attributes:
        widths: columns of the content for each encoder.
        context: C.
        record: R.
        hidden: H.
        members: M.
        audience: A.
    """

    widths: tuple[int, ...]
    context: int
    record: int
    hidden: int
    members: int
    audience: int

    @property
    def content(self) -> int:
        """P."""
        return sum(self.widths)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor of such a network; norms without their axes of length 1."""
        m, h, e, a, p = self.members, self.hidden, len(self.widths), self.audience, self.content
        dense = {f"project_{i}": (w, h) for i, w in enumerate(self.widths)} | {
            "fuse": (e * h + e + self.record, h),
            "audience": (self.context, a),
            "film": (a, 2 * h),
            "own": (h, h),
            "siblings": (2 * h, h),
            "taste": (self.context, p),
            "trust": (self.record - 1, 2),
            "value_hidden": (a + h, h),
            "value": (h, 1),
            "later": (p, 1),
            "echo": (1, 1),
            "click": (h, 1),
        }
        norms = {f"project_{i}_norm": h for i in range(e)}
        norms |= {"fuse_norm": h, "audience_norm": a, "set_norm": h, "value_norm": h}
        out: dict[str, tuple[int, ...]] = {f"{name}/kernel": (m, *shape) for name, shape in dense.items()}
        out |= {f"{name}/bias": (m, shape[1]) for name, shape in dense.items()}
        return out | {f"{name}/{part}": (m, n) for name, n in norms.items() for part in ("gain", "offset")}


@dataclass(frozen=True, eq=False)
class Weights:
    """Folded weights; bias rows are the last rows of their kernels. Row vectors are (1, H), for broadcasting over K.

    Attributes:
        sizes: the shape of the network.
        project: for each encoder (M, w + 1, H), centred.
        fuse: (M, E H + E + R + 1, H): projections, presence, record, 1; centred.
        fuse_gain: (M, 1, H).
        fuse_floor: (M, 1, H), the negative offset.
        hear: (M, C + 1, A), centred.
        hear_gain: (M, 1, A).
        hear_floor: (M, 1, A).
        film: (M, A + 1, H), to ``1 + gamma``.
        around: (M, 2H + A + 1, H), from peak, mean, audience and 1 to what the siblings and ``beta`` add to `own`.
        own: (M, H, H), centred.
        set_gain: (M, 1, H).
        set_floor: (M, 1, H).
        value_hidden: (M, H + A + 1, H), from mean, audience and 1; centred.
        value_gain: (M, 1, H).
        value_floor: (M, 1, H).
        heads: (M, 2, H), the last layers of the value and of the click.
        click_bias: (M, 1), the logit of the base rate included.
        base_rate: clicks an impression in training, the unit of Q.
        taste: (M, C + 1, P).
        trust: (M, R, 2), the last row the bias.
        later: (M, P + 1, 1), the bias of the echo included.
        last: (M, 3), the weight of the echo, the bias of the value, one divided by the base rate.
    """

    sizes: Sizes
    project: tuple[Float, ...]
    fuse: Float
    fuse_gain: Float
    fuse_floor: Float
    hear: Float
    hear_gain: Float
    hear_floor: Float
    film: Float
    around: Float
    own: Float
    set_gain: Float
    set_floor: Float
    value_hidden: Float
    value_gain: Float
    value_floor: Float
    heads: Float
    click_bias: Float
    base_rate: float
    taste: Float
    trust: Float
    later: Float
    last: Float

    @property
    def set_offset(self) -> Float:
        """(M, 1, H): what the decider's inner `scored` lacks of the network's."""
        return np.negative(self.set_floor)


def sizes_of(tensors: Mapping[str, NDArray[Any]]) -> Sizes:
    """The shape of a network from its tensors. Raises KeyError or ValueError where there is no such network."""
    members, hidden = tensors["fuse/bias"].shape
    widths: list[int] = []
    while f"project_{len(widths)}/kernel" in tensors:
        widths.append(tensors[f"project_{len(widths)}/kernel"].shape[1])
    _, context, audience = tensors["audience/kernel"].shape
    record = tensors["fuse/kernel"].shape[1] - len(widths) * (hidden + 1)
    return Sizes(tuple(widths), context, record, hidden, members, audience)


def fold(tensors: Mapping[str, NDArray[Any]], sizes: Sizes, base_rate: float) -> Weights:
    """Rearrange a network's tensors, named as by `Sizes.shapes`.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """
    m, h, n_encoders = sizes.members, sizes.hidden, len(sizes.widths)
    t: dict[str, Float] = {}
    for name, shape in sizes.shapes().items():
        tensor = np.asarray(tensors[name], np.float32)
        if tuple(n for n in tensor.shape[1:] if n != 1) != tuple(n for n in shape[1:] if n != 1):
            raise ValueError(f"{name} has the shape {tensor.shape}, not {shape}")
        t[name] = tensor.reshape(shape)

    def layer(name: str, centred: bool = False) -> tuple[Float, Float]:
        """Kernel (M, I, O) and bias (M, 1, O)."""
        kernel, bias = t[f"{name}/kernel"], t[f"{name}/bias"][:, None]
        if centred:
            kernel = kernel - kernel.mean(axis=-1, keepdims=True)
            bias = bias - bias.mean(axis=-1, keepdims=True)
        return kernel, bias

    def norm(name: str) -> tuple[Float, Float]:
        """Gain and offset, (M, 1, O)."""
        # Copies: what the caller does to its own tensors later must not reach a decision.
        return t[f"{name}/gain"][:, None].copy(), t[f"{name}/offset"][:, None].copy()

    # Each projection's gain and offset go into the rows of the fusion that read it; the offset counts where the encoder
    # is present, which is what the row of that encoder's presence is for.
    kernel, bias = layer("fuse", centred=True)
    blocks, seen = [], []
    for i in range(n_encoders):
        gain, offset = norm(f"project_{i}_norm")
        rows = kernel[:, i * h : (i + 1) * h]
        blocks.append(gain.swapaxes(1, 2) * rows)
        seen.append(kernel[:, n_encoders * h + i, None] + offset @ rows)
    record = kernel[:, n_encoders * (h + 1) :]
    fuse = np.concatenate([*blocks, *seen, record, bias], axis=1)
    fuse_gain, fuse_offset = norm("fuse_norm")

    # Layers behind the audience read max(g n, -o) and 1; `behind` adds what o contributes to that last row.
    hear_gain, hear_offset = norm("audience_norm")

    def behind(kernel: Float, bias: Float) -> Float:
        return np.concatenate([kernel, bias + hear_offset @ kernel], axis=1)

    film_kernel, film_bias = layer("film")
    film = behind(film_kernel[..., :h], film_bias[..., :h])
    film[:, -1] += 1.0
    # What FiLM adds to every candidate once the offset of the fusion is part of it.
    shift = behind(film_kernel[..., h:], film_bias[..., h:]) + film * fuse_offset

    own, own_bias = layer("own", centred=True)
    siblings, siblings_bias = layer("siblings", centred=True)
    of_mean, of_peak = siblings[:, :h], siblings[:, h:]
    around = shift @ (own + of_mean + of_peak)
    around[:, -1:] += own_bias + siblings_bias
    set_gain, set_offset = norm("set_norm")

    value_kernel, value_bias = layer("value_hidden", centred=True)
    value_of_mean = value_kernel[:, sizes.audience :]
    value_hidden = behind(value_kernel[:, : sizes.audience], value_bias) + shift @ value_of_mean
    value_gain, value_offset = norm("value_norm")
    value, last_bias = layer("value")
    click, click_bias = layer("click")
    base_logit = float(np.log(base_rate / (1.0 - base_rate)))
    later, later_bias = layer("later")
    echo, echo_bias = layer("echo")
    last = [echo[:, 0], (last_bias + value_offset @ value)[:, 0], np.full((m, 1), 1.0 / base_rate)]
    return Weights(
        sizes=sizes,
        project=tuple(np.concatenate(layer(f"project_{i}", centred=True), axis=1) for i in range(n_encoders)),
        fuse=fuse,
        fuse_gain=fuse_gain,
        fuse_floor=np.negative(fuse_offset),
        hear=np.concatenate(layer("audience", centred=True), axis=1),
        hear_gain=hear_gain,
        hear_floor=np.negative(hear_offset),
        film=film,
        around=np.concatenate([of_peak, of_mean, around], axis=1),
        own=own,
        set_gain=set_gain,
        set_floor=np.negative(set_offset),
        value_hidden=np.concatenate([value_of_mean, value_hidden], axis=1),
        value_gain=value_gain,
        value_floor=np.negative(value_offset),
        heads=np.concatenate([value, click], axis=2).swapaxes(1, 2).copy(),
        click_bias=(click_bias + set_offset @ click)[:, 0] + np.float32(base_logit),
        base_rate=base_rate,
        taste=np.concatenate(layer("taste"), axis=1),
        trust=np.concatenate(layer("trust"), axis=1),
        later=np.concatenate([later, later_bias + echo_bias], axis=1),
        last=np.concatenate(last, axis=1, dtype=np.float32),
    )
