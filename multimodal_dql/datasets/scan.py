"""A catalogue of any size, read row by row: what is wrong with it, who belongs together, then its variants.

`read_catalogue` holds every row, about a kilobyte each. This holds 16 bytes a row, and reads the file again for
each walk over its variants.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.catalogue import Variant, checked_rows, read_catalogue
from multimodal_dql.errors import CatalogueError

__all__ = ["CatalogueScan", "scan_catalogue"]


@dataclass(frozen=True)
class CatalogueScan:
    """A catalogue that was read once and found to be right.

    Attributes:
        path: the file.
        item_of: number of the item of each variant in the order of the file, uint32 (N,); numbers have no order.
        sizes: variants of each item, int64 (items,).
        named: modality -> how many variants have it.

    """

    path: Path
    item_of: NDArray[np.uint32]
    sizes: NDArray[np.int64]
    named: dict[str, int]

    def variants(self) -> Iterator[Variant]:
        """All N variants in the order of the file; raises `CatalogueError` if it has changed since."""
        n = 0
        with checked_rows(self.path) as (_, rows):
            for _, _, variant, _ in rows:
                if variant is None:
                    raise self._changed()
                n += 1
                yield variant
        if n != len(self.item_of):
            raise self._changed()

    def _changed(self) -> CatalogueError:
        return CatalogueError(
            path=self.path,
            detail="the file has changed while it was read; start again",
            detail_zh="读取过程中文件发生了变化；请重新运行",
        )


def scan_catalogue(path: str | Path) -> CatalogueScan:
    """Read and validate a catalogue without keeping it. Raises what `read_catalogue` raises."""
    path = Path(path)
    pairs, owners = array("Q"), array("Q")
    named = {"text": 0, "image": 0, "audio": 0}
    right = True
    with checked_rows(path) as (table, rows):
        for _, _, variant, _ in rows:
            right = right and variant is not None and not table.problems
            if variant is None or not right:
                break
            pairs.append(_hash(f"{variant.item_id}\n{variant.variant_id}"))
            owners.append(_hash(variant.item_id))
            named["text"] += bool(variant.caption and variant.caption.strip())
            named["image"] += variant.image is not None
            named["audio"] += variant.audio is not None
        right = right and not table.problems
    _, item_of, sizes = np.unique(np.array(owners), return_inverse=True, return_counts=True)
    right = right and bool(sizes.max(initial=0) > 1) and len(np.unique(np.array(pairs))) == len(pairs)
    if not right:
        # Something is wrong, or two hashes met: this one finds out, and says where and how to mend it.
        read_catalogue(path)
    return CatalogueScan(path, item_of.astype(np.uint32), sizes, named)


def _hash(text: str) -> int:
    """64 bits of `text`; an id has no line break in it."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")
