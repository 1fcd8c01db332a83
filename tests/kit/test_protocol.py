"""Messages survive the wall as they were sent, and nothing else does."""

import io
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_lab.submission import protocol
from mnist_lab.submission.protocol import PREFIX, Message, WireError, decode, encode, read

DTYPES = [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float32, torch.float64]


def sent(message: Message) -> Message:
    return read(io.BytesIO(encode(message)).read)


def header(arrays: object, fields: object = None) -> bytes:
    return json.dumps({"fields": fields or {}, "arrays": arrays}).encode()


def array(**changes: object) -> dict[str, object]:
    return {"name": "x", "dtype": "float32", "shape": [2], **changes}


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats(allow_nan=False))),
)
def test_fields_and_arrays_arrive_as_they_were_sent(dtype, shape, fields):
    values = torch.randint(0, 2, shape).to(dtype)
    arrived = sent(Message(fields, {"x": values}))
    assert arrived.fields == fields
    assert arrived.arrays["x"].dtype == dtype
    assert torch.equal(arrived.arrays["x"], values)


def test_values_that_are_not_finite_arrive():
    values = torch.tensor([math.nan, math.inf, -math.inf])
    arrived = sent(Message({"loss": math.inf}, {"x": values}))
    torch.testing.assert_close(arrived.arrays["x"], values, equal_nan=True)
    assert arrived.fields == {"loss": math.inf}


def test_a_view_arrives_as_its_values_alone():
    base = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(sent(Message({}, {"x": base.T[1:]})).arrays["x"], base.T[1:])
    assert len(encode(Message({}, {"x": torch.arange(10**6)[:2]}))) < 200


def test_what_arrives_shares_no_memory_with_what_was_received():
    header_bytes, body = header([array()]), bytearray(8)
    arrived = decode(header_bytes, body)
    body[:] = b"\xff" * 8
    assert arrived.arrays["x"].tolist() == [0, 0]


def test_a_bool_is_never_another_byte():
    arrived = decode(header([array(dtype="bool", shape=[3])]), b"\x00\x01\x77")
    assert arrived.arrays["x"].view(torch.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2).to_sparse(),
    ],
    ids=["complex", "sparse"],
)
def test_a_tensor_that_is_no_dense_array_of_numbers_is_not_sent(value):
    with pytest.raises(WireError):
        encode(Message({}, {"x": value}))


def test_a_message_beyond_the_cap_is_neither_sent_nor_received():
    with pytest.raises(WireError, match="too much"):
        encode(Message({}, {"x": torch.zeros(1).expand(protocol.MAX_BODY)}))
    with pytest.raises(WireError, match="too much"):
        encode(Message({"x": "y" * protocol.MAX_HEADER}))
    for lengths in (
        (protocol.MAX_HEADER + 1, 0),
        (0, protocol.MAX_BODY + 1),
        (2**32 - 1, 2**64 - 1),
    ):
        with pytest.raises(WireError, match="too much"):
            read(io.BytesIO(PREFIX.pack(*lengths)).read)


@pytest.mark.parametrize(
    "header_bytes",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"fields": [], "arrays": []}',
        b'{"fields": {}, "arrays": {}}',
        b"[" * 100_000,
        b'{"fields": {"x": ' + b'{"y": ' * 100_000,
        b'{"fields": {"x": ' + b"9" * 10_000 + b'}, "arrays": []}',
    ],
    ids=lambda value: str(value[:20]),
)
def test_a_header_that_is_none_is_refused(header_bytes):
    with pytest.raises(WireError):
        decode(header_bytes, b"")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        array(name=None),
        array(dtype="object"),
        array(dtype="complex64"),
        array(dtype=None),
        array(dtype=["float32"]),
        array(shape=2),
        array(shape=[-2]),
        array(shape=[True, 2]),
        array(shape=[2.0]),
        array(shape=["2"]),
        array(shape=[1] * 9),
        array(shape=[2**31]),
        array(shape=[0, *[2**31 - 1] * 7]),
        array(shape=[3]),
        array(shape=[1]),
        array(shape=[]),
    ],
    ids=str,
)
def test_an_array_that_does_not_fit_its_bytes_is_refused(entry):
    with pytest.raises(WireError):
        decode(header([entry]), bytes(8))


def test_two_arrays_of_one_name_are_refused():
    with pytest.raises(WireError, match="twice"):
        decode(header([array(), array()]), bytes(16))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(data):
    def receive(size: int) -> bytes:
        return data[:size].ljust(size, b"\0")

    try:
        read(lambda size: receive(min(size, 1000)) if size != PREFIX.size else receive(size))
    except WireError:
        return
    raise AssertionError("random bytes are no message")
