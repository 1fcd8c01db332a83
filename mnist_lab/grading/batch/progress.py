"""What the terminal shows while a class is graded: a bar with the time left, or a line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from mnist_lab.grading.batch import run
from mnist_lab.grading.batch.handed_in import HandedIn
from mnist_lab.grading.batch.results import Graded, Options, Outcome

__all__ = ["watching"]

WIDTH = 32


@contextmanager
def watching(console: Console) -> Iterator[run.Progress]:
    """Shows a class: a bar where ``console`` is a terminal, else a line for each submission."""
    if console.quiet:
        yield run.Progress()
    elif not console.is_terminal:
        yield _Lines(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            yield _Bar(console, bar)


class _Lines(run.Progress):
    """A line for each submission that is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total = self.done = 0

    def begins(self, total: int, known: int, options: Options) -> None:
        self.total, self.done = total, known
        said = f"{total} submissions, seed {options.seed}"
        self._say(f"{said}; {known} of them need no grading." if known else f"{said}.")

    def finished(self, handed: HandedIn, outcome: Outcome) -> None:
        self.done += 1
        width = len(str(self.total))
        self._say(f"{self.done:>{width}}/{self.total}  {_said(handed, outcome)}")

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Bar(_Lines):
    """How many are done and the time left; above it a line for each that could not be graded."""

    def __init__(self, console: Console, bar: Progress) -> None:
        super().__init__(console)
        self.bar = bar
        self.task: TaskID | None = None

    def begins(self, total: int, known: int, options: Options) -> None:
        super().begins(total, known, options)
        self.task = self.bar.add_task("Grading", total=total - known)

    def finished(self, handed: HandedIn, outcome: Outcome) -> None:
        if not outcome.settled:
            self._say(_said(handed, outcome))
        if self.task is not None:
            self.bar.advance(self.task)


def _said(handed: HandedIn, outcome: Outcome) -> str:
    if not isinstance(outcome, Graded):
        return f"{handed.name:<{WIDTH}} not graded: {outcome.reason}"
    unjudged = len(outcome.unjudged)
    note = f", {unjudged} not judged" if unjudged else ""
    return f"{handed.name:<{WIDTH}} {outcome.grade.score:>4g}{note}"
