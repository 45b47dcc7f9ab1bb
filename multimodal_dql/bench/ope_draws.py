"""The logs behind the published tables of off-policy evaluation, drawn again number by number.

The tables stand in the examples of zr-obp (Saito, Aihara, Matsutani & Narita 2021). Their figures depend on which
random numbers are drawn in which order; each function says so. ``RandomState(s)`` is NumPy's legacy Mersenne Twister
with seed s, whose streams NumPy promises to keep.

Shape letters: ``N`` decisions, ``F`` columns of the context, ``A`` actions, ``P`` positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.open_bandit import OpenBandit
from multimodal_dql.errors import EventsError

__all__ = [
    "Log",
    "bts_distribution",
    "cross_fitted",
    "digits_log",
    "open_bandit_log",
    "read_bts_prior",
    "synthetic_log",
]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

FOLD_SEED = MODEL_SEED = 12345
INVERSE_PENALTY = 100.0
"""C of every logistic regression of the examples: the log loss weighs C, half the squared coefficients 1."""
TOLERANCE = 1e-8
"""Where a fit stops shows in the third digit of the Open Bandit table: scikit-learn's 1e-4 bounded the gradient of a
sum over rows when the tables were made (direct method .156875) and bounds that of the mean now (.152296). Here fits go
on to the optimum (.156878), which a stricter test of either kind gives; published is .156876."""


@dataclass(frozen=True)
class Log:
    """A log with what is needed to judge an estimate of the target policy's value.

    Attributes:
        action: (N,).
        reward: (N,) 0 or 1.
        propensity: (N,).
        target: (N, A) of the target policy, at the position of the row where there are several.
        predicted: (N, A) cross-fitted reward model, likewise.
        truth: the target policy's value.
    """

    action: Integers
    reward: Array
    propensity: Array
    target: Array
    predicted: Array
    truth: float


def read_bts_prior(path: Path, campaign: str) -> tuple[Array, Array]:
    """Alpha and beta, (A,) each, of the beta priors that the logged Thompson sampling started with.

    The file is YAML of one shape only, ``campaign:`` over ``alpha:`` and ``beta:`` over lines ``- number``; a parser of
    all of YAML would be a dependency for one file.

    Raises:
        EventsError: the file is missing or has another shape, or lacks the campaign.
    """
    found: dict[tuple[str, str], list[float]] = {}
    at, key = "", ""
    try:
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if not words:
                continue
            if words[0] == "-":
                found[at, key].append(float(words[1]))
            elif line[0] != " ":
                at = words[0].removesuffix(":")
            else:
                key = words[0].removesuffix(":")
                found[at, key] = []
        alpha, beta = (np.array(found[campaign, name]) for name in ("alpha", "beta"))
    except (OSError, UnicodeDecodeError, LookupError, ValueError) as error:
        raise _bad_prior(path, campaign) from error
    if len(alpha) != len(beta) or not len(alpha) or not (min(alpha.min(), beta.min()) > 0):
        raise _bad_prior(path, campaign)
    return alpha, beta


def _bad_prior(path: Path, campaign: str) -> EventsError:
    return EventsError(
        path=path,
        detail=f"holds no alpha and beta for '{campaign}'; take the file from obp 0.5.7 (obp/policy/conf) again",
        detail_zh=f"不含 “{campaign}” 的 alpha 与 beta；请重新取用 obp 0.5.7 的该文件（obp/policy/conf）",
    )


def bts_distribution(alpha: Array, beta: Array, *, positions: int, draws: int, seed: int = 12345) -> Array:
    """How often Thompson sampling shows each item at each position, (A, P), over `draws` screens.

    Draws: ``RandomState(seed)``; for each screen one beta variate an item, in the order of items. The P largest are
    shown, the largest first.
    """
    rng = np.random.RandomState(seed)
    counts = np.zeros((len(alpha), positions))
    step = 20_000
    for start in range(0, draws, step):
        rates = rng.beta(alpha, beta, (min(step, draws - start), len(alpha)))
        for position in range(positions):
            best = rates.argmax(1)
            counts[:, position] += np.bincount(best, minlength=len(alpha))
            rates[np.arange(len(rates)), best] = -1
    return counts / draws


def cross_fitted(
    context: Array,
    features: Array,
    action: Integers,
    reward: Array,
    position: Integers | None = None,
    model: Any = None,
) -> Array:
    """Predicted reward of every action by a model that has not seen the row, at the row's position, (N, A).

    A model for each of three folds and each position, of the context beside the features of the action. Draws: the rows
    are permuted by ``RandomState(12345)`` and cut into three; the first N mod 3 folds hold one row more.

    Args:
        context: (N, F).
        features: (A, any) of the actions.
        action: (N,).
        reward: (N,) 0 or 1.
        position: (N,) from 0, or None for one only.
        model: of scikit-learn; logistic regression by default, whose predictions are then a sum of two products.
    """
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    position = np.zeros(len(action), np.int64) if position is None else position
    F, A = context.shape[1], len(features)
    predicted = np.empty((len(action), A))
    for train, test in KFold(3, shuffle=True, random_state=FOLD_SEED).split(context):
        for at in range(position.max() + 1):
            seen, unseen = train[position[train] == at], test[position[test] == at]
            fitted = clone(logistic() if model is None else model)
            fitted.fit(np.c_[context[seen], features[action[seen]]], reward[seen])
            if isinstance(fitted, LogisticRegression):
                of = fitted.coef_[0]
                logit = (context[unseen] @ of[:F])[:, None] + features @ of[F:] + fitted.intercept_[0]
                predicted[unseen] = 1 / (1 + np.exp(-logit))
            else:
                rows = np.c_[np.repeat(context[unseen], A, 0), np.tile(features, (len(unseen), 1))]
                predicted[unseen] = fitted.predict_proba(rows)[:, 1].reshape(-1, A)
    return predicted


def logistic(*, several: bool = False) -> Any:
    """The examples' logistic regression of two classes or `several`, at its optimum.

    The examples used L-BFGS throughout; Newton's method ends at the same place in a tenth of the time, but is for two
    classes only in the older scikit-learn that is allowed here.
    """
    from sklearn.linear_model import LogisticRegression

    solver = "lbfgs" if several else "newton-cholesky"
    return LogisticRegression(
        C=INVERSE_PENALTY, max_iter=10_000, tol=TOLERANCE, solver=solver, random_state=MODEL_SEED
    )


def open_bandit_log(logged: OpenBandit, distribution: Array, truth: float, run: int) -> Log:
    """A resample of the logged rows with replacement. Draws: ``RandomState(run).choice(N, N)``.

    Args:
        logged: by the random policy.
        distribution: of the Thompson sampling policy, (A, P).
        truth: mean reward under that policy's own log.
        run: from 0.
    """
    rows = np.random.RandomState(run).choice(len(logged.action), len(logged.action))
    action, reward, position = logged.action[rows], logged.reward[rows], logged.position[rows]
    predicted = cross_fitted(logged.context[rows], logged.action_context, action, reward, position)
    return Log(action, reward, logged.pscore[rows], distribution[:, position].T, predicted, truth)


def synthetic_log(
    run: int, *, rows: int = 10_000, actions: int = 30, width: int = 5, beta: float = -3.0
) -> Log:
    """A log of a softmax policy in a logistic world, and a target learned from another log of the same length.

    The logit of a reward is theta_x'x + theta_a'a + x'Ma with x = (1, context) and a = (1, one-hot action),
    standardised over the log; the logging policy is the softmax of beta times the expected reward. (So it is in obp
    0.5.5, and the table is of such a version; 0.5.7 lost a pair of brackets and draws another world.) The target:
    multinomial logistic regression of the action on the context with weights reward / propensity, on the first log;
    its probabilities through a softmax once more.

    Draws: from ``RandomState(run)`` in order, contexts (rows, width) standard normal and rewards Bernoulli, for the
    first log and then the second. From a fresh ``RandomState(run)`` for each log: theta_x, theta_a, M uniform on
    (-1, 1), so they are the same for both; and from another fresh one a uniform a row, which picks the first action
    whose cumulative probability exceeds it.
    """
    rng = np.random.RandomState(run)
    hot = np.eye(actions)

    def draw() -> tuple[Array, Array, Integers, Array, Array]:
        context = rng.normal(size=(rows, width))
        expected = _logistic_world(context, hot, np.random.RandomState(run))
        logging = softmax(beta * expected)
        action = _pick(logging, np.random.RandomState(run))
        reward = rng.binomial(1, expected[np.arange(rows), action]).astype(np.float64)
        return context, expected, action, reward, logging[np.arange(rows), action]

    context, _, action, reward, propensity = draw()
    learner = logistic(several=True).fit(context, action, sample_weight=reward / propensity)
    context, expected, action, reward, propensity = draw()
    target = softmax(learner.predict_proba(context))
    truth = float((target * expected).sum(1).mean())
    return Log(action, reward, propensity, target, cross_fitted(context, hot, action, reward), truth)


def _logistic_world(context: Array, hot: Array, rng: np.random.RandomState) -> Array:
    """Expected rewards, (N, A)."""
    x = np.c_[np.ones(len(context)), context]
    a = np.c_[np.ones(len(hot)), hot]
    of_context = rng.uniform(-1, 1, x.shape[1])
    of_action = rng.uniform(-1, 1, a.shape[1])
    of_both = rng.uniform(-1, 1, (x.shape[1], a.shape[1]))
    logit = (x @ of_context)[:, None] + a @ of_action + x @ of_both @ a.T
    logit = (logit - logit.mean()) / logit.std()
    return np.asarray(1 / (1 + np.exp(-logit)), np.float64)


def digits_log(run: int, *, logging_share: float = 0.4, target_share: float = 0.9) -> Log:
    """Handwritten digits as a bandit: an action is a guess of the digit, its reward whether it is right.

    The logging policy plays a logistic regression's guess with probability `logging_share` and else any digit, the
    target a random forest's with `target_share`; the reward model is gradient boosting. Pixels 0 to 16.

    Draws: 30 % of the pictures, ``train_test_split(random_state=run)``, train both policies; the rest are the log. From
    ``RandomState(run)`` one uniform a row, which picks the first action whose cumulative probability exceeds it.
    """
    from sklearn.datasets import load_digits
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.model_selection import train_test_split

    pixels, digit = load_digits(return_X_y=True)
    x_train, x, y_train, y = train_test_split(pixels, digit, test_size=0.7, random_state=run)
    forest = RandomForestClassifier(
        n_estimators=30, max_depth=5, min_samples_leaf=10, random_state=MODEL_SEED, n_jobs=1
    )
    boosting = GradientBoostingClassifier(
        n_estimators=30, learning_rate=0.01, max_depth=5, min_samples_leaf=10, random_state=MODEL_SEED
    )
    logging, target = (
        share * np.eye(10)[model.fit(x_train, y_train).predict(x)] + (1 - share) / 10
        for share, model in ((logging_share, logistic(several=True)), (target_share, forest))
    )
    action = _pick(logging, np.random.RandomState(run))
    rows = np.arange(len(y))
    reward = (action == y).astype(np.float64)
    predicted = cross_fitted(x, np.eye(10), action, reward, model=boosting)
    return Log(action, reward, logging[rows, action], target, predicted, float(target[rows, y].mean()))


def _pick(probabilities: Array, rng: np.random.RandomState) -> Integers:
    """An action a row, (N,)."""
    drawn = rng.uniform(size=len(probabilities))[:, None]
    return np.asarray((probabilities.cumsum(1) > drawn).argmax(1), np.int64)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float64)
