"""A/B tests made of numbers: planted effects for tests of the content prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multimodal_dql.datasets.ab_tests import ABTests, Replicates
from multimodal_dql.prior.contents import Contents
from multimodal_dql.simulation.engagement_noise import draw_clicks

PHI = 1.5


def make_tests(
    sizes: np.ndarray, impressions: np.ndarray, clicks: np.ndarray, headlines: list[str]
) -> ABTests:
    """A/B tests from arrays, each test a component of its own."""
    g = len(sizes)
    return ABTests(
        path=Path("planted"),
        pool="text",
        test_ids=tuple(f"t{i}" for i in range(g)),
        created=np.datetime64("2020-01-01", "s") + np.arange(g),
        component=np.arange(g),
        test=np.repeat(np.arange(g), sizes),
        arm_ids=tuple(map(str, range(int(sizes.sum())))),
        headlines=tuple(headlines),
        images=(None,) * int(sizes.sum()),
        audios=(None,) * int(sizes.sum()),
        impressions=impressions,
        clicks=clicks,
        risky=np.zeros(g, np.bool_),
        confounded=np.zeros(g, np.bool_),
        replicates=Replicates(*(np.zeros(0, np.int64) for _ in range(3))),
        cleaning={},
    )


def planted(
    tests: int,
    seed: int,
    *,
    signal: float = 0.2,
    rest: float = 0.15,
    impressions: int = 8000,
    width: int = 12,
) -> tuple[ABTests, Contents, np.ndarray, np.ndarray]:
    """Tests whose effects are linear in random vectors, and the rest chance.

    Returns the tests, their contents, the true logits (A,) and the part of them that content explains (A,).
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 7]))
    sizes = rng.integers(2, 6, size=tests)
    arms = int(sizes.sum())
    x = rng.standard_normal((arms, width)) + np.repeat(rng.standard_normal((tests, width)), sizes, axis=0)
    beta = rng.standard_normal(width)
    explained = x @ (beta * signal / np.linalg.norm(beta))
    logits = (
        np.repeat(-4.3 + 0.5 * rng.standard_normal(tests), sizes)
        + explained
        + rest * rng.standard_normal(arms)
    )
    n = np.full(arms, impressions)
    clicks = draw_clicks(rng, n, 1 / (1 + np.exp(-logits)), PHI)
    texts = [f"text {a}" for a in range(arms)]
    made = make_tests(sizes, n, clicks, texts)
    return made, Contents.of(texts, made.test, {"vectors": x}), logits, explained
