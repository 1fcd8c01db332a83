"""What the terminal shows while models train: a bar, plain lines, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mnist_lab.training import Epoch, Watch

__all__ = ["watching"]

WIDTH = 22


@contextmanager
def watching(
    console: Console, titles: Mapping[str, str], epochs: int, images: int
) -> Iterator[Watch]:
    """A watch for the training of ``titles`` (name to title): ``images`` digits an epoch each.

    A bar with the time left where ``console`` is a terminal, a line an epoch where it is not,
    nothing where it is quiet.
    """
    if not console.is_terminal or console.quiet:
        yield _Lines(console, titles, epochs)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Training", total=len(titles) * epochs * images)
        yield _Bar(console, titles, epochs, progress, task, epochs * images)


class _Lines(Watch):
    """One line for each finished epoch."""

    def __init__(self, console: Console, titles: Mapping[str, str], epochs: int) -> None:
        self.console, self.titles, self.epochs = console, titles, epochs

    def finished(self, name: str, number: int, epoch: Epoch) -> None:
        self.console.print(
            f"epoch {number:>2}/{self.epochs}  {self.titles[name]:<{WIDTH}} "
            f"train {epoch.train_accuracy:7.2%}  test {epoch.test_accuracy:7.2%}",
            highlight=False,
        )

    def stopped(self, name: str, reason: str) -> None:
        self.console.print(f"{self.titles[name]}: {reason}", highlight=False)


class _Bar(_Lines):
    """The lines above, and below them how far all models together have come."""

    def __init__(self, console, titles, epochs, progress: Progress, task, images: int) -> None:  # type: ignore[no-untyped-def]
        super().__init__(console, titles, epochs)
        self.progress, self.task = progress, task
        self.left = dict.fromkeys(titles, images)

    def advanced(self, name: str, images: int) -> None:
        self.left[name] -= images
        self.progress.advance(self.task, images)

    def stopped(self, name: str, reason: str) -> None:
        super().stopped(name, reason)
        self.progress.advance(self.task, self.left.pop(name))
