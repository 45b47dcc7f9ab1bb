"""Names -> encoders: cards for runtimes that exist, classes from other packages, classes registered by hand.

Nothing is imported to list names; an encoder's facts (`encoder_info`) come from its card alone, so that a
run whose embeddings are all cached never loads a model.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from multimodal_dql.encoders.base import Encoder, EncoderInfo
from multimodal_dql.encoders.cards import Card, card_paths, cards_in, read_card
from multimodal_dql.encoders.paths import add_extra_cards, user_cards
from multimodal_dql.encoders.pins import with_pins
from multimodal_dql.encoders.sources import State, atomic_write, pin, resolve, whereabouts
from multimodal_dql.errors import EncoderError, InputError, OutputError, UnknownNameError

__all__ = [
    "DEFAULT_ENCODERS",
    "ENTRY_POINT_GROUP",
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

ENTRY_POINT_GROUP = "multimodal_dql.encoders"

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
    return sorted({*_registered, *card_paths(), *_entry_points()})


def load_encoder(name: str) -> Encoder:
    """The encoder called `name`, ready to encode; fetches what it needs when that is not here yet.

    Raises:
        UnknownNameError: no such encoder; suggests the nearest name.
        EncoderUnavailable: a file cannot be had on this machine.
        EncoderError: the card, the file or the plug-in is broken; names it.

    """
    if name not in _registered and name in (cards := card_paths()):
        return load_card(_card_at(cards[name]))
    return _checked(name, _make(name, _plug_in(name)))


def encoder_info(name: str) -> EncoderInfo:
    """The facts about the encoder `name`, without loading its model where a card or a class says them."""
    if name not in _registered and name in (cards := card_paths()):
        card = _card_at(cards[name])
        runtime = _runtime(card)
        return EncoderInfo(
            card.name, card.modality, card.dim, card.fingerprint(runtime.code, runtime.revision)
        )
    plug_in = _plug_in(name)
    facts = [getattr(plug_in, field, None) for field in ("name", "modality", "dim", "fingerprint")]
    if (
        isinstance(plug_in, type)
        and [type(fact) for fact in facts] == [str, str, int, str]
        and facts[0] == name
    ):
        return EncoderInfo(*cast(tuple[Any, Any, Any, Any], tuple(facts)))
    return _checked(name, _make(name, plug_in)).info


def encoder_states() -> list[tuple[EncoderInfo, State]]:
    """Facts of every encoder that is not broken, and where its files are; a class is installed."""
    states: list[tuple[EncoderInfo, State]] = []
    for name in encoder_names():
        try:
            card, info = encoder_card(name), encoder_info(name)
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
    return _checked(card.name, runtime(card, resolve(card)))


def fetch_encoder(name: str) -> dict[str, Path]:
    """Makes sure that the files of the encoder `name` are here and whole; name -> path."""
    card = encoder_card(name)
    return {} if card is None else resolve(pin(card), hubs=True)


def register_encoder(name: str, encoder: str | Callable[[], Encoder]) -> None:
    """Makes a class or factory (or a late ``module:attr`` string) known as `name` in this process."""
    if name in card_paths() or name in _entry_points():
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
    for name in sorted({*card_paths()} & {*_entry_points()}):
        point = _entry_points()[name]
        problems.append(
            EncoderError(
                name=name,
                detail=f"the plug-in of {_package(point)} has the name of a card and is not used; rename one",
                detail_zh=f"{_package(point)} 的插件与卡片重名，未被使用；请改名",
            )
        )
    for name in encoder_names():
        try:
            if encoder_card(name) is None:
                _plug_in(name)
            else:
                encoder_info(name)
        except InputError as error:
            problems.append(error)
    return problems


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


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
    return cast(Runtime, _late(_RUNTIME_CODE + target))


def _late(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _plug_in(name: str) -> Any:
    """The class or factory behind a name that has no card; a failing import is the plug-in's, and says so."""
    point = _entry_points().get(name)
    if name not in _registered and point is None:
        raise UnknownNameError(kind="encoder", kind_zh="编码器", name=name, known=encoder_names())
    try:
        if name in _registered:
            found = _registered[name]
            return _late(found) if isinstance(found, str) else found
        return point.load() if point else None
    except Exception as error:  # code of strangers may raise anything
        raise _broken(name, error) from error


def _make(name: str, plug_in: Any) -> Any:
    try:
        return plug_in()
    except EncoderError:
        raise
    except Exception as error:  # code of strangers may raise anything
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> EncoderError:
    point = _entry_points().get(name)
    owner = _package(point) if point else "the registered class"
    cause = f"{type(error).__name__}: {error}"
    return EncoderError(
        name=name,
        detail=f"the plug-in of {owner} cannot be loaded ({cause}); update or uninstall it",
        detail_zh=f"{owner} 的插件无法加载（{cause}）；请更新或卸载它",
    )


def _checked(name: str, encoder: Any) -> Encoder:
    """`encoder`, if it is one and answers to `name`."""
    if not isinstance(encoder, Encoder) or encoder.name != name:
        given = (
            f"an encoder called '{encoder.name}'" if isinstance(encoder, Encoder) else type(encoder).__name__
        )
        raise EncoderError(
            name=name,
            detail=f"this name leads to {given}; mend the plug-in",
            detail_zh=f"该名称指向 {given}；请修正插件",
        )
    return encoder
