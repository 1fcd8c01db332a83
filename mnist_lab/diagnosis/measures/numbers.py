"""Which mistake explains a loss or an accuracy that a function returns in several calls."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_lab.diagnosis import match
from mnist_lab.diagnosis.faults.evaluation import Number, Scores
from mnist_lab.diagnosis.match import Explanation, Fault

__all__ = ["IN_FLOAT32", "explain_numbers"]

IN_FLOAT32 = 2e-6
"""Part of a number by which float32 sums of a few hundred losses differ."""


def explain_numbers(
    calls: Scores, asked: Number, bank: Sequence[Fault[Number]], returned: Sequence[float]
) -> Explanation[Number] | None:
    """The mistakes of ``bank`` with which each of ``calls`` gives what was ``returned``.

    With no fault where a number is as asked; none for one that is always the same, which
    proves nothing.
    """

    def differs(plan: Number) -> float:
        furthest = 0.0
        for call, actual in enumerate(returned):
            expected = calls.of(plan, call)
            distance = abs(actual - expected) / max(1.0, abs(expected))
            if not distance < IN_FLOAT32:
                return math.inf
            furthest = max(furthest, distance)
        return furthest

    if (distance := differs(asked)) < IN_FLOAT32:
        return Explanation(((),), distance, asked)
    if len(returned) > 1 and len(set(returned)) == 1:
        return None
    return match.explain(asked, bank, differs, IN_FLOAT32)
