"""A grade as JUnit XML, in the dialect that pytest calls xunit2 and Jenkins validates.

https://github.com/jenkinsci/xunit-plugin has its schema, junit-10.xsd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mnist_lab.grade import CheckGrade, Grade
from mnist_lab.grading.formats import text
from mnist_lab.report.pages import render

ELEMENTS = {
    "passed": "",
    "failed": "failure",
    "todo": "failure",
    "error": "error",
    "blocked": "skipped",
    "not_run": "skipped",
}


def testsuites(grade: Grade) -> str:
    """A suite an exercise, a case a check. What is still to do counts as a failure."""
    return render("junit.xml.jinja", grade=grade, elements=ELEMENTS, counted=_counted, plain=text)


def _counted(checks: Sequence[CheckGrade]) -> Counter[str]:
    """How many checks have each element."""
    return Counter(ELEMENTS[check.outcome] for check in checks)
