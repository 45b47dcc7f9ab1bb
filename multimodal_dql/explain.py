"""Reasons a person can read, from two questions to the network and a look at the record.

What would change if this variant's picture (headline, teaser) were the average of its siblings'? Which winner that the
agent knows from training stands out from its siblings in the same way?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.agreement import AGREEMENTS
from multimodal_dql.candidates import PAST, Candidates
from multimodal_dql.features import Features
from multimodal_dql.ranking import Reason
from multimodal_dql.state import State, record_features

__all__ = ["later_reason", "reasons"]

USERS = 8
"""Typical users over which an effect is averaged."""
WELL_BELOW = -1.0
"""Agreement against that of the siblings, in standard deviations between siblings, from which it is worth a word."""
SMALLEST = 0.01
"""Effects below 1 % are not worth a sentence."""
NEAR = 0.45
"""Cosine from which another story's winner counts as alike."""

NAMES = {"image": ("picture", "图片"), "text": ("headline", "标题"), "audio": ("audio teaser", "音频片段")}


@dataclass(frozen=True)
class _Block:
    """The columns and mask columns of one modality."""

    modality: str
    columns: NDArray[np.int64]
    encoders: NDArray[np.int64]


def reasons(
    agent: Agent,
    features: Features,
    candidates: Candidates,
    contexts: NDArray[np.float32],
    known: NDArray[np.int64],
) -> list[list[list[Reason]]]:
    """For each item and slot, the reasons for and against it.

    Args:
        agent: the ensemble.
        features: of the catalogue.
        candidates: the same as a table.
        contexts: the audience, (users, C).
        known: number of each item among the training stories, -1 when new.
    """
    out: list[list[list[Reason]]] = [[[] for _ in range(candidates.size)] for _ in features.catalogue.items]
    for block in _blocks(agent):
        effects = _effects(agent, candidates, contexts[:USERS], block, known)
        if block.modality in AGREEMENTS:
            below = _below_siblings(candidates, block)
            for i, k in zip(*np.nonzero((below <= WELL_BELOW) & (effects <= -SMALLEST)), strict=True):
                out[i][k].append(_agreement_reason(block.modality, float(effects[i, k])))
            continue
        for i, k in zip(*np.nonzero(candidates.available), strict=True):
            if block.modality == PAST:
                if abs(effects[i, k]) >= SMALLEST:
                    out[i][k].append(_past_reason(float(effects[i, k])))
                continue
            if abs(effects[i, k]) >= SMALLEST:
                out[i][k].append(_modality_reason(block.modality, float(effects[i, k])))
            near = _neighbour(agent, candidates, int(i), int(k), block, features.catalogue.items[i].item_id)
            if near and effects[i, k] >= SMALLEST:
                out[i][k].append(near)
    for i, item in enumerate(features.catalogue.items):
        for k, variant in enumerate(item.variants):
            if variant.impressions:
                out[i][k].append(_record_reason(variant.clicks, variant.impressions, item.variants))
    return out


def _blocks(agent: Agent) -> list[_Block]:
    """Group the encoders of the projection by modality."""
    starts = np.cumsum((0, *agent.projection.widths))
    found: dict[str, tuple[list[int], list[int]]] = {}
    for e, encoder in enumerate(agent.projection.encoders):
        columns, encoders = found.setdefault(encoder.modality, ([], []))
        columns.extend(range(starts[e], starts[e + 1]))
        encoders.append(e)
    return [_Block(m, np.array(c), np.array(e)) for m, (c, e) in found.items()]


def _effects(
    agent: Agent,
    candidates: Candidates,
    contexts: NDArray[np.float32],
    block: _Block,
    known: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Click rate as it is, against one with the modality replaced by its siblings' mean, minus 1: (items, K)."""
    items, slots = np.nonzero(candidates.available)
    rows = candidates.table[items]
    content, present = candidates.content[rows], candidates.present[rows].copy()  # (B, K, P), (B, K, E)
    seen = present[:, :, block.encoders[:1]]
    own = np.arange(len(items))
    # Only where the variant has the modality is there anything to take away.
    has = seen[own, slots, 0] > 0
    mean = (content[:, :, block.columns] * seen).sum(1) / np.maximum(seen.sum(1), 1.0)
    changed = content.copy()
    changed[own[:, None], slots[:, None], block.columns[None]] = mean
    record = record_features(
        candidates.impressions, candidates.clicks, candidates.available, agent.base_rate
    )[items]
    voters = agent.left_out(known)[:, items]

    def rate(block_content: NDArray[np.float32]) -> NDArray[np.float64]:
        total = np.zeros(len(items))
        for context in contexts:
            shape = (len(items), len(context))
            state = State(
                block_content,
                present,
                record,
                np.broadcast_to(context, shape),
                candidates.available[items],
                items,
            )
            found = agent.estimate(state).click_rate[:, own, slots]
            total += (found * voters).sum(0) / voters.sum(0)
        return total

    out = np.zeros(candidates.available.shape)
    out[items, slots] = np.where(has, rate(content) / rate(changed) - 1.0, 0.0)
    return out


def _below_siblings(candidates: Candidates, block: _Block) -> NDArray[np.float64]:
    """Agreement of each variant minus the mean of its siblings that have one, (items, K); 0 where it has none."""
    value = candidates.content[candidates.table][:, :, block.columns].mean(axis=-1).astype(np.float64)
    seen = candidates.present[candidates.table][:, :, block.encoders[0]] * candidates.available
    total = (value * seen).sum(axis=1, keepdims=True)
    others = np.maximum(seen.sum(axis=1, keepdims=True) - 1, 1)
    return np.asarray(np.where(seen > 0, value - (total - value) / others, 0.0))


def _agreement_reason(modality: str, effect: float) -> Reason:
    en, zh = (
        ("The picture does not show", "图片没有表现标题所说的内容")
        if modality == "image-text"
        else ("The audio teaser does not sound like", "音频片段听起来与标题所说的不符")
    )
    return Reason(
        kind="agreement",
        effect=effect,
        en=f"{en} what the headline says: {_percent(effect)} clicks compared with an average agreement of this story",
        zh=f"{zh}：与该条目的平均相符程度相比，点击 {_percent(effect)}",
    )


def _past_reason(effect: float) -> Reason:
    en, zh = "what past tests say of it", "过去测试对它的预期"
    return Reason(
        kind="past",
        effect=effect,
        en=f"{en}: {_percent(effect)} clicks compared with an average variant of this story",
        zh=f"{zh}：与该条目的平均变体相比，点击 {_percent(effect)}",
    )


def _percent(effect: float) -> str:
    """A signed percentage with a typographic minus, as the report writes it."""
    return f"{effect * 100:+.0f}%".replace("-", "\N{MINUS SIGN}")


def _modality_reason(modality: str, effect: float) -> Reason:
    en, zh = NAMES[modality]
    return Reason(
        kind="modality",
        effect=effect,
        en=f"Its {en}: {_percent(effect)} clicks compared with an average {en} of this story",
        zh=f"{zh}：与该条目的平均{zh}相比，点击 {_percent(effect)}",
    )


def later_reason(effect: float) -> Reason | None:
    """What a variant changes about the rest of the visit, as a share of the story's mean click rate."""
    if abs(effect) < SMALLEST:
        return None
    en, zh = (
        ("more people read on", "更多读者继续阅读")
        if effect > 0
        else ("more people leave", "更多读者提前离开")
    )
    return Reason(
        kind="later",
        effect=effect,
        en=f"What follows: {_percent(effect)} clicks later in the visit, because {en}",
        zh=f"后续影响：{zh}，本次访问后续点击 {_percent(effect)}",
    )


def _neighbour(
    agent: Agent, candidates: Candidates, i: int, k: int, block: _Block, item_id: str
) -> Reason | None:
    """The known winner of another story that stands out from its siblings in the same direction."""
    if not agent.winners or not candidates.present[candidates.table[i, k], block.encoders[0]]:
        return None
    kept = candidates.available[i]
    content = candidates.content[candidates.table[i]][:, block.columns]
    own = content[k] - content[kept].mean(axis=0)
    best, near = None, NEAR
    for winner in agent.winners:
        if winner["item_id"] == item_id or not winner["present"][block.encoders[0]]:
            continue
        other = np.asarray(winner["content"])[block.columns]
        size = float(np.linalg.norm(own) * np.linalg.norm(other))
        cosine = float(own @ other) / size if size > 0 else 0.0
        if cosine > near:
            best, near = winner, cosine
    if best is None:
        return None
    en, zh = NAMES[block.modality]
    title = best["caption"] or best["variant_id"]
    return Reason(
        kind="neighbour",
        effect=float(best["lift"]),
        en=f"Its {en} stands out like that of “{title}”, which won its story with {_percent(best['lift'])} clicks",
        zh=f"{zh}的特点与“{title}”相近，后者在其条目中胜出，点击 {_percent(best['lift'])}",
    )


def _record_reason(clicks: int, impressions: int, siblings: tuple[object, ...]) -> Reason:
    """The variant's own counts against those of all variants of the story."""
    shown = sum(v.impressions for v in siblings)  # type: ignore[attr-defined]
    pooled = sum(v.clicks for v in siblings) / shown  # type: ignore[attr-defined]
    effect = clicks / impressions / pooled - 1.0 if pooled else 0.0
    return Reason(
        kind="record",
        effect=effect,
        en=f"Its own record: {clicks:,} clicks of {impressions:,} impressions, {_percent(effect)} against the story",
        zh=f"自身记录：{impressions:,} 次展示，{clicks:,} 次点击，与该条目整体相比 {_percent(effect)}",
    )
