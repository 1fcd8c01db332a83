"""Known mistakes in how a learner's code is called and in what it hands back, by exercise.

They are those entries of ``mistakes/events.toml`` that say which kinds of exercises have them; they
are seen where the learner's code is called and need no comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mnist_lab import kit
from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.faults import entries

__all__ = ["BANK"]


def _bank() -> Iterator[Fault[Any]]:
    for exercise in kit.load().exercises:
        kind = "class" if exercise.names[0][0].isupper() else "function"
        name = exercise.names[0] if kind == "class" else "a function that is asked for"
        for entry in entries("events").values():
            if kind in entry.more.get("bank", ()):
                slug = entry.more.get("fault", entry.id)
                facts = {"name": name, "file": exercise.file}
                says = entry.more.get("title", entry.says).format_map(facts)
                yield Fault(f"{exercise.id}.{slug}", says, entry.hint.format_map(facts), ())


BANK = tuple(_bank())
