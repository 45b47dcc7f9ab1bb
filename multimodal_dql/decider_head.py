"""The choice at the end of a decision: posterior samples vote, and a floor keeps every candidate possible.

A Bayesian linear head scores a candidate by ``phi . w + u``: ``w`` drawn from the posterior over shared weights, ``u``
the candidate's own effect. Features ``phi = [1, context, content, products, hidden]``; the products are those of
context and content in full, or through random signs when there are too many of them. The probability of a candidate is
the share of the samples in which it scores highest (Thompson sampling, its probability counted instead of drawn once),
so it is known and can be reported.

Shape letters: ``K`` candidates, ``S`` samples, ``P`` content width, ``C`` context width, ``H`` hidden width, ``R``
sketched products.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_candidates import misfit
from multimodal_dql.decider_steps import NUMPY
from multimodal_dql.decider_weights import Sizes
from multimodal_dql.errors import UsageError

__all__ = ["ThompsonHead", "draw", "fitting"]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ThompsonHead:
    """Posterior samples of a linear head, taken apart by the features they weigh; make one with `of`.

    The constant and the context weigh the same for all candidates of a decision, so their weights decide nothing.

    Attributes:
        content: (P, S).
        products: (C, P S), or (R, S) with `signs`.
        hidden: (H, S).
        stacked: (P + R + H, S), the three above each other; without `signs` of no use.
        signs: of the content (P, R) and of the context (C, R), the latter divided by the root of R; None when the
            products are complete.
        floor: probability shared out evenly among the available candidates.
    """

    content: Float
    products: Float
    hidden: Float
    stacked: Float
    signs: tuple[Float, Float] | None
    floor: float

    @classmethod
    def of(
        cls,
        weights: NDArray[Any],
        context: int,
        content: int,
        hidden: int,
        signs: tuple[NDArray[Any], NDArray[Any]] | None = None,
        floor: float = 0.01,
    ) -> ThompsonHead:
        """Take apart the samples.

        Args:
            weights: (F, S), F = 1 + C + P + products + H.
            context: C.
            content: P.
            hidden: H.
            signs: (P, R) and (C, R) of +1 and -1, for products ``(content @ w) * (context @ v) / sqrt(R)``; None for
                all C P products ``context[c] * content[p]``, in row ``c P + p``.
            floor: probability shared out evenly, in [0, 1].

        Raises:
            UsageError: shapes that do not fit, or a floor outside [0, 1].
        """
        weights = np.array(weights, np.float32)
        products = content * context if signs is None else signs[0].shape[1]
        ends = np.cumsum([1 + context, content, products, hidden])
        fits = signs is None or (signs[0].shape, signs[1].shape) == ((content, products), (context, products))
        if weights.ndim != 2 or len(weights) != ends[-1] or not fits or not 0.0 <= floor <= 1.0:
            raise UsageError(
                detail=f"head: give weights of {ends[-1]} rows, one a feature, signs (P, R) and (C, R), and a floor "
                f"in [0, 1]; these weights are {weights.shape} and the floor is {floor}",
                detail_zh=f"决策头：权重应有 {ends[-1]} 行（每个特征一行），signs 为 (P, R) 与 (C, R)，"
                f"floor 在 [0, 1] 内；现在权重为 {weights.shape}，floor 为 {floor}",
            )
        stacked = weights[1 + context :]
        of_content, of_products, of_hidden = np.split(stacked, ends[1:-1] - (1 + context))
        if signs is None:
            return cls(of_content, of_products.reshape(context, -1), of_hidden, stacked, None, floor)
        w, v = (np.array(part, np.float32) for part in signs)
        return cls(of_content, of_products, of_hidden, stacked, (w, v / np.float32(products**0.5)), floor)

    @property
    def context(self) -> int:
        """C."""
        return len(self.products if self.signs is None else self.signs[1])

    def scores(self, content: Float, context: Float, hidden: Float) -> Float:
        """What every sample thinks of every candidate, (K, S), up to what all candidates share.

        Args:
            content: (K, P).
            context: (C,).
            hidden: (K, H).
        """
        (p, s), k = self.content.shape, len(content)
        if self.signs is None:
            # Context (x) content against (C, P, S) weights: the context first leaves one matrix for all candidates.
            products = (context @ self.products).reshape(p, s)
        else:
            w, v = self.signs
            scale = context @ v
            if k * (p + s) <= p * s:
                # Few candidates: their sketches, and one product for everything.
                features = np.empty((k, len(self.stacked)), np.float32)
                features[:, :p] = content
                np.multiply(content @ w, scale, out=features[:, p : -hidden.shape[1]])
                features[:, -hidden.shape[1] :] = hidden
                return np.asarray(features @ self.stacked)
            products = (w * scale) @ self.products
        products += self.content
        scores = hidden @ self.hidden
        scores += content @ products
        return np.asarray(scores)

    def probabilities(
        self,
        content: Float,
        context: Float,
        hidden: Float,
        available: Bool | None = None,
        own: NDArray[Any] | None = None,
        vote: Callable[..., Any] = NUMPY.vote,
    ) -> NDArray[np.float64]:
        """The probability of showing each candidate, (K,); 0 where not available.

        Args:
            content: (K, P).
            context: (C,).
            hidden: (K, H).
            available: (K,); None when all are.
            own: (K, S), samples of the candidates' own effects; None for none.
            vote: how votes are counted, see `multimodal_dql.decider_steps`.

        Returns:
            NaN throughout when a score is not a finite number.

        Raises:
            UsageError: `own` has another shape.
        """
        scores = self.scores(content, context, hidden)
        if own is not None:
            if own.shape != scores.shape:
                raise misfit("own", own.shape, "(K, S)", scores.shape)
            scores += own
        if available is None:
            available = np.ones(len(scores), bool)
        p: NDArray[np.float64] = vote(scores, available, self.floor)
        return p


def fitting(head: ThompsonHead | None, sizes: Sizes) -> ThompsonHead | None:
    """The head, unless it was made for another network, which raises `UsageError`."""
    if head is not None:
        rows = (len(head.content), len(head.hidden), head.context, 1)
        wanted = (sizes.content, sizes.hidden, sizes.context, sizes.members)
        if rows != wanted:
            raise UsageError(
                detail=f"head: it is for content, hidden, context and members {rows}, the network has {wanted}",
                detail_zh=f"决策头：它适用的 content、hidden、context 与成员数为 {rows}，而网络为 {wanted}",
            )
    return head


def draw(probabilities: NDArray[np.float64], u: float) -> tuple[int, float]:
    """The candidate at which the cumulated probabilities pass `u`, uniform in [0, 1), and its probability."""
    # Plain floats: a list as short as this is summed and searched faster than an array.
    each = probabilities.tolist()
    cumulated = list(accumulate(each))
    action = bisect_right(cumulated, u * cumulated[-1])
    # Rounding may carry the draw past the last candidate with weight: take that one.
    if action >= len(each) or not each[action] > 0.0:
        action = int(np.flatnonzero(probabilities)[-1])
    return action, each[action]
