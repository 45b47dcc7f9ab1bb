import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.encoders import registry
from multimodal_dql.errors import (
    CatalogueError,
    EncoderError,
    EncoderUnavailable,
    MediaError,
    UnknownNameError,
    UsageError,
)
from multimodal_dql.features import cache_info, clear_cache, features
from tests.encoders.toys import Greys, Lengths, Loudness, write_card


def picture(path, *colour):
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def sound(path, level):
    soundfile.write(path, np.full(8000, level, np.float32), 16_000, subtype="FLOAT")
    return path


@pytest.fixture
def catalogue(tmp_path):
    """Two stories: one of three variants, one of two; a modality is missing here and there."""
    red, blue = picture(tmp_path / "red.png", 255, 0, 0), picture(tmp_path / "blue.png", 0, 0, 255)
    loud = sound(tmp_path / "loud.wav", 0.5)
    one = (
        Variant("story", "a", red, "one two", loud),
        Variant("story", "b", blue, "标题", None),
        Variant("story", "c", None, "three", None),
    )
    two = (Variant("ad", "a", red, None, None), Variant("ad", "b", blue, "one two", loud))
    return Catalogue(tmp_path / "c.csv", (Item("story", one), Item("ad", two)))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def with_variant(catalogue, item, variant, **changes):
    """A catalogue in which one variant is changed."""
    import dataclasses

    items = list(catalogue.items)
    variants = list(items[item].variants)
    variants[variant] = dataclasses.replace(variants[variant], **changes)
    items[item] = Item(items[item].item_id, tuple(variants))
    return Catalogue(catalogue.path, tuple(items))


def test_rows_follow_the_catalogue_and_absent_inputs_are_zero(catalogue, cache):
    made = features(catalogue, [Lengths(), Greys(), Loudness()], cache=cache)
    assert made.vectors["lengths"].tolist() == [[7, 1], [2, 0], [5, 0], [0, 0], [7, 1]]
    assert made.present["lengths"].tolist() == [True, True, True, False, True]
    red, blue, none = [255, 0, 0], [0, 0, 255], [0, 0, 0]
    assert made.vectors["greys"].tolist() == [red, blue, none, red, blue]
    assert made.present["greys"].tolist() == [True, True, False, True, True]
    np.testing.assert_allclose(made.vectors["loudness"][:, 0], [0.5, 0, 0, 0, 0.5], atol=1e-3)
    assert made.present["loudness"].tolist() == [True, False, False, False, True]
    assert [info.name for info in made.encoders] == ["lengths", "greys", "loudness"]
    assert made.catalogue.variants == catalogue.variants
    assert made.skipped == ()
    assert all(array.dtype == np.float32 for array in made.vectors.values())


def test_the_same_content_is_encoded_once_even_the_first_time(catalogue, cache):
    encoder = Lengths()
    made = features(catalogue, [encoder], cache=cache)
    assert sorted(encoder.seen) == sorted(["one two", "标题", "three"])
    assert (made.encoded, made.cached) == (3, 0)


def test_the_second_run_encodes_nothing_and_gives_the_same(catalogue, cache):
    first = features(catalogue, [Lengths(), Greys()], cache=cache)
    encoder = Lengths()
    second = features(catalogue, [encoder, Greys()], cache=cache)
    assert encoder.seen == []
    assert (first.encoded, first.cached, second.encoded, second.cached) == (5, 0, 0, 5)
    for name in first.vectors:
        np.testing.assert_array_equal(first.vectors[name], second.vectors[name])
        np.testing.assert_array_equal(first.present[name], second.present[name])


def test_a_renamed_file_is_the_same_and_a_changed_one_is_not(catalogue, cache, tmp_path):
    features(catalogue, [Greys()], cache=cache)
    renamed = (tmp_path / "red.png").rename(tmp_path / "crimson.png")
    moved = with_variant(with_variant(catalogue, 0, 0, image=renamed), 1, 0, image=renamed)
    assert features(moved, [Greys()], cache=cache).encoded == 0
    picture(renamed, 9, 9, 9)
    changed = features(moved, [Greys()], cache=cache)
    assert changed.encoded == 1
    assert changed.vectors["greys"][0].tolist() == [9, 9, 9]


def test_another_fingerprint_encodes_again(catalogue, cache):
    class Newer(Lengths):
        fingerprint = "lengths-2"

    features(catalogue, [Lengths()], cache=cache)
    assert features(catalogue, [Newer()], cache=cache).encoded == 3


def test_a_damaged_cache_is_mended(catalogue, cache):
    first = features(catalogue, [Lengths()], cache=cache)
    (data,) = cache.glob("*/rows.f32")
    content = bytearray(data.read_bytes())
    content[2] ^= 255
    data.write_bytes(content)
    second = features(catalogue, [Lengths()], cache=cache)
    assert (second.encoded, second.cached) == (1, 2)
    np.testing.assert_array_equal(first.vectors["lengths"], second.vectors["lengths"])
    assert features(catalogue, [Lengths()], cache=cache).encoded == 0


def test_a_broken_file_costs_its_variant_only(catalogue, cache, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    broken = with_variant(catalogue, 0, 1, image=tmp_path / "text.png")
    made = features(broken, [Lengths(), Greys()], cache=cache)
    assert [v.variant_id for v in made.catalogue.variants] == ["a", "c", "a", "b"]
    assert made.vectors["lengths"].tolist() == [[7, 1], [5, 0], [0, 0], [7, 1]]
    (problem,) = made.skipped
    assert (problem.item_id, problem.variant_id, problem.where) == ("story", "b", "story / b, image")
    assert isinstance(problem.error, MediaError)


def test_an_item_left_with_one_variant_goes_with_its_reason(catalogue, cache, tmp_path):
    broken = with_variant(catalogue, 1, 0, image=tmp_path / "missing.png")
    made = features(broken, [Greys()], cache=cache)
    assert [item.item_id for item in made.catalogue.items] == ["story"]
    assert [(p.item_id, p.variant_id) for p in made.skipped] == [("ad", "a"), ("ad", None)]
    assert "1 of 2 variants" in made.skipped[1].text()
    assert "至少需要两个" in made.skipped[1].text("zh")


def test_a_fifo_and_a_folder_as_media_cost_their_variants(catalogue, cache, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.png")
    broken = with_variant(catalogue, 0, 0, image=tmp_path / "pipe.png", audio=None)
    made = features(with_variant(broken, 0, 1, image=tmp_path), [Greys()], cache=cache)
    assert [p.variant_id for p in made.skipped] == ["a", "b", None]
    assert [item.item_id for item in made.catalogue.items] == ["ad"]


def test_nothing_left_is_an_error_that_names_the_first_finding(catalogue, cache, tmp_path):
    for name in ("red.png", "blue.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CatalogueError, match=r"no item with two usable variants is left.*red\.png"):
        features(catalogue, [Greys()], cache=cache)


def test_strict_raises_the_first_finding(catalogue, cache, tmp_path):
    (tmp_path / "blue.png").write_text("no picture")
    with pytest.raises(MediaError, match=r"blue\.png"):
        features(catalogue, [Greys()], cache=cache, strict=True)


def test_an_item_that_the_encoder_refuses_costs_its_variant(catalogue, cache):
    class Picky(Lengths):
        name = fingerprint = "picky"

        def encode(self, items):
            if "three" in items:
                raise ValueError("I do not like three")
            return super().encode(items)

    made = features(catalogue, [Picky()], cache=cache)
    assert [(p.item_id, p.variant_id) for p in made.skipped] == [("story", "c")]
    assert "picky" in made.skipped[0].text()
    assert "I do not like three" in made.skipped[0].text()
    assert made.vectors["picky"].tolist() == [[7, 1], [2, 0], [0, 0], [7, 1]]


class Wrong(Lengths):
    name = fingerprint = "wrong"

    def encode(self, items):
        return super().encode(items)[:, :1]


def test_an_encoder_of_the_wrong_width_is_told_and_nothing_is_stored(catalogue, cache):
    words = r"encoder 'wrong': it failed on all of the first 3 items \(it gave \(1, 1\) instead of \(1, 2\)"
    with pytest.raises(EncoderError, match=words):
        features(catalogue, [Wrong()], cache=cache)
    assert cache_info(cache) == []
    with pytest.raises(EncoderError, match="wrong"):
        features(catalogue, [Wrong()], cache=cache, strict=True)


def test_progress_counts_what_is_new(catalogue, cache):
    calls = []
    features(catalogue, [Lengths(), Greys()], cache=cache, progress=lambda *call: calls.append(call))
    assert calls == [("lengths", 0, 3), ("lengths", 3, 3), ("greys", 0, 2), ("greys", 2, 2)]
    calls.clear()
    features(catalogue, [Lengths(), Greys()], cache=cache, progress=lambda *call: calls.append(call))
    assert calls == []


def test_a_text_in_no_script_of_the_encoder_is_absent(catalogue, cache):
    class English(Lengths):
        name = fingerprint = "english"
        languages = ("en",)

    encoder = English()
    made = features(catalogue, [encoder], cache=cache)
    assert "标题" not in encoder.seen
    assert made.present["english"].tolist() == [True, False, True, False, True]
    assert made.vectors["english"][1].tolist() == [0, 0]
    assert made.skipped == ()


def test_two_encoders_of_a_modality_share_the_decoding(catalogue, cache):
    class Again(Greys):
        name = fingerprint = "again"

    made = features(catalogue, [Greys(), Again()], cache=cache)
    assert made.encoded == 4
    np.testing.assert_array_equal(made.vectors["greys"], made.vectors["again"])


@pytest.fixture
def own_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "cards"))
    return tmp_path / "cards"


def test_an_encoder_with_everything_cached_is_never_made(catalogue, cache, own_registry):
    class Once(Lengths):
        name = fingerprint = "once"
        made = 0

        def __init__(self):
            type(self).made += 1
            super().__init__()

    registry.register_encoder("once", Once)
    assert features(catalogue, ["once"], cache=cache).encoded == 3
    assert features(catalogue, ["once"], cache=cache).encoded == 0
    assert Once.made == 1


def test_an_encoder_that_cannot_be_had_leaves_the_run_and_says_so(catalogue, cache, own_registry):
    body = (
        'modality = "text"\nruntime = "onnx"\ndim = 3\n[[files]]\nname = "model.onnx"\n'
        f'sha256 = "{"0" * 64}"\nbytes = 1\nsources = [{{ kind = "folder", path = "/nowhere/m" }}]\n'
    )
    write_card(own_registry, "far", body)
    made = features(catalogue, [Lengths(), "far"], cache=cache)
    assert [info.name for info in made.encoders] == ["lengths"]
    assert set(made.vectors) == set(made.present) == {"lengths"}
    (problem,) = made.skipped
    assert problem.severity == "warning"
    assert "encoders fetch far" in problem.text()
    with pytest.raises(EncoderUnavailable):
        features(catalogue, ["far"], cache=cache)
    with pytest.raises(EncoderUnavailable):
        features(catalogue, [Lengths(), "far"], cache=cache, strict=True)


def test_encoders_that_make_no_sense(catalogue, cache):
    with pytest.raises(UsageError, match="at least one"):
        features(catalogue, [], cache=cache)
    with pytest.raises(UsageError, match="named twice"):
        features(catalogue, [Lengths(), Lengths()], cache=cache)
    with pytest.raises(UnknownNameError, match="did you mean 'minilm'"):
        features(catalogue, ["minlm"], cache=cache)


def test_the_cache_can_be_looked_at_and_emptied(catalogue, cache):
    features(catalogue, [Lengths()], cache=cache)
    (info,) = cache_info(cache)
    assert (info.encoder, info.rows, info.dim) == ("lengths", 3, 2)
    assert clear_cache(cache) > 0
    assert cache_info(cache) == []
    assert features(catalogue, [Lengths()], cache=cache).encoded == 3


def test_the_cache_moves_with_the_environment(catalogue, tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "elsewhere"))
    features(catalogue, [Lengths()])
    assert [info.encoder for info in cache_info(tmp_path / "elsewhere/features")] == ["lengths"]


def test_many_texts_in_several_chunks_keep_their_order(tmp_path, cache):
    variants = tuple(Variant("s", str(n), None, "x" * (n + 1), None) for n in range(600))
    calls = []
    made = features(
        Catalogue(tmp_path / "c", (Item("s", variants),)),
        [Lengths()],
        cache=cache,
        progress=lambda *call: calls.append(call[1:]),
    )
    assert made.vectors["lengths"][:, 0].tolist() == list(range(1, 601))
    assert calls == [(0, 600), (256, 600), (512, 600), (600, 600)]


def test_two_processes_share_a_cache(tmp_path, cache):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant\n"
        "from multimodal_dql.features import features\n"
        "from tests.encoders.toys import Lengths\n"
        "v = tuple(Variant('s', str(n), None, 'x' * (n + 1), None) for n in range(700))\n"
        "f = features(Catalogue(Path('c'), (Item('s', v),)), [Lengths()], cache=Path(sys.argv[1]))\n"
        "assert f.vectors['lengths'][:, 0].tolist() == list(range(1, 701))\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, str(cache)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]


def test_what_another_process_stores_meanwhile_is_read(cache):
    """While the first unit is encoded somebody else stores everything: the rest is not made again, and not left out."""
    variants = tuple(Variant("s", str(n), None, "x" * (n + 1), None) for n in range(700))
    shared = Catalogue(Path("c"), (Item("s", variants),))

    class Overtaken(Lengths):
        def encode(self, items):
            if not self.seen:
                features(shared, [Lengths()], cache=cache)
            return super().encode(items)

    slow = Overtaken()
    made = features(shared, [slow], cache=cache)
    assert made.vectors["lengths"][:, 0].tolist() == list(range(1, 701))
    assert made.present["lengths"].all()
    assert len(slow.seen) < 700
    assert made.encoded + made.cached == 700


def test_the_built_in_encoders_run_on_real_files(catalogue, cache):
    made = features(catalogue, cache=cache)
    assert [(info.name, info.dim) for info in made.encoders] == [
        ("use-multilingual", 512),
        ("efficientnet-lite0", 1280),
        ("speech-embedding", 192),
    ]
    assert made.encoded == 3 + 2 + 1
    assert all(np.isfinite(array).all() for array in made.vectors.values())
    assert features(catalogue, cache=cache).encoded == 0
