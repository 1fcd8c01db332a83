"""The learner's module, and the objects that were made from it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["Learner", "ReturnedError", "seed_all"]


class ReturnedError(Exception):
    """The learner's code ran and gave something else than what was asked for; a sentence.

    ``mistake`` is a key of the tables in ``mnist_lab.interface``, if it is one of those, and
    ``evidence`` what was seen.
    """

    def __init__(self, sentence: str, mistake: str = "", evidence: str = "") -> None:
        super().__init__(sentence)
        self.mistake, self.evidence = mistake, evidence


class Learner:
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


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, NumPy and ``random``."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
