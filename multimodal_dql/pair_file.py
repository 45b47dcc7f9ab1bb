"""A JSON file that vouches, by a hash, for a file of arrays beside it: written whole, read without trust."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import OutputError, RunError
from multimodal_dql.run_file import read_file, write_file

__all__ = ["Kind", "read_pair", "write_pair"]

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
HASH = "arrays_sha256"
LARGEST_JSON = 8 << 20


@dataclass(frozen=True)
class Kind:
    """What two files hold, for messages.

    Attributes:
        name: of the files, before ``.json`` and ``.safetensors``.
        what: for example ``content prior``.
        what_zh: the same in Chinese.
        cure: how to make it again.
        cure_zh: the same in Chinese.
    """

    name: str
    what: str
    what_zh: str
    cure: str
    cure_zh: str

    @property
    def facts(self) -> str:
        """Name of the JSON file."""
        return f"{self.name}.json"

    @property
    def arrays(self) -> str:
        """Name of the file of arrays."""
        return f"{self.name}.safetensors"


def write_pair(
    kind: Kind, folder: Path, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[Path, Path]:
    """Write both files, each atomically; paths of the JSON and of the arrays. Raises OutputError."""
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    vouching = {**facts, HASH: hashlib.sha256(data).hexdigest()}
    text = json.dumps(vouching, ensure_ascii=False, indent=1, allow_nan=False)
    paths = folder / kind.facts, folder / kind.arrays
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The arrays first: a reader that comes between finds a hash that does not fit, never a wrong model.
        write_file(paths[1], data)
        write_file(paths[0], (text + "\n").encode())
    except OSError as error:
        raise OutputError(path=folder, reason=error.strerror or str(error)) from error
    return paths


def read_pair(kind: Kind, run: Path, made: Callable[[dict[str, Any], Arrays], T]) -> T:
    """What `made` makes of the facts, its hash among them, and the arrays.

    Args:
        kind: which files.
        run: their folder.
        made: may raise ValueError (pydantic's too), KeyError, TypeError or OverflowError for what does not fit.

    Raises:
        RunError: with the cure, for anything that is not whole.
    """
    from pydantic import ValidationError

    if not (run / kind.facts).is_file():
        raise RunError(
            path=run,
            detail=f"there is no {kind.what} ({kind.facts}); {kind.cure}",
            detail_zh=f"没有{kind.what_zh}（{kind.facts}）；{kind.cure_zh}",
        )
    try:
        text = read_file(run / kind.facts)
        if len(text) > LARGEST_JSON:
            raise ValueError(f"{kind.facts} is larger than 8 MB")
        facts = json.loads(text)
        data = read_file(run / kind.arrays)
        if not isinstance(facts, dict) or hashlib.sha256(data).hexdigest() != facts.get(HASH):
            raise ValueError(f"{kind.arrays} is not the one it was written with")
        return made(facts, _arrays(kind, data))
    except OSError as error:
        why = error.strerror or str(error)
    except ValidationError as error:
        found = error.errors()[0]
        why = f"{'.'.join(str(part) for part in found['loc'][:3])}: {found['msg']}"
    except RecursionError:
        why = "it is nested too deeply"
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        why = str(error)
    why = "".join(c if c.isprintable() else "?" for c in why)[:160]
    raise RunError(
        path=run / kind.facts,
        detail=f"is not a whole {kind.what} ({why}); {kind.cure}",
        detail_zh=f"不是完整的{kind.what_zh}（{why}）；{kind.cure_zh}",
    )


def _arrays(kind: Kind, data: bytes) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except SafetensorError as error:
        raise ValueError(f"{kind.arrays}: {error}") from error
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64, np.int64) or not np.isfinite(array).all():
            raise ValueError(f"{name[:60]} holds what is no finite number")
    return dict(arrays)
