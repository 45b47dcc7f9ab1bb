"""The engagement model once more, slowly and in plain Python: what the compiled one is held against.

Written from the papers and from what the parameters are said to mean; it shares no code with the package. Which random
number decides what is part of the model, because a simulation must give the same numbers for ever:

    stream 0, start    index 0: segment, device, hour, returning; 1: activity (two numbers), stories read earlier;
                       2, 3, ...: own taste, two directions each
    stream 1, step     2 t: story, action, click, staying; 2 t + 1: mood (two numbers), looking on, boredom
    stream 2, click    2 t: reading time, conversion, its value (two numbers); 2 t + 1: its delay
    stream 3, visit    8 v: coming back, hours until then; 8 v + 1, ...: taste drawn anew for visit v
    stream 4, variant  of a block of sessions; the index is the variant: its factor on clicks
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.config import EngagementConfig

START, STEP, CLICK, VISIT, VARIANT = range(5)
WORD = 1 << 32


def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, ...]:
    """Philox 4x32-10: multiply, swap the halves, mix in the key, ten times (Salmon et al. 2011, figure 4)."""
    x, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [right // WORD ^ x[1] ^ k[0], right % WORD, left // WORD ^ x[3] ^ k[1], left % WORD]
        k = [(k[0] + 0x9E3779B9) % WORD, (k[1] + 0xBB67AE85) % WORD]
    return tuple(x)


@lru_cache(maxsize=100_000)
def draws(seed: int, session: int, stream: int, index: int) -> tuple[float, ...]:
    """Four numbers in (0, 1): the middles of 2^32 equal pieces."""
    words = philox((index, stream, session % WORD, session // WORD), (seed % WORD, seed // WORD))
    return tuple((word + 0.5) / WORD for word in words)


def normal_pair(u: float, v: float) -> tuple[float, float]:
    """Box and Muller: a radius and an angle."""
    r = math.sqrt(-2.0 * math.log(u))
    return r * math.cos(math.tau * v), r * math.sin(math.tau * v)


def logistic(x: float) -> float:
    """Without overflow on either side."""
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else 0.0


@dataclass(frozen=True)
class Variant:
    """What is true of a variant."""

    number: int
    appeal: float
    sensation: float
    """Clickbait in standard deviations."""
    loading: tuple[float, ...]

    @property
    def clickbait(self) -> float:
        """Between 0 and 1."""
        return logistic(self.sensation)

    @property
    def style(self) -> int:
        """The direction of largest loading."""
        sizes = [abs(x) for x in self.loading]
        return sizes.index(max(sizes))


@dataclass
class Person:
    """A user in the course of a session."""

    segment: int
    device: int
    hour: float
    returning: float
    activity: float
    earlier: int
    taste: list[float]
    visit: int = 0
    step: int = 0
    exposure: float = 0.0
    looking: bool = True
    styles: list[float] = field(default_factory=list)
    bored_of: int = -1
    bored_for: int = 0
    met: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)


class Model:
    """A world, and the mechanisms that are left out of it."""

    def __init__(
        self,
        world: World,
        hours: Sequence[float],
        *,
        leave_out: Sequence[str] = (),
        items: Sequence[int] | None = None,
    ) -> None:
        self.config: EngagementConfig = world.config
        self.out = frozenset(leave_out)
        self.hours = [float(h) for h in hours]
        self.means = world.audience.taste.tolist()
        self.spread = world.audience.personal.tolist()
        c = world.candidates
        self.variants = [
            Variant(i, float(world.appeal[i]), float(world.clickbait[i]), tuple(world.loading[i].tolist()))
            for i in range(len(world.appeal))
        ]
        self.stories = [
            [int(v) for v, there in zip(row, some, strict=True) if there]
            for row, some in zip(c.table, c.available, strict=True)
        ]
        self.items = list(range(len(self.stories))) if items is None else [int(i) for i in items]

    def has(self, mechanism: str) -> bool:
        """Whether it is at work."""
        return mechanism not in self.out

    @property
    def visits(self) -> int:
        """Of a user at most."""
        return self.config.visits if self.has("return") else 1


# What a user is.


def arrive(model: Model, seed: int, session: int) -> Person:
    """The user of a session."""
    c = model.config
    which, device, hour, returning = draws(seed, session, START, 0)
    u, v, read, _ = draws(seed, session, START, 1)
    activity = c.activity_sd * normal_pair(u, v)[0] if model.has("activity") else 0.0
    segment = int(which * len(model.means))
    return Person(
        segment=segment,
        device=bisect_right([0.6, 0.9], device),
        hour=model.hours[int(hour * len(model.hours))],
        returning=float(returning < 0.5),
        activity=activity,
        earlier=poisson(read, 5.0 * math.exp(activity)),
        taste=[
            mean + sd * z
            for mean, sd, z in zip(
                model.means[segment], model.spread, taste_noise(model, seed, session, START, 2), strict=True
            )
        ],
        styles=[0.0] * len(model.spread),
    )


def poisson(u: float, mean: float) -> int:
    """Smallest k whose cumulated probability reaches u."""
    k, total = 0, math.exp(-mean)
    while total < u and k < 1000:
        k += 1
        total += math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
    return k


def taste_noise(model: Model, seed: int, session: int, stream: int, first: int) -> Iterator[float]:
    """A standard normal number for each direction."""
    for k in range(len(model.spread)):
        u, v, _, _ = draws(seed, session, stream, first + k // 2)
        yield normal_pair(u, v)[k % 2]


def drift(model: Model, person: Person, seed: int, session: int) -> None:
    """Part of what is a user's own is drawn anew; how much tastes differ stays as it is."""
    if not model.has("drift"):
        return
    share = model.config.drift
    noise = list(taste_noise(model, seed, session, VISIT, 8 * person.visit + 1))
    for k, mean in enumerate(model.means[person.segment]):
        own = person.taste[k] - mean
        person.taste[k] = mean + math.sqrt(1 - share) * own + math.sqrt(share) * model.spread[k] * noise[k]


def be_pulled(model: Model, person: Person, variant: Variant) -> None:
    """Taste moves towards what was clicked."""
    pull = model.config.interest_pull if model.has("drift") else 0.0
    person.taste = [x + pull * (y - x) for x, y in zip(person.taste, variant.loading, strict=True)]


# What draws a click: terms of a logit, each a mechanism.


def match(model: Model, person: Person, variant: Variant) -> float:
    """Taste match, logit."""
    if not model.has("taste"):
        return 0.0
    return model.config.taste_sd * sum(x * y for x, y in zip(person.taste, variant.loading, strict=True))


def clickbait_term(model: Model, person: Person, variant: Variant) -> float:
    """What sensation adds to the appeal."""
    return model.config.clickbait_click * variant.sensation


def device_term(model: Model, person: Person, variant: Variant) -> float:
    """Phone, desktop, tablet."""
    return model.config.device_effect * (0.0, 1.0, 0.5)[person.device]


def hour_term(model: Model, person: Person, variant: Variant) -> float:
    """Highest at 21:00."""
    return model.config.hour_effect * math.cos(math.tau * (person.hour - 21.0) / 24.0)


def fatigue_term(model: Model, person: Person, variant: Variant) -> float:
    """Each further story of the visit."""
    return -model.config.fatigue * person.step


def wear_term(model: Model, person: Person, variant: Variant) -> float:
    """Earlier exposures to the same variant: first a gain, then a loss."""
    c, n = model.config, person.shown.count(variant.number)
    return c.wear_in * n if n <= c.wear_peak else c.wear_in * c.wear_peak - c.wear_out * (n - c.wear_peak)


def boredom_term(model: Model, person: Person, variant: Variant) -> float:
    """A style the user is bored of."""
    return -model.config.boredom if person.bored_for and variant.style == person.bored_of else 0.0


TERMS: dict[str, Callable[[Model, Person, Variant], float]] = {
    "taste": match,
    "clickbait": clickbait_term,
    "device": device_term,
    "hour": hour_term,
    "fatigue": fatigue_term,
    "wear": wear_term,
    "boredom": boredom_term,
}


def bare_appeal(model: Model, variant: Variant) -> float:
    """Appeal apart from sensation."""
    return variant.appeal - model.config.clickbait_click * variant.sensation


def logit_terms(model: Model, person: Person, variant: Variant) -> dict[str, float]:
    """Every term at work, by mechanism."""
    return {name: term(model, person, variant) for name, term in TERMS.items() if model.has(name)}


def examination(model: Model, person: Person) -> float:
    """How often a rank is looked at, against the mean over the stories that users of neutral satisfaction reach."""
    if not model.has("position"):
        return 1.0
    looks = [(r + 1.0) ** -model.config.position_exponent for r in range(model.config.steps)]
    reached = [(1.0 / (1.0 + math.exp(-model.config.stay))) ** r for r in range(model.config.steps)]
    mean = sum(n * look for n, look in zip(reached, looks, strict=True)) / sum(reached)
    return looks[person.step] / mean


def burst(model: Model, seed: int, session: int, variant: Variant) -> float:
    """A factor that the sessions of a block share."""
    if not model.has("overdispersion"):
        return 1.0
    sd = model.config.burst_sd
    u, v, _, _ = draws(seed, session // model.config.burst_sessions, VARIANT, variant.number)
    return math.exp(sd * normal_pair(u, v)[0] - sd**2 / 2)


# What a story does to a user.


def feel(model: Model, person: Person, variant: Variant, u: float, v: float) -> float:
    """Move the accumulated exposure; the satisfaction that follows."""
    c = model.config
    regret = 2.0 * c.clickbait_regret * (variant.clickbait - 0.5) if model.has("clickbait") else 0.0
    person.exposure = (
        c.memory * person.exposure
        - regret
        + c.taste_satisfaction * math.tanh(match(model, person, variant))
        + c.innovation_sd * normal_pair(u, v)[0]
    )
    return logistic(c.sensitivity * person.exposure) if model.has("satisfaction") else 0.5


def tire(model: Model, person: Person, variant: Variant, u: float) -> None:
    """Bored for a while of a style seen too often of late."""
    c = model.config
    person.bored_for = max(person.bored_for - 1, 0)
    person.styles = [count * c.boredom_decay for count in person.styles]
    person.styles[variant.style] += 1.0
    if person.bored_for or person.styles[variant.style] < c.boredom_threshold:
        return
    person.styles[variant.style], person.bored_of, person.bored_for = 0.0, variant.style, 1
    chance = again = c.boredom_stories / (1.0 + c.boredom_stories)
    while u <= chance:
        person.bored_for += 1
        chance *= again


def read(model: Model, taste: float, s: float, u: float) -> float:
    """Seconds, Weibull; `s` is the satisfaction and `taste` the match."""
    c = model.config
    scale = c.dwell_scale_seconds * math.exp(taste) * (s / 0.5) ** c.dwell_satisfaction
    return scale * (-math.log1p(-u)) ** (1.0 / c.dwell_shape)


def convert(
    model: Model, taste: float, variant: Variant, seed: int, session: int, total: int
) -> tuple[float, float]:
    """Value and delay in hours of a conversion; zeros without one."""
    c = model.config
    if not model.has("conversion") or c.conversion_rate == 0.0:
        return 0.0, 0.0
    _, u, x, y = draws(seed, session, CLICK, 2 * total)
    regret = c.conversion_regret * variant.clickbait if model.has("clickbait") else 0.0
    odds = math.inf if c.conversion_rate == 1.0 else c.conversion_rate / (1 - c.conversion_rate)
    odds *= math.exp(c.conversion_match * taste - regret)
    if u >= (1.0 if odds == math.inf else odds / (1 + odds)):
        return 0.0, 0.0
    sd = c.conversion_value_sd
    value = c.conversion_value * math.exp(sd * normal_pair(x, y)[0] - sd**2 / 2)
    return value, delay_hours(draws(seed, session, CLICK, 2 * total + 1)[0])


def delay_hours(u: float) -> float:
    """35 % in the first hour, half within a day, all within 30 days."""
    points = ((0.35, 1.0), (0.5, 24.0), (1.0, 720.0))
    if u < 0.35:
        return u / 0.35
    (a, low), (b, high) = points[:2] if u < 0.5 else points[1:]
    return math.exp(math.log(low) + (u - a) / (b - a) * math.log(high / low))


# A session.


def meet(model: Model, person: Person, u: float) -> int:
    """The next story: any that was not met yet, until all were."""
    if len(person.met) == len(model.items):
        person.met = []
    left = [i for i in range(len(model.items)) if i not in person.met]
    pick = left[int(u * len(left))]
    person.met.append(pick)
    return model.items[pick]


def pick_action(weights: Sequence[float], u: float) -> int:
    """Candidate in whose piece of the cumulated weights `u` falls; never one without weight."""
    cumulated = np.cumsum(weights).tolist()
    last = max(k for k, w in enumerate(weights) if w > 0)
    return min(bisect_right(cumulated, u * cumulated[-1]), last)


def run_session(
    model: Model, seed: int, session: int, table: Sequence[Sequence[float]]
) -> tuple[Person, list[dict[str, float]], list[dict[str, float]]]:
    """The user at the end, the log of every step, and the terms of every step's logit with its factors."""
    c = model.config
    person, log, reasons = arrive(model, seed, session), [], []
    while not log or not log[-1]["done"]:
        t = len(log)
        u_story, u_action, u_click, u_stay = draws(seed, session, STEP, 2 * t)
        u_mood, v_mood, u_look, u_bored = draws(seed, session, STEP, 2 * t + 1)
        item = meet(model, person, u_story)
        action = pick_action(table[item], u_action)
        variant = model.variants[model.stories[item][action]]
        before = logistic(c.sensitivity * person.exposure) if model.has("satisfaction") else 0.5
        told = {
            "segment": person.segment,
            "device": person.device,
            "hour": person.hour,
            "returning": person.returning,
            "step": person.step / max(c.steps - 1, 1),
            "mood": 2 * before - 1,
        }

        terms = logit_terms(model, person, variant)
        factors = {
            "position": examination(model, person),
            "cascade": float(person.looking or not model.has("cascade")),
            "overdispersion": burst(model, seed, session, variant),
        }
        attraction = logistic(bare_appeal(model, variant) + sum(terms.values()))
        p = min(attraction * math.prod(factors.values()), 1.0)
        click = u_click < p
        taste = match(model, person, variant)
        s = feel(model, person, variant, u_mood, v_mood)
        seconds, value, delay = 0.0, 0.0, 0.0
        if click:
            seconds = read(model, taste, s, draws(seed, session, CLICK, 2 * t)[0])
            value, delay = convert(model, taste, variant, seed, session, t)
            be_pulled(model, person, variant)
        tire(model, person, variant, u_bored)
        person.looking &= u_look < (c.look_after_click if click else c.look_after_skip)
        person.shown.append(variant.number)
        person.step += 1

        mood = 2 * s - 1
        over = u_stay >= logistic(c.stay + c.stay_satisfaction * mood + person.activity)
        over |= person.step == c.steps
        u_back, u_gap, _, _ = draws(seed, session, VISIT, 8 * person.visit)
        returns = logistic(c.come_back + c.come_back_satisfaction * mood + person.activity)
        back = over and person.visit + 1 < model.visits and u_back < returns
        log.append(
            {
                "item": item,
                "action": action,
                "probability": table[item][action],
                "click_probability": p,
                "click": click,
                "dwell_seconds": seconds,
                "satisfaction": s,
                "conversion_value": value,
                "conversion_delay_hours": delay,
                "visit_over": over,
                "done": over and not back,
                **told,
                "came_back": back,
                "variant": variant.number,
            }
        )
        reasons.append({**terms, **factors, "appeal": bare_appeal(model, variant)})
        if back:
            person.hour = (person.hour - c.gap_hours * math.log(u_gap)) % 24.0
            person.visit, person.step = person.visit + 1, 0
            person.returning, person.looking = 1.0, True
            drift(model, person, seed, session)
    return person, log, reasons


def outcome(person: Person, log: Sequence[dict[str, float]]) -> dict[str, float]:
    """Sums over a session, by the names of `METRICS`."""
    first = next(step for step in log if step["visit_over"])
    return {
        "impressions": len(log),
        "clicks": sum(step["click"] for step in log),
        "expected_clicks": sum(step["click_probability"] for step in log),
        "dwell_seconds": sum(step["dwell_seconds"] for step in log),
        "satisfaction": sum(step["satisfaction"] for step in log),
        "conversions": sum(step["conversion_value"] > 0 for step in log),
        "conversion_value": sum(step["conversion_value"] for step in log),
        "visits": sum(step["visit_over"] for step in log),
        "came_back": first["came_back"],
        "earlier": person.earlier,
        "segment": person.segment,
        "device": person.device,
    }
