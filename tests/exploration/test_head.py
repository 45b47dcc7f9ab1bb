"""The head: reported probabilities, their calibration, and what it forgets."""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multimodal_dql.errors import UsageError
from multimodal_dql.exploration.features import HeadFeatures
from multimodal_dql.exploration.head import (
    LARGEST_VOTE,
    BayesianHead,
    DriftConfig,
    HeadConfig,
    share_best,
)
from multimodal_dql.exploration.posterior import PosteriorConfig
from multimodal_dql.exploration.strangers import Acquaintance

OFF = DriftConfig(watch=False)
BLOCKS = {"bias": slice(0, 1), "content": slice(1, 4)}


def rng_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 6]))


def rows_of(content: Any) -> Any:
    """An intercept before content (K, 3)."""
    return np.concatenate([np.ones((len(content), 1)), content], axis=1).astype(np.float32)


def test_shares_by_hand() -> None:
    """Four samples: the first candidate wins two, the third one, the second one; of a floor of .3 each gets .1."""
    scores = np.array([[3, 0, 5, 1], [1, 2, 0, 0], [2, 1, 1, 9]], np.float32)
    assert share_best(scores).tolist() == [0.5, 0.25, 0.25]
    assert share_best(scores, floor=0.3) == pytest.approx([0.45, 0.275, 0.275])
    only = np.array([False, True, True])
    assert share_best(scores, only) == pytest.approx([0.0, 0.25, 0.75])
    assert share_best(scores, only, 0.2) == pytest.approx([0.0, 0.3, 0.7])
    assert share_best(scores[:1], floor=0.2).tolist() == [1.0]


def test_twins_share_what_they_win() -> None:
    """The first two score alike but for rounding and win two of three samples together: a third each."""
    scores = np.array([[2, 5, 0], [2 * (1 + 1e-7), 5, 0], [1, 1, 9]], np.float32)
    assert share_best(scores) == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert share_best(np.zeros((4, 7), np.float32), floor=0.5).tolist() == [0.25] * 4


@settings(max_examples=100, deadline=None)
@given(
    scores=hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-9, 9, width=32)
    ),
    floor=st.floats(0, 1),
    data=st.data(),
)
def test_shares_are_a_distribution_above_its_floor(scores: Any, floor: float, data: st.DataObject) -> None:
    k = len(scores)
    available = np.array(data.draw(st.lists(st.booleans(), min_size=k, max_size=k).filter(any)))
    p = share_best(scores, available, floor)
    assert p.sum() == pytest.approx(1.0)
    assert (p[~available] == 0).all()
    assert (p[available] >= floor / available.sum() - 1e-12).all()


def learned(seed: int = 0, rounds: int = 100, **config: Any) -> tuple[BayesianHead, Any]:
    """A head that has met 5 of 8 candidates, and the content of all, (8, 3)."""
    rng = rng_of(seed)
    content = rng.standard_normal((8, 3)).astype(np.float32)
    head = BayesianHead(BLOCKS, HeadConfig(seed=seed, **config))
    clicks = 1 / (1 + np.exp(-content @ [1.0, -1.0, 0.5]))
    for k in rng.integers(0, 5, rounds):
        head.learn(rows_of(content)[k], int(k), float(rng.random() < clicks[k]))
    return head, content


def test_new_candidates_do_not_depend_on_order_or_on_who_stands_beside_them() -> None:
    head, content = learned()
    own = np.array([0, 1, 2, 3, 4, -1, -1, -1])
    people = Acquaintance(64, seed=3)
    noise = people.noise(people.keys(content))
    p = head.probabilities(rows_of(content), own, noise)
    order = rng_of(1).permutation(8)
    # Another acquaintance of the same seed that sees them in another order draws the same noise.
    again = Acquaintance(64, seed=3)
    shuffled = again.noise(again.keys(content[order]))
    assert head.probabilities(rows_of(content[order]), own[order], shuffled) == pytest.approx(p[order])
    # Alone, two of them: the shares that they have among the samples in which no other counts.
    pair = np.array([5, 6])
    mask = np.isin(np.arange(8), pair)
    alone = head.probabilities(rows_of(content[pair]), own[pair], again.noise(again.keys(content[pair])))
    assert alone == pytest.approx(head.probabilities(rows_of(content), own, noise, mask)[pair])


def test_a_known_candidate_varies_less_than_a_new_one_with_the_same_content() -> None:
    """After 400 clicks at .5 with own effects of precision 1. About a candidate that was seen so often, own effect and
    intercept together are known to about .1; a new one may be anything within its own effect."""
    posterior = PosteriorConfig(scale=1.0, precision={"content": 1.0, "own": 1.0}, pseudo_weights=1e6)
    head = BayesianHead(BLOCKS, HeadConfig(posterior, OFF))
    x = rows_of(np.zeros((2, 3)))
    rng = rng_of(2)
    for _ in range(400):
        head.learn(x[0], 0, float(rng.random() < 0.5))
    weights, effects = head.active.weights, head.active.effects
    assert (x[0] @ weights + effects[0]).std() < 0.2
    noise = rng.standard_normal((2, 64)).astype(np.float32)
    p = head.probabilities(x, np.array([0, -1]), noise)
    # The new one wins where its noise beats the deviation of the known one: not always, not never.
    assert 0.2 < p[1] < 0.8


def test_probabilities_are_reported_again_until_something_is_learned() -> None:
    head, content = learned(rounds=70)
    own, noise = np.array([0, 1, 2, 3, 4, -1, -1, -1]), np.zeros((8, 64), np.float32)
    first = head.probabilities(rows_of(content), own, noise)
    assert (head.probabilities(rows_of(content), own, noise) == first).all()
    other, _ = learned(rounds=70)
    assert (other.probabilities(rows_of(content), own, noise) == first).all()
    assert first.min() >= head.config.floor / 8 - 1e-12


def test_expected_reward_is_the_click_rate() -> None:
    """4,000 clicks of two candidates, sd of a rate .011: within .05, 4.5 of them; the prior shrinks by less than
    .01."""
    head = BayesianHead(BLOCKS, HeadConfig(drift=OFF))
    x = rows_of([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    rng = rng_of(4)
    for t in range(4000):
        head.learn(x[t % 2], t % 2, float(rng.random() < (0.3, 0.7)[t % 2]))
    assert head.expected(x, np.array([0, 1])) == pytest.approx([0.3, 0.7], abs=0.05)


@pytest.mark.slow
def test_reported_probabilities_are_calibrated_where_the_posterior_is_right() -> None:
    """2,000 worlds drawn from the prior (weights of precision .5, own effects of 4, noise 1), 80 rows, then one
    decision among five candidates, two of them new. Drawn from the reported probabilities, a candidate is truly the
    best as often as its probability says; so is every candidate.

    Some 480 to 840 drawn a bin, a standard error of at most .023, and more than 1,000 of all, .016; tolerances .08 and
    .05, more than three of them, three bins each: a false alarm in 300 runs. Estimating the noise costs about .01."""
    rng = rng_of(7)
    precision = {"content": 0.5, "own": 4.0}
    posterior = PosteriorConfig(
        link="identity", scale=1.0, samples=256, precision=precision, pseudo_weights=1e6
    )
    reported, best, drawn = [], [], []
    for world in range(2000):
        w = np.concatenate([[1.0], rng.standard_normal(3) / math.sqrt(0.5)])
        u = rng.standard_normal(5) / 2
        head = BayesianHead(BLOCKS, HeadConfig(posterior, OFF, floor=0.0, seed=world))
        # Precisions are per unit of reward: hold them at those of the world.
        head.champion._reward_unit = lambda part: 1.0  # type: ignore[method-assign]
        content = rng.standard_normal((80, 3))
        who = rng.integers(0, 3, 80)
        reward = rows_of(content) @ w + u[who] + rng.standard_normal(80)
        for x, k, r in zip(rows_of(content), who, reward, strict=True):
            head.learn(x, int(k), float(r))
        # Close in content, so that the choice is hard.
        x = rows_of(0.3 * rng.standard_normal((5, 3)))
        noise = rng.standard_normal((5, 256)).astype(np.float32)
        p = head.probabilities(x, np.array([0, 1, 2, -1, -1]), noise)
        reported.append(p)
        best.append(np.arange(5) == np.argmax(x @ w + u))
        drawn.append(rng.choice(5, p=p))
    p, won, one = np.array(reported), np.array(best), np.array(drawn)
    chosen_p, chosen_won = p[np.arange(2000), one], won[np.arange(2000), one]
    edges = (0.0, 0.35, 0.7, 1.01)
    for low, high in pairwise(edges):
        part = (chosen_p >= low) & (chosen_p < high)
        assert part.sum() >= 400
        assert abs(chosen_won[part].mean() - chosen_p[part].mean()) < 0.08
        every = (p >= low) & (p < high)
        assert abs(won[every].mean() - p[every].mean()) < 0.05


class World:
    """Ten of 30 items with four columns, clicks at about .1 to .5, the reader's two columns mattering a little."""

    def __init__(self, seed: int) -> None:
        self.rng = rng_of(1000 + seed)
        items = self.rng.standard_normal((30, 4))
        self.items = (items / np.linalg.norm(items, axis=1, keepdims=True)).astype(np.float32)
        self.taste = 3.0 * self.rng.standard_normal(4) / 2
        self.features = HeadFeatures(4, 2)

    def play(self, head: BayesianHead, rounds: int, people: Acquaintance) -> None:
        for _ in range(rounds):
            content = self.items[self.rng.choice(30, 10, replace=False)]
            reader = (self.rng.standard_normal(2) / 2).astype(np.float32)
            x, keys = self.features(content, reader), people.keys(content)
            p = head.probabilities(x, people.known(keys), people.noise(keys))
            k = int(self.rng.choice(10, p=p / p.sum()))
            rate = 1 / (1 + np.exp(2.0 - content[k] @ self.taste - 0.5 * reader[0]))
            head.learn(x[k], people.meet(keys[k]), float(self.rng.random() < rate))


Played = list[tuple[World, BayesianHead, Acquaintance]]


@pytest.fixture(scope="module")
def played() -> Played:
    """Twenty worlds after 1,500 rounds; not to be changed."""
    found = []
    for seed in range(20):
        world, people = World(seed), Acquaintance(64, seed)
        head = BayesianHead(world.features.blocks, HeadConfig(seed=seed))
        world.play(head, 1500, people)
        found.append((world, head, people))
    return found


@pytest.mark.slow
def test_an_abrupt_change_is_noticed_and_forgotten(played: Played) -> None:
    """Tastes turn round after 1,500 rounds. Within 600 more, at least 19 of 20 worlds forget what was learned before,
    but for at most 200 rows. Of 40 worlds all did; were it 98 %, other seeds would raise a false alarm in 17 runs."""
    forgot = 0
    for world, head, people in deepcopy(played):
        world.taste = -world.taste
        before = len(head.races)
        world.play(head, 600, people)
        won = [race for race in head.races[before:] if race.forgot]
        forgot += bool(won) and head.champion.start >= 1300
    assert forgot >= 19


@pytest.mark.slow
def test_a_world_that_stays_is_not_forgotten(played: Played) -> None:
    """2,000 rounds: at most one world in 20 forgets anything."""
    forgot = 0
    for world, head, people in deepcopy(played):
        world.play(head, 500, people)
        forgot += any(race.forgot for race in head.races)
    assert forgot <= 1


def fall(head: BayesianHead, high: float, low: float) -> None:
    """One candidate: 400 rewards at about `high`, then 300 at about `low`, noise 1."""
    rng = rng_of(11)
    x = rows_of(np.zeros((1, 3)))[0]
    for t in range(700):
        head.learn(x, 0, (high if t < 400 else low) + float(rng.standard_normal()))


def test_a_fall_of_other_rewards_is_forgotten_too() -> None:
    """From 10 to 5 with noise 1: the race starts a few rows after the fall, and the new posterior wins it."""
    head = BayesianHead(BLOCKS, HeadConfig(PosteriorConfig(link="identity")))
    fall(head, 10.0, 5.0)
    assert [race.forgot for race in head.races] == [True]
    assert 395 <= head.races[0].since <= 405
    assert head.expected(rows_of(np.zeros((1, 3))), np.array([0])) == pytest.approx([5.0], abs=0.5)


def test_without_a_watch_nothing_is_forgotten() -> None:
    head = BayesianHead(BLOCKS, HeadConfig(PosteriorConfig(link="identity"), OFF))
    fall(head, 10.0, 5.0)
    assert head.races == []
    assert head.champion.start == 0


def test_one_wild_reward_decides_nothing() -> None:
    """A reward a thousand standard deviations low adds one nat to the watch, no race."""
    head = BayesianHead(BLOCKS, HeadConfig(PosteriorConfig(link="identity")))
    fall(head, 10.0, 10.0)
    head._cusum = 0.0
    head.learn(rows_of(np.zeros((1, 3)))[0], 0, -1000.0)
    assert head._cusum == LARGEST_VOTE
    assert head.rival is None


def test_exchanged_columns_are_learned_anew() -> None:
    """Hidden units that change sign: after `replace` the head says the same of the same candidates."""
    blocks = {"bias": slice(0, 1), "hidden": slice(1, 3)}
    precision = {"hidden": 1.0, "own": 20.0}
    head = BayesianHead(blocks, HeadConfig(PosteriorConfig(link="identity", precision=precision)))
    rng = rng_of(12)
    hidden = rng.standard_normal((200, 2)).astype(np.float32)
    x = np.concatenate([np.ones((200, 1), np.float32), hidden], axis=1)
    for row in x:
        head.learn(row, 0, float(row[1] - 2 * row[2] + 0.1 * rng.standard_normal()))
    head.champion.refit()
    before = head.expected(x[:5], np.zeros(5, np.int64))
    head.replace(slice(1, 3), -hidden)
    x[:, 1:] *= -1
    assert head.expected(x[:5], np.zeros(5, np.int64)) == pytest.approx(before, abs=0.05)
    assert before == pytest.approx(-x[:5, 1] + 2 * x[:5, 2], abs=0.3)


def test_one_candidate_is_certain() -> None:
    head = BayesianHead(BLOCKS, HeadConfig())
    noise = np.zeros((1, 64), np.float32)
    assert head.probabilities(np.zeros((1, 4), np.float32), np.array([-1]), noise).tolist() == [1.0]


def test_candidates_without_features_are_told_apart_by_their_own_effects() -> None:
    """All-zero features, clicks at .1 and .9, 300 each: the second gets all but the floor."""
    head = BayesianHead(BLOCKS, HeadConfig(drift=OFF))
    x, rng = np.zeros((2, 4), np.float32), rng_of(13)
    for t in range(600):
        head.learn(x[t % 2], t % 2, float(rng.random() < (0.1, 0.9)[t % 2]))
    p = head.probabilities(x, np.array([0, 1]), np.zeros((2, 64), np.float32))
    assert p == pytest.approx([0.0005, 0.9995])


def test_a_small_store_forgets_and_goes_on() -> None:
    """64 rows, two batches, hold what 1,000 rounds bring; the posterior is of the kept rows after each refit."""
    head, content = learned(rounds=1000, capacity=64, drift=OFF)
    assert head.rows.total == 1000
    assert head.rows.kept <= 64
    p = head.probabilities(rows_of(content), np.full(8, -1), np.zeros((8, 64), np.float32))
    assert p.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wrong", "told", "told_zh"),
    [
        ({"floor": -0.1}, "floor -0.1 is no share; give one from 0 to 1", "floor -0.1 不是比例"),
        ({"floor": 1.5}, "floor 1.5 is no share", "0 到 1"),
        ({"floor": math.nan}, "floor nan is no share", "floor nan"),
        ({"capacity": 63}, "capacity 63 drops rows before they are learned; give at least 64", "至少取 64"),
        ({"capacity": 0}, "give at least 64", "至少取 64"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_named(wrong: dict[str, Any], told: str, told_zh: str) -> None:
    with pytest.raises(UsageError, match=told) as error:
        HeadConfig(**wrong)
    assert told_zh in error.value.text("zh")


@pytest.mark.parametrize(
    ("link", "reward", "told"),
    [
        ("logistic", 0.5, "a reward of 0.5 is no click; give 0 or 1, or choose the identity link"),
        ("logistic", -1.0, "is no click"),
        ("logistic", math.nan, "a reward of nan is no click"),
        ("identity", math.nan, "a reward of nan cannot be learned from; leave out what was not observed"),
        ("identity", math.inf, "a reward of inf cannot be learned from"),
    ],
)
def test_rewards_that_cannot_be_are_refused_and_leave_no_trace(link: Any, reward: float, told: str) -> None:
    head = BayesianHead(BLOCKS, HeadConfig(PosteriorConfig(link=link)))
    with pytest.raises(UsageError, match=told) as error:
        head.learn(np.ones(4, np.float32), 3, reward)
    assert error.value.text("zh") != error.value.text("en")
    assert head.rows.total == 0
    assert len(head.champion.own_mean) == 0


def test_actions_come_as_often_as_reported() -> None:
    """The floor is part of what is reported: a candidate that no sample favours still has its share."""
    head, content = learned(rounds=300, floor=0.08, drift=OFF)
    p = head.probabilities(rows_of(content), np.full(8, -1), np.zeros((8, 64), np.float32))
    counts = Counter(np.round((p - 0.01) * 64 / 0.92, 6) % 1)
    assert set(counts) <= {0.0}
    assert p.min() >= 0.01
