"""Workers that grade one submission after the other: a run of pytest each, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from mnist_lab.grade import Grade
from mnist_lab.grading import run
from mnist_lab.grading.batch.results import Graded, NotGraded, Options, Outcome
from mnist_lab.grading.cold import KILLED, Cold
from mnist_lab.grading.formats.text import one_line
from mnist_lab.grading.warm import ANSWERED, Jobs, Run
from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.server import default_isolation
from mnist_lab.submission.source import SourceError

__all__ = ["Worker", "WorkerPool", "unpack"]

ATTEMPTS = 2
"""A run that ends without a grade is tried once more: what went wrong may have been the machine."""


class Runner(Protocol):
    """Runs pytest in another process."""

    def grade(self, arguments: Sequence[str], limit: float) -> Run:
        """A run of pytest with these arguments, killed after ``limit`` seconds."""

    def close(self) -> None:
        """End the run that is going on."""


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Makes workers that share one process with everything imported, where the system forks."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._jobs = Jobs(options.tier, options.seed) if default_isolation() == "fork" else None

    def open(self) -> Worker:
        """A new worker; each thread needs one of its own."""
        return Worker(self.options, self._jobs)

    def close(self) -> None:
        """End all runs."""
        if self._jobs is not None:
            self._jobs.close()

    def __exit__(self, *raised: object) -> None:
        self.close()


class Worker:
    """Grades one submission at a time; whatever one does to its run, the next gets a good one."""

    def __init__(self, options: Options, jobs: Jobs | None) -> None:
        self.options, self._jobs = options, jobs
        self._runner: Runner | None = None

    def grade(self, name: str, submission: Path | dict[str, bytes], seed: int) -> Outcome:
        """What comes of the submission: a path, or files to write first. ``seed`` is its own."""
        outcome: Outcome = NotGraded("It was not tried.")
        for _ in range(ATTEMPTS):
            with scratch.folder() as folder:
                try:
                    outcome = self._grade(name, submission, seed, Path(folder))
                except SourceError as error:
                    return NotGraded(one_line(str(error)))
                except Exception as error:  # Whatever it is, the others are not to suffer.
                    self._drop()
                    outcome = NotGraded(one_line(f"The grading itself failed: {error}"))
            if outcome.settled:
                break
            self._drop()  # Perhaps it was what runs need to be graded.
        return outcome

    def close(self) -> None:
        self._drop()

    def _grade(
        self, name: str, submission: Path | dict[str, bytes], seed: int, folder: Path
    ) -> Outcome:
        if isinstance(submission, dict):
            folder = folder / "submission"
            folder.mkdir()
            submission = unpack(submission, folder)
        arguments = run.arguments(
            submission,
            full=self.options.tier == "full",
            seed=seed,
            strict=self.options.strict,
        )
        ended = self._ready().grade(arguments, self.options.limit)
        if ended.status not in ANSWERED or "grade" not in ended.result:
            return NotGraded(self._why(ended).replace(f"{submission}", submission.name))
        grade = replace(Grade.from_json(ended.result["grade"]), submission=name)
        return Graded(grade, ended.result.get("digits", ""), ended.result.get("accuracy", {}))

    def _ready(self) -> Runner:
        if self._runner is None:
            self._runner = self._jobs.open() if self._jobs else Cold()
        return self._runner

    def _drop(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _why(self, ended: Run) -> str:
        """Why a run has left no grade."""
        if ended.status == KILLED:
            return f"The grading was stopped or took more than {self.options.limit:g} seconds."
        lines = [shown for line in ended.output.splitlines() if (shown := one_line(line))]
        last = lines[-1].removeprefix("ERROR: ") if lines else ""
        return last or f"The grading ended with status {ended.status} and no word."


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write what ``Read.pack`` gave into the empty ``folder``; the path to grade there."""
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SourceError(f"{one_line(name)} would lie outside of the submission.")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder
