"""A class on the workers of a Dask cluster: the bytes of a submission go out, JSON comes back.

Each node grades as this machine would, behind the same walls. Nothing that a learner's code made
is ever unpickled, here or there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mnist_lab.grade import GradeError
from mnist_lab.grading.batch.reading import Read
from mnist_lab.grading.batch.results import NotGraded, Options, Outcome, fingerprint, from_json
from mnist_lab.grading.batch.submissions import ClassError
from mnist_lab.grading.batch.workers import WorkerPool
from mnist_lab.grading.formats.text import one_line

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_LIMIT = "30s"
"""How long the scheduler may take to answer."""

WORKER_LIMIT = 900
"""Seconds in which a first worker must have come: a queue or a cloud takes its time."""

ONE_AT_A_TIME = threading.Lock()

RETRIES = 2
"""How often a submission is given to another worker when the task itself fails. Submissions whose
worker was lost are given to others as often as the cluster's ``allowed-failures`` says."""


def grade_there(
    submissions: Sequence[Read], options: Options, address: str
) -> Iterator[tuple[Read, Outcome]]:
    """What comes of each submission, as it is known, from the cluster at ``address``.

    Raises ``ClassError`` where there is no cluster, no worker, or another kit on a worker.
    """
    with _connected(address) as client:
        from distributed import as_completed

        waiting: dict[Future[str], Read] = {}
        for read in submissions:
            future = client.submit(
                grade_bytes,
                read.name,
                read.pack(),
                asdict(options),
                options.seed_for(read.digest),
                pure=False,
                retries=RETRIES,
            )
            waiting[future] = read
        try:
            client.wait_for_workers(1, timeout=WORKER_LIMIT)
        except TimeoutError as error:
            raise ClassError(f"The cluster at {address} has no worker: start some.") from error
        for future in as_completed(list(waiting), loop=client.loop):
            yield waiting.pop(future), _outcome(future, address)


def grade_bytes(
    name: str, files: Mapping[str, bytes], options: Mapping[str, Any], seed: int
) -> str:
    """Grade a submission on this node; what came of it as JSON."""
    asked = Options(**options)
    if asked.kit != fingerprint():
        return json.dumps({"other_kit": fingerprint()})
    with ONE_AT_A_TIME:  # All threads of the node share a pool.
        pool = _pool(asked)
    outcome = pool.grade(name, files, seed)
    return json.dumps(outcome.to_json(), allow_nan=False)


@lru_cache(maxsize=1)
def _pool(options: Options) -> WorkerPool:
    """The workers of this node for these options; a pool for others ends when nobody uses it."""
    return WorkerPool(options)


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClassError("--cluster needs Dask: `pip install distributed`.") from error
    try:
        return Client(address, timeout=ANSWER_LIMIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClassError(
            f"No Dask scheduler answers at {address}: start one with dask scheduler, and give its "
            "address as it prints it, such as tcp://10.0.0.5:8786."
        ) from error


def _outcome(future: Future[str], address: str) -> Outcome:
    """What came of a submission; the text of a node is read with care, as any other."""
    if future.status == "error":
        return NotGraded(one_line(f"The cluster could not grade it: {future.exception()}"))
    if future.status != "finished":
        raise ClassError(
            f"The cluster at {address} was lost. What is graded is kept: run the same command "
            "again to go on from there."
        )
    try:
        data = json.loads(future.result())
        if "other_kit" in data:
            raise ClassError(
                f"A worker of the cluster has another kit, {one_line(data['other_kit'])}: install "
                f"the same there as here, {fingerprint()}."
            )
        return from_json(data)
    except (GradeError, ValueError, TypeError) as error:
        return NotGraded(one_line(f"The answer of the cluster is not a grade: {error}"))
