"""EfficientNet-Lite0 (Tan and Le, 2019, arXiv:1905.11946; the Lite variant has no squeeze-and-excite and
uses ReLU6).

Rebuilt with the functional interface of Keras so that weights trained in PyTorch can be converted to LiteRT.
Importing this module loads nothing; calling it loads TensorFlow (5 s).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.torch_file import read_state_dict

__all__ = ["build_lite0", "convert_lite0"]

SIDE = 224
"""Pixels on each side of the input, float32 in about -1..1."""

_STEM_CHANNELS = 32
_BLOCKS = (
    # repeats, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_HEAD_CHANNELS = 1280
_CLASSES = 1000
_BATCH_NORM_EPSILON = 1e-3


def build_lite0(weights: Path, *, batch: int | None = None) -> Any:
    """The network with the weights of a ``.pth`` file: picture -> (pooled features (1280,), logits (1000,)).

    Args:
        weights: legacy ``.pth`` file with the names of the PyTorch implementation.
        batch: fixed number of pictures, or None for any.

    Raises:
        TorchFileError: the file is no file of plain tensors.
        KeyError: a tensor of the network is missing.

    """
    import keras

    tensors = read_state_dict(weights)
    builder = _Builder(keras, tensors)
    picture = keras.Input((SIDE, SIDE, 3), batch_size=batch, name="picture")
    x = builder.relu6(builder.norm(builder.conv(picture, "_conv_stem", 3, 2, _STEM_CHANNELS), "_bn0"))
    number = 0
    for repeats, kernel, stride, expansion, channels in _BLOCKS:
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            x = builder.block(
                x, f"_blocks.{number}", kernel=kernel, stride=step, expansion=expansion, channels=channels
            )
            number += 1
    x = builder.relu6(builder.norm(builder.conv(x, "_conv_head", 1, 1, _HEAD_CHANNELS), "_bn1"))
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    logits = keras.layers.Dense(_CLASSES, name="logits")(pooled)
    model = keras.Model(picture, [pooled, logits], name="efficientnet_lite0")
    builder.fill(model)
    model.get_layer("logits").set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
    model.trainable = False
    return model


class _Builder:
    """Adds layers to the graph, and remembers which tensors fill them."""

    def __init__(self, keras: Any, tensors: dict[str, NDArray[Any]]) -> None:
        self.layers, self.tensors = keras.layers, tensors
        self.values: dict[str, list[NDArray[Any]]] = {}

    def conv(self, x: Any, name: str, kernel: int, stride: int, channels: int) -> Any:
        # PyTorch keeps (out, in, height, width), TensorFlow (height, width, in, out).
        self.values[_plain(name)] = [self.tensors[f"{name}.weight"].transpose(2, 3, 1, 0)]
        layer = self.layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=_plain(name))
        return layer(x)

    def depthwise(self, x: Any, name: str, kernel: int, stride: int) -> Any:
        self.values[_plain(name)] = [self.tensors[f"{name}.weight"].transpose(2, 3, 0, 1)]
        return self.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=_plain(name))(x)

    def norm(self, x: Any, name: str) -> Any:
        parts = ("weight", "bias", "running_mean", "running_var")
        self.values[_plain(name)] = [self.tensors[f"{name}.{part}"] for part in parts]
        return self.layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=_plain(name))(x)

    def relu6(self, x: Any) -> Any:
        return self.layers.ReLU(6.0)(x)

    def block(self, x: Any, name: str, *, kernel: int, stride: int, expansion: int, channels: int) -> Any:
        """Inverted residual: expand, depthwise, project; added to its input where the shapes agree."""
        y = x
        if expansion != 1:
            expanded = self.conv(y, f"{name}._expand_conv", 1, 1, x.shape[-1] * expansion)
            y = self.relu6(self.norm(expanded, f"{name}._bn0"))
        y = self.depthwise(y, f"{name}._depthwise_conv", kernel, stride)
        y = self.relu6(self.norm(y, f"{name}._bn1"))
        y = self.norm(self.conv(y, f"{name}._project_conv", 1, 1, channels), f"{name}._bn2")
        return self.layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y

    def fill(self, model: Any) -> None:
        for name, values in self.values.items():
            model.get_layer(name).set_weights(values)


def _plain(name: str) -> str:
    """Layer names: one that starts with an underscore breaks the export, and no message says so."""
    return name.replace("._", "_").replace(".", "_").lstrip("_")


def convert_lite0(weights: Path) -> bytes:
    """LiteRT model in float32: picture (1, 224, 224, 3) -> pooled features (1, 1280). Takes about 10 s."""
    with silenced():  # TensorFlow greets on import, and the converter reports every step
        import keras
        import tensorflow as tf

        both = build_lite0(weights, batch=1)
        model = keras.Model(both.input, both.outputs[0])
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
