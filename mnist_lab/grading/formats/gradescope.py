"""A grade as Gradescope's ``results.json``.

https://gradescope-autograders.readthedocs.io/en/latest/specs/ describes it.
"""

from __future__ import annotations

import json
from typing import Any

from mnist_lab.grade import CheckGrade, Grade
from mnist_lab.grading.formats.text import explained, headline, one_line, words

EXTRA = ("kit", "sha256", "tier", "seed", "device", "max_score")
"""What Gradescope keeps of a grade for those who run the course."""


def results(grade: Grade) -> str:
    """``results.json``: a test a check, in the order of the kit, all of it as plain text."""
    tests = [
        _test(check, exercise.title, f"{number}.{index}")
        for number, exercise in enumerate(grade.exercises, 1)
        for index, check in enumerate(exercise.checks, 1)
    ]
    data = {
        "score": grade.score,
        "execution_time": round(grade.seconds),
        "output": _summary(grade),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "leaderboard": [
            {"name": "Score", "value": grade.score, "order": "desc"},
            {
                "name": "Checks passed",
                "value": sum(check.passed for check in grade.checks),
                "order": "desc",
            },
        ],
        "extra_data": {name: getattr(grade, name) for name in EXTRA} | {"walls": dict(grade.walls)},
    }
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _test(check: CheckGrade, exercise: str, number: str) -> dict[str, Any]:
    fault = check.cause.fault if check.cause else None
    output = explained(check.cause, printed=True, traceback=True) if check.cause else ""
    return {
        "number": number,
        "name": one_line(f"{exercise}: {check.title}"),
        "name_format": "text",
        "score": check.points,
        "max_score": check.max_points,
        "status": "passed" if check.passed else "failed",
        "output": output if check.passed else f"{words(check).capitalize()}.\n{output}".rstrip(),
        "output_format": "text",
        "visibility": "visible",
        "tags": [check.id.partition(".")[0], check.outcome],
        "extra_data": {"id": check.id, "outcome": check.outcome, "fault": fault},
    }


def _summary(grade: Grade) -> str:
    """The score, and what to work on now, or the one reason why nothing could be graded."""
    step = grade.next_step()
    if step is None:
        return headline(grade)
    tried = [check for check in grade.checks if check.outcome != "not_run"]
    messages = {check.cause.message if check.cause else "" for check in tried}
    if len(messages) == 1 and (only := one_line(messages.pop())):
        return f"{headline(grade)}\n{only}"
    return f"{headline(grade)}\nNext: {one_line(step.title)}"
