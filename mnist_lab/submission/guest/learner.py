"""The learner's module, and the objects that were made from it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch


class ReturnedError(Exception):
    """The learner's code ran and gave something else than what was asked for; a sentence.

    ``mistake`` says in a word what, and ``facts`` with what.
    """

    def __init__(self, sentence: str, mistake: str = "", **facts: str) -> None:
        super().__init__(sentence)
        self.mistake, self.facts = mistake, facts


class Learner:
    """The learner's module and the objects that were made from it."""

    def __init__(self) -> None:
        self.path = Path()
        self.module: Any = None
        self.objects: list[Any] = []
        self.lent: Any = None  # What the last call was given.
        self.images = torch.empty(0)  # The images of the last forward pass.

    def named(self, name: str) -> Any:
        """What the learner's file calls ``name``."""
        if not hasattr(self.module, name):
            raise ReturnedError(f"{self.path.name} does not define {name}.", "missing")
        found = getattr(self.module, name)
        if not callable(found):
            raise ReturnedError(f"{name} in {self.path.name} can't be called.", "not-callable")
        return found

    def bound(self, name: str) -> str:
        """The type of what the learner's file calls ``name``; empty if it is not there."""
        return type(getattr(self.module, name)).__name__ if hasattr(self.module, name) else ""

    def keep(self, made: Any) -> int:
        """The number under which ``made`` is found again."""
        self.objects.append(made)
        return len(self.objects) - 1


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, NumPy and ``random``."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
