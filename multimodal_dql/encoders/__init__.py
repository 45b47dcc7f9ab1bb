"""Frozen pretrained encoders: text, pictures and sounds to vectors.

`load_encoder` gives one by name, `check_encoder` tells whether a new one keeps the contract. Nothing heavy
is imported before an encoder is made.
"""

from __future__ import annotations

from multimodal_dql.encoders.base import (
    Encoder,
    EncoderInfo,
    Modality,
    check_images,
    check_sounds,
    check_texts,
)
from multimodal_dql.encoders.registry import (
    DEFAULT_ENCODERS,
    encoder_info,
    encoder_names,
    load_encoder,
    register_encoder,
)

__all__ = [
    "DEFAULT_ENCODERS",
    "Encoder",
    "EncoderInfo",
    "Modality",
    "check_images",
    "check_sounds",
    "check_texts",
    "encoder_info",
    "encoder_names",
    "load_encoder",
    "register_encoder",
]
