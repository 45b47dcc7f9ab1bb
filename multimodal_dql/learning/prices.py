"""What a unit of a limited stock is worth in the time to come: targets for the price head of a network.

An action may use up a stock of its own (a campaign's budget, counted in clicks). Choosing it now earns ``r`` and uses
a unit with probability ``p``, which is missing later: ``Q = r - p d_n``, and what is the same for every action, with
``d_n = V(n) - V(n - 1)`` the value of the n-th unit one step later, its bid price (Talluri & van Ryzin 2004, "The
theory and practice of revenue management", chapters 2 and 3; such prices also pace bids: Agrawal & Devanur 2014,
"Bandits with concave rewards and convex knapsacks"; Balseiro & Gur 2019, "Learning in repeated auctions with budgets").
The return of an episode says little about them, because whether a unit is used is luck. Here they are computed along
the episode instead, backwards, for every n, with the chance of the use in the place of the luck:

    ``d_n(t) = g [d_n + (r - o - p d_n)+ - (r - o - p d_{n-1})+]``, all at t + 1, ``d_0`` infinite,

where o is the best that another available action would earn, at its own price. This is the dynamic program of a single
stock; taking the others' prices as they are is the decomposition of the network problem by resource (chapter 3 there).
It knows who will come in this episode, which the network, fitted to the mean over episodes, does not. Where an action
is closed for other reasons than its stock, such as a frequency cap, there is no gain.

Shape letters: ``T`` steps, ``N`` environments, ``A`` actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.targets import NEVER

__all__ = ["Ledger", "best_others", "price_targets"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST = 32
"""Units beyond these are worth as much as the last of them."""


def best_others(worth: Array, available: Bools) -> Array:
    """For each action the largest worth of another one that is available, `NEVER` if there is none; (..., A)."""
    offered = np.where(available, worth, NEVER)
    best = offered.argmax(axis=-1)[..., None]
    top = np.take_along_axis(offered, best, axis=-1)
    np.put_along_axis(offered, best, NEVER, axis=-1)
    return np.where(np.arange(worth.shape[-1]) == best, offered.max(axis=-1, keepdims=True), top)


def price_targets(
    gain: Array, spend: Array, price: Array, left: Array, discount: Array, goes_on: Bools, unit: float
) -> Array:
    """See the module.

    Args:
        gain: ``r - o``, (T + 1, N, A); nothing that is not above 0 counts.
        spend: p in units of `unit`, (T + 1, N, A); `unit` times it is at most 1.
        price: d_n times `unit`, of the stock that is left, as the network has it, (T + 1, N, A): what follows the last
            step, or an episode that was cut.
        left: units of stock, (T + 1, N, A); of 0, the price is that of a first one.
        discount: (T, N), 0 at a terminal step.
        goes_on: (T, N), whether row t + 1 continues row t.
        unit: usual units that a step uses.

    Returns:
        d_n times `unit`, (T, N, A).
    """
    stock = np.clip(left, 1.0, MOST).astype(np.int64)
    out, later = np.empty(gain[1:].shape), np.repeat(price[-1][..., None], int(stock.max()), axis=-1)
    for t in range(len(out) - 1, -1, -1):
        later = np.where(goes_on[t, :, None, None], later, price[t + 1, ..., None])
        won = np.maximum(gain[t + 1, ..., None] - spend[t + 1, ..., None] * later, 0.0)
        won[..., 1:] -= won[..., :-1].copy()
        later = discount[t, :, None, None] * (later + unit * won)
        out[t] = np.take_along_axis(later, stock[t, ..., None] - 1, axis=-1)[..., 0]
    return out


class Ledger:
    """What the steps of a rollout say about prices. See the module.

    Args:
        envs: vector environments with ``stocks()``: units left, (N, A), inf for an action that uses up nothing, and
            whether the action is open but for its stock, (N, A); and with ``shadow(shown)``.
        unit: usual units that a step uses.
    """

    def __init__(self, envs: Sequence[Any], unit: float) -> None:
        if not all(hasattr(env, "stocks") and hasattr(env, "shadow") for env in envs):
            raise UsageError(
                detail="reward_and_price needs an environment whose actions use up stocks, such as Ads-v0; "
                "write reward_and_later as advantage",
                detail_zh="reward_and_price 需要动作会消耗库存的环境，例如 Ads-v0；advantage 请写 reward_and_later",
            )
        self.envs, self.unit = envs, unit
        self.rows: list[tuple[NDArray[Any], ...]] = []

    def note(self, reward: Array, spend: Array, price: Array, available: Bools) -> None:
        """Before a step, what the network says of all environments, (N, A) each.

        What has sold out but would have been shown, had it one unit more, wears out and meets its caps as if it
        had been: else each missing unit would find an audience that nobody has tired. The network never sees it earn
        anything, so what it earns in stock must carry over through its features.
        """
        left, is_open = (np.concatenate(c) for c in zip(*(env.stocks() for env in self.envs), strict=True))
        price = np.maximum(price, 0.0)
        worth = reward - spend * price
        others = best_others(worth, available)
        shown = is_open & (left < 1.0) & (worth > others)
        for env, part in zip(
            self.envs, np.split(shown, np.cumsum([e.num_envs for e in self.envs])[:-1]), strict=True
        ):
            env.shadow(part)
        gain = np.where(is_open & (others > NEVER), reward - others, 0.0)
        stocked = np.isfinite(left)
        self.rows.append((gain, spend, price, np.where(stocked, left, 1.0), stocked))

    def targets(self, discount: Array, goes_on: Bools) -> dict[str, NDArray[np.float32]]:
        """``price`` and whether it counts, ``stocked``, (T x N, A) each, of T + 1 noted rows."""
        gain, spend, price, left, stocked = (np.stack(column) for column in zip(*self.rows, strict=True))
        found = price_targets(gain, spend, price, left, discount, goes_on, self.unit)
        flat = {"price": found, "stocked": stocked[:-1]}
        return {name: array.reshape(-1, array.shape[-1]).astype(np.float32) for name, array in flat.items()}
