"""What the terminal shows while a class is graded: a bar with the time left, or a line each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager

from rich import progress
from rich.console import Console

from mnist_lab.grading.batch.reading import Read
from mnist_lab.grading.batch.results import Graded, Options, Outcome
from mnist_lab.grading.batch.submissions import Listing, attempts

WIDTH = 32

COLUMNS = (
    progress.TextColumn("{task.description}"),
    progress.BarColumn(bar_width=24),
    progress.MofNCompleteColumn(),
    progress.TimeRemainingColumn(),
)


def show(
    listing: Listing,
    reads: Sequence[Read],
    missing: Sequence[str],
    console: Console,
    *,
    best: bool = False,
) -> bool:
    """Say what would be graded, a line for each submission; whether all can be."""
    for read in reads:
        notes = (note.rstrip(".") for note in read.notes)
        said = "; ".join([", ".join(read.exercises), *notes]) or "nothing"
        if read.reason:
            said = f"can't be taken: {read.reason}"
        if (attempts := len(read.submission.attempts)) > 1:
            which = f"the best of {attempts} attempts, of which the last is"
            said = f"{which if best else f'the last of {attempts} attempts'}: {said}"
        _say(console, f"{read.name:<{WIDTH}} {said}")
    refused = sum(bool(read.reason) for read in reads)
    _say(console, f"{len(reads) - refused} of {len(reads)} submissions can be graded.")
    if missing:
        _say(console, f"Nothing was handed in by {', '.join(missing)}.")
    _say_ignored(console, listing)
    is_partly_read = any(read.unread for read in reads)
    return not (_say_doubts(console, listing, reads) or refused or is_partly_read)


class Progress(AbstractContextManager["Progress"]):
    """A bar where ``console`` is a terminal, and a line for each submission that is not graded;
    elsewhere a line for each that is done.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.has_doubts = console, False
        silent = console.quiet or not console.is_terminal
        self.bar = progress.Progress(*COLUMNS, console=console, transient=True, disable=silent)

    def __exit__(self, *raised: object) -> None:
        if not self.bar.disable:  # An older rich ends with an empty line all the same.
            self.bar.stop()

    def begins(self, listing: Listing, reads: Sequence[Read], known: int, options: Options) -> None:
        """Of the attempts in ``listing`` ``known`` need no grading, the others are graded."""
        total = len(reads)
        said = f"{total} submission{'s' * (total != 1)} ({listing.forms}), seed {options.seed}"
        _say(self.console, f"{said}; {known} of them need no grading." if known else f"{said}.")
        _say_ignored(self.console, listing)
        for read in reads:
            for note in read.left:
                _say(self.console, f"{read.name}: {note}")
        self.has_doubts = _say_doubts(self.console, listing, reads)
        self.bar.start()
        self.bar.add_task("Grading", total=total, completed=known)

    def finished(self, name: str, outcome: Outcome) -> None:
        """The submission with this name is done."""
        (task,) = self.bar.tasks
        self.bar.advance(task.id)
        if self.bar.disable or not outcome.settled:
            number = f"{task.completed:>{len(str(task.total))}}/{task.total}"
            _say(self.console, f"{number}  {_said(name, outcome)}")

    def keeps(self, names: Collection[str], lists: Sequence[str] = ()) -> None:
        """Say which files are of learners who were in the class in an earlier run only, and which
        ``lists`` this run has not written.
        """
        if names:
            of = ", ".join(sorted(names))
            _say(self.console, f"Left over from an earlier run in grades and feedback: {of}.")
        if lists:
            _say(self.console, f"Of an earlier run, not of this one: {', '.join(lists)}.")


def _say_ignored(console: Console, listing: Listing) -> None:
    for note in listing.notes:
        _say(console, note)
    if listing.ignored:
        _say(console, f"Not taken for submissions: {', '.join(listing.ignored)}.")


def _say_doubts(console: Console, listing: Listing, reads: Sequence[Read]) -> bool:
    """Say which submissions may be a class, or attempts of one learner; whether there are any, or
    others in doubt.
    """
    is_alone = len({read.name for read in reads}) == 1
    doubts = [*filter(None, (read.doubt(is_alone) for read in reads))]
    doubts += [
        f"{first} and {later} count as two learners. If both are one learner's, take {first} out."
        for first, later in attempts([read.name for read in reads if not read.submission.ids])
    ]
    for doubt in doubts:
        _say(console, doubt)
    return bool(doubts) or listing.is_doubtful


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _said(name: str, outcome: Outcome) -> str:
    if not isinstance(outcome, Graded):
        return f"{name:<{WIDTH}} not graded: {outcome.reason}"
    unjudged = len(outcome.unjudged)
    note = f", {unjudged} not judged" if unjudged else ""
    return f"{name:<{WIDTH}} {outcome.grade.score:>4g}{note}"
