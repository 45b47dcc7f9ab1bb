import hashlib
import subprocess
import sys

import numpy as np
import pytest

from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.encoders.store import VectorStore, clear_stores, store_infos

INFO = EncoderInfo("toy", "text", 3, "toy-1")


def key(text):
    return hashlib.sha256(str(text).encode()).digest()


def rows(*names):
    return {key(name): np.full(3, name, np.float32) for name in names}


@pytest.fixture
def store(tmp_path):
    store = VectorStore(tmp_path, INFO)
    store.append(rows(1, 2, 3))
    return store


def names_in(store, *names):
    found = store.read([key(name) for name in names])
    for name in names:
        if key(name) in found:
            np.testing.assert_array_equal(found[key(name)], np.full(3, name))
    return {name for name in names if key(name) in found}


def test_what_is_written_is_read_again_by_another_store(store, tmp_path):
    assert names_in(VectorStore(tmp_path, INFO), 1, 2, 3, 4) == {1, 2, 3}
    store.append(rows(4))
    assert names_in(store, 1, 4) == {1, 4}


def test_nothing_written_is_nothing_read(tmp_path):
    assert VectorStore(tmp_path / "new", INFO).read([key(1)]) == {}
    assert not (tmp_path / "new").exists()


def test_another_fingerprint_sees_nothing(store, tmp_path):
    assert names_in(VectorStore(tmp_path, EncoderInfo("toy", "text", 3, "toy-2")), 1) == set()


@pytest.mark.parametrize("cut", [1, 12, 13, 35, 36])
def test_a_row_file_that_was_cut_costs_only_the_rows_cut_off(store, cut):
    content = store._rows.read_bytes()
    store._rows.write_bytes(content[:-cut])
    kept = set(range(1, 4 - -(-cut // 12)))
    assert names_in(store, 1, 2, 3) == kept
    store.append(rows(9))
    assert names_in(store, 1, 2, 3, 9) == kept | {9}


@pytest.mark.parametrize("cut", [1, 48, 100])
def test_an_index_that_was_cut_costs_only_the_records_cut_off(store, cut):
    store._index.write_bytes(store._index.read_bytes()[:-cut])
    kept = set(range(1, 4 - -(-cut // 48)))
    assert names_in(store, 1, 2, 3) == kept
    store.append(rows(1, 2, 3))
    assert names_in(store, 1, 2, 3) == {1, 2, 3}


def test_a_changed_byte_makes_one_row_missing_and_a_new_one_heals_it(store):
    content = bytearray(store._rows.read_bytes())
    content[13] ^= 1
    store._rows.write_bytes(content)
    assert names_in(store, 1, 2, 3) == {1, 3}
    store.append(rows(2))
    assert names_in(store, 1, 2, 3) == {1, 2, 3}


def test_a_changed_key_or_checksum_makes_one_row_missing(store):
    for place in (3, 48 + 40):
        content = bytearray(store._index.read_bytes())
        content[place] ^= 1
        store._index.write_bytes(content)
    assert names_in(store, 1, 2, 3) == {3}


@pytest.mark.parametrize("records", [1, 2, 5])
def test_rows_that_a_killed_writer_did_not_count_are_not_there(store, records):
    """Five rows at once: their bytes reached the files, or some of them did; the count did not."""
    counted = store._count.read_bytes()
    store.append(rows(4, 5, 6, 7, 8))
    store._count.write_bytes(counted)
    index = store._index.read_bytes()
    store._index.write_bytes(index[: (3 + records) * 48 - 7])
    assert names_in(store, *range(1, 9)) == {1, 2, 3}
    store.append(rows(4, 5, 6, 7, 8))
    assert names_in(store, *range(1, 9)) == set(range(1, 9))
    assert store._index.read_bytes() == index


def test_a_store_without_a_count_counts_what_is_whole(store):
    store._count.unlink()
    assert names_in(store, 1, 2, 3) == {1, 2, 3}
    store._count.write_bytes(b"rubbish and rubbi")
    assert names_in(store, 1, 2, 3) == {1, 2, 3}
    store.append(rows(4))
    assert names_in(store, 1, 2, 3, 4) == {1, 2, 3, 4}


def test_what_is_whole_is_not_written_twice(store):
    size = store._rows.stat().st_size
    store.append(rows(1, 2))
    assert store._rows.stat().st_size == size
    store.append(rows(2, 9))
    assert store._rows.stat().st_size == size + 12


def test_many_rows_are_found_by_a_store_that_grew_with_them_and_by_a_new_one(tmp_path, monkeypatch):
    monkeypatch.setattr("multimodal_dql.encoders.store._RECORDS_AT_ONCE", 64)
    store = VectorStore(tmp_path, INFO)
    for first in range(0, 1000, 50):
        store.append(rows(*range(first, first + 50)))
        assert names_in(store, first + 49, first + 50) == {first + 49}
    everything = {key(name) for name in range(1000)}
    assert VectorStore(tmp_path, INFO).holds({*everything, key(-1)}) == everything
    clear_stores(tmp_path)
    store.append(rows(7))
    assert store.holds(everything) == {key(7)}


def test_a_file_replaced_by_rubbish_is_written_over(store):
    store._index.write_bytes(b"rubbish" * 100)
    assert names_in(store, 1, 2, 3) == set()
    store.append(rows(1, 2, 3))
    assert names_in(store, 1, 2, 3) == {1, 2, 3}


def test_a_missing_file_is_an_empty_store(store):
    store._rows.unlink()
    assert names_in(store, 1) == set()
    store.append(rows(1))
    assert names_in(store, 1, 2) == {1}


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    script = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from tests.encoders.test_store import INFO, rows\n"
        "from multimodal_dql.encoders.store import VectorStore\n"
        "store = VectorStore(Path(sys.argv[1]), INFO)\n"
        "for name in range(int(sys.argv[2]), int(sys.argv[2]) + 150): store.append(rows(name))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), start]) for start in ("0", "1000")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    expected = {*range(150), *range(1000, 1150)}
    assert names_in(VectorStore(tmp_path, INFO), *expected) == expected


def test_infos_and_clearing(store, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/keep.txt").write_text("not ours")
    (info,) = store_infos(tmp_path)
    assert (info.encoder, info.fingerprint, info.dim, info.rows) == ("toy", "toy-1", 3, 3)
    assert clear_stores(tmp_path) == info.size_bytes
    assert store_infos(tmp_path) == []
    assert (tmp_path / "other/keep.txt").exists()
    assert names_in(store, 1) == set()


def test_two_encoders_with_one_fingerprint_do_not_mix(tmp_path):
    one, two = (VectorStore(tmp_path, EncoderInfo(name, "text", 1, "1")) for name in ("one", "two"))
    key = bytes(32)
    one.append({key: np.ones(1, np.float32)})
    assert two.read([key]) == {}
    assert one.read([key])[key].tolist() == [1]
