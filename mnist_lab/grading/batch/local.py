"""A class on this machine: as many desks as jobs, each in a thread that only waits."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mnist_lab.grading.batch.desk import Desk, Desks
from mnist_lab.grading.batch.handed_in import HandedIn
from mnist_lab.grading.batch.results import NotGraded, Options, Outcome
from mnist_lab.submission.source import SourceError

__all__ = ["grade_here"]


def grade_here(
    submissions: Sequence[HandedIn], options: Options, jobs: int
) -> Iterator[tuple[HandedIn, Outcome]]:
    """What comes of each submission, as it is known; ``jobs`` of them at a time.

    Whoever stops early ends what is running.
    """
    desks: queue.SimpleQueue[Desk] = queue.SimpleQueue()

    def grade(handed: HandedIn) -> Outcome:
        desk = desks.get()
        try:
            return desk.grade(handed.name, _what(handed))
        except SourceError as error:
            return NotGraded(str(error))
        finally:
            desks.put(desk)

    jobs = min(jobs, len(submissions))
    with Desks(options) as pool, ThreadPoolExecutor(max(jobs, 1)) as threads:
        for _ in range(jobs):
            desks.put(pool.open())
        futures = {threads.submit(grade, handed): handed for handed in submissions}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.close()


def _what(handed: HandedIn) -> Path | dict[str, bytes]:
    """A path where there is one; a learner's files among others' are put together first."""
    return handed.pack() if handed.parts else handed.path
