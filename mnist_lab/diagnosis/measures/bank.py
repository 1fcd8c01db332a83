"""The known mistakes of ``mistakes/measures.toml``, whichever function makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.faults import Entry, change, entries

__all__ = ["BANK", "gives_fractions", "in_matrix", "in_number", "merged", "observed"]

SUBJECTS = {
    "": "Loss and accuracy, as {function} returns them, are each",
    "loss-": "The loss that {function} returns is",
    "accuracy-": "The accuracy that {function} returns is",
}


@cache
def in_number(
    number: str, function: str = "evaluate", exercise: str = "evaluation", paired: bool = False
) -> tuple[Fault[str], ...]:
    """Mistakes in the "loss" or the "accuracy" that ``function`` returns; in the ways to try
    beside another mistake if ``paired``.
    """
    found = []
    for entry in entries("measures").values():
        if entry.more["of"] == "number":
            says = f"{SUBJECTS[f'{number}-']} {entry.says}"
            found.append(_fault(entry, f"{number}-{entry.id}", says, paired))
        elif entry.more["of"] == "reading" and number == "accuracy":
            says = f"The accuracy of {{function}} takes {entry.says} for the digit that was read."
            found.append(_fault(entry, f"accuracy-{entry.id}", says, paired))
        elif entry.more["of"] == number:
            found.append(_fault(entry, entry.id, entry.says, paired))
    return tuple(
        replace(each, id=f"{exercise}.{each.id}", says=each.says.format(function=function))
        for each in found
    )


@cache
def in_matrix(paired: bool = False) -> tuple[Fault[str], ...]:
    """Mistakes in the confusion matrix; in the ways to try beside another one if ``paired``."""
    return tuple(_in_matrix(paired))


def _in_matrix(paired: bool) -> Iterator[Fault[str]]:
    for entry in entries("measures").values():
        if entry.more["of"] == "reading":
            says = f"confusion_matrix takes {entry.says} for the digit that was read."
            yield _fault(entry, f"evaluation.matrix-{entry.id}", says, paired)
        elif entry.more["of"] == "matrix":
            yield _fault(entry, f"evaluation.{entry.id}", entry.says, paired)


def gives_fractions(faults: Iterable[Fault[str]]) -> bool:
    """Whether one of these mistakes in the matrix makes shares of its counts."""
    names = {fault.id.removeprefix("evaluation.") for fault in faults}
    known = entries("measures")
    return any(known[name].more.get("fractions") for name in names & known.keys())


@cache
def observed(name: str) -> Fault[Any]:
    """A mistake of ``evaluate`` that shows in what it does, not in its numbers."""
    return _fault(entries("measures")[name], f"evaluation.{name}")


@cache
def _in_both() -> dict[str, Fault[str]]:
    """Mistakes of ``evaluate`` in both numbers, by their names."""
    return {
        entry.id: _fault(
            entry,
            f"evaluation.{entry.id}",
            f"{SUBJECTS['']} {entry.says}".format(function="evaluate"),
        )
        for entry in entries("measures").values()
        if entry.more["of"] == "number"
    }


def merged(faults: Iterable[Fault[Any]]) -> tuple[Fault[Any], ...]:
    """``faults`` of loss and accuracy, those that both have as one."""
    left = {fault.id: fault for fault in faults}
    for name, both in _in_both().items():
        of_each = [f"evaluation.{number}-{name}" for number in ("loss", "accuracy")]
        if set(of_each) <= set(left):
            left = {both.id: both} | {each: left[each] for each in left if each not in of_each}
    return tuple(left.values())


def _fault(entry: Entry, name: str, says: str = "", paired: bool = False) -> Fault[str]:
    ways: Sequence[Any] = entry.paired if paired else entry.ways
    return Fault(name, says or entry.says, entry.hint, tuple(map(change, ways)))


BANK: tuple[Fault[Any], ...] = tuple(
    chain(
        _in_both().values(),
        in_number("loss"),
        in_number("accuracy"),
        in_matrix(),
        (observed(e.id) for e in entries("measures").values() if e.more["of"] == "evaluate"),
    )
)
