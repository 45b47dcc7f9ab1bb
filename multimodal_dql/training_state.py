"""The state of a training between two iterations, and whether a checkpoint belongs to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates, ContentProjection
from multimodal_dql.checkpoint import PARTS, Checkpoint
from multimodal_dql.errors import RunError
from multimodal_dql.learner import Learner
from multimodal_dql.monitors import Watch
from multimodal_dql.replay import PrioritisedReplay, Replay
from multimodal_dql.train_config import TrainConfig

__all__ = ["TrainingState", "check_same", "identity"]

FREE = {"checkpoint_every"}
"""Settings that no number depends on."""


@dataclass
class TrainingState:
    """Everything the next iteration depends on.

    Attributes:
        learner: networks and optimiser.
        replay: past transitions.
        rng: draws synthetic records and batches. Sessions have streams of their own, keyed by seed and number.
        watch: what monitors remember.
        iteration: iterations done.
    """

    learner: Learner
    replay: Replay | PrioritisedReplay
    rng: np.random.Generator
    watch: Watch
    iteration: int = 0

    @property
    def limit(self) -> int:
        """Bytes that a part of a checkpoint holds at most."""
        learner = sum(array.nbytes for array in self.learner.state().values())
        return max(learner, self.replay.nbytes)

    def checkpoint(self, whose: Mapping[str, Any], position: Mapping[str, Any]) -> Checkpoint:
        """All of it, to be written.

        Args:
            whose: what `identity` gave.
            position: of the metrics.
        """
        facts = {
            **whose,
            "random": _plain(self.rng.bit_generator.state),
            "added": self.replay.added,
            "watch": self.watch.to_dict(),
            "metrics": dict(position),
        }
        held = {f"replay/{name}": array for name, array in self.replay.state().items()}
        return Checkpoint(self.iteration, facts, self.learner.state() | held)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be as it was.

        Raises:
            KeyError, TypeError, ValueError: the checkpoint is of another training.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in PARTS}
        for name, array in checkpoint.arrays.items():
            parts[name.split("/", 1)[0]][name] = array
        facts = checkpoint.facts
        watch, state = Watch.from_dict(facts["watch"]), _arrays(facts["random"])
        self.replay.restore(
            {n.removeprefix("replay/"): a for n, a in parts.pop("replay").items()}, int(facts["added"])
        )
        self.learner.restore({name: array for part in parts.values() for name, array in part.items()})
        self.rng.bit_generator.state = state
        self.watch, self.iteration = watch, checkpoint.iteration


def identity(
    config: TrainConfig, candidates: Candidates, projection: ContentProjection, origin: str
) -> dict[str, Any]:
    """What a checkpoint must agree on to be resumed: settings, and hashes of catalogue and audience (`origin`)."""
    c = candidates
    arrays: list[NDArray[Any]] = [c.content, c.present, c.table, c.available, c.impressions, c.clicks]
    for encoder in projection.encoders:
        arrays += [encoder.mean, encoder.components]
    catalogue = hashlib.sha256()
    for array in arrays:
        catalogue.update(repr((array.shape, str(array.dtype))).encode())
        catalogue.update(np.ascontiguousarray(array).tobytes())
    for encoder in projection.encoders:
        catalogue.update(repr((encoder.name, encoder.fingerprint)).encode())
    audience = hashlib.sha256(origin.encode())
    return {
        "settings": asdict(config),
        "catalogue": catalogue.hexdigest(),
        "audience": audience.hexdigest(),
    }


def check_same(path: Any, whose: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another training.

    Args:
        path: of the checkpoint, for the message.
        whose: what `identity` gave.
        facts: of the checkpoint.

    Raises:
        RunError: names the first difference.
    """
    then = facts.get("settings")
    then = then if isinstance(then, dict) else {}
    for field in fields(TrainConfig):
        before, now = then.get(field.name), whose["settings"][field.name]
        if field.name not in FREE and before != now:
            raise RunError(
                path=path,
                detail=f"was made with {field.name} = {before}, and now it is {now}; give the same again, or start "
                "anew in another folder",
                detail_zh=f"当时 {field.name} = {before}，现在是 {now}；请使用相同的设置，或换一个目录重新开始",
            )
    for name, en, zh in (
        ("catalogue", "catalogue (its stories, files or encoders)", "目录（条目、文件或编码器）"),
        (
            "audience",
            "audience or log (--engagement, --assume or --log)",
            "受众或日志（--engagement、--assume 或 --log）",
        ),
    ):
        if facts.get(name) != whose[name]:
            raise RunError(
                path=path,
                detail=f"was made with another {en}; give the same again, or start anew in another folder",
                detail_zh=f"当时使用的是另外的{zh}；请使用相同的，或换一个目录重新开始",
            )


def _plain(value: Any) -> Any:
    """Random state as JSON: integers and lists, exact."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return [int(entry) for entry in value]
    return value if isinstance(value, str) else int(value)


def _arrays(value: Any) -> Any:
    """What `_plain` gave, as NumPy wants it."""
    if isinstance(value, Mapping):
        return {key: _arrays(entry) for key, entry in value.items()}
    return np.array(value, dtype=np.uint64) if isinstance(value, list) else value
