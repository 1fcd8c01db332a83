"""Grades many submissions with the grading tests themselves, on one server, without pytest."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mnist_lab import data, kit
from mnist_lab.diagnosis import CheckFailure, Waiting, events
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.grade import Cause, Result
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle, Submission
from mnist_lab.submission.server import Server

GRADING = Path(__file__).parents[1] / "grading"


def grade(
    path: Path, exercises: Sequence[str], seed: int, server: Server, *, full: bool = False
) -> dict[str, Result]:
    """How the checks of ``exercises`` end for the submission ``path``, by check id.

    The accuracy checks are among them if it is the ``full`` tier, on the sample's digits.
    """
    with Submission(path, server=server) as submission:
        return {
            check: result
            for exercise in exercises
            for check, result in _results(submission, exercise, seed, full)
        }


def first_failure(path: Path, exercise: str, seed: int, server: Server) -> tuple[str, Result]:
    """The first quick check of ``exercise`` that does not pass, and how it ends."""
    with Submission(path, server=server) as submission:
        for check, result in _results(submission, exercise, seed):
            if result.outcome not in ("passed", "blocked"):
                return check, result
    return "", Result("passed")


def first_result(submission: Submission, exercise: str, check: str = "") -> Result:
    """Of the ``check``, else of the first quick one that does not pass, in an open submission."""
    for name, result in _results(submission, exercise, 0):
        if name == check or (not check and result.outcome not in ("passed", "blocked")):
            return result
    return Result("passed")


def _results(
    submission: Submission, exercise: str, seed: int, full: bool = False
) -> Iterator[tuple[str, Result]]:
    results: dict[str, Result] = {}
    handle = submission.exercise(exercise)
    for check, test in _checks(exercise, ("quick", "full") if full else ("quick",)):
        if any(results[needed].outcome != "passed" for needed in check.needs):
            results[check.id] = Result("blocked", 0, Cause("It waits."))
        else:
            results[check.id] = _result(check, test, handle, Grader(seed))
        yield check.id, results[check.id]


def _result(
    check: kit.Check, test: Callable[..., None], handle: ExerciseHandle, grader: Grader
) -> Result:
    asked = inspect.signature(test).parameters
    try:
        with handle.limit(check.limit):
            given: dict[str, Any] = {"exercise": handle, "grader": grader, "name": check.exercise}
            if "model" in asked:
                given["model"] = handle.build(kit.load().exercise(check.exercise).names[0])
            if "mnist" in asked:
                given |= {"mnist": data.load("sample"), "learned": {}, "threads": 1}
            test(**{name: given[name] for name in asked})
    except CheckFailure as failure:
        return Result("failed", 0, events.told(failure, handle))
    except SubmissionFailure as failure:
        return Result(failure.outcome, 0, events.told(failure, handle))
    except Waiting as waiting:
        return Result("blocked", 0, Cause(f"It waits for {waiting.needed}."))
    return Result("passed")


def _checks(exercise: str, tiers: Sequence[str]) -> Iterator[tuple[kit.Check, Callable[..., None]]]:
    tests = {
        mark.args[0]: test
        for file in GRADING.glob("test_*.py")
        for test in vars(grading_module(file.stem)).values()
        for mark in _marks(test)
        if mark.name == "check"
    }
    for check in kit.load().exercise(exercise).checks:
        if check.tier in tiers:
            yield check, tests[check.id]


def _marks(test: object) -> Iterator[Any]:
    for mark in getattr(test, "pytestmark", ()):
        yield mark
        if mark.name == "parametrize":
            yield from (each for parameters in mark.args[1] for each in parameters.marks)


@cache
def grading_module(name: str) -> ModuleType:
    """A module of the grading tests, read from its file: others may have its name."""
    spec = importlib.util.spec_from_file_location(f"grading_{name}", GRADING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
