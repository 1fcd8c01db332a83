"""A grade as JUnit XML, in the dialect that pytest calls xunit2 and Jenkins validates.

https://github.com/jenkinsci/xunit-plugin has its schema, junit-10.xsd.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from mnist_lab.grade import CheckGrade, ExerciseGrade, Grade
from mnist_lab.grading.formats.text import clean, explained, one_line, words

ELEMENTS = {
    "failed": "failure",
    "todo": "failure",
    "error": "error",
    "blocked": "skipped",
    "not_run": "skipped",
}


def testsuites(grade: Grade) -> str:
    """A suite an exercise, a case a check. What is still to do counts as a failure."""
    counted = _counted(grade.checks)
    del counted["skipped"]  # The schema has it for a suite alone.
    root = Element("testsuites", {"name": "mnist-lab", **counted, "time": f"{grade.seconds:.3f}"})
    for exercise in grade.exercises:
        root.append(_suite(exercise, grade))
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True).decode() + "\n"


def _suite(exercise: ExerciseGrade, grade: Grade) -> Element:
    seconds = sum(check.seconds for check in exercise.checks)
    suite = Element(
        "testsuite",
        {"name": one_line(exercise.id), **_counted(exercise.checks), "time": f"{seconds:.3f}"},
    )
    properties = SubElement(suite, "properties")
    for name, value in (
        ("submission", one_line(grade.submission)),
        ("sha256", grade.sha256),
        ("kit", grade.kit),
        ("seed", str(grade.seed)),
        ("points", f"{exercise.points:g}"),
        ("max_points", f"{exercise.max_points:g}"),
    ):
        SubElement(properties, "property", {"name": name, "value": value})
    for check in exercise.checks:
        suite.append(_case(check))
    return suite


def _case(check: CheckGrade) -> Element:
    exercise, _, name = one_line(check.id).partition(".")
    case = Element(
        "testcase",
        {"classname": f"mnist_lab.{exercise}", "name": name, "time": f"{check.seconds:.3f}"},
    )
    if (element := ELEMENTS.get(check.outcome)) is not None:
        cause = check.cause
        ending = SubElement(
            case,
            element,
            {
                "type": one_line((cause and cause.fault) or check.outcome),
                "message": one_line(cause.message if cause else words(check)),
            },
        )
        ending.text = explained(cause, traceback=True) if cause else words(check)
    if check.cause and (printed := clean(check.cause.output)):
        SubElement(case, "system-out").text = printed
    return case


def _counted(checks: Sequence[CheckGrade]) -> dict[str, str]:
    ended = [ELEMENTS.get(check.outcome) for check in checks]
    return {
        "tests": str(len(checks)),
        "failures": str(ended.count("failure")),
        "errors": str(ended.count("error")),
        "skipped": str(ended.count("skipped")),
    }
