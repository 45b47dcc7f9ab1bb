"""Reading the Mushroom table: by file or by folder, and what is refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.datasets.mushroom import FILES, read_mushrooms
from multimodal_dql.errors import UsageError

ROW = "p,x,s,n,t,p,f,c,n,k,e,?,s,s,w,w,p,w,o,p,k,s,u"
OTHER = "e,x,s,n,t,p,f,c,n,k,e,c,s,s,w,w,p,w,o,p,k,s,g"


def test_a_category_is_a_column_by_hand(tmp_path: Path) -> None:
    """Two rows that differ in the root (? or c) and in the habitat (g or u): 20 columns that are always 1, then
    2 + 2."""
    file = tmp_path / "table.csv"
    file.write_text(f"{ROW}\n{OTHER}\n\n", encoding="ascii")
    found = read_mushrooms(file)
    assert found.features.dtype == np.float32
    assert found.features.shape == (2, 24)
    assert (found.features.sum(axis=1) == 22).all()
    # Columns in order, categories of a column in the order of the alphabet: ? before c, g before u.
    assert found.features[:, 10:12].tolist() == [[1, 0], [0, 1]]
    assert found.features[:, -2:].tolist() == [[0, 1], [1, 0]]
    assert found.poisonous.tolist() == [True, False]


@pytest.mark.parametrize("inside", ["", "mushroom"])
@pytest.mark.parametrize("name", FILES)
def test_the_folder_may_hold_it_under_any_of_its_names(tmp_path: Path, name: str, inside: str) -> None:
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    raw = (ROW + "\n").encode("ascii")
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert read_mushrooms(tmp_path).poisonous.tolist() == [True]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "is empty; download it again"),
        (b"\n \n", "is empty"),
        ((ROW + "\n" + ROW[:-2]).encode(), "line 2: a row is e or p and 22 categories"),
        (("x" + ROW[1:]).encode(), "line 1: a row is e or p"),
        (gzip.compress(ROW.encode())[:-12], "cannot be read"),
        (b"\x1f\x8b" + bytes(40), "cannot be read"),
        ("é".encode() + ROW.encode(), "cannot be read"),
    ],
    ids=range(7),
)
def test_what_is_no_table_is_refused(tmp_path: Path, raw: bytes, told: str) -> None:
    file = tmp_path / FILES[0]
    file.write_bytes(raw)
    with pytest.raises(UsageError, match=told) as error:
        read_mushrooms(tmp_path)
    assert "请重新下载" in error.value.text("zh")


def test_a_folder_without_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no agaricus-lepiota.data .*`datasets show mushroom`"):
        read_mushrooms(tmp_path / "nowhere")


@pytest.mark.realdata
def test_the_whole_table() -> None:
    folder = os.environ.get("MULTIMODAL_DQL_DATA")
    if not folder:
        pytest.skip("MULTIMODAL_DQL_DATA does not name the folder of real data")
    found = read_mushrooms(Path(folder))
    assert found.features.shape == (8124, 117)
    assert (found.features.sum(axis=1) == 22).all()
    assert found.poisonous.sum() == 3916
