"""Workers that grade one submission after the other: a run of pytest each, what came of it."""

from __future__ import annotations

import queue
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mnist_lab.grade import Grade
from mnist_lab.grading import run
from mnist_lab.grading.batch.reading import Read
from mnist_lab.grading.batch.results import Graded, NotGraded, Options, Outcome
from mnist_lab.grading.formats.text import one_line
from mnist_lab.grading.run import Cold
from mnist_lab.grading.warm import ANSWERED, KILLED, Job, Jobs, Run
from mnist_lab.submission.refused import SourceError
from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.server import default_isolation, patience
from mnist_lab.writing import fill

ATTEMPTS = 2
"""A run that ends without a grade is tried once more: what went wrong may have been the machine."""


def grade_here(
    submissions: Sequence[Read], options: Options, jobs: int
) -> Iterator[tuple[Read, Outcome]]:
    """What comes of each submission, as it is known; ``jobs`` of them at a time.

    Whoever stops early ends what is running.
    """
    threads = ThreadPoolExecutor(min(jobs, len(submissions)))
    with threads, closing(WorkerPool(options)) as pool:
        futures = {
            threads.submit(pool.grade, read.name, read.folder, options.seed_for(read.digest)): read
            for read in submissions
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


class WorkerPool:
    """As many workers as threads ask for one at a time. They share one process with everything
    imported, where the system forks. Whatever a submission does to its worker, the next gets a good
    one. What is running ends with the pool.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._jobs = Jobs(options.tier) if default_isolation() == "fork" else None
        self.close = weakref.finalize(self, self._jobs.close if self._jobs else tuple)
        self._free: queue.SimpleQueue[Job | Cold] = queue.SimpleQueue()

    def grade(self, name: str, submission: Path | Mapping[str, bytes], seed: int) -> Outcome:
        """What comes of the submission: a path, or files to write first. ``seed`` is its own."""
        outcome: Outcome = NotGraded("It was not tried.")
        for _ in range(ATTEMPTS):
            with scratch.folder() as folder:
                try:
                    outcome = self._grade(name, submission, seed, Path(folder))
                except SourceError as error:
                    return NotGraded(one_line(str(error)))
                except Exception as error:  # Whatever it is, the others are not to suffer.
                    outcome = NotGraded(one_line(f"The grading itself failed: {error}"))
            if outcome.settled:
                break
        return outcome

    def _grade(
        self, name: str, submission: Path | Mapping[str, bytes], seed: int, folder: Path
    ) -> Outcome:
        path = submission if isinstance(submission, Path) else unpack(submission, folder / "in")
        full, strict = self.options.tier == "full", self.options.strict
        arguments = run.arguments(path, full=full, seed=seed, strict=strict)
        worker = self._worker()
        outcome: Outcome | None = None
        try:
            limit = self.options.limit * patience()
            outcome = self._outcome(name, path, worker.grade(arguments, limit))
            return outcome
        finally:
            if outcome and outcome.settled:
                self._free.put(worker)
            else:
                worker.close()  # Perhaps it was what runs need to be graded.

    def _worker(self) -> Job | Cold:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return self._jobs.open() if self._jobs else Cold()

    def _outcome(self, name: str, path: Path, ended: Run) -> Outcome:
        if ended.status not in ANSWERED or "grade" not in ended.result:
            return NotGraded(self._why(ended).replace(f"{path}", path.name))
        grade = replace(Grade.from_json(ended.result["grade"]), submission=name)
        return Graded(grade, ended.result.get("digits", ""), ended.result.get("accuracy", {}))

    def _why(self, ended: Run) -> str:
        """Why a run has left no grade."""
        if ended.status == KILLED:
            return f"The grading was stopped or took more than {self.options.limit:g} seconds."
        lines = [shown for line in ended.output.splitlines() if (shown := one_line(line))]
        last = lines[-1].removeprefix("ERROR: ") if lines else ""
        return last or f"The grading ended with status {ended.status} and no word."


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write what ``Read.pack`` gave into the new ``folder``; the path to grade there."""
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SourceError(f"{one_line(name)} would lie outside of the submission.")
    fill(folder, files)
    return folder
