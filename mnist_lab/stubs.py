"""The stubs that a learner edits, made from the solutions so that the two cannot drift apart.

In a solution the lines between ``# >>> What to do.`` and ``# <<< check.id, check.id`` are what
the learner writes; everything else, the handout above all, stands in the stub unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OPEN = re.compile(r"^(?P<indent> *)# >>> ?(?P<task>.*)$")
CLOSE = re.compile(r"^(?P<indent> *)# <<< ?(?P<checks>.*)$")


class StubError(Exception):
    """The fences of a solution do not pair up; the message names the line."""


@dataclass(frozen=True)
class Task:
    """One fenced region: what to do there, and the ids of the checks that wait for it.

    ``first`` and ``last`` are the indices of the lines of its fences; ``indent`` is their margin.
    """

    todo: str
    checks: tuple[str, ...]
    first: int
    last: int
    indent: str


def generate(solution: str) -> str:
    """The stub of ``solution``: each fenced region becomes a TODO and ``NotImplementedError``.

    Raises ``StubError`` if there is no region or the fences do not pair up.
    """
    lines = solution.splitlines()
    for task in reversed(tasks(solution)):
        lines[task.first : task.last + 1] = [
            f"{task.indent}# TODO: {task.todo}",
            f'{task.indent}raise NotImplementedError("{", ".join(task.checks)}")',
        ]
    return "\n".join(lines) + "\n"


def tasks(solution: str) -> list[Task]:
    """The fenced regions of ``solution``, in order; ``StubError`` as ``generate``."""
    found: list[Task] = []
    begun: tuple[int, re.Match[str]] | None = None
    for index, line in enumerate(solution.splitlines()):
        if opening := OPEN.match(line):
            if begun:
                raise StubError(f"line {index + 1}: a region opens inside another")
            if not opening["task"].endswith("."):
                raise StubError(f"line {index + 1}: it does not say in a sentence what to do")
            begun = index, opening
        elif closing := CLOSE.match(line):
            if not begun:
                raise StubError(f"line {index + 1}: a region closes that was not opened")
            first, opening = begun
            found.append(_task(first, opening, index, closing))
            begun = None
    if begun:
        raise StubError(f"line {begun[0] + 1}: a region opens and does not close")
    if not found:
        raise StubError("there is no region for a learner to fill")
    return found


def _task(first: int, opening: re.Match[str], last: int, closing: re.Match[str]) -> Task:
    checks = tuple(name.strip() for name in closing["checks"].split(",") if name.strip())
    if not checks:
        raise StubError(f"line {last + 1}: it names no check")
    if opening["indent"] != closing["indent"]:
        raise StubError(f"line {last + 1}: it is indented otherwise than the line that opens it")
    return Task(opening["task"], checks, first, last, opening["indent"])
