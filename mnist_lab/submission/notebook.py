"""A notebook as the files that a learner would else hand in, one an exercise.

The code of an exercise is what defines its names, and the imports, constants and helpers that this
needs. Saved outputs are not looked at, and no code is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mnist_lab import kit
from mnist_lab.grade import Cause
from mnist_lab.submission.definitions import MOST, Statement, needed, statements
from mnist_lab.submission.definitions import begun as is_begun
from mnist_lab.submission.magics import python, written_file
from mnist_lab.submission.refused import SourceError, refuse_disguised, shown

SUFFIX = ".ipynb"

CELLS, CODE = 2000, 1 << 20
"""How many cells a notebook may have, and how many characters of code."""

HISTORY = "mnist-lab-history"
"""The entry of a notebook's metadata that marks the cells as what was run, in that order."""

IS_MODULE = re.compile(r"^class \w+\(.*\bModule\b", re.MULTILINE)
"""A class of networks, which may be one that is asked for under another name."""

WORDS = {2: "twice", 3: "three times"}


@dataclass(frozen=True)
class Cell:
    """A cell of code; ``place`` is what a learner calls it, ``cell 12 (In [7])``. ``written`` is
    what a ``%%writefile`` cell has, as ``magics.written_file`` gives it.
    """

    place: str
    source: str
    tags: frozenset[str]
    written: tuple[str, bool, str] | None = None


@dataclass(frozen=True)
class Module:
    """The file of an exercise: its text, and where in the notebook each of its lines stands."""

    text: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Notebook:
    """What a notebook defines: a file for each exercise of which it has something.

    ``modules`` are by the name of the file; those that a cell writes with ``%%writefile`` are among
    them. ``notes`` are sentences that a learner should know. ``begun`` has the files of which a
    name that is asked for is more than a stub. ``code`` is the JSON of the same notebook with
    nothing but its code. ``others`` is the text of the classes and functions that it
    defines besides.
    """

    name: str
    modules: Mapping[str, Module]
    notes: tuple[str, ...]
    begun: frozenset[str]
    code: str
    others: str = ""

    def placed(self, cause: Cause) -> Cause:
        """``cause`` in terms of the notebook's cells, not of the files that were made of them."""
        return replace(
            cause,
            message=self._in_cells(cause.message),
            evidence=self._in_cells(cause.evidence),
            hint=self._in_cells(cause.hint),
            where=self.name if cause.where in kit.load().files else self._in_cells(cause.where),
            traceback=self._in_cells(cause.traceback),
        )

    def _in_cells(self, text: str) -> str:
        for file, module in self.modules.items():
            name = re.escape(file)
            line = rf'(?:File "{name}", line |\b{name}:)(\d{{1,7}})'
            text = re.sub(line, lambda found, module=module: _place(module, found), text)  # type: ignore[misc]
            text = re.sub(rf"\bImporting {name}", f"Running the cells of {Path(file).stem}", text)
            text = re.sub(rf"(?:^|(?<=\. )){name}\b", "The notebook", text)
            text = re.sub(rf"\b{name}\b", "the notebook", text)
        return text


def read(path: Path) -> Notebook:
    """What the notebook at ``path`` defines. Raises ``SourceError``, and ``OSError``."""
    name = shown(path)
    content = _content(name, path.read_bytes())
    code = _code(name, content)
    cells = list(_cells(code))
    found = [each for at, cell in enumerate(cells) for each in statements(at, cell.source)]
    if len(found) > MOST:
        raise _too_much(name)
    made = _notebook(name, cells, found, code)
    about = _mapping(content.get("metadata"))
    said = _mapping(about.get("language_info")).get("name")
    language = _text(said or _mapping(about.get("kernelspec")).get("language"))
    if not made.modules and language.lower() not in ("", "python"):
        raise SourceError(f"{name} is a notebook in {shown(language[:40])}: hand in one in Python.")
    return made


def of_history(sources: Sequence[tuple[int, str]]) -> str:
    """The JSON of a notebook of what was run: numbers of ``In`` and sources, in order."""
    cells = [_code_cell(source, number) for number, source in sources]
    return json.dumps(_document(cells, is_history=True))


def _code_cell(source: str, count: int | None, tags: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": {"tags": tags},
        "outputs": [],
        "source": source,
    }


def _document(cells: list[dict[str, Any]], *, is_history: bool) -> dict[str, Any]:
    metadata = {HISTORY: True} if is_history else {}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def _content(name: str, data: bytes) -> dict[str, Any]:
    """The notebook's JSON."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        refuse_disguised(name, data)
        reason = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise SourceError(
            f"{name} is damaged: it is not JSON{reason}. Jupyter cannot open it either. Take the "
            "last copy that opens, which may be in .ipynb_checkpoints, and hand that in."
        ) from error
    version = content.get("nbformat") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise SourceError(f"{name} is JSON, but not a notebook: it has no nbformat.")
    if version != 4:
        raise SourceError(
            f"{name} has the notebook format {version}, and this kit reads 4: open it in Jupyter, "
            "save it and hand it in again."
        )
    return content


def _code(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook without what is no code. A cell without a text has no code."""
    given = content.get("cells")
    if not isinstance(given, list):
        raise SourceError(f"{name} is JSON, but not a notebook: it has no cells.")
    cells: list[dict[str, Any]] = []
    for entries in map(_mapping, given):
        source, count, tags = _text(entries.get("source")), entries.get("execution_count"), []
        if entries.get("cell_type") != "code":
            cells.append({"cell_type": "markdown", "metadata": {}, "source": ""})
            continue
        known = _mapping(entries.get("metadata")).get("tags")
        if isinstance(known, list):
            tags = [tag for tag in known if isinstance(tag, str)]
        if not isinstance(count, int) or not 0 < count < 1_000_000:
            count = None
        cells.append(_code_cell(source, count, tags))
    if len(cells) > CELLS or sum(len(cell["source"]) for cell in cells) > CODE:
        raise _too_much(name)
    return _document(cells, is_history=HISTORY in _mapping(content.get("metadata")))


def _text(source: Any) -> str:
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def _too_much(name: str) -> SourceError:
    return SourceError(
        f"{name} has more code than can be handed in: at most {CELLS:,} cells, {MOST:,} statements "
        f"and {CODE >> 20} MB. Take out what does not belong to the exercises."
    )


def _cells(code: Mapping[str, Any]) -> Iterator[Cell]:
    for number, cell in enumerate(code["cells"], start=1):
        if cell["cell_type"] != "code":
            continue
        count = cell["execution_count"]
        run = f"In [{count}]" if count else ""
        place = f"cell {number} ({run})" if run else f"cell {number}"
        yield Cell(
            run if HISTORY in code["metadata"] and run else place,
            python(cell["source"]),
            frozenset(cell["metadata"]["tags"]),
            written_file(cell["source"]),
        )


def _notebook(
    name: str, cells: Sequence[Cell], found: Sequence[Statement], code: Mapping[str, Any]
) -> Notebook:
    is_history = HISTORY in code["metadata"]
    if is_history:
        found = [statement for statement in found if not statement.is_broken]  # It was not run.
    exercises = kit.load().exercises
    chosen: dict[str, Statement] = {}
    notes: list[str] = []
    for exercise in exercises:
        for asked in exercise.names:
            defining = [statement for statement in found if asked in statement.binds]
            if not defining:
                continue
            if is_history:
                chosen[asked] = defining[-1]
                continue
            chosen[asked] = _best(defining)
            notes += _said_of_several(asked, defining, chosen[asked], cells)
    counted = set(map(id, chosen.values()))
    others = [s for s in found if s.is_definition and s.rank == 3 and id(s) not in counted]

    def module(own: Sequence[Statement]) -> Module:
        taken = sorted(needed(own, chosen, found), key=lambda s: not s.is_future)
        return _module((cells[s.cell].place, s.first, s.text) for s in taken)

    modules = {}
    begun = set()
    written = dict(_written(cells))
    for exercise in exercises:
        own = [chosen[asked] for asked in exercise.names if asked in chosen]
        begun_in = [statement.cell for statement in own if statement.rank > 1]
        file = written.get(exercise.file)
        if file and (file.begun or not begun_in) and max(begun_in, default=-1) <= file.cell:
            begun |= {exercise.file} if file.begun else set()
            continue
        written.pop(exercise.file, None)
        if len(own) < len(exercise.names):  # It may be in cells that are no Python, or misnamed.
            own += [s for s in found if s.is_broken and exercise.id in cells[s.cell].tags]
            is_a_class = exercise.names[0][0].isupper()
            own += [s for s in others if is_a_class and IS_MODULE.search(s.text)]
        if own:
            modules[exercise.file] = module(own)
            begun |= {exercise.file} if begun_in else set()
    if not modules and not written:
        modules = {
            exercise.file: module(inside)
            for exercise in exercises
            if (inside := [s for s in others if _is_inside(s, exercise.names)])
        }
    return Notebook(
        "the notebook" if is_history else name,
        {**{file: each.module for file, each in written.items()}, **modules},
        tuple(notes),
        frozenset(begun),
        json.dumps(code),
        "\n".join(statement.text for statement in others),
    )


@dataclass(frozen=True)
class _Written:
    """A file of ``%%writefile``, the last cell that writes to it, and whether it is no stub."""

    module: Module
    cell: int
    begun: bool


def _written(cells: Sequence[Cell]) -> Iterator[tuple[str, _Written]]:
    """The Python files that cells write, by name, as they are when all cells have been run."""
    exercises = kit.load().files
    texts: dict[str, list[tuple[int, str]]] = {}
    for at, cell in enumerate(cells):
        if cell.written is None:
            continue
        path, adds, text = cell.written
        file = PurePosixPath(path.replace("\\", "/")).name
        if re.fullmatch(r"[^\W\d]\w{0,60}\.py", file):
            texts[file] = [*(texts.get(file, []) if adds else []), (at, text)]
    for file, parts in texts.items():
        module = _module((cells[at].place, 1, text) for at, text in parts)
        begun = file in exercises and is_begun(module.text, exercises[file].names)
        yield file, _Written(module, parts[-1][0], begun)


def _best(defining: Sequence[Statement]) -> Statement:
    """The one of several definitions that counts: the last, as when the notebook is run, that is
    no stub. What is made of a variable is no better than that.
    """
    ranks: list[int] = []
    for statement in defining:
        is_whole = statement.is_definition or statement.is_broken or 3 in ranks[-1:]
        ranks.append(statement.rank if is_whole else min(statement.rank, 2))
    return defining[max(range(len(defining)), key=lambda at: (ranks[at], at))]


def _said_of_several(
    name: str, defining: Sequence[Statement], counts: Statement, cells: Sequence[Cell]
) -> Iterator[str]:
    real = [statement for statement in defining if statement.rank]
    if len(real) < 2 or name in counts.use.now:  # It is made of the one before.
        return
    places = [cells[statement.cell].place for statement in real]
    times = WORDS.get(len(real), f"{len(real)} times")
    where = f"in {_listed(list(dict.fromkeys(places)))}"
    place = cells[counts.cell].place
    which = f"that in {place}" if places.count(place) == 1 else f"that in line {counts.first}"
    which = "the last" if counts is real[-1] else which
    yield f"{name} is defined {times}, {where}: {which} counts."


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _is_inside(statement: Statement, names: Sequence[str]) -> bool:
    """Whether it defines one of ``names`` within a class or function, where it cannot be found."""
    pattern = rf"^[ \t]+(?:class|(?:async )?def) +(?:{'|'.join(names)})\b"
    return re.search(pattern, statement.text, re.MULTILINE) is not None


def _module(parts: Iterable[tuple[str, int, str]]) -> Module:
    """The file that texts make together, each with its cell and its first line there."""
    lines, places = [], []
    for cell, first, text in parts:
        for number, line in enumerate(text.split("\n"), start=first):
            lines.append(line)
            places.append(f"{cell}, line {number}")
    return Module("\n".join(lines) + "\n", tuple(places))


def _place(module: Module, found: re.Match[str]) -> str:
    line = int(found[1])
    return module.places[line - 1] if 0 < line <= len(module.places) else found[0]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
