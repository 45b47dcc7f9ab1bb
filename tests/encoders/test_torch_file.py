import io
import pickle
import random
import struct
from collections import OrderedDict
from typing import ClassVar

import numpy as np
import pytest

from multimodal_dql.encoders.torch_file import TorchFileError, read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C


class _Global:
    """Pickles as the call of a global name."""

    def __init__(self, module, name, arguments):
        self.module, self.name, self.arguments = module, name, arguments


class _Pickler(pickle._Pickler):
    """Writes tensors as torch does, without torch."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def persistent_id(self, thing):
        return thing.text if isinstance(thing, _Storage) else None

    def _save_name(self, name):
        self.write(b"c" + name.module.encode() + b"\n" + name.name.encode() + b"\n")
        if name.arguments is not None:
            self.save(name.arguments)
            self.write(b"R")

    dispatch[_Global] = _save_name


class _Storage:
    def __init__(self, kind, key, count):
        self.text = ("storage", _Global("torch", kind, None), key, "cpu", count, None)


def _pickled(thing):
    out = io.BytesIO()
    _Pickler(out, 2).dump(thing)
    return out.getvalue()


def tensor(key, count, shape, strides, offset=0, kind="FloatStorage"):
    arguments = (_Storage(kind, key, count), offset, shape, strides, False, OrderedDict())
    return _Global("torch._utils", "_rebuild_tensor_v2", arguments)


def legacy(tensors, data, *, magic=MAGIC):
    """A legacy file of `tensors`, with key -> array as `data`."""
    out = pickle.dumps(magic, 2) + pickle.dumps(1001, 2)
    out += pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}, 2)
    out += _pickled(tensors) + pickle.dumps(list(data), 2)
    for array in data.values():
        out += struct.pack("<q", array.size) + array.tobytes()
    return out


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "f.pth").write_bytes(content)
        return read_state_dict(tmp_path / "f.pth")

    return read


NUMBERS = np.arange(6, dtype="<f4")


def good():
    tensors = OrderedDict(
        a=tensor("1", 6, (2, 3), (3, 1)),
        turned=tensor("1", 6, (3, 2), (1, 3)),
        part=tensor("1", 6, (2,), (2,), offset=3),
        count=tensor("2", 1, (), (), kind="LongStorage"),
    )
    return legacy(tensors, {"1": NUMBERS, "2": np.array([7], "<i8")})


def test_tensors_come_out_with_their_shapes_strides_and_offsets(read):
    tensors = read(good())
    np.testing.assert_array_equal(tensors["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(tensors["part"], [3, 5])
    assert tensors["count"] == 7


def test_a_parameter_is_its_tensor(read):
    wrapped = _Global("torch._utils", "_rebuild_parameter", (tensor("1", 6, (6,), (1,)), True, OrderedDict()))
    np.testing.assert_array_equal(read(legacy({"p": wrapped}, {"1": NUMBERS}))["p"], NUMBERS)


@pytest.mark.parametrize(
    "call",
    [
        _Global("os", "system", ("touch /tmp/never",)),
        _Global("builtins", "eval", ("1",)),
        _Global("torch._utils", "_rebuild_tensor", ()),
        _Global("collections", "OrderedDict", ([["a", 1]],)),
        _Global("collections", "deque", ()),
    ],
    ids=lambda call: f"{call.module}.{call.name}",
)
def test_no_other_name_is_called(read, call):
    with pytest.raises(TorchFileError, match=r"it (names|calls)"):
        read(legacy({"a": call}, {}))


@pytest.mark.parametrize(
    "wrong",
    [
        tensor("1", 6, (7,), (1,)),
        tensor("1", 6, (6,), (1,), offset=1),
        tensor("1", 6, (6,), (1,), offset=-1),
        tensor("1", 6, (-1,), (1,)),
        tensor("1", 6, (2,), (-1,)),
        tensor("1", 6, (2, 3), (1,)),
        tensor("1", 6, (1 << 33, 1 << 33), (0, 0)),
        tensor("1", 1 << 40, (1,), (1,)),
        tensor("1", -1, (1,), (1,)),
        tensor("1", 5, (1,), (1,)),
        tensor("9", 6, (6,), (1,)),
        "text",
    ],
    ids=[
        "long",
        "offset",
        "negative",
        "size",
        "stride",
        "ranks",
        "bomb",
        "storage",
        "minus",
        "count",
        "key",
        "text",
    ],
)
def test_a_tensor_outside_its_storage_is_refused(read, wrong):
    with pytest.raises(TorchFileError):
        read(legacy({"a": wrong}, {"1": NUMBERS}))


def test_files_of_another_kind_are_refused(read):
    for content in (b"", b"PK\x03\x04zip", pickle.dumps({"a": 1}), legacy({}, {}, magic=1), good()[:-3]):
        with pytest.raises(TorchFileError, match=r"f\.pth is not a file of plain tensors"):
            read(content)


def test_a_damaged_file_gives_tensors_or_its_own_error_and_nothing_else(read):
    """Mutations of a real file: 1,500 of them, seeded."""
    original = good()
    rng = random.Random(11)
    refused = 0
    for _ in range(1500):
        content = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(content))
            change = rng.randrange(4)
            if change == 0:
                content[place] = rng.randrange(256)
            elif change == 1:
                del content[place : place + rng.randint(1, 9)]
            elif change == 2:
                content[place:place] = rng.randbytes(rng.randint(1, 9))
            else:
                content[place] ^= 1 << rng.randrange(8)
        try:
            tensors = read(bytes(content))
        except TorchFileError:
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in tensors.values())
    assert refused > 500
