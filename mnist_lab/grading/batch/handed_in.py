"""What is handed in: which submissions a folder holds, whose they are, and their files as bytes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mnist_lab import kit
from mnist_lab.grading.formats.text import one_line
from mnist_lab.submission import source
from mnist_lab.submission.source import SourceError

__all__ = ["ClassError", "HandedIn", "Listing", "find", "unpack"]

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
SINGLE = (".ipynb", *ARCHIVES)
"""How the name of a file ends that is a whole submission."""

NOT_SUBMISSIONS = ("__MACOSX", "__pycache__")

MOST_BYTES = 64 << 20
"""What the files of one submission may weigh to be sent to another machine."""

LONGEST_NAME = 150
"""Bytes of a file's name, with room for an ending in the 255 that file systems allow."""


Owner = tuple[str, Path, Mapping[str, Path]]
"""A name, and the path and the parts of ``HandedIn``."""


class ClassError(Exception):
    """A class cannot be graded; the message says why and what to do."""


@dataclass(frozen=True)
class HandedIn:
    """One submission: whose it is, what its files of results are called, and where it lies.

    ``parts`` are the files of a learner's that lie beside those of others, by the exercise's
    file name; empty where ``path`` is the whole submission.
    """

    name: str
    slug: str
    path: Path
    parts: Mapping[str, Path]

    def digest(self) -> str:
        """The SHA-256 of what is handed in. Raises ``SourceError``."""
        if not self.parts:
            return _reading(self.path, partial(source.digest, self.path))
        whole = hashlib.sha256()
        for file, content in self.pack().items():
            whole.update(f"{file}\0{hashlib.sha256(content).hexdigest()}\0".encode())
        return whole.hexdigest()

    def pack(self) -> dict[str, bytes]:
        """Its files by their path in it, as they can be sent elsewhere. Raises ``SourceError``."""
        if self.parts:
            found = self.parts
        elif self.path.is_dir():
            found = _files_of(self.path)
        else:
            found = {self.path.name: self.path}
        packed, left = {}, MOST_BYTES
        for name, path in sorted(found.items()):
            packed[name] = _reading(path, partial(_content, path, left))
            left -= len(packed[name])
        return packed


@dataclass(frozen=True)
class Listing:
    """The submissions of a class, by name, and the names of files beside them that are none."""

    submissions: tuple[HandedIn, ...]
    ignored: tuple[str, ...]


def find(folder: Path) -> Listing:
    """The submissions in ``folder``: a folder, archive or notebook a learner, or a set of files
    that begin with the learner's name, such as ``ada_cnn.py``.

    Raises ``ClassError`` where there is none.
    """
    files = [exercise.file for exercise in kit.load().exercises]
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ClassError(f"{folder} cannot be read ({error.strerror}).") from error
    if any(entry.name in files for entry in entries):
        raise ClassError(
            f"{folder} is one submission: grade it with mnist-lab grade, or name the folder that "
            "has a folder, an archive or a notebook for each learner."
        )
    whole: list[tuple[str, Path]] = []
    parts: dict[str, dict[str, Path]] = {}
    ignored = []
    for entry in entries:
        part = re.fullmatch(rf"(.+)[-_. ]({'|'.join(map(re.escape, files))})", entry.name)
        ending = next((end for end in SINGLE if entry.name.lower().endswith(end)), None)
        if entry.name.startswith(".") or entry.name in NOT_SUBMISSIONS:
            continue
        if entry.is_dir():
            whole.append((entry.name, entry))
        elif part:
            parts.setdefault(part[1], {})[part[2]] = entry
        elif ending and len(entry.name) > len(ending):
            whole.append((entry.name[: -len(ending)], entry))
        else:
            ignored.append(one_line(entry.name))
    owners: list[Owner] = [(name, path, {}) for name, path in whole]
    owners += [(name, folder, found) for name, found in parts.items()]
    if not owners:
        raise ClassError(
            f"{folder} has no submission: a folder, an archive (zip or tar) or a notebook for each "
            "learner, or files such as ada_cnn.py."
        )
    return Listing(tuple(_named(owners)), tuple(ignored))


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write what ``HandedIn.pack`` gave into the empty ``folder``; the path to grade there."""
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SourceError(f"{one_line(name)} would lie outside of the submission.")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    only = next(iter(files)) if len(files) == 1 else ""
    return folder / only if only.lower().endswith(SINGLE) else folder


def _named(owners: Sequence[Owner]) -> Iterator[HandedIn]:
    """Submissions with a name and file names of their own, by name."""
    taken: set[str] = set()
    for name, path, parts in sorted(owners, key=lambda owner: (owner[0], owner[1].name)):
        shown, number = one_line(os.fsencode(name).decode("utf-8", "replace")) or "?", 1
        own = shown
        while _slug(own).casefold() in taken:
            number += 1
            own = f"{shown} ({number})"
        taken.add(_slug(own).casefold())
        yield HandedIn(own, _slug(own), path, parts)


def _slug(name: str) -> str:
    """``name`` as a file's: letters, digits and a few signs, the rest as their numbers."""
    plain = re.sub(r"[^\w.()@+ -]", lambda sign: f"%{ord(sign[0]):02X}", name)
    if len(plain.encode()) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{plain.encode()[:LONGEST_NAME].decode('utf-8', 'ignore')}-{digest}"


def _files_of(folder: Path) -> dict[str, Path]:
    """The regular files under ``folder`` by their path in it, hidden ones left out."""
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                found[path.relative_to(folder).as_posix()] = path
    return found


def _content(path: Path, most: int) -> bytes:
    """The bytes of a regular file, which a link is not."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SourceError(f"{one_line(path.name)} is not a file.")
        content = file.read(most + 1)
    if len(content) > most:
        raise SourceError(f"What is handed in weighs more than {MOST_BYTES >> 20} MB.")
    return content


T = TypeVar("T")


def _reading(path: Path, read: Callable[[], T]) -> T:
    """What ``read`` gives; a file that cannot be read is the submission's failure."""
    try:
        return read()
    except OSError as error:
        raise SourceError(f"{one_line(path.name)} cannot be read ({error.strerror}).") from error
