"""A grade on the terminal: a line an exercise, the first mistake of each, the next step.

Readable at 80 columns and without colour; colour is for state alone.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from mnist_lab import kit
from mnist_lab.grade import Cause, CheckGrade, ExerciseGrade, Grade

WIDTH = 80
BAR = 12
COLOURS = {
    "passed": "green",
    "failed": "red",
    "error": "red",
    "todo": "yellow",
    "blocked": "yellow",
    "not_run": "dim",
}
WORDS = {"not_run": "not run"}
MOST_OUTPUT = 20
"""Lines that are shown of what the learner's code printed."""


def show(
    grade: Grade,
    file: TextIO,
    *,
    colour: bool,
    every_check: bool = False,
    tracebacks: bool = False,
    kept: Grade | None = None,
    former: Grade | None = None,
) -> None:
    """Write ``grade`` to ``file``; tracebacks are the learner's frames alone.

    ``kept`` is what is known of all exercises, also of those that were not asked for now, and
    ``former`` what was known before: what is finished since is said.
    """
    console = Console(
        file=file,
        width=WIDTH,
        force_terminal=colour,
        force_jupyter=False,
        no_color=not colour,
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=True,
    )
    console.print()
    known = {exercise.id: exercise for exercise in kept.exercises} if kept else {}
    for exercise in grade.exercises:
        if state(exercise) == "not_run" and exercise.id in known:
            console.print(Text(_line(known[exercise.id]).plain, style="dim"))
            continue
        console.print(_line(exercise))
        if every_check:
            for check in exercise.checks:
                console.print(_check_line(check))
    for exercise in grade.exercises:
        if (first := _first_failed(exercise)) is not None:
            console.print()
            for line in _explained(exercise, first, tracebacks):
                console.print(line)
    console.print()
    for line in _finished(grade, former) if kept else ():
        console.print(line)
    for line in _closing(grade, kept):
        console.print(line)


class Waiting:
    """A line that moves while checks run and is gone when the grade is shown.

    Written to the terminal itself: what tests print is captured meanwhile.
    """

    def __init__(self, stdout: TextIO) -> None:
        self._file = open(os.dup(stdout.fileno()), "w", encoding=stdout.encoding)  # noqa: SIM115
        self._spinner = Spinner("line", "Getting ready", style="dim")
        self._live = Live(
            self._spinner,
            console=Console(file=self._file, markup=False, highlight=False),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def say(self, what: str) -> None:
        """Show ``what`` is being done."""
        self._spinner.update(text=Text(what, style="dim"))
        self._live.refresh()

    def end(self) -> None:
        """Take the line away; once is enough."""
        self._live.stop()


def plain(cause: Cause) -> str:
    """``cause`` as a few lines of text: what the code does, how we know, a hint, where."""
    return "\n".join(line.plain for line in _of_cause(cause, tracebacks=False))


def plain_exercise(exercise: ExerciseGrade) -> str:
    """One exercise as text: its line, and what is to be done for the check that is explained."""
    lines = [_line(exercise)]
    if (check := explained(exercise)) is not None:
        lines += [Text(), *_explained(exercise, check, tracebacks=False)]
    return "\n".join(line.plain for line in lines)


def explained(exercise: ExerciseGrade) -> CheckGrade | None:
    """The check to work on now: the first that failed, else the first that is to do."""
    return _first_failed(exercise) or exercise.next_step()


def state(exercise: ExerciseGrade) -> str:
    """The outcome of the check to work on next, else ``passed``."""
    if all(check.outcome == "not_run" for check in exercise.checks):
        return "not_run"
    step = exercise.next_step()
    return "passed" if step is None else step.outcome


def _line(exercise: ExerciseGrade) -> Text:
    share = exercise.points / exercise.max_points
    filled = int(share * BAR)
    outcome = state(exercise)
    line = Text(f"{exercise.title:<24}")
    line.append("#" * filled, style=COLOURS[outcome])
    line.append("." * (BAR - filled), style="dim")
    line.append(f"  {exercise.points:>4g} of {exercise.max_points:<4g} ")
    line.append(WORDS.get(outcome, outcome), style=COLOURS[outcome])
    left_out = sum(check.max_points for check in exercise.checks if check.outcome == "not_run")
    if left_out and outcome != "not_run":
        line.append(f", {left_out:g} not run", style="dim")
    return line


def _check_line(check: CheckGrade) -> Text:
    word = WORDS.get(check.outcome, check.outcome)
    line = Text("  ")
    line.append(f"{word:<8}", style=COLOURS[check.outcome])
    line.append(f"{check.points:>4g} of {check.max_points:<3g} {check.id}")
    return line


def _first_failed(exercise: ExerciseGrade) -> CheckGrade | None:
    return next((c for c in exercise.checks if c.outcome in ("failed", "error")), None)


def _explained(exercise: ExerciseGrade, check: CheckGrade, tracebacks: bool) -> Iterator[Text]:
    yield from (
        Text(line, style="bold") for line in textwrap.wrap(f"{check.id}: {check.title}", WIDTH)
    )
    if check.cause:
        yield from _of_cause(check.cause, tracebacks)
    waiting = [c.id.partition(".")[2] for c in exercise.checks if c.outcome == "blocked"]
    if waiting:
        yield from _wrapped("Waiting", ", ".join(waiting))
    others = [c for c in exercise.checks if c is not check and c.outcome in ("failed", "error")]
    for other in others:
        points = "point" if other.max_points == 1 else "points"
        yield Text(f"Also failing: {other.id} ({other.max_points:g} {points})")


def _of_cause(cause: Cause, tracebacks: bool) -> Iterator[Text]:
    yield from _wrapped("", cause.message)
    for name, text in cause.facts:
        yield from _wrapped(name, text)
    yield from (Text(f"            {line}"[:WIDTH]) for line in cause.code.splitlines())
    if lines := cause.output.rstrip().splitlines():
        yield from _wrapped("Printed", lines[0])
        yield from (Text(f"            {line}") for line in lines[1:MOST_OUTPUT])
        if len(lines) > MOST_OUTPUT:
            yield Text(f"            ... and {len(lines) - MOST_OUTPUT} more lines", style="dim")
    if tracebacks and cause.traceback:
        yield from (Text(f"  {line}") for line in cause.traceback.rstrip().splitlines())


def _wrapped(name: str, text: str) -> list[Text]:
    """``text`` in lines of 80 columns, the first after ``name``."""
    head = f"  {name:<10}" if name else "  "
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    )
    return [Text(line) for line in lines]


def _finished(grade: Grade, former: Grade | None) -> Iterator[Text]:
    """A sentence for each exercise that is done now and was not before, and for all of them."""
    before = {e.id for e in former.exercises if state(e) == "passed"} if former else set()
    now = {exercise.id for exercise in grade.exercises if state(exercise) == "passed"}
    for exercise in kit.load().exercises:
        if exercise.done and exercise.id in now - before:
            yield Text(f"{exercise.title} is done.", style="green")
            yield from map(Text, textwrap.wrap(exercise.done, WIDTH))
            yield Text()
    if now - before and len(now | before) == len(kit.load().exercises):
        yield Text("All exercises are done: three models, built, trained and measured.")
        yield Text("See them side by side: pytest --full --report report")
        yield Text()


def _closing(grade: Grade, kept: Grade | None) -> Iterator[Text]:
    runs = {"quick", grade.tier}
    left_out = sum(
        check.max_points
        for check in grade.checks
        if check.outcome == "not_run" and kit.load().check(check.id).tier in runs
    )
    attainable = kit.load().attainable(grade.tier)
    part = attainable - left_out if kept else attainable
    score = Text(f"Score {grade.score:g} of {part:g}", style="bold")
    if kept and left_out:
        score.append(f" in this part, {kept.score:g} of {attainable:g} in all", style="not bold")
    elif attainable < grade.max_score:
        score.append(f" ({grade.max_score - attainable:g} more with --full)", style="not bold")
    score.append(f", {grade.seconds:.1f} s", style="not bold")
    yield score
    if left_out and not kept:
        yield Text(f"{left_out:g} of these points did not run, so this is not full marks.")
    for note in grade.notes:
        yield from map(Text, textwrap.wrap(f"Note: {note}", WIDTH, subsequent_indent=" " * 6))
    known = kept or grade
    if (step := grade.next_step() or known.next_step()) is not None:
        yield from map(Text, _next(grade, step))
    elif kept and (never := [e.id for e in kept.exercises if state(e) == "not_run"]):
        exercise = kit.load().exercise(never[0])
        yield Text(f"Next: {exercise.file}")
        yield Text(f"      pytest -k {exercise.id}")


def _next(grade: Grade, step: CheckGrade) -> list[str]:
    exercise = kit.load().exercise(step.id.partition(".")[0])
    is_notebook = grade.submission.endswith(".ipynb")
    where = exercise.title if is_notebook else exercise.file
    todo = step.title if step.outcome == "todo" else step.id
    lines = textwrap.wrap(f"Next: {where}, {todo}", WIDTH, subsequent_indent=" " * 6)
    again = f'check("{exercise.id}")' if is_notebook else f"pytest -k {exercise.id}"
    hint = f"mnist-lab hint {step.id}"
    beside = f"{again}    {hint}"
    commands = [beside] if len(beside) <= WIDTH - 6 else [again, hint]
    return [*lines, *(f"      {command}" for command in commands)]
