"""Which candidate was shown, given its embedding: what `MIPS` needs where nobody knows p(e | x, candidate).

Shape letters: B rows, K candidates, P features of a row, F features of a candidate, H parameters.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.decisions import mixed
from multimodal_dql.evaluation.ope.fitted import folds_of

__all__ = ["ChoiceModel"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Keys = NDArray[np.uint64]


class ChoiceModel:
    """Multinomial logistic regression of the candidate shown, cross-fitted by unit.

    ``p(k | x, e)`` is proportional to ``exp(offset_k + row . w_k + candidate_k . v)``. With ``offset`` the log of the
    logging policy's probabilities and ``row`` the embedding (and the context, if embeddings depend on it) this is
    p(candidate | x, e) of Saito & Joachims (2022, section 3.2), with what is known of the logging policy put in instead
    of learned; divided by those probabilities it is `EmbeddedDecisions.likelihood`. It is exact when e is normal around
    each candidate's mean with one covariance. With many candidates that come and go, `candidate` features are shared.

    Units fall into folds by a hash and are predicted by the other folds. At most `rows` rows are kept to fit on, those
    of the units with the smallest hashes, so memory is bounded, parts merge, and batches do not matter.

    Args:
        candidates: K, for weights of each candidate; 0 for none.
        row: P, features of a row; an intercept is added.
        candidate: F, features of a candidate.
        ridge: penalty of the squared parameters, in rows; features are standardised.
        folds: of cross-fitting.
        rows: kept at most.
    """

    def __init__(
        self,
        candidates: int = 0,
        row: int = 0,
        candidate: int = 0,
        *,
        ridge: float = 1.0,
        folds: int = 5,
        rows: int = 50_000,
    ) -> None:
        if folds < 2 or not ridge > 0 or rows < 1:
            raise UsageError(
                detail="a model of choices needs 2 folds or more, a ridge above 0 and at least one row",
                detail_zh="选择模型需要至少 2 折、正的岭系数以及至少一行数据",
            )
        if not (candidates or candidate) or (row and not candidates):
            raise UsageError(
                detail="a model of choices needs features of candidates, or the number of candidates",
                detail_zh="选择模型需要候选的特征，或候选的数量",
            )
        self.candidates, self.row, self.candidate = candidates, row, candidate
        self.ridge, self.folds, self.rows = float(ridge), folds, rows
        self._kept: dict[str, Any] = self._empty()
        self._fitted: Array | None = None
        self._scale: tuple[Array, ...] = ()

    def _empty(self) -> dict[str, Any]:
        K = self.candidates
        return {
            "hash": np.empty(0, np.uint64),
            "fold": np.empty(0, np.int64),
            "action": np.empty(0, np.int64),
            "offset": np.empty((0, K)),
            "row": np.empty((0, self.row)),
            "candidate": np.empty((0, K, self.candidate)),
        }

    def update(
        self,
        unit: Keys,
        action: Integers,
        offset: Array,
        row: Array | None = None,
        candidate: Array | None = None,
    ) -> Self:
        """Add decisions.

        Args:
            unit: (B,).
            action: (B,) column that was shown.
            offset: (B, K) known part of the score, -inf where a candidate was not on offer.
            row: (B, P).
            candidate: (B, K, F), of any value where not on offer.
        """
        row, candidate = self._whole(offset, row, candidate)
        if not np.isfinite(offset[np.arange(len(action)), action]).all():
            raise UsageError(
                detail="a candidate was shown that was not on offer",
                detail_zh="展示的候选不在可选范围内",
            )
        hashed = mixed(np.asarray(unit, np.uint64), 2)
        new = {
            "hash": hashed,
            "fold": folds_of(unit, self.folds),
            "action": np.asarray(action, np.int64),
            "offset": offset,
            "row": row,
            "candidate": candidate,
        }
        return self._keep(new)

    def merge(self, other: ChoiceModel) -> Self:
        """Add what another model of the same shape has seen."""
        names = ("candidates", "row", "candidate", "ridge", "folds", "rows")
        if any(getattr(self, name) != getattr(other, name) for name in names):
            raise UsageError(
                detail="these two models have other settings and cannot be merged",
                detail_zh="这两个模型的设置不同，不能合并",
            )
        return self._keep(other._kept)

    def _keep(self, new: dict[str, Any]) -> Self:
        self._fitted, self._scale = None, ()
        width = max(self._kept["offset"].shape[1], new["offset"].shape[1])
        both = {
            name: np.concatenate([_wide(name, held[name], width) for held in (self._kept, new)])
            for name in self._kept
        }
        if len(both["hash"]) > self.rows:
            # Whole units: what is kept does not depend on the order in which their rows came.
            limit = np.partition(both["hash"], self.rows)[self.rows]
            both = {name: held[both["hash"] < limit] for name, held in both.items()}
        self._kept = both
        return self

    def predict(
        self, unit: Keys, offset: Array, row: Array | None = None, candidate: Array | None = None
    ) -> Array:
        """p(k | x, e) of every candidate, (B, K), from the other folds; rows sum to 1."""
        row, candidate = self._scaled(*self._whole(offset, row, candidate), offset)
        fold, found = folds_of(unit, self.folds), np.zeros(offset.shape)
        for k in np.unique(fold):
            here = fold == k
            score = self._scores(self.parameters[k], offset[here], row[here], candidate[here])
            found[here] = _softmax(score)
        return found

    @property
    def parameters(self) -> Array:
        """Of each fold, fitted without it, (folds, H): weights and intercept of each candidate, then shared ones."""
        if self._fitted is None:
            self._fitted = self._fit()
        return self._fitted

    def _scaled(self, row: Array, candidate: Array, offset: Array) -> tuple[Array, Array]:
        """Standardised features, with an intercept; those of candidates that are not on offer are 0."""
        if not self._scale:
            kept = self._kept
            on_offer = kept["candidate"][np.isfinite(kept["offset"])]
            self._scale = (*_moments(kept["row"]), *_moments(on_offer))
        row_mean, row_scale, mean, scale = self._scale
        row = np.concatenate([(row - row_mean) / row_scale, np.ones((len(row), 1))], 1)
        return row, np.where(np.isfinite(offset)[..., None], (candidate - mean) / scale, 0.0)

    def _scores(self, parameters: Array, offset: Array, row: Array, candidate: Array) -> Array:
        at = self.candidates * (self.row + 1)
        score = offset + candidate @ parameters[at:]
        if self.candidates:
            score += row @ parameters[:at].reshape(self.candidates, -1).T
        return np.asarray(score, np.float64)

    def _fit(self) -> Array:
        from scipy.optimize import minimize

        kept = self._kept
        parts = kept["offset"], *self._scaled(kept["row"], kept["candidate"], kept["offset"])
        found = np.zeros((self.folds, self.candidates * (self.row + 1) + self.candidate))
        for fold in range(self.folds):
            train = kept["fold"] != fold
            if train.any():
                data = (kept["action"][train], *(part[train] for part in parts))
                found[fold] = minimize(self._loss, found[fold], data, jac=True, method="L-BFGS-B").x
        return found

    def _loss(
        self, parameters: Array, action: Integers, offset: Array, row: Array, candidate: Array
    ) -> tuple[float, Array]:
        """Mean negative log likelihood with the penalty, and its gradient."""
        n, rows = len(action), np.arange(len(action))
        chance = _softmax(self._scores(parameters, offset, row, candidate))
        loss = -np.log(np.maximum(chance[rows, action], 1e-300)).mean()
        chance[rows, action] -= 1
        own = (chance.T @ row).ravel() if self.candidates else np.zeros(0)
        gradient = np.concatenate([own, np.einsum("bk,bkf->f", chance, candidate)])
        penalty = self.ridge / n
        loss += penalty / 2 * parameters @ parameters
        return float(loss), gradient / n + penalty * parameters

    def _whole(self, offset: Array, row: Array | None, candidate: Array | None) -> tuple[Array, Array]:
        """The features, of width 0 where there are none."""
        B, K = offset.shape
        row = np.zeros((B, 0)) if row is None else row
        candidate = np.zeros((B, K, 0)) if candidate is None else candidate
        shapes = np.shape(row), np.shape(candidate)
        if (self.candidates or K) != K or shapes != ((B, self.row), (B, K, self.candidate)):
            raise UsageError(
                detail="the features do not have the shape that this model of choices was made for",
                detail_zh="特征的形状与该选择模型不符",
            )
        return row, candidate


def _softmax(score: Array) -> Array:
    score = np.exp(score - score.max(1, keepdims=True))
    score /= score.sum(1, keepdims=True)
    return score


def _moments(values: Array) -> tuple[Array, Array]:
    """Mean and scale of each column; 0 and 1 without rows or spread."""
    if not len(values):
        return np.zeros(values.shape[-1]), np.ones(values.shape[-1])
    scale = values.std(0)
    return values.mean(0), np.where(scale > 1e-12, scale, 1.0)


def _wide(name: str, held: Any, width: int) -> Any:
    """Padded to as many candidates; padding is not on offer."""
    if name not in ("offset", "candidate") or held.shape[1] == width:
        return held
    fill = -np.inf if name == "offset" else 0.0
    more = [(0, 0), (0, width - held.shape[1]), *([(0, 0)] if name == "candidate" else [])]
    return np.pad(held, more, constant_values=fill)
