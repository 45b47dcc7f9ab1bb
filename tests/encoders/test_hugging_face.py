"""`encoders add OWNER/NAME` against a hub on this machine: what is fetched, what is verified, what is refused."""

import json
import pickle

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from multimodal_dql.encoders.registry import encoder_states, fetch_encoder, load_encoder
from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.errors import EncoderError, EncoderUnavailable, InputError
from tests.encoders import tiny
from tests.encoders.hostile import assert_chinese
from tests.encoders.hub_server import COMMIT, HubServer

NAME = "me/Tiny-BERT"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub, and nothing here of what it has."""
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with HubServer() as server:
        constants = "huggingface_hub.constants."
        monkeypatch.setattr(constants + "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants + "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants + "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants + "HF_HUB_DISABLE_XET", True)
        yield server


@pytest.fixture
def served(hub, tmp_path):
    """The hub with a text model on it, among files that no runtime needs."""
    folder = tiny.text_folder(tmp_path / "published")
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx/model.onnx")
    (folder / "onnx/model_O4.onnx").write_bytes(b"another export")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (folder / "modeling.py").write_text("raise SystemExit")
    hub.add_folder(NAME, folder)
    return hub


def test_a_repository_becomes_a_card_at_one_commit(served, tmp_path):
    card = add_source(NAME).card
    assert (card.name, card.modality, card.dim, card.licence) == ("tiny-bert", "text", 3, "MIT")
    assert card.homepage == f"https://huggingface.co/{NAME}"
    sources = {file.name: file.sources[0] for file in card.files}
    assert {source.revision for source in sources.values()} == {COMMIT}
    assert sources["model.onnx"].path == "onnx/model.onnx"
    hashes = {file.name: file.sha256 for file in card.files}
    assert hashes["model.onnx"] == sha256_of(tmp_path / "published/onnx/model.onnx")
    unneeded = {"onnx/model_O4.onnx", "pytorch_model.bin", "modeling.py"}
    assert not unneeded & {*served.asked}
    served.trouble = "silent"  # from here on there is no network
    expected = tiny.TABLE[[2, 5, 8, 3]].mean(axis=0)
    np.testing.assert_allclose(load_encoder("tiny-bert").encode(["Cats"]), [expected], rtol=1e-6)
    assert {info.name: state for info, state in encoder_states()}["tiny-bert"] == "cached"


def test_a_card_is_enough_to_fetch_the_model_elsewhere(served, tmp_path, monkeypatch):
    before = load_encoder(add_source(NAME).card.name).encode(["the sea"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "another-hub-cache"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "another-cache"))
    with pytest.raises(EncoderUnavailable, match="encoders fetch tiny-bert"):
        load_encoder("tiny-bert")
    fetch_encoder("tiny-bert")
    np.testing.assert_array_equal(load_encoder("tiny-bert").encode(["the sea"]), before)


@pytest.mark.parametrize(
    "given", [f"{NAME}@main", f"{NAME}@{COMMIT}", f"https://huggingface.co/{NAME}/tree/main"]
)
def test_a_revision_becomes_the_commit_it_stands_for(served, given):
    added = add_source(given)
    assert added.card.name == "tiny-bert"
    assert {file.sources[0].revision for file in added.card.files} == {COMMIT}


def test_a_folder_of_that_name_goes_before_the_hub(served, tmp_path):
    tiny.text_folder(tmp_path / "me/Tiny-BERT")
    assert add_source(NAME).card.files[0].sources[0].kind == "folder"
    assert served.asked == []


def test_a_repository_of_sentence_transformers(hub, tmp_path):
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    folder = tiny.sentence_folder(tmp_path / "published", modules=[dense])
    tiny.dense_module(folder / "2_Dense", np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32))
    hub.add_folder("me/sentences", folder)
    card = add_source("me/sentences").card
    assert (card.runtime, card.dim, card.normalisation) == ("sentence-transformers", 2, "l2")
    assert "2_Dense/model.safetensors" in {file.name for file in card.files}
    mean = np.tanh(tiny.TABLE[[2, 5, 3]].mean(axis=0)[:2])
    found = load_encoder("sentences").encode(["cat"])
    np.testing.assert_allclose(found, [mean / np.linalg.norm(mean)], rtol=1e-5)


def test_weights_beside_an_onnx_file_come_with_it(hub, tmp_path):
    folder = tiny.image_folder(tmp_path / "published")
    nodes = [
        tiny.node("GlobalAveragePool", ["pixel_values"], "mean"),
        tiny.node("Flatten", ["mean"], "flat"),
        tiny.node("MatMul", ["flat", "kernel"], "embedding"),
    ]
    ends = [tiny.value("pixel_values", (1, 3, 8, 8))], [tiny.value("embedding", (1, 5))]
    constants = [tiny.tensor("kernel", tiny.KERNEL, external="model.onnx_data")]
    (folder / "onnx").mkdir()
    (folder / "model.onnx").unlink()
    (folder / "onnx/model.onnx").write_bytes(tiny.model(nodes, *ends, constants))
    (folder / "onnx/model.onnx_data").write_bytes(tiny.KERNEL.tobytes())
    hub.add_folder("me/big", folder)
    assert add_source("me/big").card.dim == 5
    white = np.full((8, 8, 3), 255, np.uint8)
    np.testing.assert_allclose(load_encoder("big").encode([white]), [tiny.KERNEL.sum(axis=0)], rtol=1e-5)


def test_a_single_onnx_file(hub):
    hub.repositories["me/colours"] = {"colours.onnx": tiny.image_onnx(), "LICENSE": b"MIT License\n"}
    card = add_source("me/colours").card
    assert (card.runtime, card.modality, card.dim) == ("onnx", "image", 5)
    assert card.files[0].sources[0].path == "colours.onnx"
    assert load_encoder("colours").dim == 5


@pytest.mark.slow
def test_a_saved_model(hub, tmp_path):
    hub.add_folder("me/counts", tiny.saved_model(tmp_path / "published"))
    card = add_source("me/counts").card
    assert (card.runtime, card.dim) == ("hub", 2)
    assert load_encoder("counts").encode(["a b"]).tolist() == [[3, 2]]


def test_what_another_program_left_in_the_cache_is_verified_or_refused(served, tmp_path):
    add_source(NAME)
    folder = tmp_path / "hub/models--me--Tiny-BERT/snapshots" / COMMIT
    (folder / "special_tokens_map.json").write_text("{}")  # which the hub does not list
    with pytest.raises(EncoderError, match=r"is no file of me/Tiny-BERT; delete it"):
        add_source(NAME, name="again")


def refused(given, **options):
    """The English line of what `add_source` raises; the Chinese one must be there."""
    with pytest.raises(InputError) as caught:
        add_source(given, **options)
    english = caught.value.text("en")
    assert "\n" not in english
    assert_chinese(caught.value.text("zh"), library="Error: " in english)
    return english


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("gated", "is gated: agree to its terms on its page, log in (hf auth login)"),
        ("file-gated", "is gated"),
        ("broken", f"hf download {NAME} --local-dir tiny-bert; and here, with that folder"),
        ("file-missing", f"hf download {NAME} --revision {COMMIT} --local-dir tiny-bert"),
        ("silent", "multimodal-dql encoders add tiny-bert"),
        ("file-silent", "multimodal-dql encoders add tiny-bert"),
        ("truncated", "does not give me/Tiny-BERT"),
        ("changed", "is not what Hugging Face lists for me/Tiny-BERT, and was deleted"),
    ],
)
def test_a_hub_in_trouble_is_one_line_and_leaves_no_card(served, tmp_path, monkeypatch, trouble, words):
    served.trouble = trouble
    with monkeypatch.context() as patch:
        if "silent" in trouble:  # patience runs out soon; nobody else may run out of it on a busy machine
            patch.setattr("multimodal_dql.encoders.hugging_face._LIST_SECONDS", 0.2)
            patch.setattr("multimodal_dql.encoders.places._REGISTRY_SILENCE_SECONDS", 0.2)
        assert words in refused(NAME)
    assert not (tmp_path / "user-cards").exists()
    assert not [path for path in (tmp_path / "hub").rglob("*.onnx") if path.exists()]
    served.trouble = ""
    assert add_source(NAME).card.dim == 3  # nothing broken was kept


def test_without_any_network_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    said = refused(NAME)
    assert f"hf download {NAME} --local-dir tiny-bert" in said
    assert "multimodal-dql encoders add tiny-bert" in said
    assert not (tmp_path / "user-cards").exists()


def config(**said):
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": config(auto_map={"AutoModel": "x.X"})}, "code of its own (auto_map)"),
        ({"pytorch_model.bin": b"\x80\x02"}, "hf download me/m --revision"),
        ({"pytorch_model.bin": b"\x80\x02"}, "torch.load('m/pytorch_model.bin'"),
        ({"README.md": b""}, "holds no model that is known here"),
        ({"onnx/model.onnx": b"no model"}, "is no ONNX model"),
        ({"preprocessor_config.json": config(size=8)}, "reads text and image; say which with --modality"),
        ({"model-1-of-2.safetensors": b"", "model-2-of-2.safetensors": b""}, "lie in 2 parts"),
        ({"modules.json": b"[", "model.onnx": b"x"}, "modules.json cannot be read"),
        ({"modules.json": b"{}", "model.onnx": b"x"}, "modules.json lists no modules"),
    ],
)
def test_what_is_refused_locally_is_refused_on_the_hub_before_its_weights(hub, tmp_path, files, words):
    folder = tiny.write_tokenizer(tmp_path / "published")
    hub.add_folder("me/m", folder)
    hub.repositories["me/m"] |= files
    if "README.md" in files:
        hub.repositories["me/m"] = dict(files)
    assert words in refused("me/m", licence="MIT")
    assert "pytorch_model.bin" not in hub.asked
    assert not (tmp_path / "user-cards").exists()


def test_safetensors_without_pytorch_are_not_even_fetched(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("multimodal_dql.encoders.weights.find_spec", lambda name: None)
    folder = tiny.write_tokenizer(tmp_path / "published")
    (folder / "model.safetensors").write_bytes(b"large")
    hub.add_folder("me/m", folder)
    assert "pip install 'multimodal-dql[torch]'" in refused("me/m", licence="MIT")
    assert "model.safetensors" not in hub.asked


@pytest.mark.parametrize("path", ["../../../canary", "/canary", "a/../../../canary", "a\\b", "a//b"])
def test_a_listing_cannot_lead_out_of_the_cache(served, tmp_path, path):
    served.repositories[NAME] |= {path: b"x", "modules.json": config(path=path.rpartition("/")[0])}
    refused(NAME)
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("me/nothing", "no such repository on Hugging Face"),
        (f"{NAME}@nowhere", "has no revision 'nowhere'"),
        ("https://example.org/model", "is no address that is known here"),
        ("https://www.kaggle.com/models/google/aiy", "kaggle models instances versions download"),
        ("nothing", "its owner/name on Hugging Face"),
    ],
)
def test_what_is_nowhere(served, given, words):
    assert words in refused(given)


def test_no_licence_is_asked_for(hub, tmp_path):
    hub.add_folder("me/m", tiny.text_folder(tmp_path / "published", licence="other"))
    assert "no licence is named in me/m" in refused("me/m")
    assert add_source("me/m", licence="Apache-2.0").card.licence == "Apache-2.0"
