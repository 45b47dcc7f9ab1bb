"""Whom the engagement model is about and what they meet: an audience with tastes, in front of a catalogue.

What is true of an audience (`Audience`) and of a variant (`World`) is drawn once from a seed; what happens to a user is
drawn by `multimodal_dql.simulation.engine`.

Shape letters: ``N`` variants, ``P`` content width, ``D`` directions of taste, ``G`` segments.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.context import ContextField, ContextSpec
from multimodal_dql.simulation.config import EngagementConfig

__all__ = ["CONTEXT", "DEVICES", "DIRECTIONS", "SEGMENTS", "Audience", "World"]

Array = NDArray[np.float64]

SEGMENTS = ("explorer", "planner", "socialiser", "hurried")
DEVICES = ("mobile", "desktop", "tablet")
DIRECTIONS = 6
"""Directions of taste in content space, ``D``; variants differ along them, and a style is one of them."""

CONTEXT = ContextSpec(
    (
        ContextField("segment", "category", SEGMENTS),
        ContextField("device", "category", DEVICES),
        ContextField("hour", "cycle", high=24.0),
        ContextField("returning", "number"),
        ContextField("step", "number"),
        ContextField("satisfaction", "number", low=-1.0, high=1.0),
    )
)
"""What the agent is told about a user: the first four before a visit, the last two as it goes on."""


@dataclass(frozen=True)
class Audience:
    """What an audience likes, as directions in content space; the agent never sees it.

    Attributes:
        config: the parameters.
        widths: columns of each encoder; their sum is P.
        content: what everybody likes, (P,), in logits of a click.
        clickbait: what draws clicks and disappoints, (P,), in standard deviations.
        axes: directions of taste, (P, D); variants of a story differ by 1 standard deviation along each.
        taste: mean taste of each segment, (G, D); users differ from it by `personal`.
        personal: standard deviation of a user's own taste, (D,). Tastes are in units of ``config.taste_sd``.
        past: what past A/B tests found that everybody likes, (P,), in logits of a click; takes its part of
            ``config.within_sd`` before `content` and luck share the rest.
    """

    config: EngagementConfig
    widths: tuple[int, ...]
    content: Array
    clickbait: Array
    axes: Array
    taste: Array
    personal: Array
    past: Array

    @classmethod
    def draw(
        cls,
        candidates: Candidates,
        widths: tuple[int, ...],
        seed: int,
        config: EngagementConfig | None = None,
        past: Array | None = None,
    ) -> Audience:
        """Draw an audience whose tastes have the configured size among these variants.

        Tastes weigh the leading directions in which siblings differ most, and fade along the others, for each
        encoder alike. What past tests expect, `past` (P,), stands in columns of its own, for which nobody has a taste.
        """
        config = config or EngagementConfig()
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        z = candidates.content.astype(np.float64)
        item = _item_of(candidates)
        told = np.zeros(sum(widths)) if past is None else np.asarray(past, np.float64)
        fade = np.concatenate([0.7 ** np.arange(p) for p in widths]) * (told == 0)

        def direction(size: float) -> Array:
            weights = rng.standard_normal(len(fade)) * fade
            return np.asarray(size * weights / max(_within_sd(z @ weights, item), 1e-9))

        content = direction(np.sqrt(config.content_share) * _left(config.within_sd, z @ told, item))
        clickbait = direction(1.0)
        axes = np.stack([direction(1.0) for _ in range(DIRECTIONS)], axis=1)
        taste = rng.standard_normal((len(SEGMENTS), DIRECTIONS))
        # Segments differ around the common taste, which is `content`; centring takes 1/G of the variance away.
        taste = (taste - taste.mean(axis=0)) * np.sqrt(
            (1.0 - config.personal_share) / DIRECTIONS * len(SEGMENTS) / (len(SEGMENTS) - 1)
        )
        personal = np.full(DIRECTIONS, np.sqrt(config.personal_share / DIRECTIONS))
        return cls(config, widths, content, clickbait, axes, taste, personal, told)

    def under(self, config: EngagementConfig) -> Audience:
        """The same tastes with other parameters; what everybody likes is rescaled to its new size."""
        before = self.config.content_share**0.5 * self.config.within_sd
        after = config.content_share**0.5 * config.within_sd
        scale = after / before if before > 0 else 1.0
        return replace(self, config=config, content=self.content * scale)

    def to_json(self) -> str:
        """The audience as text, to be read by `from_json`."""
        arrays = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}
        return json.dumps(arrays | {"config": asdict(self.config)})

    @classmethod
    def from_json(cls, text: str) -> Audience:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError when it is something else."""
        data = json.loads(text)
        config, widths = EngagementConfig(**data["config"]), tuple(int(width) for width in data["widths"])
        p, d = sum(widths), DIRECTIONS
        shapes = {
            "content": (p,),
            "clickbait": (p,),
            "axes": (p, d),
            "taste": (len(SEGMENTS), d),
            "personal": (d,),
            "past": (p,),
        }
        data.setdefault("past", [0.0] * p)  # of a run before there was such a thing
        arrays = {name: np.asarray(data[name], np.float64) for name in shapes}
        finite = all(np.isfinite(array).all() for array in arrays.values())
        if not finite or any(arrays[name].shape != shape for name, shape in shapes.items()):
            raise ValueError("not an audience")
        config.check()
        return cls(config, widths, **arrays)


@dataclass(frozen=True)
class World:
    """An audience in front of a catalogue: what is true of every variant. Arrays end with a row for padding.

    Attributes:
        audience: the tastes.
        candidates: the variants, item by item.
        appeal: logit of a click for the average user, (N + 1,).
        clickbait: standardised, (N + 1,).
        loading: of each variant on the directions of taste, (N + 1, D).
    """

    audience: Audience
    candidates: Candidates
    appeal: Array
    clickbait: Array
    loading: Array

    @property
    def config(self) -> EngagementConfig:
        """The parameters of the audience."""
        return self.audience.config

    @classmethod
    def draw(cls, audience: Audience, candidates: Candidates, seed: int) -> World:
        """Give each story and variant what no embedding can tell: its topic's pull, and luck with heavy tails."""
        config = audience.config
        rng = np.random.Generator(np.random.Philox(key=[seed, 5]))
        z = candidates.content.astype(np.float64)
        spread = np.sqrt(config.within_df / (config.within_df - 2.0))
        luck = rng.standard_t(config.within_df, size=len(z)) / spread
        past, item = z @ audience.past, _item_of(candidates)
        luck *= np.sqrt(1.0 - config.content_share) * _left(config.within_sd, past, item)
        story = rng.standard_normal(len(candidates.table)) * config.story_sd
        base = np.log(config.base_click_rate / (1 - config.base_click_rate))
        clickbait = z @ audience.clickbait
        shared = base + story[item] + past + config.clickbait_click * clickbait
        return cls(audience, candidates, shared + z @ audience.content + luck, clickbait, z @ audience.axes)


def _left(within_sd: float, past: Array, item: NDArray[np.int64]) -> float:
    """Standard deviation within a story that past tests do not explain; a third of it always."""
    explained = _within_sd(past, item)
    if explained == 0.0:
        return within_sd
    return float(np.sqrt(max(within_sd**2 - explained**2, (within_sd / 3.0) ** 2)))


def _item_of(candidates: Candidates) -> NDArray[np.int64]:
    """The story of each variant, (N + 1,); -1 for the padding row."""
    item = np.full(len(candidates.content), -1, dtype=np.int64)
    items, slots = np.nonzero(candidates.available)
    item[candidates.table[items, slots]] = items
    return item


def _within_sd(values: Array, item: NDArray[np.int64]) -> float:
    """Standard deviation of (N + 1,) values around their story's mean, padding left out."""
    kept = item >= 0
    v, g = values[kept], item[kept]
    counts = np.bincount(g)
    means = np.bincount(g, weights=v) / np.maximum(counts, 1)
    freedom = max(len(v) - int(np.count_nonzero(counts)), 1)
    return float(np.sqrt(np.sum((v - means[g]) ** 2) / freedom))
