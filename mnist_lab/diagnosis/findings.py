"""Everything that a check finds wrong with one piece of code, raised as one failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, product
from typing import Any

from mnist_lab.diagnosis import CheckFailure, explain, fail
from mnist_lab.diagnosis.explain import Fault

__all__ = ["Findings"]


class Findings:
    """Known mistakes by their names in ``bank``, and what else was observed."""

    def __init__(self, bank: Mapping[str, Fault[Any]]) -> None:
        self._bank = bank
        self._known: list[tuple[tuple[Fault[Any], ...], ...]] = []
        self._evidence: list[str] = []
        self._unknown: list[CheckFailure] = []

    def __bool__(self) -> bool:
        return bool(self._known or self._unknown)

    @property
    def count(self) -> int:
        """How much has been found."""
        return len(self._known) + len(self._unknown)

    def has(self, *names: str) -> bool:
        """Whether one of the mistakes of these names has been found."""
        found = {fault.id for each in self._known for fault in chain(*each)}
        return any(self._bank[name].id in found for name in names)

    def add(self, name: str, evidence: str, **details: Any) -> None:
        """The mistake called ``name``, and how it is known."""
        if not self.has(name):
            self.explain(((self._bank[name],),), evidence)

    def replace(self, names: Sequence[str], name: str, evidence: str) -> None:
        """The mistake called ``name`` in place of those of other ``names``."""
        ids = {self._bank[each].id for each in names}
        kept = [
            (known, said)
            for known, said in zip(self._known, self._evidence, strict=True)
            if not ids & {fault.id for fault in chain(*known)}
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
