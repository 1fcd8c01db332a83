"""Grades many submissions with the grading tests themselves, on one server, without pytest."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from mnist_lab import kit
from mnist_lab.diagnosis import CheckFailure
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.grade import Cause, Result
from mnist_lab.submission.handle import ExerciseHandle, Submission, SubmissionFailure
from mnist_lab.submission.server import Server

GRADING = Path(__file__).parents[1] / "grading"


def grade(path: Path, exercises: Sequence[str], seed: int, server: Server) -> dict[str, Result]:
    """How the quick checks of ``exercises`` end for the submission ``path``, by check id."""
    results: dict[str, Result] = {}
    with Submission(path, server=server) as submission:
        for exercise in exercises:
            handle = submission.exercise(exercise)
            for check, test in _quick_checks(exercise):
                if any(results[needed].outcome != "passed" for needed in check.needs):
                    results[check.id] = Result("blocked", 0, Cause("It waits."))
                else:
                    results[check.id] = _result(check, test, handle, Grader(seed))
    return results


def _result(
    check: kit.Check, test: Callable[..., None], handle: ExerciseHandle, grader: Grader
) -> Result:
    asked = inspect.signature(test).parameters
    try:
        with handle.limit(check.limit):
            given = {"exercise": handle, "grader": grader}
            if "model" in asked:
                given["model"] = handle.build(kit.load().exercise(check.exercise).names[0])
            test(**{name: given[name] for name in asked})
    except CheckFailure as failure:
        return Result("failed", 0, failure.cause)
    except SubmissionFailure as failure:
        return Result(failure.outcome, 0, failure.cause)
    return Result("passed")


def _quick_checks(exercise: str) -> Iterator[tuple[kit.Check, Callable[..., None]]]:
    for test in vars(_module(f"test_{exercise}")).values():
        for mark in getattr(test, "pytestmark", ()):
            if mark.name == "check" and kit.load().check(mark.args[0]).tier == "quick":
                yield kit.load().check(mark.args[0]), test


@cache
def _module(name: str):
    """A module of the grading tests, which import their neighbours by name."""
    if str(GRADING) not in sys.path:
        sys.path.insert(0, str(GRADING))
    return importlib.import_module(name)
