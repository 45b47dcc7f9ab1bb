"""Encoding at scale: killed and started again, by several processes at once, in memory that does not grow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal_dql.datasets.catalogue import read_catalogue
from multimodal_dql.encoders.inputs import decoded
from multimodal_dql.encoders.store import VectorStore, store_infos
from multimodal_dql.encoding import Job, make
from multimodal_dql.encoding_stream import encode_file
from multimodal_dql.errors import CatalogueError, CatalogueInvalid, MediaError
from multimodal_dql.features import features
from tests.conftest import write_catalogue, write_picture
from tests.encoders.toys import Greys, Lengths

REAL = "use-multilingual,efficientnet-lite0"


def cache_bytes(cache: Path) -> dict[str, bytes]:
    """Everything that matters of a cache: rows, index and count of each store."""
    return {str(file.relative_to(cache)): file.read_bytes() for file in sorted(cache.glob("*/*.*"))}


class Neighbours(Lengths):
    """Text -> its number of characters, and that of all texts it is encoded with: breaks the contract, and so shows
    every batch in the bytes.
    """

    name = fingerprint = "neighbours"

    def encode(self, items):
        return np.array([[len(text), sum(map(len, items))] for text in items], np.float32).reshape(-1, 2)


@pytest.fixture
def stories(tmp_path):
    """1,000 texts of 700 different ones, so that later units repeat what earlier ones hold."""
    rows = [(f"s{n // 4}", str(n), "", "x" * (n % 700 + 1), "") for n in range(1000)]
    return write_catalogue(tmp_path / "c.csv", rows)


class Stop(Exception):
    pass


def stopping(after):
    """A progress callback that gives up after so many rows."""

    def stop(name, done, total):
        if done == after:
            raise Stop

    return stop


# The same bytes, whatever happened in between


@pytest.mark.parametrize("rows", [[10], [256, 300], [255, 257, 512, 768, 999], [600, 600, 600]])
def test_an_interrupted_run_goes_on_with_the_same_batches(stories, tmp_path, rows):
    encode_file(stories, [Neighbours()], cache=tmp_path / "whole")
    for after in rows:
        with pytest.raises(Stop):
            encode_file(stories, [Neighbours()], cache=tmp_path / "parts", progress=stopping(after))
    made = encode_file(stories, [Neighbours()], cache=tmp_path / "parts")
    assert made.encoded + made.cached == 700
    assert cache_bytes(tmp_path / "parts") == cache_bytes(tmp_path / "whole")


def test_features_makes_the_same_batches_as_the_command(stories, tmp_path):
    encode_file(stories, [Neighbours()], cache=tmp_path / "file")
    features(read_catalogue(stories), [Neighbours()], cache=tmp_path / "features")
    assert cache_bytes(tmp_path / "features") == cache_bytes(tmp_path / "file")


def test_rows_of_an_item_that_stand_apart_change_no_batch(tmp_path):
    rows = [(f"s{n % 150}", str(n), "", "x" * (n + 1), "") for n in range(600)]
    catalogue = write_catalogue(tmp_path / "c.csv", rows)
    encode_file(catalogue, [Neighbours()], cache=tmp_path / "file")
    features(read_catalogue(catalogue), [Neighbours()], cache=tmp_path / "features")
    assert cache_bytes(tmp_path / "features") == cache_bytes(tmp_path / "file")


def test_another_encoder_beside_it_changes_no_batch(stories, tmp_path):
    encode_file(stories, [Neighbours()], cache=tmp_path / "alone")
    encode_file(stories, [Lengths(), Neighbours()], cache=tmp_path / "beside")
    alone, beside = cache_bytes(tmp_path / "alone"), cache_bytes(tmp_path / "beside")
    assert alone.items() < beside.items()


def test_a_unit_is_written_while_the_next_is_encoded(tmp_path, monkeypatch):
    """The disk answers only when the next unit has begun; what is under way is not encoded again."""
    rows = [(f"s{n // 4}", str(n), "", "x" * (n % 256 + 1 + (n >= 512)), "") for n in range(1024)]
    catalogue = write_catalogue(tmp_path / "c.csv", rows)  # the second unit repeats the first
    encode_file(catalogue, [Neighbours()], cache=tmp_path / "whole")
    later, append = threading.Event(), VectorStore.append
    seen: list[str] = []

    class Announces(Neighbours):
        def encode(self, items):
            seen.extend(items)
            if len(seen) > 256:
                later.set()
            return super().encode(items)

    def slow(self, vectors):
        assert later.wait(60)
        append(self, vectors)

    monkeypatch.setattr(VectorStore, "append", slow)
    encode_file(catalogue, [Announces()], cache=tmp_path / "behind")
    assert len(seen) == 257
    assert cache_bytes(tmp_path / "behind") == cache_bytes(tmp_path / "whole")


def test_what_cannot_be_written_stops_the_run(stories, tmp_path, monkeypatch):
    def full(self, vectors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VectorStore, "append", full)
    with pytest.raises(OSError, match="No space left"):
        encode_file(stories, [Neighbours()], cache=tmp_path / "cache")


def commands(catalogue: Path, cache: Path, encoders: str) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "multimodal_dql", "encode", str(catalogue), "--encoders", encoders]
    return command, {**os.environ, "MULTIMODAL_DQL_CACHE": str(cache)}


def rows_in(cache: Path) -> int:
    return sum(info.rows for info in store_infos(cache / "features"))


def generated(folder: Path, texts: int, pictures: int) -> Path:
    """A catalogue of texts in two languages, the first of them with pictures, all different."""
    rng = np.random.default_rng(5)
    words = ["harbour", "choir", "秋天", "nurse", "why", "a", "bridge", "quietly", "面包师", "nobody"]
    rows = []
    for n in range(texts):
        picture = ""
        if n < pictures:
            picture = f"{n}.png"
            write_picture(folder / picture, (n % 251, n // 251, int(rng.integers(256))))
        text = " ".join(str(word) for word in rng.choice(words, rng.integers(3, 20)))
        rows.append((f"s{n // 4}", str(n), picture, f"{text} {n}", ""))
    return write_catalogue(folder / "c.csv", rows)


def kill_five_times(catalogue: Path, parts: Path, whole: Path) -> list[float]:
    """Encodes `catalogue` into `whole` in one go, and into `parts` with five deaths on the way; the shares of the
    rows that each of these left behind.
    """
    began = time.perf_counter()
    command, environment = commands(catalogue, whole, REAL)
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    print(f"uninterrupted: {time.perf_counter() - began:.0f} s")
    total = rows_in(whole)
    command, environment = commands(catalogue, parts, REAL)
    left = []
    for share in (0.1, 0.3, 0.5, 0.7, 0.97):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and rows_in(parts) < share * total:
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        left.append(rows_in(parts) / total)
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    return left


@pytest.mark.slow
def test_five_times_kill_9_and_the_result_is_that_of_one_run(tmp_path, cache):
    catalogue = generated(tmp_path, texts=2500, pictures=160)
    for name in ("parts", "whole"):  # the conversion of the picture model is no part of this
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoders").symlink_to(cache / "encoders")
    left = kill_five_times(catalogue, tmp_path / "parts", tmp_path / "whole")
    assert left == sorted(left)
    assert left[-1] < 1
    assert cache_bytes(tmp_path / "parts/features") == cache_bytes(tmp_path / "whole/features")


def test_two_processes_at_once_leave_what_one_leaves(stories, tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from multimodal_dql.encoding_stream import encode_file\n"
        "from tests.test_encoding import Neighbours\n"
        "encode_file(sys.argv[1], [Neighbours()], cache=Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(stories), str(tmp_path / "both")]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    encode_file(stories, [Neighbours()], cache=tmp_path / "one")
    assert cache_bytes(tmp_path / "both") == cache_bytes(tmp_path / "one")


# Memory

PEAK = """
import sys
from pathlib import Path
from multimodal_dql.encoding_stream import encode_file
from tests.encoders.toys import Lengths
encode_file(sys.argv[1], [Lengths()], cache=Path(sys.argv[2]))
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(line.split()[1]) * 1024)
"""


def peak_bytes(catalogue: Path, cache: Path) -> int:
    """Most memory of a process that encodes; `ru_maxrss` would count what this one has when it forks."""
    command = [sys.executable, "-c", PEAK, str(catalogue), str(cache)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_memory_grows_by_bookkeeping_only(tmp_path, suffix):
    """A row of text, its objects and its vector would be two kilobytes; what is kept is some 50 bytes."""
    peaks = []
    for n in (2_000, 60_000):
        path = tmp_path / f"{n}.{suffix}"
        text = "a headline that nobody has read before " * 4
        with path.open("w") as out:
            if suffix == "csv":
                out.write("item_id,variant_id,caption\n")
            for k in range(n):
                row = f"s{k // 4},{k},{text}{k}\n"
                json_row = f'{{"item_id": "s{k // 4}", "variant_id": "{k}", "caption": "{text}{k}"}}\n'
                out.write(row if suffix == "csv" else json_row)
        peaks.append(peak_bytes(path, tmp_path / str(n)))
    assert (peaks[1] - peaks[0]) / 58_000 < 500


class Sounds:
    """Items that say how large they are."""

    def __init__(self, size):
        self.nbytes = size


def test_matrices_are_multiplied_on_one_thread():
    from threadpoolctl import threadpool_info, threadpool_limits

    class Threads(Lengths):
        name = "threads"

        def encode(self, items):
            self.seen += [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
            return np.zeros((len(items), 2), np.float32)

    key, encoder = b"k" * 32, Threads()
    with threadpool_limits(limits=2, user_api="blas"):
        encoder.encode([])
        assert set(encoder.seen) == {2}
        encoder.seen.clear()
        make({"threads": encoder}, Job({key: "x"}, {"threads": frozenset([key])}), ["x"])
    assert set(encoder.seen) == {1}


def test_large_items_go_to_the_encoder_in_smaller_batches():
    class Counting(Lengths):
        name = "counting"

        def encode(self, items):
            self.seen.append(len(items))
            return np.zeros((len(items), 2), np.float32)

    keys = [bytes([n]) * 32 for n in range(16)]
    encoder = Counting()
    made = make(
        {"counting": encoder},
        Job(dict.fromkeys(keys, ""), {"counting": frozenset(keys)}),
        [Sounds(20 << 20)] * 16,
    )
    assert encoder.seen == [4, 4, 4, 4]
    assert list(made.vectors["counting"]) == keys


def grey(path: Path, level: int) -> Path:
    Image.new("RGB", (8, 8), (level, level, level)).save(path)
    return path


def test_files_are_decoded_a_few_ahead_and_no_more(tmp_path):
    asked = []

    def paths():
        for n in range(40):
            asked.append(n)
            yield grey(tmp_path / f"{n}.png", n)

    items = decoded("image", paths())
    for n in range(40):
        assert next(items)[0, 0, 0] == n
        assert n < len(asked) <= n + 10
    assert next(items, None) is None


# What is lost


@pytest.fixture
def broken(tmp_path):
    """Sixty pictures, of which every seventh is broken, named twice each; two stories lose too much."""
    rows = []
    for n in range(60):
        path = tmp_path / f"{n}.png"
        path.write_text("no picture") if n % 7 == 0 else grey(path, n)
    for n in range(120):
        rows.append((f"s{n // 3}", str(n), f"{n % 60}.png", f"text {n}", ""))
    rows += [
        ("single", "a", "1.png", "alone", ""),
        ("gone", "a", "0.png", "", ""),
        ("gone", "b", "nowhere.png", "", ""),
    ]
    return write_catalogue(tmp_path / "c.csv", rows)


def test_broken_files_cost_their_variants_and_the_order_stays(broken, tmp_path):
    streamed = encode_file(broken, [Lengths(), Greys()], cache=tmp_path / "file")
    held = features(read_catalogue(broken), [Lengths(), Greys()], cache=tmp_path / "features")
    assert cache_bytes(tmp_path / "file") == cache_bytes(tmp_path / "features")
    lost = {p.variant_id for p in streamed.skipped if p.item_id != "gone" and isinstance(p.error, MediaError)}
    assert lost == {str(n) for n in range(120) if n % 60 % 7 == 0}
    told = sorted(problem.text() for problem in streamed.skipped)
    assert told == sorted(problem.text() for problem in held.skipped)
    assert streamed.items == len(held.catalogue.items)
    assert streamed.variants == len(held.catalogue.variants)
    assert (streamed.encoded, streamed.cached) == (held.encoded, held.cached)
    for variant, vector in zip(held.catalogue.variants, held.vectors["greys"], strict=True):
        if variant.image is not None:
            n = int(variant.image.stem)
            assert vector.tolist() == [n, n, n]


def test_strict_stops_at_the_first_and_keeps_what_is_made(broken, tmp_path):
    with pytest.raises(MediaError, match=r"0\.png"):
        encode_file(broken, [Greys()], cache=tmp_path / "cache", strict=True)
    (info,) = store_infos(tmp_path / "cache")
    assert info.rows > 0


def test_a_content_that_fails_is_tried_once(tmp_path):
    class Picky(Lengths):
        name = fingerprint = "picky"

        def encode(self, items):
            if "no" in items:
                self.seen.append("no")
                raise ValueError("I do not like no")
            return super().encode(items)

    rows = [(f"s{n // 3}", str(n), "", "no" if n % 3 == 0 else f"yes {n}", "") for n in range(900)]
    encoder = Picky()
    made = encode_file(write_catalogue(tmp_path / "c.csv", rows), [encoder], cache=tmp_path / "cache")
    assert encoder.seen.count("no") == 2  # with its neighbours, then alone
    assert (made.items, made.variants, made.encoded) == (300, 600, 600)
    assert len(made.skipped) == 300


def test_nothing_left_and_wrong_rows_are_told_as_ever(tmp_path):
    rows = [("s", "a", "gone.png", "", ""), ("s", "b", "gone.png", "", "")]
    with pytest.raises(CatalogueError, match=r"no item with two usable variants is left.*gone\.png"):
        encode_file(write_catalogue(tmp_path / "c.csv", rows), [Greys()], cache=tmp_path / "cache")
    twice = [("s", "a", "", "x", ""), ("s", "a", "", "y", ""), ("s", "b", "", "z", "")]
    with pytest.raises(CatalogueInvalid, match="line 3"):
        encode_file(write_catalogue(tmp_path / "d.csv", twice), [Lengths()], cache=tmp_path / "cache")


def test_a_catalogue_that_changes_meanwhile_is_noticed(stories, tmp_path):
    def change(name, done, total):
        if done == 300:
            rows = [("s", str(n), "", "y", "") for n in range(400)]
            write_catalogue(stories, rows)

    with pytest.raises(CatalogueError, match="changed while it was read"):
        encode_file(stories, [Lengths()], cache=tmp_path / "cache", progress=change)
