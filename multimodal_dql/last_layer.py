"""The Bayesian last layer of a trained ensemble: from the members' scores and the content to a joint distribution of
the values of a story's variants.

Within a story, ``y_k = phi_k . w + story + u_k``: y is what a variant is truly worth, ``phi`` are the ensemble's score
and the content, each against its mean over the siblings, and u is the variant's own effect, what neither can tell.

Formulas:
    ``u_k ~ N(0, s2)``, ``w ~ N(m0, s2 diag(1 / tau))``: the score is trusted (``m0 = 1``) and content adds nothing (0)
    until the evidence says otherwise; one precision an encoder, relative to the noise.
    ``s2 ~ IG(a0, b0)``; the posterior is normal-inverse-gamma again (Gelman et al. 2013, section 14.8; Bishop 2006,
    exercise 3.12). The story's own level is flat and is projected out.
    Evidence maximisation (MacKay 1992): ``tau = (gamma + k) / (|m|^2 / s2 + k / tau_0)``, ``gamma`` the number of
    weights that the data determine, k pseudo-weights at the initial precision.

Cross-fitting: a training story is scored by the members that left it out, in the fit and when it is ranked, and then
judged by the layer that left its fold out. So a regression holds G posteriors: one a fold and, for new stories, that of
all stories at the end.

Shape letters: ``G`` posteriors, ``F`` features, ``n`` rows (variants), ``K`` candidates, ``J`` levels of noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "PARTS", "LastLayer", "Regression", "Rows", "centred", "fit_regression"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SCORE_PRECISION = 0.01
"""Of the score's weight, relative to the noise: nearly flat. Held at 1, content would have to undo what scores remember
of other folds, and a ranking of training stories would be surer than it should (docs/evidence.md)."""
CONTENT_PRECISION = 30.0
"""The same of the content at the start: 72 columns of unit length and a noise of .03 differ by .27 in log clicks."""
PSEUDO_WEIGHTS = 1.0
NOISE_SHAPE = 1.0
"""Half the pseudo-rows of the noise's prior."""
NOISE = 0.03
"""Variance of a variant's own effect on the logarithm of the click rate where nothing was measured."""
SMALLEST_NOISE = 1e-8
LARGEST = 1e6
"""Of any number that is read."""
ROUNDS = 50
"""Of evidence maximisation, at most."""
LEVELS = 8
"""Levels of noise that stand for its posterior: quantiles, equally likely."""
PARTS = ("click", "audience", "later")


@dataclass(frozen=True)
class Rows:
    """Variants whose worth is known; stories without a second variant say nothing.

    Attributes:
        x: features, (n, F); the score first.
        y: (n,).
        story: number of the story, (n,).
        weight: precision of `y` beside that of the noise, between 0 and 1, (n,); None for exact ones. A worth that was
            counted with variance v has ``s2 / (s2 + v)``.
    """

    x: Float
    y: Float
    story: Int
    weight: Float | None = None

    def of(self, kept: NDArray[np.bool_]) -> Rows:
        """The rows `kept` (n,)."""
        weight = None if self.weight is None else self.weight[kept]
        return Rows(self.x[kept], self.y[kept], self.story[kept], weight)


@dataclass(frozen=True)
class Regression:
    """Normal-inverse-gamma posteriors: ``w ~ N(mean, s2 root root')``, ``s2 ~ IG(shape, scale)``.

    Attributes:
        mean: (G, F).
        root: (G, F, F).
        shape: (G,).
        scale: (G,).
    """

    mean: Float
    root: Float
    shape: Float
    scale: Float

    @property
    def noise(self) -> Float:
        """Expected noise, (G,); its median-like ``scale / shape`` where the mean is infinite."""
        return self.scale / np.where(self.shape > 1.5, self.shape - 1.0, self.shape)

    def levels(self) -> Float:
        """Noise at the midpoints of J equally likely ranges, (J, G), rising."""
        from scipy.special import gammainccinv

        middle = (np.arange(LEVELS) + 0.5) / LEVELS
        return np.asarray(self.scale / gammainccinv(self.shape, middle[:, None]))

    def predict(self, which: Int, x: Float, available: NDArray[np.bool_]) -> tuple[Float, Float]:
        """Worth of candidates against their story's mean.

        Args:
            which: the posterior of each item, (items,).
            x: features, (items, K, F).
            available: (items, K).

        Returns:
            the mean (items, K), and the covariance of its error (items, K, K) in units of the noise.
        """
        x = centred(x, available)
        spread = x @ self.root[which]
        covariance = spread @ np.swapaxes(spread, -1, -2)
        diagonal = np.arange(x.shape[1])
        covariance[:, diagonal, diagonal] += available
        return (x @ self.mean[which][..., None])[..., 0], covariance


@dataclass(frozen=True)
class LastLayer:
    """What the values of a story's variants are believed to be, given scores and content.

    Attributes:
        click: of the logarithm of the click rate; features are the members' mean log click rate, then the content.
        audience: of how it differs in front of a part of the audience; the feature is how the score differs.
        later: of the clicks that follow, as a share of the story's click rate; the feature is what the members say.
        story: variance of the error of the log click rate that all variants of a story share.
    """

    click: Regression
    audience: Regression
    later: Regression
    story: float = 0.25

    @classmethod
    def prior(cls, content: int, posteriors: int = 1) -> LastLayer:
        """Before anything was measured, for this many columns of content; the same for each of G posteriors."""
        none = np.zeros(0)

        def part(width: int) -> Regression:
            rows = Rows(np.zeros((0, 1 + width)), none, none.astype(np.int64))
            one = fit_regression(rows, (width,) if width else ())
            return Regression(*(np.repeat(getattr(one, f.name), posteriors, axis=0) for f in fields(one)))

        return cls(part(content), part(0), part(0))

    def which(self, known: Int, fold: Int) -> Int:
        """The posterior for each story, (items,): that of its fold if it was learned from, else the last one.

        Args:
            known: number among the training stories, -1 when new.
            fold: of the training stories.
        """
        last = len(self.click.mean) - 1
        if not len(fold):
            return np.full(len(known), last)
        return np.where(known >= 0, np.minimum(fold[known], last), last)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Everything by name, for `of_tensors`."""
        out = {
            f"{part}/{f.name}": np.ascontiguousarray(getattr(getattr(self, part), f.name), np.float32)
            for part in PARTS
            for f in fields(Regression)
        }
        return out | {"story": np.array([self.story], np.float32)}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]], content: int, folds: int) -> LastLayer:
        """Read `tensors`. Raises KeyError or ValueError when they are not those of such a layer.

        Args:
            tensors: by name.
            content: columns of content.
            folds: of the training stories, 0 without any.
        """
        widths = {"click": 1 + content, "audience": 1, "later": 1}
        parts = {part: _read(tensors, part, width, folds) for part, width in widths.items()}
        story = np.asarray(tensors["story"], np.float64)
        if story.shape != (1,) or not 0.0 <= story[0] <= 100.0:
            raise ValueError("story")
        return cls(**parts, story=float(story[0]))

    def rounded(self) -> LastLayer:
        """As it is after it was written and read, so that an agent in memory ranks as the one on disk."""
        return self.of_tensors(self.tensors(), self.click.mean.shape[1] - 1, len(self.click.mean) - 1)


def _read(tensors: Mapping[str, NDArray[Any]], part: str, width: int, folds: int) -> Regression:
    """One regression of F features. Raises KeyError or ValueError."""
    found = {f.name: np.asarray(tensors[f"{part}/{f.name}"], np.float64) for f in fields(Regression)}
    g = len(found["shape"])
    shapes = {"mean": (g, width), "root": (g, width, width)}
    if g not in (1, folds + 1) or any(a.shape != shapes.get(name, (g,)) for name, a in found.items()):
        raise ValueError("shape")
    if not all((np.abs(array) <= LARGEST).all() for array in found.values()):
        raise ValueError("not finite, or too large")
    if not ((found["shape"] > 0).all() and (found["scale"] > 0).all()):
        raise ValueError("sign")
    return Regression(**found)


def centred(values: Float, available: NDArray[np.bool_]) -> Float:
    """Against the mean over the available siblings: (items, K, ...) -> same, 0 where not available."""
    mask = available.reshape(*available.shape, *[1] * (values.ndim - 2))
    size = np.maximum(mask.sum(1, keepdims=True), 1)
    return np.where(mask, values - np.where(mask, values, 0.0).sum(1, keepdims=True) / size, 0.0)


def fit_regression(rows: Rows, widths: Sequence[int] = (), fold: Int | None = None) -> Regression:
    """The posteriors without each fold and, last, of all rows.

    Args:
        rows: what is known.
        widths: columns of each block of content, summing to F - 1.
        fold: of each row, (n,); None leaves nothing out.
    """
    kept = [np.ones(len(rows.y), dtype=bool)]
    if fold is not None and len(fold):
        kept = [fold != f for f in range(int(fold.max()) + 1)] + kept
    return Regression(
        *(np.stack(part) for part in zip(*(_posterior(rows.of(k), widths) for k in kept), strict=True))
    )


def _posterior(rows: Rows, widths: Sequence[int]) -> tuple[Float, Float, Float, Float]:
    """Mean, root, shape and scale of the posterior of some rows."""
    x, y, n = _without_story(rows)
    f = x.shape[1]
    ends = np.cumsum((1, *widths))
    blocks = [slice(a, b) for a, b in pairwise(ends.tolist())]
    prior_mean = np.eye(1, f)[0]
    # The noise is expected to be half of what there is to explain.
    guess = max(0.5 * float(y @ y) / n, SMALLEST_NOISE) if n else NOISE
    shape, first = NOISE_SHAPE + n / 2, NOISE_SHAPE * guess
    gram, cross, total = x.T @ x, x.T @ y, float(y @ y)
    new = np.full(len(blocks), CONTENT_PRECISION)
    for _ in range(ROUNDS):
        tau, precision = new, np.full(f, SCORE_PRECISION)
        for t, block in zip(tau, blocks, strict=True):
            precision[block] = t
        matrix = gram + np.diag(precision)
        root = np.linalg.inv(np.linalg.cholesky(matrix)).T
        mean = root @ (root.T @ (cross + precision * prior_mean))
        scale = first + 0.5 * max(total + precision @ prior_mean**2 - mean @ matrix @ mean, 0.0)
        variance = np.sum(root**2, axis=1)
        new = np.array(
            [
                (max(block.stop - block.start - t * variance[block].sum(), 0.0) + PSEUDO_WEIGHTS)
                / (mean[block] @ mean[block] * shape / scale + PSEUDO_WEIGHTS / CONTENT_PRECISION)
                for t, block in zip(tau, blocks, strict=True)
            ]
        )
        if np.allclose(new, tau, rtol=1e-3):
            break
    return mean, root, np.asarray(shape), np.asarray(scale)


def _without_story(rows: Rows) -> tuple[Float, Float, int]:
    """Features and worth against the story's mean, times the root of their weight, and how many rows they are worth,
    one less a story.
    """
    stories, story = np.unique(rows.story, return_inverse=True)
    weight = np.ones(len(story)) if rows.weight is None else rows.weight
    both = np.concatenate([rows.x, rows.y[:, None]], axis=1)
    sums = np.zeros((len(stories), both.shape[1]))
    np.add.at(sums, story, both * weight[:, None])
    both = both - (sums / np.bincount(story, weight, minlength=len(stories))[:, None])[story]
    both *= np.sqrt(weight)[:, None]
    return both[:, :-1], both[:, -1], len(story) - len(stories)
