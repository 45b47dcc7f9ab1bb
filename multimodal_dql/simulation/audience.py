"""A simulated audience: users with tastes in embedding space who look, click, stay a while, and leave.

What is true of an audience and of a variant (`Audience`, `World`) is drawn once from a seed; what happens in a session
is drawn from a counter-based stream keyed by seed and session (Philox, Salmon et al. 2011), so that the same session
meets the same user and the same luck under every policy and in every batch size.

Shape letters: ``N`` variants, ``P`` content width, ``S`` sessions, ``T`` steps, ``G`` segments.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.state import Candidates, ContextField, ContextSpec

__all__ = [
    "CONTEXT",
    "DEVICES",
    "SEGMENTS",
    "Audience",
    "AudienceConfig",
    "Luck",
    "World",
    "draw_luck",
    "typical_users",
]

Array = NDArray[np.float64]

SEGMENTS = ("explorer", "planner", "socialiser", "hurried")
DEVICES = ("mobile", "desktop", "tablet")
DEVICE_SHARE = (0.6, 0.3, 0.1)

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
"""What the agent is told about a user: the first four before the session, the last two as it goes on."""


@dataclass(frozen=True)
class AudienceConfig:
    """Parameters of the audience. [M] measured on real headline tests, [A] assumed for this simulator.

    Attributes:
        base_click_rate: clicks an impression of an average variant of an average story [M, Upworthy archive: .0135].
        story_sd: standard deviation between stories, logit [A].
        within_sd: standard deviation between variants of a story, logit [M, Upworthy archive: .25].
        content_share: share of the within-story variance that the embeddings can explain [A]; the rest is drawn
            from a t distribution with 4 degrees of freedom [M: its tails] and no content model can know it.
        taste_sd: standard deviation of a user's taste match with a variant, logit [A].
        personal_share: share of the taste variance that is the user's own and not the segment's, unseen [A].
        clickbait_click: logit of a click for each standard deviation of clickbait [A].
        clickbait_regret: what the same costs in satisfaction [A].
        fatigue: loss of logit with each further story in a session [A].
        memory: of satisfaction from one step to the next [P, RecSim long-term satisfaction: .7].
        stay: logit of going on after a story at neutral satisfaction [A].
        stay_satisfaction: what satisfaction adds to it [A].
        dwell_shape: Weibull shape of reading time, below 1 (negative ageing) [P, Liu et al. 2010].
        dwell_scale_seconds: Weibull scale at neutral satisfaction [A].
        steps: stories in a session at most.
    """

    base_click_rate: float = 0.0135
    story_sd: float = 0.4
    within_sd: float = 0.25
    content_share: float = 0.7
    taste_sd: float = 0.35
    personal_share: float = 0.3
    clickbait_click: float = 0.08
    clickbait_regret: float = 0.25
    fatigue: float = 0.05
    memory: float = 0.7
    stay: float = 1.5
    stay_satisfaction: float = 1.5
    dwell_shape: float = 0.8
    dwell_scale_seconds: float = 45.0
    steps: int = 8


@dataclass(frozen=True)
class Audience:
    """What an audience likes, as directions in content space; the agent never sees it.

    Attributes:
        config: the parameters.
        widths: columns of each encoder; their sum is P.
        content: what everybody likes, (P,), in logits of a click.
        clickbait: what draws clicks and disappoints, (P,), in standard deviations.
        taste: what each segment likes beyond that, (G, P), in logits.
        personal: standard deviation of a user's own taste along each direction, (P,).
    """

    config: AudienceConfig
    widths: tuple[int, ...]
    content: Array
    clickbait: Array
    taste: Array
    personal: Array

    @classmethod
    def draw(
        cls, candidates: Candidates, widths: tuple[int, ...], seed: int, config: AudienceConfig | None = None
    ) -> Audience:
        """Draw an audience whose tastes have the configured size among these variants.

        Tastes weigh the leading directions in which siblings differ most, and fade along the others, for each
        encoder alike.
        """
        config = config or AudienceConfig()
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        z = candidates.content.astype(np.float64)
        item = _item_of(candidates)
        fade = np.concatenate([0.7 ** np.arange(p) for p in widths])

        def direction(size: float) -> Array:
            weights = rng.standard_normal(len(fade)) * fade
            return np.asarray(size * weights / max(_within_sd(z @ weights, item), 1e-9))

        content = direction(np.sqrt(config.content_share) * config.within_sd)
        clickbait = direction(1.0)
        taste = np.stack(
            [direction(np.sqrt(1.0 - config.personal_share) * config.taste_sd) for _ in SEGMENTS]
        )
        spread = float(np.sqrt(sum(_within_sd(column, item) ** 2 for column in (z * fade).T)))
        personal = fade / max(spread, 1e-9) * np.sqrt(config.personal_share) * config.taste_sd
        return cls(config, widths, content, clickbait, taste - taste.mean(axis=0), personal)

    def to_json(self) -> str:
        """The audience as text, to be read by `from_json`."""
        return json.dumps(
            {
                k: v.tolist() if isinstance(v, np.ndarray) else v
                for k, v in vars(self).items()
                if k != "config"
            }
            | {"config": asdict(self.config)}
        )

    @classmethod
    def from_json(cls, text: str) -> Audience:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError when it is something else."""
        data = json.loads(text)
        config, widths = AudienceConfig(**data["config"]), tuple(int(width) for width in data["widths"])
        p = sum(widths)
        shapes = {"content": (p,), "clickbait": (p,), "taste": (len(SEGMENTS), p), "personal": (p,)}
        arrays = {name: np.asarray(data[name], np.float64) for name in shapes}
        numbers = np.asarray(list(asdict(config).values()), np.float64)
        finite = np.isfinite(numbers).all() and all(np.isfinite(array).all() for array in arrays.values())
        if not finite or any(arrays[name].shape != shape for name, shape in shapes.items()):
            raise ValueError("not an audience")
        # Bounds that keep memory and logarithms in order; everything else only makes odd audiences.
        if not (config.steps == int(config.steps) and 1 <= config.steps <= 1000):
            raise ValueError("steps")
        if not 0.0 < config.base_click_rate < 1.0 or min(config.dwell_shape, config.dwell_scale_seconds) <= 0:
            raise ValueError("rates")
        return cls(config, widths, **arrays)


@dataclass(frozen=True)
class World:
    """An audience in front of a catalogue: what is true of every variant.

    Attributes:
        audience: the tastes.
        candidates: the variants, item by item.
        appeal: logit of a click for the average user before fatigue, (N + 1,); the last row is padding.
        clickbait: standardised, (N + 1,).
    """

    audience: Audience
    candidates: Candidates
    appeal: Array
    clickbait: Array

    @property
    def config(self) -> AudienceConfig:
        """The parameters of the audience."""
        return self.audience.config

    @classmethod
    def draw(cls, audience: Audience, candidates: Candidates, seed: int) -> World:
        """Give each story and variant what no embedding can tell: its topic's pull, and luck with heavy tails."""
        config = audience.config
        rng = np.random.Generator(np.random.Philox(key=[seed, 5]))
        z = candidates.content.astype(np.float64)
        luck = (
            rng.standard_t(4, size=len(z))
            / np.sqrt(2.0)
            * np.sqrt(1.0 - config.content_share)
            * config.within_sd
        )
        story = rng.standard_normal(len(candidates.table)) * config.story_sd
        base = np.log(config.base_click_rate / (1 - config.base_click_rate))
        clickbait = z @ audience.clickbait
        shared = base + story[_item_of(candidates)] + config.clickbait_click * clickbait
        return cls(audience, candidates, shared + z @ audience.content + luck, clickbait)


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


@dataclass(frozen=True)
class Luck:
    """Everything random in S sessions, drawn before any policy acts.

    Attributes:
        segment: (S,) int.
        device: (S,) int.
        hour: (S,) hours.
        returning: (S,) 0 or 1.
        personal: (S, P) the user's own taste, standard normal.
        items: (S, T) the stories met, without repetition while there are enough.
        action: (S, T) uniform, for the policy's draw.
        click: (S, T) uniform.
        dwell: (S, T) uniform.
        leave: (S, T) uniform.
    """

    segment: NDArray[np.int64]
    device: NDArray[np.int64]
    hour: Array
    returning: Array
    personal: Array
    items: NDArray[np.int64]
    action: Array
    click: Array
    dwell: Array
    leave: Array


def draw_luck(seed: int, first: int, sessions: int, steps: int, width: int, items: NDArray[np.int64]) -> Luck:
    """Draw the luck of sessions ``first .. first + sessions``.

    Each session owns a fixed block of the Philox counter, so its numbers do not depend on the batch it is in.

    Args:
        seed: of the whole run.
        first: number of the first session.
        sessions: S.
        steps: T.
        width: P.
        items: the stories a session may meet.
    """
    from scipy.special import ndtri

    draws = 4 + width + 5 * steps
    draws += -draws % 4
    bits = np.random.Philox(key=[seed, 1])
    bits.advance(first * draws // 4)
    u = np.random.Generator(bits).random((sessions, draws))
    head, own, rest = u[:, :4], u[:, 4 : 4 + width], u[:, 4 + width : 4 + width + 5 * steps]
    met, action, click, dwell, leave = np.split(rest, 5, axis=1)
    return Luck(
        segment=(head[:, 0] * len(SEGMENTS)).astype(np.int64),
        device=np.searchsorted(np.cumsum(DEVICE_SHARE)[:-1], head[:, 1], side="right"),
        hour=head[:, 2] * 24.0,
        returning=(head[:, 3] < 0.5).astype(np.float64),
        personal=ndtri(np.clip(own, 1e-12, 1 - 1e-12)),
        items=items[_without_repetition(met, len(items))],
        action=action,
        click=click,
        dwell=dwell,
        leave=leave,
    )


def typical_users(seed: int, users: int = 256) -> Array:
    """Users at the start of a session, one row a user, one column a field of `CONTEXT`."""
    luck = draw_luck(seed, 0, users, 1, 0, np.zeros(1, dtype=np.int64))
    start = np.zeros(users)
    return np.stack([luck.segment, luck.device, luck.hour, luck.returning, start, start], axis=1).astype(
        np.float64
    )


def _without_repetition(u: Array, n: int) -> NDArray[np.int64]:
    """Uniform draws (S, T) to T distinct numbers below n; a new round starts when all n are used up."""
    sessions, steps = u.shape
    out = np.empty((sessions, steps), dtype=np.int64)
    for start in range(0, steps, n):
        used = np.empty((sessions, 0), dtype=np.int64)  # ascending
        for t in range(start, min(start + n, steps)):
            pick = (u[:, t] * (n - used.shape[1])).astype(np.int64)
            for column in range(used.shape[1]):
                pick += pick >= used[:, column]
            out[:, t] = pick
            used = np.sort(np.concatenate([used, pick[:, None]], axis=1), axis=1)
    return out
