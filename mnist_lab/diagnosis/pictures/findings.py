"""Everything that a check finds wrong with one piece of code, raised as one failure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, product
from typing import Any

from mnist_lab.diagnosis import CheckFailure, explain, fail
from mnist_lab.diagnosis.faults import Fault, tables
from mnist_lab.diagnosis.pictures.bank import NAMES


class Findings:
    """Known mistakes, by their names in the bank, and what else was observed, of what the learner
    calls ``name``.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._known: list[tuple[Sequence[Sequence[Fault]], str]] = []
        self._unknown: list[CheckFailure] = []

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def has(self, name: str) -> bool:
        """Whether the mistake of this name has been found."""
        return any(NAMES[name] in chain(*each) for each, _ in self._known)

    def does(self, trait: str, what: Any = True) -> bool:
        """Whether a mistake has been found whose entry says so."""
        return any(_has(each, trait, what) for each, _ in self._known)

    def add(self, name: str, evidence: str) -> None:
        """The mistake called ``name``, and how it is known."""
        if not self.has(name):
            self.explain(((NAMES[name],),), evidence)

    def replace(self, trait: str, name: str, evidence: str) -> None:
        """The mistake called ``name`` in place of those whose entry has the ``trait``."""
        self._known = [each for each in self._known if not _has(each[0], trait)]
        self.add(name, evidence)

    def explain(self, alternatives: Sequence[Sequence[Fault]], evidence: str) -> None:
        """The mistakes together, of which there may be several alternatives."""
        self._known.append((alternatives, evidence))

    def observe(self, what: str, evidence: str, /, *, details: Any = None, **names: Any) -> None:
        """Something that is wrong without being known, as the table ``observed`` says it with these
        ``names``; the same is told once.
        """
        words = tables("pictures")["observed"][what]
        message = words["says"].format_map({"name": self.name, **names})
        if all(each.cause.message != message for each in self._unknown):
            self._unknown.append(fail(message, evidence, words.get("hint", ""), **details or {}))

    def failure(self) -> CheckFailure:
        """All of it; what is not known is told beside what is."""
        known, unknown = self._known, self._unknown
        if not known and len(unknown) == 1:
            return unknown[0]
        rest = unknown if known else unknown[1:]
        said = [evidence for _, evidence in known] or [unknown[0].cause.evidence]
        said += [f"{each.cause.message} {each.cause.evidence}" for each in rest]
        evidence = " ".join(filter(None, said))
        if not known:
            return fail(unknown[0].cause.message, evidence, unknown[0].cause.hint)
        chosen = product(*(alternatives for alternatives, _ in known))
        return explain.failure((tuple(chain(*each)) for each in chosen), evidence)

    def expect_none(self) -> None:
        """Raise what was found, if anything was."""
        if self:
            raise self.failure()


def _has(alternatives: Sequence[Sequence[Fault]], trait: str, what: Any = True) -> bool:
    return any(fault.more.get(trait) == what for fault in chain(*alternatives))
