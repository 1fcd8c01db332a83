"""The entries of ``mistakes/*.toml``, and the text of a reference with a mistake in it.

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
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Edits", "Entry", "compiled", "edited", "entries"]

Edits = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Entry:
    """A known mistake as its file has it; ``more`` are the keys that only its own kind knows."""

    id: str
    says: str
    hint: str
    ways: tuple[Edits, ...]
    more: Mapping[str, Any]


@cache
def entries(name: str) -> Mapping[str, Entry]:
    """Those of ``mistakes/{name}.toml`` by their ids, in the order of the file.

    Raises ValueError for an id that occurs twice and KeyError for a hint that is not there.
    """
    file = resources.files("mnist_lab.diagnosis") / "mistakes" / f"{name}.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    found: dict[str, Entry] = {}
    for table in tables["mistake"]:
        entry = _entry(table, tables.get("hints", {}))
        if entry.id in found:
            raise ValueError(f"{name}.toml has two mistakes with the id {entry.id}.")
        found[entry.id] = entry
    return found


def _entry(table: Mapping[str, Any], hints: Mapping[str, str]) -> Entry:
    more = dict(table)
    ways = more.pop("ways", [more.pop("edits")] if "edits" in more else [])
    return Entry(
        more.pop("id"),
        more.pop("says"),
        more.pop("hint").format_map(hints),
        tuple(tuple((old, new) for old, new in way) for way in ways),
        more,
    )


def edited(text: str, *mistakes: Edits) -> str | None:
    """``text`` with the edits of all ``mistakes``; None where an old text is not there once."""
    for edits in mistakes:
        for old, new in edits:
            if text.count(old) != 1:
                return None
            text = text.replace(old, new)
    return text


def compiled(text: str, name: str, given: Mapping[str, Any]) -> Callable[..., Any]:
    """The function called ``name`` that ``text`` defines, with the names that it is ``given``."""
    names = dict(given)
    exec(compile(text, f"<{name} with a mistake>", "exec"), names)
    function: Callable[..., Any] = names[name]
    return function
