from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from multimodal_dql.datasets.catalogue import Catalogue, read_catalogue
from multimodal_dql.errors import CatalogueError, CatalogueInvalid

Rows = Sequence[dict[str, Any]]

TWO: Rows = [
    {"item_id": "s1", "variant_id": "a", "caption": "Rain tomorrow", "image": "img/a.png"},
    {"item_id": "s1", "variant_id": "b", "caption": "明天有雨", "impressions": 10, "clicks": 3},
]


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Rows, *, charset: str = "utf-8", separator: str = ",") -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding=charset, newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    import pyarrow
    import pyarrow.parquet

    columns = list(dict.fromkeys(name for row in rows for name in row))
    full = [{name: row.get(name) for name in columns} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(full), path)
    return path


WRITERS: dict[str, Callable[[Path, Rows], Path]] = {
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
}


def problems_of(path: Path) -> list[str]:
    with pytest.raises(CatalogueInvalid) as caught:
        read_catalogue(path)
    problems = caught.value.fields["problems"]
    assert all(problem.severity == "error" for problem in problems)
    for problem in problems:  # every sentence exists in both languages, on one line
        assert "\n" not in problem.text("en")
        assert problem.text("en") != problem.text("zh")
    return [problem.text() for problem in problems]


def refusal_of(path: Path) -> str:
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(path)
    assert not isinstance(caught.value, CatalogueInvalid)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert caught.value.text("zh") != str(caught.value)
    return str(caught.value)


# What comes out


@pytest.mark.parametrize("suffix", WRITERS)
def test_rows_become_items_and_variants(tmp_path: Path, suffix: str) -> None:
    read = read_catalogue(WRITERS[suffix](tmp_path / f"c.{suffix}", TWO))
    (item,) = read.items
    first, second = item.variants
    assert (item.item_id, item.title) == ("s1", "s1")
    assert (first.variant_id, first.caption, first.image) == ("a", "Rain tomorrow", tmp_path / "img/a.png")
    assert (first.impressions, first.clicks, first.audio) == (0, 0, None)
    assert (second.caption, second.image, second.impressions, second.clicks) == ("明天有雨", None, 10, 3)
    assert (first.line, second.line) == {"jsonl": (1, 2), "csv": (2, 3), "parquet": (1, 2)}[suffix]
    assert read.problems == ()


def test_rows_of_an_item_need_not_stand_together(tmp_path: Path) -> None:
    rows = [
        {"item_id": i, "variant_id": v, "caption": i + v} for i, v in ("ba", "aa", "bb", "ac", "ab", "bc")
    ]
    read = read_catalogue(write_jsonl(tmp_path / "c.jsonl", rows))
    assert [item.item_id for item in read.items] == ["b", "a"]
    assert [v.caption for v in read.variants] == ["ba", "bb", "bc", "aa", "ac", "ab"]
    np.testing.assert_array_equal(read.item_index, [0, 0, 0, 1, 1, 1])
    assert read.item_index.dtype == np.int64


def test_results_are_frozen(tmp_path: Path) -> None:
    read = read_catalogue(write_jsonl(tmp_path / "c.jsonl", TWO))
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.variants[0].caption = "x"  # type: ignore[misc]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gb18030"])
def test_csv_dialects(tmp_path: Path, separator: str, charset: str) -> None:
    rows = [
        {"item_id": "甲", "variant_id": "1", "caption": "这一天，他们等了；十年"},
        {"item_id": "甲", "variant_id": "2", "caption": '他说："明天\n有雨"'},
    ]
    path = write_csv(tmp_path / "c.csv", rows, charset=charset, separator=separator)
    read = read_catalogue(path)
    assert [v.caption for v in read.variants] == [row["caption"] for row in rows]
    assert [v.line for v in read.variants] == [2, 3]


def test_a_semicolon_inside_captions_does_not_win_over_the_comma(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("item_id,variant_id,caption\ns,a,x;y;z;w\ns,b,q\n")
    assert [v.caption for v in read_catalogue(path).variants] == ["x;y;z;w", "q"]


def test_lines_of_rows_behind_a_multi_line_cell(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('item_id,variant_id,caption\r\ns,a,"one\r\ntwo"\r\n\r\ns,b,x\r\n', newline="")
    read = read_catalogue(path)
    assert [v.line for v in read.variants] == [2, 5]
    assert read.variants[0].caption == "one\r\ntwo"


def test_csv_ids_keep_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("item_id,variant_id,caption\n007,01,a\n007,1,b\n")
    read = read_catalogue(path)
    assert [(v.item_id, v.variant_id) for v in read.variants] == [("007", "01"), ("007", "1")]


def test_numbers_as_ids_and_gaps_in_counts(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "item_id": [7, 7, 8, 8],
            "variant_id": [1.0, 2.0, 1.0, 2.0],
            "caption": list("abcd"),
            "impressions": [12.0, float("nan"), None, 3.0],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet")
    read = read_catalogue(tmp_path / "c.parquet")
    assert [(v.item_id, v.variant_id) for v in read.variants] == [
        ("7", "1"),
        ("7", "2"),
        ("8", "1"),
        ("8", "2"),
    ]
    assert [v.impressions for v in read.variants] == [12, 0, 0, 3]


def test_free_columns_are_kept_as_text(tmp_path: Path) -> None:
    rows = [
        {**TWO[0], "title": "Weather", "lang": None, "n": 3.0, "hot": True, "tags": ["b", "天"]},
        {**TWO[1], "lang": ""},
    ]
    read = read_catalogue(write_jsonl(tmp_path / "c.jsonl", rows))
    assert read.variants[0].extra == {"title": "Weather", "n": "3", "hot": "true", "tags": '["b", "天"]'}
    assert read.variants[1].extra == {}
    assert read.items[0].title == "Weather"


def test_absolute_and_climbing_media_paths_are_allowed(tmp_path: Path) -> None:
    rows = [{**TWO[0], "image": "../x/a.png"}, {**TWO[1], "audio": "/data/b.wav"}]
    read = read_catalogue(write_jsonl(tmp_path / "c.jsonl", rows))
    assert read.variants[0].image == tmp_path / "../x/a.png"
    assert read.variants[1].audio == Path("/data/b.wav")


ids = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8)
captions = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(rows=[{"item_id": "s", "variant_id": "a", "caption": "\x00"}])
@given(
    rows=st.lists(
        st.fixed_dictionaries({"item_id": ids, "variant_id": ids, "caption": captions.filter(str.strip)}),
        min_size=1,
        max_size=5,
        unique_by=lambda row: row["variant_id"],
    )
)
def test_any_unicode_reads_back_equal_from_every_format(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    # A second variant for each item, so that there is something to choose.
    rows = [*rows, *({**row, "variant_id": row["variant_id"] + " 2"} for row in rows)]
    wanted = sorted((row["item_id"], row["variant_id"], row["caption"]) for row in rows)
    prints = set()
    for suffix, write in WRITERS.items():
        read = read_catalogue(write(tmp_path / f"c.{suffix}", rows))
        assert sorted((v.item_id, v.variant_id, v.caption) for v in read.variants) == wanted
        prints.add(read.fingerprint)
    assert len(prints) == 1


# Fingerprint


def test_fingerprint_ignores_format_and_folder(tmp_path: Path) -> None:
    prints = set()
    for number, (suffix, write) in enumerate(WRITERS.items()):
        folder = tmp_path / f"folder {number}"
        folder.mkdir()
        prints.add(read_catalogue(write(folder / f"c.{suffix}", TWO)).fingerprint)
    assert len(prints) == 1
    assert len(prints.pop()) == 64


def test_fingerprint_is_the_same_for_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", TWO)
    monkeypatch.chdir(tmp_path)
    assert read_catalogue("c.jsonl").fingerprint == read_catalogue(path).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"item_id": "s2"},
        {"variant_id": "c"},
        {"caption": "Rain tomorrow!"},
        {"image": "img/b.png"},
        {"audio": "img/a.png"},
        {"impressions": 1},
    ],
)
def test_fingerprint_follows_the_content(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = [{**TWO[0], "item_id": "s1"}, TWO[1], {**TWO[1], "variant_id": "z"}]
    before = read_catalogue(write_jsonl(tmp_path / "a.jsonl", rows)).fingerprint
    rows[0] = {**rows[0], **change}
    assert read_catalogue(write_jsonl(tmp_path / "b.jsonl", rows)).fingerprint != before


def test_fingerprint_does_not_confuse_neighbouring_fields(tmp_path: Path) -> None:
    rows = [
        {"item_id": "s", "variant_id": "a", "caption": "bc"},
        {"item_id": "s", "variant_id": "x", "caption": "y"},
    ]
    moved = [{**rows[0], "variant_id": "ab", "caption": "c"}, rows[1]]
    one, two = (write_jsonl(tmp_path / f"{n}.jsonl", r) for n, r in enumerate((rows, moved)))
    assert read_catalogue(one).fingerprint != read_catalogue(two).fingerprint


def test_fingerprint_of_part_of_a_catalogue(tmp_path: Path) -> None:
    read = read_catalogue(write_jsonl(tmp_path / "c.jsonl", TWO))
    same = Catalogue(read.path, read.items)
    assert same.fingerprint == read.fingerprint
    assert Catalogue(read.path, ()).fingerprint != read.fingerprint


# Rows that are wrong: all of them, each with file, line, field and cure


def test_all_problems_are_collected_in_order(tmp_path: Path) -> None:
    path = tmp_path / "stories.csv"
    path.write_text(
        "item_id,variant_id,image,caption,impressions,clicks\n"
        "s1,a,,one,10,20\n"
        ",b,,two,,\n"
        "s1,c,https://example.com/x.png,,-4,many\n"
        "s1,d,,,,\n"
        "s1,e,,five,1.5,\n"
        "s1,f,,six\n"
    )
    assert problems_of(path) == [
        "stories.csv, line 2, clicks: 20 clicks are more than 10 impressions; correct one of the two",
        "stories.csv, line 3, item_id: is empty; give every variant an item_id and a variant_id",
        "stories.csv, line 4, image: is a web address, which is never fetched;"
        " save the file and give its path",
        "stories.csv, line 4, impressions: is -4; counts cannot be negative",
        "stories.csv, line 4, clicks: is 'many', not a whole number; write digits only",
        "stories.csv, line 5, caption: the variant has no image, caption or audio; give at least one",
        "stories.csv, line 6, impressions: is '1.5', not a whole number; write digits only",
        "stories.csv, line 7: has 4 fields but the header has 6; quote texts that hold the separator",
    ]


def test_the_message_of_many_problems_is_bounded_but_the_list_is_not(tmp_path: Path) -> None:
    rows = [{"item_id": "s", "variant_id": str(n), "caption": ""} for n in range(500)]
    with pytest.raises(CatalogueInvalid) as caught:
        read_catalogue(write_jsonl(tmp_path / "c.jsonl", rows))
    assert len(caught.value.fields["problems"]) == 500
    assert "500 things to mend" in str(caught.value)
    assert str(caught.value).count("\n") < 30


def test_duplicate_variant_ids_name_the_first(tmp_path: Path) -> None:
    rows = [TWO[0], TWO[1], {**TWO[0], "caption": "again"}, {**TWO[0], "item_id": "other"}]
    (problem,) = problems_of(write_jsonl(tmp_path / "c.jsonl", rows))
    assert problem == (
        "c.jsonl, line 3, variant_id: variant 'a' of item 's1' is already on line 1; rename or remove one"
    )


def test_problems_carry_the_ids(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", [{**TWO[0], "clicks": 9}, TWO[1]])
    with pytest.raises(CatalogueInvalid) as caught:
        read_catalogue(path)
    (problem,) = caught.value.fields["problems"]
    assert (problem.item_id, problem.variant_id) == ("s1", "a")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"caption": ["x"]}, "caption: is list, not text"),
        ({"caption": "\ud83d"}, "caption: holds half a character"),
        ({"item_id": True}, "item_id: is bool, not text"),
        ({"item_id": "a\u0000b"}, r"item_id: holds a control character (U+0000)"),
        ({"variant_id": "x" * 300}, "variant_id: has 300 characters; use at most 200"),
        ({"variant_id": None}, "variant_id: is empty"),
        ({"image": "data:image/png;base64,AAAA"}, "image: is a web address"),
        ({"audio": "s3://bucket/a.wav"}, "audio: is a web address"),
        ({"image": "img\\a.png"}, "image: uses backslashes; write 'img/a.png'"),
        ({"impressions": True}, "impressions: is 'True', not a whole number"),
        ({"impressions": "9" * 5000}, "impressions: is '99"),
        ({"impressions": 10**20}, "impressions: is larger than 2^53"),
        ({"impressions": [1]}, "impressions: is '[1]', not a whole number"),
        ({"caption": "  \t ", "image": ""}, "caption: the variant has no image, caption or audio"),
        ({"note": "\udc80"}, "note: holds half a character"),
    ],
)
def test_wrong_values(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    (problem,) = problems_of(write_jsonl(tmp_path / "c.jsonl", [{**TWO[0], **change}, *TWO[1:]]))
    assert problem.startswith(f"c.jsonl, line 1, {told}")


def test_lines_that_are_not_json(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    good = json.dumps(TWO[0])
    path.write_text(f'{good}\n\n{{"item_id": \n[1]\n{"[" * 100_000}\n{good[:-1]}, "caption": "x"}}\n')
    told = problems_of(path)
    assert told[0].startswith("c.jsonl, line 3: is not one JSON object (Expecting value")
    assert told[1].startswith("c.jsonl, line 4: is not one JSON object (it is a list)")
    assert told[2].startswith("c.jsonl, line 5: is not one JSON object (")
    assert told[3] == "c.jsonl, line 6, caption: is given twice in one row; keep one"


def test_an_open_quote_is_found_where_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('item_id,variant_id,caption\ns,a,x\ns,b,"never closed\ns,c,y\n')
    (problem,) = problems_of(path)
    assert problem.startswith("c.csv, line 3: cannot be split into columns (unexpected end of data)")


# Files that are wrong as a whole: one line


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_empty_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"c.{suffix}"
    path.write_text("")
    assert "the file is empty; write one row a variant" in refusal_of(path)
    path.write_text("\n \n")
    assert "there are no rows; write one row a variant" in refusal_of(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_header_without_rows(tmp_path: Path, suffix: str) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / f"c.{suffix}"
    if suffix == "csv":
        path.write_text("item_id,variant_id,caption\n")
    else:
        empty: list[str] = []
        pyarrow.parquet.write_table(pyarrow.table({"item_id": empty, "variant_id": empty}), path)
    assert "there are no rows" in refusal_of(path)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "story,variant_id,caption",
            "there is no column 'item_id'; the columns are: story, variant_id, caption",
        ),
        ("ItemID,variant_id,caption", "there is no column 'item_id' (did you mean 'ItemID'? rename it)"),
        ("item id,varient_id,caption", "no column 'variant_id' (did you mean 'varient_id'? rename it)"),
        (
            "item_id,variant_id,captoin",
            "no column image, caption or audio (did you mean 'caption' by 'captoin'?)",
        ),
        ("item_id,variant_id,text", "no column image, caption or audio; add at least one of them"),
        ("item_id,variant_id,caption,caption", "the header names 'caption' twice"),
    ],
)
def test_wrong_columns(tmp_path: Path, header: str, told: str) -> None:
    path = tmp_path / "c.csv"
    row = ",".join("x" for _ in header.split(","))
    path.write_text(f"{header}\n{row}\n{row}\n")
    assert told in refusal_of(path)


def test_a_near_name_of_a_column_that_may_be_missing_is_a_warning(tmp_path: Path) -> None:
    rows = [{**row, "Impresions": 3} for row in ({**r} for r in TWO)]
    for row in rows:
        row.pop("impressions", None)
        row.pop("clicks", None)
    (problem,) = read_catalogue(write_jsonl(tmp_path / "c.jsonl", rows)).problems
    assert problem.severity == "warning"
    assert "did you mean 'impressions'?" in problem.text()


def test_items_with_one_variant_are_warnings_while_others_have_two(tmp_path: Path) -> None:
    rows = [*TWO, {"item_id": "alone", "variant_id": "a", "caption": "x"}]
    read = read_catalogue(write_jsonl(tmp_path / "c.jsonl", rows))
    (problem,) = read.problems
    assert (problem.severity, problem.item_id) == ("warning", "alone")
    assert "has one variant only" in problem.text()
    assert [item.item_id for item in read.items] == ["s1", "alone"]


def test_nothing_to_choose_anywhere_is_refused(tmp_path: Path) -> None:
    rows = [{**TWO[0], "item_id": "x"}, {**TWO[1], "item_id": "y"}]
    told = refusal_of(write_jsonl(tmp_path / "c.jsonl", rows))
    assert "no item has two variants" in told
    assert "same item_id" in told


def test_unreadable_encoding(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes("item_id,variant_id,caption\ns,a,Un café à Orléans\ns,b,Noël\n".encode("latin-1"))
    told = refusal_of(path)
    assert "is not UTF-8 or GB18030 text (byte 0xE9 in line 2); save it as UTF-8" in told
    path = tmp_path / "c.jsonl"
    path.write_bytes('{"item_id": "夏天来了"}'.encode("gb18030"))
    assert "is not UTF-8 text" in refusal_of(path)


def test_places_that_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "stories.csv").write_text("x")
    assert "no such file; did you mean 'stories.csv'?" in refusal_of(tmp_path / "storys.csv")
    assert "no such file; correct the path" in refusal_of(tmp_path / "none" / "c.csv")
    assert "is a folder; give a .csv, .jsonl or .parquet file" in refusal_of(tmp_path)
    fifo = tmp_path / "c.csv"
    os.mkfifo(fifo)
    assert "is a FIFO (named pipe); give a" in refusal_of(fifo)
    assert "is a device; give a" in refusal_of(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["c.xlsx", "c.json", "c", "c.csv.gz"])
def test_unknown_suffixes_say_which_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("x")
    assert "save it as .csv, .jsonl or .parquet" in refusal_of(path)


def test_a_text_file_named_parquet(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_text("item_id,variant_id\n")
    assert "is not a Parquet file that can be read" in refusal_of(path)


def test_a_cut_parquet_file(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "c.parquet", TWO)
    path.write_bytes(path.read_bytes()[:-20])
    assert "is not a Parquet file that can be read" in refusal_of(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300), st.text(max_size=200).map(lambda t: ("item_id,variant_id\n" + t).encode())
    )
)
@pytest.mark.parametrize("suffix", WRITERS)
def test_any_bytes_give_a_catalogue_or_an_error_of_ours(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"c.{suffix}"
    path.write_bytes(data)
    with contextlib.suppress(CatalogueError):
        read_catalogue(path)


def test_a_catalogue_of_20_000_rows_is_read(tmp_path: Path) -> None:
    text = io.StringIO()
    text.write("item_id,variant_id,caption,impressions,clicks\n")
    for n in range(20_000):
        text.write(f"s{n // 4},v{n % 4},headline number {n},{n % 1000},{n % 7 if n % 1000 > 6 else 0}\n")
    (tmp_path / "c.csv").write_text(text.getvalue())
    read = read_catalogue(tmp_path / "c.csv")
    assert (len(read.items), len(read.variants)) == (5_000, 20_000)
    assert len(read.fingerprint) == 64
