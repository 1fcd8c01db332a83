"""A grade as CSV, and cells that a spreadsheet takes for text whatever they begin with."""

from __future__ import annotations

import csv
import io

from mnist_lab.grade import Cause, Grade
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
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(HEADINGS)
    for exercise in grade.exercises:
        for check in exercise.checks:
            cause = check.cause or Cause("")
            texts = (cause.fault or "", cause.message, cause.evidence, cause.hint, cause.where)
            table.writerow(
                [
                    *map(cell, (grade.submission, exercise.id, check.id, check.title)),
                    check.outcome,
                    f"{check.points:g}",
                    f"{check.max_points:g}",
                    f"{check.seconds:.3f}",
                    *map(cell, texts),
                ]
            )
    return file.getvalue()


def cell(text: str) -> str:
    """``text`` on one line; what would be a formula gets a ``'`` in front."""
    line = one_line(text)
    return f"'{line}" if line.startswith(FORMULA) else line
