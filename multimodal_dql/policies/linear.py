"""Contextual bandits on one shared linear model of the reward: LinUCB and linear Thompson sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.exploration.sketch import SKETCH, random_signs, sketched
from multimodal_dql.policies.base import Policy, PolicyError, check_option, epsilon_floor, split_best
from multimodal_dql.state import State

__all__ = ["JointFeatures", "LinUcb", "LinearPolicy", "LinearThompson", "RidgeModel"]

Array = NDArray[np.float64]

CELLS = 1 << 22
"""Sampled scores held at once (32 MB)."""


class JointFeatures:
    """A candidate in a context as one row: ``x = [1, content, context, content x context]``.

    The P C products are all taken while there are no more than 64; otherwise `multimodal_dql.exploration.sketch` stands
    for them.

    Args:
        content: P, columns of content.
        context: C, columns of context.
        seed: of the signs.
    """

    def __init__(self, content: int, context: int, seed: int) -> None:
        self.shape = (content, context)
        self.exact = content * context <= SKETCH
        self.width = 1 + content + context + (content * context if self.exact else SKETCH)
        self._signs = random_signs(content, context, seed, 21, np.float64)

    def __call__(self, content: Array, context: Array) -> Array:
        """Rows of `content` (N, P) and `context` (N, C) to (N, d), d the attribute `width`."""
        if self.exact:
            products = (content[:, :, None] * context[:, None, :]).reshape(len(content), np.prod(self.shape))
        else:
            products = sketched(content, context, self._signs)
        return np.concatenate([np.ones((len(content), 1)), content, context, products], axis=1)


class RidgeModel:
    """``A = ridge I + sum x x'``, ``theta = A^-1 sum r x``: batches are added to A, and A is factored when asked.

    Args:
        width: d.
        ridge: what A starts from, as a multiple of the identity.
    """

    def __init__(self, width: int, ridge: float) -> None:
        self.gram = ridge * np.eye(width)
        self.moment = np.zeros(width)
        self._solved: tuple[Array, Array] | None = None

    def learn(self, x: Array, reward: Array) -> None:
        """Add the rows x (N, d) with their rewards (N,)."""
        self.gram += x.T @ x
        self.moment += x.T @ reward
        self._solved = None

    def solution(self) -> tuple[Array, Array]:
        """The mean theta (d,), and the inverse (d, d) of the Cholesky factor: ``x' A^-1 x = |inverse x|^2``."""
        if self._solved is None:
            # A triangular solver would do half the work; on small factors its threads cost far more than that.
            inverse = np.tril(np.linalg.inv(np.linalg.cholesky(self.gram)))
            self._solved = inverse.T @ (inverse @ self.moment), inverse
        return self._solved


class LinearPolicy(Policy):
    """What LinUCB and linear Thompson sampling share: the model, and learning it in `update`.

    Columns are those of `JointFeatures`, from `State.content` and `State.context`; counts are not read. The first state
    fixes their number. All items and candidates share one model, so it speaks of variants it has never shown.
    """

    def __init__(self, ridge: float, seed: int) -> None:
        self.ridge = check_option(self.name, "ridge", ridge, 1e-9)
        self.seed = int(check_option(self.name, "seed", seed, 0, 2**63 - 1))
        self.reset()

    def reset(self) -> None:
        """Forget everything learned."""
        self.features: JointFeatures | None = None
        self.model: RidgeModel | None = None
        self.updates = 0

    def update(self, state: State, action: NDArray[np.int64], reward: Array) -> None:
        """See `Policy`."""
        features = self._features(state)
        if self.model is None:
            self.features, self.model = features, RidgeModel(features.width, self.ridge)
        shown = state.content[np.arange(len(action)), action].astype(np.float64)
        x = features(shown, state.context.astype(np.float64))
        self.model.learn(x, np.asarray(reward, dtype=np.float64))
        self.updates += 1

    def _features(self, state: State) -> JointFeatures:
        """How this state becomes rows; raises `PolicyError` if it differs from what was learned."""
        shape = (state.content.shape[2], state.context.shape[1])
        if self.features is None:
            return JointFeatures(*shape, self.seed)
        if self.features.shape != shape:
            was = self.features.shape
            raise PolicyError(
                name=self.name,
                detail=f"learned from {was[0]} content and {was[1]} context columns, this state has {shape[0]} and "
                f"{shape[1]}; reset() it before other data",
                detail_zh=f"学习时内容 {was[0]} 列、上下文 {was[1]} 列，此状态为 {shape[0]} 列和 {shape[1]} 列；"
                "换数据前请先 reset()",
            )
        return self.features

    def _rows(self, state: State) -> tuple[Array, RidgeModel]:
        """Every candidate as a row (B, K, d), and the model, empty before the first update."""
        features = self._features(state)
        b, k, p = state.content.shape
        content = state.content.reshape(b * k, p).astype(np.float64)
        context = np.repeat(state.context.astype(np.float64), k, axis=0)
        model = self.model or RidgeModel(features.width, self.ridge)
        return features(content, context).reshape(b, k, features.width), model


class LinUcb(LinearPolicy):
    """The highest ``theta' x + alpha sqrt(x' A^-1 x)``.

    Li, Chu, Langford and Schapire, WWW 2010, with one model shared by all arms (their section 3.2 keeps one an arm
    beside it; variants here come and go). Rewards of one batch are learned together, which gives the same A and theta.

    Args:
        alpha: width in units of the reward. .25 is two standard deviations of a click at 1.4 %; take 1 or more for
            rewards that vary by about 1.
        ridge: 1 as in the paper: a coefficient is worth one impression until data speak.
        epsilon: share of choices dealt evenly; 0 is the paper's. Without it most propensities are 0.
        seed: of the sketched interactions.
    """

    name = "linucb"

    def __init__(
        self, alpha: float = 0.25, ridge: float = 1.0, epsilon: float = 0.0, *, seed: int = 0
    ) -> None:
        self.alpha = check_option(self.name, "alpha", alpha, 0.0)
        self.epsilon = check_option(self.name, "epsilon", epsilon, 0.0, 1.0)
        super().__init__(ridge, seed)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        x, model = self._rows(state)
        theta, inverse = model.solution()
        width = np.linalg.norm(x @ inverse.T, axis=2)
        best = split_best(x @ theta + self.alpha * width, state.available)
        return epsilon_floor(best, state.available, self.epsilon)


class LinearThompson(LinearPolicy):
    """Each candidate with the probability that its ``theta' x`` is highest, ``theta ~ N(A^-1 b, noise^2 A^-1)``.

    Agrawal and Goyal, ICML 2013. Two candidates: exact, ``Phi((m_1 - m_2) / s)``, s the posterior standard deviation of
    the difference. More: the share of a fixed number of seeded draws of theta, the same for all decisions between two
    updates. The action is drawn from these reported shares, so they are the propensities, exactly; that the shares
    differ from ideal Thompson sampling by up to .016 (one standard error at 1,000 draws) does not bias a log.

    Args:
        noise: standard deviation of a reward given x; .12 is that of a click at 1.4 %.
        ridge: 1; the prior standard deviation of a coefficient is noise / sqrt(ridge).
        epsilon: share of choices dealt evenly, so that no propensity falls below epsilon / K even if no draw favours a
            candidate.
        draws: of theta, in pairs of opposite sign.
        seed: of the draws and the sketched interactions.
    """

    name = "linear-thompson"

    def __init__(
        self,
        noise: float = 0.12,
        ridge: float = 1.0,
        epsilon: float = 0.01,
        draws: int = 1000,
        *,
        seed: int = 0,
    ) -> None:
        self.noise = check_option(self.name, "noise", noise, 1e-9)
        self.epsilon = check_option(self.name, "epsilon", epsilon, 0.0, 1.0)
        self.draws = int(check_option(self.name, "draws", draws, 2, 1_000_000))
        super().__init__(ridge, seed)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        x, model = self._rows(state)
        theta, inverse = model.solution()
        size = state.available.sum(axis=1)
        p = state.available.astype(np.float64)
        p[size == 2] = _best_of_two(x[size == 2], state.available[size == 2], theta, self.noise * inverse)
        many = np.flatnonzero(size > 2)
        if len(many):
            sampled = theta[:, None] + self.noise * (inverse.T @ self._normals(len(theta)))
            rows = max(1, CELLS // (x.shape[1] * sampled.shape[1]))
            for first in range(0, len(many), rows):
                part = many[first : first + rows]
                p[part] = _shares(x[part] @ sampled, state.available[part])
        return epsilon_floor(p, state.available, self.epsilon)

    def _normals(self, width: int) -> Array:
        """Standard normal draws (d, draws), opposite pairs; new ones after each update."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, 22 + self.updates]))
        half = rng.standard_normal((width, (self.draws + 1) // 2))
        return np.concatenate([half, -half], axis=1)


def _best_of_two(x: Array, available: NDArray[np.bool_], theta: Array, root: Array) -> Array:
    """Rows with two available candidates: x (R, K, d), covariance of theta ``root' root``; (R, K)."""
    from scipy.special import ndtr

    out = np.zeros(available.shape)
    slots = np.nonzero(available)[1].reshape(-1, 2)
    row = np.arange(len(slots))
    difference = x[row, slots[:, 0]] - x[row, slots[:, 1]]
    sd = np.linalg.norm(difference @ root.T, axis=1)
    # Equal candidates differ by nothing, in mean and in spread: even odds.
    ratio = (difference @ theta) / np.where(sd > 0, sd, 1.0)
    out[row, slots[:, 0]], out[row, slots[:, 1]] = ndtr(ratio), ndtr(-ratio)
    return out


def _shares(score: Array, available: NDArray[np.bool_]) -> Array:
    """How often each candidate has the highest score (R, K, M) among the M draws, ties split: (R, K)."""
    score = np.where(available[:, :, None], score, -np.inf)
    top = score.max(axis=1, keepdims=True)
    best = score >= top - (1e-12 + 1e-9 * np.abs(top))
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=2))
