"""Names -> encoders: cards for runtimes that exist, classes from other packages, classes registered by hand.

Nothing is imported to list names; an encoder's facts (`encoder_info`) come from its card alone, so that a
run whose embeddings are all cached never loads a model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from multimodal_dql.encoders.base import Encoder, EncoderInfo
from multimodal_dql.encoders.cards import Card, card_paths, cards_in, read_card
from multimodal_dql.encoders.paths import add_extra_cards, user_cards
from multimodal_dql.encoders.pins import with_pins
from multimodal_dql.encoders.plugins import (
    class_facts,
    late,
    load_plug_in,
    load_registered,
    make_encoder,
    named_encoder,
    package_of,
    plug_in_names,
    within,
)
from multimodal_dql.encoders.sources import State, atomic_write, pin, resolve, whereabouts
from multimodal_dql.errors import EncoderError, InputError, OutputError, UnknownNameError

__all__ = [
    "DEFAULT_ENCODERS",
    "add_card",
    "add_card_text",
    "encoder_card",
    "encoder_info",
    "encoder_languages",
    "encoder_names",
    "encoder_problems",
    "encoder_states",
    "fetch_encoder",
    "load_card",
    "load_encoder",
    "register_encoder",
    "runtime_names",
    "use_cards",
]

DEFAULT_ENCODERS = ("use-multilingual", "efficientnet-lite0", "speech-embedding")
"""One encoder a modality, all from installed packages."""

LISTING_SECONDS = 15.0
"""What a plug-in may take to be imported when all are listed; whoever names it waits for it."""

_RUNTIME_CODE = "multimodal_dql.encoders.runtimes."
_ANY = ""
_RUNTIMES: dict[str, dict[str, str]] = {
    "onnx": {
        "text": "onnx_text:OnnxTextEncoder",
        "image": "plain:OnnxImageEncoder",
        "audio": "plain:OnnxAudioEncoder",
    },
    "litert": {"image": "litert_image:LiteRTImageEncoder", "audio": "plain:LiteRTAudioEncoder"},
    "keras": {"image": "plain:KerasImageEncoder", "audio": "plain:KerasAudioEncoder"},
    "hub": {_ANY: "hub:HubEncoder"},
    "transformers": {
        "text": "transformers:TransformersTextEncoder",
        "image": "transformers:TransformersImageEncoder",
        "audio": "transformers:TransformersAudioEncoder",
    },
    "sentence-transformers": {_ANY: "sentence:SentenceTransformersEncoder"},
    "universal-sentence-encoder": {_ANY: "use:UniversalSentenceEncoder"},
    "onnx-speech-embedding": {_ANY: "onnx_audio:SpeechEmbedding"},
    "librosa": {_ANY: "librosa_audio:LibrosaDescriptors"},
}
"""Runtime -> modality -> code. A runtime for any modality says itself which it reads."""

_registered: dict[str, str | Callable[[], Encoder]] = {}


class Runtime(Protocol):
    """What a runtime is: a class made from a card and its files.

    `code` names it in fingerprints, `revision` counts changes of its numbers.
    """

    code: str
    revision: int

    def __call__(self, card: Card, files: dict[str, Path]) -> Encoder:
        """The encoder, ready to run."""
        ...


def runtime_names() -> list[str]:
    """Every runtime a card can name."""
    return sorted(_RUNTIMES)


def encoder_names() -> list[str]:
    """Every known encoder: registered by hand, from cards, from other packages."""
    return sorted({*_registered, *card_paths(), *plug_in_names()})


def load_encoder(name: str) -> Encoder:
    """The encoder called `name`, ready to encode; fetches what it needs when that is not here yet.

    Raises:
        UnknownNameError: no such encoder; suggests the nearest name.
        EncoderUnavailable: a file cannot be had on this machine.
        EncoderError: the card, the file or the plug-in is broken; names it.

    """
    if name not in _registered and name in (cards := card_paths()):
        return load_card(_card_at(cards[name]))
    return make_encoder(name, _plug_in(name))


def encoder_info(name: str) -> EncoderInfo:
    """The facts about the encoder `name`, without loading its model where a card or a class says them."""
    if name not in _registered and name in (cards := card_paths()):
        card = _card_at(cards[name])
        runtime = _runtime(card)
        return EncoderInfo(
            card.name, card.modality, card.dim, card.fingerprint(runtime.code, runtime.revision), card.space
        )
    plug_in = _plug_in(name)
    return class_facts(name, plug_in) or make_encoder(name, plug_in).info


def encoder_states() -> list[tuple[EncoderInfo, State]]:
    """Facts of every encoder that is not broken, and where its files are; a class is installed."""
    states: list[tuple[EncoderInfo, State]] = []
    for name in encoder_names():
        try:
            info = _examined(name)
            card = encoder_card(name)
        except InputError:
            continue  # `encoder_problems` names it
        states.append((info, "installed" if card is None else whereabouts(card)))
    return states


def encoder_languages(name: str) -> tuple[str, ...]:
    """Language codes the encoder `name` is limited to; empty means any. Loads no model."""
    if name not in _registered and name in (cards := card_paths()):
        return read_card(cards[name]).languages
    return tuple(getattr(_plug_in(name), "languages", ()))


def encoder_card(name: str) -> Card | None:
    """The card of the encoder `name`; None for one that is a class."""
    if name in (cards := card_paths()) and name not in _registered:
        return _card_at(cards[name])
    _plug_in(name)
    return None


def load_card(card: Card) -> Encoder:
    """The encoder that `card` describes: its runtime made with its verified files."""
    runtime = _runtime(card)
    encoder = named_encoder(card.name, runtime(card, resolve(card)))
    encoder.space = card.space
    return encoder


def fetch_encoder(name: str) -> dict[str, Path]:
    """Makes sure that the files of the encoder `name` are here and whole; name -> path."""
    card = encoder_card(name)
    return {} if card is None else resolve(pin(card), hubs=True)


def register_encoder(name: str, encoder: str | Callable[[], Encoder]) -> None:
    """Makes a class or factory (or a late ``module:attr`` string) known as `name` in this process."""
    if name in card_paths() or name in plug_in_names():
        raise EncoderError(
            name=name, detail="this name is taken; choose another", detail_zh="该名称已被占用；请换一个"
        )
    _registered[name] = encoder


def add_card(path: Path) -> Card:
    """Checks the card at `path` and copies it to the user's cards."""
    card = read_card(path)
    _runtime(card)
    if not card_paths().get(card.name, user_cards()).is_relative_to(user_cards()):
        raise EncoderError(
            name=card.name,
            detail="a built-in encoder has this name; choose another",
            detail_zh="与内置编码器重名；请换一个",
        )
    if any(
        source.kind == "folder" and not Path(source.path).is_absolute()
        for file in card.files
        for source in file.sources
    ):
        raise EncoderError(
            name=card.name,
            detail="a card to be added names its folders by absolute paths",
            detail_zh="要添加的卡片须用绝对路径指明文件夹",
        )
    return read_card(add_card_text(card.name, path.read_text("utf-8")))


def add_card_text(name: str, text: str, folder: Path | None = None) -> Path:
    """Writes a card below `folder`, or below the user's cards; where it is."""
    path = (folder if folder is not None else user_cards()) / name / "card.toml"
    try:
        with atomic_write(path) as out:
            out.write(text.encode("utf-8"))
    except OSError as error:
        raise OutputError(path=path, reason=error.strerror or str(error)) from error
    return path


def use_cards(folder: Path) -> list[str]:
    """Makes the cards in `folder` known in this process; their names.

    Raises:
        EncoderError: there is none, one is broken, or one has the name of another encoder.

    """
    paths = cards_in(folder)
    if not paths:
        raise EncoderError(
            name=str(folder),
            detail="this folder holds no card.toml, nor a folder with one; make a card with: "
            "multimodal-dql encoders add SOURCE",
            detail_zh="此文件夹及其子文件夹中没有 card.toml；可用 multimodal-dql encoders add SOURCE 生成卡片",
        )
    known = card_paths()
    for path in paths:
        name = read_card(path).name
        if name in _registered or known.get(name, path).resolve() != path.resolve():
            raise EncoderError(
                name=name,
                detail=f"{path} has the name of another encoder; rename the card and its folder",
                detail_zh=f"{path} 与另一编码器重名；请给卡片及其文件夹改名",
            )
    add_extra_cards(folder)
    return [path.parent.name for path in paths]


def encoder_problems() -> list[InputError]:
    """What is wrong with cards and plug-ins, one error each; a broken one never stops the others."""
    problems: list[InputError] = []
    for name in sorted({*card_paths()} & plug_in_names()):
        owner = package_of(name)
        problems.append(
            EncoderError(
                name=name,
                detail=f"the plug-in of {owner} has the name of a card and is not used; rename one",
                detail_zh=f"{owner} 的插件与卡片重名，未被使用；请改名",
            )
        )
    for name in encoder_names():
        try:
            _examined(name)
        except InputError as error:
            problems.append(error)
    return problems


def _card_at(path: Path) -> Card:
    return with_pins(read_card(path))


def _runtime(card: Card) -> Runtime:
    if card.runtime not in _RUNTIMES:
        raise UnknownNameError(kind="runtime", kind_zh="运行方式", name=card.runtime, known=_RUNTIMES)
    code = _RUNTIMES[card.runtime]
    target = code.get(card.modality) or code.get(_ANY)
    if target is None:
        raise EncoderError(
            name=card.name,
            detail=f"the runtime {card.runtime} reads {' or '.join(code)}, not {card.modality}",
            detail_zh=f"运行方式 {card.runtime} 只接受 {'、'.join(code)}，不接受 {card.modality}",
        )
    return cast(Runtime, late(_RUNTIME_CODE + target))


def _plug_in(name: str) -> Any:
    """The class or factory behind a name that has no card; a failing import is the plug-in's, and says so."""
    if name in _registered:
        return load_registered(name, _registered[name])
    if name not in plug_in_names():
        raise UnknownNameError(kind="encoder", kind_zh="编码器", name=name, known=encoder_names())
    return load_plug_in(name)


def _examined(name: str) -> EncoderInfo:
    """Facts of an encoder for a list of all: a plug-in that takes long is not waited for."""
    if name in _registered or name in card_paths() or name not in plug_in_names():
        return encoder_info(name)
    return cast(EncoderInfo, within(LISTING_SECONDS, name, lambda: encoder_info(name)))
