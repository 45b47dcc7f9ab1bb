"""Models in the layout of `transformers`: its tokenizer or processor, then ONNX Runtime or, as an extra, PyTorch.

With a ``model.onnx`` nothing but the installed packages is needed. With ``model.safetensors`` any AutoModel runs,
which takes PyTorch (``pip install 'multimodal-dql[torch]'``). Pickles are never opened, a folder's own code never runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.model_folder import check_folder
from multimodal_dql.encoders.pooling import chosen_output, pooled
from multimodal_dql.encoders.runtimes.card_encoder import OneByOne, need_files
from multimodal_dql.encoders.runtimes.networks import Network, onnx_network, text_tower
from multimodal_dql.encoders.runtimes.onnx_text import OnnxTextEncoder
from multimodal_dql.encoders.runtimes.token_text import TokenTextEncoder, from_folder, load_tokenizer
from multimodal_dql.encoders.sounds import windows
from multimodal_dql.encoders.sources import common_folder
from multimodal_dql.encoders.weights import need_torch, read_weights
from multimodal_dql.errors import EncoderError

__all__ = ["TransformersAudioEncoder", "TransformersImageEncoder", "TransformersTextEncoder", "torch_network"]


class TransformersTextEncoder(OnnxTextEncoder):
    """AutoTokenizer, then ``model.onnx`` or an AutoModel on ``model.safetensors``."""

    code = "transformers-text"
    revision = 1

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        if "model.onnx" in files:
            super().__init__(card, files)
            return
        TokenTextEncoder.__init__(self, card, files)
        folder = common_folder(card, files)
        network = torch_network(card, files, folder)
        self._start(load_tokenizer(self.name, folder), network.run, network.shapes)


class _Processed(OneByOne):
    """What a processor makes of one item, then the network."""

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        need_files(card, files, "preprocessor_config.json")
        folder = common_folder(card, files)
        check_folder(self.name, folder)
        self._network = (
            onnx_network(card, files) if "model.onnx" in files else torch_network(card, files, folder)
        )
        self._rest = text_tower(self._network.shapes)
        self._process = from_folder(self.name, folder, self._kind)

    _kind: ClassVar[str]

    def _vector(self, made: Mapping[str, Any]) -> NDArray[np.float32]:
        """The vector of one item from what the processor made of it, (D,)."""
        given = {name: np.asarray(value) for name, value in made.items() if name in self._network.shapes}
        feed = {**self._rest, **given}
        try:
            outputs = self._network.run(feed)
        except Exception as error:  # each library has its own errors
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EncoderError(
                name=self.name,
                detail=f"the model cannot run on what its processor gives ({', '.join(made)}): {said}",
                detail_zh=f"模型无法处理其处理器的输出（{', '.join(made)}）：{said}",
            ) from error
        return np.asarray(pooled(self.card, chosen_output(self.card, outputs))[0], np.float32)


class TransformersImageEncoder(_Processed):
    """AutoImageProcessor on a picture."""

    code = "transformers-image"
    reads: ClassVar[tuple[Modality, ...]] = ("image",)
    _kind = "AutoImageProcessor"

    def _one(self, item: NDArray[np.uint8]) -> NDArray[np.float32]:
        # A picture one or three pixels high looks like one with its colours first, unless it is told.
        made = self._process(item, return_tensors="np", input_data_format="channels_last")
        return self._vector(made)


class TransformersAudioEncoder(_Processed):
    """AutoFeatureExtractor on the windows of a sound; their embeddings are averaged."""

    code = "transformers-audio"
    reads: ClassVar[tuple[Modality, ...]] = ("audio",)
    _kind = "AutoFeatureExtractor"

    def _one(self, item: NDArray[np.float32]) -> NDArray[np.float32]:
        rate = int(self.card.number("rate_hz", self._process.sampling_rate))
        card = self.card.model_copy(update={"preprocessing": {**self.card.preprocessing, "rate_hz": rate}})
        parts = windows(item, card)
        made = [self._process(part, sampling_rate=rate, return_tensors="np") for part in parts]
        return np.asarray(np.mean([self._vector(one) for one in made], axis=0), np.float32)


def torch_network(card: Card, files: dict[str, Path], folder: Path) -> Network:
    """An AutoModel on ``model.safetensors`` in `folder`, on one thread.

    A model of two towers (CLIP, SigLIP, CLAP) gives the output ``features``: what its ``get_text_features``,
    ``get_image_features`` or ``get_audio_features`` gives.
    """
    (weights,) = need_files(card, files, "model.safetensors")
    need_files(card, files, "config.json")
    check_folder(card.name, folder)
    read_weights(card.name, weights)
    need_torch(card.name)
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModel.from_pretrained(
            str(folder),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
        ).eval()
    except Exception as error:  # transformers, torch and safetensors raise what they like
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            name=card.name,
            detail=f"its model cannot be loaded: {said}",
            detail_zh=f"模型无法加载：{said}",
        ) from error
    call = _tower(model, card.modality)
    names = [name for name in inspect.signature(call).parameters if name not in ("self", "kwargs", "args")]

    def run(feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            made = call(
                **{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in feed.items()}
            )
        if torch.is_tensor(made):
            return {"features": made.numpy()}
        if call != model.forward and made.get("pooler_output") is not None:
            return {"features": made["pooler_output"].numpy()}
        return {name: value.numpy() for name, value in made.items() if torch.is_tensor(value)}

    return Network({name: () for name in names if name in _INPUTS}, run)


_INPUTS = {
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "pixel_values",
    "input_values",
    "input_features",
    "is_longer",
}


def _tower(model: Any, modality: Modality) -> Callable[..., Any]:
    return cast("Callable[..., Any]", getattr(model, f"get_{modality}_features", model.forward))
