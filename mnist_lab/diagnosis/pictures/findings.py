"""Everything that a check finds wrong with one piece of code, raised as one failure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, product
from typing import Any

from mnist_lab.diagnosis import CheckFailure, explain, fail
from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.pictures.bank import ENTRIES, NAMES

__all__ = ["Findings"]


class Findings:
    """Known mistakes, by their names in the bank, and what else was observed."""

    def __init__(self) -> None:
        self._known: list[tuple[tuple[Fault[Any], ...], ...]] = []
        self._evidence: list[str] = []
        self._unknown: list[CheckFailure] = []

    def __bool__(self) -> bool:
        return bool(self._known or self._unknown)

    @property
    def count(self) -> int:
        """How much has been found."""
        return len(self._known) + len(self._unknown)

    def has(self, name: str) -> bool:
        """Whether the mistake of this name has been found."""
        return NAMES[name].id in self._ids()

    def does(self, trait: str, what: Any = True) -> bool:
        """Whether a mistake has been found whose entry says so."""
        return any(ENTRIES[found].more.get(trait) == what for found in self._ids())

    def _ids(self) -> set[str]:
        return {fault.id for each in self._known for fault in chain(*each)}

    def add(self, name: str, evidence: str, **details: Any) -> None:
        """The mistake called ``name``, and how it is known."""
        if not self.has(name):
            self.explain(((NAMES[name],),), evidence)

    def replace(self, trait: str, name: str, evidence: str) -> None:
        """The mistake called ``name`` in place of those whose entry has the ``trait``."""
        kept = [
            (known, said)
            for known, said in zip(self._known, self._evidence, strict=True)
            if not any(ENTRIES[fault.id].more.get(trait) for fault in chain(*known))
        ]
        self._known = [known for known, _ in kept]
        self._evidence = [said for _, said in kept]
        self.add(name, evidence)

    def explain(self, alternatives: Sequence[Sequence[Fault[Any]]], evidence: str) -> None:
        """The mistakes together, of which there may be several alternatives."""
        self._known.append(tuple(map(tuple, alternatives)))
        self._evidence.append(evidence)

    def observe(self, message: str, evidence: str, hint: str = "", **details: Any) -> None:
        """Something that is wrong without being known; the same is told once."""
        if all(each.cause.message != message for each in self._unknown):
            self._unknown.append(fail(message, evidence, hint, **details))

    def failure(self) -> CheckFailure:
        """All of it; what is not known is told beside what is."""
        if not self._known:
            first, *others = self._unknown
            if not others:
                return first
            more = [f"{each.cause.message} {each.cause.evidence}" for each in others]
            evidence = " ".join([first.cause.evidence, *more])
            return fail(first.cause.message, evidence, first.cause.hint)
        alternatives = tuple(tuple(chain(*chosen)) for chosen in product(*self._known))
        rest = [f"{each.cause.message} {each.cause.evidence}" for each in self._unknown]
        evidence = " ".join(filter(None, [*self._evidence, *rest]))
        return explain.failure(alternatives, evidence)

    def expect_none(self) -> None:
        """Raise what was found, if anything was."""
        if self:
            raise self.failure()
