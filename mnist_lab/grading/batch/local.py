"""A class on this machine: as many workers as jobs, each in a thread that only waits."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from mnist_lab.grading.batch.reading import Read
from mnist_lab.grading.batch.results import Options, Outcome
from mnist_lab.grading.batch.workers import Worker, WorkerPool

__all__ = ["grade_here"]


def grade_here(
    submissions: Sequence[Read], options: Options, jobs: int
) -> Iterator[tuple[Read, Outcome]]:
    """What comes of each submission, as it is known; ``jobs`` of them at a time.

    Whoever stops early ends what is running.
    """
    workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    def grade(read: Read) -> Outcome:
        worker = workers.get()
        try:
            return worker.grade(read.name, read.folder, options.seed_for(read.digest))
        finally:
            workers.put(worker)

    jobs = min(jobs, len(submissions))
    with WorkerPool(options) as pool, ThreadPoolExecutor(max(jobs, 1)) as threads:
        for _ in range(jobs):
            workers.put(pool.open())
        futures = {threads.submit(grade, read): read for read in submissions}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.close()
