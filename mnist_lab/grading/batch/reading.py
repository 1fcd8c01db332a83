"""Submissions are read in processes of their own, each within limits of time and memory.

What is left is a folder that can be trusted: plain files of ordinary size.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_lab.grading.batch import similar
from mnist_lab.grading.batch.submissions import EXERCISES, SEVERAL, Submission, apart, rivals
from mnist_lab.grading.formats.text import one_line
from mnist_lab.submission import source
from mnist_lab.submission.archive import is_archive, is_debris, is_wanted
from mnist_lab.submission.refused import SourceError
from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.server import command, environment
from mnist_lab.writing import is_full

SECONDS, MEMORY = 20.0, 1 << 30
"""What reading one submission may take."""

LARGEST = 100 << 20
"""Bytes of a file that is handed in."""

MOST_PLACES = 10
"""Places of one submission that are named."""

MOST_FILES = 20_000
"""Files of which the times are looked at."""


def try_out(path: Path) -> None:
    """Read what is at ``path`` and forget it, where that may take what it likes. Raises
    ``SourceError`` where it takes more than it may; what is read then can be read anywhere.
    """
    if not os.path.exists(path) or _is_plain(path):
        return
    with scratch.folder() as folder, contextlib.closing(Reader(Path(folder, "reader"))) as reader:
        told = reader.read({path.name: path.resolve()}, Path(folder, "read"))
    if "reason" in told:
        raise SourceError(told["reason"])


def _is_plain(path: Path) -> bool:
    """Whether there is nothing to unpack or to take apart."""
    files = path.iterdir() if path.is_dir() else [path]
    return all(file.suffix == ".py" or is_debris(file.name) for file in files)


@dataclass(frozen=True)
class Read:
    """A submission, and its files in ``folder``; ``reason`` says why there are none, ``time`` when
    the newest that may be graded was changed, in seconds since 1970. ``digest`` is of its code,
    ``told_by`` of all that feedback may name: of a notebook the file and the cells too. ``left``
    are the notes on what does not count alone, ``places`` what is begun in each place, ``unread``
    sentences on what could not be read. If it ``is_blameless``, the ``reason`` is not its fault.
    """

    submission: Submission
    attempt: int
    folder: Path
    digest: str = ""
    told_by: str = ""
    exercises: Sequence[str] = ()
    notes: Sequence[str] = ()
    reason: str = ""
    time: float = 0.0
    left: Sequence[str] = ()
    places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unread: Sequence[str] = ()
    is_blameless: bool = False

    @property
    def name(self) -> str:
        return self.submission.name

    @property
    def prints(self) -> Path:
        """Where what it is compared by with others is."""
        return _beside(self.folder)

    def doubt(self, is_alone: bool) -> str:
        """Why this may be the wrong attempt, or a class and not one learner's work, which it is if
        the course's system says whose it is; there is more doubt where it ``is_alone``.
        """
        submission, parts = self.submission, self.submission.attempts[self.attempt].values()
        if not submission.is_ordered:
            count = len(submission.attempts)
            told = f"{self.name} has {count} attempts whose times are not understood"
            counting = ", ".join(path.name for path in parts)
            return one_line(f"{told}: {counting} counts. If another should, take this one out.")
        named = [path.name.split("+") for each in submission.attempts for path in each.values()]
        if len(assignments := sorted({name[1] for name in named if len(name) > 2})) > 1:
            these = ", ".join(assignments)
            told = f"{self.name} has handed in several assignments, {these}, and the last counts"
            return one_line(f"{told}. Give a folder with those of one assignment.")
        if submission.ids or {source.TOP, EXERCISES} & self.places.keys():
            return ""
        count = len({*apart(self.places).values()}) if is_alone else rivals(self.places)
        if count < (2 if is_alone else SEVERAL):
            return ""
        (path,) = parts
        give = "unpack it and give that folder" if is_archive(path) else f"give {path}"
        inside = ", ".join([*self.places][:MOST_PLACES])
        inside += " and more" if len(self.places) > MOST_PLACES else ""
        told = f"{self.name} counts as one learner's, with {inside} in it"
        return one_line(f"{told}: if it is a class, {give}.")

    def pack(self) -> dict[str, bytes]:
        """The files by their path, as they can be sent elsewhere."""
        return _packed(self.folder)


class ReaderPool:
    """``count`` processes that read. What they read lies under ``scratch`` until it is removed."""

    def __init__(self, scratch: Path, count: int) -> None:
        self._scratch, self._numbers = scratch, itertools.count()
        self._readers = [Reader(scratch / f"reader-{number}") for number in range(count)]
        self._free: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for reader in self._readers:
            self._free.put(reader)

    def read(self, asked: Sequence[tuple[Submission, int]]) -> list[Read]:
        """Each submission's attempt with this number, in order."""
        threads = ThreadPoolExecutor(len(self._readers))
        try:
            return list(threads.map(lambda each: self._read(*each), asked))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, submission: Submission, attempt: int) -> Read:
        reader, folder = self._free.get(), self._scratch / str(next(self._numbers))
        try:
            told = reader.read(submission.attempts[attempt], folder)
        except Exception as error:  # Whatever it is, the others are not to suffer.
            told = _failed(error)
        finally:
            self._free.put(reader)
        before = submission.before(attempt)
        if "reason" in told:
            told["reason"] = one_line(" ".join([told["reason"], *before]))
        else:
            told |= {kind: [*map(one_line, [*before, *told[kind]])] for kind in ("notes", "left")}
        return Read(submission, attempt, folder, **told)

    def close(self) -> None:
        """End the processes, and those that are reading."""
        for reader in self._readers:
            reader.close()


class Reader:
    """A process that reads one submission after the other. One that takes too long or dies is
    replaced.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, parts: Mapping[str, Path], folder: Path) -> dict[str, Any]:
        """Read the files of a submission into ``folder``, which is made; what was found, by the
        names that ``Read`` has for it, or the ``reason`` why nothing was.
        """
        folder.mkdir()
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        line, answered = b"", [process.stdout]
        request = {"parts": {name: str(path) for name, path in parts.items()}}
        with contextlib.suppress(OSError):  # It has died.
            process.stdin.write(json.dumps({**request, "folder": str(folder)}).encode() + b"\n")
            process.stdin.flush()
            answered, _, _ = select.select([process.stdout], [], [], SECONDS)
            line = process.stdout.readline() if answered else b""
        if line.endswith(b"\n"):
            return dict(json.loads(line))
        self.close()
        shutil.rmtree(folder, ignore_errors=True)
        late = f"takes more than {SECONDS:g} seconds"
        said = "ended the process that did it" if answered else late
        return {"reason": f"Reading it {said}."}

    def close(self) -> None:
        """End it, and remove what it has left."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        self._scratch.mkdir()
        return subprocess.Popen(
            [*command(__name__), str(self._scratch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )


def main() -> None:
    """Read what a line of standard input asks for, and answer with a line."""
    tempfile.tempdir = sys.argv[1]
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        request = json.loads(line)
        parts = {name: Path(path) for name, path in request["parts"].items()}
        try:
            answer = _read(parts, Path(request["folder"]))
        except SourceError as error:
            answer = {"reason": str(error)}
        except MemoryError:
            answer = {"reason": f"Reading it takes more than {MEMORY >> 30} GB of memory."}
        except Exception as error:
            answer = _failed(error)
        print(json.dumps(answer), flush=True)


def _failed(error: Exception) -> dict[str, Any]:
    """The reason, which is the submission's fault unless the disk is full."""
    if isinstance(error, OSError):
        if is_full(error):
            return {"reason": scratch.cannot_write(error), "is_blameless": True}
        return {"reason": f"It cannot be read ({error.strerror})."}
    return {"reason": f"It cannot be read ({type(error).__name__})."}


def _read(parts: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    for path in parts.values():
        if path.is_symlink():
            raise SourceError(f"{path.name} is a link: hand in the file itself.")
        if not path.exists():
            raise SourceError(f"{path.name} is not there any more.")
        if not (path.is_file() or path.is_dir()):
            raise SourceError(f"{path.name} can't be handed in: it is a pipe or a device.")
        if path.is_file() and path.lstat().st_size > LARGEST:
            raise SourceError(f"{path.name} has more than {LARGEST >> 20} MB.")
    with tempfile.TemporaryDirectory() as gathered:
        (name, whole), *more = parts.items()
        if more or name != whole.name:
            whole = Path(gathered, "What was handed in" if more else name)
            whole.mkdir()
            for name, path in parts.items():
                shutil.copyfile(path, whole / name, follow_symlinks=False)
        found = source.read(whole)
        found.write(folder)
    with contextlib.suppress(Exception):  # It can be graded all the same.
        similar.fingerprint(folder, _beside(folder))
    return {
        "digest": found.sha256,
        "told_by": source.digest(_packed(folder)),
        "exercises": list(found.originals),
        "notes": found.notes,
        "left": found.left,
        "places": {name: sorted(begun) for name, begun in found.places.items()},
        "unread": [one_line(problem) for problem in found.unread],
        "time": _time(parts.values()),
    }


def _time(paths: Collection[Path]) -> float:
    """When the newest of the files at ``paths`` and below was changed that may be graded."""
    inside = itertools.chain.from_iterable(source.below(path, is_debris) for path in paths)
    found = [*paths, *map(Path, itertools.islice(inside, MOST_FILES))]
    wanted = [each for each in found if is_wanted(each.name) and not is_debris(each.name)]
    files = filter(Path.is_file, wanted or found)
    return max((each.lstat().st_mtime for each in files), default=0.0)


def _packed(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


if __name__ == "__main__":
    main()
