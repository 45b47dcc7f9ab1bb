"""Encoders from other packages, through the entry-point group: strangers' code, which may do anything when imported.

Whatever a plug-in raises becomes one line that names its package; what it prints goes to stderr, because stdout
belongs to the result; a name that two packages offer leads to neither.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast, get_args

from multimodal_dql.encoders.base import Encoder, EncoderInfo, Modality
from multimodal_dql.errors import EncoderError, InputError

__all__ = [
    "ENTRY_POINT_GROUP",
    "class_facts",
    "late",
    "load_plug_in",
    "load_registered",
    "make_encoder",
    "named_encoder",
    "one_line",
    "package_of",
    "plug_in_names",
    "within",
]

ENTRY_POINT_GROUP = "multimodal_dql.encoders"

_MAX_CAUSE = 200  # characters

_stuck: dict[str, EncoderError] = {}
"""Plug-ins that are still being imported: asking again would only wait again."""


def plug_in_names() -> set[str]:
    """Names that installed packages offer."""
    return {point.name for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}


def package_of(name: str) -> str:
    """The packages that offer `name`, in a sentence; empty if none does."""
    return " and ".join(sorted({_package(point) for point in _points(name)}))


def load_plug_in(name: str) -> Any:
    """The class or factory that a package offers as `name`. Raises `EncoderError` if its import fails."""
    points = _points(name)
    if len({_package(point) for point in points}) > 1:
        raise EncoderError(
            name=name,
            detail=f"{package_of(name)} each have a plug-in of this name, so neither is used; uninstall one",
            detail_zh=f"{package_of(name).replace(' and ', '、')} 都有此名称的插件，均未使用；请卸载其一",
        )
    with _guarded(name):
        return points[0].load()


def load_registered(name: str, found: str | Callable[[], Encoder]) -> Any:
    """What was registered as `name`: a class, a factory, or what a late ``module:attr`` string leads to."""
    if not isinstance(found, str):
        return found
    with _guarded(name):
        return late(found)


def make_encoder(name: str, maker: Callable[[], Any]) -> Encoder:
    """The encoder that a class or a factory makes, its facts checked; `EncoderError` for whatever goes wrong."""
    with _guarded(name):
        made = maker()
        encoder = named_encoder(name, made)
        _check_facts(name, encoder)
    promised = class_facts(name, maker)
    if promised not in (None, encoder.info):
        raise EncoderError(
            name=name,
            detail=f"its class says {_facts(promised)}, the encoder it makes {_facts(encoder.info)}; mend the plug-in",
            detail_zh=f"其类声明 {_facts(promised)}，而生成的编码器为 {_facts(encoder.info)}；请修正插件",
        )
    return encoder


def named_encoder(name: str, made: Any) -> Encoder:
    """`made`, if it is an encoder that answers to `name`."""
    if not isinstance(made, Encoder):
        raise _leads_to(name, type(made).__name__, type(made).__name__)
    if made.name != name:
        raise _leads_to(name, f"an encoder called '{made.name}'", f"名为 “{made.name}” 的编码器")
    return made


def class_facts(name: str, plug_in: Any) -> EncoderInfo | None:
    """The facts that a class states before it is made; None if it does not state all of them.

    Raises `EncoderError` for facts that cannot be.
    """
    if not isinstance(plug_in, type) or not issubclass(plug_in, Encoder):
        return None
    facts = [getattr(plug_in, field, None) for field in ("name", "modality", "dim", "fingerprint")]
    if any(fact is None or isinstance(fact, property) for fact in facts) or inspect.isabstract(plug_in):
        return None  # only an object can tell, or fail to
    _check_facts(name, plug_in)
    return EncoderInfo(*cast(tuple[Any, Any, Any, Any], tuple(facts)), space=plug_in.space)


def late(target: str) -> Any:
    """What a ``module:attr`` string leads to."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def within(seconds: float, name: str, work: Callable[[], Any]) -> Any:
    """The result of `work`, or what it raised; `EncoderError` if it takes longer; it is left to go on."""
    if name in _stuck:
        raise _stuck[name]
    found: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # raised again below, in the thread that waits
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name=f"encoder {name}")
    with contextlib.redirect_stdout(sys.stderr):
        thread.start()
        thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        owner = package_of(name)
        _stuck[name] = EncoderError(
            name=name,
            detail=f"the plug-in of {owner} has not loaded after {seconds:g} s; update or uninstall it",
            detail_zh=f"{owner} 的插件在 {seconds:g} 秒内未能加载；请更新或卸载它",
        )
        raise _stuck[name]
    return found[0]


def one_line(error: BaseException) -> str:
    """An exception as one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_MAX_CAUSE]}" if text else type(error).__name__


def _points(name: str) -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP, name=name))


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


@contextlib.contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Turns whatever a stranger's code raises into an `EncoderError`, and sends what it prints to stderr."""
    # The stream belongs to the process: a thread that is left behind must not give it back later.
    mine = threading.current_thread() is threading.main_thread()
    try:
        with contextlib.redirect_stdout(sys.stderr) if mine else contextlib.nullcontext():
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a module may also leave by sys.exit
        owner, said = package_of(name), one_line(error)
        raise EncoderError(
            name=name,
            detail=f"the plug-in of {owner or 'the registered class'} cannot be loaded ({said}); update or uninstall "
            "it",
            detail_zh=f"{owner.replace(' and ', '、') or '所登记的类'} 的插件无法加载（{said}）；请更新或卸载它",
        ) from error


def _check_facts(name: str, facts: Any) -> None:
    """Refuses facts that would break a run elsewhere: another name, an unknown modality, no dimension."""
    if facts.name != name:
        raise _leads_to(name, f"an encoder called '{facts.name}'", f"名为 “{facts.name}” 的编码器")
    modalities = get_args(Modality)
    for field, fits, wanted, wanted_zh in (
        ("modality", lambda v: v in modalities, f"one of {', '.join(modalities)}", "、".join(modalities)),
        ("dim", lambda v: type(v) is int and v > 0, "the length of an embedding", "向量的长度"),
        ("space", lambda v: isinstance(v, str), "a string", "字符串"),
        ("fingerprint", lambda v: isinstance(v, str) and v, "a string that is not empty", "非空字符串"),
    ):
        value = getattr(facts, field, None)
        if not fits(value):
            raise EncoderError(
                name=name,
                detail=f"its {field} is {value!r}, not {wanted}; mend the plug-in",
                detail_zh=f"其 {field} 为 {value!r}，应为{wanted_zh}；请修正插件",
            )


def _leads_to(name: str, what: str, what_zh: str) -> EncoderError:
    return EncoderError(
        name=name,
        detail=f"this name leads to {what}; mend the plug-in",
        detail_zh=f"该名称指向{what_zh}；请修正插件",
    )


def _facts(info: Any) -> str:
    return f"({info.name}, {info.modality}, {info.dim}, {info.fingerprint})"
