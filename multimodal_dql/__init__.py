"""Rank thumbnail, headline and audio variants with frozen encoders and a dueling Q-network; prove the choice offline.

    from multimodal_dql import Agent, features, rank, read_catalogue

    agent = Agent.load(Path("run"))
    encoded = features(read_catalogue("stories.csv"), agent.encoders)
    ranking = rank(agent, encoded)

Names are loaded when they are first used: importing this package loads no TensorFlow, transformers or librosa.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Agent": "multimodal_dql.agent",
    "Catalogue": "multimodal_dql.datasets.catalogue",
    "Decider": "multimodal_dql.decider",
    "Encoder": "multimodal_dql.encoders.base",
    "Features": "multimodal_dql.features",
    "Policy": "multimodal_dql.policies.base",
    "Ranking": "multimodal_dql.ranking",
    "TrainConfig": "multimodal_dql.training",
    "check_catalogue": "multimodal_dql.datasets.quality",
    "check_encoder": "multimodal_dql.encoders.checks",
    "features": "multimodal_dql.features",
    "load_encoder": "multimodal_dql.encoders.registry",
    "rank": "multimodal_dql.rank",
    "read_catalogue": "multimodal_dql.datasets.catalogue",
    "train": "multimodal_dql.training",
    "write_html": "multimodal_dql.report",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
