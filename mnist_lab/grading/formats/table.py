"""A grade as CSV, and cells that a spreadsheet takes for text whatever they begin with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from mnist_lab.grade import Cause, CheckGrade, Grade
from mnist_lab.grading.formats.text import one_line

HEADINGS = (
    "submission",
    "exercise",
    "check",
    "title",
    "outcome",
    "points",
    "max_points",
    "seconds",
    "fault",
    "message",
    "evidence",
    "hint",
    "where",
)
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "'")
"""What makes a cell a formula for some spreadsheet, and the mark that prevents it. A tab or a
return would too, but no line begins with white space."""


def checks(grade: Grade) -> str:
    """A row a check, in the order of the kit, under one row of headings."""
    return text(HEADINGS, (_row(grade, check) for check in grade.checks))


def text(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """The rows under their headings as CSV, no cell of which is a formula."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerows([headings, *(map(cell, row) for row in rows)])
    return file.getvalue()


def _row(grade: Grade, check: CheckGrade) -> list[str]:
    cause, exercise = check.cause or Cause(""), check.id.partition(".")[0]
    numbers = f"{check.points:g}", f"{check.max_points:g}", f"{check.seconds:.3f}"
    about = [grade.submission, exercise, check.id, check.title, check.outcome, *numbers]
    return [*about, cause.fault or "", cause.message, cause.evidence, cause.hint, cause.where]


def cell(text: str) -> str:
    """``text`` on one line; what would be a formula gets a ``'`` in front."""
    line = one_line(text)
    return f"'{line}" if line.startswith(FORMULA) else line
