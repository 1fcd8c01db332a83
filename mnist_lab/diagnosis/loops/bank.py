"""The mistakes in the steps of a training, as ``mistakes/training.toml`` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.faults import Edits, Entry, entries


@dataclass(frozen=True)
class LoopFault(Fault[Any]):
    """A mistake in a training, made in one of several ``ways``, or of those that are ``paired``
    beside another mistake; the file says what the rest is.
    """

    ways: tuple[Edits, ...] = ()
    paired: tuple[Edits, ...] = ()
    told: Sequence[str] = ()
    function: str = ""
    open: int = 0
    follows: Sequence[str] = ()
    shows: str = ""

    def sentence(self, found: Mapping[str, Any]) -> str | None:
        """With the numbers that were found; None if a number is missing."""
        if not self.told:
            return self.says
        for told in self.told:
            try:
                return told.format_map(found)
            except KeyError:
                continue
        return None


def _fault(known: Entry) -> LoopFault:
    more: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in known.more.items()}
    return LoopFault(known.id, known.says, known.hint, (), known.ways, known.paired, **more)


BANK = tuple(_fault(known) for known in entries("training").values() if "of" not in known.more)

_BY_ID = {fault.id: fault for fault in BANK}


def entry(kebab: str) -> LoopFault:
    """The mistake with the id ``training.<kebab>``."""
    return _BY_ID[f"training.{kebab}"]
