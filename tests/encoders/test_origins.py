"""`encoders add` with an address of TensorFlow Hub; the hub's cache as it lays it out, and no network."""

import hashlib

import pytest

from multimodal_dql.encoders.adding import add_source
from multimodal_dql.encoders.origins import short_name
from multimodal_dql.encoders.registry import load_encoder
from multimodal_dql.errors import EncoderUnavailable
from tests.encoders import tiny

HANDLE = "https://tfhub.dev/me/counts/1"


@pytest.fixture(autouse=True)
def _own(monkeypatch, tmp_path):
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))

    def nowhere(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)


@pytest.mark.slow
def test_a_module_of_tensorflow_hub_becomes_a_card(tmp_path):
    tiny.saved_model(tmp_path / "hub" / hashlib.sha1(HANDLE.encode()).hexdigest())
    card = add_source(HANDLE).card
    assert (card.name, card.runtime, card.dim, card.licence) == ("counts", "hub", 2, "Apache-2.0")
    assert card.homepage == HANDLE
    assert {file.sources[0].handle for file in card.files} == {HANDLE}
    assert {"saved_model.pb", "variables/variables.index"} <= {file.sources[0].path for file in card.files}
    assert load_encoder("counts").encode(["a b"]).tolist() == [[3, 2]]


def test_without_a_network_the_cure_is_named(tmp_path):
    with pytest.raises(EncoderUnavailable, match="download and unpack it, and add its folder here") as caught:
        add_source(HANDLE)
    assert "no route to host" in str(caught.value)
    assert "\n" not in caught.value.text("zh")
    assert not (tmp_path / "user-cards").exists()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("me/Tiny-BERT@main", "Tiny-BERT"),
        ("https://hf.co/me/Tiny-BERT", "Tiny-BERT"),
        ("https://tfhub.dev/google/nnlm-en-dim50/2", "nnlm-en-dim50"),
        ("models/nothing.onnx", "nothing.onnx"),
        ("/no/such/nothing.onnx", "nothing"),
        ("https://tfhub.dev/1", "tfhub"),
    ],
)
def test_the_name_of_what_is_elsewhere(given, name):
    assert short_name(given) == name
