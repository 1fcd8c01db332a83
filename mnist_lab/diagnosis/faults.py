"""The bank of known mistakes: the entries of ``mistakes/*.toml``, and the text of a reference with
a mistake in it.

    [hints]
    raw-scores = "nn.CrossEntropyLoss takes the log-softmax itself: give it the model's scores."

    [[mistake]]
    id = "training.softmax-first"
    says = "The loss is taken of the softmax of the scores."
    hint = "{raw-scores}"
    edits = [["loss_fn(scores, labels)", "loss_fn(scores.softmax(1), labels)"]]

``edits`` are what a learner would have typed instead, old text and new; ``ways`` are several such
lists for one mistake. A mistake that is observed has neither. ``{name}`` in a hint stands for the
hint of that name, which several mistakes share.

``values = {N = ["2", "10"]}`` makes as many ways, with each value in turn where ``N`` stands in
the new text. ``paired`` are the values to try where two mistakes are looked for at once, if not all
of them; ``paired = false`` is for a mistake that would explain nearly anything beside another.

``over = ["relu", "pooling"]`` makes a mistake for each row of the table ``relu`` with each of
``pooling``, whose {keys} its sentences use; a table may be a list of tables and rows. ``except``
leaves out rows by their names, ``needs`` those without such a key, ``unless`` those with it.
"""

from __future__ import annotations
import __future__

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module, resources
from itertools import chain, product
from textwrap import indent
from types import CodeType
from typing import Any

Edits = tuple[tuple[str, str], ...]

MODULES = (
    "pictures.bank",
    "networks.bank",
    "loops.bank",
    "measures.bank",
    "events",
)
"""Where the entries become what is searched; each has them as ``BANK``."""


@dataclass(frozen=True)
class Fault:
    """A known mistake.

    ``says`` is one sentence about what the learner's code does; ``hint`` one about what to look at.
    It is made in one of several ``ways``, or of those that are ``paired`` beside another mistake;
    ``more`` are the keys that only its own kind knows.
    """

    id: str
    says: str
    hint: str
    ways: tuple[Edits, ...] = ()
    paired: tuple[Edits, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict, compare=False)


def bank() -> dict[str, Fault]:
    """Every known mistake by its id, in the order of the exercises."""
    return {
        fault.id: fault
        for module in MODULES
        for fault in import_module(f"mnist_lab.diagnosis.{module}").BANK
    }


@cache
def entries(name: str) -> Mapping[str, Fault]:
    """Those of ``mistakes/{name}.toml`` by their ids, in the order of the file.

    Raises ValueError for an id that occurs twice and KeyError for a hint that is not there.
    """
    file = tables(name)
    found: dict[str, Fault] = {}
    for table in (each for family in file["mistake"] for each in _members(family, file)):
        fault = _fault(table, file.get("hints", {}))
        if fault.id in found:
            raise ValueError(f"{name}.toml has two mistakes with the id {fault.id}.")
        found[fault.id] = fault
    return found


@cache
def tables(name: str) -> Mapping[str, Any]:
    """All that is in ``mistakes/{name}.toml``."""
    file = resources.files("mnist_lab.diagnosis") / "mistakes" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _members(family: Mapping[str, Any], file: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The mistakes that ``family`` stands for: with the keys of its rows, its sentences filled."""
    if "over" not in family:
        yield family
        return
    for rows in product(*(_rows(each, file) for each in family["over"])):
        row = {key: value for each in rows for key, value in each.items()}
        if (
            is_for(family, row)
            and is_for(row, row)
            and row.get("name") not in family.get("except", [])
        ):
            names = {**file.get("hints", {}), **row}
            yield {**row, **family, **{k: filled(family[k], names) for k in ("id", "says", "hint")}}


def _rows(table: Any, file: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of a table, or of several tables and rows that are listed."""
    if isinstance(table, str):
        return list(file[table])
    return (
        [row for each in table for row in _rows(each, file)] if isinstance(table, list) else [table]
    )


def is_for(asks: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether ``row`` has what is needed, and not what must not be there."""
    return asks.get("needs", "id") in {"id", *row} and asks.get("unless") not in row


def filled(value: Any, names: Mapping[str, Any]) -> Any:
    """``value`` with what its {keys} stand for, which may have others in turn."""
    if isinstance(value, str):
        return value.format_map(names).format_map(names)
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    return {filled(key, names): filled(each, names) for key, each in value.items()}


def _fault(table: Mapping[str, Any], hints: Mapping[str, str]) -> Fault:
    more = dict(table)
    ways = more.pop("ways", [more.pop("edits")] if "edits" in more else [])
    values = more.pop("values", {})
    paired = more.pop("paired", values)
    return Fault(
        more.pop("id"),
        more.pop("says"),
        more.pop("hint").format_map(hints),
        tuple(_filled(ways, values)),
        () if paired is False else tuple(_filled(ways, values | paired)),
        more,
    )


def _filled(
    ways: Sequence[Sequence[Sequence[str]]], values: Mapping[str, Sequence[str]]
) -> Iterator[Edits]:
    """Each of ``ways`` with each combination of ``values`` in its new texts."""
    for chosen in product(*values.values()):
        for way in ways:
            edits = []
            for old, new in way:
                for word, value in zip(values, chosen, strict=True):
                    new = new.replace(word, value)
                edits.append((old, new))
            yield tuple(edits)


def edited(text: str, *mistakes: Edits) -> str | None:
    """``text`` with the edits of all ``mistakes``; None where an old text is not there once.

    Where an earlier edit has indented whole lines, what replaces them is indented as far.
    """
    for old, new in chain(*mistakes):
        if text.count(old) != 1:
            return None
        before, _, after = text.partition(old)
        if old.startswith(" "):
            start = before.rstrip(" ")
            before, new = start, indent(new, before.removeprefix(start))
        text = before + new + after
    return text


def defined(text: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The names that ``text`` defines, where those that are ``given`` are there.

    Its parts, between which two lines are empty, are compiled apart and remembered: an edit leaves
    most of them as they were.
    """
    names = dict(given)
    for part in text.split("\n\n\n"):
        exec(_code(part), names)
    return names


def compiled(text: str, name: str, given: Mapping[str, Any]) -> Callable[..., Any]:
    """The function ``name`` that ``text`` defines."""
    function: Callable[..., Any] = defined(text, given)[name]
    return function


@lru_cache(maxsize=4096)
def _code(text: str) -> CodeType:
    return compile(text, "<reference>", "exec", flags=__future__.annotations.compiler_flag)
