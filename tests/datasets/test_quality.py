from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from multimodal_dql.datasets.catalogue import Catalogue, read_catalogue
from multimodal_dql.datasets.media import MediaLoader
from multimodal_dql.datasets.quality import QualityReport, check_catalogue


@pytest.fixture(scope="module")
def loader() -> Iterator[MediaLoader]:
    with MediaLoader() as loader:
        yield loader


def catalogue(folder: Path, rows: list[dict[str, Any]]) -> Catalogue:
    path = folder / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_catalogue(path)


def variants(item: str, *fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"item_id": item, "variant_id": "abcdefgh"[n], **values} for n, values in enumerate(fields)]


def codes(report: QualityReport) -> list[str]:
    return [problem.error.fields["code"] for problem in report.problems]


def test_a_good_catalogue(tmp_path: Path, loader: MediaLoader) -> None:
    for n in range(2):
        Image.new("RGB", (20, 10), (n * 50, 0, 0)).save(tmp_path / f"{n}.png")
        soundfile.write(tmp_path / f"{n}.wav", np.full(1600, 0.1 * (n + 1)), 16_000)
    rows = variants(
        "s1",
        {"caption": "one", "image": "0.png", "audio": "0.wav", "impressions": 1000, "clicks": 30},
        {"caption": "two", "image": "1.png", "audio": "1.wav", "impressions": 1040, "clicks": 20},
    )
    rows += variants("s2", {"caption": "x"}, {"caption": "y"})
    report = check_catalogue(catalogue(tmp_path, rows), loader=loader)
    assert report.problems == ()
    assert not report.must_fix
    assert (report.items, report.variants) == (2, 4)
    assert report.present == {"image": 2, "caption": 4, "audio": 2}
    assert report.missing == {"image": 2, "caption": 0, "audio": 2}
    assert report.duplicates == {"image": 0, "caption": 0, "audio": 0, "variant": 0, "headline": 0}
    assert (report.media_checked, report.media_broken) == (4, 0)
    assert loader.pids  # a loader that was given stays open


def test_broken_media_must_be_fixed(tmp_path: Path, loader: MediaLoader) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    Image.new("RGB", (20, 10)).save(tmp_path / "good.png")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16_000, subtype="FLOAT")
    rows = variants(
        "s1",
        {"caption": "a", "image": "text.jpg"},
        {"caption": "b", "image": "good.png", "audio": "nan.wav"},
        {"caption": "c", "image": "none.png"},
        {"caption": "d", "image": "text.jpg"},
    )
    report = check_catalogue(catalogue(tmp_path, rows), loader=loader)
    assert report.must_fix
    assert (report.media_checked, report.media_broken) == (4, 3)
    errors = [problem for problem in report.problems if problem.severity == "error"]
    assert [(p.variant_id, p.error.fields["code"]) for p in errors] == [
        ("a", "not_a_picture"),
        ("b", "sound_not_finite"),
        ("c", "missing"),
        ("d", "not_a_picture"),
    ]
    assert errors[0].where == "c.jsonl, line 1, image"
    assert "is a text file, not a picture" in errors[0].text()
    # the same broken file in two of four variants is one more finding, a warning behind the errors
    assert codes(report)[4:] == ["same_image"]


def test_without_media_nothing_is_opened(tmp_path: Path) -> None:
    rows = variants("s1", {"image": "none.png"}, {"image": "nowhere.png"})
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert (report.problems, report.media_checked, report.must_fix) == ((), 0, False)


def test_silence_is_a_warning(tmp_path: Path, loader: MediaLoader) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(1600), 16_000)
    soundfile.write(tmp_path / "loud.wav", np.full(1600, 0.5), 16_000)
    rows = variants("s1", {"audio": "quiet.wav"}, {"audio": "loud.wav"})
    report = check_catalogue(catalogue(tmp_path, rows), loader=loader)
    assert codes(report) == ["silent"]
    assert not report.must_fix


def test_the_same_bytes_under_two_names(tmp_path: Path, loader: MediaLoader) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    Image.new("RGB", (20, 10), "red").save(tmp_path / "c.png")
    rows = variants(
        "s1", *({"caption": c, "image": f"{i}.png"} for c, i in (("one", "a"), ("two", "b"), ("three", "c")))
    )
    read = catalogue(tmp_path, rows)
    report = check_catalogue(read, loader=loader)
    assert codes(report) == ["same_image"]
    assert "variants 'a', 'b' share one picture while others differ" in report.problems[0].text()
    assert report.duplicates["image"] == 1
    assert (
        check_catalogue(read, media=False).problems == ()
    )  # names differ, and names are all that is looked at


def test_the_same_sound_under_two_names(tmp_path: Path, loader: MediaLoader) -> None:
    for name, loud in (("a", 0.1), ("b", 0.1), ("c", 0.2)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(1600, loud), 16_000)
    rows = variants("s1", *({"caption": c, "audio": f"{c}.wav"} for c in "abc"))
    assert codes(check_catalogue(catalogue(tmp_path, rows), loader=loader)) == ["same_audio"]


def test_what_all_variants_share_is_the_constant_of_a_test(tmp_path: Path) -> None:
    rows = variants("s1", *({"caption": c, "image": "same.png"} for c in "xyz"))
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert report.problems == ()
    assert report.duplicates["image"] == 2


def test_the_same_caption_in_some_variants(tmp_path: Path) -> None:
    captions = ("Rain tomorrow", " rain  TOMORROW", "Sun")
    rows = variants("s1", *({"caption": c, "image": f"{n}.png"} for n, c in enumerate(captions)))
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert codes(report) == ["same_caption"]
    assert report.duplicates["caption"] == 1


def test_variants_that_are_the_same_in_every_way(tmp_path: Path) -> None:
    rows = variants("s1", {"caption": "Rain"}, {"caption": "Sun"}, {"caption": "rain"})
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert codes(report) == ["same_variant"]
    assert "variants 'a', 'c' are the same in every way" in report.problems[0].text()
    assert report.duplicates == {"image": 0, "caption": 1, "audio": 0, "variant": 1, "headline": 0}


def test_a_headline_in_two_items(tmp_path: Path) -> None:
    rows = variants("s1", {"caption": "明天有雨"}, {"caption": "x"}) + variants(
        "s2", {"caption": "y"}, {"caption": " 明天有雨 "}
    )
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert codes(report) == ["headline_elsewhere"]
    assert "'明天有雨' is also in 's2'" in report.problems[0].text()
    assert report.problems[0].item_id == "s1"
    assert report.duplicates["headline"] == 1


def test_warnings_from_reading_are_kept(tmp_path: Path) -> None:
    rows = variants("s1", {"caption": "x"}, {"caption": "y"}) + variants("s2", {"caption": "z"})
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert codes(report) == ["one_variant"]
    assert not report.must_fix


def test_suspicious_captions_name_their_place(tmp_path: Path) -> None:
    rows = variants("s1", {"caption": "<b>x</b>"}, {"caption": " ", "image": "a.png"})
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert [(p.where, p.error.fields["code"]) for p in report.problems] == [
        ("c.jsonl, line 1, caption", "html"),
        ("c.jsonl, line 2, caption", "blank"),
    ]


@pytest.mark.parametrize(
    ("impressions", "found"),
    [
        ([1000, 1000], False),
        ([1000, 1147], False),  # chi2 = 147**2 / 2147 = 10.06, p = .0015: not yet
        ([1000, 1160], True),  # chi2 = 160**2 / 2160 = 11.85, p = .0006
        ([0, 0], False),
        ([1000, 0], True),
        ([5, 9], False),
        ([1000, 1020, 990, 1010], False),
        ([1000, 1000, 1000, 1300], True),
    ],
)
def test_sample_ratio(tmp_path: Path, impressions: list[int], found: bool) -> None:
    rows = variants("s1", *({"caption": str(n), "impressions": i} for n, i in enumerate(impressions)))
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert (codes(report) == ["unequal"]) is found
    assert not report.must_fix


def test_sample_ratio_false_alarms(tmp_path: Path) -> None:
    """1,000 fair items of four variants: one alarm expected, seven have a chance below 1 in 10,000."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for n in range(1000):
        shown = rng.multinomial(4000, [0.25] * 4)
        rows += variants(
            f"s{n}", *({"caption": f"{n} {k}", "impressions": int(i)} for k, i in enumerate(shown))
        )
    report = check_catalogue(catalogue(tmp_path, rows), media=False)
    assert len(report.problems) <= 6


def test_the_report_as_json(tmp_path: Path, loader: MediaLoader) -> None:
    rows = variants("s1", {"caption": "x", "image": "none.png"}, {"caption": "SHOUTING ALL THE TIME"})
    report = check_catalogue(catalogue(tmp_path, rows), loader=loader)
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["must_fix"] is True
    assert plain["present"] == {"image": 1, "caption": 2, "audio": 0}
    first, second = plain["problems"]
    assert (first["severity"], first["code"], first["variant_id"]) == ("error", "missing", "a")
    assert "there is no such file" in first["en"]
    assert "没有这个文件" in first["zh"]
    assert (second["severity"], second["code"]) == ("warning", "capitals")
