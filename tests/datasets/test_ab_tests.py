"""A/B tests as users write them: what is read, what is pooled, what is refused."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.datasets._ab_columns import outcome_columns
from multimodal_dql.datasets.ab_tests import (
    ABTests,
    component_folds,
    normalised_headline,
    read_ab_tests,
)
from multimodal_dql.errors import ABTestsError, ABTestsInvalid

HEADER = ("test", "variant", "impressions", "clicks", "headline", "image", "created")
ROWS: tuple[tuple[object, ...], ...] = (
    ("彗星", "甲", 1000, 20, "彗星今晚最亮", "a.png", "2024-05-01"),
    ("tea", "x", 500, 5, "Spring  TEA", "b.png", "2024-06-01T08:30:00+02:00"),
    ("彗星", "乙", 1100, 11, "🌠 抬头许愿", "a.png", ""),
    ("tea", "y", 400, 6, "ｓpring tea", "b.png", ""),
    ("tea", "z", 300, 9, "Spring tea", "c.png", ""),
    ("tea", "w", 300, 3, "قهوة", "c.png", ""),
    ("noodles", "n1", 100, 1, "Noodles", "", ""),
    ("noodles", "n2", 200, 0, "قهوة ", "", ""),
    ("alone", "only", 100, 2, "Nothing to compare", "", ""),
)


def as_csv(rows: Sequence[Sequence[object]] = ROWS, header: Sequence[str] = HEADER, **form: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", **form).writerows([header, *rows])  # type: ignore[arg-type]
    return text.getvalue()


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def same(a: ABTests, b: ABTests) -> None:
    """Equal in everything but the path."""
    for name, value in vars(a).items():
        if name == "replicates":
            for column, numbers in vars(value).items():
                np.testing.assert_array_equal(numbers, getattr(b.replicates, column))
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)
        elif name != "path":
            assert value == getattr(b, name), name


@pytest.fixture
def tests(tmp_path: Path) -> ABTests:
    return read_ab_tests(write(tmp_path / "tests.csv", as_csv()))


def test_arms_of_one_content_are_pooled_by_hand(tests: ABTests) -> None:
    assert tests.pool == "arm"
    assert tests.test_ids == ("彗星", "tea", "noodles")
    assert tests.test.tolist() == [0, 0, 1, 1, 1, 2, 2]
    # x and y show the same headline (case, width and blanks aside) and picture: 500 + 400 and 5 + 6.
    assert tests.arm_ids == ("甲", "乙", "x", "z", "w", "n1", "n2")
    assert tests.impressions.tolist() == [1000, 1100, 900, 300, 300, 100, 200]
    assert tests.clicks.tolist() == [20, 11, 11, 9, 3, 1, 0]
    assert tests.headlines[2] == "Spring  TEA"
    assert tests.images[:3] == ("a.png", "a.png", "b.png")
    assert tests.audios == (None,) * 7
    assert tests.created.tolist()[2] is None
    assert str(tests.created[1]) == "2024-06-01T06:30:00"
    assert tests.component.tolist() == [0, 1, 1]  # "قهوة" stands in tea and in noodles
    r = tests.replicates
    assert (r.group.tolist(), r.impressions.tolist(), r.clicks.tolist()) == ([0, 0], [500, 400], [5, 6])
    assert tests.cleaning == {
        "columns_ignored": 0,
        "columns_from_after_a_test": 0,
        "rows": 9,
        "tests_read": 4,
        "rows_in_risk_window": 0,
        "tests_in_risk_window": 0,
        "rows_without_impressions": 0,
        "rows_pooled": 1,
        "tests_with_one_arm": 1,
        "tests": 3,
        "arms": 7,
    }
    assert (tests.G, tests.A, tests.sizes.tolist()) == (3, 7, [2, 3, 2])
    assert tests.test_slices == (slice(0, 2), slice(2, 5), slice(5, 7))
    assert tests.rates[:2].tolist() == [0.02, 0.01]


def test_pooling_by_text_ignores_the_picture_and_forgets_it(tmp_path: Path) -> None:
    text = read_ab_tests(write(tmp_path / "t.csv", as_csv()), pool="text")
    assert text.arm_ids == ("甲", "乙", "x", "w", "n1", "n2")
    assert text.impressions.tolist()[2] == 1200
    assert (text.images[2], text.images[0]) == (None, "a.png")
    none = read_ab_tests(tmp_path / "t.csv", pool="none")
    assert none.A == 8
    # What is noise does not depend on how arms are pooled afterwards.
    for other in (text, none):
        assert other.replicates.impressions.tolist() == [500, 400]


def test_rows_without_content_are_arms_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "test,variant,impressions,clicks\na,1,10,1\na,2,10,2\na,3,0,0\n")
    for pool in ("text", "arm", "none"):
        tests = read_ab_tests(path, pool=pool)
        assert (tests.arm_ids, tests.replicates.groups) == (("1", "2"), 0)
        assert tests.cleaning["rows_without_impressions"] == 1


@pytest.mark.parametrize(
    "name", ["t.csv.gz", "t.CSV", "bom.csv", "gb.csv", "tab.tsv", "semicolon.csv", "t.parquet"]
)
def test_every_form_of_the_file_reads_the_same(tests: ABTests, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [row for row in ROWS if "قهوة" not in str(row[4]) and "🌠" not in str(row[4])]
    wanted = read_ab_tests(write(tmp_path / "plain.csv", as_csv(rows)), pool="none")
    if name.endswith("parquet"):
        columns = {
            key: [row[i] or None for row in rows] if key != "clicks" else [float(row[i]) for row in rows]
            for i, key in enumerate(HEADER)
        }
        pq.write_table(pa.table(columns), path)
    elif name.startswith("gb"):
        # GB18030 is recognised by its Chinese, so there has to be some.
        rows = [(*row[:4], "今天晚上哪里可以看到最亮的星星" + str(row[4])[:1], *row[5:]) for row in rows]
        wanted = read_ab_tests(write(tmp_path / "plain.csv", as_csv(rows).replace("ｓ", "s")), pool="none")
        write(path, as_csv(rows).replace("ｓ", "s"), "gb18030")
    else:
        delimiter = {"tab.tsv": "\t", "semicolon.csv": ";"}.get(name, ",")
        write(path, as_csv(rows, delimiter=delimiter), "utf-8-sig" if name == "bom.csv" else "utf-8")
    same(read_ab_tests(path, pool="none"), wanted)


def test_padding_and_subsets_keep_what_belongs_together(tests: ABTests) -> None:
    impressions, clicks, available = tests.padded()
    assert impressions.tolist() == [[1000, 1100, 0], [900, 300, 300], [100, 200, 0]]
    assert clicks.tolist() == [[20, 11, 0], [11, 9, 3], [1, 0, 0]]
    assert available.tolist() == [[True, True, False], [True, True, True], [True, True, False]]
    part = tests.subset(np.array([False, True, True]))
    assert part.test_ids == ("tea", "noodles")
    assert part.test.tolist() == [0, 0, 0, 1, 1]
    assert part.headlines == tests.headlines[2:]
    assert part.component.tolist() == [1, 1]
    assert part.starts.tolist() == [0, 3]
    same(tests.subset(np.ones(3, bool)), tests)
    with pytest.raises(ValueError, match="a mask over 3 tests"):
        tests.subset(np.array([True, False]))
    with pytest.raises(ValueError, match="a mask over 3 tests"):
        tests.subset(np.array([0, 1, 1]))  # type: ignore[arg-type]


PLAIN = "test,variant,impressions,clicks\n"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,1,10,11\n", "line 2, clicks: 11 clicks are more than 10 impressions"),
        ("a,1,-5,0\n", "line 2, impressions: is -5; counts cannot be negative"),
        ("a,1,10.5,1\n", "line 2, impressions: is '10.5', not a whole number"),
        ("a,1,10,many\n", "line 2, clicks: is 'many', not a whole number"),
        ("a,1,10,nan\n", "line 2, clicks: is 'nan', not a whole number"),
        ("a,1,99999999999999999999,1\n", "line 2, impressions: is larger than 2^53"),
        ("a,1,10,\n", "line 2, clicks: is empty; write the number, 0 if there were none"),
        (",1,10,1\n", "line 2, test: is empty; give every arm its test and its variant"),
        ("a,,10,1\n", "line 2, variant: is empty"),
        ("a,1,10\n", "line 2: has 3 fields but the header has 4"),
        ("a,1,10,1\na,1,10,2\n", "line 3, variant: variant '1' of test 'a' is already on line 2"),
        (f"{'x' * 201},1,10,1\n", "line 2, test: has 201 characters; use at most 200"),
    ],
)
def test_wrong_rows_say_line_field_and_cure(tmp_path: Path, rows: str, told: str) -> None:
    with pytest.raises(ABTestsInvalid) as caught:
        read_ab_tests(write(tmp_path / "t.csv", PLAIN + rows + "b,1,10,1\nb,2,10,2\n"))
    assert told in str(caught.value)
    assert "t.csv: 1 thing to mend" in str(caught.value)
    chinese = caught.value.text("zh")
    assert "1 处需要修改" in chinese
    assert told.split(": ", 1)[1] not in chinese


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", PLAIN + "a,1,-1,x\n" + "b,2,1,5\n" * 30)
    with pytest.raises(ABTestsInvalid) as caught:
        read_ab_tests(path)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("61 things to mend")  # two in line 2, 30 too many clicks, 29 repeated arms
    assert lines[-1] == "  ... and 41 more"


def test_a_time_that_is_none(tmp_path: Path) -> None:
    text = "test,variant,impressions,clicks,created\na,1,9,1,yesterday\na,2,9,1,2024-13-01\n"
    with pytest.raises(
        ABTestsInvalid, match="line 2, created: 'yesterday' is not a time; write it as 2024-05-31"
    ) as e:
        read_ab_tests(write(tmp_path / "t.csv", text))
    assert len(e.value.fields["problems"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", b"", "the file is empty; write one row an arm: test, variant, impressions, clicks"),
        ("t.csv", b"test,variant,impressions,clicks\n", "there are no rows"),
        (
            "t.csv",
            b"test_id,arm,impresions,clicks\na,1,2,1\n",
            "no column 'test' (did you mean 'test_id'? rename it) and no column 'variant' and no column "
            "'impressions' (did you mean 'impresions'? rename it); the columns are: test_id, arm, impresions, clicks",
        ),
        ("t.csv", b"test,variant,variant,clicks\na,1,2,1\n", "the header names 'variant' twice"),
        (
            "t.csv",
            b"clickability_test_id,headline,impressions\nx,y,3\n",
            "no column 'clicks'; the columns are",
        ),
        (
            "t.csv",
            "test,variant\nä,1\n".encode("latin-1"),
            "is not UTF-8 or GB18030 text (byte 0xE4 in line 2)",
        ),
        ("t.csv", "test,variant\nä,1\n".encode("utf-16"), "is UTF-16 or binary"),
        ("t.csv.gz", b"test,variant", "is not a whole gzip file"),
        ("t.csv.gz", gzip.compress(as_csv().encode())[:-20], "is not a whole gzip file"),
        ("t.parquet", b"PAR1 but not really", "is not a Parquet file that can be read"),
        ("t.parquet.gz", b"x", "'.parquet.gz' files are not read; save it as .csv, .csv.gz or .parquet"),
        ("t.xlsx", b"x", "'.xlsx' files are not read"),
        (
            "t.csv",
            PLAIN.encode() + b"a,1,10,1\nb,1,10,1\n",
            "no test has two different arms with impressions",
        ),
        ("t.csv", PLAIN.encode() + b"a,1,10,1\na,2,0,0\n", "no test has two different arms with impressions"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ABTestsError) as caught:
        read_ab_tests(tmp_path / name)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert any("\u4e00" <= c <= "\u9fff" for c in caught.value.text("zh"))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    write(tmp_path / "tests.csv", as_csv())
    with pytest.raises(ABTestsError, match=r"there is no such file; did you mean 'tests\.csv'"):
        read_ab_tests(tmp_path / "test.csv")
    with pytest.raises(ABTestsError, match=r"is a folder; give a \.csv, \.csv\.gz or \.parquet file"):
        read_ab_tests(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ABTestsError, match="FIFO"):
        read_ab_tests(tmp_path / "pipe.csv")


@given(st.text())
def test_blanks_do_not_make_another_headline(text: str) -> None:
    once = normalised_headline(text)
    assert normalised_headline(f"\n {text}\u3000") == once
    assert once == " ".join(once.split())


@pytest.mark.parametrize("text", ["Straße 5", "STRASSE 5", "strasse\u00a05", "Ｓtrasse ５"])
def test_case_and_width_do_not_make_another_headline(text: str) -> None:
    assert normalised_headline(text) == "strasse 5"


ROW = st.tuples(
    st.sampled_from("abcdef"),
    st.sampled_from(["red", "Red ", "green", "blue", ""]),
    st.sampled_from(["p", "q", ""]),
)


@given(st.lists(st.tuples(ROW, st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_no_count_is_lost_and_every_row_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[tuple[str, str, str], int, int]]
) -> None:
    rows = [(t, i, n + s, s, h, p, "") for i, ((t, h, p), n, s) in enumerate(drawn)]
    rows += [("kept", 1, 5, 1, "one", "", ""), ("kept", 2, 5, 2, "two", "", "")]
    path = write(tmp_path_factory.mktemp("rows") / "t.csv", as_csv(rows))
    for pool in ("text", "arm", "none"):
        found = read_ab_tests(path, pool=pool)
        c = found.cleaning
        shown: Counter[str] = Counter()
        for row in rows:
            shown[str(row[0])] += int(row[2])
        totals = np.bincount(found.test, found.impressions)
        assert dict(zip(found.test_ids, totals.tolist(), strict=True)) == {
            t: shown[t] for t in found.test_ids
        }
        assert (
            c["rows"]
            == c["rows_without_impressions"] + c["rows_pooled"] + c["tests_with_one_arm"] + c["arms"]
        )
        assert (np.diff(found.test) >= 0).all()
        assert (found.sizes >= 2).all()
        assert (found.clicks <= found.impressions).all()
        assert set(found.test.tolist()) == set(range(found.G))


@given(st.lists(st.lists(st.integers(0, 8), min_size=2, max_size=3, unique=True), min_size=1, max_size=12))
def test_components_agree_with_a_slow_search(
    tmp_path_factory: pytest.TempPathFactory, headlines: list[list[int]]
) -> None:
    rows = [
        (f"t{g}", a, 9, 1, f"h{h}", "", "") for g, found in enumerate(headlines) for a, h in enumerate(found)
    ]
    tests = read_ab_tests(write(tmp_path_factory.mktemp("linked") / "t.csv", as_csv(rows)))
    linked = [[bool(set(a) & set(b)) for b in headlines] for a in headlines]
    reach = np.array(linked)
    for _ in headlines:
        reach = reach @ reach
    np.testing.assert_array_equal(tests.component[:, None] == tests.component[None, :], reach)


def test_folds_keep_components_whole_and_are_even(tests: ABTests) -> None:
    fold = component_folds(tests, 2, 0)
    assert fold[1] == fold[2] != fold[0]
    big = tests.subset(np.array([True, False, False]))
    rng = np.random.default_rng(0)
    many = replace(big, test_ids=tuple(map(str, range(500))), component=np.sort(rng.integers(0, 300, 500)))
    fold = component_folds(many, 5, 3)
    assert np.bincount(fold).tolist() == [100] * 5
    for c in range(300):
        assert len(set(fold[many.component == c])) <= 1
    np.testing.assert_array_equal(fold, component_folds(many, 5, 3))
    assert (fold != component_folds(many, 5, 4)).any()


def test_outcome_columns_are_counted_and_never_read(tmp_path: Path) -> None:
    """`desk` is ignored, and so are the winner and the click rate, which became known after the test."""
    head, plain = "test,variant,impressions,clicks,headline", "a,{0},10,{0},标题{0}"
    clean = read_ab_tests(
        write(tmp_path / "a.csv", "\n".join([head, *(plain.format(k) for k in (1, 2)), ""]))
    )
    rows = [f"{plain.format(k)},LEAK,LEAK,LEAK" for k in (1, 2)]
    late = read_ab_tests(write(tmp_path / "b.csv", "\n".join([f"{head},Winner,点击率,desk", *rows, ""])))
    assert "LEAK" not in str(vars(late))
    counts = {"columns_ignored": 3, "columns_from_after_a_test": 2}
    assert late.cleaning == {**clean.cleaning, **counts}
    same(replace(late, cleaning=clean.cleaning), clean)


@pytest.mark.parametrize(
    ("name", "late"),
    [
        *(
            (n, True)
            for n in ("significance", "winner", "first_place", "Is Winner", "isWinner", "p-value", "CTR")
        ),
        *((n, True) for n in ("ctr_lift", "clicks_day2", "是否胜出", "显著性", "点击率", "ｐ值")),
        *(
            (n, False)
            for n in ("wonder", "headline", "desk", "author", "section", "spectrum", "标题", "wonders_of")
        ),
    ],
)
def test_names_tell_what_is_known_only_after_a_test(name: str, late: bool) -> None:
    assert outcome_columns([name]) == ([name] if late else [])


def test_a_shared_picture_links_tests_where_pictures_are_looked_at(tmp_path: Path) -> None:
    head = "test,variant,impressions,clicks,headline,image,audio"
    rows = ["a,1,9,1,A,p.png,s.wav", "a,2,9,1,B,q.png,", "b,1,9,1,C,p.png,", "b,2,9,1,D,,s.wav", ""]
    path = write(tmp_path / "t.csv", "\n".join([head, *rows]))
    assert read_ab_tests(path).component.tolist() == [0, 1]
    seeing = read_ab_tests(path, pictures=True)
    assert seeing.component.tolist() == [0, 0]
    assert (seeing.images[0], seeing.audios[0], seeing.audios[1]) == ("p.png", "s.wav", None)
