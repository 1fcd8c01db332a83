"""Known mistakes in the interface: the sentences of ``mnist_lab.interface`` for each exercise.

They are seen where the learner's code is called and need no comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mnist_lab import interface, kit
from mnist_lab.diagnosis.match import Fault

__all__ = ["BANK"]


def _bank() -> Iterator[Fault[Any]]:
    for exercise in kit.load().exercises:
        of_a_class = exercise.names[0][0].isupper()
        table = interface.OF_CLASSES if of_a_class else interface.OF_FUNCTIONS
        for slug, misfit in table.items():
            says = misfit.says.format(name=exercise.names[0], file=exercise.file)
            yield Fault(f"{exercise.id}.{slug}", says, misfit.hint, ())


BANK = tuple(_bank())
