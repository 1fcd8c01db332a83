"""The known mistakes in what ``evaluate``, ``confusion_matrix``, ``train_epoch`` and ``train``
return and leave behind: ``mistakes/measures.toml``, and what only a training can do wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain

from mnist_lab.diagnosis.faults import Fault, entries

EXERCISE = {
    "evaluate": "evaluation",
    "confusion_matrix": "evaluation",
    "train_epoch": "training",
    "train": "training",
}

SUBJECTS = {
    "": "Loss and accuracy, as {function} returns them, are each",
    "loss-": "The loss that {function} returns is",
    "accuracy-": "The accuracy that {function} returns is",
}


@cache
def in_number(number: str, function: str) -> tuple[Fault, ...]:
    """Mistakes in the "loss" or the "accuracy" that ``function`` returns."""
    found: list[Fault] = []
    for entry in _entries(function):
        of, name, says = entry.more["of"], "", ""
        if of == "number":
            name, says = f"{number}-{_slug(entry)}", f"{SUBJECTS[f'{number}-']} {entry.says}"
        elif of == "reading" and number == "accuracy":
            name = f"accuracy-{entry.id}"
            says = f"The accuracy of {{function}} takes {entry.says} for the digit that was read."
        if name or of in ("history", number):
            found.append(_fault(entry, function, name, says))
    return tuple(found)


@cache
def in_matrix() -> tuple[Fault, ...]:
    """Mistakes in the confusion matrix."""
    found: list[Fault] = []
    for entry in entries("measures").values():
        name, says = "", ""
        if entry.more["of"] == "reading":
            name = f"matrix-{entry.id}"
            says = f"confusion_matrix takes {entry.says} for the digit that was read."
        if name or entry.more["of"] == "matrix":
            found.append(_fault(entry, "confusion_matrix", name, says))
    return tuple(found)


@cache
def observed(name: str, function: str = "evaluate") -> Fault:
    """A mistake that shows in what ``function`` does, not in its numbers."""
    return _fault(entries("measures")[name], function)


def merged(faults: Iterable[Fault], function: str = "evaluate") -> tuple[Fault, ...]:
    """``faults`` of loss and accuracy, each once as it is told first, and those that both have as
    one.
    """
    left: dict[str, Fault] = {}
    for fault in faults:
        left.setdefault(fault.id, fault)
    for both in _in_both(function):
        exercise, _, name = both.id.partition(".")
        of_each = [f"{exercise}.{number}-{name}" for number in ("loss", "accuracy")]
        if set(of_each) <= set(left):
            left = {both.id: both} | {each: left[each] for each in left if each not in of_each}
    return tuple(left.values())


@cache
def _in_both(function: str) -> tuple[Fault, ...]:
    """Mistakes in both numbers."""
    return tuple(
        _fault(entry, function, says=f"{SUBJECTS['']} {entry.says}")
        for entry in _entries(function)
        if entry.more["of"] == "number"
    )


def _entries(function: str) -> list[Fault]:
    """Those that can be made in ``function``, if they are mistakes of a number."""
    known = [*entries("measures").values()]
    if EXERCISE[function] == "training":
        of_numbers = ("number", "loss", "accuracy", "history")
        known += [e for e in entries("training").values() if e.more.get("of") in of_numbers]
    return [each for each in known if each.more.get("function", function) == function]


def _fault(entry: Fault, function: str, name: str = "", says: str = "") -> Fault:
    told = (says or entry.says).format(function=function)
    return replace(entry, id=f"{EXERCISE[function]}.{name or _slug(entry)}", says=told)


def _slug(entry: Fault) -> str:
    return entry.id.removeprefix("training.")


def _bank(function: str) -> Iterator[Fault]:
    kinds = {"evaluation": ("call", "evaluate"), "training": ("call",)}[EXERCISE[function]]
    yield from _in_both(function)
    yield from in_number("loss", function)
    yield from in_number("accuracy", function)
    yield from in_matrix() if function == "evaluate" else ()
    for name, entry in entries("measures").items():
        if entry.more["of"] in kinds:
            yield observed(name, function)


BANK: tuple[Fault, ...] = tuple(
    {fault.id: fault for fault in chain(*map(_bank, ("train", "evaluate")))}.values()
)
