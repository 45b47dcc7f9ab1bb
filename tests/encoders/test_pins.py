"""Hashes a card leaves open: taken at the first fetch, binding afterwards."""

import hashlib
import json

import pytest

from multimodal_dql.encoders.cards import read_card
from multimodal_dql.encoders.pins import pin_path, with_pins
from multimodal_dql.encoders.registry import encoder_info, encoder_states, fetch_encoder, load_encoder
from multimodal_dql.encoders.sources import pin, resolve
from multimodal_dql.errors import EncoderError, EncoderUnavailable
from tests.encoders import tiny
from tests.encoders.toys import write_card

COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def _own(monkeypatch, tmp_path):
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))


def open_card(tmp_path, source, name="model.onnx"):
    body = (
        'modality = "image"\nruntime = "onnx"\ndim = 5\n[preprocessing]\nside = 8\nscale = 255.0\n'
        f'[[files]]\nname = "{name}"\nsha256 = "first-fetch"\nsources = [{source}]\n'
    )
    return read_card(write_card(tmp_path / "user-cards", "mine", body))


def folder_card(tmp_path):
    (tmp_path / "m.onnx").write_bytes(tiny.image_onnx())
    return open_card(tmp_path, f'{{ kind = "folder", path = "{tmp_path / "m.onnx"}" }}')


def state_of(name):
    return {info.name: state for info, state in encoder_states()}[name]


def test_only_fetching_takes_a_file_whose_hash_is_open(tmp_path):
    card = folder_card(tmp_path)
    with pytest.raises(EncoderUnavailable, match="encoders fetch mine"):
        load_encoder("mine")
    assert state_of("mine") == "needs the network"
    before = encoder_info("mine").fingerprint
    fetch_encoder("mine")
    assert state_of("mine") == "installed"
    assert load_encoder("mine").dim == 5
    assert encoder_info("mine").fingerprint == load_encoder("mine").fingerprint != before
    written = json.loads(pin_path(card).read_text())["files"]["model.onnx"]
    assert written["sha256"] == hashlib.sha256(tiny.image_onnx()).hexdigest()


def test_what_was_fetched_first_is_binding(tmp_path):
    folder_card(tmp_path)
    fetch_encoder("mine")
    (tmp_path / "m.onnx").write_bytes(tiny.image_onnx(kernel=tiny.KERNEL * 2))
    with pytest.raises(EncoderError, match="is not the one on its card"):
        load_encoder("mine")
    with pytest.raises(EncoderError, match="is not the one on its card"):
        fetch_encoder("mine")


def test_a_card_that_asks_elsewhere_loses_its_pins(tmp_path):
    folder_card(tmp_path)
    fetch_encoder("mine")
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny.image_onnx())
    card = open_card(tmp_path, f'{{ kind = "folder", path = "{other}" }}')
    assert not with_pins(card).pinned


@pytest.mark.parametrize("content", [b"", b"{", b'{"files": {"model.onnx": {"sha256": "x"}}}'])
def test_damaged_pins_name_the_cure(tmp_path, content):
    card = folder_card(tmp_path)
    fetch_encoder("mine")
    pin_path(card).write_bytes(content)
    with pytest.raises(EncoderError, match=r"delete it and run: multimodal-dql encoders fetch mine"):
        load_encoder("mine")


def test_a_file_of_hugging_face_is_found_in_the_hubs_own_cache(tmp_path, monkeypatch):
    """The cache as `huggingface_hub` lays it out; the commit found there is pinned, too."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    root = tmp_path / "hub/models--me--model"
    (root / "snapshots" / COMMIT / "onnx").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    (root / "snapshots" / COMMIT / "onnx/model.onnx").write_bytes(tiny.image_onnx())
    source = '{ kind = "huggingface", repository = "me/model", revision = "first-fetch", path = "onnx/model.onnx" }'
    pinned = pin(open_card(tmp_path, source))
    assert pinned.pinned
    assert pinned.files[0].sources[0].revision == COMMIT
    assert resolve(pinned)["model.onnx"].read_bytes() == tiny.image_onnx()
    (root / "refs/main").write_text("d" * 40)  # the publisher has moved on: the pin has not
    assert with_pins(read_card(tmp_path / "user-cards/mine/card.toml")) == pinned
    assert load_encoder("mine").dim == 5


def test_a_module_of_tensorflow_hub_is_found_in_the_cache_it_was_unpacked_to(tmp_path, monkeypatch):
    handle = "https://tfhub.dev/me/module/1"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / hashlib.sha1(handle.encode()).hexdigest()
    kept.mkdir(parents=True)
    (kept / "model.onnx").write_bytes(tiny.image_onnx())
    card = open_card(tmp_path, f'{{ kind = "hub", handle = "{handle}", path = "model.onnx" }}')
    assert resolve(pin(card))["model.onnx"] == kept / "model.onnx"


def test_the_cache_of_tensorflow_hub_is_named_as_it_names_it(tmp_path, monkeypatch):
    """Its own resolver, on what we take for its cache: it would ask the network for anything else."""
    import tensorflow_hub

    handle = "https://tfhub.dev/me/module/1"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    kept = tmp_path / hashlib.sha1(handle.encode()).hexdigest()
    kept.mkdir()
    (kept / "saved_model.pb").write_bytes(b"x")
    assert tensorflow_hub.resolve(handle) == str(kept)
