"""Reads tensors from a legacy ``.pth`` file without torch, and without ever running what the file says.

The legacy format is five pickles (magic number, protocol, system information, the object, the list of
storage keys), then for each key an int64 count and that many raw little-endian numbers. A pickle is a
program; this interpreter knows just the instructions that describe a dictionary of tensors, and of all names
only those below. Anything else is refused.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TorchFileError", "read_state_dict"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
_MAX_ELEMENTS = 1 << 28
"""Numbers in one storage: a gigabyte of float32, far above every model here."""


class TorchFileError(ValueError):
    """The file is no legacy ``.pth`` of plain tensors, or it is damaged."""


@dataclass(frozen=True)
class _Name:
    """A global name, as a mark: it is compared, never looked up."""

    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Refused(Exception):
    pass


_MARK = object()
_NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in _DTYPES),
}


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Tensor name -> array, of the file at `path`; `TorchFileError` for anything but tensors."""
    # In memory, a length announced by a damaged file cannot make a read allocate more than the file holds.
    file = io.BytesIO(path.read_bytes())
    try:
        return _read(file)
    except (_Refused, ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise TorchFileError(f"{path.name} is not a file of plain tensors: {error}") from error


def _read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    if _unpickle(file) != _MAGIC or _unpickle(file) != _PROTOCOL:
        raise _Refused("the magic number is missing")
    system = _unpickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _Refused("the numbers are not little-endian")
    tensors = _unpickle(file)
    keys = _unpickle(file)
    if not isinstance(tensors, dict) or not isinstance(keys, list) or not _all_text(keys):
        raise _Refused("the object is no dictionary of tensors")
    wanted = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, _Tensor):
            raise _Refused(f"{name} is no tensor")
        wanted[tensor.storage.key] = tensor.storage
    data = {}
    for key in keys:
        storage = wanted[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise _Refused(f"storage {key} has {count} numbers instead of {storage.count}")
        size = count * np.dtype(storage.dtype).itemsize
        raw = file.read(size)
        if len(raw) != size:
            raise _Refused("the file ends early")
        data[key] = np.frombuffer(raw, storage.dtype)
    return {name: _array(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _array(tensor: _Tensor, data: NDArray[Any]) -> NDArray[Any]:
    """The view that `tensor` is of its storage, as an own array; every element is checked to lie inside."""
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or min((tensor.offset, *shape, *strides), default=0) < 0:
        raise _Refused("a tensor has no valid shape")
    if 0 in shape:
        return np.empty(shape, data.dtype)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    elements = 1
    for n in shape:  # not np.prod: it wraps around
        elements *= n
    if last >= len(data) or elements > len(data):
        raise _Refused("a tensor reaches beyond its storage")
    item = data.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        data[tensor.offset :], shape, [stride * item for stride in strides], writeable=False
    )
    return view.copy()


def _unpickle(file: IO[bytes]) -> Any:
    """Runs one pickle of the few instructions allowed; `_Refused` for any other, its argument unread."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    while code := file.read(1):
        instruction = _INSTRUCTIONS.get(code.decode("latin-1"))
        if instruction is None:
            raise _Refused(f"it uses the instruction {code!r}")
        argument = _argument(instruction, file)
        if instruction.name == "STOP":
            (result,) = stack
            return result
        _step(instruction.name, argument, stack, memo)
    raise _Refused("a pickle does not end")


def _argument(instruction: pickletools.OpcodeInfo, file: IO[bytes]) -> Any:
    if instruction.name == "GLOBAL":  # the library's reader would interpret backslashes
        return " ".join(file.readline().decode("ascii").rstrip("\n") for _ in range(2))
    return None if instruction.arg is None else instruction.arg.reader(file)


def _step(opcode: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if opcode in _CONSTANTS:
        stack.append(_CONSTANTS[opcode]())
    elif opcode in _LITERALS:
        stack.append(argument)
    elif opcode in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif opcode in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif opcode == "GLOBAL":
        if argument not in _NAMES:
            raise _Refused(f"it names {argument}")
        stack.append(_Name(argument))
    elif opcode in _ACTIONS:
        _ACTIONS[opcode](stack)


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


def _above_mark(stack: list[Any]) -> list[Any]:
    """Takes what lies above the last mark, and the mark, off the stack."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is _MARK:
            items = stack[place + 1 :]
            del stack[place:]
            return items
    raise _Refused("a mark is missing")


def _last(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count:
        raise _Refused("the stack is too short")
    items = stack[-count:]
    del stack[-count:]
    return items


def _all_text(items: list[Any]) -> bool:
    """Nested tuples as keys would take exponential time to hash."""
    return all(isinstance(item, str) for item in items)


def _set_items(stack: list[Any], items: list[Any]) -> None:
    target = stack[-1]
    if not isinstance(target, dict) or len(items) % 2 or not _all_text(items[::2]):
        raise _Refused("items are set on what is no dictionary of names")
    target.update(zip(items[::2], items[1::2], strict=True))


def _append_items(stack: list[Any], items: list[Any]) -> None:
    target = stack[-1]
    if not isinstance(target, list):
        raise _Refused("items are appended to what is no list")
    target.extend(items)


def _reduce(stack: list[Any]) -> None:
    """A call: of the few that make a tensor, by their meaning."""
    function, arguments = _last(stack, 2)
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise _Refused("it calls what is no name")
    if function.text == "collections OrderedDict" and not arguments:
        stack.append({})
    elif function.text == "torch._utils _rebuild_tensor_v2" and len(arguments) == 6:
        storage, offset, shape, strides, _, _ = arguments
        numbers = [offset, *shape, *strides]
        if not isinstance(storage, _Storage) or not all(type(number) is int for number in numbers):
            raise _Refused("a tensor is not made of a storage and numbers")
        stack.append(_Tensor(storage, offset, tuple(shape), tuple(strides)))
    elif function.text == "torch._utils _rebuild_parameter" and isinstance(arguments[0], _Tensor):
        stack.append(arguments[0])
    else:
        raise _Refused(f"it calls {function.text} in another way than torch does")


def _storage(stack: list[Any]) -> None:
    (described,) = _last(stack, 1)
    kind, name, key, _, count, view = described
    dtype = _DTYPES.get(name.text.removeprefix("torch ")) if isinstance(name, _Name) else None
    if kind != "storage" or dtype is None or not isinstance(key, str) or view is not None:
        raise _Refused("a storage is not described as torch does")
    if type(count) is not int or not 0 <= count <= _MAX_ELEMENTS:
        raise _Refused("a storage has an impossible size")
    stack.append(_Storage(key, dtype, count))


def _build(stack: list[Any]) -> None:
    """The attributes of the dictionary (torch's version numbers) are dropped."""
    _last(stack, 1)
    if not stack or not isinstance(stack[-1], dict):
        raise _Refused("attributes are set on what is no dictionary")


_ACTIONS: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE": lambda stack: stack.append(tuple(_above_mark(stack))),
    "TUPLE1": lambda stack: stack.append(tuple(_last(stack, 1))),
    "TUPLE2": lambda stack: stack.append(tuple(_last(stack, 2))),
    "TUPLE3": lambda stack: stack.append(tuple(_last(stack, 3))),
    "SETITEM": lambda stack: _set_items(stack, _last(stack, 2)),
    "SETITEMS": lambda stack: _set_items(stack, _above_mark(stack)),
    "APPEND": lambda stack: _append_items(stack, _last(stack, 1)),
    "APPENDS": lambda stack: _append_items(stack, _above_mark(stack)),
    "REDUCE": _reduce,
    "BINPERSID": _storage,
    "BUILD": _build,
}

_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
_REST = {"PROTO", "STOP", "GLOBAL", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
_INSTRUCTIONS = {
    instruction.code: instruction
    for instruction in pickletools.opcodes
    if instruction.name in {*_CONSTANTS, *_ACTIONS, *_LITERALS, *_REST}
}
