"""Which known mistakes explain what a learner's code did: those that do the same, number by number.

A mistake is a change of a plan: of the network, the loop or the transform that the handout asks
for. Plans with one change are tried first, then plans with two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Generic, TypeVar

from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, fail

EQUAL = 1e-9
"""Float64 outputs of size 1 that differ by less come from the same computation: correct rewrites
differ by some 1e-14, known mistakes by more than 1e-6."""

NEARLY_EQUAL = 3e-5
"""The same for code that works in float32 only, as a part of the largest output: correct rewrites
differ by some 1e-6."""

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Fault(Generic[Plan]):
    """A known mistake.

    ``id`` begins with the exercise's. ``says`` is one sentence about what the learner's code does;
    ``hint`` one about what to look at. ``changes`` are the ways to make it: each gives a plan with
    the mistake, or None for a plan in which it cannot be made.
    """

    id: str
    says: str
    hint: str
    changes: tuple[Callable[[Plan], Plan | None], ...]


@dataclass(frozen=True)
class Explanation(Generic[Plan]):
    """What does the same as the learner's code: each of ``alternatives`` is one fault or two that
    are made together. ``difference`` is the largest difference that is left, ``plan`` the plan of
    the first alternative.
    """

    alternatives: tuple[tuple[Fault[Plan], ...], ...]
    difference: float
    plan: Plan

    @property
    def fault(self) -> str:
        """The ids: ``a``, ``a+b`` for two at once, ``a|b`` where both explain it."""
        return "|".join("+".join(fault.id for fault in faults) for faults in self.alternatives)

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
    asked: Plan,
    bank: Sequence[Fault[Plan]],
    differs: Callable[[Plan], float],
    equal: float = EQUAL,
    pairs: Sequence[Fault[Plan]] | None = None,
) -> Explanation[Plan] | None:
    """The faults of ``bank`` with which ``asked`` does what the learner's code did.

    ``differs`` says how far a plan is from what was seen, infinity if it can't be that. All single
    faults are tried, and if none explains it all pairs of ``pairs``, which is ``bank`` unless
    given. None if there is no explanation.
    """
    singles = ((fault,) for fault in bank)
    twos = combinations(bank if pairs is None else pairs, 2)
    for candidates in (singles, twos):
        found: list[tuple[tuple[Fault[Plan], ...], float, Plan]] = []
        for faults in candidates:
            for plan in _made(asked, faults):
                distance = differs(plan)
                if distance < equal:
                    found.append((faults, distance, plan))
                    break
        if found:
            alternatives = tuple(faults for faults, _, _ in found)
            return Explanation(alternatives, max(far for _, far, _ in found), found[0][2])
    return None


def named(
    explanation: Explanation[Plan], evidence: str, where: str = "", hint: str = ""
) -> CheckFailure:
    """The failure to raise for a mistake that was recognised; the hint is its own unless given."""
    return fail(
        explanation.message,
        evidence,
        hint or explanation.hint,
        fault=explanation.fault,
        where=where,
    )


def failure(alternatives: Iterable[Iterable[Fault[Any]]], evidence: str) -> CheckFailure:
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


def _made(asked: Plan, faults: Sequence[Fault[Plan]]) -> Iterator[Plan]:
    """The plans with all of ``faults``, in either order."""
    orders = [tuple(faults)] if len(faults) == 1 else [tuple(faults), tuple(reversed(faults))]
    for order in orders:
        for changes in product(*(fault.changes for fault in order)):
            plan: Plan | None = asked
            for change in changes:
                plan = None if plan is None else change(plan)
            if plan is not None:
                yield plan
