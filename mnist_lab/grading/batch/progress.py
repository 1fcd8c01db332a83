"""What the terminal shows while a class is graded: a bar with the time left, or a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from mnist_lab.grading.batch.reading import Read
from mnist_lab.grading.batch.results import Graded, Options, Outcome
from mnist_lab.grading.batch.submissions import Listing

__all__ = ["show", "watching"]

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


def show(listing: Listing, reads: Sequence[Read], missing: Sequence[str], console: Console) -> bool:
    """Say what would be graded, a line for each submission; whether all can be."""
    for read in reads:
        said = "; ".join([", ".join(read.exercises), *read.notes]) or "nothing"
        if read.reason:
            said = f"can't be taken: {read.reason}"
        if (attempts := len(read.submission.attempts)) > 1:
            said = f"the last of {attempts} attempts: {said}"
        _say(console, f"{read.name:<{WIDTH}} {said}")
    refused = sum(bool(read.reason) for read in reads)
    _say(console, f"{len(reads) - refused} of {len(reads)} submissions can be graded.")
    if missing:
        _say(console, f"Nothing was handed in by {', '.join(missing)}.")
    if listing.ignored:
        _say(console, f"Not taken for submissions: {', '.join(listing.ignored)}.")
    return not refused


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Lines(run.Progress):
    """A line for each submission that is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total = self.done = 0

    def begins(self, total: int, known: int, options: Options) -> None:
        self.total, self.done = total, known
        said = f"{total} submissions, seed {options.seed}"
        self._say(f"{said}; {known} of them need no grading." if known else f"{said}.")

    def finished(self, name: str, outcome: Outcome) -> None:
        self.done += 1
        width = len(str(self.total))
        self._say(f"{self.done:>{width}}/{self.total}  {_said(name, outcome)}")

    def _say(self, line: str) -> None:
        _say(self.console, line)


class _Bar(_Lines):
    """How many are done and the time left; above it a line for each that could not be graded."""

    def __init__(self, console: Console, bar: Progress) -> None:
        super().__init__(console)
        self.bar = bar
        self.task: TaskID | None = None

    def begins(self, total: int, known: int, options: Options) -> None:
        super().begins(total, known, options)
        self.task = self.bar.add_task("Grading", total=total - known)

    def finished(self, name: str, outcome: Outcome) -> None:
        if not outcome.settled:
            self._say(_said(name, outcome))
        if self.task is not None:
            self.bar.advance(self.task)


def _said(name: str, outcome: Outcome) -> str:
    if not isinstance(outcome, Graded):
        return f"{name:<{WIDTH}} not graded: {outcome.reason}"
    unjudged = len(outcome.unjudged)
    note = f", {unjudged} not judged" if unjudged else ""
    return f"{name:<{WIDTH}} {outcome.grade.score:>4g}{note}"
