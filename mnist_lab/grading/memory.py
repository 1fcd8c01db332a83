"""The last grade of a workspace, kept for ``mnist-lab status`` and ``mnist-lab hint``.

A run of a few checks keeps what earlier runs found about the others, as long as their file has not
changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mnist_lab import grade, kit
from mnist_lab.grade import ExerciseGrade, Grade, GradeError
from mnist_lab.kit import Check

FOLDER = ".mnist-lab"


def remember(root: Path, latest: Grade, files: Mapping[str, Path]) -> Grade:
    """Keep ``latest`` in the workspace ``root`` and return it as kept.

    ``files`` are the submission's, by exercise. A workspace that cannot be written keeps nothing.
    """
    path = root / FOLDER / "grade.json"
    former = last(root)
    if former is not None and former.submission == latest.submission:
        unchanged = {
            name for name, file in files.items() if file.stat().st_mtime < path.stat().st_mtime
        }
        latest = replace(
            latest,
            exercises=tuple(
                _completed(exercise, former) if exercise.id in unchanged else exercise
                for exercise in latest.exercises
            ),
        )
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        grade.write(latest, path)
    return latest


def last(root: Path) -> Grade | None:
    """The grade kept in the workspace ``root``; ``None`` if there is none that can be read."""
    try:
        kept = grade.read(root / FOLDER / "grade.json")
    except (OSError, GradeError):
        return None
    checks = [check.id for check in kit.load().checks]
    return kept if [check.id for check in kept.checks] == checks else None


def next_check(root: Path, among: Sequence[Check]) -> Check | None:
    """The first quick check of ``among`` that the runs in ``root`` did not pass, if any."""
    kept = last(root)
    passed = {check.id for check in kept.checks if check.passed} if kept else set()
    quick = (check for check in among if check.tier == "quick")
    return next((check for check in quick if check.id not in passed), None)


def _completed(exercise: ExerciseGrade, former: Grade) -> ExerciseGrade:
    """``exercise`` with what ``former`` knows of the checks that did not run."""
    known = {check.id: check for check in former.checks}
    checks = tuple(
        known[check.id] if check.outcome == "not_run" else check for check in exercise.checks
    )
    return replace(exercise, checks=checks)
