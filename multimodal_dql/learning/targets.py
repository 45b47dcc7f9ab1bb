"""What Q-learning regresses on: pure functions of rewards, discounts and next values.

Names carry time, as in rlax: ``r_t`` follows the action ``a_t`` taken in state ``s_t``, and ``q_tp1`` are the values
of ``s_{t+1}``. A terminal step is a discount of 0: ``discount_t = g (1 - done_t)``. A truncated step keeps its
discount, because the state goes on having a value; only the chain of rewards ends there (`chain`).

Shape letters: ``T`` steps (time comes first), ``K`` actions; ``...`` is any number of further axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["chain", "double_q", "greedy_value", "n_step", "one_step", "q_lambda", "watkins_trace"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEVER = -1e30
"""Stands for minus infinity where a maximum must pass by; an infinity would make 0 x inf somewhere."""


def _library(array: Any) -> Any:
    """NumPy for NumPy arrays, else Keras operations, which have the same names and also work in a compiled graph."""
    if isinstance(array, np.ndarray):
        return np
    from keras import ops

    return ops


def _bool(xp: Any, mask: Any) -> Any:
    return np.asarray(mask, dtype=bool) if xp is np else xp.cast(mask, "bool")


def greedy_value(q_tp1: Any, available_tp1: Any) -> Any:
    """``max_a q(s, a)`` over available actions, (..., K) and (..., K) -> (...).

    A state without any available action (padding) has the value 0.
    """
    xp = _library(q_tp1)
    free = _bool(xp, available_tp1)
    best = xp.max(xp.where(free, q_tp1, NEVER), axis=-1)
    return xp.where(xp.any(free, axis=-1), best, xp.zeros_like(best))


def one_step(r_t: Any, discount_t: Any, q_tp1: Any, available_tp1: Any) -> Any:
    """``r_t + discount_t max_a q(s_{t+1}, a)`` (Watkins & Dayan 1992, "Q-learning").

    Args:
        r_t: (...).
        discount_t: (...), 0 at a terminal step.
        q_tp1: (..., K), of a target network or a stabilised online one.
        available_tp1: (..., K).

    Returns:
        (...).
    """
    return r_t + discount_t * greedy_value(q_tp1, available_tp1)


def double_q(
    r_t: Any, discount_t: Any, q_tp1_select: Any, q_tp1_value: Any, available_tp1: Any = None
) -> Any:
    """``r_t + discount_t q_value(s_{t+1}, argmax_a q_select(s_{t+1}, a))``.

    One network chooses, another values the choice, so that the luck of the choice does not enter its value
    (van Hasselt, Guez & Silver 2016, "Deep reinforcement learning with double Q-learning", eq. 4). Where nothing
    follows the value may be anything, even infinite, and does not reach the target.

    Args:
        r_t: (...), perhaps summed over n steps.
        discount_t: (...), then to the power n; 0 at a terminal step.
        q_tp1_select: (..., K); a leading axis, of ensemble members, may be missing from the other arguments.
        q_tp1_value: (..., K).
        available_tp1: (..., K); None when all actions are.

    Returns:
        (...), of the axes of `q_tp1_select`.
    """
    if isinstance(q_tp1_select, np.ndarray):
        free = True if available_tp1 is None else _bool(np, available_tp1)
        best = np.where(free, q_tp1_select, NEVER).argmax(axis=-1)
        value = np.take_along_axis(q_tp1_value, best[..., None], axis=-1)[..., 0]
        return r_t + discount_t * np.where(np.greater(discount_t, 0.0), value, 0.0)
    import tensorflow as tf  # a few plain operations: this is part of every update

    if available_tp1 is not None:
        q_tp1_select = tf.where(tf.cast(available_tp1, tf.bool), q_tp1_select, NEVER)
    best = tf.argmax(q_tp1_select, axis=-1, output_type=tf.int32)
    value = tf.gather(q_tp1_value, best, batch_dims=len(q_tp1_value.shape) - 1)
    return r_t + discount_t * tf.where(discount_t > 0.0, value, 0.0)


def chain(terminated_t: Bools, truncated_t: Bools, discount: float) -> tuple[Array, Bools]:
    """What the ends of episodes mean for targets.

    Args:
        terminated_t: (T, ...) nothing follows step t.
        truncated_t: (T, ...) the episode was cut after step t by a limit on top.
        discount: g.

    Returns:
        ``discount_t`` (T, ...), 0 where terminated; ``goes_on_t`` (T, ...), whether row t + 1 continues row t.
    """
    return np.where(terminated_t, 0.0, discount), ~(terminated_t | truncated_t)


def n_step(r_t: Array, discount_t: Array, v_tp1: Array, goes_on_t: Bools, n: int) -> Array:
    """Sum `n` rewards, then bootstrap; earlier where the chain ends (Sutton & Barto 2018, eq. 7.1).

    ``G_t = r_t + d_t (r_{t+1} + d_{t+1} (... r_{t+m-1} + d_{t+m-1} v_{t+m}))``, m = n, or fewer at the end of an
    episode or of the rollout.

    Args:
        r_t: (T, ...).
        discount_t: (T, ...), 0 at a terminal step.
        v_tp1: (T, ...) value of the state after step t; of a truncated step, that of the last state of the episode.
        goes_on_t: (T, ...) whether row t + 1 continues row t; the last row goes on to nothing.
        n: at least 1.

    Returns:
        (T, ...).
    """
    if n < 1:
        raise UsageError(
            detail=f"n-step: write 1 or more, not {n}", detail_zh=f"n 步：请写 1 或更大的数，而不是 {n}"
        )
    steps = len(r_t)
    out = r_t + discount_t * v_tp1
    for _ in range(n - 1):
        # What the next row knows with one step less; each pass lengthens every chain by one.
        longer = r_t[:-1] + discount_t[:-1] * out[1:]
        out = np.concatenate([np.where(goes_on_t[:-1], longer, out[:-1]), out[steps - 1 :]])
    return np.asarray(out)


def q_lambda(r_t: Array, discount_t: Array, v_tp1: Array, trace_tp1: Array) -> Array:
    """``G_t = r_t + discount_t [trace_{t+1} G_{t+1} + (1 - trace_{t+1}) v_{t+1}]``, backwards in time.

    With ``v = max_a q`` and a constant trace lambda it is the target of PQN (Gallici et al. 2025, "Simplifying deep
    temporal difference learning", ICLR), which is Peng's Q(lambda) (Peng & Williams 1996, "Incremental multi-step
    Q-learning"): exploratory actions do not cut it. With `watkins_trace` they do. The trace is 0 where row t + 1 does
    not continue row t; of the last row it is not read, the rollout ends there and bootstraps.

    Args:
        r_t: (T, ...).
        discount_t: (T, ...), 0 at a terminal step.
        v_tp1: (T, ...) value of the state after step t.
        trace_tp1: (T, ...), between 0 (one step) and 1 (the whole return).

    Returns:
        (T, ...).
    """
    out = np.empty(np.shape(r_t))
    out[-1] = r_t[-1] + discount_t[-1] * v_tp1[-1]
    for t in range(len(out) - 2, -1, -1):
        trace = trace_tp1[t]
        out[t] = r_t[t] + discount_t[t] * (trace * out[t + 1] + (1.0 - trace) * v_tp1[t])
    return out


def watkins_trace(q_tp1: Array, a_tp1: NDArray[np.int64], available_tp1: Bools, trace: float) -> Array:
    """`trace` where the next action is a greedy one, else 0 (Watkins 1989; Sutton & Barto 2018, section 12.10).

    Args:
        q_tp1: (..., K).
        a_tp1: (...), the action that was taken.
        available_tp1: (..., K).
        trace: lambda.

    Returns:
        (...).
    """
    best = np.where(available_tp1, q_tp1, NEVER).max(axis=-1)
    taken = np.take_along_axis(q_tp1, a_tp1[..., None], axis=-1)[..., 0]
    return np.where(taken >= best, trace, 0.0)
