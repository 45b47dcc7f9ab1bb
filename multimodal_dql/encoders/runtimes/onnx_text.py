"""Sentence embeddings from a transformer in ONNX Runtime, with its tokenizer from `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.converted import Converter, converted
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.onnx_int8 import int8_products
from multimodal_dql.encoders.runtimes.card_encoder import l2_normalised, need_files
from multimodal_dql.encoders.runtimes.networks import onnx_path
from multimodal_dql.encoders.runtimes.token_text import Run, TokenTextEncoder, load_tokenizer
from multimodal_dql.encoders.sources import common_folder

__all__ = ["OnnxTextEncoder"]

_MODEL = "model.onnx"
_TRIAL = "A short sentence, to see what comes of it: 42 words would be too many."
_LIKENESS = 0.995
"""Least cosine between embeddings of `_TRIAL` by integer products and by the file as it is."""


def _mpnet(files: dict[str, Path], card: Card) -> bytes:
    from multimodal_dql.encoders.model_folder import read_json
    from multimodal_dql.encoders.mpnet import mpnet_graph
    from multimodal_dql.encoders.weights import read_weights

    weights, config = need_files(card, files, "model.safetensors", "config.json")
    layers, most = _sizes(card)
    return mpnet_graph(
        read_weights(card.name, weights), read_json(card.name, config), layers=layers, most=most
    )


def _sizes(card: Card) -> tuple[int, int]:
    return int(card.number("layer")), int(card.number("max_tokens"))


def _converted(card: Card, files: dict[str, Path]) -> Path | bytes:
    return converted(card, files, _CONVERTERS, ".onnx", *_sizes(card))


_CONVERTERS: dict[str, Converter] = {"mpnet": _mpnet}


class OnnxTextEncoder(TokenTextEncoder):
    """``model.onnx``, or weights and the `converter` that makes one of them, plus the files of a tokenizer.

    The converter ``mpnet`` makes a graph of ``model.safetensors`` and ``config.json`` that ends after the layer
    ``preprocessing.layer``.

    The model must not let the texts of a batch see each other: weights in int8 are fine, activations that are
    quantised over the whole batch are not (`check_encoder` tells). A model that keeps its weights in int8 is made to
    multiply in int8 as well.
    """

    code = "onnx-text"
    revision = 2
    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        model = _converted(card, files) if card.converter else onnx_path(card, files)
        session = onnx_session(self.name, model)
        tokenizer = load_tokenizer(self.name, common_folder(card, files, lambda name: not _weights(name)))
        self._start(tokenizer, _run_of(session), [node.name for node in session.get_inputs()])
        self._run = self._faster(model)

    def _faster(self, model: Path | bytes) -> Run:
        """The same with integer products, if the model has a place for them and they do no harm here.

        They do on a processor whose 8-bit products overflow (x86 before VNNI), which one trial shows.
        """
        if isinstance(model, Path):
            if any(_weights(name) and name != _MODEL for name in self.files):
                return self._run
            model = model.read_bytes()
        rewritten = int8_products(model)
        if rewritten is None:
            return self._run
        tokens = self._tokens([_TRIAL])
        try:
            run = _run_of(onnx_session(self.name, rewritten))
            found = l2_normalised(self._pooled(run, tokens))
        except Exception:  # a pattern that only looked right; ONNX Runtime's errors share no base class
            return self._run
        expected = l2_normalised(self._pooled(self._run, tokens))
        return run if float((found * expected).sum()) >= _LIKENESS else self._run


def _weights(name: str) -> bool:
    return name.startswith(_MODEL) or name.endswith((".onnx", ".onnx_data", ".data", ".safetensors"))


def _run_of(session: Any) -> Run:
    names = [node.name for node in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))
