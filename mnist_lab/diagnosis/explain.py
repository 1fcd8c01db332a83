"""Which known mistakes explain what a learner's code did: those that do the same, number by number.

A mistake is a change of a plan: of the network, the loop or the transform that the handout asks
for. Plans with one change are tried first, then plans with two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Generic, TypeVar

from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, fail
from mnist_lab.diagnosis.faults import Fault, edited

EQUAL = 1e-9
"""Float64 outputs of size 1 that differ by less come from the same computation: correct rewrites
differ by some 1e-14, known mistakes by more than 1e-6."""

NEARLY_EQUAL = 3e-5
"""The same for code that works in float32 only, as a part of the largest output: correct rewrites
differ by some 1e-6."""

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Explanation(Generic[Plan]):
    """What does the same as the learner's code: each of ``alternatives`` is one fault or two that
    are made together. ``difference`` is the largest difference that is left, ``plan`` the plan of
    the first alternative.
    """

    alternatives: tuple[tuple[Fault, ...], ...]
    difference: float
    plan: Plan

    @property
    def fault(self) -> str:
        """The ids: ``a``, ``a+b`` for two at once, ``a|b`` where both explain it."""
        ids = (dict.fromkeys(fault.id for fault in faults) for faults in self.alternatives)
        return "|".join(map("+".join, ids))

    @property
    def message(self) -> str:
        """What the code does, as sentences."""
        return _either(" ".join(fault.says for fault in faults) for faults in self.alternatives)

    @property
    def hint(self) -> str:
        """That of the first fault of each alternative: those of several would run together."""
        return _either(
            "Begin with the first. " * (len({fault.hint for fault in faults}) > 1) + faults[0].hint
            for faults in self.alternatives
            if faults
        )


def explain(
    asked: str,
    bank: Sequence[Fault],
    differs: Callable[[str], float],
    equal: float = EQUAL,
    pairs: bool = True,
) -> Explanation[str] | None:
    """The faults of ``bank`` with which the text ``asked`` does what the learner's code did.

    ``differs`` says how far a text is from what was seen, infinity if it can't be that. First
    ``asked`` itself is tried, then single faults, then ``pairs``. None if nothing explains it.
    """
    for count in range(3 if pairs else 2):
        found: list[tuple[tuple[Fault, ...], float, str]] = []
        for faults in combinations(bank, count):
            for text in _made(asked, faults):
                distance = differs(text)
                if distance < equal:
                    found.append((faults, distance, text))
                    break
        if found:
            alternatives = tuple(faults for faults, _, _ in found)
            return Explanation(alternatives, max(far for _, far, _ in found), found[0][2])
    return None


def named(explanation: Explanation[Plan], evidence: str, where: str = "") -> CheckFailure:
    """The failure to raise for a mistake that was recognised."""
    said, hint = explanation.message, explanation.hint
    return fail(said, evidence, hint, fault=explanation.fault, where=where)


def failure(alternatives: Iterable[Iterable[Fault]], evidence: str) -> CheckFailure:
    """The failure to raise for mistakes that were observed: those of one of ``alternatives``."""
    return named(Explanation(tuple(map(tuple, alternatives)), 0.0, None), evidence)


def difference(actual: Tensor, expected: Tensor) -> float:
    """The largest absolute difference; infinite where the shapes differ or a value is missing."""
    if actual.shape != expected.shape:
        return math.inf
    distance = (actual.double() - expected.double()).abs().max().item()
    return math.inf if math.isnan(distance) else distance


def _either(each: Iterable[str]) -> str:
    first, *others = dict.fromkeys(each)
    return " Or: ".join([f"Either: {first}", *others]) if others else first


def _made(asked: str, faults: Sequence[Fault]) -> Iterator[str]:
    """The texts with all of ``faults``, in either order."""
    for order in permutations(faults):
        for ways in product(*(each.paired if len(order) > 1 else each.ways for each in order)):
            text = edited(asked, *ways)
            if text is not None:
                yield text
