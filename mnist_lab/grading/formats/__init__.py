"""Where grades go: the one ``Grade`` as the text that other programs read.

Each format is a pure function from a ``Grade`` to its text; writing it is the last step here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnist_lab import grade as grades
from mnist_lab import kit
from mnist_lab.grade import Cause, Grade, Outcome, Result
from mnist_lab.grading.formats import actions, classroom, gradescope, junit, table
from mnist_lab.writing import write

FORMATS: Mapping[str, Callable[[Grade], str]] = {
    "json": grades.text,
    "gradescope": gradescope.results,
    "classroom": classroom.autograding,
    "junit": junit.testsuites,
    "annotations": actions.commands,
    "summary": actions.summary,
    "csv": table.checks,
}

TERMINAL = Path("-")
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


class FormatError(Exception):
    """A grade cannot be written as it was asked for; the message says why and what to do."""


@dataclass(frozen=True)
class Destination:
    """A format and the file that it goes to, ``-`` for the terminal.

    ``appended`` keeps what is in the file, as GitHub asks for the summary of a step.
    """

    format: str
    path: Path
    appended: bool = False


def destinations(asked: Sequence[str]) -> tuple[Destination, ...]:
    """What each ``NAME=PATH`` asks for; ``annotations`` and ``summary`` know a place themselves.

    Raises ``FormatError`` for an unknown name, for a place where no file can be and for one that is
    asked for twice.
    """
    found = tuple(map(_destination, asked))
    files = [each.path.resolve() for each in found if each.path != TERMINAL]
    if twice := {file for file in files if files.count(file) > 1}:
        raise FormatError(f"{twice.pop()} is asked for twice: give each format a file of its own.")
    return found


def deliver(grade: Grade, destinations: Sequence[Destination]) -> None:
    """Write ``grade`` to each place, the file whole or not at all.

    One that fails does not keep the others from being written; ``FormatError`` then names it.
    """
    problems = []
    for place in destinations:
        try:
            _write(FORMATS[place.format](grade), place)
        except OSError as error:
            problems.append(f"{place.path} cannot be written ({error.strerror}).")
    if problems:
        raise FormatError(" ".join(problems))


def ungraded(
    sentence: str, outcome: Outcome, *, submission: str, full: bool = False, seed: int = 0
) -> Grade:
    """The grade of what could not be graded: no points, and ``sentence`` at every check.

    ``outcome`` is ``failed`` where the submission is to blame, else ``error``. Checks of another
    tier did not run.
    """
    tier: Literal["quick", "full"] = "full" if full else "quick"
    asked = [check.id for check in kit.load().checks if check.tier in ("quick", tier)]
    results = {name: Result(outcome, cause=Cause(sentence)) for name in asked}
    return grades.build(kit.load(), results, submission=submission, tier=tier, seed=seed)


def _destination(text: str) -> Destination:
    name, _, given = text.partition("=")
    if name not in FORMATS:
        raise FormatError(f"{name!r} is not a format; there are {', '.join(FORMATS)}.")
    appended = False
    if not given and name == "annotations":
        given = str(TERMINAL)
    if not given and name == "summary":
        given, appended = os.environ.get(SUMMARY_VARIABLE, ""), True
    if not given:
        raise FormatError(f"{name} needs a file: --format {name}=FILE, or {name}=- to print it.")
    path = Path(given)
    if path != TERMINAL:
        _refuse(path)
    return Destination(name, path, appended)


def _refuse(path: Path) -> None:
    """Say before anything is graded what would go wrong after it."""
    if path.exists() and not path.is_file():
        raise FormatError(f"{path} is not a file; - stands for the terminal.")
    if not path.parent.is_dir():
        raise FormatError(f"{path} cannot be written: there is no folder {path.parent}.")
    if not os.access(path.parent, os.W_OK):
        raise FormatError(f"{path} cannot be written: its folder does not allow it.")


def _write(text: str, place: Destination) -> None:
    if place.path == TERMINAL:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    elif place.appended:
        with place.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
    else:
        write(place.path, text)
