"""Aligned encoders: a picture's colour against the colour that the headline names, in a world where that decides."""

from __future__ import annotations

import colorsys
import dataclasses
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from multimodal_dql.agent import Agent
from multimodal_dql.agreement import agreement, aligned_pairs
from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.datasets.events import event_schema
from multimodal_dql.encoders.base import Encoder, EncoderInfo, check_images, check_texts
from multimodal_dql.encoders.registry import encoder_info
from multimodal_dql.errors import EncoderError, RunError
from multimodal_dql.features import Features, features
from multimodal_dql.rank import rank
from multimodal_dql.training import TrainConfig, train_from_log
from tests.test_logged import CONTEXT

pytestmark = pytest.mark.usefixtures("shared_graphs")

HUES = 48
COLOURS = {f"hue{n}": tuple(round(255 * c) for c in colorsys.hsv_to_rgb(n / HUES, 1, 1)) for n in range(HUES)}
MEANINGS = np.random.default_rng(0).standard_normal((HUES, 32)).astype(np.float32)
"""Of each hue: directions in the shared space, as far from each other as things are in the space of a real model."""
MATCH, OTHER = 0.5, 0.1
"""Click rates of a picture that shows the colour of the headline, and of one that does not."""


class Colour(Encoder):
    """Picture -> the meaning of its colour."""

    name, modality, dim, fingerprint, space = "colour", "image", 32, "colour-1", "hues"

    def encode(self, items):
        seen = np.array([p.mean(axis=(0, 1)) for p in check_images(self.name, items)]).reshape(-1, 1, 3)
        return MEANINGS[np.abs(seen - np.array([*COLOURS.values()])).sum(axis=2).argmin(axis=1)]


class Word(Encoder):
    """Headline -> the meaning of its second word."""

    name, modality, dim, fingerprint, space = "word", "text", 32, "word-1", "hues"

    def encode(self, items):
        words = [[*COLOURS].index(t.split()[1]) for t in check_texts(self.name, items)]
        return MEANINGS[np.array(words, np.int64)]


def catalogue(folder: Path, items: int, seed: int, sizes: tuple[int, int] = (3, 4)) -> Catalogue:
    """Stories in which exactly one variant, anywhere, has a picture in the colour of its headline."""
    rng = np.random.default_rng(seed)
    names = list(COLOURS)
    for name, rgb in COLOURS.items():
        Image.new("RGB", (8, 8), rgb).save(folder / f"{name}.png")
    out = []
    for s in range(items):
        size = int(rng.integers(sizes[0], sizes[1] + 1))
        right = rng.integers(size)
        variants = []
        for k in range(size):
            said, shown = rng.choice(len(names), 2, replace=False)
            shown = said if k == right else shown
            text = f"A {names[said]} thing"
            variants.append(Variant(f"s{seed}-{s}", f"v{k}", folder / f"{names[shown]}.png", text, None))
        out.append(Item(f"s{seed}-{s}", tuple(variants)))
    return Catalogue(folder / "c.csv", tuple(out))


def matches(variant: Variant) -> bool:
    return f" {variant.image.stem} " in variant.caption


def log(path: Path, stories: Catalogue, decisions: int) -> Path:
    """Choices made evenly, clicked as planted."""
    rng = np.random.default_rng(5)
    rows = []
    for n in range(decisions):
        item = stories.items[n % len(stories.items)]
        chosen = item.variants[int(rng.integers(len(item.variants)))]
        rows.append(
            {
                "event_id": str(n),
                "time": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n),
                "session_id": None,
                "item_id": item.item_id,
                "context": list(CONTEXT.items()),
                "candidates": [v.variant_id for v in item.variants],
                "records": [{"impressions": 0, "clicks": 0}] * len(item.variants),
                "action": chosen.variant_id,
                "probability": 1 / len(item.variants),
                "click": int(rng.random() < (MATCH if matches(chosen) else OTHER)),
                "policy": "uniform",
                "schema_version": 1,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, schema=event_schema()), path)
    return path


def apart(features: Features) -> Features:
    """The same embeddings, of encoders that say nothing of a shared space."""
    return replace(features, encoders=tuple(replace(e, space="") for e in features.encoders))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    encoders = [Colour(), Word()]
    cache = folder / "cache"
    old, new = (features(catalogue(folder, 40, seed), encoders, cache=cache) for seed in (1, 2))
    return old, new, log(folder / "log.parquet", old.catalogue, 2000)


SMALL = TrainConfig(
    iterations=12, updates=40, batch=128, members=2, folds=2, hidden=16, expected_reward=False, content_noise=0.0,
    modality_dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def learned(world) -> Agent:
    old, _, path = world
    return train_from_log(old, SMALL, path)[0]


def found(agent: Agent, new: Features) -> float:
    """Share of new stories whose first variant is the one that matches."""
    by_id = {(v.item_id, v.variant_id): v for v in new.catalogue.variants}
    ranking = rank(agent, new)
    return float(np.mean([matches(by_id[i.item_id, i.variants[0].variant_id]) for i in ranking.items]))


@pytest.mark.slow
def test_where_agreement_decides_the_agent_with_the_pair_ranks_better(world, learned):
    """Of 40 new stories, chance finds 29 %. Without the pair, products of embeddings would have to be learned."""
    old, new, path = world
    blind = train_from_log(apart(old), SMALL, path)[0]
    assert blind.projection.widths == learned.projection.widths[:2]
    seeing, without = found(learned, new), found(blind, apart(new))
    assert seeing > 0.9
    assert without < 0.6


@pytest.mark.slow
def test_what_does_not_show_what_its_headline_says_is_told(world, learned):
    _, new, _ = world
    by_id = {(v.item_id, v.variant_id): v for v in new.catalogue.variants}
    told = 0
    for item in rank(learned, new).items:
        for v in item.variants:
            said = [r for r in v.reasons if r.kind == "agreement"]
            assert not (said and matches(by_id[item.item_id, v.variant_id]))
            for reason in said:
                assert reason.effect < 0
                assert reason.en.startswith(
                    "The picture does not show what the headline says: \N{MINUS SIGN}"
                )
                assert reason.zh.startswith("图片没有表现标题所说的内容")
            told += len(said)
    assert told >= 20


@pytest.mark.slow
def test_a_run_with_a_pair_is_saved_loaded_and_says_its_encoders(learned, world, tmp_path):
    _, new, _ = world
    learned.save(tmp_path / "run")
    again = Agent.load(tmp_path / "run")
    assert again.encoders == ("colour", "word")
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert [(e["name"], e["modality"]) for e in config["encoders"]] == [
        ("colour", "image"),
        ("word", "text"),
        ("colour~word", "image-text"),
    ]
    one, two = rank(learned, new), rank(again, new)
    for i, j in zip(one.items, two.items, strict=True):
        assert [v.variant_id for v in i.variants] == [v.variant_id for v in j.variants]
        np.testing.assert_allclose(
            [v.q_value for v in i.variants], [v.q_value for v in j.variants], rtol=1e-5
        )
    assert one.agent["encoders"] == "colour, word"
    with pytest.raises(RunError, match=r"colour~word.*no longer share the space.*train the agent again"):
        rank(again, apart(new))


@pytest.mark.slow
def test_order_and_padding_change_nothing(learned, world):
    """Variants in another order, and a larger sibling set elsewhere, leave every value where it was."""
    _, new, _ = world
    table = candidate_table(new, learned.projection)
    items = np.arange(8)
    context = np.repeat(learned.contexts({})[:1], 8, axis=0)
    state = table.state(items, context, np.zeros((8, table.size, 3), np.float32))
    q = learned.q_values(state)
    order = np.random.default_rng(0).permutation(table.size)
    moved = replace(
        state,
        content=state.content[:, order],
        present=state.present[:, order],
        record=state.record[:, order],
        available=state.available[:, order],
    )
    np.testing.assert_allclose(learned.q_values(moved), q[:, order], rtol=1e-4, atol=1e-6)
    pad = ((0, 0), (0, 3))
    wider = replace(
        state,
        content=np.pad(state.content, (*pad, (0, 0))),
        present=np.pad(state.present, (*pad, (0, 0))),
        record=np.pad(state.record, (*pad, (0, 0))),
        available=np.pad(state.available, pad),
    )
    np.testing.assert_allclose(learned.q_values(wider)[:, : table.size], q, rtol=1e-4, atol=1e-6)


def by_hand(**changes) -> Features:
    """Story a: cosines 1, 0, and no picture; story b: -1 and 1 (another length)."""
    variants = [Variant("a", str(n), None, "t", None) for n in range(3)]
    variants += [Variant("b", str(n), None, "t", None) for n in range(2)]
    items = (Item("a", tuple(variants[:3])), Item("b", tuple(variants[3:])))
    vectors = {
        "i": np.array([[2, 0], [0, 1], [0, 0], [1, 0], [0, 3]], np.float32),
        "t": np.array([[1, 0], [1, 0], [1, 0], [-1, 0], [0, 1]], np.float32),
    }
    present = {"i": np.array([1, 1, 0, 1, 1], bool), "t": np.ones(5, bool)}
    infos = (EncoderInfo("i", "image", 2, "f", "s"), EncoderInfo("t", "text", 2, "g", "s"))
    made = Features(Catalogue(Path("c"), items), infos, vectors, present, (), 0, 0, 0.0)
    return dataclasses.replace(made, **changes)


def test_agreement_worked_by_hand():
    given = by_hand()
    (pair,) = aligned_pairs(given.encoders)
    value, seen = agreement(given, pair)
    assert value.tolist() == [0.5, -0.5, 0.0, -1.0, 1.0]
    assert seen.tolist() == [True, True, False, True, True]
    projection = ContentProjection.fit(given)
    assert projection.widths[-1] == 1
    content, present = projection.apply(given)
    assert present[:, -1].tolist() == [1, 1, 0, 1, 1]
    # Within-story variance (.25 + .25 + 1 + 1) / 3, and a tenth of it more.
    np.testing.assert_allclose(content[:, -1], value / np.sqrt(1.1 * 2.5 / 3), rtol=1e-6)


def test_without_a_pair_nothing_is_different():
    """The same arrays, bit for bit; a run that was trained before encoders told their space reads them, too."""
    given = by_hand()
    old = ContentProjection.fit(apart(given))
    assert [e.name for e in old.encoders] == ["i", "t"]
    for one, two in zip(old.apply(apart(given)), old.apply(given), strict=True):
        assert one.tobytes() == two.tobytes()
    new = ContentProjection.fit(given)
    content, present = new.apply(given)
    before, seen = old.apply(given)
    assert content[:, :-1].tobytes() == before.tobytes()
    assert present[:, :-1].tobytes() == seen.tobytes()


def test_a_pair_that_never_meets_is_no_pair():
    nothing = {"i": np.zeros(5, bool), "t": np.ones(5, bool)}
    assert len(ContentProjection.fit(by_hand(present=nothing)).encoders) == 2


def test_who_is_aligned():
    image, other = EncoderInfo("i", "image", 2, "f", "s"), EncoderInfo("j", "image", 2, "f", "z")
    sound, text = EncoderInfo("a", "audio", 2, "f", "s"), EncoderInfo("t", "text", 2, "g", "s")
    plain = EncoderInfo("p", "text", 2, "g")
    assert [p.name for p in aligned_pairs([text, image, other, sound, plain])] == ["i~t", "a~t"]
    assert [p.modality for p in aligned_pairs([image, sound, text])] == ["image-text", "audio-text"]
    changed = aligned_pairs([image, replace(text, fingerprint="h")])[0].fingerprint
    assert changed != aligned_pairs([image, text])[0].fingerprint
    with pytest.raises(
        EncoderError, match=r"'i': it cannot share the space 's' with 't': 2 numbers against 3"
    ):
        aligned_pairs([image, replace(text, dim=3)])


@pytest.mark.parametrize("space", ["clip-vit-b32", "siglip2-base", "chinese-clip", "clap"])
def test_the_cards_of_aligned_models_say_so(space):
    media = "audio" if space == "clap" else "image"
    (pair,) = aligned_pairs([encoder_info(f"{space}-{media}"), encoder_info(f"{space}-text")])
    assert pair.modality == f"{media}-text"
