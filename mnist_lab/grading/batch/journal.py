"""What is known already of a class: one line of JSON for each finished submission, only appended.

A line counts once it is on the disk, so a killed run or a power cut costs what was in flight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mnist_lab.grade import GradeError
from mnist_lab.grading.batch.results import Options, Outcome, from_json

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not told apart there.
    fcntl = None  # type: ignore[assignment]

__all__ = ["NAME", "Journal", "JournalError"]

NAME = "journal.jsonl"


class JournalError(Exception):
    """The journal cannot be used; the message says why and what to do."""


class Journal(AbstractContextManager["Journal"]):
    """The journal of the class whose results are in ``folder``, which is made if it is missing.

    ``seed`` is that of the last run, None in a new journal. ``damaged`` counts the lines that
    cannot be read; a last line that was cut short is dropped. Raises ``JournalError``.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b")  # noqa: SIM115 - it stays open
        except OSError as error:
            raise JournalError(f"{path} cannot be written ({error.strerror}).") from error
        try:
            self._claim(path)
            _sync_folder(folder)
            self._drop_torn_line()
            self.seed: int | None = None
            self.damaged = 0
            self._known: dict[str, Outcome] = {}
            self._read()
        except BaseException:
            self._file.close()
            raise

    def find(self, digest: str, options: Options) -> Outcome | None:
        """What came of the submission with this digest under these options, if it is known."""
        return self._known.get(_key(digest, options.to_json()))

    def begin(self, options: Options) -> None:
        """Note under which options a run begins."""
        self.seed = options.seed
        self._append({"run": options.to_json()})

    def add(self, digest: str, options: Options, outcome: Outcome) -> None:
        """Note what came of a submission; it is on the disk on return."""
        self._append({"digest": digest, **options.to_json(), **outcome.to_json()})
        self._known[_key(digest, options.to_json())] = outcome

    def close(self) -> None:
        self._file.close()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _claim(self, path: Path) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(
                f"Another run is writing to {path.parent}: wait for it, or name another folder."
            ) from error
        except OSError:
            return  # Some network drives have no locks.

    def _drop_torn_line(self) -> None:
        """Cut off a last line that a killed run did not finish."""
        end = self._file.seek(0, os.SEEK_END)
        while end:
            step = min(end, 1 << 16)
            self._file.seek(end - step)
            at = self._file.read(step).rfind(b"\n")
            if at >= 0:
                end += at + 1 - step
                break
            end -= step
        self._file.truncate(end)

    def _read(self) -> None:
        for entry in self._entries():
            try:
                if "run" in entry:
                    self.seed = int(entry["run"]["seed"])
                else:
                    outcome = from_json(entry)
                    key = _key(entry["digest"], {name: entry[name] for name in OPTIONS})
                    self._known[key] = outcome
            except (GradeError, KeyError, TypeError, ValueError):
                self.damaged += 1

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        self._file.seek(0)
        for line in self._file:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if isinstance(entry, dict):
                yield entry
            else:
                self.damaged += 1

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(
                f"The journal {self._file.name} cannot be written ({error.strerror}); what is in "
                "it is kept, and the same command goes on from there."
            ) from error


OPTIONS = tuple(Options("quick", 0, "").to_json())


def _key(digest: str, options: Mapping[str, Any]) -> str:
    return json.dumps([digest, *(options[name] for name in OPTIONS)])


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of files on the disk, where that can be asked for."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
