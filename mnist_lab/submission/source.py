"""Where a learner's exercises are: a folder, an archive of one, or one exercise's file.

Nothing here runs, imports or follows what was handed in.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_lab import kit
from mnist_lab.submission.archive import ArchiveError, is_archive, unpack

__all__ = ["SourceError", "contents", "digest", "find", "opened"]

FILES, BYTES = 200, 4 << 20
"""How many Python files a folder may have that are handed in, and their bytes together."""


class SourceError(Exception):
    """There is nothing to grade at a path; the message says what belongs there."""


@contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """``path`` itself, or the folder in which it is unpacked if it is an archive, for a while.

    Raises ``SourceError`` where the archive is not to be trusted.
    """
    path = Path(path)
    if not (is_archive(path) and path.is_file()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mnist-lab-") as folder:
        try:
            yield unpack(path, Path(folder))
        except ArchiveError as error:
            raise SourceError(str(error)) from error


def find(path: str | Path) -> dict[str, Path]:
    """The file of each exercise that is at ``path``, by the exercise's id, in the kit's order.

    A folder gives those of its files that are called as the kit calls them; a file must have one
    of those names. Raises ``SourceError`` where there is none, where one is a link, and where the
    folder has more Python files than anybody writes.
    """
    path = Path(path)
    names = {exercise.file: exercise.id for exercise in kit.load().exercises}
    if path.is_dir():
        found = {names[file]: path / file for file in names if (path / file).is_file()}
        if not found:
            raise SourceError(f"{path} has none of the exercises: {', '.join(names)}.")
        if links := [file.name for file in found.values() if file.is_symlink()]:
            raise SourceError(f"{links[0]} is a link: hand in the file itself.")
        modules = _modules(path)
        if len(modules) > FILES or sum(map(_size, modules)) > BYTES:
            raise SourceError(
                f"{path} has {len(modules)} Python files of {sum(map(_size, modules)) / 1e6:.1f} "
                f"MB: at most {FILES} and {BYTES >> 20} MB can be handed in."
            )
        return found
    if not path.is_file():
        raise SourceError(f"There is no file or folder {path}.")
    if path.name not in names:
        raise SourceError(f"{path.name} is not an exercise; their files are {', '.join(names)}.")
    if path.is_symlink():
        raise SourceError(f"{path.name} is a link: hand in the file itself.")
    if _size(path) > BYTES:
        raise SourceError(f"{path.name} has more than {BYTES >> 20} MB.")
    return {names[path.name]: path}


def digest(path: str | Path) -> str:
    """The SHA-256 of what is handed in at ``path``: one file, or all Python files of the folder.

    Names and contents count. Raises ``SourceError`` as ``find`` does.
    """
    with opened(path) as inside:
        found = find(inside)
        files = _modules(inside) if inside.is_dir() else list(found.values())
        whole = hashlib.sha256()
        for file in files:
            name = file.relative_to(inside).as_posix() if inside.is_dir() else file.name
            content = hashlib.sha256(_read(file) or b"").hexdigest()
            whole.update(f"{name}\0{content}\0".encode())
    return whole.hexdigest()


def contents(path: Path) -> dict[str, bytes]:
    """The exercise ``path`` and the Python files beside it that it may import, by their names."""
    beside = _modules(path.parent)
    if len(beside) > FILES or sum(map(_size, beside)) > BYTES:
        beside = []  # A folder of downloads; the exercise is what was handed in.
    read = {file.relative_to(path.parent).as_posix(): _read(file) for file in {path, *beside}}
    return {name: content for name, content in sorted(read.items()) if content is not None}


def _modules(folder: Path) -> list[Path]:
    """The Python files of ``folder`` and of the packages in it, in order; links are left out."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_file(follow_symlinks=False) and entry.name.endswith(".py"):
            found.append(Path(entry.path))
        elif entry.is_dir(follow_symlinks=False) and Path(entry.path, "__init__.py").is_file():
            found += _modules(Path(entry.path))
        if len(found) > 10 * FILES:
            break
    return found


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _read(path: Path) -> bytes | None:
    """What is in ``path`` itself, not in what it is a link to; ``None`` if that can't be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            return file.read(BYTES + 1)
    except OSError:
        return None
