"""A grade as the autograding JSON of GitHub Classroom, version 3.

https://github.com/classroom-resources/autograding-grading-reporter reads it, in base64, from the
environment variable ``<ID OF THE STEP>_RESULTS``.
"""

from __future__ import annotations

import json
from typing import Any

from mnist_lab.grade import CheckGrade, Grade
from mnist_lab.grading.formats.text import explained, one_line, place, words

LONGEST = 300
"""Characters a message: Linux gives one environment variable 128 KiB, and base64 needs a third."""


def autograding(grade: Grade) -> str:
    """The JSON, with a test for each check; its scores add up to that of the grade."""
    outcomes = {check.outcome for check in grade.checks}
    failed = outcomes - {"passed", "not_run"}
    data = {
        "version": 3,
        "status": "error" if "error" in outcomes else "fail" if failed else "pass",
        "max_score": grade.max_score,
        "tests": [_test(grade, check) for check in grade.checks],
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _test(grade: Grade, check: CheckGrade) -> dict[str, Any]:
    found = place(grade, check.cause) if check.cause else None
    file, line = found or ("", 0)
    return {
        "name": _inert(f"{check.id}: {check.title}"),
        "status": {"passed": "pass", "error": "error"}.get(check.outcome, "fail"),
        "score": check.points,
        "message": None if check.passed else _message(check),
        "test_code": "",
        "task_id": 0,
        "filename": _inert(file),
        "line_no": line,
        "duration": round(check.seconds, 3),
    }


def _message(check: CheckGrade) -> str:
    text = explained(check.cause, code=False) if check.cause else "."
    return _inert(f"{words(check).capitalize()}: {text}")


def _inert(text: str) -> str:
    """One line that a job's log, into which it is printed, takes for no command."""
    return one_line(text, LONGEST).replace("::", ": :").replace("##[", "## [")
