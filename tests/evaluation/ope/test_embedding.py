"""Marginalised weights: by hand, against plain Python, and against a world whose answer is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import (
    DR,
    IPS,
    MIPS,
    SNMIPS,
    Decisions,
    EmbeddedDecisions,
    Estimator,
    Evaluation,
    OffCEM,
    cluster,
    likelihood,
    same_cluster,
)

from .worlds import OF_CANDIDATE, OF_CLUSTER, embedded

# Two decisions of three candidates; candidates 0 and 1 are of one cluster.
CLUSTERED = EmbeddedDecisions(
    unit=np.arange(2, dtype=np.uint64),
    reward=np.array([1.0, 0.5]),
    action=np.array([1, 2]),
    propensity=np.array([0.3, 0.25]),
    target=np.array([[0.6, 0.2, 0.2], [0.1, 0.4, 0.5]]),
    predicted=np.array([[0.5, 0.4, 0.0], [1.0, 0.5, 0.2]]),
    logging=np.array([[0.2, 0.3, 0.5], [0.25, 0.5, 0.25]]),
    likelihood=np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
)
EVERY: list[Callable[[], Estimator]] = [MIPS, SNMIPS, OffCEM]


@pytest.mark.parametrize(
    ("estimator", "by_hand"),
    [
        # Weights of clusters: (.6 + .2) / (.2 + .3) = 1.6 and .5 / .25 = 2.
        (MIPS(), (1.6 * 1 + 2 * 0.5) / 2),  # 1.3
        (SNMIPS(), 2.6 / 3.6),
        # d = .3 + .08 = .38, .1 + .2 + .1 = .4; w (r - q) = 1.6 (1 - .4) = .96, 2 (.5 - .2) = .6
        (OffCEM(), (0.38 + 0.4 + 0.96 + 0.6) / 2),  # 1.17
    ],
    ids=lambda x: x.name if isinstance(x, Estimator) else "",
)
def test_two_rows_by_hand(estimator: Estimator, by_hand: float) -> None:
    assert estimator.update(CLUSTERED).result().value == pytest.approx(by_hand, rel=1e-14)


def random_log(n: int, K: int, seed: int) -> tuple[EmbeddedDecisions, list[np.ndarray], np.ndarray]:
    """Two categories of 3 and 2 values, random given the candidate, and probabilities that depend on the row."""
    rng = np.random.default_rng(seed)
    tables = [rng.dirichlet(np.ones(3), K), rng.dirichlet(np.ones(2), K)]
    logging, target = rng.dirichlet(np.ones(K), n), rng.dirichlet(np.ones(K), n)
    action = (rng.random(n)[:, None] > logging.cumsum(1)).sum(1).clip(0, K - 1)
    seen = np.stack([(rng.random(n)[:, None] > t[action].cumsum(1)).sum(1) for t in tables], 1)
    d = EmbeddedDecisions(
        unit=(np.arange(n) // 2).astype(np.uint64),
        reward=rng.random(n),
        action=action,
        propensity=logging[np.arange(n), action],
        target=target,
        predicted=rng.random((n, K)),
        logging=logging,
        likelihood=likelihood(tables, seen),
    )
    return d, tables, seen


def test_as_plain_python() -> None:
    """The weight by the law of total probability, row by row, candidate by candidate."""
    d, tables, seen = random_log(200, 4, 3)
    assert d.logging is not None
    assert d.predicted is not None
    weights, corrected = [], []
    for i in range(200):
        chance = [math.prod(float(t[k, v]) for t, v in zip(tables, seen[i], strict=True)) for k in range(4)]
        over = math.fsum(float(d.target[i, k]) * chance[k] for k in range(4))
        w = over / math.fsum(float(d.logging[i, k]) * chance[k] for k in range(4))
        weights.append(w)
        direct = math.fsum(float(d.target[i, k]) * float(d.predicted[i, k]) for k in range(4))
        corrected.append(direct + w * (float(d.reward[i]) - float(d.predicted[i, d.action[i]])))
    ips = math.fsum(w * float(r) for w, r in zip(weights, d.reward, strict=True))
    assert MIPS().update(d).result().value == pytest.approx(ips / 200, rel=1e-12)
    assert SNMIPS().update(d).result().value == pytest.approx(ips / math.fsum(weights), rel=1e-12)
    assert OffCEM().update(d).result().value == pytest.approx(math.fsum(corrected) / 200, rel=1e-12)


@pytest.mark.parametrize("make", EVERY)
def test_pieces_equal_the_whole(make: Callable[[], Estimator]) -> None:
    d, _, _ = random_log(300, 4, 5)
    whole = make().update(d).result(bootstraps=20)
    pieces = make()
    for start, stop in itertools.pairwise((0, 7, 120, 300)):
        pieces.merge(make().update(d.part(start, stop)))
    found = pieces.result(bootstraps=20)
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=1e-11)


def test_every_candidate_its_own_cluster_is_ips() -> None:
    d, _, _ = random_log(400, 5, 6)
    own = EmbeddedDecisions(
        d.unit,
        d.reward,
        d.action,
        d.propensity,
        d.target,
        d.predicted,
        d.logging,
        same_cluster(np.tile(np.arange(5), (400, 1)), d.action),
    )
    for over, plain in ((MIPS(), IPS()), (OffCEM(), DR())):
        assert over.update(own).result().value == pytest.approx(plain.update(own).result().value, rel=1e-12)


def test_a_posterior_is_a_likelihood() -> None:
    """p(candidate | embedding) / logging gives the weights of p(embedding | candidate): a row's factor cancels."""
    d, _, _ = random_log(100, 4, 7)
    assert d.logging is not None
    assert d.likelihood is not None
    joint = d.logging * d.likelihood
    posterior = joint / joint.sum(1, keepdims=True)
    other = EmbeddedDecisions(
        d.unit, d.reward, d.action, d.propensity, d.target, None, d.logging, posterior / d.logging
    )
    assert other.marginal_weight == pytest.approx(d.marginal_weight, rel=1e-12)


RUNS, ROWS = 300, 300


def errors(make: Callable[[], Estimator], own: float, predicted: np.ndarray) -> tuple[float, float]:
    """Mean error over logs in standard errors of that mean, and the standard deviation of one."""
    found = []
    for seed in range(RUNS):
        d, truth = embedded(ROWS, seed, own, predicted)
        found.append(make().update(d).result().value - truth)
    deviation = float(np.std(found, ddof=1))
    return float(np.mean(found)) / (deviation / math.sqrt(RUNS)), deviation


def test_mips_is_unbiased_and_narrower_without_an_own_effect() -> None:
    """Means within 4 standard errors: one false alarm in 15,000 each."""
    nothing = np.zeros(24)
    off, deviation = errors(MIPS, 0.0, nothing)
    assert abs(off) < 4
    off, of_ips = errors(IPS, 0.0, nothing)
    assert abs(off) < 4
    assert deviation < 0.7 * of_ips


def test_offcem_needs_the_own_effect_only() -> None:
    """With an own effect MIPS is biased; a model that knows it, and is wrong about clusters, is enough for OffCEM."""
    wrong = np.repeat(0.4 - OF_CLUSTER, 4) / 2
    assert abs(errors(MIPS, 1.0, wrong)[0]) > 10
    off, deviation = errors(OffCEM, 1.0, OF_CANDIDATE + wrong)
    assert abs(off) < 4
    assert deviation < 0.7 * errors(DR, 1.0, OF_CANDIDATE + wrong)[1]


def test_clusters_of_directions() -> None:
    """Three bundles of directions, lengths of no importance; then as many clusters as different directions."""
    rng = np.random.default_rng(0)
    centres = np.eye(4)[:3]
    points = np.repeat(centres, 20, 0) + 0.05 * rng.standard_normal((60, 4))
    found = cluster(points * rng.uniform(0.1, 10, (60, 1)), 3)
    assert sorted(np.bincount(found)) == [20, 20, 20]
    assert all(len(set(found[i : i + 20])) == 1 for i in (0, 20, 40))
    assert (cluster(points, 3, seed=4) == cluster(points, 3, seed=4)).all()
    twice = cluster(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), 9)
    assert twice[0] == twice[1]
    assert len(set(twice)) == 3


def test_clusters_have_settled() -> None:
    """Every direction is nearest to the mean of its own cluster; the first centres alone do not give that here."""
    points = np.random.default_rng(3).standard_normal((200, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for seed in range(5):
        found = cluster(points, 8, seed=seed)
        means = np.array([points[found == c].mean(0) for c in range(8)])
        assert (np.linalg.norm(points[:, None] - means, axis=2).argmin(1) == found).all()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("logging", None, "logging"),
        ("likelihood", np.ones((2, 2)), "likelihood"),
        ("logging", [[0.2, 0.3, 0.6], [0.25, 0.5, 0.25]], "sum to 1"),
        ("logging", [[0.3, 0.2, 0.5], [0.25, 0.5, 0.25]], "propensity"),
        ("likelihood", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "embedding"),
        ("likelihood", [[1.0, math.nan, 0.0], [0.0, 0.0, 1.0]], "embedding"),
    ],
)
def test_a_bad_value_is_refused(field: str, value: object, says: str) -> None:
    names = ("unit", "reward", "action", "propensity", "target", "predicted", "logging", "likelihood")
    given = {name: getattr(CLUSTERED, name) for name in names}
    with pytest.raises(UsageError, match=says) as refused:
        EmbeddedDecisions(**{**given, field: value if value is None else np.asarray(value)})
    assert refused.value.text("zh") != str(refused.value)


@pytest.mark.parametrize(
    ("points", "clusters"), [(np.ones((3, 2)), 0), (np.full((3, 2), np.nan), 2), (np.ones(3), 1)]
)
def test_nothing_to_cluster(points: np.ndarray, clusters: int) -> None:
    with pytest.raises(UsageError, match="embeddings"):
        cluster(points, clusters)


def test_plain_decisions_are_refused() -> None:
    d = CLUSTERED
    for make in EVERY:
        with pytest.raises(UsageError, match="EmbeddedDecisions"):
            make().update(Decisions(d.unit, d.reward, d.action, d.propensity, d.target, d.predicted))


def test_side_by_side_with_the_classic_ones() -> None:
    """An evaluation takes them like its own, and pairs two policies on the same rows."""
    d, truth = embedded(6000, 0, 0.0, np.zeros(24))
    assert d.logging is not None
    logged = EmbeddedDecisions(
        d.unit, d.reward, d.action, d.propensity, d.logging, d.predicted, d.logging, d.likelihood
    )
    ours = Evaluation([MIPS(), OffCEM(), "ips"], bootstraps=0).update(d)
    found = ours.result().estimates
    assert all(abs(e.value - truth) < 4 * e.standard_error for e in found.values())
    assert found["mips"].standard_error < found["ips"].standard_error
    theirs = Evaluation([MIPS(), OffCEM(), "ips"], bootstraps=0).update(logged)
    lift = ours.difference(theirs)["mips"]
    assert lift.value == pytest.approx(found["mips"].value - d.reward.mean(), rel=1e-10)
