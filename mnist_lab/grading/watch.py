"""Grade an exercise whenever its file is saved, and answer keys meanwhile."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import click

from mnist_lab import kit
from mnist_lab.grading import memory, run
from mnist_lab.grading.warm import JobError
from mnist_lab.submission import notebook
from mnist_lab.submission.refused import SourceError
from mnist_lab.submission.source import read

KEYS = "n next   h hint   a all   q quit"

PATIENCE = 100
"""Milliseconds between two looks at the keyboard while no file is saved."""


def watch_files(submission: Path) -> None:
    """Grade the exercise of each file that is saved in ``submission``, until q or Ctrl-C.

    A notebook is graded as a whole.
    """
    from watchfiles import watch

    folder = submission if submission.is_dir() else submission.parent
    with _keys() as pressed, closing(run.ready()) as runner:

        def grade(file: str = "", exercise: str | None = None) -> None:
            click.clear()
            if file:
                click.echo(f"{file} was saved.")
            try:
                runner.grade(run.arguments(submission, exercise=exercise), shown=True)
            except JobError as error:
                click.echo(f"{error} Start mnist-lab watch again.")
            click.echo(f"\n{KEYS}")

        batches = watch(
            folder,
            recursive=False,
            raise_interrupt=False,
            rust_timeout=PATIENCE,
            yield_on_timeout=True,
        )
        next(batches, None)  # From here on nothing that is saved is missed.
        click.echo(f"Watching {submission}: save a file to have it graded.\n\n{KEYS}")
        for changes in batches:
            saved = {Path(path).name for _, path in changes}
            if name := next((name for name in saved if _is_graded(name, submission)), ""):
                grade(name)
            for file, exercise in kit.load().files.items():
                if file in saved:
                    grade(file, exercise.id)
            for key in pressed():
                if key == "q":
                    return
                if key == "a":
                    grade()
                if key in ("n", "h"):
                    click.echo(_next(hint=key == "h"))


def _is_graded(name: str, submission: Path) -> bool:
    """Whether the file called ``name`` is the notebook that is graded."""
    if not name.endswith(notebook.SUFFIX):
        return False
    with suppress(SourceError):
        return any(file.name == name for file in read(submission).originals.values())
    return False


def _next(*, hint: bool) -> str:
    """The first check that did not pass, or was never run, and its hint."""
    step = memory.next_check(Path.cwd(), kit.load().checks)
    if step is None:
        return "Nothing is left to do."
    if hint:
        return f"{step.id}: {step.hints[0]}"
    return f"Next: {step.id}, {step.title}"


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """The keys pressed since last asked, without waiting for Enter; none where that can't be."""
    if not sys.stdin.isatty() or os.name != "posix":
        yield str
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    tty.setcbreak(handle)

    def pressed() -> str:
        ready, _, _ = select.select([handle], [], [], 0)
        return os.read(handle, 100).decode(errors="ignore") if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
