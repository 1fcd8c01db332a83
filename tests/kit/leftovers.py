"""What a run of tests has left behind: processes, temporary folders, shared memory.

An orphan becomes a child of this process, which so finds all that the tests have started. They
have a folder for temporary files of their own, which has nothing of ours in it at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mnist_lab.submission.sandbox import linux, scratch
from mnist_lab.submission.server import default_isolation

PATIENCE = 60.0
"""Seconds for what is ending: a server looks for its grader when it has imported torch."""


class Leftovers:
    def __init__(self) -> None:
        scratch.sweep()
        self._folder = Path(tempfile.mkdtemp(prefix="mnist-lab-suite-"))
        self._before = set(_shared())
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._folder)
        if default_isolation() == "fork":
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)

    def found(self) -> list[str]:
        """What there is, one line each; waits for what is ending."""
        deadline = time.monotonic() + PATIENCE
        while (left := list(self._left())) and time.monotonic() < deadline:
            time.sleep(0.2)
        shutil.rmtree(self._folder, ignore_errors=True)
        return left

    def _left(self) -> Iterator[str]:
        for tasks in Path("/proc/self/task").glob("*/children"):
            for pid in tasks.read_text().split():
                if command := Path(f"/proc/{pid}/cmdline").read_bytes():  # Else it has ended.
                    yield f"process {pid}: {command.replace(bytes(1), b' ').decode()}"
        for folder in self._folder.glob("*mnist-lab-*"):
            lock = folder / scratch.LOCK
            if not lock.exists():
                yield str(folder)
            elif scratch.is_abandoned(str(lock)):  # Of a killed process: the next sweeps it away.
                scratch.remove(str(folder))
        yield from map(str, set(_shared()) - self._before)


def _shared() -> Iterator[Path]:
    """Shared memory of ours that no living process has claimed."""
    for path in Path(scratch.SHARED).glob("*mnist-lab-*"):
        if scratch.is_abandoned(str(path)):
            yield path
