"""Where a learner's exercises are: files or a notebook, at any depth of a folder or an archive.

Nothing here runs, imports or follows what was handed in.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from mnist_lab import kit
from mnist_lab.submission import notebook
from mnist_lab.submission.archive import (
    UNREAD,
    is_archive,
    is_debris,
    is_hidden,
    is_notebook,
    unpack,
)
from mnist_lab.submission.definitions import begun, is_stub
from mnist_lab.submission.notebook import Notebook
from mnist_lab.submission.refused import SourceError, shown
from mnist_lab.submission.sandbox import scratch
from mnist_lab.writing import fill

FILES, BYTES = 200, 4 << 20
"""How many Python files a folder may have that are handed in, and their bytes together."""

NOTEBOOK = 50 << 20
"""How many bytes a notebook may have, saved outputs and all."""

NOTEBOOKS, ARCHIVES = 10, 10
"""How many notebooks and archives in a folder are looked at."""

ENTRIES, DEPTH = 20_000, 20
"""How many files and folders are looked at, and how deep."""

UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".icloud")
"""What a file is called that was not downloaded, or not to its end."""

ENVIRONMENT = ("bin", "conda-meta", "include", "lib", "lib64", "pkgs", "scripts", "share")
"""The folders that a virtual environment has, which may lie in that of the exercises."""

NEAR = 3
"""How deep the folders are in which a file that lacks is looked for."""

NUMBERS = re.compile(r"\d+")

TOP = "the top folder"
"""What the place is called that is all that was handed in."""


@dataclass(frozen=True)
class HandedIn:
    """What counts of a submission.

    ``files`` are its Python files by their path in it, the exercises' under the names asked for;
    ``sha256`` is of these. ``originals`` are the files or the notebook that were handed in, by the
    exercise's id, in the kit's order; ``alike`` what may be meant as one that is not there, by its
    file. ``notes`` are sentences that a learner should know, ``left`` those on what does not count
    alone. ``notebook`` is what the files were made of, if they were; ``folder`` is where they stay
    under these names, if they do; ``places`` are what is begun in each place that there is.
    ``unread`` are sentences on what could not be read, where an exercise may be in it.
    """

    files: Mapping[str, bytes]
    sha256: str
    originals: Mapping[str, Path]
    alike: Mapping[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    notebook: Notebook | None = None
    folder: Path | None = None
    left: tuple[str, ...] = ()
    places: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write what counts into the empty ``folder``, of a notebook its code and the modules
        beside it. Reading that gives the same, but for the notes.
        """
        files = dict(self.files)
        if self.notebook is not None:
            files = {name: files[name] for name in files if name not in self.notebook.modules}
            files[shown(next(iter(self.originals.values())))] = self.notebook.code.encode()
        fill(folder, files)


def read(path: str | Path) -> HandedIn:
    """What is handed in at ``path``: a folder or an archive, wherever in it the exercises are, a
    notebook, or the file of one exercise and what lies beside it.

    If there are several places with exercises, the one with most that are begun counts. Raises
    ``SourceError`` where there is none, where an archive is not to be trusted or a notebook cannot
    be read, and where there are more Python files than anybody writes.
    """
    path = Path(path)
    with ExitStack() as stack:  # Archives are unpacked for as long.
        if os.path.isdir(path):  # Which a name that is too long does not end.
            return _best(path, _look_through(path, stack))
        if is_archive(path) and _is_file(path):
            found = _best(path, _look_through(_unpacked(path, stack), stack))
            return replace(found, folder=None)
    is_file = os.path.isfile(path) or os.path.islink(path)
    if is_file and is_notebook(path.name):
        made = _read_notebook(path)
        if not made.modules:
            raise SourceError(f"{made.name} defines nothing that is asked for: {_asked()}.")
        return _of_notebook(_Place(shown(path), path.parent, notebook=made, file=path), {})
    file = exercise_file(path.name)
    if not file or not _is_file(path):
        raise _refusal(path)
    place = _Place(shown(path), path.parent, {file: path})
    return _of_files(place, beside(path.parent), alone=True)


def exercise_file(name: str) -> str:
    """The exercise's file that one called ``name`` is meant to be, as ``CNN.py``, ``cnn (1).py``,
    ``cnn.py.txt``, ``Late Submission - cnn.py`` or ``20260203101112_cnn.py``; empty if none.
    """
    said = name[:100].strip()
    found = SPELLINGS.fullmatch(said) or SPELLINGS.fullmatch(BEFORE.sub("", said))
    if not found:
        return ""
    return next(file for file in kit.load().files if re.fullmatch(_stem(file), found[1], re.I))


def below(folder: Path, is_left_out: Callable[[str], bool]) -> Iterator[os.DirEntry[str]]:
    """What is in ``folder`` and its folders, however deep, but for those with such a name."""
    waiting = [os.fspath(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as scan:
            for entry in scan:
                yield entry
                if entry.is_dir(follow_symlinks=False) and not is_left_out(entry.name):
                    waiting.append(entry.path)


def beside(folder: Path) -> dict[str, bytes]:
    """The modules in ``folder`` that an exercise may import; none of a folder of downloads, which
    has more than anybody writes.
    """
    found, _ = _modules(folder)
    return {} if _is_too_much(found) else found


def _modules(folder: Path) -> tuple[dict[str, bytes], bool]:
    """The Python files that code in ``folder`` may import, by their path, and whether there are too
    many: then those in folders that are no packages are left out.
    """
    found = _python_files(folder)
    if _is_too_much(found):
        return _python_files(folder, packages=True), True
    return found, False


def _python_files(folder: Path, *, packages: bool = False) -> dict[str, bytes]:
    """The Python files of ``folder`` and of its folders, or of the ``packages`` in it, by their
    path; links are left out, and reading ends where there are too many.
    """
    found: list[Path] = []
    waiting, looked_at = [(folder, 0)], 0
    while waiting and looked_at + len(found) <= 10 * FILES:
        looked_at += 1
        place, depth = waiting.pop(0)
        try:
            with os.scandir(place) as scan:
                entries = sorted(islice(scan, ENTRIES), key=lambda entry: entry.name)
            for entry in entries:
                path = Path(entry.path)
                if entry.is_file(follow_symlinks=False) and entry.name.endswith(".py"):
                    found.append(path)
                elif packages and not _is_file(path / "__init__.py"):
                    continue
                elif depth < DEPTH and _may_have_modules(entry):
                    waiting.append((path, depth + 1))
        except OSError:
            continue
    read, left = dict[str, bytes](), BYTES
    for path in sorted(found):
        content = read[path.relative_to(folder).as_posix()] = _read(path)
        left -= len(content)
        if left < 0:
            break
    return read


def _may_have_modules(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder that can be imported from; a whole drive is nobody's work."""
    named = entry.name.isidentifier() and not is_debris(entry.name)
    return named and entry.is_dir(follow_symlinks=False) and not os.path.ismount(entry.path)


def _under_its_name(folder: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The ``files`` once more as they are called from above their ``folder``, if one of them is
    imported so, as in ``from lab.layers import Block``.
    """
    name = folder.name if folder.name.isidentifier() else "$"  # Which no code can import.
    imports = re.compile(rf"^\s*(?:from|import)\s+{re.escape(name)}\b".encode(), re.MULTILINE)
    if not any(map(imports.search, files.values())):
        return {}
    return {f"{name}/{file}": content for file, content in files.items()}


def _alike(folder: Path, file: str, also: Mapping[str, bytes]) -> list[str]:
    """The files that may be meant as ``file``: of the modules ``also`` those that define its names,
    and what in ``folder`` has its name in its own, as a copy or a notebook of it.
    """
    stem = Path(file).stem.replace("_", "[_ -]")
    named = re.compile(rf"(?!test_)(?:.*[\W_])?{stem}\d*(?:[\W_].*)?\.(?:py|ipynb|txt|pyc|bak)$")
    found = [name for name, content in also.items() if _defines(content, file)]
    for place, folders, names in os.walk(folder):
        where = Path(place).relative_to(folder)
        near = [each for each in sorted(folders) if not is_debris(each)]
        folders[:] = near[:20] if len(where.parts) < NEAR else []
        there = (f"{where / name}" for name in sorted(names)[:FILES] if named.match(name.lower()))
        found += [each for each in there if each != file]
    return [*dict.fromkeys(map(shown, found))]


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
    def begun(self) -> frozenset[str]:
        """The files of its exercises that are more than a stub."""
        if self.notebook is not None:
            return self.notebook.begun
        return frozenset(file for file, path in self.files.items() if _is_begun(path, file))

    @property
    def rank(self) -> tuple[int, int, bool]:
        """The highest counts; of several the one that is found first, which is less deep."""
        count = len(self.files) if self.notebook is None else len(self.notebook.modules)
        return len(self.begun), count, self.notebook is None

    def read(self) -> HandedIn:
        """What counts of this place alone."""
        if self.notebook is not None:
            return _of_notebook(self, beside(self.folder))
        also, too_many = _modules(self.folder)
        said = f"{_many(self)}: folders without an __init__.py were not taken along."
        return _of_files(replace(self, notes=(*self.notes, *[said][:too_many])), also)


@dataclass
class _Search:
    """What was found so far. The ``first`` of the places are as deep as the first that is begun.
    ``problems`` are sentences on what was not taken, ``unopened`` notebooks and archives of which
    there are too many or which lie too deep, ``nothing`` are sentences on what has no exercise;
    ``misnamed`` what may be meant as one, which one of the ``others`` may be for what it defines.
    """

    places: list[_Place] = field(default_factory=list)
    first: int | None = None
    archives: list[tuple[Path, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unopened: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    others: list[tuple[Path, str]] = field(default_factory=list)
    entries: int = 0
    notebooks: int = 0

    @property
    def begun(self) -> frozenset[str]:
        """The exercises' files that are more than a stub, wherever."""
        return frozenset[str]().union(*(place.begun for place in self.places))

    @property
    def is_over(self) -> bool:
        if self.begun and self.first is None:
            self.first = len(self.places)
        return self.begun == kit.load().files.keys() or self.entries > ENTRIES


def _look_through(folder: Path, stack: ExitStack) -> _Search:
    """The places with exercises in ``folder`` down to where all are begun; archives are opened
    where they are not.
    """
    search = _Search()
    _look_below(folder, "", search)
    for _ in range(2):  # An archive in an archive is opened, and no further one.
        if search.is_over:
            break
        inside, search.archives = search.archives, []
        search.unopened += [said for _, said in inside[ARCHIVES:]]
        for archive, said in inside[:ARCHIVES]:
            try:
                _look_below(_unpacked(archive, stack), said, search)
            except SourceError as error:
                search.problems.append(str(error))
    if not search.is_over:
        search.unopened += [said for _, said in search.archives]
    if search.unopened:
        said = ", ".join(search.unopened[:NOTEBOOKS])
        search.problems.append(
            f"Not looked at: {said}, since there are too many notebooks or archives, or one lies "
            "too deep in others. Hand in those with exercises alone, in one folder."
        )
    if search.entries > ENTRIES:
        search.problems.append(f"There are more than {ENTRIES:,} files: some were not looked at.")
    return search


def _look_below(folder: Path, said: str, search: _Search) -> None:
    level = [(folder, said)]
    for _ in range(DEPTH):
        level = [below for each in level for below in _look_into(*each, search)]
        if search.is_over:
            return
    if level:
        search.problems.append(f"What lies more than {DEPTH} folders deep was not looked at.")


def _look_into(folder: Path, said: str, search: _Search) -> list[tuple[Path, str]]:
    """Add what is in a folder itself; its folders and what they are called."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(islice(scan, ENTRIES + 1), key=lambda entry: entry.name)
    except OSError as error:
        search.problems.append(f"{said or shown(folder)} cannot be read ({error.strerror}).")
        return []
    search.entries += len(entries)
    if any(entry.name in ("pyvenv.cfg", "conda-meta") for entry in entries):
        entries = [entry for entry in entries if entry.name.lower() not in ENVIRONMENT]
    folders: list[tuple[Path, str]] = []
    files: dict[str, list[Path]] = {}
    for entry in entries:
        path, name = Path(entry.path), entry.name.lower()
        inside = f"{said}/{shown(path)}" if said else shown(path)
        if (unread := _unread(path)) and entry.is_file(follow_symlinks=False):
            search.problems.append(unread)
        elif is_debris(entry.name):
            if is_hidden(entry.name):
                search.misnamed.append(inside)
        elif entry.is_symlink():
            if exercise_file(name) or is_notebook(name):
                search.problems.append(f"{inside} is a link: hand in the file itself.")
        elif entry.is_dir():
            folders.append((path, inside))
        elif not entry.is_file():
            continue
        elif exercise_file(name) and not _is_file(path):
            search.problems.append(f"{inside} may not be read: it lacks the permission.")
        elif file := exercise_file(name):
            files.setdefault(file, []).append(path)
        elif is_notebook(name):
            _look_at_notebook(path, inside, search)
        elif is_archive(path):
            search.archives.append((path, inside))
        elif NEARLY.search(name):
            search.misnamed.append(inside)
        elif name.endswith(".py"):
            search.others.append((path, inside))
    if files:
        search.places.append(_place_of(folder, said, files))
    return folders


def _place_of(folder: Path, said: str, files: Mapping[str, list[Path]]) -> _Place:
    """A folder of exercises; of several files for one, that which is begun counts, and of those the
    newest by the number in its name, that with the right name, or the last.
    """
    chosen, notes = {}, []
    for file, paths in files.items():
        chosen[file] = max(reversed(paths), key=partial(_worth, file))
        notes += [
            f"{shown(path)} was not graded: {shown(chosen[file])} counts."
            for path in paths
            if path != chosen[file]
        ]
    return _Place(said or TOP, folder, chosen, notes=tuple(notes))


def _worth(file: str, path: Path) -> tuple[bool, int, bool]:
    again = re.match(rf"{_stem(file)} ?\((\d{{1,4}})\)", path.name, re.IGNORECASE)
    return _is_begun(path, file), int(again[1]) if again else 0, path.name == file


def _is_begun(path: Path, file: str) -> bool:
    """Whether what is in ``path`` is more than the stub of ``file``."""
    return _defines(_read(path), file)


def _defines(content: bytes, file: str) -> bool:
    return begun(content.decode("utf-8", "replace"), kit.load().files[file].names)


def _look_at_notebook(path: Path, said: str, search: _Search) -> None:
    search.notebooks += 1
    if search.notebooks > NOTEBOOKS:
        search.unopened.append(said)
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


def _best(path: Path, search: _Search) -> HandedIn:
    """The place that counts, and what is said of the others."""
    if not search.places:
        if sentences := [*search.problems, *search.nothing]:
            raise SourceError(sentences[0])
        raise _none_in(path, [*search.misnamed, *_defining(search, kit.load().files)])
    best = max(search.places[: search.first], key=lambda place: place.rank)
    begun = [place for place in search.places if place.begun]
    chosen = _chosen(best, begun)
    counting = [place for place in begun if place in chosen.values()] or [best]
    counting.sort(key=lambda place: place != best)
    others = [place.said for place in begun if place not in counting]
    said, where = search.problems[:NOTEBOOKS], ", ".join(place.said for place in counting)
    if others:
        said.append(
            f"Not graded: {', '.join(others[:NOTEBOOKS])}. The exercises in {where} count; to "
            "have others graded, hand them in alone, or move their code there."
        )
    elif len(counting) > 1:
        said.append(f"The exercises in {where} count together.")
        for place in counting:
            lost = [file for file in sorted(place.begun) if chosen[file] != place]
            if lost:
                instead = " and ".join(dict.fromkeys(chosen[file].said for file in lost))
                said.append(f"Not graded in {place.said}: {', '.join(lost)}; {instead} counts.")
    found = _joined(chosen, counting) if len(counting) > 1 else counting[0].read()
    stubs = [file for file in found.files if file in kit.load().files and _is_stub(found, file)]
    named = [each for each in search.misnamed if _is_named(each, stubs)]
    if meant := [*named, *_defining(search, stubs)]:
        said.append(_not_looked_at(meant))
    return replace(
        found,
        notes=(*found.notes, *said),
        left=(*(note for place in counting for note in place.notes), *said),
        places={place.said: place.begun for place in begun},
        unread=() if search.begun == kit.load().files.keys() else (*search.problems,),
    )


def _defining(search: _Search, files: Collection[str]) -> list[str]:
    """The Python files under other names that define what is asked for in one of ``files``."""
    texts = ((said, _read(path)) for path, said in search.others[:NOTEBOOKS])
    return [said for said, text in texts if any(_defines(text, file) for file in files)]


def _is_named(said: str, files: Collection[str]) -> bool:
    """Whether the name of what is ``said`` has that of one of ``files`` in it; tests have, too."""
    name = said.rpartition("/")[2].lower()
    return not name.startswith("test_") and any(re.search(_stem(file), name) for file in files)


def _is_stub(found: HandedIn, file: str) -> bool:
    return is_stub(found.files[file].decode("utf-8", "replace"), kit.load().files[file].names)


def _chosen(best: _Place, begun: Sequence[_Place]) -> dict[str, _Place]:
    """Where each file counts that is begun: in the ``best`` place, or the last of those that are
    called the same but for a number, such as ``Version 2``; and in those places that alone have it.
    """
    often = Counter(file for place in begun for file in place.begun)
    series = [each for each in begun if _unnumbered(each.said) == _unnumbered(best.said)]
    series.sort(key=lambda place: [int(number) for number in NUMBERS.findall(place.said)])
    chosen = {file: place for place in series for file in place.begun}
    for place in begun:
        if all(often[file] == 1 for file in place.begun):
            chosen |= dict.fromkeys(place.begun, place)
    return chosen


def _unnumbered(said: str) -> list[str]:
    """The name of a place without its numbers, and without what sets them apart."""
    parts = (part.strip(" ()_-.") for part in NUMBERS.split(said))
    return [part for part in parts if part]


def _joined(chosen: Mapping[str, _Place], places: Sequence[_Place]) -> HandedIn:
    """The chosen file of each place, and the modules beside them."""
    read = {id(place): place.read() for place in places}
    files: dict[str, bytes] = {}
    for each in reversed(read.values()):
        files |= {name: each.files[name] for name in each.files if name not in kit.load().files}
    files |= {file: read[id(place)].files[file] for file, place in chosen.items()}
    if _is_too_much(files):
        raise _too_much(places[0])
    exercises = {file: e.id for file, e in kit.load().files.items() if file in chosen}
    return HandedIn(
        files,
        digest(files),
        {name: read[id(chosen[file])].originals[name] for file, name in exercises.items()},
        {
            file: [name for each in read.values() for name in each.alike.get(file, ())]
            for file in kit.load().files.keys() - chosen.keys()
        },
        tuple(dict.fromkeys(note for each in read.values() for note in each.notes)),
    )


def _of_notebook(place: _Place, also: Mapping[str, bytes]) -> HandedIn:
    """The files that the notebook makes, and modules that are no exercises ``also``."""
    made = place.notebook
    assert made is not None
    assert place.file is not None
    exercises = kit.load().files
    files = {name: content for name, content in also.items() if name not in exercises}
    for name, module in made.modules.items():
        files[name] = module.text.encode(errors="backslashreplace")
    originals = {e.id: place.file for file, e in exercises.items() if file in made.modules}
    if not originals:
        raise _none_in(place.file)
    if _is_too_much(files):
        raise _too_much(place)
    return HandedIn(files, digest(files), originals, {}, (*made.notes, *place.notes), made)


def _of_files(place: _Place, also: Mapping[str, bytes], *, alone: bool = False) -> HandedIn:
    """The exercises of ``place`` under the names asked for, which count ``alone`` or with the
    modules that are there ``also``.
    """
    own = {file: _read(path) for file, path in place.files.items()}
    files = {**also, **own}
    again = _under_its_name(place.folder, files)
    files = {**again, **files}
    if _is_too_much(files):
        raise _too_much(place)
    asked = kit.load().files
    said = [
        f"{shown(path)} was taken for {file}: that is the name to hand in."
        for file, path in place.files.items()
        if path.name.strip() != file
    ]
    return HandedIn(
        files,
        digest(own if alone else files),
        {e.id: place.files[file] for file, e in asked.items() if file in own},
        {} if alone else {f: _alike(place.folder, f, also) for f in asked if f not in own},
        (*said, *place.notes),
        folder=place.folder
        if not again and all(path.name == file for file, path in place.files.items())
        else None,
    )


def _read_notebook(path: Path) -> Notebook:
    if path.is_symlink():
        raise _link(path)
    try:
        if path.stat().st_size > NOTEBOOK:
            raise SourceError(
                f"{shown(path)} has more than {NOTEBOOK >> 20} MB: clear its outputs and save it."
            )
        return notebook.read(path)
    except OSError as error:
        raise SourceError(f"{shown(path)} cannot be read ({error.strerror}).") from error


def _unpacked(path: Path, stack: ExitStack) -> Path:
    folder = Path(stack.enter_context(scratch.folder()))
    unpack(path, folder, lambda name: NEARLY.search(name) or _unread(Path(name)))
    return folder


def _refusal(path: Path) -> SourceError:
    """Why ``path``, no folder, archive or notebook, is no exercise's file."""
    if os.path.islink(path):
        return _link(path)
    if not os.path.exists(path):
        return SourceError(f"There is no file or folder {path}.")
    if not path.is_file():
        return SourceError(f"{shown(path)} can't be handed in: it is a pipe or a device.")
    if unread := _unread(path):
        return SourceError(unread)
    if exercise_file(path.name):
        return SourceError(f"{shown(path)} may not be read: it lacks the permission.")
    files = ", ".join(kit.load().files)
    return SourceError(f"{shown(path)} is not an exercise; their files are {files}.")


def _none_in(path: Path, misnamed: Sequence[str] = ()) -> SourceError:
    files = ", ".join(kit.load().files)
    but = f" {_not_looked_at(misnamed)}" if misnamed else ""
    return SourceError(f"{shown(path)} has none of the exercises: {files}.{but}")


def _not_looked_at(names: Sequence[str]) -> str:
    said = ", ".join(names[:NOTEBOOKS])
    return f"Not looked at, for its name: {said}. Hand in each exercise under the name of its file."


def _is_too_much(files: Mapping[str, bytes]) -> bool:
    return len(files) > FILES or sum(map(len, files.values())) > BYTES


def _too_much(place: _Place) -> SourceError:
    return SourceError(f"{_many(place)}: take out what does not belong to the exercises.")


def _many(place: _Place) -> str:
    most = f"more than {FILES} Python files, or more than {BYTES >> 20} MB of them"
    return f"There are {most}, in {place.said}"


def _link(path: Path) -> SourceError:
    return SourceError(f"{shown(path)} is a link: hand in the file itself.")


def _unread(path: Path) -> str:
    """Why a file that is called so is not read; empty for others."""
    if path.name.lower().endswith(UNREAD) and not is_archive(path):
        return f"{shown(path)} is an archive that is not read: hand in a zip."
    if path.name.lower().endswith(UNFINISHED):
        return f"{shown(path)} was not downloaded to its end: hand in the whole file."
    return ""


def _asked() -> str:
    return ", ".join(name for exercise in kit.load().exercises for name in exercise.names)


# Files


def digest(files: Mapping[str, bytes]) -> str:
    """Names and contents count."""
    whole = hashlib.sha256()
    for name in sorted(files, key=lambda name: name.split("/")):
        content = hashlib.sha256(files[name]).hexdigest()
        whole.update(f"{name}\0{content}\0".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _is_file(path: Path) -> bool:
    """Whether ``path`` is a plain file, which a link is not, and may be read."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)
    except OSError:
        return False


def _read(path: Path) -> bytes:
    """What is in ``path`` itself, not in what it is a link to; nothing if that can't be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            return file.read(BYTES + 1)
    except OSError:
        return b""


COPY = "copy|kopie|copie|copia|cópia|kopia|kopio|копия|副本|コピー|복사본"
"""What systems call a copy."""


def _stem(file: str) -> str:
    return re.sub("[_ -]", "[_ -]?", file.removesuffix(".py"))


def _spellings(stems: str, ending: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:(?:{COPY}) (?:(?:of|von|van|de|di) )?)?({stems})"
        rf"(?:(?: [-—] |[ _-]|の)?(?:{COPY})(?: \d{{1,4}})?|[ _-]?\(\d{{1,4}}\)|-\d{{1,4}})*"
        rf" ?{ending}",
        re.IGNORECASE,
    )


BEFORE = re.compile(r"^(?:.* - |\d{6,}[_-])")
"""What systems put before the name of a file."""

STEMS = "|".join(map(_stem, (*kit.load().files, "mnist_lab")))
"""The names of what is handed in, without their endings."""

SPELLINGS = _spellings("|".join(map(_stem, kit.load().files)), r"(?:\.py)+(?:\.txt)?")
NOTEBOOK_SPELLINGS = _spellings("mnist_lab", r"\.ipynb")

NEARLY = re.compile("|".join(map(_stem, kit.load().files)))
"""What the name of a file may have in it that is meant as an exercise's."""
