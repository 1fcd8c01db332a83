"""The known mistakes in what ``evaluate``, ``confusion_matrix``, ``train_epoch`` and ``train``
return and leave behind: ``mistakes/measures.toml``, and what only a training can do wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain

from mnist_lab.diagnosis.faults import Fault, entries, tables

EXERCISE = {
    "evaluate": "evaluation",
    "confusion_matrix": "evaluation",
    "train_epoch": "training",
    "train": "training",
}


@cache
def of(what: str, function: str) -> tuple[Fault, ...]:
    """Mistakes in the "loss", the "accuracy" or the "matrix" that ``function`` returns; those that
    are the same in both numbers for "".
    """
    found: list[Fault] = []
    for entry in _entries(function):
        kind = entry.more["of"]
        told = tables("measures")["told"].get(kind, {})
        if what in told:
            name = f"{what}-{_slug(entry)}".removeprefix("-")
            says = told[what].replace("...", entry.says)
            found.append(_fault(entry, function, name, says))
        elif what and kind in ("history", what):
            found.append(_fault(entry, function))
    return tuple(found)


@cache
def observed(name: str, function: str = "evaluate") -> Fault:
    """A mistake that shows in what ``function`` does, not in its numbers."""
    return _fault(entries("measures")[name], function)


def merged(faults: Iterable[Fault], function: str) -> tuple[Fault, ...]:
    """``faults`` of loss and accuracy, each once as it is told first, and those that both have as
    one.
    """
    left: dict[str, Fault] = {}
    for fault in faults:
        left.setdefault(fault.id, fault)
    for both in of("", function):
        exercise, _, name = both.id.partition(".")
        of_each = [f"{exercise}.{number}-{name}" for number in ("loss", "accuracy")]
        if set(of_each) <= set(left):
            left = {both.id: both} | {each: left[each] for each in left if each not in of_each}
    return tuple(left.values())


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
    for what in ("", "loss", "accuracy"):
        yield from of(what, function)
    yield from of("matrix", "confusion_matrix") if function == "evaluate" else ()
    for name, entry in entries("measures").items():
        if entry.more["of"] in kinds:
            yield observed(name, function)


BANK: tuple[Fault, ...] = tuple(
    {fault.id: fault for fault in chain(*map(_bank, ("train", "evaluate")))}.values()
)
