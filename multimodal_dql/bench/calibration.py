"""Whether an agent is as sure as it should be: what it says of stories against what is true of its audience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.belief import DRAWS, USERS, believe
from multimodal_dql.calibration import reliability_bins, world_rates, world_values
from multimodal_dql.candidates import Candidates, ContentProjection, EncoderProjection
from multimodal_dql.features import Features
from multimodal_dql.rank import Z90, rank
from multimodal_dql.setting import Setting, read_setting
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.typical import true_rates, typical_impressions
from multimodal_dql.training import TrainConfig, train_in_world

__all__ = ["BINS", "bench_calibration", "bench_new_stories"]

BINS = (0.0, 0.05, 0.15, 0.30, 0.50, 0.70, 0.85, 1.0)


WIDTHS, DRAWN = (24, 24, 12), (("t", "text"), ("i", "image"), ("a", "audio"))
LEARNED, NEW = 40, 200
"""Stories of drawn content: learned from, and new."""


@dataclass(frozen=True)
class _Story:
    """What was stated and what is true of its variants, (K,) each; best is the highest value: the click now and what
    follows.
    """

    stated: NDArray[np.float64]
    best: NDArray[np.bool_]
    log_score: float
    brier: float
    first_is_best: bool


@dataclass(frozen=True)
class _Statements:
    """Whether each 90 % interval holds the true click rate, (N,), and the stories."""

    inside: NDArray[np.bool_]
    stories: tuple[_Story, ...]


def bench_calibration(runs: Sequence[Path], encode: Any) -> dict[str, Any]:
    """Pool the statements of several runs about the catalogue that `encode(agent, run)` gives.

    A run is judged in front of the audience that it was trained for, each story by members that did not learn from it.

    Args:
        runs: directories of training runs.
        encode: from an agent and its run to the features of a catalogue.
    """
    found = []
    for run in runs:
        setting = read_setting(run, None)
        if setting.agent is not None:
            found.append(_statements(setting, encode(setting.agent, run)))
    return _pooled(found) | {"runs": [str(run) for run in runs]}


def bench_new_stories(
    seeds: Sequence[int], config: TrainConfig | None = None, new: int = NEW
) -> dict[str, Any]:
    """Train on drawn content, then pool what is stated of stories that no member and no last layer learned from.

    Args:
        seeds: of audience, content, luck and training; one agent each.
        config: settings of the training; its seed is replaced.
        new: stories of the same audience to be judged.
    """
    found = []
    for seed in seeds:
        world = _drawn_world(seed, LEARNED + new)
        learned, unseen = (_part(world, s) for s in (slice(0, LEARNED), slice(LEARNED, None)))
        encoders = tuple(
            EncoderProjection(
                name, modality, "drawn", np.zeros(1, np.float32), np.zeros((1, width), np.float32)
            )
            for (name, modality), width in zip(DRAWN, WIDTHS, strict=True)
        )
        settings = replace(config or TrainConfig(), seed=seed)
        agent = train_in_world(learned, ContentProjection(encoders), settings)
        c = unseen.candidates
        belief = believe(agent, c, agent.contexts({})[:USERS], np.full(len(c.table), -1))
        rates, values = world_rates(unseen, seed), world_values(unseen, settings.discount, seed)
        stories = [
            _story(belief.chance[i, kept], values[i, kept], belief.q[i, kept])
            for i, kept in enumerate(c.available)
        ]
        log_rate = np.log(np.where(c.available, rates, 1.0))
        inside = np.abs(belief.log_rate - log_rate) <= Z90 * belief.total_sd
        found.append(_Statements(inside[c.available], tuple(stories)))
    return _pooled(found) | {"seeds": [int(seed) for seed in seeds]}


def _drawn_world(seed: int, stories: int) -> World:
    """Two to six variants a story, of standard normal content, and an audience."""
    rng = np.random.default_rng([seed, 77])
    sizes = rng.integers(2, 7, stories)
    n = int(sizes.sum())
    slot = np.arange(6)
    available = slot < sizes[:, None]
    table = np.where(available, (np.cumsum(sizes) - sizes)[:, None] + slot, n)
    content = np.clip(rng.standard_normal((n, sum(WIDTHS))), -4.0, 4.0).astype(np.float32)
    none, pad = np.zeros(table.shape, np.int64), ((0, 1), (0, 0))
    present = np.pad(np.ones((n, len(WIDTHS)), np.float32), pad)
    candidates = Candidates(np.pad(content, pad), present, table, available, none, none)
    return World.draw(Audience.draw(candidates, WIDTHS, seed), candidates, seed)


def _part(world: World, stories: slice) -> World:
    """The same audience in front of some of the stories."""
    c = world.candidates
    part = {name: getattr(c, name)[stories] for name in ("table", "available", "impressions", "clicks")}
    return replace(world, candidates=replace(c, **part))


def _story(p: NDArray[np.float64], value: NDArray[np.float64], order: NDArray[np.float64]) -> _Story:
    """Score one story; the variant of the highest `order` is ranked first."""
    won = value == value.max()
    score = float(np.log(max(p[won][0], 0.5 / DRAWS)))
    return _Story(p, won, score, float(np.sum((p - won) ** 2)), bool(won[order.argmax()]))


def _pooled(found: Sequence[_Statements]) -> dict[str, Any]:
    stories = [story for f in found for story in f.stories]
    stated, best = (np.concatenate([getattr(s, name) for s in stories]) for name in ("stated", "best"))
    rows = [
        {"from": b.low, "to": b.high, "variants": b.variants, "stated": b.stated, "true": b.true}
        for b in reliability_bins(stated, best, BINS)
    ]
    return {
        "coverage_90": [float(f.inside.mean()) for f in found],
        "probability_of_being_best": rows,
        "calibration_error": sum(r["variants"] * abs(r["stated"] - r["true"]) for r in rows) / len(stated),
        "stories": len(stories),
        "log_score": float(np.mean([s.log_score for s in stories])),
        "brier": float(np.mean([s.brier for s in stories])),
        "first_is_best": float(np.mean([s.first_is_best for s in stories])),
    }


def _statements(setting: Setting, encoded: Features) -> _Statements:
    """The ranking of one run against the truth of its audience."""
    seed = int(setting.agent.facts["training"]["seed"]) if setting.agent else 0
    stage: Stage = Setting(setting.agent, setting.audience, setting.config, seed).stage(encoded)
    if setting.agent is None:
        raise ValueError("a run holds an agent")
    rates = true_rates(stage, typical_impressions(stage, seed, 1024))
    values = world_values(stage.world, float(setting.agent.facts["training"]["discount"]), seed)
    ranking = rank(setting.agent, encoded)
    inside, stories = [], []
    for i, (item, entry) in enumerate(zip(ranking.items, encoded.catalogue.items, strict=True)):
        slot = {v.variant_id: k for k, v in enumerate(entry.variants)}
        rows = [slot[v.variant_id] for v in item.variants]
        inside += [
            v.click_rate_low <= rate <= v.click_rate_high
            for v, rate in zip(item.variants, rates[i, rows], strict=True)
        ]
        p, q = (
            np.array([getattr(v, name) for v in item.variants]) for name in ("probability_best", "q_value")
        )
        stories.append(_story(p, values[i, rows], q))
    return _Statements(np.array(inside), tuple(stories))
