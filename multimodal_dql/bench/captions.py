"""Caption contests that nothing was learned from: which caption is funnier, what the picture adds, where votes go.

A contest is one cartoon with up to some hundred captions, so a picture is the same for all siblings: on its own it says
nothing about which is funnier, and what it can add is only how well a caption goes with it.

Shape letters: ``G`` contests, ``A`` captions of all contests, ``S`` draws of the truth, ``J`` groups of captions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.caption_votes import VOTES_A_CAPTION, allocation_of_votes
from multimodal_dql.bench.headline_parts import crossfitted_effects
from multimodal_dql.bench.headline_words import FOLDS, tf_idf_scores
from multimodal_dql.datasets.ab_tests import ABTests, component_folds
from multimodal_dql.datasets.caption_contest import read_caption_contests
from multimodal_dql.encoders.registry import encoder_info
from multimodal_dql.prior import (
    BlockSettings,
    Contents,
    Pairs,
    calibration,
    cross_validate,
    gain,
    headline_contents,
    pairs_of,
    ranking,
    score_p,
    targets,
)
from multimodal_dql.prior.model import CrossValidated
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.engagement_noise import draw_clicks

__all__ = ["ENCODERS", "bench_captions", "caption_ceiling", "thinned"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ENCODERS = ("use-multilingual", "minilm", "mpnet-layer7", "efficientnet-lite0")
QUICK_CAPTIONS, QUICK_SEEDS, QUICK_ROUNDS = 40, 2, 4
QUICK = BlockSettings(words=100, topics=2, deviations=16, pictures=2)
QUICK_TAUS = (5, 20, 100)
TEACHING_PAIRS = 60_000
"""Pairs that the bag of words learns from."""
PLAIN = BlockSettings(words=0, topics=0, pictures=0)


def bench_captions(
    path: Path,
    *,
    encoders: Sequence[str] = ENCODERS,
    quick: bool = False,
    repeats: int = 1,
    seeds: int = 8,
    rounds: int = 120,
    seed: int = 0,
    draws: int = 5,
    taus: Sequence[int] = VOTES_A_CAPTION,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Prediction and allocation, cross-validated with connected components of contests held out.

    Args:
        path: see `read_caption_contests`.
        encoders: of texts and pictures.
        quick: 40 captions a contest, one repeat, the first text encoder alone, few seeds, little learning.
        repeats: of the five-fold cross-validation.
        seeds: of the replays.
        rounds: of learning the allocation.
        seed: of folds, groups and bootstraps.
        draws: simulated votes behind the ceiling.
        taus: votes a caption of the replays; none leaves the allocation out.
        cache: folder of the embeddings.
        progress: called with what comes next.
    """
    start = time.perf_counter()
    say = progress or (lambda _: None)
    contests = read_caption_contests(path)
    if quick:
        contests = replace(contests, tests=thinned(contests.tests, QUICK_CAPTIONS, seed))
        repeats, seeds, rounds = 1, min(seeds, QUICK_SEEDS), min(rounds, QUICK_ROUNDS)
        taus = [tau for tau in taus if tau in QUICK_TAUS]
        encoders = _first_of_each_kind(encoders)
    settings = QUICK if quick else BlockSettings()
    tests, noise = contests.tests, contests.overdispersion
    say("embeddings")
    contents = headline_contents(tests, encoders, cache=cache)
    pairs = pairs_of(tests, partial(score_p, tests, noise))
    scores, best = _predictions(tests, contents, pairs, settings, noise, repeats, seed, say)
    say("ceiling")
    model = EngagementModel.fit(tests, seed=seed, noise=noise)
    figures = {name: ranking(found, tests, pairs, seed=seed).as_dict() for name, found in scores.items()}
    added = {
        f"{with_picture} over {without}": _plain(
            gain(scores[with_picture], scores[without], tests, pairs, seed=seed)
        )
        for with_picture, without in (("text_picture", "text"), ("plain_picture", "plain"))
        if with_picture in scores
    }
    mean, sd = crossfitted_effects(tests, best, noise)
    out: dict[str, Any] = {
        "models": figures,
        "random": {"pairs_all": 0.5, "pairs_significant": 0.5, "top1": figures["text"]["top1_random"]},
        "picture_adds": added,
        "ceiling": caption_ceiling(tests, noise, model.within_logit_sd, seed=seed, draws=draws),
        "leak": {"votes_received": _votes_leak(tests, pairs)},
        "calibration": calibration(targets(tests, noise), mean, sd).as_dict(),
        "engagement": {
            "base_rate": float(1.0 / (1.0 + np.exp(-model.base_logit_mean))),
            "within_logit_sd": model.within_logit_sd,
            "overdispersion": noise,
        },
    }
    if taus:
        out |= allocation_of_votes(
            tests, noise, mean, sd, range(seeds), taus, rounds, seed, quick=quick, say=say
        )
    return {
        **out,
        "cleaning": dict(tests.cleaning),
        "policies": {name: contests.policy.count(name) for name in sorted(set(contests.policy))},
        "protocol": {
            "split": "connected component of contest and caption",
            "components": len(np.unique(tests.component)),
            "folds": FOLDS,
            "repeats": repeats,
            "encoders": list(encoders),
            "significant": "two-sided z of mean scores, p < .05",
            "intervals": "95 %, bootstrap over components",
            "quick": quick,
        },
        "seconds": round(time.perf_counter() - start, 1),
    }


def thinned(tests: ABTests, count: int, seed: int) -> ABTests:
    """At most `count` arms of each test, drawn at random."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 61]))
    order = np.lexsort((rng.random(tests.A), tests.test))
    place = np.arange(tests.A) - tests.starts[tests.test[order]]
    keep = np.sort(order[place < count])
    taken: dict[str, Any] = {
        name: tuple(getattr(tests, name)[a] for a in keep)
        for name in ("arm_ids", "headlines", "images", "audios")
    }
    arrays: dict[str, Any] = {name: getattr(tests, name)[keep] for name in ("test", "impressions", "clicks")}
    return replace(tests, **taken, **arrays)


def _predictions(
    tests: ABTests,
    contents: Contents,
    pairs: Pairs,
    settings: BlockSettings,
    noise: float,
    repeats: int,
    seed: int,
    say: Callable[[str], None],
) -> tuple[dict[str, Float], CrossValidated]:
    """Scores (R, A) of every model, and the predictions of the prior on texts."""
    texts = tuple(contents.vectors)
    models: list[tuple[str, tuple[str, ...], BlockSettings]] = [
        ("style", (), PLAIN),
        *((f"text_{name.split('-')[0]}", (name,), replace(PLAIN, style=False)) for name in texts),
        ("plain", texts, PLAIN),
        ("text", texts, settings),
    ]
    if contents.pictures:
        models += [
            (
                "plain_picture",
                contents.encoders,
                replace(PLAIN, deviations=settings.deviations, pictures=settings.pictures),
            ),
            ("text_picture", contents.encoders, settings),
        ]
    scores: dict[str, Float] = {}
    found: dict[str, CrossValidated] = {}
    for name, encoders, blocks in models:
        say(f"predictions of {name}")
        found[name] = cross_validate(
            tests, contents.only(encoders), blocks, folds=FOLDS, repeats=repeats, seed=seed, noise=noise
        )
        scores[name] = found[name].mean
    say("predictions of tfidf")
    taught = _some(pairs, TEACHING_PAIRS, seed)
    folds = [component_folds(tests, FOLDS, seed + r) for r in range(repeats)]
    scores["tfidf"] = np.stack([tf_idf_scores(tests, taught, fold) for fold in folds])
    return scores, found["text"]


def _first_of_each_kind(encoders: Sequence[str]) -> tuple[str, ...]:
    kinds = {name: encoder_info(name).modality for name in encoders}
    return tuple(
        name for i, name in enumerate(encoders) if kinds[name] not in [kinds[n] for n in encoders[:i]]
    )


def _some(pairs: Pairs, count: int, seed: int) -> Pairs:
    rng = np.random.Generator(np.random.Philox(key=[seed, 62]))
    some = np.sort(rng.permutation(len(pairs.winner))[:count])
    return Pairs(pairs.winner[some], pairs.loser[some], pairs.test[some], pairs.significant[some])


def caption_ceiling(
    tests: ABTests, noise: float, sd: float, *, seed: int = 0, draws: int = 5
) -> dict[str, float]:
    """What an oracle that knows the true scores would get of winners that are partly luck.

    True scores are drawn from each caption's posterior, and as many votes as it really got from them: a funny caption
    got more votes than others, which would be lost if scores were drawn anew.
    """
    from multimodal_dql.bench.allocation import shrunk_truth

    truths = shrunk_truth(tests, draws, seed, sd=sd, noise=noise)
    rng = np.random.Generator(np.random.Philox(key=[seed, 63]))
    place = np.arange(tests.A) - tests.starts[tests.test]
    rows = []
    for truth in truths:
        rates = truth[tests.test, place]
        voted = replace(tests, clicks=draw_clicks(rng, tests.impressions, rates, noise))
        found = ranking(rates, voted, pairs_of(voted, partial(score_p, voted, noise)), resamples=20)
        rows.append((found.pairs_all.value, found.pairs_significant.value, found.top1.value))
    mean = np.mean(rows, axis=0)
    return dict(zip(("pairs_all", "pairs_significant", "top1"), map(float, mean), strict=True))


def _votes_leak(tests: ABTests, pairs: Pairs) -> dict[str, float]:
    """What the mere number of votes would score: adaptive collection gave the funnier captions more of them."""
    found = ranking(tests.impressions.astype(np.float64), tests, pairs, resamples=20)
    return {"pairs_all": found.pairs_all.value, "pairs_significant": found.pairs_significant.value}


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """Gains as numbers, with their intervals beside them."""
    return {
        **{name: share.value for name, share in found.items()},
        "intervals": {name: [share.low, share.high] for name, share in found.items()},
    }
