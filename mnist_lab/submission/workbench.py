"""The learner's module and the objects made from it, and what may be said of what it returned."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_lab.submission.protocol import DTYPES
from mnist_lab.submission.sandbox import enclosure

__all__ = ["ReturnedError", "Workbench", "a_pair", "a_tensor", "seed_all", "shape_of", "type_of"]


class ReturnedError(Exception):
    """The learner's code ran and gave something else than what was asked for; a sentence.

    ``mistake`` is a key of the tables in ``mnist_lab.interface``, if it is one of those, and
    ``evidence`` what was seen.
    """

    def __init__(self, sentence: str, mistake: str = "", evidence: str = "") -> None:
        super().__init__(sentence)
        self.mistake, self.evidence = mistake, evidence


class Workbench:
    """The learner's module and the objects that were made from it."""

    def __init__(self) -> None:
        self.path = Path()
        self.module: Any = None
        self.objects: list[Any] = []

    def named(self, name: str) -> Any:
        """What the learner's file calls ``name``."""
        if not hasattr(self.module, name):
            raise ReturnedError(
                f"{self.path.name} does not define {name}.", "missing", self._defined()
            )
        found = getattr(self.module, name)
        if not callable(found):
            raise ReturnedError(f"{name} in {self.path.name} can't be called.")
        return found

    def _defined(self) -> str:
        own = [
            name
            for name, value in vars(self.module).items()
            if getattr(value, "__module__", None) == self.module.__name__ and callable(value)
        ]
        return f"It defines {', '.join(own[:10])}." if own else "It defines no class or function."

    def keep(self, made: Any) -> int:
        """The number under which ``made`` is found again."""
        self.objects.append(made)
        return len(self.objects) - 1


def a_tensor(value: Any, what: str) -> Tensor:
    """``value``, if it is a dense tensor of numbers. Raises ``ReturnedError``, about ``what``."""
    if not isinstance(value, Tensor):
        raise ReturnedError(
            f"{what} gave a {type_of(value)}, not a tensor.", _kind(value), _described(value)
        )
    if value.dtype not in DTYPES.values() or value.layout != torch.strided:
        raise ReturnedError(f"{what} gave a tensor of {value.dtype} and layout {value.layout}.")
    return value


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        tuple: "returns-tuple",
        list: "returns-list",
        dict: "returns-dict",
        np.ndarray: "returns-array",
        type(None): "returns-nothing",
    }
    return next((kind for known, kind in kinds.items() if isinstance(value, known)), "")


def _described(value: Any) -> str:
    """What there is in place of a tensor, with the shapes of the tensors in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        inside = [shape_of(v) if isinstance(v, Tensor) else type_of(v) for v in value[:4]]
        return f"It has {len(value)} parts: {', '.join(inside)}{', ...' * (len(value) > 4)}."
    if isinstance(value, np.ndarray):
        return f"Its shape is {value.shape}."
    return "A tensor (N, 10) is asked for."


def a_pair(value: Any, what: str) -> tuple[Any, Any]:
    """The two parts of ``value``. Raises ``ReturnedError``, about ``what``."""
    if not isinstance(value, tuple | list):
        raise ReturnedError(f"{what} gave a {type_of(value)}, not a pair.")
    if len(value) != 2:
        raise ReturnedError(f"{what} gave a {type_of(value)} of {len(value)}, not a pair.")
    return value[0], value[1]


def type_of(value: Any) -> str:
    """The name of the class of ``value``."""
    return type(value).__name__


def shape_of(value: Tensor) -> str:
    """The shape of ``value`` as it is written."""
    return f"({', '.join(map(str, value.shape))})"


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, NumPy and ``random``."""
    if enclosure.may_have_gpu():
        torch.manual_seed(seed)
    else:  # Without asking for graphics cards of three kinds, which takes longer than the rest.
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
