"""Networks of several shapes and decisions for them, in arrays."""

from __future__ import annotations

import numpy as np

from multimodal_dql.decider import Decider, Prepared

C, R = 5, 3
BASE_RATE = 0.02
NETWORKS = {
    "one member": {"widths": (4, 3), "hidden": 16, "members": 1},
    "one wide encoder": {"widths": (8,), "hidden": 64, "members": 1, "audience": 24},
    "ensemble": {"widths": (3, 5, 2), "hidden": 48, "members": 4},
    "ensemble, narrow audience": {"widths": (4, 3), "hidden": 16, "members": 3, "audience": 6},
}
TOLERANCE = 1e-5
"""Of float32 sums in another order, relative to the largest value."""


def tensors_of(network) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in network.weights if v.dtype == "float32"}


def batch(rng: np.random.Generator, widths: tuple[int, ...], k: int, b: int = 1) -> dict[str, np.ndarray]:
    """Decisions with holes: encoders that saw nothing, candidates that do not exist, but the first does."""
    available = rng.random((b, k)) < 0.7
    available[:, 0] = True
    return {
        "content": rng.standard_normal((b, k, sum(widths))).astype("float32"),
        "present": (rng.random((b, k, len(widths))) < 0.7).astype("float32"),
        "record": rng.standard_normal((b, k, R)).astype("float32"),
        "context": rng.standard_normal((b, C)).astype("float32"),
        "available": available,
    }


def prepared(decider: Decider, x: dict[str, np.ndarray], row: int = 0) -> Prepared:
    return decider.prepare(x["content"][row], x["present"][row], x["record"][row], x["available"][row])


def close(found: np.ndarray, wanted: np.ndarray, scale: float = 0.0) -> bool:
    return bool(np.abs(found - wanted).max() <= TOLERANCE * max(np.abs(wanted).max(), scale))
