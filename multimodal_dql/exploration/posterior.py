"""A Gaussian posterior over the weights of the last layer, with block scales learned from the data.

The expected reward of a candidate is ``f(phi . w + u_a)``: ``phi`` are the features of the decision
(`multimodal_dql.exploration.features`), ``u_a`` is what sets one candidate apart beyond its features (its own
effect), and ``f`` is the logistic function for clicks or the identity for other rewards.

Formulas:
    Prior ``w_j ~ N(0, 1 / tau_block)``, ``u_a ~ N(0, 1 / tau_own)``: one precision a block of features.
    Laplace approximation (Bishop 2006, section 4.5): precision ``X' W X + diag(tau)``, mean by damped Newton steps;
    with the identity link it is exact (Bishop 2006, eqs. 3.53-3.54).
    Between refits each batch of rows takes one Newton step from the last posterior (the same with the last posterior
    as prior): assumed-density filtering.
    Own effects have a diagonal block, so they are eliminated by the Schur complement
    ``X' W X + T - B D^-1 B'``: thousands of them cost little.
    Evidence maximisation (MacKay 1992; Tipping 2001): ``tau = (gamma + k) / (|m|^2 + k / tau_0)`` with
    ``gamma = n - tau trace(Sigma_block)``, the number of weights that the data determine, and ``k`` pseudo-weights at
    the initial precision. A block that explains nothing fades out by itself.

Shape letters: ``F`` features, ``N`` candidates with an own effect, ``S`` samples, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.exploration.rows import Observations

__all__ = ["Link", "Observations", "Posterior", "PosteriorConfig", "expected_reward", "log_likelihood"]

Float = NDArray[np.float64]
Link = Literal["logistic", "identity"]

LARGEST_STEP = 3.0
"""Largest change of a row's score in one Newton step: from far away the quadratic model is no guide."""
BIAS_PRECISION = 0.1
"""Of the intercept: nearly flat."""
SMALLEST_NOISE = 0.25
"""Share of the highest estimate of the noise so far. What a good policy still shows is less noisy than what it has
learned to avoid, and the noise of the rewards that it sees would make it sure of what it no longer tries."""
NOISE_ROWS = 10.0
"""Pseudo-rows whose noise is the rewards' mean square: rewards that happen to be alike at first prove nothing."""


@dataclass(frozen=True)
class PosteriorConfig:
    """Settings of a `Posterior`.

    Attributes:
        link: ``logistic`` for rewards of 0 and 1, ``identity`` for any other.
        samples: S, weight vectors drawn from the posterior; a probability is a multiple of 1 / S.
        scale: of the posterior's standard deviation when sampling; None is .1 for clicks and 1 for other rewards.
            Chapelle & Li 2011 ("An empirical evaluation of Thompson sampling") find .25 to .5 better than 1 over finite
            horizons; of .1, .2 and .3 the first was best for clicks here. Where a mistake is dear and what is avoided
            is never seen again, less than 1 avoids the wrong things for good.
        base_rate: prior mean of a click, where the intercept of the logistic link starts.
        precision: of each block at the start, for rows of content and context of about unit length; ``own`` is that of
            the own effects.
        pseudo_weights: k, how firmly the initial precisions are held. A block that explains nothing ends at
            ``tau_0 (gamma + k) / k`` at the most: with k = 1 useless products still cost clicks.
        batch: rows between two incremental updates.
        first_batch: the same at the start; batches grow with an eighth of the rows.
        growth: a refit follows when the rows have grown by this factor.
        newton_steps: of a refit.
    """

    link: Link = "logistic"
    samples: int = 64
    scale: float | None = None
    base_rate: float = 0.05
    precision: Mapping[str, float] = field(
        default_factory=lambda: {"context": 1.0, "content": 1.0, "products": 1.2, "hidden": 30.0, "own": 30.0}
    )
    pseudo_weights: float = 0.1
    batch: int = 32
    first_batch: int = 8
    growth: float = 1.3
    newton_steps: int = 2

    def __post_init__(self) -> None:
        counts = (self.samples, self.batch, self.first_batch, self.newton_steps, self.growth)
        if not all(count >= 1 for count in counts):
            raise UsageError(
                detail="posterior: samples, batch, first_batch, newton_steps and growth are 1 or more",
                detail_zh="后验：samples、batch、first_batch、newton_steps 和 growth 应不小于 1",
            )
        if not (self.spread >= 0.0 and 0.0 < self.base_rate < 1.0 and self.pseudo_weights > 0.0):
            raise UsageError(
                detail="posterior: scale is 0 or more, base_rate lies between 0 and 1, and pseudo_weights is above 0",
                detail_zh="后验：scale 应不小于 0，base_rate 应在 0 与 1 之间，pseudo_weights 应大于 0",
            )
        wrong = [name for name, value in self.precision.items() if not value > 0.0]
        if wrong:
            raise UsageError(
                detail=f"posterior: the precision of '{wrong[0]}' is above 0",
                detail_zh=f"后验：“{wrong[0]}” 的 precision 应大于 0",
            )

    @property
    def spread(self) -> float:
        """`scale`, or its default for the link."""
        if self.scale is not None:
            return self.scale
        return 0.1 if self.link == "logistic" else 1.0


def expected_reward(score: Any, link: Link) -> Any:
    """``f(score)``."""
    return 1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0))) if link == "logistic" else score


def log_likelihood(reward: float, mean: float, noise: float, link: Link) -> float:
    """Of one reward: Bernoulli, or normal with variance `noise`."""
    if link == "logistic":
        return float(np.log(mean if reward > 0.5 else 1.0 - mean))
    return float(-0.5 * ((reward - mean) ** 2 / noise + np.log(2 * np.pi * noise)))


class Posterior:
    """See the module. `advance` after rows were added; `weights` and `effects` are the current samples.

    Args:
        rows: shared with other posteriors; never changed here.
        blocks: name -> columns of phi; ``bias`` is one column.
        start: number of the first row to learn from.
        config: settings.
        rng: of the samples.

    Attributes:
        weights: (F, S) float32.
        effects: (N, S) float32, own effects of the candidates shown so far.
        mean: (F,), own_mean: (N,).
        noise: variance of a reward about its mean, identity link only.
        precision: current precision of each block.
    """

    def __init__(
        self,
        rows: Observations,
        blocks: Mapping[str, slice],
        start: int,
        config: PosteriorConfig,
        rng: np.random.Generator,
    ) -> None:
        self.rows, self.blocks, self.start, self.config, self.rng = rows, blocks, start, config, rng
        self.precision = {**config.precision}
        f = rows.x.shape[1]
        rate = config.base_rate
        self.prior_mean = np.zeros(f)
        if config.link == "logistic":
            self.prior_mean[blocks["bias"]] = np.log(rate / (1 - rate))
        self.mean, self.own_mean = self.prior_mean.copy(), np.zeros(0)
        self.noise = 1.0
        self.weights: NDArray[np.float32]
        self.effects: NDArray[np.float32]
        self._unit, self._peak = 1e-12, 0.0
        self._gram, self._cross, self._own_weight = np.zeros((f, f)), np.zeros((f, 0)), np.zeros(0)
        self.learned, self._next_refit = start, start + 2 * config.batch
        self._factor()
        self._sample()

    def grow(self, candidates: int) -> None:
        """Make room for the own effects of this many candidates, those that were shown."""
        more = candidates - len(self.own_mean)
        if more <= 0:
            return
        self.own_mean = np.concatenate([self.own_mean, np.zeros(more)])
        self._own_weight = np.concatenate([self._own_weight, np.zeros(more)])
        self._cross = np.concatenate([self._cross, np.zeros((len(self.mean), more))], axis=1)
        fresh = self.rng.standard_normal((more, self.config.samples)) * (
            self.config.spread / np.sqrt(self.precision["own"])
        )
        self.effects = np.concatenate([self.effects, fresh.astype(np.float32)])

    def advance(self) -> bool:
        """Learn from the rows that are new, if a batch is full. Returns whether anything changed."""
        total = self.rows.total
        if total >= self._next_refit:
            self.refit()
            return True
        c = self.config
        if total - self.learned < min(c.batch, max(c.first_batch, (total - self.start) // 8)):
            return False
        step, own_step = self._newton(self.rows.rows(self.learned), fresh=False)
        self.mean, self.own_mean = self.mean + step, self.own_mean + own_step
        self.learned = total
        self._sample()
        return True

    def refit(self) -> None:
        """Fit all rows since `start` anew, then let the evidence set the precisions."""
        part = self.rows.rows(self.start)
        for _ in range(self.config.newton_steps if self.config.link == "logistic" else 1):
            step, own_step = self._newton(part, fresh=True)
            change = self.rows.x[part] @ step.astype(np.float32) + own_step[self.rows.own[part]]
            damping = min(1.0, LARGEST_STEP / max(float(np.abs(change).max(initial=0.0)), 1e-9))
            if self.config.link == "identity":
                damping = 1.0
            self.mean, self.own_mean = self.mean + damping * step, self.own_mean + damping * own_step
        self._set_precisions(part)
        self._factor()
        self.learned = self.rows.total
        size = self.learned - self.start
        self._next_refit = self.start + int(max(size + 2 * self.config.batch, size * self.config.growth))
        self._sample()

    def score(self, x: NDArray[np.float32], own: Any) -> Any:
        """Mean score of rows (n, F) of candidates (n,); -1 is a candidate without an own effect so far."""
        return x @ self.mean + np.where(np.asarray(own) >= 0, np.append(self.own_mean, 0.0)[own], 0.0)

    def score_left_out(self, x: NDArray[np.float32], part: slice) -> Float:
        """Score of kept rows, each as if its candidate's own effect had not seen that row, (n,).

        One Newton step backwards, ``u - (reward - f(score)) / (precision - weight)``: what was shown once has no own
        effect left.

        Args:
            x: features of the rows, (n, F).
            part: which rows.
        """
        own = self.rows.own[part]
        score = self.score(x, own)
        mean = expected_reward(score, self.config.link)
        weight = mean * (1.0 - mean) if self.config.link == "logistic" else 1.0 / self.noise
        error = self.rows.reward[part] - mean
        if self.config.link == "identity":
            error = error / self.noise
        # A row that came after the last update is not in the precision yet.
        without = np.maximum(self._own_weight[own] - weight, 0.0) + self.precision["own"]
        return np.asarray(score - error / without, np.float64)

    def _newton(self, part: slice, *, fresh: bool) -> tuple[Float, Float]:
        """One step from the current mean on these rows; `fresh` forgets what was summed before."""
        x, own = self.rows.x[part], self.rows.own[part]
        z = (x @ self.mean.astype(np.float32)).astype(np.float64) + self.own_mean[own]
        q = expected_reward(z, self.config.link)
        if self.config.link == "logistic":
            weight, error = q * (1.0 - q), self.rows.reward[part] - q
        else:
            weight, error = np.full(len(z), 1.0 / self.noise), (self.rows.reward[part] - q) / self.noise
        gram, cross, own_weight = _moments(x, own, weight, len(self.own_mean))
        slope = (x.T @ error.astype(np.float32)).astype(np.float64)
        own_slope = np.asarray(np.bincount(own, error, minlength=len(self.own_mean)), np.float64)
        if fresh:
            self._gram, self._cross, self._own_weight = gram, cross, own_weight
            slope -= self._diagonal() * (self.mean - self.prior_mean)
            own_slope = own_slope - self.precision["own"] * self.own_mean
        else:
            self._gram += gram
            self._cross += cross
            self._own_weight += own_weight
        self._factor()
        return self._solve(slope, own_slope)

    def _diagonal(self) -> Float:
        out = np.full(len(self.mean), BIAS_PRECISION)
        for name, part in self.blocks.items():
            if name != "bias":
                out[part] = self.precision[name]
        return out

    def _factor(self) -> None:
        """Cholesky factor of the Schur complement; only candidates with rows have a cross block."""
        self._seen = np.flatnonzero(self._own_weight)
        self._own_precision = self._own_weight + self.precision["own"]
        cross = self._cross[:, self._seen]
        self._ratio = cross / self._own_precision[self._seen]
        matrix = self._gram - self._ratio @ cross.T
        matrix[np.diag_indices(len(matrix))] += self._diagonal()
        self._lower = _cholesky(matrix)

    def _solve(self, slope: Float, own_slope: Float) -> tuple[Float, Float]:
        """Precision^-1 times a gradient."""
        from scipy.linalg import cho_solve

        step = cho_solve((self._lower, True), slope - self._ratio @ own_slope[self._seen], check_finite=False)
        own_step = own_slope / self._own_precision
        own_step[self._seen] -= self._ratio.T @ step
        return step, own_step

    def _sample(self) -> None:
        """Draw S weight vectors and own effects."""
        c = self.config
        z = self.rng.standard_normal((len(self.mean), c.samples))
        error = _triangular(self._lower, z, transposed=True)
        self.weights = (self.mean[:, None] + c.spread * error).astype(np.float32)
        own = (
            self.rng.standard_normal((len(self.own_mean), c.samples)) / np.sqrt(self._own_precision)[:, None]
        )
        own[self._seen] -= self._ratio.T @ error
        self.effects = (self.own_mean[:, None] + c.spread * own).astype(np.float32)

    def _set_precisions(self, part: slice) -> None:
        """Evidence maximisation, one round; and the noise of the identity link."""
        inverse = _triangular(self._lower, np.eye(len(self.mean)))
        variance = np.sum(inverse**2, axis=0)
        unit = self._reward_unit(part)
        determined = 1.0
        for name, block in self.blocks.items():
            if name != "bias":
                gamma = max(block.stop - block.start - self.precision[name] * variance[block].sum(), 0.0)
                determined += gamma
                self._set_precision(name, gamma, self.mean[block], unit)
        own = 1.0 / self._own_precision
        own[self._seen] += np.sum((inverse @ self._ratio) ** 2, axis=0)
        gamma = max(len(own) - self.precision["own"] * own.sum(), 0.0)
        self._set_precision("own", gamma, self.own_mean, unit)
        if self.config.link == "identity":
            rest = self.rows.reward[part] - self.score(self.rows.x[part], self.rows.own[part])
            free = max(len(rest) - determined - gamma, 0.0)
            noise = (float(rest @ rest) + NOISE_ROWS * unit) / (free + NOISE_ROWS)
            self._peak = max(self._peak, noise)
            previous, self.noise = self.noise, max(noise, SMALLEST_NOISE * self._peak)
            change = previous / self.noise
            self._gram, self._cross = self._gram * change, self._cross * change
            self._own_weight = self._own_weight * change

    def _set_precision(self, name: str, determined: float, weights: Float, unit: float) -> None:
        """MacKay's fixed point for one block; its initial precision is per unit of reward."""
        k = self.config.pseudo_weights
        square = float(weights @ weights)
        self.precision[name] = (determined + k) / (square + k * unit / self.config.precision[name])

    def _reward_unit(self, part: slice) -> float:
        """Mean square of the rewards at its highest, what the weights of the identity link scale with; 1 for clicks."""
        if self.config.link == "logistic":
            return 1.0
        self._unit = max(self._unit, float(np.mean(self.rows.reward[part] ** 2)))
        return self._unit


def _moments(
    x: NDArray[np.float32], own: NDArray[np.int32], weight: Float, candidates: int
) -> tuple[Float, Float, Float]:
    """``X' W X`` (F, F), ``X' W Z`` (F, N) and the diagonal of ``Z' W Z`` (N,), Z the candidates' indicators."""
    from scipy.sparse import csr_matrix

    scaled = x * np.sqrt(weight)[:, None].astype(np.float32)
    indicator = csr_matrix((weight, (own, np.arange(len(own)))), shape=(candidates, len(own)))
    return (
        (scaled.T @ scaled).astype(np.float64),
        np.ascontiguousarray((indicator @ x).T, dtype=np.float64),
        np.asarray(np.bincount(own, weight, minlength=candidates), np.float64),
    )


def _cholesky(matrix: Float) -> Float:
    """Lower factor; what rounding made indefinite gets the smallest power of ten on its diagonal that cures it."""
    from scipy.linalg import LinAlgError, cholesky

    size = float(np.mean(np.diag(matrix)))
    for power in range(-12, 0):
        try:
            return np.asarray(cholesky(matrix, lower=True, check_finite=False))
        except LinAlgError:
            matrix = matrix + 10.0**power * size * np.eye(len(matrix))
    raise FloatingPointError("the precision of the last layer is not positive definite")


def _triangular(lower: Float, right: Float, *, transposed: bool = False) -> Float:
    from scipy.linalg import solve_triangular

    return np.asarray(
        solve_triangular(lower, right, lower=True, trans="T" if transposed else "N", check_finite=False)
    )
