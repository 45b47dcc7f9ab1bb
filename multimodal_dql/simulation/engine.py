"""One user, one story at a time, compiled: what a user looks at, clicks, reads, buys, and whether the user comes back.

A user is a row of numbers (`COLUMNS`), so that thousands go through the same functions side by side, or one after
the other from first story to last. Every draw is keyed by seed, session and step
(`multimodal_dql.simulation.compiled`).

Shape letters: ``S`` sessions (a session is a user with all visits), ``K`` candidates, ``D`` directions of taste.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled, normals, uniforms
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.dynamics import (
    conversion_delay_hours,
    conversion_value,
    dwell_seconds,
    examination,
    logistic,
    next_exposure,
    poisson,
    satisfaction,
    wear,
)

__all__ = [
    "COLUMNS",
    "Mechanics",
    "Response",
    "Truth",
    "burst",
    "click_probability",
    "mechanics",
    "respond",
    "start",
    "value_of",
]

Array = NDArray[np.float64]

# Columns of a user's row.
SEGMENT, DEVICE, HOUR, RETURNING, ACTIVITY, EARLIER = 0, 1, 2, 3, 4, 5
VISIT, STEP, TOTAL, ITEM = 6, 7, 8, 9
EXPOSURE, LOOKING, BORED_STYLE, BORED_LEFT = 10, 11, 12, 13
TASTE = 14  # D columns; then D counts of styles, then the stories met in this round, then the variants shown
APPEAL, CLICKBAIT, STYLE, LOADING = 0, 1, 2, 3  # columns of a variant's row
COLUMNS = ("segment", "device", "hour", "returning", "activity", "earlier", "visit", "step", "total", "item")
"""The first columns of a row by name."""

# Streams of random numbers of a session.
AT_START, AT_STEP, AT_CLICK, AT_VISIT, OF_VARIANT = 0, 1, 2, 3, 4

EARLIER_STORIES = 5.0
"""Mean number of stories a user of average activity read in the week before; known before the session (for CUPED)."""


class Mechanics(NamedTuple):
    """The parameters in the form the compiled functions take; see `EngagementConfig` for each."""

    steps: int
    visits: int
    burst_sd: float
    burst_sessions: int
    taste_sd: float
    drift: float
    interest_pull: float
    clickbait_regret: float
    look_after_skip: float
    look_after_click: float
    device_effect: float
    hour_effect: float
    activity_sd: float
    fatigue: float
    wear_in: float
    wear_peak: float
    wear_out: float
    boredom: float
    boredom_threshold: float
    boredom_decay: float
    boredom_stories: float
    memory: float
    innovation_sd: float
    taste_satisfaction: float
    sensitivity: float
    stay: float
    stay_satisfaction: float
    come_back: float
    come_back_satisfaction: float
    gap_hours: float
    dwell_shape: float
    dwell_scale_seconds: float
    dwell_satisfaction: float
    conversion_logit: float
    conversion_match: float
    conversion_regret: float
    conversion_value: float
    conversion_value_sd: float


class Truth(NamedTuple):
    """What is true of users and variants, in few arrays: each one that is passed on costs time.

    Attributes:
        variants: (N + 1, 3 + D) `APPEAL`, `CLICKBAIT` (0 to 1), `STYLE` (the direction of largest loading), loadings.
        users: (G + 1, D) mean taste of each segment; the last row is the spread around it.
        table: (items, K) variant of each candidate, -1 where there is none; those that exist come first.
        examination: (steps,) relative examination of each rank.
        devices: (devices,) cumulated shares.
        hours: (H,) quantiles of the hour of a first visit.
    """

    variants: Array
    users: Array
    table: NDArray[np.int64]
    examination: Array
    devices: Array
    hours: Array


class Response(NamedTuple):
    """What a user did with one story.

    Attributes:
        click_probability: known to the simulator alone.
        click: 0 or 1.
        dwell_seconds: reading time after a click, else 0.
        satisfaction: after the story, between 0 and 1.
        conversion_value: 0 without a conversion.
        conversion_delay_hours: from the click; 0 without a conversion.
        visit_over: 1 when this was the last story of a visit.
        came_back: 1 when the user comes back after that, for the next visit.
        done: 1 when nothing follows.
    """

    click_probability: float
    click: float
    dwell_seconds: float
    satisfaction: float
    conversion_value: float
    conversion_delay_hours: float
    visit_over: float
    came_back: float
    done: float


def mechanics(config: EngagementConfig) -> Mechanics:
    """The parameters for the compiled functions."""
    own = {name: getattr(config, name) for name in Mechanics._fields if hasattr(config, name)}
    rate = config.conversion_rate
    logit = math.log(rate / (1 - rate)) if 0 < rate < 1 else math.copysign(math.inf, rate - 0.5)
    values = own | {"conversion_logit": logit}
    whole = ("steps", "visits", "burst_sessions")
    numbers: dict[str, Any] = {name: int(v) if name in whole else float(v) for name, v in values.items()}
    return Mechanics(**numbers)


def ranks(config: EngagementConfig) -> Array:
    """Relative examination of the ranks of a visit, (steps,); who goes on is who does at neutral satisfaction."""
    going_on = logistic(config.stay)
    return np.array(
        [examination(r, config.position_exponent, config.steps, going_on) for r in range(1, config.steps + 1)]
    )


@compiled
def burst(m: Mechanics, seed: int, block: int, variant: int) -> float:
    """The factor on a variant's clicks during one block of sessions; log-normal with mean 1."""
    if m.burst_sd == 0.0:
        return 1.0
    u, v, _, _ = uniforms(seed, block, OF_VARIANT, variant)
    z, _ = normals(u, v)
    return math.exp(m.burst_sd * z - 0.5 * m.burst_sd * m.burst_sd)


@compiled
def start(row: Array, m: Mechanics, truth: Truth, items: NDArray[np.int64], seed: int, session: int) -> None:
    """Fill `row` with the user of a session, before the first story; `items` are the stories that may be met."""
    row[:] = 0.0
    a, b, c, d = uniforms(seed, session, AT_START, 0)
    row[SEGMENT] = math.floor(a * (len(truth.users) - 1))
    device = 0
    while device < len(truth.devices) - 1 and b >= truth.devices[device]:
        device += 1
    row[DEVICE] = device
    row[HOUR] = truth.hours[int(c * len(truth.hours))]
    row[RETURNING] = 1.0 if d < 0.5 else 0.0
    a, b, c, d = uniforms(seed, session, AT_START, 1)
    z, _ = normals(a, b)
    row[ACTIVITY] = m.activity_sd * z
    row[EARLIER] = poisson(c, EARLIER_STORIES * math.exp(row[ACTIVITY]))
    row[LOOKING] = 1.0
    row[BORED_STYLE] = -1.0
    _renew_taste(row, truth.users, seed, session, AT_START, 2, 1.0)
    meet(row, m, items, uniforms(seed, session, AT_STEP, 0)[0])


@compiled
def _renew_taste(
    row: Array, users: Array, seed: int, session: int, stream: int, first: int, share: float
) -> None:
    """Draw `share` of the user's own taste anew: ``own <- sqrt(1 - share) own + sqrt(share) sd z``, variance
    unchanged.
    """
    segment, spread, directions = int(row[SEGMENT]), len(users) - 1, users.shape[1]
    keep, take = math.sqrt(1.0 - share), math.sqrt(share)
    for k in range(0, directions, 2):
        u, v, _, _ = uniforms(seed, session, stream, first + k // 2)
        z0, z1 = normals(u, v)
        for j, z in ((k, z0), (k + 1, z1)):
            if j < directions:
                mean = users[segment, j]
                own = row[TASTE + j] - mean if share < 1.0 else 0.0
                row[TASTE + j] = mean + keep * own + take * users[spread, j] * z


@compiled
def meet(row: Array, m: Mechanics, items: NDArray[np.int64], u: float) -> None:
    """Choose the next story at random, none twice before all were met."""
    used = len(row) - 2 * m.steps * m.visits
    count = int(row[TOTAL]) % len(items)
    pick = int(u * (len(items) - count))
    for j in range(count):  # ascending numbers of the stories met in this round
        if pick >= row[used + j]:
            pick += 1
    j = count
    while j > 0 and row[used + j - 1] > pick:
        row[used + j] = row[used + j - 1]
        j -= 1
    row[used + j] = pick
    row[ITEM] = items[pick]


@compiled
def taste_match(row: Array, variants: Array, variant: int) -> float:
    """How well a variant matches the user's taste, in units of ``taste_sd``."""
    total = 0.0
    for k in range(variants.shape[1] - LOADING):
        total += row[TASTE + k] * variants[variant, LOADING + k]
    return total


@compiled
def attraction(row: Array, m: Mechanics, appeal: float, style: float, match: float, variant: int) -> float:
    """Probability of a click once a variant is looked at."""
    exposures, shown = 0, len(row) - m.steps * m.visits
    for j in range(int(row[TOTAL])):
        if row[shown + j] == variant:
            exposures += 1
    device = row[DEVICE]
    logit = appeal + match + m.device_effect * (1.0 if device == 1.0 else 0.5 if device == 2.0 else 0.0)
    logit += m.hour_effect * math.cos(2.0 * math.pi * (row[HOUR] - 21.0) / 24.0)
    logit += wear(exposures, m.wear_in, m.wear_peak, m.wear_out) - m.fatigue * row[STEP]
    if row[BORED_LEFT] > 0.0 and row[BORED_STYLE] == style:
        logit -= m.boredom
    return logistic(logit)


@compiled
def click_probability(row: Array, m: Mechanics, truth: Truth, variant: int, factor: float) -> float:
    """Probability that the user clicks if this variant is shown now: examination times attraction."""
    if row[LOOKING] == 0.0:
        return 0.0
    v = truth.variants
    match = m.taste_sd * taste_match(row, v, variant)
    p = attraction(row, m, v[variant, APPEAL], v[variant, STYLE], match, variant)
    return float(min(truth.examination[int(row[STEP])] * p * factor, 1.0))


@compiled
def value_of(row: Array, m: Mechanics, truth: Truth, variant: int) -> float:
    """What showing a variant adds to the user's exposure, apart from chance: positive is good for the visits
    to come.
    """
    pleasure = m.taste_satisfaction * math.tanh(m.taste_sd * taste_match(row, truth.variants, variant))
    clickbait = truth.variants[variant, CLICKBAIT]
    return next_exposure(0.0, clickbait, m.memory, m.clickbait_regret, pleasure, 0.0)


@compiled
def respond(
    row: Array,
    m: Mechanics,
    truth: Truth,
    items: NDArray[np.int64],
    variant: int,
    factor: float,
    seed: int,
    session: int,
) -> Response:
    """Show a variant to the user of `row`, who moves on to the next story; the row is changed."""
    total = int(row[TOTAL])
    _, _, u_click, u_stay = uniforms(seed, session, AT_STEP, 2 * total)
    u_noise, v_noise, u_look, u_bored = uniforms(seed, session, AT_STEP, 2 * total + 1)
    c, style = truth.variants[variant, CLICKBAIT], truth.variants[variant, STYLE]
    match = m.taste_sd * taste_match(row, truth.variants, variant)
    p = 0.0
    if row[LOOKING] > 0.0:
        attracted = attraction(row, m, truth.variants[variant, APPEAL], style, match, variant)
        p = min(truth.examination[int(row[STEP])] * attracted * factor, 1.0)
    click = u_click < p

    noise = 0.0
    if m.innovation_sd > 0.0:
        noise = m.innovation_sd * normals(u_noise, v_noise)[0]
    pleasure = m.taste_satisfaction * math.tanh(match)
    row[EXPOSURE] = next_exposure(row[EXPOSURE], c, m.memory, m.clickbait_regret, pleasure, noise)
    s = satisfaction(row[EXPOSURE], m.sensitivity)
    seconds, value, delay = 0.0, 0.0, 0.0
    if click:
        seconds, value, delay = after_click(m, match, c, s, seed, session, total)
        for k in range(truth.users.shape[1]):
            row[TASTE + k] += m.interest_pull * (truth.variants[variant, LOADING + k] - row[TASTE + k])

    _tire(row, m, truth.users.shape[1], int(style), u_bored)
    if u_look >= (m.look_after_click if click else m.look_after_skip):
        row[LOOKING] = 0.0
    row[len(row) - m.steps * m.visits + total] = variant
    row[TOTAL] += 1.0
    row[STEP] += 1.0
    mood = 2.0 * s - 1.0
    stays = logistic(m.stay + m.stay_satisfaction * mood + row[ACTIVITY])
    over = u_stay >= stays or row[STEP] >= m.steps
    back, done = False, False
    if over:
        u_back, u_gap, _, _ = uniforms(seed, session, AT_VISIT, 8 * int(row[VISIT]))
        returns = logistic(m.come_back + m.come_back_satisfaction * mood + row[ACTIVITY])
        back = row[VISIT] + 1.0 < m.visits and u_back < returns
        done = not back
        if back:
            _visit(row, m, truth.users, seed, session, u_gap)
    if not done:
        meet(row, m, items, uniforms(seed, session, AT_STEP, 2 * int(row[TOTAL]))[0])
    return Response(
        p, 1.0 if click else 0.0, seconds, s, value, delay, 1.0 if over else 0.0, 1.0 if back else 0.0,
        1.0 if done else 0.0,
    )  # fmt: skip


@compiled
def after_click(
    m: Mechanics, match: float, c: float, s: float, seed: int, session: int, total: int
) -> tuple[float, float, float]:
    """Reading time in seconds, value of a conversion and its delay in hours."""
    u_dwell, u_convert, u_value, v_value = uniforms(seed, session, AT_CLICK, 2 * total)
    scale = m.dwell_scale_seconds * math.exp(match) * (2.0 * s) ** m.dwell_satisfaction
    value, delay = 0.0, 0.0
    if u_convert < logistic(m.conversion_logit + m.conversion_match * match - m.conversion_regret * c):
        value = conversion_value(normals(u_value, v_value)[0], m.conversion_value, m.conversion_value_sd)
        delay = conversion_delay_hours(uniforms(seed, session, AT_CLICK, 2 * total + 1)[0])
    return dwell_seconds(u_dwell, scale, m.dwell_shape), value, delay


@compiled
def _tire(row: Array, m: Mechanics, directions: int, style: int, u: float) -> None:
    """Count the style that was shown, and let the user become bored of it for a while.

    Two states with their own lengths (semi-Markov, Kapoor et al. 2015): a style is left when its discounted
    count reaches the threshold, and taken up again after ``1 + geometric`` stories.
    """
    styles = TASTE + directions
    if row[BORED_LEFT] > 0.0:
        row[BORED_LEFT] -= 1.0
    for k in range(directions):
        row[styles + k] *= m.boredom_decay
    row[styles + style] += 1.0
    if row[styles + style] >= m.boredom_threshold and row[BORED_LEFT] <= 0.0:
        row[styles + style] = 0.0
        row[BORED_STYLE] = style
        # Geometric with mean g by inversion: P(at least n) = (g / (1 + g))^n.
        g = max(m.boredom_stories, 1e-9)
        row[BORED_LEFT] = 1.0 + math.floor(math.log(u) / math.log(g / (1.0 + g)))


@compiled
def _visit(row: Array, m: Mechanics, users: Array, seed: int, session: int, u_gap: float) -> None:
    """Begin the next visit: some hours later, rested, with a taste that has drifted."""
    gap_hours = -m.gap_hours * math.log(u_gap)
    row[HOUR] = (row[HOUR] + gap_hours) % 24.0
    row[VISIT] += 1.0
    row[STEP] = 0.0
    row[RETURNING], row[LOOKING] = 1.0, 1.0
    if m.drift > 0.0:
        _renew_taste(row, users, seed, session, AT_VISIT, 8 * int(row[VISIT]) + 1, m.drift)
