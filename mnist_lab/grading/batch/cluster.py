"""A class on the workers of a Dask cluster: the bytes of a submission go out, JSON comes back.

Each node grades as this machine would, behind the same walls. Nothing that a learner's code made
is ever unpickled, here or there.
"""

from __future__ import annotations

import atexit
import json
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mnist_lab.grade import GradeError
from mnist_lab.grading.batch.desk import Desk, Desks
from mnist_lab.grading.batch.handed_in import ClassError, HandedIn
from mnist_lab.grading.batch.results import NotGraded, Options, Outcome, fingerprint, from_json
from mnist_lab.grading.formats.text import one_line
from mnist_lab.submission.source import SourceError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["grade_bytes", "grade_there"]

ANSWER_LIMIT = "30s"
"""How long the scheduler may take to answer."""

WORKER_LIMIT = 900
"""Seconds in which a first worker must have come: a queue or a cloud takes its time."""

RETRIES = 2
"""How often a submission is given to another worker when the task itself fails. Submissions whose
worker was lost are given to others as often as the cluster's ``allowed-failures`` says."""


def grade_there(
    submissions: Sequence[HandedIn], options: Options, address: str
) -> Iterator[tuple[HandedIn, Outcome]]:
    """What comes of each submission, as it is known, from the cluster at ``address``.

    Raises ``ClassError`` where there is no cluster, no worker, or another kit on a worker.
    """
    with _connected(address) as client:
        from distributed import as_completed

        waiting: dict[Future[str], HandedIn] = {}
        for handed in submissions:
            try:
                files = handed.pack()
            except SourceError as error:
                yield handed, NotGraded(str(error))
                continue
            future = client.submit(
                grade_bytes, handed.name, files, options.to_json(), pure=False, retries=RETRIES
            )
            waiting[future] = handed
        try:
            client.wait_for_workers(1, timeout=WORKER_LIMIT)
        except TimeoutError as error:
            raise ClassError(f"The cluster at {address} has no worker: start some.") from error
        for future in as_completed(list(waiting), loop=client.loop):
            yield waiting.pop(future), _outcome(future, address)


def grade_bytes(name: str, files: Mapping[str, bytes], options: Mapping[str, Any]) -> str:
    """Grade a submission on this node; what came of it as JSON."""
    asked = Options(**options)
    if asked.kit != fingerprint():
        return json.dumps({"other_kit": fingerprint()})
    with NODE.desk(asked) as desk:
        return json.dumps(desk.grade(name, dict(files)).to_json(), allow_nan=False)


class Node:
    """The desks of one worker of the cluster, as many as it has threads that grade."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._desks: Desks | None = None
        self._free: queue.SimpleQueue[Desk] = queue.SimpleQueue()

    @contextmanager
    def desk(self, options: Options) -> Iterator[Desk]:
        """A desk for these options, which nobody else has for the block."""
        with self._lock:
            if self._desks is None or self._desks.options != options:
                self._close()
                self._desks, self._free = Desks(options), queue.SimpleQueue()
            free = self._free
            desk = self._desks.open() if free.empty() else free.get()
        try:
            yield desk
        finally:
            free.put(desk)

    def close(self) -> None:
        """End all runs."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._desks is not None:
            self._desks.close()
            self._desks = None


NODE = Node()
atexit.register(NODE.close)


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClassError(
            "--cluster needs Dask: install it with pip install 'mnist-lab[cluster]'."
        ) from error
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
        return NotGraded(one_line(f"The answer of the cluster is no grade: {error}"))
