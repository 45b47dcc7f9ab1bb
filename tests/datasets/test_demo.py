from __future__ import annotations

import collections
import hashlib
import itertools
import json
import subprocess
import sys
import tomllib
import wave

import numpy as np
import pytest
from PIL import Image

from multimodal_dql.datasets.cards import card_folder, dataset_card
from multimodal_dql.datasets.catalogue import read_catalogue
from multimodal_dql.datasets.demo import build_demo
from multimodal_dql.datasets.media import load_audio, load_image
from multimodal_dql.errors import MediaDamaged, OutputError
from multimodal_dql.fonts import font_paths, missing_glyphs

COLUMNS = {"item_id", "variant_id", "image", "caption", "audio", "title", "section", "language"}


def checksums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def rows_of(catalogue):
    return [json.loads(line) for line in catalogue.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return build_demo(tmp_path_factory.mktemp("demo") / "built")


@pytest.fixture(scope="module")
def rows(demo):
    return rows_of(demo)


@pytest.fixture(scope="module")
def stories():
    return tomllib.loads((card_folder() / "demo" / "stories.toml").read_text(encoding="utf-8"))["story"]


@pytest.fixture(scope="module")
def pictures(demo, rows):
    """Every picture that can be opened, as a small grey array by (story, variant)."""
    opened = {}
    for row in rows:
        if "image" in row:
            with Image.open(demo.parent / row["image"]) as image:
                assert image.size == (640, 360)
                try:
                    small = np.asarray(image.convert("RGB").resize((64, 36)), np.float64)
                except OSError:
                    continue
            opened[row["item_id"], row["variant_id"]] = small
    return opened


# ---------------------------------------------------------------- what is in it


def test_forty_stories_with_three_to_six_variants(rows):
    variants = collections.Counter(row["item_id"] for row in rows)
    assert len(variants) == 40
    assert set(variants.values()) <= {3, 4, 5, 6}
    assert 160 <= len(rows) <= 180
    for story, of_story in itertools.groupby(rows, key=lambda row: row["item_id"]):
        assert [row["variant_id"] for row in of_story] == list("abcdef"[: variants[story]])


def test_every_row_has_the_columns_and_something_to_show(rows):
    for row in rows:
        assert set(row) <= COLUMNS
        assert {"item_id", "variant_id", "title", "section", "language"} <= set(row)
        assert {"image", "caption", "audio"} & set(row)


def test_sections(rows):
    sections = {row["section"] for row in rows}
    expected = "science food city sport culture health money travel technology animals ads podcast"
    assert sections == set(expected.split())


def test_both_languages_and_stories_that_mix_them(rows):
    spoken = collections.defaultdict(set)
    for row in rows:
        spoken[row["item_id"]].add(row["language"])
        han = any("\u4e00" <= char <= "\u9fff" for char in row.get("caption", ""))
        assert "caption" not in row or han == (row["language"] == "zh")
    kinds = collections.Counter("+".join(sorted(languages)) for languages in spoken.values())
    assert kinds == {"en": 19, "zh": 19, "en+zh": 2}


def test_some_variants_lack_each_modality_and_a_third_has_sound(rows):
    missing = {name: sum(name not in row for row in rows) for name in ("image", "caption", "audio")}
    assert 4 <= missing["image"] <= 20
    assert 3 <= missing["caption"] <= 10
    assert 0.3 <= 1 - missing["audio"] / len(rows) <= 0.5


def test_no_headline_is_used_twice(rows):
    captions = [row["caption"] for row in rows if "caption" in row]
    assert len(set(captions)) == len(captions)


def test_the_first_variant_has_no_style_of_its_own(rows, stories):
    """The plain headline, always first in the file, must not be always first in the catalogue."""
    plain = {story["variant"][0].get("caption") for story in stories}
    firsts = [row["caption"] in plain for row in rows if row["variant_id"] == "a" and "caption" in row]
    assert 3 <= sum(firsts) <= 18


def test_the_styles_of_a_story_differ(stories):
    for story in stories:
        styles = [(v["style"], v.get("language", story["language"])) for v in story["variant"]]
        assert len(set(styles)) == len(styles), story["id"]


# ---------------------------------------------------------------- pictures


def test_exactly_one_picture_is_broken_and_the_loader_says_so(demo, rows, pictures):
    broken = [r for r in rows if "image" in r and (r["item_id"], r["variant_id"]) not in pictures]
    assert len(broken) == 1
    with pytest.raises(MediaDamaged):
        load_image(demo.parent / broken[0]["image"])


def test_pictures_of_a_story_are_pairwise_different(pictures):
    stories = collections.defaultdict(list)
    for (story, _), picture in pictures.items():
        stories[story].append(picture)
    for story, of_story in stories.items():
        for one, other in itertools.combinations(of_story, 2):
            assert np.abs(one - other).mean() > 8, story


def test_every_picture_is_colourful_or_contrasty(pictures):
    for key, picture in pictures.items():
        assert picture.std() > 14, key


def test_overlays_are_drawn_with_glyphs_of_the_shipped_font(stories):
    texts = [v["overlay"].split(":", 1)[1].strip() for s in stories for v in s["variant"] if "overlay" in v]
    assert len(texts) > 60
    for text in texts:
        assert missing_glyphs(text.replace("|", "\n"), font_paths()[0]) == "", text


def test_an_overlay_speaks_the_language_of_its_story(stories):
    for story in stories:
        for variant in story["variant"]:
            han = any("\u4e00" <= char <= "\u9fff" for char in variant.get("overlay", ""))
            language = variant.get("language", story["language"])
            if story["id"] != "pod-two-tongues":
                assert not (han and language == "en"), variant


# ---------------------------------------------------------------- sounds


def test_teasers_are_16_khz_mono_of_two_to_four_seconds(demo, rows):
    for row in rows:
        if "audio" in row:
            with wave.open(str(demo.parent / row["audio"])) as file:
                assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
                assert 2.0 <= file.getnframes() / 16_000 <= 4.0


def test_teasers_are_loud_without_clipping_and_all_different(demo, rows):
    seen = set()
    for row in rows:
        if "audio" in row:
            content = (demo.parent / row["audio"]).read_bytes()
            samples = np.frombuffer(content[44:], "<i2") / 32768
            assert 0.75 < np.abs(samples).max() < 0.85
            assert samples.std() > 0.02
            seen.add(hashlib.sha256(content).digest())
    assert len(seen) == sum("audio" in row for row in rows)


def test_the_loader_reads_a_teaser(demo, rows):
    row = next(row for row in rows if "audio" in row)
    samples = load_audio(demo.parent / row["audio"])
    assert samples.dtype == np.float32
    assert 32_000 <= samples.size <= 64_000


# ---------------------------------------------------------------- building


def test_the_catalogue_reads_without_problems(demo):
    catalogue = read_catalogue(demo)
    assert len(catalogue.items) == 40
    assert catalogue.problems == ()
    assert all(v.image is None or v.image.is_file() for v in catalogue.variants)


def test_the_card_is_listed():
    assert dataset_card("demo").modalities == ("text", "image", "audio")


@pytest.mark.slow
def test_the_same_bytes_in_another_process_with_other_settings(demo, tmp_path):
    script = "import sys; from pathlib import Path; from multimodal_dql.datasets.demo import build_demo;"
    script += "build_demo(Path(sys.argv[1]))"
    settings = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PATH": ""}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "again")], check=True, env=settings)
    assert checksums(tmp_path / "again") == checksums(demo.parent)


def test_it_is_used_again_when_it_is_complete(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.parent.rglob("*")}
    assert build_demo(demo.parent) == demo
    assert {path: path.stat().st_mtime_ns for path in demo.parent.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["changed", "deleted", "manifest"])
def test_it_is_made_anew_when_a_file_is_damaged(demo, tmp_path, damage):
    folder = tmp_path / "copy"
    expected = checksums(demo.parent)
    for name in expected:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((demo.parent / name).read_bytes())
    victim = folder / (
        "manifest.json" if damage == "manifest" else next(n for n in expected if n.endswith(".wav"))
    )
    if damage == "deleted":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-5])
    if damage == "manifest":
        # Without a manifest nothing says that the files are ours, so they are not replaced.
        with pytest.raises(OutputError, match="not part of the demo"):
            build_demo(folder)
        return
    build_demo(folder)
    assert checksums(folder) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(OutputError, match=r"thesis\.txt, which is not part of the demo"):
        build_demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="name a place where you may write"):
        build_demo(tmp_path / "file" / "demo")


@pytest.mark.slow
def test_the_default_folder_is_in_the_cache(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path))
    catalogue = build_demo()
    assert catalogue.parent.parent == tmp_path / "demo"
    # This folder is ours: it is made anew even if nothing in it says so any more.
    (catalogue.parent / "manifest.json").unlink()
    assert build_demo() == catalogue
    assert checksums(catalogue.parent) == checksums(demo.parent)


def test_importing_it_loads_nothing_heavy():
    script = "import sys, multimodal_dql.datasets.demo; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    heavy = {
        "tensorflow",
        "keras",
        "sklearn",
        "scipy",
        "librosa",
        "soundfile",
        "pyarrow",
        "transformers",
        "numba",
    }
    assert not heavy & set(done.stdout.split())
