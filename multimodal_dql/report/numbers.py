"""Numbers as people read them, the same in the terminal, on the page and in both languages."""

from __future__ import annotations

import math

__all__ = [
    "MISSING",
    "chance",
    "count",
    "decimals",
    "fixed",
    "plain",
    "rate",
    "rate_digits",
    "signed_percent",
]

MISSING = "–"
"""What stands where a number is not known (not a number, or infinite)."""


def chance(probability: float) -> str:
    """A probability in whole percent, never rounded to a certainty: ``<1%``, ``37%``, ``>99%``."""
    if not math.isfinite(probability):
        return MISSING
    if probability < 0.01:
        return "<1%"
    if probability > 0.99:
        return ">99%"
    return f"{100 * probability:.0f}%"


def rate_digits(*rates: float) -> int:
    """Decimals that show two significant digits of the smallest of `rates` (shares of 1) in percent."""
    known = [abs(value) for value in rates if math.isfinite(value) and value != 0]
    if not known:
        return 1
    return max(1, min(4, 1 - math.floor(math.log10(100 * min(known)) + 1e-9)))


def rate(value: float, digits: int = 1) -> str:
    """A share of 1 in percent, e.g. ``3.4%``."""
    return f"{100 * value:.{digits}f}%" if math.isfinite(value) else MISSING


def signed_percent(value: float, digits: int = 1, minus: str = "-") -> str:
    """A relative difference in percent with its sign, e.g. ``+8.4%``; zero has none.

    `minus` is the hyphen where plain text is wanted and the true minus sign (U+2212) on the page.
    """
    if not math.isfinite(value):
        return MISSING
    text = f"{abs(100 * value):.{digits}f}"
    if float(text) == 0:
        return f"{text}%"
    return f"{'+' if value > 0 else minus}{text}%"


def plain(value: float) -> str:
    """A number with three significant digits, e.g. ``0.342``."""
    return f"{value:.3g}" if math.isfinite(value) else MISSING


def decimals(*values: float) -> int:
    """Decimals that show three significant digits of the largest of `values`."""
    largest = max((abs(value) for value in values), default=0.0)
    return max(0, 2 - math.floor(math.log10(largest) + 1e-9)) if largest > 0 else 2


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals, thousands marked, e.g. ``1,234.50``."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else MISSING


def count(value: int) -> str:
    """An integer with thousands marked, e.g. ``20,000``."""
    return f"{value:,}"
