"""Linear models for the estimators of embeddings and of steps: sums in one pass, then a closed form.

Both are cross-fitted: units fall into folds by a hash, and a unit is predicted from the other folds' sums. Both merge.

Shape letters: B rows, T steps, K candidates, F features, C clusters.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.decisions import mixed

__all__ = ["ConjunctModel", "FittedQ", "folds_of"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Keys = NDArray[np.uint64]


def folds_of(unit: Keys, folds: int) -> Integers:
    """Fold of each unit, (B,): by a hash of its own, independent of the groups of the estimators."""
    return (mixed(np.asarray(unit, np.uint64), 1) % np.uint64(folds)).astype(np.int64)


class _CrossFitted:
    """Sums by fold that merge."""

    sums: dict[str, Array]

    def __init__(self, folds: int, ridge: float, *, shape: tuple[object, ...]) -> None:
        if folds < 2 or not ridge >= 0:
            raise UsageError(
                detail="cross-fitting needs 2 folds or more, and a ridge of 0 or more",
                detail_zh="交叉拟合需要至少 2 折，且岭系数不能为负",
            )
        self.folds, self.ridge = folds, float(ridge)
        self.shape = (folds, float(ridge), *shape)

    def merge(self, other: _CrossFitted) -> Self:
        """Add what another model of the same shape has seen."""
        if type(other) is not type(self) or other.shape != self.shape:
            raise UsageError(
                detail="these two models have other settings and cannot be merged",
                detail_zh="这两个模型的设置不同，不能合并",
            )
        self.sums = {name: held + other.sums[name] for name, held in self.sums.items()}
        return self

    def train(self) -> dict[str, Array]:
        """For each fold the sums of all others."""
        others = [[k for k in range(self.folds) if k != fold] for fold in range(self.folds)]
        return {name: np.stack([held[k].sum(0) for k in others]) for name, held in self.sums.items()}


class FittedQ(_CrossFitted):
    """Fitted-Q evaluation with a linear Q, q(s, a) = w . f(s, a) (Le, Voloshin & Yue 2019; Lagoudakis & Parr 2003).

    One w for all steps, the fixed point of ``w = (F'F + ridge)^-1 F'(r + discount F_next w)``: solved at once, which is
    where the iterations of fitted-Q evaluation end if they end, or after so many iterations from 0 if `iterations` is
    given (with a discount below 1 but features that generalise badly, they may not end). With `steps`, one w for each
    step, fitted from the last to the first: exact in one sweep, right for slates and for finite sessions.

    A session that was cut off counts as ended. Rows of padding have features 0.

    Args:
        width: F.
        discount: of a step, in [0, 1].
        steps: T for a w of each step, or None for one of all.
        ridge: added to the diagonal; an intercept among the features is shrunk like the rest.
        iterations: of fitted-Q evaluation, or None for its fixed point; not with `steps`.
        folds: of cross-fitting.
    """

    def __init__(
        self,
        width: int,
        *,
        discount: float = 1.0,
        steps: int | None = None,
        ridge: float = 1.0,
        iterations: int | None = None,
        folds: int = 5,
    ) -> None:
        if not 0 <= discount <= 1 or (steps is not None and iterations is not None):
            raise UsageError(
                detail="a discount lies between 0 and 1; give steps or iterations, not both",
                detail_zh="折扣应在 0 与 1 之间；steps 与 iterations 只能给一个",
            )
        super().__init__(folds, ridge, shape=(width, discount, steps, iterations))
        self.width, self.discount, self.steps, self.iterations = width, float(discount), steps, iterations
        S = steps or 1
        self.sums = {
            "gram": np.zeros((folds, S, width, width)),
            "next": np.zeros((folds, S, width, width)),
            "reward": np.zeros((folds, S, width)),
        }

    def update(self, unit: Keys, features: Array, reward: Array, target_features: Array) -> Self:
        """Add sessions.

        Args:
            unit: (B,).
            features: (B, T, F) f(s, a) of what was chosen.
            reward: (B, T).
            target_features: (B, T, F) the target policy's mean of f(s, .) over the candidates of the step.
        """
        self._fits(features, target_features)
        after = np.concatenate([target_features[:, 1:], np.zeros_like(target_features[:, :1])], 1)
        one = "btf,btg->tfg" if self.steps else "btf,btg->fg"
        fold = folds_of(unit, self.folds)
        for k in np.unique(fold):
            f, r, n = features[fold == k], reward[fold == k], after[fold == k]
            self.sums["gram"][k] += np.einsum(one, f, f)
            self.sums["next"][k] += np.einsum(one, f, n)
            self.sums["reward"][k] += np.einsum("btf,bt->tf" if self.steps else "btf,bt->f", f, r)
        return self

    def weights(self) -> Array:
        """W of each fold and step, (folds, T or 1, F), fitted without the fold."""
        sums = self.train()
        gram = sums["gram"] + self.ridge * np.eye(self.width)
        found = np.zeros((self.folds, self.steps or 1, self.width))
        try:
            if self.steps:
                ahead = np.zeros((self.folds, self.width))
                for t in reversed(range(self.steps)):
                    goal = sums["reward"][:, t] + self.discount * np.einsum(
                        "kfg,kg->kf", sums["next"][:, t], ahead
                    )
                    ahead = np.linalg.solve(gram[:, t], goal[..., None])[..., 0]
                    found[:, t] = ahead
            elif self.iterations is None:
                left = gram[:, 0] - self.discount * sums["next"][:, 0]
                found[:, 0] = np.linalg.solve(left, sums["reward"][:, 0, :, None])[..., 0]
            else:
                for _ in range(self.iterations):
                    goal = sums["reward"] + self.discount * np.einsum("ksfg,ksg->ksf", sums["next"], found)
                    found = np.linalg.solve(gram, goal[..., None])[..., 0]
        except np.linalg.LinAlgError as error:
            raise _singular() from error
        if not np.isfinite(found).all():
            raise _singular()
        return found

    def predict(self, unit: Keys, features: Array, target_features: Array) -> tuple[Array, Array]:
        """`Steps.shown` and `Steps.direct`, (B, T) each, from the other folds."""
        self._fits(features, target_features)
        w = self.weights()[folds_of(unit, self.folds)]
        w = np.broadcast_to(w, features.shape)
        return np.einsum("btf,btf->bt", features, w), np.einsum("btf,btf->bt", target_features, w)

    def _fits(self, features: Array, target_features: Array) -> None:
        shape = np.shape(features)
        if (
            len(shape) != 3
            or shape != np.shape(target_features)
            or shape[2] != self.width
            or shape[1] != (self.steps or shape[1])
        ):
            raise UsageError(
                detail=f"features have the shape (sessions, {self.steps or 'steps'}, {self.width}), not {shape}",
                detail_zh=f"特征的形状应为（会话数，{self.steps or '步数'}，{self.width}），而不是 {shape}",
            )


def _singular() -> UsageError:
    return UsageError(
        detail="the features leave the model undetermined; raise ridge",
        detail_zh="这些特征不足以确定模型；请增大 ridge",
    )


class ConjunctModel(_CrossFitted):
    """A reward of a cluster's part and a candidate's part, g(cluster) + h . f(x, candidate), for `OffCEM`.

    In the two steps of Saito, Ren & Joachims (2023, section 4): h from the differences of rewards between rows of one
    cluster (their pairwise regression; for a linear h all pairs at once are the scatter around the clusters' means),
    ridge added; then g, each cluster's mean of what h leaves, shrunk to the mean of all by `prior` rows. What g
    gets wrong the weights of `OffCEM` put right; h is what must be learned.

    Args:
        width: F; features are e.g. a catalogue's embeddings, or their products with the context.
        clusters: C.
        ridge: added to the diagonal of the scatter.
        prior: rows that the mean of all counts for in each cluster's.
        folds: of cross-fitting.
    """

    def __init__(
        self, width: int, clusters: int, *, ridge: float = 1.0, prior: float = 10.0, folds: int = 5
    ) -> None:
        super().__init__(folds, ridge, shape=(width, clusters, prior))
        self.width, self.clusters, self.prior = width, clusters, float(prior)
        self.sums = {
            "n": np.zeros((folds, clusters)),
            "f": np.zeros((folds, clusters, width)),
            "r": np.zeros((folds, clusters)),
            "ff": np.zeros((folds, width, width)),
            "fr": np.zeros((folds, width)),
        }

    def update(self, unit: Keys, features: Array, cluster: Integers, reward: Array) -> Self:
        """Add decisions: units (B,), features (B, F) and cluster (B,) of what was shown, rewards (B,)."""
        fold = folds_of(unit, self.folds)
        at = (fold, cluster)
        np.add.at(self.sums["n"], at, 1.0)
        np.add.at(self.sums["f"], at, features)
        np.add.at(self.sums["r"], at, reward)
        for k in np.unique(fold):
            f = features[fold == k]
            self.sums["ff"][k] += f.T @ f
            self.sums["fr"][k] += f.T @ reward[fold == k]
        return self

    def fitted(self) -> tuple[Array, Array]:
        """H (folds, F) and g (folds, C), fitted without the fold."""
        s = self.train()
        n = np.maximum(s["n"], 1.0)  # clusters that were never shown have sums of 0
        within = (
            s["ff"] - np.einsum("kcf,kcg,kc->kfg", s["f"], s["f"], 1 / n) + self.ridge * np.eye(self.width)
        )
        goal = s["fr"] - np.einsum("kcf,kc,kc->kf", s["f"], s["r"], 1 / n)
        try:
            h = np.linalg.solve(within, goal[..., None])[..., 0]
        except np.linalg.LinAlgError as error:
            raise _singular() from error
        left = s["r"] - np.einsum("kcf,kf->kc", s["f"], h)
        mean = left.sum(1) / np.maximum(s["n"].sum(1), 1.0)
        g = (left + self.prior * mean[:, None]) / np.maximum(s["n"] + self.prior, 1e-300)
        return h, g

    def predict(self, unit: Keys, features: Array, clusters: Integers) -> Array:
        """`Decisions.predicted`, (B, K), from the other folds: features (B, K, F) and clusters (B, K) of candidates."""
        h, g = self.fitted()
        fold = folds_of(unit, self.folds)
        return np.asarray(np.einsum("bkf,bf->bk", features, h[fold]) + g[fold[:, None], clusters], np.float64)
