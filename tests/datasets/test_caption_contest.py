"""Caption contests: which votes are used, what is left out and counted, what is refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.datasets.caption_contest import point_overdispersion, read_caption_contests
from multimodal_dql.errors import ABTestsError, ABTestsInvalid

HEADER = "contest,file,caption,funny,somewhat_funny,unfunny,count"
ROWS = (
    "7,7_summary_KLUCB,It was the cat.,10,20,70,100",
    "7,7_summary_KLUCB,it was  THE cat.,5,0,15,20",
    "7,7_summary_KLUCB,Ask the dog.,0,5,45,50",
    "7,7_summary_KLUCB,Nobody saw this,0,0,0,0",
    "7,7_summary_KLUCB_original,It was the cat.,90,5,5,100",
    "8,8-round1_summary_LilUCB,One alone,1,1,1,3",
    "8,8-round2_summary_RoundRobin,我先走了,3,3,4,10",
    "8,8-round2_summary_RoundRobin,Ask the DOG.,1,3,6,10",
    "9,9_summary_Random,Lost a,0,0,50,50",
    "9,9_summary_Random,Lost b,0,0,60,60",
    "10,10_summary_KLUCB,A,1,0,1,2",
    "10,10_summary_KLUCB,B,0,1,1,2",
)


def write(folder: Path, rows: tuple[str, ...] = ROWS, header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "captions.csv.gz").write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "7.jpg").write_bytes(b"never opened here")
    return folder


def test_votes_become_points_by_hand(tmp_path: Path) -> None:
    found = read_caption_contests(write(tmp_path / "caption_contest").parent)
    tests = found.tests
    assert tests.test_ids == ("7_summary_KLUCB", "8-round2_summary_RoundRobin", "10_summary_KLUCB")
    assert found.policy == ("KLUCB", "RoundRobin", "KLUCB")
    # Two captions that differ by case and blanks: 100 + 20 votes, 2 * 15 + 20 points.
    assert tests.impressions.tolist() == [240, 100, 20, 20, 4, 4]
    assert tests.clicks.tolist() == [50, 5, 9, 5, 2, 1]
    assert tests.headlines[2] == "我先走了"
    assert tests.images[:3] == (*[str(tmp_path / "caption_contest/images/7.jpg")] * 2, None)
    assert tests.component.tolist() == [0, 0, 1]  # the dog is asked in 7 and in 8
    assert tests.cleaning == {
        "rows": 12,
        "rows_of_another_question": 1,
        "files_without_a_funny_vote": 1,
        "rows_without_a_funny_vote": 2,
        "rows_without_votes": 1,
        "rows_pooled": 1,
        "contests_with_one_caption": 1,
        "contests_without_picture": 2,
        "contests": 3,
        "captions": 6,
        "votes": 194,
    }


def test_rounds_of_one_contest_are_one_component(tmp_path: Path) -> None:
    rows = ("8,8-round1_summary_LilUCB,a,1,1,1,3", "8,8-round1_summary_LilUCB,b,1,1,1,3", *ROWS[6:8])
    assert read_caption_contests(write(tmp_path, rows)).tests.component.tolist() == [0, 0]


def test_points_of_a_vote_go_together_by_hand() -> None:
    """All or nothing doubles the variance; always somewhat funny leaves none, which counts as 1."""
    assert point_overdispersion(np.array([[5, 0, 5]])) == 2.0
    assert point_overdispersion(np.array([[0, 8, 0]])) == 1.0
    # 1 of each: mean 1 point, variance 2/3; two clicks at 1/2 have 1/2.
    assert point_overdispersion(np.array([[1, 1, 1]])) == pytest.approx(4 / 3)


def test_summaries_of_the_source_say_contest_and_policy_in_their_names(tmp_path: Path) -> None:
    for name, funny in (("7_summary_KLUCB", 4), ("8_summary_LilUCB", 2)):
        rows = [
            "rank,caption,funny,somewhat_funny,unfunny",
            f"1,{name} a,{funny},1,1",
            f"2,{name} b,1,1,1",
            "",
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    found = read_caption_contests(tmp_path)
    assert found.policy == ("KLUCB", "LilUCB")
    assert found.tests.clicks.tolist() == [9, 3, 5, 3]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("7,7_summary_KLUCB,a,-1,0,1,0", "line 2, funny"),
        ("7,7_summary_KLUCB,a,1,many,1,0", "line 2, somewhat_funny"),
        ("7,7_summary_KLUCB,,1,0,1,0", "line 2, caption: is empty; write the caption"),
        ("7,votes of May,a,1,0,1,0", "line 2, file: 'votes of May' is no vote summary"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(ABTestsInvalid) as caught:
        read_caption_contests(write(tmp_path, (row,)))
    assert told in caught.value.text("en")


def test_what_is_no_contest_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ABTestsError, match=r"no captions\*.csv.*datasets show caption_contest"):
        read_caption_contests(tmp_path)
    with pytest.raises(ABTestsError, match="no column 'unfunny'"):
        read_caption_contests(write(tmp_path, ("1,2,3,4,5",), "contest,file,caption,funny,somewhat_funny"))
    with pytest.raises(ABTestsError, match="no contest has two captions"):
        read_caption_contests(write(tmp_path, ROWS[:2]))


@pytest.mark.realdata
@pytest.mark.skipif(not os.environ.get("MULTIMODAL_DQL_DATA"), reason="MULTIMODAL_DQL_DATA names no folder")
def test_the_real_contests() -> None:
    found = read_caption_contests(Path(os.environ["MULTIMODAL_DQL_DATA"]))
    tests, cleaning = found.tests, found.tests.cleaning
    assert (cleaning["rows"], tests.G, cleaning["rows_of_another_question"]) == (16736, 85, 30)
    assert cleaning["files_without_a_funny_vote"] == 1
    assert cleaning["contests_without_picture"] == 0
    assert len(np.unique(tests.component)) == 77
    assert found.overdispersion == pytest.approx(1.27, abs=0.01)
