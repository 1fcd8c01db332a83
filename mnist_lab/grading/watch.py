"""Grade an exercise whenever its file is saved, and answer keys meanwhile."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import click

from mnist_lab import kit
from mnist_lab.grading import memory, run

__all__ = ["watch_files"]

KEYS = "n next   h hint   a all   q quit"


def watch_files(submission: Path) -> None:
    """Grade the exercise of each file that is saved in ``submission``, until q or Ctrl-C."""
    from watchfiles import watch

    exercises = {exercise.file: exercise.id for exercise in kit.load().exercises}
    over = Event()
    with _keys() as keys:
        Thread(target=_answer, args=(keys, submission, over), daemon=True).start()
        click.echo(f"Watching {submission}. {KEYS}")
        folder = submission if submission.is_dir() else submission.parent
        for changes in watch(folder, stop_event=over, raise_interrupt=False, recursive=False):
            saved = {Path(path).name for _, path in changes}
            for file in sorted(saved & exercises.keys(), key=list(exercises).index):
                click.clear()
                click.echo(f"{file} was saved.")
                run.pytest(submission, exercise=exercises[file])
                click.echo(f"\n{KEYS}")


def _answer(keys: Iterator[str], submission: Path, over: Event) -> None:
    for key in keys:
        if key == "q":
            over.set()
        elif key == "a":
            run.pytest(submission)
        elif key in ("n", "h"):
            click.echo(_next(hint=key == "h"))


def _next(*, hint: bool) -> str:
    kept = memory.last(Path.cwd())
    step = kept.next_step() if kept else kit.load().checks[0]
    if step is None:
        return "Nothing is left to do."
    if hint:
        return f"{step.id}: {kit.load().check(step.id).hints[0]}"
    return f"Next: {step.id}, {step.title}"


@contextmanager
def _keys() -> Iterator[Iterator[str]]:
    """The keys pressed, one by one, without waiting for Enter where that is possible."""
    if not sys.stdin.isatty() or os.name != "posix":
        yield iter(())
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    tty.setcbreak(handle)
    try:
        yield _read(handle)
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _read(handle: int) -> Iterator[str]:
    while True:
        ready, _, _ = select.select([handle], [], [], 0.2)
        if ready:
            yield os.read(handle, 1).decode(errors="ignore")
