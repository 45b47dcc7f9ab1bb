"""``datasets check`` as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROWS, Call, write_catalogue


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_the_same_rows_are_checked_the_same_in_every_encoding(
    call: Call, stories: Path, encoding: str
) -> None:
    expected = call("datasets", "check", stories, "--json").out
    again = write_catalogue(stories.with_name(f"{encoding}-check.csv"), encoding=encoding)
    assert call("datasets", "check", again, "--json").out.replace(again.name, stories.name) == expected


def test_data_quality_exits_2_when_something_must_be_fixed(call: Call, stories: Path, tmp_path: Path) -> None:
    done = call("datasets", "check", stories, "--json")
    assert (done.code, done.err) == (2, "")
    assert "missing.png" in json.dumps(json.loads(done.out))
    good = [row for row in ROWS if "missing" not in row[2]]
    done = call("datasets", "check", write_catalogue(stories.with_name("good.csv"), good))
    assert done.code == 0, done.err
