"""Where a decider's weights come from: a run directory, or the arrays of a live network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql import run_file
from multimodal_dql.decider_weights import Sizes, Weights, fold, sizes_of
from multimodal_dql.errors import RunError, UsageError
from multimodal_dql.run_file import incomplete, read_settings

__all__ = ["read_weights", "weights_of"]


def read_weights(folder: Path) -> Weights:
    """The network of a run directory. Raises `RunError` as `multimodal_dql.agent.Agent.load` does."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    sizes, base_rate, digest = _settings(folder)
    try:
        tensors = from_bytes(run_file.read_tensors(folder, run_file.WEIGHTS, digest))
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("not finite")
        named = {path: tensor for path, tensor in tensors.items() if path.startswith("network/")}
        return fold(_by_layer(named), sizes, base_rate)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            path=folder,
            detail="is damaged or incomplete (weights and configuration do not match); copy it again or train anew",
            detail_zh="已损坏或不完整（权重与配置不符）；请重新复制或重新训练",
        ) from error


def _settings(folder: Path) -> tuple[Sizes, float, str]:
    """The sizes, the base rate and the hash of the weights, each looked at before anything is built from it.

    `run_config.read_config` looks at more and would do, but the library it needs takes longer to import than all the
    rest of loading.
    """
    data = read_settings(folder)
    place = "network"
    try:
        network = data[place]
        if network.get("bins"):
            raise RunError(
                path=folder,
                detail="was trained with --value-loss hl_gauss, which needs TensorFlow to decide (Agent); for a "
                "Decider train with --value-loss mse",
                detail_zh="以 --value-loss hl_gauss 训练，决策需要 TensorFlow（Agent）；"
                "若要用 Decider，请以 --value-loss mse 训练",
            )
        hidden = _whole(network["hidden"])
        audience = network.get("audience")
        sizes = Sizes(
            widths=tuple(_whole(width) for width in network["widths"]),
            context=_whole(network["context_width"]),
            record=_whole(network["record_width"]),
            hidden=hidden,
            members=_whole(network["members"], 256),
            audience=hidden if audience is None else _whole(audience),
        )
        if not 1 <= len(sizes.widths) <= 64:
            raise ValueError("widths")
        place = "base_rate"
        base_rate = data[place]
        if not isinstance(base_rate, float) or not 0.0 < base_rate < 1.0:
            raise ValueError(place)
        place = "weights_sha256"
        return sizes, base_rate, str(data[place])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise incomplete(folder, place) from error


def _whole(number: object, largest: int = 4096) -> int:
    """A width. Raises ValueError when it is not a whole number from 1 to `largest`."""
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= largest:
        raise ValueError("not a width")
    return number


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
