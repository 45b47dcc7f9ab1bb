"""From rows of A/B tests to arms: the risk window left out, arms of one content pooled, linked tests found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from multimodal_dql.datasets._ab_rows import ArmRow, normalised_headline

__all__ = [
    "Arm",
    "Pool",
    "Test",
    "by_headline",
    "by_headline_and_picture",
    "components",
    "confounded",
    "content",
    "gather",
    "pooled",
]

Pool = Literal["text", "arm", "none"]
Key = tuple[str | None, ...]


@dataclass(frozen=True)
class Arm:
    """An arm, perhaps pooled from several rows."""

    arm: str
    headline: str | None
    image: str | None
    audio: str | None
    impressions: int
    clicks: int


@dataclass(frozen=True)
class Test:
    """The rows of one test that are used."""

    test: str
    created: np.datetime64
    rows: tuple[ArmRow, ...]


def gather(rows: Iterable[ArmRow]) -> list[Test]:
    """Rows by test, in order of first appearance. A test was created when its first arm was."""
    by_test: dict[str, list[ArmRow]] = {}
    for row in rows:
        by_test.setdefault(row.test, []).append(row)
    return [Test(name, min(row.created for row in found), tuple(found)) for name, found in by_test.items()]


def content(row: ArmRow) -> Key:
    """What readers saw of an arm; its own id if the file does not say."""
    headline = normalised_headline(row.headline) if row.headline else None
    key = (headline, row.image, row.audio)
    return key if any(part is not None for part in key) else (row.arm, "arm")


def _text(row: ArmRow) -> Key:
    return (normalised_headline(row.headline),) if row.headline else content(row)


def _own(row: ArmRow) -> Key:
    return (row.arm,)


_KEYS: dict[Pool, Callable[[ArmRow], Key]] = {"text": _text, "arm": content, "none": _own}


def pooled(rows: Sequence[ArmRow], pool: Pool) -> tuple[Arm, ...]:
    """The arms of one test; rows that `pool` holds for one arm have their counts added up.

    What pooled rows do not share (the picture, if only the text counts) is unknown for the arm.
    """
    arms: dict[Key, Arm] = {}
    for row in rows:
        key = _KEYS[pool](row)
        arm = arms.get(key)
        if arm is None:
            arms[key] = Arm(row.arm, row.headline, row.image, row.audio, row.impressions, row.clicks)
        else:
            arms[key] = replace(
                arm,
                image=arm.image if arm.image == row.image else None,
                audio=arm.audio if arm.audio == row.audio else None,
                impressions=arm.impressions + row.impressions,
                clicks=arm.clicks + row.clicks,
            )
    return tuple(arms.values())


def confounded(rows: Sequence[ArmRow]) -> bool:
    """Whether the headlines of a test were not all shown with the same pictures and sounds."""
    beside: dict[Key, set[Key]] = {}
    for row in rows:
        beside.setdefault(_text(row), set()).add((row.image, row.audio))
    return len({frozenset(found) for found in beside.values()}) > 1


def by_headline(row: ArmRow) -> tuple[str, ...]:
    """What links the test of a row to others: its headline."""
    return (normalised_headline(row.headline),) if row.headline else ()


def by_headline_and_picture(row: ArmRow) -> tuple[str, ...]:
    """The same, and its picture, which a prior that looks at pictures would recognise."""
    return (*by_headline(row), *((f"\0{row.image}",) if row.image else ()))


def components(tests: Sequence[Test], links: Callable[[ArmRow], tuple[str, ...]] = by_headline) -> list[int]:
    """The connected component of each test, numbered in order: two tests that share a link of a row are linked."""
    parent = list(range(len(tests)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, test in enumerate(tests):
        for row in test.rows:
            for link in links(row):
                a, b = root(i), root(first.setdefault(link, i))
                parent[max(a, b)] = min(a, b)
    number: dict[int, int] = {}
    return [number.setdefault(root(i), len(number)) for i in range(len(tests))]
