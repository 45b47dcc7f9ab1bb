"""What is known about the audience: fields, their columns, and how a command line names them.

Shape letters as in `multimodal_dql.state`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError

__all__ = ["ContextField", "ContextSpec"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class ContextField:
    """One thing known about the audience.

    Attributes:
        name: as written in ``--context name=value``.
        kind: ``category`` (one of `values`), ``number`` (from `low` to `high`) or ``cycle`` (repeats at `high`).
        values: the categories.
        low: smallest number.
        high: largest number, or the period of a cycle.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0

    @property
    def width(self) -> int:
        """Columns it takes: one per category, one for a number, two (sine and cosine) for a cycle."""
        return {"category": len(self.values), "number": 1, "cycle": 2}[self.kind]

    def parse(self, text: str) -> float:
        """Read a value: the index of a category, or a number in range. Raises `InputError` with the cure."""
        if self.kind == "category":
            if text not in self.values:
                raise UnknownNameError(
                    kind=f"value of '{self.name}'", kind_zh=f" {self.name} 取值", name=text, known=self.values
                )
            return float(self.values.index(text))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high:
            raise UsageError(
                detail=f"context {self.name}={text}: write a number from {self.low:g} to {self.high:g}",
                detail_zh=f"上下文 {self.name}={text}：请写 {self.low:g} 到 {self.high:g} 之间的数字",
            )
        return value

    def columns(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (B,) as columns (B, width)."""
        if self.kind == "category":
            return np.eye(len(self.values))[values.astype(np.int64)]
        if self.kind == "cycle":
            angle = 2 * np.pi * values / self.high
            return np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return ((values - self.low) / (self.high - self.low))[:, None]


@dataclass(frozen=True)
class ContextSpec:
    """What is known about the audience, field by field; saved with every agent."""

    fields: tuple[ContextField, ...]

    @property
    def width(self) -> int:
        """C."""
        return sum(field.width for field in self.fields)

    def encode(self, columns: Mapping[str, NDArray[np.float64]]) -> Float:
        """Columns of values, each (B,), to (B, C) float32."""
        return np.concatenate([f.columns(columns[f.name]) for f in self.fields], axis=1).astype(np.float32)

    def parse(self, pairs: Sequence[str]) -> dict[str, float]:
        """Read ``name=value`` pairs from a command line. Raises `InputError` with the cure."""
        known = {field.name: field for field in self.fields}
        out: dict[str, float] = {}
        for pair in pairs:
            name, equals, text = pair.partition("=")
            if not equals:
                raise UsageError(
                    detail=f"context '{pair}': write it as name=value, for example device=mobile",
                    detail_zh=f"上下文 “{pair}”：请写成 名称=取值，例如 device=mobile",
                )
            if name not in known:
                raise UnknownNameError(kind="context field", kind_zh="上下文字段", name=name, known=known)
            if name in out:
                raise UsageError(
                    detail=f"context {name} is given twice; give it once",
                    detail_zh=f"上下文 {name} 重复；请只写一次",
                )
            out[name] = known[name].parse(text.strip())
        return out
