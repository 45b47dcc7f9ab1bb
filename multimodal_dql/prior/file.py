"""The content prior as files: ``prior.json`` (facts and small numbers) and ``prior.safetensors`` (arrays).

Files may come from anyone: nothing in them is executed, every shape and number is checked before it is used, and the
JSON carries the SHA-256 of the arrays. What is read predicts bit for bit as what was written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from multimodal_dql.pair_file import Kind, read_pair, write_pair
from multimodal_dql.prior.blocks import Blocks, Topics
from multimodal_dql.prior.model import ContentPrior
from multimodal_dql.prior.ridge import Hyperparameters, Posterior
from multimodal_dql.prior.style import STYLE_NAMES

__all__ = ["ARRAYS_NAME", "FILE_NAME", "read_prior", "write_prior"]

KIND = Kind(
    "prior",
    "content prior",
    "内容先验",
    "fit it again: multimodal-dql prior fit TESTS --out RUN",
    "请重新拟合：multimodal-dql prior fit TESTS --out RUN",
)
FILE_NAME, ARRAYS_NAME = KIND.facts, KIND.arrays
_FORMAT = "multimodal-dql prior 1"
_MOST_COLUMNS = 16_384

Name = Annotated[str, Field(min_length=1, max_length=200)]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["multimodal-dql prior 1"]
    arrays_sha256: str
    encoders: list[Name] = Field(max_length=16)
    fingerprints: dict[Name, Name]
    dims: dict[Name, Annotated[int, Field(ge=1, le=8192)]]
    blocks: list[Name] = Field(min_length=1, max_length=64)
    scales: list[Annotated[float, Field(ge=0.0, le=1e9)]]
    pictures: list[Name] = Field(default=[], max_length=16)
    vocabulary: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(max_length=_MOST_COLUMNS)
    style_names: list[str]
    tau: float = Field(gt=0.0, le=10.0)
    log_s: list[Annotated[float, Field(ge=-50.0, le=10.0)]]
    nll: float
    overdispersion: float = Field(ge=1.0, le=1e4)
    shrink: float = Field(ge=0.0, le=10.0)
    sd_factor: float = Field(ge=0.1, le=10.0)
    facts: dict[str, Any]


def write_prior(prior: ContentPrior, folder: Path) -> tuple[Path, Path]:
    """Write both files to `folder`, each atomically; their paths. Raises OutputError."""
    blocks = prior.blocks
    facts = {
        "format": _FORMAT,
        "encoders": list(blocks.encoders),
        "fingerprints": prior.fingerprints,
        "pictures": list(blocks.pictures),
        "dims": {name: _dim(prior, name) for name in blocks.encoders} | dict(blocks.pictures),
        "blocks": list(blocks.scales),
        "scales": [float(scale) for scale in blocks.scales.values()],
        "vocabulary": list(blocks.vocabulary),
        "style_names": list(STYLE_NAMES) if len(blocks.style_mean) else [],
        "tau": prior.hyper.tau,
        "log_s": prior.hyper.log_s.tolist(),
        "nll": prior.hyper.nll,
        "overdispersion": prior.overdispersion,
        "shrink": prior.shrink,
        "sd_factor": prior.sd_factor,
        "facts": prior.facts,
    }
    return write_pair(KIND, folder, facts, _arrays(prior))


def read_prior(run: Path) -> ContentPrior:
    """The prior in a run directory. Raises `RunError` with the cure for anything that is no whole prior."""
    return read_pair(KIND, run, lambda facts, arrays: _prior(_File.model_validate(facts), arrays))


def _dim(prior: ContentPrior, name: str) -> int:
    if name in prior.blocks.axes:
        return len(prior.blocks.axes[name])
    return int((prior.block == list(prior.blocks.scales).index(name)).sum())


def _arrays(prior: ContentPrior) -> dict[str, NDArray[Any]]:
    b = prior.blocks
    out: dict[str, NDArray[Any]] = {
        "style_mean": b.style_mean,
        "style_sd": b.style_sd,
        "novelty_mean": b.novelty_mean,
        "novelty_sd": b.novelty_sd,
        "idf": b.idf,
        "weights_mean": prior.weights.mean,
        "weights_root": prior.weights.root,
        "block": prior.block,
    }
    for name, topics in b.topics.items():
        for part in ("mean", "directions", "deviations"):
            out[f"topic:{name}:{part}"] = getattr(topics, part)
    out |= {f"looks:{name}": axes for name, axes in b.looks.items()}
    out |= {f"axes:{name}": axes for name, axes in b.axes.items()}
    return out | {f"level:{name}": weights for name, weights in b.level.items()}


def _prior(file: _File, arrays: dict[str, NDArray[Any]]) -> ContentPrior:
    """Put together, every shape held against the others. Raises ValueError or KeyError."""
    names, styled = file.encoders, len(file.style_names)
    if file.style_names not in ([], list(STYLE_NAMES)):
        raise ValueError("its style features are not those of this version")
    crossed = [f"{picture}*{text}" for picture in file.pictures for text in names]
    topics = {
        name: _topics(name, file, arrays) for name in (*names, *crossed) if f"topic:{name}:mean" in arrays
    }
    axes = _axes("axes", names, file, arrays)
    widths = {name: axes[name].shape[1] if name in axes else file.dims[name] for name in names}
    if styled:
        widths |= {"style": styled} | ({"novelty": len(names)} if names else {})
    if file.vocabulary:
        widths |= {"words": len(file.vocabulary)}
    for name, t in topics.items():
        widths[f"cross:{name}" if name in crossed else f"topic:{name}"] = (
            t.directions.shape[1] * t.deviations.shape[1]
        )
    looks = _axes("looks", file.pictures, file, arrays)
    widths |= {f"picture:{name}": axes.shape[-1] for name, axes in looks.items()}
    level = _level(widths, {*names, "style", "words"} & set(widths), arrays)
    widths |= {"level": 1} if level else {}
    columns = sum(widths.values())
    if list(widths) != file.blocks or not len(widths) == len(file.scales) == len(file.log_s):
        raise ValueError("its blocks do not fit together")
    everyone = {*names, *file.pictures}
    if (
        columns > _MOST_COLUMNS
        or set(file.fingerprints) != everyone
        or len(everyone) < len(names) + len(file.pictures)
    ):
        raise ValueError("its encoders do not fit together")
    block = np.repeat(np.arange(len(widths)), list(widths.values()))
    shapes = {
        "style_mean": (styled,),
        "style_sd": (styled,),
        "novelty_mean": (len(names) if styled else 0,),
        "novelty_sd": (len(names) if styled else 0,),
        "idf": (len(file.vocabulary),),
        "weights_mean": (columns,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float64:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, not float64 {shape}")
    root = arrays["weights_root"]
    if root.shape != (columns, columns) or root.dtype != np.float32:
        raise ValueError(f"weights_root is {root.shape}, not {(columns, columns)}")
    if not np.array_equal(arrays["block"], block):
        raise ValueError("block does not fit the blocks")
    if min(arrays["style_sd"].min(initial=1.0), arrays["novelty_sd"].min(initial=1.0)) <= 0:
        raise ValueError("a standard deviation is not positive")
    return ContentPrior(
        blocks=Blocks(
            encoders=tuple(names),
            pictures={name: file.dims[name] for name in file.pictures},
            looks=looks,
            axes=axes,
            level=level,
            vocabulary=tuple(file.vocabulary),
            topics=topics,
            scales=dict(zip(file.blocks, file.scales, strict=True)),
            **{name: arrays[name] for name in shapes if name != "weights_mean"},
        ),
        block=block,
        hyper=Hyperparameters(file.tau, np.array(file.log_s), file.nll),
        weights=Posterior(arrays["weights_mean"], root),
        overdispersion=file.overdispersion,
        shrink=file.shrink,
        sd_factor=file.sd_factor,
        fingerprints=dict(file.fingerprints),
        facts=dict(file.facts),
    )


def _level(
    widths: dict[str, int], parts: set[str], arrays: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    level = {name.partition(":")[2]: weights for name, weights in arrays.items() if name.startswith("level:")}
    if not set(level) <= parts or any(weights.shape != (widths[name],) for name, weights in level.items()):
        raise ValueError("level does not fit the blocks")
    return level


def _axes(
    kind: str, names: list[Name], file: _File, arrays: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    axes = {name: arrays[f"{kind}:{name}"] for name in names if f"{kind}:{name}" in arrays}
    if any(array.ndim != 2 or array.shape[0] != file.dims[name] for name, array in axes.items()):
        raise ValueError(f"{kind} have another dimension than their encoder")
    return axes


def _topics(name: str, file: _File, arrays: dict[str, NDArray[Any]]) -> Topics:
    mean, directions, deviations = (
        arrays[f"topic:{name}:{part}"] for part in ("mean", "directions", "deviations")
    )
    picture, _, text = name.rpartition("*")
    dim = file.dims[picture or text]
    if mean.shape != (dim,) or directions.ndim != 2 or deviations.ndim != 2:
        raise ValueError(f"topic:{name[:60]} has another dimension than its encoder")
    if directions.shape[0] != dim or deviations.shape[0] != file.dims[text]:
        raise ValueError(f"topic:{name[:60]} has another dimension than its encoder")
    return Topics(mean, directions, deviations)
