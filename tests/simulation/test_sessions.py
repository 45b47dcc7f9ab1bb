"""Sessions: the same in any batch, honest about probabilities, and each mechanism does what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multimodal_dql.policies.base import First, Uniform
from multimodal_dql.simulation.audience import AudienceConfig, World
from multimodal_dql.simulation.compare import compare, outcome, permuted
from multimodal_dql.simulation.sessions import Steps, run_sessions

from .worlds import world


def run(w: World, policy: object = None, *, first: int = 0, sessions: int = 500, seed: int = 0) -> Steps:
    items = np.arange(len(w.candidates.table))
    return run_sessions(w, policy or Uniform(), seed=seed, first=first, sessions=sessions, items=items)


def changed(w: World, **fields: float) -> World:
    audience = replace(w.audience, config=replace(w.config, **fields))
    return replace(w, audience=audience)


def test_batches_do_not_matter() -> None:
    w = world()
    whole = run(w, sessions=60)
    parts = [run(w, first=first, sessions=20) for first in (0, 20, 40)]
    for name in vars(whole):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(p, name) for p in parts]))


def test_clicks_follow_their_probability() -> None:
    """z below 4 (false alarm 6 in 100,000) over about 40,000 impressions."""
    steps = run(world(config=AudienceConfig(base_click_rate=0.2)), sessions=10_000)
    p, click = steps.click_probability[steps.active], steps.click[steps.active]
    z = (click - p).sum() / np.sqrt((p * (1 - p)).sum())
    assert abs(z) < 4
    assert (steps.dwell_seconds[steps.click == 0] == 0).all()
    assert (steps.dwell_seconds[steps.click == 1] > 0).all()


def test_a_session_ends_once() -> None:
    steps = run(world())
    lengths = steps.active.sum(axis=1)
    assert (lengths >= 1).all()
    for session, length in enumerate(lengths):
        assert steps.active[session, :length].all()
        assert steps.done[session, length - 1]
        assert not steps.done[session, : length - 1].any()


def test_fatigue_lowers_later_clicks_and_only_those() -> None:
    w = world()
    tired, fresh = run(changed(w, fatigue=0.5)), run(changed(w, fatigue=0.0))
    both = tired.active & fresh.active
    np.testing.assert_array_equal(tired.click_probability[:, 0], fresh.click_probability[:, 0])
    later = both.copy()
    later[:, 0] = False
    assert (tired.click_probability[later] < fresh.click_probability[later]).all()


def test_without_taste_every_user_is_alike() -> None:
    w = world()
    audience = replace(
        w.audience, taste=np.zeros_like(w.audience.taste), personal=np.zeros_like(w.audience.personal)
    )
    steps = run(changed(replace(w, audience=audience), fatigue=0.0))
    seen: dict[tuple[int, int], float] = {}
    for item, action, p in zip(
        steps.item[steps.active],
        steps.action[steps.active],
        steps.click_probability[steps.active],
        strict=True,
    ):
        assert seen.setdefault((int(item), int(action)), float(p)) == float(p)


def test_regretted_clickbait_shortens_visits() -> None:
    w = world(items=30)
    c = w.candidates
    # A policy that always shows the most sensational variant.
    order = np.where(c.available, w.clickbait[c.table], -np.inf).argmax(axis=1)

    class Sensational(First):
        def probabilities(self, state):  # type: ignore[no-untyped-def]
            p = np.zeros(state.available.shape)
            p[np.arange(len(p)), order[state.item]] = 1.0
            return p

    lengths = [
        run(changed(w, clickbait_regret=r), Sensational(), sessions=3000).active.sum() for r in (0.0, 0.8)
    ]
    assert lengths[1] < 0.95 * lengths[0]


def test_a_policy_against_itself_differs_by_nothing() -> None:
    w = world()
    same = {name: outcome(w, Uniform(), seed=1, sessions=300) for name in ("a", "b")}
    (found,) = compare(same, [("a", "b")], [str(i) for i in range(12)])
    assert (found.uplift, found.low, found.high) == (0.0, 0.0, 0.0)


def test_an_oracle_wins_and_its_interval_excludes_zero() -> None:
    w = world(items=40)
    c = w.candidates
    best = np.where(c.available, w.appeal[c.table], -np.inf).argmax(axis=1)

    class Oracle(First):
        def probabilities(self, state):  # type: ignore[no-untyped-def]
            p = np.zeros(state.available.shape)
            p[np.arange(len(p)), best[state.item]] = 1.0
            return p

    found = {name: outcome(w, p, seed=1, sessions=2000) for name, p in (("o", Oracle()), ("u", Uniform()))}
    (result,) = compare(found, [("o", "u")], [str(i) for i in range(40)])
    assert result.low > 0.05
    assert result.item_uplift.shape == (40,)


def test_permuting_keeps_every_embedding_once() -> None:
    c = world().candidates
    dealt = permuted(c, 3)
    order = lambda a: a[np.lexsort(a.T)]  # noqa: E731
    np.testing.assert_array_equal(order(dealt.content[:-1]), order(c.content[:-1]))
    assert not np.array_equal(dealt.content, c.content)
    np.testing.assert_array_equal(dealt.content[-1], 0.0)
