"""Models in the layout of sentence-transformers, read here: no package of that name is needed.

``modules.json`` lists the parts of a model as names of Python classes. The package imports whatever is named there;
here four names are known (Transformer, Pooling, Dense, Normalize) and any other is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Encoder, Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.model_folder import read_json, read_modules
from multimodal_dql.encoders.runtimes.card_encoder import UNKNOWN, CardEncoder, l2_normalised, need_files
from multimodal_dql.encoders.runtimes.transformers import TransformersTextEncoder
from multimodal_dql.encoders.weights import read_weights
from multimodal_dql.errors import EncoderError

__all__ = ["SentenceTransformersEncoder"]

_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_ACTIVATIONS: dict[str, Any] = {
    "torch.nn.modules.linear.Identity": lambda x: x,
    "torch.nn.modules.activation.Tanh": np.tanh,
}


class SentenceTransformersEncoder(CardEncoder):
    """Transformer, Pooling, then any of Dense and Normalize, as ``modules.json`` orders them.

    Its first module's files lie at the top of the card (``config.json``, ``tokenizer.json``, ``model.onnx`` or
    ``model.safetensors``), those of the others in their folders (``1_Pooling/config.json``). What the folder says of
    length, case, pooling and prompt holds; ``preprocessing.prefix`` and ``max_tokens`` of the card win over it.
    """

    code = "sentence-transformers"
    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        (listed,) = need_files(card, files, "modules.json")
        settings: dict[str, Any] = {}
        if "sentence_bert_config.json" in files:
            said = read_json(self.name, files["sentence_bert_config.json"])
            settings = {
                "max_tokens": said.get("max_seq_length"),
                "lower_case": said.get("do_lower_case", False),
            }
        self._after: list[Any] = []
        pooling = "mean"
        for place, module in enumerate(self._modules(listed)):
            kind, folder = module
            if kind == "Transformer" and place == 0:
                continue
            if kind == "Pooling" and place == 1:
                pooling = self._pooling(files, folder)
            elif kind == "Dense" and place > 1:
                self._after.append(self._dense(files, folder))
            elif kind == "Normalize" and place > 1:
                self._after.append(l2_normalised)
            else:
                raise self._refused(f"the module {kind} at place {place}", f"第 {place} 位的模块 {kind}")
        settings = {key: value for key, value in settings.items() if value is not None}
        inner = card.model_copy(
            update={
                "dim": UNKNOWN,
                "pooling": pooling,
                "normalisation": "none",
                "preprocessing": {"max_tokens": 512, **settings, **card.preprocessing},
            }
        )
        self._inner: Encoder = TransformersTextEncoder(inner, files)

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, shape (len(items), dim)."""
        vectors = self._inner.encode(items)
        if not len(vectors):
            return self.empty(0)
        for step in self._after:
            vectors = step(vectors)
        return self.finished(vectors)

    def _modules(self, path: Path) -> list[tuple[str, str]]:
        modules = []
        for module in read_modules(self.name, path):
            if not isinstance(module, dict):
                raise self._refused("a module without a type", "没有类型的模块")
            given = str(module.get("type", ""))
            parts = given.split(".")
            if parts[:1] != ["sentence_transformers"] or parts[-1] not in (
                "Transformer",
                "Pooling",
                "Dense",
                "Normalize",
            ):
                raise self._refused(f"the module {given}", f"模块 {given}")
            modules.append((parts[-1], str(module.get("path", ""))))
        if [kind for kind, _ in modules[:2]] != ["Transformer", "Pooling"]:
            raise self._refused("no Transformer with a Pooling after it", "缺少 Transformer 及其后的 Pooling")
        return modules

    def _pooling(self, files: dict[str, Path], folder: str) -> str:
        (path,) = need_files(self.card, files, f"{folder}/config.json")
        said = read_json(self.name, path)
        modes = [
            _POOLINGS.get(key, key)
            for key, on in said.items()
            if key.startswith("pooling_mode_") and on is True
        ]
        if isinstance(said.get("pooling_mode"), str):
            modes = [said["pooling_mode"]]
        if len(modes) != 1 or modes[0] not in _POOLINGS.values():
            raise self._refused(f"the pooling {', '.join(modes)}", f"池化方式 {', '.join(modes)}")
        return str(modes[0])

    def _dense(self, files: dict[str, Path], folder: str) -> Any:
        config, weights = need_files(self.card, files, f"{folder}/config.json", f"{folder}/model.safetensors")
        activation = read_json(self.name, config).get(
            "activation_function", "torch.nn.modules.activation.Tanh"
        )
        if activation not in _ACTIVATIONS:
            raise self._refused(f"the activation {activation}", f"激活函数 {activation}")
        values = read_weights(self.name, weights)
        kernel, bias = values["linear.weight"].astype(np.float32), values.get("linear.bias")
        act = _ACTIVATIONS[activation]

        def dense(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
            product = vectors @ kernel.T
            return np.asarray(act(product if bias is None else product + bias), np.float32)

        return dense

    def _refused(self, what: str, what_zh: str) -> EncoderError:
        return EncoderError(
            name=self.name,
            detail=f"its modules.json asks for {what}, which is not known here; export the model to ONNX and add that",
            detail_zh=f"其 modules.json 要求{what_zh}，此处不支持；请导出为 ONNX 后添加",
        )
