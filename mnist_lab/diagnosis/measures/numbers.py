"""Which mistake explains a loss or an accuracy that a function returns in several calls."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_lab.diagnosis import explain
from mnist_lab.diagnosis.explain import Explanation, Fault
from mnist_lab.diagnosis.measures.replays import Scores

__all__ = ["IN_FLOAT32", "explain_numbers"]

IN_FLOAT32 = 2e-6
"""Part of a number by which float32 sums of a few hundred losses differ."""


def explain_numbers(
    calls: Scores,
    asked: str,
    bank: Sequence[Fault[str]],
    paired: Sequence[Fault[str]],
    returned: Sequence[float],
) -> Explanation[str] | None:
    """The mistakes of ``bank`` with which each of ``calls`` gives what was ``returned``, or two of
    those that are ``paired``.

    With no fault where a number is as ``asked``; none for one that is always the same, which
    proves nothing.
    """
    distances: dict[str, float] = {}

    def differs(text: str) -> float:
        if text not in distances:
            distances[text] = _furthest(calls, text, returned)
        return distances[text]

    if (distance := differs(asked)) < IN_FLOAT32:
        return Explanation(((),), distance, asked)
    if len(returned) > 1 and len(set(returned)) == 1:
        return None
    return explain.explain(asked, bank, differs, IN_FLOAT32, paired)


def _furthest(calls: Scores, text: str, returned: Sequence[float]) -> float:
    """The largest part by which a number is another; infinite from the first that is told apart."""
    furthest = 0.0
    for expected, actual in zip(calls.of(text), returned, strict=False):
        distance = abs(actual - expected) / max(1.0, abs(expected))
        if not distance < IN_FLOAT32:
            return math.inf
        furthest = max(furthest, distance)
    return furthest
