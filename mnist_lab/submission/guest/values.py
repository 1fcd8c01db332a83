"""What a learner's code returned, as JSON and arrays, without asking the value itself.

Types are those that an object really has, and numbers and tensors are read by Python's and
PyTorch's own methods: a class of the learner's cannot answer for itself.
"""

from __future__ import annotations

import decimal
import fractions
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_lab.submission.guest.learner import ReturnedError
from mnist_lab.submission.protocol import DTYPES

MOST = 20_000
"""Parts of a value that are described; a 10x10 matrix has 111."""

EXACT = frozenset(
    [fractions.Fraction, decimal.Decimal, *(np.dtype(code).type for code in "?bhilqBHILQefdg")]
)
"""Types of numbers that are no subclass of ``int`` or ``float``, or know better than those."""

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
"""Types of tensors that PyTorch computes little with; they are told as others of whole numbers."""

PARTS: dict[Any, Any] = {list: list.__iter__, tuple: tuple.__iter__, dict: dict.values}


class Described:
    """``tree`` describes a value; ``arrays`` are the tensors in it, by the names in the tree."""

    def __init__(self, value: Any) -> None:
        self.arrays: dict[str, Tensor] = {}
        self._left = MOST
        self.tree = self._of(value, depth=4)

    def _of(self, value: Any, depth: int) -> dict[str, Any]:
        kind, self._left = type(value), self._left - 1
        named = {"type": type_of(value)}
        if value is None:
            return {"is": "nothing", **named}
        if kind in EXACT:
            whole = issubclass(kind, np.integer)
            return {"is": "number", "value": float(value), "whole": whole, **named}
        if issubclass(kind, float):
            return {"is": "number", "value": float.__float__(value), "whole": False, **named}
        if issubclass(kind, int):
            whole = kind is not bool
            return {"is": "number", "value": float(int.__int__(value)), "whole": whole, **named}
        if issubclass(kind, Tensor):
            return self._tensor(value, named)
        if issubclass(kind, np.ndarray):
            return self._array(np.ndarray.view(value, np.ndarray), named)
        for base, parts in PARTS.items():
            if issubclass(kind, base) and depth and base.__len__(value) <= self._left:
                told = [self._of(part, depth - 1) for part in parts(value)]
                return {"is": base.__name__, "parts": told, **named}
        return {"is": "object", **named}

    def _tensor(self, value: Tensor, named: dict[str, Any]) -> dict[str, Any]:
        plain = _plain(value)
        said = {"graph": plain.requires_grad, **named}
        if plain.dtype in UNSIGNED:
            plain = plain.long()
        if plain.dtype not in DTYPES.values() or plain.layout != torch.strided:
            return {"is": "odd tensor", **said}
        return {"is": "tensor", "name": self._keep(plain.detach()), **said}

    def _array(self, value: np.ndarray[Any, Any], named: dict[str, Any]) -> dict[str, Any]:
        if value.dtype.kind in "iu" and str(value.dtype) not in DTYPES:
            value = value.astype(np.int64)
        if str(value.dtype) not in DTYPES:
            return {"is": "odd array", **named}
        return {"is": "array", "name": self._keep(torch.from_numpy(value.copy())), **named}

    def _keep(self, tensor: Tensor) -> str:
        name = f"value.{len(self.arrays)}"
        self.arrays[name] = tensor
        return name


def parts_of(value: Any) -> list[Any] | None:
    """What is in a list or a tuple; ``None`` for anything else."""
    bases = (base for base in (list, tuple) if issubclass(type(value), base))
    return next((list(PARTS[base](value)) for base in bases), None)


def type_of(value: Any) -> str:
    """The name of the class of ``value``."""
    return type(value).__name__


def _plain(value: Tensor) -> Tensor:
    """The tensor without what a class of the learner's has made of its methods."""
    if type(value) in (Tensor, torch.nn.Parameter):
        return value
    with torch._C.DisableTorchFunctionSubclass():
        return Tensor.as_subclass(value, Tensor)


def no_exception(value: Any, what: str) -> Any:
    """``value``, unless it is an exception. Raises ``ReturnedError``, about ``what``."""
    kind = value if issubclass(type(value), type) else type(value)
    if issubclass(kind, BaseException):
        name = kind.__name__
        raise ReturnedError(f"{what} gave an exception, {name}.", "exception", type=name)
    return value


def a_tensor(value: Any, what: str) -> Tensor:
    """``value``, if it is a dense tensor of numbers. Raises ``ReturnedError``, about ``what``."""
    no_exception(value, what)
    if not issubclass(type(value), Tensor):
        raise ReturnedError(
            f"{what} gave a {type_of(value)}, not a tensor.",
            _kind(value),
            type=type_of(value),
            inside=_inside(value),
        )
    plain = _plain(value)
    if plain.dtype not in DTYPES.values() or plain.layout != torch.strided:
        kind = f"a tensor of {plain.dtype} and layout {plain.layout}"
        raise ReturnedError(f"{what} gave {kind}.", "odd-tensor", type=kind)
    return plain


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        tuple: "returns-tuple",
        list: "returns-list",
        dict: "returns-dict",
        np.ndarray: "returns-array",
        type(None): "returns-nothing",
        torch.nn.Module: "returns-layer",
    }
    return next((kind for known, kind in kinds.items() if isinstance(value, known)), "no-tensor")


def _inside(value: Any) -> str:
    """What there is in place of a tensor, with the shapes of the tensors in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        inside = [shape_of(v) if isinstance(v, Tensor) else type_of(v) for v in value[:4]]
        parts = f"{len(value)} part{'s' * (len(value) != 1)}"
        return f"It has {parts}: {', '.join(inside)}{', ...' * (len(value) > 4)}."
    if isinstance(value, np.ndarray):
        return f"Its shape is {value.shape}."
    return "A tensor (N, 10) is asked for."


def shape_of(value: Tensor) -> str:
    """The shape of ``value`` as it is written."""
    return f"({', '.join(map(str, value.shape))})"
