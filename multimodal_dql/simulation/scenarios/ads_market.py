"""What happens in Ads-v0, compiled: campaigns and users are drawn, an impression is shown, conversions arrive late.

The formulas are those of the engagement model (`multimodal_dql.simulation.dynamics`). Every draw is keyed by
seed, episode and step, so a user comes whatever was shown before.

Shape letters: ``N`` environments, ``K`` campaigns, ``U`` users, ``P`` content width, ``D`` directions of
taste, ``T`` impressions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled, normals, uniforms
from multimodal_dql.simulation.dynamics import conversion_delay_hours, conversion_value, logistic, wear
from multimodal_dql.simulation.scenarios.draws import heavy_tailed, log_uniform

__all__ = [
    "Market",
    "Rules",
    "allowed",
    "describe",
    "draw",
    "empty_market",
    "shadow",
    "show",
    "stocks",
    "worths",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

OF_CAMPAIGN, OF_CONTENT, OF_USER, OF_TIME, OF_CLICK = 0, 1, 2, 3, 4
"""Streams of random numbers of an episode."""
CAMPAIGN_WIDTH, USER_WIDTH = 11, 4
LIMIT = 10.0
UNIT = 1.0 / math.log(1e4)


class Rules(NamedTuple):
    """The configuration in the form the compiled functions take; see `AdsConfig` and `EngagementConfig`."""

    impressions: int
    hours: float
    users: int
    cap: int
    base_logit: float
    luck_sd: float
    luck_df: float
    taste_sd: float
    hour_effect: float
    wear_in: float
    wear_peak: float
    wear_out: float
    conversion_logit: float
    conversion_match: float
    conversion_regret: float
    conversion_value_sd: float
    click_value: float
    conversion_value: float
    value_spread: float
    budget_low: float
    budget_high: float
    house_value: float
    on_arrival: bool
    content: Array  # (P,) what everybody likes
    clickbait: Array  # (P,)
    axes: Array  # (P, D)
    taste: Array  # (G, D) of each segment
    personal: Array  # (D,)


class Market(NamedTuple):
    """The state of all environments."""

    content: Array  # (N, K, P)
    appeal: Array  # (N, K)
    clickbait: Array  # (N, K), 0 to 1
    loading: Array  # (N, K, D)
    click_value: Array  # (N, K)
    conversion_value: Array  # (N, K)
    budget: Array  # (N, K)
    spent: Array  # (N, K)
    impressions: Ints  # (N, K)
    clicks: Ints  # (N, K)
    conversions: Ints  # (N, K) that have arrived
    exposures: NDArray[np.int32]  # (N, U, K) of each user in the episode
    today: NDArray[np.int32]  # (N, U, K) of each user on the day of `day`
    day: Ints  # (N, U)
    step: Ints  # (N,)
    user: Ints  # (N,) who looks now
    segment: Ints  # (N,)
    taste: Array  # (N, D) of who looks now
    now: Array  # (N,) hours
    due: Array  # (N, T) hours at which a conversion arrives
    worth: Array  # (N, T) its value
    of: Ints  # (N, T) its campaign
    waiting: Ints  # (N,) conversions that have not arrived


def empty_market(n: int, k: int, r: Rules) -> Market:
    """Room for `n` environments of `k` campaigns."""
    p, d = r.axes.shape

    def real(*shape: int) -> Array:
        return np.zeros(shape)

    def whole(*shape: int) -> Ints:
        return np.zeros(shape, np.int64)

    many = (n, r.users, k)
    return Market(
        content=real(n, k, p), appeal=real(n, k), clickbait=real(n, k), loading=real(n, k, d),
        click_value=real(n, k), conversion_value=real(n, k), budget=real(n, k), spent=real(n, k),
        impressions=whole(n, k), clicks=whole(n, k), conversions=whole(n, k),
        exposures=np.zeros(many, np.int32), today=np.zeros(many, np.int32), day=whole(n, r.users),
        step=whole(n), user=whole(n), segment=whole(n), taste=real(n, d), now=real(n),
        due=real(n, r.impressions), worth=real(n, r.impressions), of=whole(n, r.impressions), waiting=whole(n),
    )  # fmt: skip


@compiled
def _campaign(r: Rules, m: Market, i: int, k: int, episode: int, key: int) -> None:
    """Draw one campaign: its content, what that means, its values and its budget."""
    p_all, d_all = r.axes.shape
    for p in range(p_all):
        u, v, _, _ = uniforms(key, episode, OF_CONTENT, k * p_all + p)
        m.content[i, k, p] = min(max(normals(u, v)[0], -4.0), 4.0)
    a, b, c, d = uniforms(key, episode, OF_CAMPAIGN, 2 * k)
    appeal, bait = r.base_logit + r.luck_sd * heavy_tailed(a, b, r.luck_df), 0.0
    m.loading[i, k, :] = 0.0
    for p in range(p_all):
        appeal += r.content[p] * m.content[i, k, p]
        bait += r.clickbait[p] * m.content[i, k, p]
        for j in range(d_all):
            m.loading[i, k, j] += r.axes[p, j] * m.content[i, k, p]
    m.appeal[i, k], m.clickbait[i, k] = appeal, logistic(bait)
    z0, z1 = normals(c, d)
    m.click_value[i, k] = conversion_value(z0, r.click_value, r.value_spread)
    m.conversion_value[i, k] = conversion_value(z1, r.conversion_value, r.value_spread)
    share = log_uniform(uniforms(key, episode, OF_CAMPAIGN, 2 * k + 1)[0], r.budget_low, r.budget_high)
    # At least one click can be paid, so that no campaign is broke from the start.
    clicks = max(share * r.impressions * logistic(r.base_logit), 1.0)
    m.budget[i, k] = clicks * m.click_value[i, k]


@compiled
def _next_user(r: Rules, m: Market, i: int, episode: int, key: int) -> None:
    """Who looks at the next impression, and when; a few users come often."""
    t = m.step[i]
    a, b, _, _ = uniforms(key, episode, OF_TIME, t)
    m.now[i] = (t + a) * r.hours / r.impressions
    user = int(r.users * b * b)
    m.user[i] = user
    d_all = r.axes.shape[1]
    first = user * (d_all + 1)
    m.segment[i] = int(uniforms(key, episode, OF_USER, first)[0] * len(r.taste))
    for j in range(d_all):
        u, v, _, _ = uniforms(key, episode, OF_USER, first + 1 + j)
        m.taste[i, j] = r.taste[m.segment[i], j] + r.personal[j] * normals(u, v)[0]
    day = int(m.now[i] // 24.0)
    if m.day[i, user] != day:
        m.day[i, user] = day
        m.today[i, user, :] = 0


@compiled
def draw(r: Rules, m: Market, envs: Ints, episodes: Ints, key: int) -> None:
    """Start an episode in each of these environments."""
    for i in envs:
        for k in range(m.appeal.shape[1]):
            _campaign(r, m, i, k, episodes[i], key)
        m.spent[i, :] = 0.0
        m.impressions[i, :] = 0
        m.clicks[i, :] = 0
        m.conversions[i, :] = 0
        m.exposures[i] = 0
        m.today[i] = 0
        m.day[i, :] = 0
        m.step[i], m.waiting[i] = 0, 0
        _next_user(r, m, i, episodes[i], key)


@compiled
def _offer(r: Rules, m: Market, i: int, k: int) -> tuple[float, float]:
    """Probability of a click on campaign `k` now, and of a conversion some day after one."""
    match = 0.0
    for j in range(r.axes.shape[1]):
        match += m.taste[i, j] * m.loading[i, k, j]
    match *= r.taste_sd
    logit = m.appeal[i, k] + match
    logit += r.hour_effect * math.cos(2.0 * math.pi * (m.now[i] - 21.0) / 24.0)
    logit += wear(m.exposures[i, m.user[i], k], r.wear_in, r.wear_peak, r.wear_out)
    later = r.conversion_logit + r.conversion_match * match - r.conversion_regret * m.clickbait[i, k]
    return logistic(logit), logistic(later)


@compiled
def allowed(r: Rules, m: Market, out: Bools) -> None:
    """Fill `out` (N, K + 1): not capped for who looks now, and able to pay one more click; the house ad always."""
    for i in range(len(out)):
        for k in range(m.appeal.shape[1]):
            # A rounding error of the sum of what was spent must not cost a click.
            pays = m.spent[i, k] + m.click_value[i, k] <= m.budget[i, k] * (1.0 + 1e-12)
            out[i, k] = pays and m.today[i, m.user[i], k] < r.cap
        out[i, m.appeal.shape[1]] = True


@compiled
def stocks(r: Rules, m: Market, left: Array, free: Bools) -> None:
    """Fill `left` (N, K + 1) with the clicks that budgets can still pay, `free` with who is not capped."""
    for i in range(len(left)):
        for k in range(m.appeal.shape[1]):
            rest = m.budget[i, k] * (1.0 + 1e-12) - m.spent[i, k]
            left[i, k] = max(math.floor(rest / m.click_value[i, k]), 0.0)
            free[i, k] = m.today[i, m.user[i], k] < r.cap


@compiled
def shadow(m: Market, shown: Bools) -> None:
    """An exposure, without an impression, of each campaign in `shown` (N, K + 1) to the user who looks now."""
    for i in range(len(shown)):
        for k in range(m.appeal.shape[1]):
            if shown[i, k]:
                m.exposures[i, m.user[i], k] += 1
                m.today[i, m.user[i], k] += 1


@compiled
def worths(r: Rules, m: Market, free: Bools, out: Array) -> None:
    """Fill `out` (N, K + 1) with the expected value of each allowed action.

    It is that of the click and of the conversion that the click brings within 30 days.
    """
    house = m.appeal.shape[1]
    for i in range(len(out)):
        out[i, house] = r.house_value
        for k in range(house):
            if free[i, k]:
                click, conversion = _offer(r, m, i, k)
                out[i, k] = click * (m.click_value[i, k] + conversion * m.conversion_value[i, k])


@compiled
def _arrive(m: Market, i: int, until: float) -> tuple[float, int]:
    """Value and number of the conversions due by `until`; they are no longer waiting."""
    value, count, j = 0.0, 0, 0
    while j < m.waiting[i]:
        if m.due[i, j] <= until:
            value += m.worth[i, j]
            count += 1
            m.conversions[i, m.of[i, j]] += 1
            last = m.waiting[i] - 1
            m.due[i, j], m.worth[i, j], m.of[i, j] = m.due[i, last], m.worth[i, last], m.of[i, last]
            m.waiting[i] = last
        else:
            j += 1
    return value, count


@compiled
def _follow(r: Rules, m: Market, i: int, k: int, conversion: float, episode: int, key: int) -> None:
    """A click on campaign `k`: it is paid, and a conversion that may follow is put among those that wait."""
    m.clicks[i, k] += 1
    m.spent[i, k] += m.click_value[i, k]
    _, u_convert, u_value, v_value = uniforms(key, episode, OF_CLICK, 2 * m.step[i])
    if u_convert < conversion:
        z, j = normals(u_value, v_value)[0], m.waiting[i]
        u_delay = uniforms(key, episode, OF_CLICK, 2 * m.step[i] + 1)[0]
        m.due[i, j] = m.now[i] + conversion_delay_hours(u_delay)
        m.worth[i, j] = conversion_value(z, m.conversion_value[i, k], r.conversion_value_sd)
        m.of[i, j] = k
        m.waiting[i] = j + 1


@compiled
def show(
    r: Rules, m: Market, actions: Ints, live: Bools, episodes: Ints, key: int, out: Array, over: Bools
) -> None:
    """One impression in each live environment; `out` is (N, 9) in the order of `ads.INFO` after the reward."""
    house = m.appeal.shape[1]
    for i in range(len(live)):
        if not live[i]:
            continue
        k, paid = actions[i], r.house_value
        out[i, 1], out[i, 8] = r.house_value, m.now[i]
        if k < house:
            click, conversion = _offer(r, m, i, k)
            out[i, 1] = click * (m.click_value[i, k] + conversion * m.conversion_value[i, k])
            out[i, 2], paid = click, 0.0
            if uniforms(key, episodes[i], OF_CLICK, 2 * m.step[i])[0] < click:
                out[i, 3], paid = 1.0, m.click_value[i, k]
                _follow(r, m, i, k, conversion, episodes[i], key)
            m.impressions[i, k] += 1
            m.exposures[i, m.user[i], k] += 1
            m.today[i, m.user[i], k] += 1
        m.step[i] += 1
        over[i] = m.step[i] >= r.impressions
        if over[i]:
            m.now[i] = r.hours
        else:
            _next_user(r, m, i, episodes[i], key)
        value, count = _arrive(m, i, m.now[i])
        out[i, 0] = paid + value if r.on_arrival else out[i, 1]
        out[i, 4], out[i, 5], out[i, 6] = count, value, m.waiting[i]
        for j in range(m.waiting[i]):
            out[i, 7] += m.worth[i, j]


@compiled
def describe(r: Rules, m: Market, campaigns: Floats, users: Floats) -> None:
    """Fill `campaigns` (N, K + 1, `CAMPAIGN_WIDTH`) and `users` (N, 4 of the segment + `USER_WIDTH`)."""
    base = logistic(r.base_logit)
    for i in range(len(users)):
        time, user, seen = m.now[i] / r.hours, m.user[i], 0
        for k in range(m.appeal.shape[1]):
            n, s = m.impressions[i, k], m.clicks[i, k]
            spent = m.spent[i, k] / m.budget[i, k]
            seen += m.exposures[i, user, k]
            f = campaigns[i, k]
            f[0] = math.log(m.click_value[i, k] / r.click_value)
            f[1] = math.log(m.conversion_value[i, k] / r.conversion_value)
            f[2], f[3], f[4] = 1.0 - spent, spent - time, m.click_value[i, k] / m.budget[i, k]
            f[5] = math.log1p(float(m.exposures[i, user, k]))
            f[6] = 1.0 - m.today[i, user, k] / r.cap
            f[7], f[8] = math.log1p(float(n)) * UNIT, math.log1p(float(s)) * UNIT
            f[9] = math.log((s / base + 200.0) / (n + 200.0))
            f[10] = math.log1p(float(m.conversions[i, k]))
            for j in range(CAMPAIGN_WIDTH):
                f[j] = min(max(f[j], -LIMIT), LIMIT)
        segments = len(r.taste)
        users[i, m.segment[i]] = 1.0
        angle = 2.0 * math.pi * m.now[i] / 24.0
        users[i, segments], users[i, segments + 1] = math.sin(angle), math.cos(angle)
        users[i, segments + 2], users[i, segments + 3] = time, min(math.log1p(float(seen)), LIMIT)
