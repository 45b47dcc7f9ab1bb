"""A made-up MPNet whose weights are whole multiples of a step a row, so that int8 keeps them as they are."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from multimodal_dql.encoders.mpnet import distance_buckets, mpnet_graph
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.registry import load_card
from multimodal_dql.errors import EncoderError
from tests.encoders import tiny

WIDTH, INNER, HEADS, LAYERS, WORDS, PLACES, BUCKETS = 16, 24, 2, 3, 40, 24, 8
CONFIG = {
    "model_type": "mpnet",
    "hidden_act": "gelu",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "vocab_size": WORDS,
    "max_position_embeddings": PLACES,
    "relative_attention_num_buckets": BUCKETS,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}


def exact(rng, rows, columns, step):
    """Steps of each row, one of them the largest that int8 has."""
    table = rng.integers(-127, 128, (rows, columns))
    table[:, 0] = 127
    return (table * step).astype(np.float32)


def weights(words=WORDS, buckets=BUCKETS):
    rng = np.random.default_rng(7)
    out = {
        "embeddings.word_embeddings.weight": exact(rng, words, WIDTH, 2**-7),
        "embeddings.position_embeddings.weight": rng.normal(0, 0.5, (PLACES, WIDTH)),
        "encoder.relative_attention_bias.weight": rng.normal(0, 2, (buckets, HEADS)),
        **normalisation(rng, "embeddings.LayerNorm."),
    }
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        sizes = {f"attention.attn.{part}": (WIDTH, WIDTH) for part in "qkvo"}
        sizes |= {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
        for name, (rows, columns) in sizes.items():
            out[f"{p}{name}.weight"] = exact(rng, rows, columns, 2**-8)
            out[f"{p}{name}.bias"] = rng.normal(0, 0.3, rows)
        for name in ("attention.LayerNorm.", "output.LayerNorm."):
            out |= normalisation(rng, p + name)
    return {name: np.asarray(array, np.float32) for name, array in out.items()}


def normalisation(rng, p):
    return {p + "weight": rng.uniform(0.5, 1.5, WIDTH), p + "bias": rng.normal(0, 0.2, WIDTH)}


def hidden(w, ids, layers):
    """The network of the paper, one text at a time and in double precision, (t, D)."""

    def normalised(x, p):
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * w[p + "weight"] + w[p + "bias"]

    def linear(x, p):
        return x @ w[p + ".weight"].T.astype(np.float64) + w[p + ".bias"]

    t, size = len(ids), WIDTH // HEADS
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][2 : 2 + t]
    x = normalised(x.astype(np.float64), "embeddings.LayerNorm.")
    buckets = distance_buckets(PLACES - 2, BUCKETS)
    for layer in range(layers):
        p = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{p}attention.attn.{part}") for part in "qkv")
        told = np.zeros_like(x)
        for h in range(HEADS):
            mine = slice(h * size, (h + 1) * size)
            score = q[:, mine] @ k[:, mine].T / np.sqrt(size)
            for i in range(t):
                for j in range(t):
                    bucket = buckets[j - i + PLACES - 3]
                    score[i, j] += w["encoder.relative_attention_bias.weight"][bucket, h]
            share = np.exp(score - score.max(axis=1, keepdims=True))
            told[:, mine] = share / share.sum(axis=1, keepdims=True) @ v[:, mine]
        x = normalised(linear(told, p + "attention.attn.o") + x, p + "attention.LayerNorm.")
        inner = linear(x, p + "intermediate.dense")
        outer = linear(inner / 2 * (1 + erf(inner / np.sqrt(2))), p + "output.dense")
        x = normalised(outer + x, p + "output.LayerNorm.")
    return x


def run(model, ids):
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return onnx_session("toy", model).run(None, {"input_ids": ids, "position_ids": places})[0]


@pytest.mark.parametrize("layers", range(LAYERS + 1))
def test_the_graph_is_the_network_of_the_paper(layers):
    w = weights()
    model = mpnet_graph(w, CONFIG, layers=layers, most=PLACES - 2)
    ids = np.random.default_rng(1).integers(0, WORDS, (3, 11))
    expected = np.stack([hidden(w, text, layers) for text in ids])
    np.testing.assert_allclose(run(model, ids), expected, atol=2e-5)


def test_distances_have_their_buckets():
    # Worked by hand for 8 buckets: half of 4 for each side, 2 of them single distances; from 2 on
    # 2 + floor(2 ln(n/2) / ln(64)), which is 2 below 16 and 3 from there.
    expected = {-16: 3, -15: 2, -2: 2, -1: 1, 0: 0, 1: 5, 2: 6, 15: 6, 16: 7, 19: 7}
    found = distance_buckets(20, 8)
    assert {away: int(found[away + 19]) for away in expected} == expected


@given(st.integers(1, 300), st.integers(2, 8).map(lambda n: 4 * n))
def test_buckets_are_in_range_and_grow_with_distance(most, buckets):
    found = distance_buckets(most, buckets)
    before, after = found[:most][::-1], found[most:]
    assert found.min() >= 0
    assert found.max() < buckets
    assert (np.diff(before) >= 0).all()
    assert (np.diff(after) >= 0).all()
    assert before[0] == 0
    assert (after >= buckets // 2).all()


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, LAYERS])
def test_the_graph_is_the_network_of_transformers(layers):
    torch = pytest.importorskip("torch", reason="install torch to run this")
    from transformers import MPNetConfig, MPNetModel

    # It asks for 32 buckets, whatever its configuration says.
    w, config = weights(buckets=32), CONFIG | {"relative_attention_num_buckets": 32}
    made = MPNetModel(MPNetConfig(**{k: v for k, v in config.items() if k != "model_type"})).eval()
    made.load_state_dict({name: torch.from_numpy(array) for name, array in w.items()}, strict=False)
    ids = np.random.default_rng(2).integers(2, WORDS, (2, 9))
    with torch.inference_mode():
        states = made(torch.from_numpy(ids), output_hidden_states=True).hidden_states
    model = mpnet_graph(w, config, layers=layers, most=PLACES - 2)
    np.testing.assert_allclose(run(model, ids), states[layers].numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("change", "sizes", "says"),
    [
        ({"model_type": "bert"}, {}, "no MPNet"),
        ({"hidden_act": "relu"}, {}, "no MPNet"),
        ({"layer_norm_eps": 1e-12}, {}, "layer_norm_eps"),
        ({}, {"layers": LAYERS + 1}, "it has 3 layers, not 4"),
        ({}, {"most": PLACES - 1}, "it reads 22 tokens, not 23"),
    ],
)
def test_another_network_is_refused(change, sizes, says):
    with pytest.raises(ValueError, match=says):
        mpnet_graph(weights(), CONFIG | change, **({"layers": 1, "most": 8} | sizes))


def card_of(folder, **change):
    """A card for the made-up weights in `folder`, with a tokenizer."""
    from safetensors.numpy import save_file

    from multimodal_dql.encoders.cards import read_card
    from multimodal_dql.encoders.sources import sha256_of
    from tests.encoders.toys import write_card

    tiny.write_tokenizer(folder)
    save_file(weights(len(tiny.WORDS)), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    files = "".join(
        f'[[files]]\nname = "{path.name}"\nbytes = {path.stat().st_size}\nsha256 = "{sha256_of(path)}"\n'
        f'sources = [{{ kind = "folder", path = "{path}" }}]\n'
        for path in sorted(folder.iterdir())
    )
    head = f'modality = "text"\nruntime = "onnx"\ndim = {WIDTH}\npooling = "mean"\nconverter = "mpnet"\n'
    body = f"{head}[preprocessing]\nlayer = 2\nmax_tokens = 12\n{files}"
    return read_card(write_card(folder.parent / "cards", "toy-mpnet", body))


def test_a_card_names_the_layer_and_the_weights_are_converted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    card = card_of(tmp_path / "model")
    encoder = load_card(card)
    vectors = encoder.encode(["cat", "a cat sat"])
    kept = list((tmp_path / "cache").rglob("*.onnx"))
    ids = encoder._tokenizer(["a cat sat"])["input_ids"][0]
    expected = hidden(weights(len(tiny.WORDS)), ids, 2).mean(axis=0)
    np.testing.assert_allclose(vectors[1], expected, atol=0.02)  # activations are rounded to 8 bits
    before = kept[0].stat().st_mtime_ns
    np.testing.assert_array_equal(load_card(card).encode(["a cat sat"])[0], vectors[1])
    assert [path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.onnx")] == [before]


def test_weights_of_another_network_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    with pytest.raises(EncoderError, match="its weights cannot be converted: it is no MPNet") as caught:
        load_card(card_of(tmp_path / "model", model_type="bert"))
    assert "不是使用 GELU 的 MPNet" in caught.value.text("zh")


# The six largest and four other numbers of the mean of layer 7, made to length 1, recorded from the original PyTorch
# implementation (transformers 5.23, float32) with the same weights.
RECORDED = {
    "How a small town kept its library open": {
        461: 0.4216,
        756: -0.224,
        568: 0.1741,
        24: 0.1328,
        34: 0.1291,
        684: 0.1088,
        0: 0.0193,
        100: -0.0425,
        200: 0.0307,
        300: -0.01,
    },
    "The mayor said no. What the children did next": {
        461: 0.5241,
        756: -0.1371,
        568: 0.1354,
        34: 0.1348,
        344: -0.119,
        436: -0.0938,
        0: 0.023,
        100: 0.0166,
        200: 0.0196,
        300: 0.0369,
    },
}


@pytest.mark.slow
def test_the_seventh_layer_is_that_of_the_original(built_in):
    vectors = built_in("mpnet-layer7").encode(list(RECORDED))
    for vector, known in zip(vectors, RECORDED.values(), strict=True):
        # Weights in int8 move most numbers by a few thousandths; 568, which has outliers among its weights, by .02 in
        # every text alike.
        np.testing.assert_allclose(vector[list(known)], list(known.values()), atol=0.025)
        assert abs(vector).argmax() == next(iter(known))
