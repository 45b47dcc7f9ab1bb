"""Features of a decision for the Bayesian last layer: ``phi = [1, context, content, context x content, hidden]``.

Shape letters: ``K`` candidates, ``P`` content, ``C`` context, ``H`` hidden units, ``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.exploration.sketch import SKETCH, random_signs, sketched

__all__ = ["LARGEST_PRODUCT", "HeadFeatures"]

Float = NDArray[np.float32]

LARGEST_PRODUCT = 1024
"""Products context x content that are taken one by one; beyond, they are sketched."""


@dataclass(frozen=True)
class HeadFeatures:
    """Lay the features of a decision side by side.

    All ``C P`` products are taken while they are few; otherwise `multimodal_dql.exploration.sketch` stands for them.

    Attributes:
        content: P.
        context: C; 0 for none.
        hidden: H; 0 leaves the network's hidden layer out.
        seed: of the signs.
    """

    content: int
    context: int
    hidden: int = 0
    seed: int = 0

    @property
    def exact(self) -> bool:
        """Whether every product is there."""
        return self.content * self.context <= LARGEST_PRODUCT

    @property
    def products(self) -> int:
        """Columns of context x content."""
        return self.content * self.context if self.exact else SKETCH

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Name -> columns; blocks without a column are not there."""
        widths = {
            "bias": 1,
            "context": self.context,
            "content": self.content,
            "products": self.products,
            "hidden": self.hidden,
        }
        out, start = {}, 0
        for name, width in widths.items():
            if width:
                out[name] = slice(start, start + width)
            start += width
        return out

    @property
    def width(self) -> int:
        """F."""
        return 1 + self.context + self.content + self.products + self.hidden

    @cached_property
    def signs(self) -> tuple[Float, Float]:
        """Signs w (P, R) and v (C, R) of the sketch."""
        return random_signs(self.content, self.context, self.seed, 22, np.float32)

    def __call__(self, content: Float, context: Float, hidden: Float | None = None) -> Float:
        """Content (K, P), context (C,) and hidden (K, H) to (K, F)."""
        out = np.empty((len(content), self.width), np.float32)
        out[:, 0] = 1.0
        start = 1 + self.context
        out[:, 1:start] = context
        out[:, start : start + self.content] = content
        start += self.content
        products = out[:, start : start + self.products]
        if self.exact:
            np.copyto(products, (context[:, None] * content[:, None, :]).reshape(len(content), -1))
        else:
            np.copyto(products, sketched(content, context, self.signs))
        if hidden is not None:
            out[:, start + self.products :] = hidden
        return out
