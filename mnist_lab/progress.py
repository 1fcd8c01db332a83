"""What the terminal shows while models train: a line an epoch and, where it can, a bar below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mnist_lab.training import Epoch, Watch

WIDTH = 22
LINE = 64
"""The width of an epoch's line; where there is less room it takes two."""


@contextmanager
def watching(
    console: Console, titles: Mapping[str, str], epochs: int, images: int
) -> Iterator[Watch]:
    """A watch for the training of ``titles`` (name to title): ``images`` digits an epoch each."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=min(20, console.width // 4)),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    silent = console.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        yield _Lines(titles, epochs, images, progress)


class _Lines(Watch):
    """A line for each finished epoch, and how far all models together have come."""

    def __init__(
        self, titles: Mapping[str, str], epochs: int, images: int, progress: Progress
    ) -> None:
        self.titles, self.epochs, self.progress = titles, epochs, progress
        self.left = dict.fromkeys(titles, epochs * images)
        self.task = progress.add_task("Training", total=sum(self.left.values()))

    def advanced(self, name: str, images: int) -> None:
        self.left[name] -= images
        self.progress.advance(self.task, images)

    def finished(self, name: str, number: int, epoch: Epoch) -> None:
        fits = self.progress.console.width >= LINE
        title = f"{self.titles[name]:<{WIDTH}} " if fits else f"{self.titles[name]}\n  "
        self.progress.console.print(
            f"epoch {number:>2}/{self.epochs}  {title}"
            f"train {epoch.train_accuracy:7.2%}  test {epoch.test_accuracy:7.2%}"
        )

    def stopped(self, name: str, reason: str) -> None:
        self.progress.console.print(f"{self.titles[name]}: {reason}")
        self.progress.advance(self.task, self.left.pop(name))
