"""Forward pass of Universal Sentence Encoder Multilingual v3, the convolutional one, in NumPy.

Yang et al. (2020), Multilingual Universal Sentence Encoder for Semantic Retrieval, ACL demos,
arXiv:1907.04307. What depends on one token alone, its products with the first convolution included, is
computed once for each different token of a group of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIM", "UseNetwork"]

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

DIM = 512
"""Length of the embedding of a token, and of a text."""

_TABLES = 17
"""The token t is row t // 17 of table t % 17; each table has its own 8-bit scale."""

_BRANCHES = ((2, 0), (3, 1), (5, 2))
"""Convolutions of so many tokens, so many of them to the left of the place they are for."""

_WIDTH = 256
"""Channels of a branch."""

_MARGIN = 2
"""Empty places between two texts, so that no convolution reaches from one into the next."""

_GROUP_TOKENS = 2048
"""Different tokens handled together: their products take 15 kB each."""

_GROUP_PLACES = 16_384
_RUN_PLACES = 384
"""Tokens that go through the second convolution together: what is computed of them stays in the cache."""


@dataclass(frozen=True)
class _Tokens:
    """What is known of u different tokens before one knows their neighbours.

    Attributes:
        embedded: (u + 1, 512); the last row of this and the others is of an empty place.
        projected: for each branch (u + 1, 256).
        products: for each branch and each of its places, projections times weights (u + 1, 256).
        mean: of `embedded` (u + 1,).
        squares: sum of squared deviations of `embedded` from `mean` (u + 1,).

    """

    embedded: Floats
    projected: list[Floats]
    products: list[list[Floats]]
    mean: Floats
    squares: Floats


class UseNetwork:
    """The network with the weights of an ``.npz`` file: tokens of texts -> embeddings of length 1."""

    def __init__(self, weights: Path) -> None:
        with np.load(weights, allow_pickle=False) as arrays:
            self._tables: NDArray[np.uint8] = np.stack([arrays[f"q{n + 1}"] for n in range(_TABLES)])
            self._weights: dict[str, Any] = {
                name: arrays[name] for name in arrays.files if not name.startswith("q")
            }
        w, orders = self._weights, [order for order, _ in _BRANCHES]
        self._epsilon = np.float32(w["eps"])
        self._projection = np.concatenate([w[f"proj{n}"] for n in orders], axis=1)
        self._projection_bias, self._gain, self._offset = (
            np.concatenate([w[f"{name}{n}"] for n in orders]) for name in ("proj_b", "ln_g", "ln_b")
        )

    def embeddings(self, texts: Sequence[Sequence[int]]) -> Floats:
        """Embeddings (len(texts), 512) of texts of at least one token each."""
        pooled = np.empty((len(texts), DIM + len(_BRANCHES) * _WIDTH), np.float32)
        for first, last in _groups(texts):
            pooled[first:last] = self._pooled(texts[first:last])
        counts = np.array([len(text) for text in texts], np.float32)[:, None]
        return self._head(pooled, counts)

    def _pooled(self, texts: Sequence[Sequence[int]]) -> Floats:
        """Sums over tokens of the normalised features, shape (texts, 1280)."""
        lengths = np.array([len(text) for text in texts])
        different, rows = np.unique(np.concatenate([*map(np.asarray, texts)]), return_inverse=True)
        tokens = self._tokens(different)
        ends = np.cumsum(lengths)
        parts = [
            self._run(tokens, rows[ends[first] - lengths[first] : ends[last - 1]], lengths[first:last])
            for first, last in _runs(lengths)
        ]
        sums = np.concatenate(parts)
        sums *= self._weights["ln_g"]
        sums += lengths.astype(np.float32)[:, None] * self._weights["ln_b"]
        return sums

    def _tokens(self, tokens: NDArray[np.int64]) -> _Tokens:
        w = self._weights
        table, row = tokens % _TABLES, tokens // _TABLES
        embedded = np.zeros((len(tokens) + 1, DIM), np.float32)
        np.multiply(self._tables[table, row], w["scale"][table, None], out=embedded[:-1])
        embedded[:-1] += w["lo"][table, None]
        x = np.zeros((len(tokens) + 1, len(_BRANCHES) * _WIDTH), np.float32)
        np.matmul(embedded[:-1], self._projection, out=x[:-1])
        x[:-1] += self._projection_bias
        x[:-1] -= x[:-1].mean(axis=1, keepdims=True)
        x[:-1] /= np.sqrt(np.square(x[:-1]).mean(axis=1, keepdims=True) + self._epsilon)
        x[:-1] *= self._gain
        x[:-1] += self._offset
        projected = [np.ascontiguousarray(part) for part in np.split(x, len(_BRANCHES), axis=1)]
        products = [
            [part @ w[f"w1_{order}"][at * _WIDTH : (at + 1) * _WIDTH] for at in range(order)]
            for part, (order, _) in zip(projected, _BRANCHES, strict=True)
        ]
        mean = embedded.mean(axis=1)
        squares = np.square(embedded - mean[:, None]).sum(axis=1)
        return _Tokens(embedded, projected, products, mean, squares)

    def _run(self, tokens: _Tokens, rows: Places, lengths: Places) -> Floats:
        """Sums over the tokens of each text of features at mean 0 and variance 1, shape (texts, 1280).

        `rows` (places,) are the rows of the texts' tokens, one text after the other.
        """
        begins = np.cumsum(lengths) - lengths
        # Places of the tokens when every text has a margin before it, and one follows the last.
        spread = np.arange(len(rows)) + np.repeat(_MARGIN * np.arange(1, len(lengths) + 1), lengths)
        laid = np.full(spread[-1] + 1 + _MARGIN, len(tokens.embedded) - 1)
        laid[spread] = rows
        convolved = np.empty((len(rows), len(_BRANCHES) * _WIDTH), np.float32)
        for branch in range(len(_BRANCHES)):
            convolved[:, branch * _WIDTH : (branch + 1) * _WIDTH] = self._branch(
                branch, tokens, rows, laid, spread
            )
        mean, scale = self._moments(tokens.mean[rows], tokens.squares[rows], convolved)
        convolved *= scale[:, None]
        embedded = tokens.embedded[rows]
        embedded *= scale[:, None]
        sums = [np.add.reduceat(part, begins, axis=0) for part in (embedded, convolved)]
        return np.concatenate(sums, axis=1) - np.add.reduceat(mean * scale, begins)[:, None]

    def _branch(self, branch: int, tokens: _Tokens, rows: Places, laid: Places, spread: Places) -> Floats:
        """Two convolutions, each added to its input, shape (places, 256)."""
        w, (order, left) = self._weights, _BRANCHES[branch]
        products = tokens.products[branch]
        first, one = np.empty((2, len(rows), _WIDTH), np.float32)
        _gather(products[0], laid[spread - left], first)
        for at in range(1, order):
            first += _gather(products[at], laid[spread + (at - left)], one)
        first += w[f"b1_{order}"]
        np.maximum(first, 0, out=first)
        first += _gather(tokens.projected[branch], rows, one)
        apart = np.zeros((len(laid), _WIDTH), np.float32)
        apart[spread] = first
        neighbours = spread[:, None] + np.arange(-left, order - left)
        second: Floats = apart.take(neighbours, axis=0).reshape(len(rows), -1) @ w[f"w2_{order}"]
        second += w[f"b2_{order}"]
        np.maximum(second, 0, out=second)
        second += first
        return second

    def _moments(self, mean: Floats, squares: Floats, convolved: Floats) -> tuple[Floats, Floats]:
        """Mean and 1 / standard deviation over the features of each place, both (places,).

        From `mean` and `squares` of the token's embedding and the features that follow it, combined as in
        Chan, Golub and LeVeque (1983), Algorithms for Computing the Sample Variance, Am. Stat. 37(3).
        """
        width = convolved.shape[1]
        total = DIM + width
        other = convolved.mean(axis=1)
        spread = np.einsum("ij,ij->i", convolved, convolved) - width * np.square(other)
        apart = other - mean
        variance = (squares + spread + np.square(apart) * (DIM * width / total)) / total
        return mean + apart * (width / total), 1 / np.sqrt(variance + self._epsilon)

    def _head(self, pooled: Floats, counts: Floats) -> Floats:
        """Embeddings (n, 512) of length 1 from sums (n, 1280) over `counts` (n, 1) tokens."""
        w = self._weights
        x = (pooled @ w["cnn_W"] + counts * w["cnn_b"]) / np.sqrt(counts)
        hidden = np.maximum(x @ w["d0"], 0)
        x = np.maximum(x @ w["p1"] + hidden @ w["d1"], 0)
        hidden = np.maximum(x @ w["d2"], 0)
        x = np.tanh(x @ w["p3"] + hidden @ w["d3"])
        vectors: Floats = x / np.sqrt(np.maximum(np.square(x).sum(axis=1, keepdims=True), self._epsilon))
        return vectors


def _gather(table: Floats, rows: Places, out: Floats) -> Floats:
    """`out` filled with these rows of `table`."""
    return table.take(rows, axis=0, out=out, mode="clip")  # the other modes go through a buffer


def _groups(texts: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """First and behind the last of texts in a row that share a table of tokens; at least one each."""
    first, places = 0, 0
    seen: set[int] = set()
    for at, text in enumerate(texts):
        fresh = set(text) - seen
        if at > first and (len(seen) + len(fresh) > _GROUP_TOKENS or places + len(text) > _GROUP_PLACES):
            yield first, at
            first, places, seen, fresh = at, 0, set(), set(text)
        seen |= fresh
        places += len(text)
    yield first, len(texts)


def _runs(lengths: Places) -> Iterator[tuple[int, int]]:
    """First and behind the last of texts of so many tokens that run together; at least one each."""
    first, places = 0, 0
    for at, length in enumerate(lengths.tolist()):
        if at > first and places + length > _RUN_PLACES:
            yield first, at
            first, places = at, 0
        places += length
    yield first, len(lengths)
