"""Where a learner's exercises are: a folder, an archive of one, a notebook, or one exercise's file.

Nothing here runs, imports or follows what was handed in.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mnist_lab import kit
from mnist_lab.submission import notebook
from mnist_lab.submission.archive import ArchiveError, is_archive, unpack
from mnist_lab.submission.notebook import Notebook, NotebookError

__all__ = [
    "Opened",
    "SourceError",
    "alike",
    "contents",
    "copy_modules",
    "digest",
    "find",
    "notes",
    "opened",
    "originals",
]

FILES, BYTES = 200, 4 << 20
"""How many Python files a folder may have that are handed in, and their bytes together."""

NOTEBOOK = 20 << 20
"""How many bytes a notebook may have, saved outputs and all."""

MOST_NOTEBOOKS = 10
"""How many notebooks of a folder are looked at."""

DEPTH = 3
"""How deep the folders are in which a file that lacks is looked for."""

COPY = re.compile(
    r"(?: ?\(\d+\)|[ _-]copy(?:[ _-]?\d+)?|[ _-]\d+)?(?:\.(?:py|ipynb|txt|pyc|bak))+$"
)
"""The end of the name of a copy, or of a file that was saved as something else."""


class SourceError(Exception):
    """There is nothing to grade at a path; the message says what belongs there."""


@dataclass(frozen=True)
class Opened:
    """What is handed in, as a folder of Python files or one of them.

    ``notebook`` is what the files were made of, if they were, and ``file`` where it is; ``notes``
    are sentences that a learner should know.
    """

    path: Path
    notebook: Notebook | None = None
    file: Path | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def opened(path: str | Path) -> Iterator[Opened]:
    """What is handed in at ``path``, for a while: unpacked if it is an archive, and the files of
    its exercises if it is a notebook, or a folder with one and no exercise's file.

    Raises ``SourceError`` where the archive is not to be trusted or the notebook cannot be read.
    """
    path = Path(path)
    with ExitStack() as stack:
        if is_archive(path) and path.is_file():
            try:
                path = unpack(path, Path(stack.enter_context(_scratch())))
            except ArchiveError as error:
                raise SourceError(str(error)) from error
        if path.name.lower().endswith(notebook.SUFFIX) and path.is_file():
            read = _read_notebook(path)
            if not read.modules:
                raise SourceError(f"{path.name} defines nothing that is asked for: {_asked()}.")
            yield _as_folder(read, path, Path(stack.enter_context(_scratch())))
        elif path.is_dir():
            yield _opened_folder(path, stack)
        else:
            yield Opened(path)


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
            there = [f" {each} may be {file}." for file in names for each in alike(path, file)[:1]]
            raise SourceError(
                f"{path} has none of the exercises: {', '.join(names)}.{''.join(there)}"
            )
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

    Names and contents count; of a notebook it is the code of its exercises. Raises ``SourceError``
    as ``find`` does.
    """
    with opened(path) as inside:
        folder, found = inside.path, find(inside.path)
        files = _modules(folder) if folder.is_dir() else list(found.values())
        whole = hashlib.sha256()
        for file in files:
            name = file.relative_to(folder).as_posix() if folder.is_dir() else file.name
            content = hashlib.sha256(_read(file) or b"").hexdigest()
            whole.update(f"{name}\0{content}\0".encode())
    return whole.hexdigest()


def notes(path: str | Path) -> tuple[str, ...]:
    """What a learner should know of how ``path`` was read, in sentences.

    Raises ``SourceError`` as ``find`` does.
    """
    with opened(path) as inside:
        return inside.notes


def originals(path: str | Path) -> dict[str, Path]:
    """As ``find``, but of a notebook it is the notebook that has the exercise."""
    with opened(path) as inside:
        return {name: inside.file or file for name, file in find(inside.path).items()}


def alike(folder: Path, file: str) -> list[str]:
    """The files in ``folder`` that may be meant as ``file``: in another case, a copy, a notebook of
    that name, or the file in a folder of its own.
    """
    stem, found = Path(file).stem, list[str]()
    for place, folders, names in os.walk(folder):
        where = Path(place).relative_to(folder)
        folders[:] = sorted(folders)[:20] if len(where.parts) < DEPTH else []
        for name in sorted(names)[:FILES]:
            called = COPY.sub("", name.lower()).replace("-", "_").replace(" ", "_")
            if called == stem and (where / name).as_posix() != file:
                found.append("".join(c if c.isprintable() else "?" for c in f"{where / name}"))
    return found


def contents(path: Path) -> dict[str, bytes]:
    """The exercise ``path`` and the Python files beside it that it may import, by their names."""
    beside = _modules(path.parent)
    if len(beside) > FILES or sum(map(_size, beside)) > BYTES:
        beside = []  # A folder of downloads; the exercise is what was handed in.
    read = {file.relative_to(path.parent).as_posix(): _read(file) for file in {path, *beside}}
    return {name: content for name, content in sorted(read.items()) if content is not None}


def copy_modules(source: Path, target: Path) -> None:
    """Copy the Python files of the folder ``source``, and its packages, but for the exercises.

    Nothing is copied where there are more than anybody hands in: then it is no learner's folder.
    """
    exercises = {exercise.file for exercise in kit.load().exercises}
    modules = [file for file in _modules(source) if file.relative_to(source).name not in exercises]
    if len(modules) > FILES or sum(map(_size, modules)) > BYTES:
        return
    for module in modules:
        copy = target / module.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(_read(module) or b"")


def _opened_folder(folder: Path, stack: ExitStack) -> Opened:
    """A folder: its Python files if one is an exercise's, else the notebook that has some."""
    files = {exercise.file for exercise in kit.load().exercises}
    places = sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(notebook.SUFFIX) and not entry.name.startswith(".")
    )
    if any((folder / file).is_file() for file in files):
        return Opened(folder, notes=tuple(_said_of_ignored(places)))
    read = {place: _read_notebook(place) for place in places[:MOST_NOTEBOOKS]}
    with_code = [place for place, found in read.items() if found.modules]
    if len(with_code) > 1:
        names = ", ".join(place.name for place in with_code)
        raise SourceError(f"{folder.name} has several notebooks with exercises, {names}: keep one.")
    if places and not with_code:
        raise SourceError(f"{places[0].name} defines nothing that is asked for: {_asked()}.")
    if not places:
        return Opened(folder)
    place = with_code[0]
    return _as_folder(read[place], place, Path(stack.enter_context(_scratch())), beside=True)


def _as_folder(read: Notebook, place: Path, folder: Path, *, beside: bool = False) -> Opened:
    """The files of a notebook, written into ``folder``; with the modules ``beside`` it or not."""
    if beside:
        copy_modules(place.parent, folder)
    read.write(folder)
    return Opened(folder, read, place, read.notes)


def _said_of_ignored(places: list[Path]) -> Iterator[str]:
    """That a notebook lies beside the files that were graded, if it has anything to grade."""
    for place in places[:MOST_NOTEBOOKS]:
        try:
            begun = _read_notebook(place).is_begun
        except SourceError:
            continue
        if begun:
            yield (
                f"{place.name} was not graded, since there are exercises in files of their own "
                "beside it. To have it graded hand in the notebook alone."
            )


def _read_notebook(path: Path) -> Notebook:
    if path.is_symlink() or not path.is_file():
        raise SourceError(f"{path.name} is a link: hand in the file itself.")
    if _size(path) > NOTEBOOK:
        raise SourceError(
            f"{path.name} has more than {NOTEBOOK >> 20} MB: clear its outputs and save it."
        )
    try:
        return notebook.read(path)
    except NotebookError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read ({error.strerror}).") from error


def _asked() -> str:
    return ", ".join(name for exercise in kit.load().exercises for name in exercise.names)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mnist-lab-")


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
