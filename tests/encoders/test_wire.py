import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.encoders.wire import read_fields, write_fields

FIELDS = st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 2**64 - 1) | st.binary(max_size=300)))


def test_the_example_of_the_specification():
    assert read_fields(b"\x08\x96\x01") == [(1, 150)]
    assert write_fields([(2, b"testing")]) == b"\x12\x07testing"


@given(FIELDS)
def test_what_is_written_is_read_again(fields):
    assert read_fields(write_fields(fields)) == fields


def test_a_negative_number_takes_ten_bytes():
    assert write_fields([(8, -1)]) == b"\x40" + b"\xff" * 9 + b"\x01"


@given(st.binary(max_size=50))
def test_other_bytes_are_read_or_refused(message):
    with contextlib.suppress(ValueError):
        read_fields(message)


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x0a\x05abc", b"\x08" + b"\xff" * 11, b"\x0d\x00\x00\x00\x00"]
)
def test_a_broken_message_is_refused(message):
    with pytest.raises(ValueError, match=r"message|number|wire type"):
        read_fields(message)
