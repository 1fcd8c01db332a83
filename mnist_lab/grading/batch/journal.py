"""What is known already of a class: one line of JSON for each finished submission, only appended.

A line counts once it is on the disk, so a killed run or a power cut costs what was in flight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mnist_lab.grade import GradeError
from mnist_lab.grading.batch.results import Options, Outcome, from_json
from mnist_lab.grading.batch.submissions import ClassError
from mnist_lab.writing import cannot_write

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not told apart there.
    fcntl = None  # type: ignore[assignment]

NAME = "journal.jsonl"


class Journal(AbstractContextManager["Journal"]):
    """The journal of the class whose results are in ``folder``, which is made if it is missing.

    ``seed`` is that of the last run, None in a new journal. Lines that cannot be read are passed
    over; a last one that was cut short is dropped. Raises ``ClassError``.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.seed: int | None = None
        self._known: dict[str, Outcome] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "a+b")  # noqa: SIM115 - it stays open
        except OSError as error:
            raise ClassError(cannot_write(self._path, error)) from error
        try:
            self._claim()
            _sync_folder(folder)
            self._read()
        except BaseException:
            self._file.close()
            raise

    def find(self, digest: str, options: Options) -> Outcome | None:
        """What came of the submission with this digest under these options, if it is known."""
        return self._known.get(_key(digest, asdict(options)))

    def begin(self, options: Options) -> None:
        """Note under which options a run begins."""
        self._append({"run": asdict(options)})

    def add(self, digest: str, options: Options, outcome: Outcome) -> None:
        """Note what came of a submission; it is on the disk on return."""
        self._append({"digest": digest, **asdict(options), **outcome.to_json()})

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _claim(self) -> None:
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClassError(
                f"Another run is writing to {self._path.parent}: wait for it, or name another "
                "folder."
            ) from error
        except OSError:
            return  # Some network drives have no locks.

    def _read(self) -> None:
        """Take in all lines, and cut off a last one that a killed run did not finish."""
        end = 0
        self._file.seek(0)
        for line in self._file:
            if line.endswith(b"\n"):
                end += len(line)
                self._take(line)
        self._file.truncate(end)

    def _take(self, line: bytes) -> None:
        with suppress(GradeError, KeyError, TypeError, ValueError):  # It is damaged.
            entry = json.loads(line)
            if "run" in entry:
                self.seed = int(entry["run"]["seed"])
            else:
                self._known[_key(entry["digest"], entry)] = from_json(entry)

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ClassError(
                f"The journal {self._path} cannot be written ({error.strerror}); what is in it is "
                "kept, and the same command goes on from there."
            ) from error


def _key(digest: str, options: Mapping[str, Any]) -> str:
    return json.dumps([digest, *(options[each.name] for each in fields(Options))])


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of files on the disk, where that can be asked for."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
