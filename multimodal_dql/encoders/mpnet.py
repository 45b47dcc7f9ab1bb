"""Weights of an MPNet as an ONNX graph in int8 that ends after any of its layers.

Song, Tan, Qin, Lu and Liu (2020), MPNet: Masked and Permuted Pre-training for Language Understanding, NeurIPS,
arXiv:2004.09297. As an encoder it is BERT with normalisation after each sum, without token types, whose attention
scores get a bias by the bucketed distance of two tokens (Raffel et al. 2020, T5, JMLR 21(140), section 2.1).

What is built takes texts of equal lengths, so that nothing is masked. Weights are int8 with a scale a column (int8
with a scale a token for the table of tokens); `multimodal_dql.encoders.onnx_int8` makes the products integer, too.

Shape letters: ``n`` texts, ``t`` tokens, ``D`` width, ``H`` heads, ``M`` most tokens, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.onnx_writer import Writer
from multimodal_dql.encoders.reasons import Reason

__all__ = ["distance_buckets", "mpnet_graph"]

Weights = Mapping[str, NDArray[Any]]

_FIRST_POSITION = 2
"""Rows of the table of positions before the one of the first token (fairseq's padding index, plus 1)."""
_FARTHEST = 128
"""Distance from which on all are in the last bucket."""
_EPSILON = 1e-5
"""Of the layer normalisations; ONNX's own, so that the graph need not name it."""


def distance_buckets(most: int, buckets: int) -> NDArray[np.int64]:
    """Bucket of every distance ``key - query`` from ``-(most - 1)`` to ``most - 1``, (2 most - 1,).

    Half of the buckets are for keys before the query and half for those after it; of each half, one half is for single
    distances and the rest for ranges that grow as their logarithm.

    >>> distance_buckets(4, 8).tolist()
    [2, 2, 1, 0, 5, 6, 6]
    """
    away = np.arange(1 - most, most)
    half = buckets // 2
    single = half // 2
    n = abs(away)
    far = np.log(np.maximum(n, 1).astype(np.float32) / single) / np.float32(np.log(_FARTHEST / single))
    ranged = np.minimum(single + (far * (half - single)).astype(np.int64), half - 1)
    return np.where(away > 0, half, 0) + np.where(n < single, n, ranged)


def mpnet_graph(weights: Weights, config: Mapping[str, Any], *, layers: int, most: int) -> bytes:
    """An ONNX model ``input_ids, position_ids`` (n, t) -> ``hidden`` (n, t, D), what layer `layers` gives.

    Args:
        weights: of the model, by the names that `transformers` gives them.
        config: its ``config.json``.
        layers: how many layers are run; 0 for the embeddings.
        most: M, tokens of the longest text.

    Raises:
        ValueError: a model of another kind, with fewer layers, or shorter.
        KeyError: weights that are not there.
    """
    heads, buckets, depth = (
        int(config[key])
        for key in ("num_attention_heads", "relative_attention_num_buckets", "num_hidden_layers")
    )
    if config.get("model_type") != "mpnet" or config.get("hidden_act") != "gelu":
        raise Reason("it is no MPNet with GELU", "不是使用 GELU 的 MPNet")
    if abs(float(config["layer_norm_eps"]) - _EPSILON) > 1e-9:
        raise Reason(f"its layer_norm_eps is not {_EPSILON}", f"layer_norm_eps 不是 {_EPSILON}")
    if not 0 <= layers <= depth:
        raise Reason(f"it has {depth} layers, not {layers}", f"模型有 {depth} 层，而非 {layers} 层")
    positions = weights["embeddings.position_embeddings.weight"]
    if most > len(positions) - _FIRST_POSITION:
        raise Reason(
            f"it reads {len(positions) - _FIRST_POSITION} tokens, not {most}",
            f"模型最多读取 {len(positions) - _FIRST_POSITION} 个词元，而非 {most}",
        )
    graph = _Graph(Writer(), weights, heads)
    x = graph.embedded()
    bias = graph.bias(distance_buckets(most, buckets), most)
    for layer in range(layers):
        x = graph.layer(f"encoder.layer.{layer}.", x, bias)
    w = graph.writer
    w.add("hidden", "Identity", x)
    return w.model({"input_ids": ("n", "t"), "position_ids": ("n", "t")}, {"hidden": ("n", "t", graph.width)})


class _Graph:
    """Adds parts of the network to a graph; every method gives the name of what it computes."""

    def __init__(self, writer: Writer, weights: Weights, heads: int) -> None:
        self.writer, self.weights, self.heads = writer, weights, heads
        self.width = int(weights["embeddings.word_embeddings.weight"].shape[1])
        w, size = writer, self.width // heads
        self._split = w.constant("split", np.array([0, 0, heads, size], np.int64))
        self._joined = w.constant("joined", np.array([0, 0, self.width], np.int64))

    def embedded(self) -> str:
        """Tokens plus positions, normalised, (n, t, D)."""
        w = self.writer
        table, scale = _by_row(self.weights["embeddings.word_embeddings.weight"])
        rows = w.add("tokens/int8", "Gather", w.constant("tokens/table", table), "input_ids")
        scales = w.add("tokens/scales", "Gather", w.constant("tokens/scale", scale), "input_ids")
        tokens = w.add("tokens", "Mul", w.add("tokens/rows", "Cast", rows, to=1), scales)
        places = self._float("embeddings.position_embeddings.weight")[_FIRST_POSITION:]
        at = w.add("places", "Gather", w.constant("places/table", places), "position_ids")
        return self._normalised("embeddings.LayerNorm.", w.add("tokens/places", "Add", tokens, at))

    def bias(self, buckets: NDArray[np.int64], most: int) -> str:
        """What the distance of two tokens adds to their score, (H, t, t)."""
        w = self.writer
        table = self._float("encoder.relative_attention_bias.weight")[buckets]
        one = w.add("row", "Gather", "position_ids", w.constant("first", np.array(0, np.int64)))
        key = w.add("row/key", "Unsqueeze", one, w.constant("axis0", np.array([0], np.int64)))
        query = w.add("row/query", "Unsqueeze", one, w.constant("axis1", np.array([1], np.int64)))
        away = w.add("away", "Sub", key, query)
        place = w.add("away/place", "Add", away, w.constant("away/most", np.array(most - 1, np.int64)))
        by_pair = w.add("bias/pairs", "Gather", w.constant("bias/table", table), place)
        return w.add("bias", "Transpose", by_pair, perm=(2, 0, 1))

    def layer(self, p: str, x: str, bias: str) -> str:
        """Attention and two products, each added to its input and normalised, (n, t, D)."""
        w = self.writer
        scale = np.float32(1 / np.sqrt(self.width // self.heads))
        query = self._heads(p + "attention.attn.q", x, (0, 2, 1, 3), scale)
        key = self._heads(p + "attention.attn.k", x, (0, 2, 3, 1))
        value = self._heads(p + "attention.attn.v", x, (0, 2, 1, 3))
        scores = w.add(p + "scores", "Add", w.add(p + "products", "MatMul", query, key), bias)
        shares = w.add(p + "shares", "Softmax", scores, axis=-1)
        mixed = w.add(
            p + "mixed", "Transpose", w.add(p + "heads", "MatMul", shares, value), perm=(0, 2, 1, 3)
        )
        told = self._linear(p + "attention.attn.o", w.add(p + "told", "Reshape", mixed, self._joined))
        x = self._normalised(p + "attention.LayerNorm.", w.add(p + "attended", "Add", told, x))
        inner = self._gelu(p + "gelu", self._linear(p + "intermediate.dense", x))
        outer = self._linear(p + "output.dense", inner)
        return self._normalised(p + "output.LayerNorm.", w.add(p + "sum", "Add", outer, x))

    def _heads(self, p: str, x: str, perm: tuple[int, ...], scale: np.float32 | None = None) -> str:
        w = self.writer
        split = w.add(p + "/split", "Reshape", self._linear(p, x, scale), self._split)
        return w.add(p + "/heads", "Transpose", split, perm=perm)

    def _linear(self, p: str, x: str, scale: np.float32 | None = None) -> str:
        """``x W' + b``, all of it times `scale`; W in int8."""
        w, factor = self.writer, np.float32(1) if scale is None else scale
        table, scales = _by_row(self._float(p + ".weight") * factor)
        kernel = w.add(p + "/float", "Cast", w.constant(p + "/int8", np.ascontiguousarray(table.T)), to=1)
        kernel = w.add(p + "/kernel", "Mul", kernel, w.constant(p + "/scales", scales.reshape(-1)))
        product = w.add(p + "/product", "MatMul", x, kernel)
        return w.add(p + "/sum", "Add", product, w.constant(p + "/bias", self._float(p + ".bias") * factor))

    def _gelu(self, p: str, x: str) -> str:
        """``x/2 (1 + erf(x / sqrt 2))`` (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
        w = self.writer
        erf = w.add(
            p + "/erf", "Erf", w.add(p + "/in", "Div", x, w.constant("root2", np.float32(np.sqrt(2))))
        )
        gate = w.add(p + "/gate", "Add", erf, w.constant("one", np.float32(1)))
        return w.add(p, "Mul", w.add(p + "/gated", "Mul", x, gate), w.constant("half", np.float32(0.5)))

    def _normalised(self, p: str, x: str) -> str:
        w = self.writer
        gain, offset = (w.constant(p + part, self._float(p + part)) for part in ("weight", "bias"))
        return w.add(p + "out", "LayerNormalization", x, gain, offset, axis=-1)

    def _float(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self.weights[name], np.float32)


def _by_row(table: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 rows and the scale (rows, 1) of each, so that ``table = rows * scale`` up to half a step."""
    table = np.asarray(table, np.float32)
    scale = np.maximum(abs(table).max(axis=1, keepdims=True) / np.float32(127), np.float32(1e-20))
    return np.rint(table / scale).astype(np.int8), scale.astype(np.float32)
