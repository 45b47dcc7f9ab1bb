"""Where a decider's weights come from: a run directory, or the arrays of a live network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_weights import Sizes, Weights, fold, sizes_of
from multimodal_dql.errors import RunError, UsageError

__all__ = ["read_weights", "weights_of"]


def read_weights(folder: Path) -> Weights:
    """The network of a run directory. Raises `RunError` as `multimodal_dql.agent.Agent.load` does."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    from multimodal_dql.run_config import read_config, read_file

    config = read_config(folder)
    try:
        data = read_file(folder / "weights.safetensors")
        if hashlib.sha256(data).hexdigest() != config.weights_sha256:
            raise ValueError("hash")
        tensors = from_bytes(data)
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("not finite")
        network = config.network
        sizes = Sizes(
            widths=tuple(network.widths),
            context=network.context_width,
            record=network.record_width,
            hidden=network.hidden,
            members=network.members,
            audience=network.audience or network.hidden,
        )
        named = {path: tensor for path, tensor in tensors.items() if path.startswith("network/")}
        return fold(_by_layer(named), sizes, config.base_rate)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            path=folder,
            detail="is damaged or incomplete (weights and configuration do not match); copy it again or train anew",
            detail_zh="已损坏或不完整（权重与配置不符）；请重新复制或重新训练",
        ) from error


def weights_of(tensors: Mapping[str, NDArray[Any]], base_rate: float, sizes: Sizes | None = None) -> Weights:
    """A live network's weights by path. Raises `UsageError` when they are of something else, or of other `sizes`."""
    try:
        named = _by_layer(tensors)
        return fold(named, sizes or sizes_of(named), base_rate)
    except (KeyError, ValueError) as error:
        raise UsageError(
            detail=f"from_tensors: not the weights of a CandidateQNetwork that decides by clicks ({error})",
            detail_zh=f"from_tensors：不是按点击决策的 CandidateQNetwork 的权重（{error}）",
        ) from error


def _by_layer(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Paths cut down to layer and tensor: ``network/candidate_q_network/fuse/bias`` to ``fuse/bias``."""
    return {"/".join(path.split("/")[-2:]): tensor for path, tensor in tensors.items()}
