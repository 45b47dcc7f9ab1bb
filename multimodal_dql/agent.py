"""The agent: a `CandidateQNetwork` with what it needs to decide, and its run directory.

A run directory holds ``config.json`` (settings, schema version, hashes of the tensors), ``weights.safetensors``
(network and content projection), ``last_layer.safetensors`` (what values are believed to be), ``metrics.jsonl``,
``stability.json`` (what monitors said) and ``tensorboard/``; a training that has not ended lives in ``unfinished/``.
The network is rebuilt in code from the JSON; nothing in a run directory is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import DERIVED, ContentProjection, EncoderProjection
from multimodal_dql.context import ContextField, ContextSpec
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.errors import RunError
from multimodal_dql.last_layer import LastLayer
from multimodal_dql.run_config import read_config
from multimodal_dql.run_file import LAYER, SCHEMA_VERSION, WEIGHTS, read_tensors, write_run
from multimodal_dql.state import RECORD_WIDTH, State

__all__ = ["SCHEMA_VERSION", "Agent", "Estimate"]

NETWORK_SETTINGS = ("hidden", "members", "modality_dropout", "content_noise")
"""Fields of `NetworkConfig` that are settings; the others follow from the data."""
NETWORK_FORM = ("audience", "advantage", "bins", "bin_low", "bin_high")
"""Fields of `NetworkConfig` that are saved and not free: what else an agent's network may look like."""
BATCH = 256
"""Decisions scored at once; batches are padded to it, so that a result does not depend on the batch it came in."""


@dataclass(frozen=True)
class Estimate:
    """What every member thinks of every candidate.

    Attributes:
        q: (M, B, K) expected discounted return, in clicks; -inf where not available.
        click_rate: (M, B, K) expected clicks an impression.
    """

    q: NDArray[np.float64]
    click_rate: NDArray[np.float64]


@dataclass
class Agent:
    """A trained ensemble and everything a decision needs beside it.

    Attributes:
        projection: embeddings to content.
        context: what it is told about the audience.
        network: the Keras model.
        base_rate: clicks an impression in training; also the unit of its rewards.
        layer: the Bayesian last layer, from what the members say to what may be believed; `LastLayer.prior` until it
            is fitted (`multimodal_dql.calibration`).
        fold: the fold of each training story, (stories,); member m left out fold ``m mod (largest fold + 1)``.
        item_ids: the training stories.
        winners: variants that won their story in training, for explanations; ``content`` holds their deviation from
            their siblings, (P,).
        audience: typical users of training, one row a user, one column a context field, (users, fields).
        facts: settings of the training run, for the foot of a report.
    """

    projection: ContentProjection
    context: ContextSpec
    network: Any
    base_rate: float
    layer: LastLayer
    fold: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    item_ids: tuple[str, ...] = ()
    winners: list[dict[str, Any]] = field(default_factory=list)
    audience: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        projection: ContentProjection,
        context: ContextSpec,
        base_rate: float,
        network: Mapping[str, Any],
        seed: int,
    ) -> Agent:
        """A new agent with random weights; `network` overrides fields of `NetworkConfig`."""
        # On its first use TensorFlow tells stderr about the processor, in C++, where no setting reaches it.
        with silenced():
            from multimodal_dql.network import CandidateQNetwork, NetworkConfig

            config = NetworkConfig(
                widths=projection.widths,
                context_width=context.width,
                record_width=RECORD_WIDTH,
                base_rate=base_rate,
                seed=seed,
                **network,
            )
            layer = LastLayer.prior(sum(projection.widths))
            agent = cls(projection, context, CandidateQNetwork(config), base_rate, layer)
            agent.network.build()
        return agent

    @property
    def members(self) -> int:
        """M."""
        return int(self.network.config.members)

    def contexts(self, given: Mapping[str, float]) -> NDArray[np.float32]:
        """Typical users with the `given` fields fixed, (users, C)."""
        columns = {f.name: self.audience[:, i].copy() for i, f in enumerate(self.context.fields)}
        for name, value in given.items():
            columns[name][:] = value
        return self.context.encode(columns)

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoders it was trained with."""
        return tuple(e.name for e in self.projection.encoders if e.modality not in DERIVED)

    def known(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """The number of each story among the training stories, -1 when new."""
        position = {item_id: i for i, item_id in enumerate(self.item_ids)}
        return np.array([position.get(item_id, -1) for item_id in item_ids], dtype=np.int64)

    def left_out(self, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which members never learned from these training stories, (M, items); all where a story is unknown (-1)."""
        if not len(self.fold):
            return np.ones((self.members, len(items)), dtype=bool)
        own = np.arange(self.members) % (int(self.fold.max()) + 1)
        return np.asarray((own[:, None] == self.fold[items][None]) | (items < 0)[None])

    def estimate(self, state: State) -> Estimate:
        """Score a batch of decisions of any size, in fixed-size padded batches."""
        b, k = state.available.shape
        q = np.empty((self.members, b, k))
        click = np.empty_like(q)
        for start in range(0, b, BATCH):
            part = slice(start, min(start + BATCH, b))
            n = part.stop - part.start
            inputs = {name: _pad(array[part]) for name, array in state.inputs().items()}
            out = self._forward(inputs)
            q[:, part] = out["q"].numpy()[:, :n]
            click[:, part] = out["click_logit"].numpy()[:, :n]
        base = np.log(self.base_rate / (1 - self.base_rate))
        q = np.where(state.available, q * self.base_rate, -np.inf)
        return Estimate(q, np.where(state.available, 1.0 / (1.0 + np.exp(-(base + click))), 0.0))

    def q_values(self, state: State) -> NDArray[np.float64]:
        """The ensemble's mean Q, (B, K), in clicks; -inf where not available."""
        return np.asarray(self.estimate(state).q.mean(axis=0))

    def _forward(self, inputs: dict[str, NDArray[Any]]) -> Any:
        """The network as one compiled graph for every set size: traced once, because tracing takes a second."""
        import tensorflow as tf

        if not hasattr(self, "_compiled"):
            width = {name: array.shape[1:] for name, array in inputs.items()}
            sets = {name: (None, *shape[1:]) for name, shape in width.items() if name != "context"}
            form = {n: tf.TensorSpec((BATCH, *shape), inputs[n].dtype) for n, shape in (width | sets).items()}
            self._compiled = tf.function(
                lambda x: self.network(x, training=False), input_signature=[form], autograph=False
            )
        return self._compiled({name: tf.convert_to_tensor(array) for name, array in inputs.items()})

    def save(self, folder: Path) -> None:
        """Write the run: weights beside the old ones, the configuration that vouches for them, then their renaming.

        Interrupted at any moment, the folder still holds a whole run: the old one or the new one.
        """
        from safetensors.numpy import save as to_bytes

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"network/{v.path}": np.asarray(v.value) for v in self.network.weights if v.dtype == "float32"
        }
        for e in self.projection.encoders:
            tensors[f"projection/{e.name}/mean"] = e.mean
            tensors[f"projection/{e.name}/components"] = np.ascontiguousarray(e.components)
        weights, layer = to_bytes(tensors), to_bytes(self.layer.tensors())
        config = {
            "schema_version": SCHEMA_VERSION,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "last_layer_sha256": hashlib.sha256(layer).hexdigest(),
            "network": asdict(self.network.config),
            "base_rate": self.base_rate,
            "context": [asdict(f) for f in self.context.fields],
            "encoders": [
                {"name": e.name, "modality": e.modality, "fingerprint": e.fingerprint}
                for e in self.projection.encoders
            ],
            "fold": self.fold.tolist(),
            "item_ids": list(self.item_ids),
            "winners": self.winners,
            "audience": self.audience.tolist(),
            "facts": self.facts,
        }
        files = {WEIGHTS: weights, LAYER: layer}
        write_run(folder, files, json.dumps(config, ensure_ascii=False, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Agent:
        """Read a run. Raises `RunError` when it is missing, truncated, altered or from a newer version."""
        from safetensors import SafetensorError
        from safetensors.numpy import load as from_bytes

        config = read_config(folder)
        try:
            tensors = from_bytes(read_tensors(folder, WEIGHTS, config.weights_sha256))
            if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
                raise ValueError("not finite")
            # The size in the configuration must be that of the weights before a network of that size is made.
            for layer, width in (("fuse", config.network.hidden), ("value", max(config.network.bins, 1))):
                tensor = tensors[f"network/candidate_q_network/{layer}/bias"]
                if tensor.shape != (config.network.members, width):
                    raise ValueError("shape")
            encoders = tuple(
                _projection(e.name, e.modality, e.fingerprint, width, tensors)
                for e, width in zip(config.encoders, config.network.widths, strict=True)
            )
            context = ContextSpec(
                tuple(ContextField(f.name, f.kind, tuple(f.values), f.low, f.high) for f in config.context)
            )
            network = {name: getattr(config.network, name) for name in (*NETWORK_SETTINGS, *NETWORK_FORM)}
            agent = cls.create(
                ContentProjection(encoders), context, config.base_rate, network, config.network.seed
            )
            for variable in agent.network.weights:
                if variable.dtype == "float32":
                    variable.assign(tensors[f"network/{variable.path}"])
            agent.layer = LastLayer.of_tensors(
                from_bytes(read_tensors(folder, LAYER, config.last_layer_sha256)),
                sum(config.network.widths),
                max(config.fold, default=-1) + 1,
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(
                path=folder,
                detail="is damaged or incomplete (weights and configuration do not match); copy it again or train anew",
                detail_zh="已损坏或不完整（权重与配置不符）；请重新复制或重新训练",
            ) from error
        agent.audience = np.asarray(config.audience, np.float64)
        agent.fold, agent.item_ids = np.asarray(config.fold, np.int64), tuple(config.item_ids)
        agent.winners = [winner.model_dump() for winner in config.winners]
        agent.facts = config.facts.model_dump()
        return agent


def _projection(
    name: str, modality: str, fingerprint: str, width: int, tensors: Mapping[str, NDArray[Any]]
) -> EncoderProjection:
    """An encoder's projection from the tensors of a run. Raises ValueError or KeyError when it does not fit."""
    mean, components = (tensors[f"projection/{name}/{part}"] for part in ("mean", "components"))
    if components.ndim != 2 or mean.shape != components.shape[:1] or components.shape[1] != width:
        raise ValueError("shape")
    return EncoderProjection(name, modality, fingerprint, mean, components)


def _pad(array: NDArray[Any]) -> NDArray[Any]:
    """Repeat the first row until the batch is full."""
    missing = BATCH - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array
