"""The codec between the two sides of the wall: a JSON header and raw buffers, capped.

A message is 4 bytes with the length of the header, 8 with that of the buffers (little-endian),
the header, and the buffers one after another in the order in which the header names them.
Decoding makes fresh tensors, runs nothing that the sender chose, and takes no more memory than
the lengths, which are looked at first, allow.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

PREFIX = struct.Struct("<IQ")
MAX_HEADER = 4 << 20
MAX_BODY = 256 << 20
MAX_DIMENSIONS = 8
MAX_SIZE = 1 << 31

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
}

NAMES = {dtype: name for name, dtype in DTYPES.items()}

RECORDED = "cuda:0"
"""The device that need not be there: what is moved to it stays where it is, and is noted."""

HERE = "cpu:0"
"""The CPU of a machine that has such a device; what is called gets it as "cpu"."""

APART = "Expected all tensors to be on the same device."
TO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor"
"""What is raised where tensors that were moved meet others."""


class WireError(Exception):
    """Bytes or fields that are not a message; completes the sentence "the answer is wrong: …"."""


@dataclass(frozen=True)
class Message:
    """``fields`` are plain JSON, ``arrays`` dense tensors by name; both are free in meaning."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)


def encode(message: Message) -> bytes:
    """``message`` as bytes. Raises ``WireError`` for what the other side would refuse."""
    described, buffers, size = [], [], 0
    for name, value in message.arrays.items():
        dtype = NAMES.get(value.dtype)
        if dtype is None or value.layout != torch.strided:
            raise WireError(f"a tensor of {value.dtype} and layout {value.layout}")
        size += value.nbytes
        lengths(PREFIX.pack(0, size))  # Before it is copied.
        of_numpy = value.detach()
        if value.dtype == torch.bfloat16:
            of_numpy = of_numpy.view(torch.int16)
        buffers.append(of_numpy.numpy(force=True).tobytes())
        described.append({"name": name, "dtype": dtype, "shape": list(value.shape)})
    header = json.dumps({"fields": dict(message.fields), "arrays": described}).encode()
    prefix = PREFIX.pack(len(header), size)
    lengths(prefix)
    return b"".join((prefix, header, *buffers))


def lengths(prefix: bytes) -> tuple[int, int]:
    """The lengths of header and body. Raises ``WireError`` where they are over the caps."""
    header, body = PREFIX.unpack(prefix)
    if header > MAX_HEADER or body > MAX_BODY:
        raise WireError(f"it has {(header + body) / 1e6:,.0f} MB, which is too much")
    return header, body


def decode(header: bytes | bytearray, body: bytes | bytearray) -> Message:
    """The message of a header and its buffers. Raises ``WireError`` for anything else."""
    try:
        tree = json.loads(header.decode())
    except (ValueError, RecursionError) as error:
        raise WireError("its header is not JSON") from error
    if not (
        isinstance(tree, dict)
        and isinstance(tree.get("fields"), dict)
        and isinstance(tree.get("arrays"), list)
    ):
        raise WireError("its header has no fields or arrays")
    arrays: dict[str, Tensor] = {}
    rest = memoryview(body)
    for entry in tree["arrays"]:
        name, dtype, shape = _described(entry)
        size = math.prod(shape) * dtype.itemsize
        if size > len(rest):
            raise WireError("it has fewer bytes than its arrays")
        if name in arrays:
            raise WireError("an array is there twice")
        arrays[name] = _tensor(bytearray(rest[:size]), dtype, shape)
        rest = rest[size:]
    if rest:
        raise WireError("it has more bytes than its arrays")
    return Message(tree["fields"], arrays)


def read(receive: Callable[[int], bytes | bytearray]) -> Message:
    """The next message, of which ``receive(n)`` gives the next n bytes."""
    header, body = lengths(bytes(receive(PREFIX.size)))
    return decode(receive(header), receive(body))


def _described(entry: object) -> tuple[str, torch.dtype, list[int]]:
    if not isinstance(entry, dict):
        raise WireError("an array without a description")
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPES:
        raise WireError("an array of no known dtype")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise WireError("an array of no known shape")
    for size in shape:
        if type(size) is not int or not 0 <= size < MAX_SIZE:
            raise WireError("an array of no known shape")
    return name, DTYPES[dtype], shape


def _tensor(data: bytearray, dtype: torch.dtype, shape: list[int]) -> Tensor:
    if not data:
        if math.prod(max(size, 1) for size in shape) >= MAX_SIZE:
            raise WireError("an array of no known shape")
        return torch.empty(shape, dtype=dtype)
    if dtype == torch.bool:
        # Any other byte than 0 or 1 is not a bool.
        return torch.frombuffer(data, dtype=torch.uint8).ne(0).reshape(shape)
    return torch.frombuffer(data, dtype=dtype).reshape(shape)
