"""What happened before anything was compared is told first, with a hint for just that."""

import re
import runpy
import sys
from pathlib import Path

import events as corpus
import marks
import pytest

from mnist_lab import kit
from mnist_lab.diagnosis.faults import entries
from mnist_lab.submission.client import Submission

ROOT = Path(__file__).parents[2]
CASES = [case for case in corpus.load() if not case.before or sys.version_info < case.before]
MESSAGES = corpus.load("messages.toml")
KNOWN = entries("events")
HINTS = {hint for check in kit.load().checks for hint in check.hints}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_event_is_told_before_anything_is_compared(case, tmp_path, server, request):
    if case.is_slow:
        request.getfixturevalue("soon")
    path = corpus.materialise(case, tmp_path / "submission")
    with Submission(path, server=server) as submission:
        result = marks.first_result(submission, case.exercise, case.check)
        placed = submission.placed(result.cause)
    cause = result.cause

    assert result.outcome == "failed"
    assert any(is_hint_of(event, cause.hint) for event in case.event.split("|")), cause
    assert not any(hint in cause.hint for hint in HINTS)
    assert case.says in f"{cause.message} {cause.evidence}"
    assert case.hint in cause.hint
    assert case.line in pointed_at(cause, submission, case)
    if min(KNOWN[event].more["rung"] for event in case.event.split("|")) > 3:
        assert re.fullmatch(r"\w+\.py:\d+|cell .*, line \d+", placed.where)
    if case.is_notebook:
        assert not re.search(r"\b\w+\.py\b", f"{placed.message} {placed.evidence} {placed.where}")


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case.name)
def test_the_first_message_is_of_what_happened_first(case, tmp_path, server):
    path = corpus.materialise(case, tmp_path / "submission")
    with Submission(path, server=server) as submission:
        cause = marks.first_result(submission, case.exercise, case.check).cause

    assert cause.message == case.says
    assert (cause.fault or "") == case.event
    assert case.hint in cause.hint
    assert case.line in pointed_at(cause, submission, case)


def test_no_line_is_told_of_an_import_that_ends_the_process_at_an_unknown_one(tmp_path, server):
    case = next(case for case in CASES if case.name == "ends-the-process")
    with Submission(corpus.materialise(case, tmp_path / "ada"), server=server) as submission:
        assert marks.first_result(submission, "evaluation").cause.where == "evaluation.py"


def test_what_a_notebook_has_of_other_exercises_is_not_denied(tmp_path, server):
    case = next(case for case in CASES if case.is_notebook and case.exercise == "training")
    path = corpus.materialise(case, tmp_path / "submission")
    with Submission(path, server=server) as submission:
        cause = marks.first_result(submission, "evaluation").cause

    assert cause.evidence == "Besides other exercises, it defines no class or function."


def pointed_at(cause, submission, case):
    """The text of the line that a learner is sent to."""
    file, _, line = cause.where.partition(":")
    text = submission.handed_in.files[file].decode(errors="replace") if line else case.text
    return text.splitlines()[int(line) - 1] if line else ""


def is_hint_of(event, hint):
    """Whether ``hint`` is that of ``event``, with its blanks filled in."""
    pattern = re.sub(r"\\\{\w+\\\}", ".*", re.escape(KNOWN[event].hint))
    return re.fullmatch(pattern, hint, re.DOTALL) is not None


def test_they_are_of_every_rung_and_exercise_and_half_of_them_in_notebooks():
    rungs = {KNOWN[event].more["rung"] for case in CASES for event in case.event.split("|")}

    assert len({case.text for case in CASES}) >= 150
    assert rungs == set(range(1, 9))
    assert {case.exercise for case in CASES} == {exercise.id for exercise in kit.load().exercises}
    assert sum(case.is_notebook for case in CASES) >= 0.4 * len(CASES)


def test_the_table_for_learners_is_of_this_corpus(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    written = runpy.run_path(str(ROOT / "benchmarks" / "events.py"))["written"]()

    assert written == (ROOT / "docs" / "learners.md").read_text(encoding="utf-8"), (
        "docs/learners.md is stale: run python benchmarks/events.py"
    )


@pytest.mark.parametrize("isolation", ["fork", "spawn", "none"])
def test_a_device_that_is_not_there_is_told_alike_however_the_process_starts(
    tmp_path, server, isolation
):
    case = next(case for case in CASES if case.name == "cuda-in-the-loop")
    path = corpus.materialise(case, tmp_path / "submission")
    with Submission(path, server=server, isolation=isolation) as submission:
        cause = marks.first_result(submission, case.exercise).cause

    assert cause.message == "training.py:9 asks for a device that this machine does not have."
    assert "subprocess" not in str(cause)
    assert "compiled" not in str(cause)
