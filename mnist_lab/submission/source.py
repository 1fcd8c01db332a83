"""Where a learner's exercises are: files or a notebook, at any depth of a folder or an archive.

Nothing here runs, imports or follows what was handed in.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from mnist_lab import kit
from mnist_lab.submission import notebook
from mnist_lab.submission.archive import ArchiveError, is_archive, is_debris, shown, unpack
from mnist_lab.submission.definitions import begun
from mnist_lab.submission.notebook import Notebook, NotebookError
from mnist_lab.submission.sandbox import scratch

__all__ = [
    "SPELLINGS",
    "Opened",
    "Prepared",
    "SourceError",
    "alike",
    "contents",
    "copy_modules",
    "digest",
    "exercise_file",
    "find",
    "notes",
    "opened",
    "originals",
    "prepare",
]

FILES, BYTES = 200, 4 << 20
"""How many Python files a folder may have that are handed in, and their bytes together."""

NOTEBOOK = 50 << 20
"""How many bytes a notebook may have, saved outputs and all."""

NOTEBOOKS, ARCHIVES = 10, 5
"""How many notebooks and archives in a folder are looked at."""

ENTRIES, DEPTH = 20_000, 20
"""How many files and folders are looked at, and how deep."""

UNREAD = (".rar", ".7z", ".tar.xz", ".txz", ".xz", ".gz", ".bz2")
"""Archives that are not unpacked."""

NEAR = 3
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

    ``notebook`` is what the files were made of, if they were, and ``file`` where it is;
    ``originals`` are the files as they were handed in, by the exercise's file name, where they had
    another name or place; ``notes`` are sentences that a learner should know.
    """

    path: Path
    notebook: Notebook | None = None
    file: Path | None = None
    originals: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@contextmanager
def opened(path: str | Path) -> Iterator[Opened]:
    """What is handed in at ``path``, for a while: a folder, an archive or a notebook becomes a
    folder with the files of its exercises, wherever in it they are.

    If there are several places with exercises, the one with most that are begun counts. Raises
    ``SourceError`` where there is none, where an archive is not to be trusted or a notebook cannot
    be read.
    """
    path = Path(path)
    with ExitStack() as stack:
        if path.is_dir():
            yield _open_best(path, _look_through(path, stack), stack)
        elif is_archive(path) and _is_file(path):
            yield _open_best(path, _look_through(_unpacked(path, stack), stack), stack)
        elif path.name.lower().endswith(notebook.SUFFIX) and path.exists():
            read = _read_notebook(path)
            if not read.modules:
                raise SourceError(f"{read.name} defines nothing that is asked for: {_asked()}.")
            yield _as_folder(read, path, _scratch(stack))
        elif (file := exercise_file(path.name)) not in ("", path.name) and _is_file(path):
            found = _Place(shown(path), path.parent, {file: path})
            yield _renamed(found, _scratch(stack), alone=True)
        else:
            yield Opened(path)


def exercise_file(name: str) -> str:
    """The exercise's file that one called ``name`` is meant to be, as ``CNN.py``, ``cnn (1).py`` or
    ``cnn.py.txt``; empty if none.
    """
    found = SPELLINGS.fullmatch(name[:100])
    return f"{found[1].lower().replace(' ', '_')}.py" if found else ""


def find(path: str | Path) -> dict[str, Path]:
    """The file of each exercise that is at ``path``, by the exercise's id, in the kit's order.

    A folder gives those of its files that are called as the kit calls them; a file must have one
    of those names. Raises ``SourceError`` where there is none, where one is a link, and where the
    folder has more Python files than anybody writes.
    """
    path = Path(path)
    names = {exercise.file: exercise.id for exercise in kit.load().exercises}
    if path.is_dir():
        found = {names[file]: path / file for file in names if _is_file(path / file)}
        if not found:
            raise _none_in(path)
        modules = _modules(path)
        if len(modules) > FILES or sum(map(_size, modules)) > BYTES:
            raise SourceError(
                f"{shown(path)} has {len(modules)} Python files of "
                f"{sum(map(_size, modules)) / 1e6:.1f} MB: at most {FILES} and {BYTES >> 20} MB "
                "can be handed in."
            )
        return found
    if path.is_symlink():
        raise _link(path)
    if not path.is_file():
        raise SourceError(f"There is no file or folder {path}.")
    if path.name.lower().endswith(UNREAD):
        raise _unread(path)
    if path.name not in names:
        raise SourceError(f"{shown(path)} is not an exercise; their files are {', '.join(names)}.")
    if _size(path) > BYTES:
        raise SourceError(f"{shown(path)} has more than {BYTES >> 20} MB.")
    return {names[path.name]: path}


def digest(path: str | Path) -> str:
    """The SHA-256 of what is handed in at ``path``: one file, or all Python files of the folder.

    Names and contents count; of a notebook it is the code of its exercises. Raises ``SourceError``
    as ``find`` does.
    """
    with opened(path) as inside:
        return _digest(inside)


@dataclass(frozen=True)
class Prepared:
    """A copy of what counts of a submission: its digest, the ids of its exercises, and those of the
    notes that opening the copy does not give again.
    """

    sha256: str
    exercises: tuple[str, ...]
    notes: tuple[str, ...]


def prepare(path: str | Path, target: Path) -> Prepared:
    """Copy what counts of a submission into the empty folder ``target``: Python files, or a
    notebook without its outputs and the modules beside it. Grading them is grading the submission.

    Raises ``SourceError`` as ``find`` does.
    """
    with opened(path) as inside:
        files, told = _files(inside), inside.notes
        if inside.notebook is not None:
            made = {*inside.notebook.modules, *(each.file for each in kit.load().exercises)}
            files = [file for file in files if file.parent != inside.path or file.name not in made]
            name = shown(inside.file or Path(path))
            (target / name).write_text(inside.notebook.code, encoding="utf-8")
            told = tuple(note for note in told if note not in inside.notebook.notes)
        folder = inside.path if inside.path.is_dir() else inside.path.parent
        for file in files:
            _copy(file, target / file.relative_to(folder))
        return Prepared(_digest(inside), tuple(find(inside.path)), told)


def notes(path: str | Path) -> tuple[str, ...]:
    """What a learner should know of how ``path`` was read, in sentences.

    Raises ``SourceError`` as ``find`` does.
    """
    with opened(path) as inside:
        return inside.notes


def originals(path: str | Path) -> dict[str, Path]:
    """As ``find``, but the files as they were handed in, which may be one notebook."""
    with opened(path) as inside:
        return {
            name: inside.file or inside.originals.get(file.name, file)
            for name, file in find(inside.path).items()
        }


def alike(folder: Path, file: str) -> list[str]:
    """The files in ``folder`` that may be meant as ``file``: in another case, a copy, a notebook of
    that name, or the file in a folder of its own.
    """
    stem, found = Path(file).stem, list[str]()
    for place, folders, names in os.walk(folder):
        where = Path(place).relative_to(folder)
        folders[:] = sorted(folders)[:20] if len(where.parts) < NEAR else []
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
    read = {_name(file, path.parent): _read(file) for file in {path, *beside}}
    return {name: content for name, content in sorted(read.items()) if content is not None}


def copy_modules(source: Path, target: Path) -> None:
    """Copy the Python files of ``source`` and of its packages to ``target``, unless there are more
    than anybody writes.
    """
    modules = _modules(source)
    if len(modules) > FILES or sum(map(_size, modules)) > BYTES:
        return
    for module in modules:
        _copy(module, target / module.relative_to(source))


# Places with exercises


@dataclass(frozen=True)
class _Place:
    """Exercises in one place, which is called ``said``: ``files`` by the exercise's file name, or a
    notebook.
    """

    said: str
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    notebook: Notebook | None = None
    file: Path | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def begun(self) -> int:
        """How many of its exercises are more than a stub."""
        if self.notebook is not None:
            return len(self.notebook.begun)
        names = {exercise.file: exercise.names for exercise in kit.load().exercises}
        return sum(
            begun((_read(path) or b"").decode("utf-8", "replace"), names[file])
            for file, path in self.files.items()
        )

    @property
    def rank(self) -> tuple[int, int, bool]:
        """The highest counts; of several the one that is found first, which is less deep."""
        count = len(self.files) if self.notebook is None else len(self.notebook.modules)
        return self.begun, count, self.notebook is None


@dataclass
class _Search:
    """What was found so far. ``problems`` are sentences on what was not taken, ``nothing`` on what
    has no exercise.
    """

    places: list[_Place] = field(default_factory=list)
    archives: list[tuple[Path, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)
    entries: int = 0
    notebooks: int = 0

    @property
    def is_over(self) -> bool:
        return any(place.begun for place in self.places) or self.entries > ENTRIES


def _look_through(folder: Path, stack: ExitStack) -> _Search:
    """The places with exercises in ``folder`` down to where one is begun; archives are opened where
    there is none.
    """
    search = _Search()
    _look_below(folder, "", search)
    for _ in range(2):  # An archive in an archive is opened, and no further one.
        inside, search.archives = search.archives[:ARCHIVES], []
        if search.is_over:
            break
        for archive, said in inside:
            try:
                _look_below(_unpacked(archive, stack), said, search)
            except SourceError as error:
                search.problems.append(str(error))
    if search.entries > ENTRIES:
        search.problems.append(f"There are more than {ENTRIES:,} files: some were not looked at.")
    return search


def _look_below(folder: Path, said: str, search: _Search) -> None:
    level = [(folder, said)]
    for _ in range(DEPTH):
        level = [below for each in level for below in _look_into(*each, search)]
        if search.is_over:
            break


def _look_into(folder: Path, said: str, search: _Search) -> list[tuple[Path, str]]:
    """Add what is in a folder itself; its folders and what they are called."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(islice(scan, ENTRIES + 1), key=lambda entry: entry.name)
    except OSError as error:
        search.problems.append(f"{said or shown(folder)} cannot be read ({error.strerror}).")
        return []
    search.entries += len(entries)
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return []
    folders: list[tuple[Path, str]] = []
    files: dict[str, list[Path]] = {}
    for entry in entries:
        path, name = Path(entry.path), entry.name.lower()
        inside = f"{said}/{shown(path)}" if said else shown(path)
        if is_debris(entry.name):
            continue
        if entry.is_symlink():
            if exercise_file(name) or name.endswith(notebook.SUFFIX):
                search.problems.append(f"{inside} is a link: hand in the file itself.")
        elif entry.is_dir():
            folders.append((path, inside))
        elif not entry.is_file():
            continue
        elif file := exercise_file(name):
            files.setdefault(file, []).append(path)
        elif name.endswith(notebook.SUFFIX):
            _look_at_notebook(path, inside, search)
        elif is_archive(path):
            search.archives.append((path, inside))
        elif name.endswith(UNREAD):
            search.problems.append(str(_unread(path)))
    if files:
        search.places.append(_place_of(folder, said, files))
    return folders


def _place_of(folder: Path, said: str, files: Mapping[str, list[Path]]) -> _Place:
    """A folder of exercises; of several files for one, that with the right name counts, else the
    last.
    """
    chosen, notes = {}, []
    for file, paths in files.items():
        chosen[file] = next((path for path in paths if path.name == file), paths[-1])
        notes += [
            f"{shown(path)} was not graded: {shown(chosen[file])} counts."
            for path in paths
            if path != chosen[file]
        ]
    return _Place(said or "the top folder", folder, chosen, notes=tuple(notes))


def _look_at_notebook(path: Path, said: str, search: _Search) -> None:
    search.notebooks += 1
    if search.notebooks > NOTEBOOKS:
        return
    try:
        read = _read_notebook(path)
    except SourceError as error:
        search.problems.append(str(error))
        return
    if read.modules:
        search.places.append(_Place(said, path.parent, notebook=read, file=path))
    else:
        search.nothing.append(f"{said} defines nothing that is asked for: {_asked()}.")


def _open_best(path: Path, search: _Search, stack: ExitStack) -> Opened:
    """The place that counts, and what is said of the others."""
    if not search.places:
        if sentences := [*search.problems, *search.nothing]:
            raise SourceError(sentences[0])
        raise _none_in(path)
    best = max(search.places, key=lambda place: place.rank)
    others = [place.said for place in search.places if place is not best and place.begun]
    said = list(search.problems[:NOTEBOOKS])
    if others:
        said.append(
            f"Not graded: {', '.join(others[:NOTEBOOKS])}. The exercises in {best.said} count; to "
            "have others graded, hand them in alone."
        )
    if best.notebook is not None:
        assert best.file is not None
        return _as_folder(best.notebook, best.file, _scratch(stack), beside=True, also=said)
    if all(path.name == file for file, path in best.files.items()):
        return Opened(best.folder, originals=best.files, notes=(*best.notes, *said))
    return _renamed(best, _scratch(stack), also=said)


def _as_folder(
    read: Notebook,
    place: Path,
    folder: Path,
    *,
    beside: bool = False,
    also: list[str] | None = None,
) -> Opened:
    """The files of a notebook, written into ``folder``; with the modules ``beside`` it or not."""
    if beside:
        copy_modules(place.parent, folder)
        for exercise in kit.load().exercises:
            (folder / exercise.file).unlink(missing_ok=True)
    read.write(folder)
    return Opened(folder, read, place, notes=(*read.notes, *(also or ())))


def _renamed(
    place: _Place, folder: Path, *, alone: bool = False, also: list[str] | None = None
) -> Opened:
    """The exercises of ``place`` under the names asked for, and the modules beside them."""
    said = []
    if not alone:
        copy_modules(place.folder, folder)
    for file, path in place.files.items():
        (folder / file).unlink(missing_ok=True)
        _copy(path, folder / file)
        if path.name != file:
            said.append(f"{shown(path)} was taken for {file}: that is the name to hand in.")
    return Opened(folder, originals=place.files, notes=(*said, *place.notes, *(also or ())))


def _read_notebook(path: Path) -> Notebook:
    if not _is_file(path):
        raise _link(path)
    if _size(path) > NOTEBOOK:
        raise SourceError(
            f"{shown(path)} has more than {NOTEBOOK >> 20} MB: clear its outputs and save it."
        )
    try:
        return notebook.read(path)
    except NotebookError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"{shown(path)} cannot be read ({error.strerror}).") from error


def _unpacked(path: Path, stack: ExitStack) -> Path:
    folder = _scratch(stack)
    try:
        unpack(path, folder)
    except ArchiveError as error:
        raise SourceError(str(error)) from error
    return folder


def _none_in(path: Path) -> SourceError:
    files = ", ".join(exercise.file for exercise in kit.load().exercises)
    return SourceError(f"{shown(path)} has none of the exercises: {files}.")


def _link(path: Path) -> SourceError:
    return SourceError(f"{shown(path)} is a link: hand in the file itself.")


def _unread(path: Path) -> SourceError:
    return SourceError(f"{shown(path)} is an archive that is not read: hand in a zip.")


def _asked() -> str:
    return ", ".join(name for exercise in kit.load().exercises for name in exercise.names)


def _scratch(stack: ExitStack) -> Path:
    return Path(stack.enter_context(scratch.folder()))


# Files


def _files(inside: Opened) -> list[Path]:
    """The Python files that count, in order."""
    found = find(inside.path)
    return _modules(inside.path) if inside.path.is_dir() else list(found.values())


def _digest(inside: Opened) -> str:
    whole = hashlib.sha256()
    for file in _files(inside):
        name = _name(file, inside.path) if inside.path.is_dir() else file.name
        content = hashlib.sha256(_read(file) or b"").hexdigest()
        whole.update(f"{name}\0{content}\0".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _modules(folder: Path) -> list[Path]:
    """The Python files of ``folder`` and of the packages in it, in order; links are left out."""
    found: list[Path] = []
    waiting = [(folder, 0)]
    while waiting and len(found) <= 10 * FILES:
        place, depth = waiting.pop()
        try:
            with os.scandir(place) as scan:
                entries = sorted(islice(scan, ENTRIES), key=lambda entry: entry.name)
            for entry in entries:
                path = Path(entry.path)
                if entry.is_file(follow_symlinks=False) and entry.name.endswith(".py"):
                    found.append(path)
                elif depth < DEPTH and entry.is_dir(follow_symlinks=False):
                    waiting += [(path, depth + 1)] if _is_file(path / "__init__.py") else []
        except OSError:
            continue
    return sorted(found)


def _name(file: Path, folder: Path) -> str:
    """The path of a file in ``folder``, as it can be sent."""
    return (
        file.relative_to(folder)
        .as_posix()
        .encode("utf-8", "surrogateescape")
        .decode("utf-8", "replace")
    )


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_read(file) or b"")


def _is_file(path: Path) -> bool:
    """Whether ``path`` is a plain file, which a link is not."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


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


def _spellings() -> re.Pattern[str]:
    stems = "|".join(
        exercise.file.removesuffix(".py").replace("_", "[_ ]") for exercise in kit.load().exercises
    )
    return re.compile(
        rf"(?:copy of )?({stems})"
        r"(?:[ _-]?copy(?: \d{1,4})?|[ _-]?\(\d{1,4}\)|-\d{1,4})*\.py(?:\.txt)?",
        re.IGNORECASE,
    )


SPELLINGS = _spellings()
