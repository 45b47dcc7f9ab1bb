"""``encode`` as its users meet it, and catalogues that no command takes."""

from __future__ import annotations

import json
import math
import os
import re
import struct
import sys
import time
import zlib
from pathlib import Path

import pytest

from tests.commands.refusals import assert_refused
from tests.conftest import Call, write_catalogue, write_picture, write_tone


@pytest.mark.slow
def test_the_second_encode_encodes_nothing_and_says_so(call: Call, stories: Path, tmp_path: Path) -> None:
    rows = [("s", "a", "", f"A headline of {time.time_ns()}", ""), ("s", "b", "", "Another one", "")]
    catalogue = write_catalogue(tmp_path / "c.csv", rows)
    first = call("encode", catalogue, "--encoders", "use-multilingual", "--json")
    second = call("encode", catalogue, "--encoders", "use-multilingual", "--json")
    assert json.loads(first.out)["encoded"] >= 1
    assert (json.loads(second.out)["encoded"], json.loads(second.out)["cached"]) == (0, 2)
    assert re.fullmatch(r"1 stories, 2 variants: 0 embeddings made, 2 from the cache, .*\n", second.err)


def test_an_engine_that_is_unknown_or_not_installed(
    call: Call, stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(call("encode", stories, "--engine", "rey"), "did you mean 'ray'")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert_refused(call("encode", stories, "--engine", "ray"), "pip install 'multimodal-dql[ray]'")


HOSTILE_PICTURES = {
    "bomb.png": "20,000 x 20,000 pixels",
    "text.jpg": "is a text file",
    "fifo.png": "is a FIFO",
    "folder.png": "is a folder",
    "gone.png": "there is no such file",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("hostile")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(20_001)) for _ in range(20_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(png)
    (folder / "text.jpg").write_text("This is not a picture.\n")
    os.mkfifo(folder / "fifo.png")
    (folder / "folder.png").mkdir()
    samples = struct.pack("<f", math.nan) * 16_000
    form = struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(samples)) + samples
    (folder / "nan.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    write_picture(folder / "good.png", (90, 90, 200))
    write_tone(folder / "good.wav", 440.0)
    return folder


@pytest.mark.slow
def test_bad_media_cost_their_variants_and_are_told(call: Call, hostile: Path) -> None:
    rows = [("s", "good", "", "One headline", ""), ("s", "fine", "", "Another headline", "")]
    rows += [("s", name, name, "x", "") for name in HOSTILE_PICTURES] + [("s", "nan.wav", "", "x", "nan.wav")]
    catalogue = write_catalogue(hostile / "some.csv", rows)
    done = call(
        "encode", catalogue, "--encoders", "use-multilingual,efficientnet-lite0,speech-embedding", "--json"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["items"], result["variants"]) == (1, 2)
    for name, words in {**HOSTILE_PICTURES, "nan.wav": "not numbers"}.items():
        (told,) = [line for line in result["skipped"] if line.startswith(f"s / {name}")]
        assert words in told
        assert f"left out: {told}" in done.lines


@pytest.mark.parametrize("name", HOSTILE_PICTURES)
def test_when_bad_pictures_leave_nothing_the_reason_is_given(call: Call, hostile: Path, name: str) -> None:
    rows = [("s", "a", name, "x", ""), ("s", "b", name, "y", "")]
    catalogue = write_catalogue(hostile / f"{name}.csv", rows)
    done = call("encode", catalogue, "--encoders", "efficientnet-lite0")
    assert_refused(done, "no item with two usable variants is left", HOSTILE_PICTURES[name])


def test_when_a_bad_sound_leaves_nothing_the_reason_is_given(call: Call, hostile: Path) -> None:
    rows = [("s", "a", "", "x", "nan.wav"), ("s", "b", "", "y", "good.wav")]
    catalogue = write_catalogue(hostile / "nan.csv", rows)
    done = call("encode", catalogue, "--encoders", "speech-embedding")
    assert_refused(done, "no item with two usable variants is left", "not numbers")


HEADER = b"item_id,variant_id,caption\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (HEADER, "there are no rows"),
        (HEADER + b"s,a,x\n", "no item has two variants"),
        (HEADER + b"s,a,\xc9t\xe9 \xe0 la plage\ns,b,\xdcber\n", "is not UTF-8 or GB18030"),
        ((HEADER + b"s,a,x\ns,b,y\n").decode().encode("utf-16"), "UTF-16"),
        (b"item,variant_id,caption\ns,a,x\ns,b,y\n", "no column 'item_id'"),
    ],
    ids=["empty", "header", "one-variant", "latin-1", "utf-16", "no-item-id"],
)
@pytest.mark.parametrize("command", ["encode", "datasets check"])
def test_a_catalogue_that_is_none(
    call: Call, tmp_path: Path, command: str, content: bytes, words: str
) -> None:
    catalogue = tmp_path / "c.csv"
    catalogue.write_bytes(content)
    assert_refused(call(*command.split(), catalogue), "c.csv", words)


def test_wrong_rows_are_told_all_at_once(call: Call, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "item_id,variant_id,caption,impressions,clicks\ns,a,x,ten,0\ns,b,y,1,2\ns,c,z,-1,0\n"
    )
    done = call("encode", tmp_path / "c.csv")
    assert done.code == 2
    assert [line.split(",")[1] for line in done.lines[1:]] == [" line 2", " line 3", " line 4"]


def test_a_catalogue_that_is_no_file(call: Call, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "folder.csv").mkdir()
    assert_refused(call("encode", tmp_path / "fifo.csv"), "FIFO")
    assert_refused(call("encode", tmp_path / "folder.csv"), "folder")
    assert_refused(call("encode", tmp_path / "storys.csv"), "there is no such file")
    assert_refused(call("encode", "/dev/zero"), "device")
