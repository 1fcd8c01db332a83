"""Where a learner's exercises are: a folder, or one exercise's file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mnist_lab import kit

__all__ = ["SourceError", "digest", "find"]


class SourceError(Exception):
    """There is nothing to grade at a path; the message says what belongs there."""


def find(path: str | Path) -> dict[str, Path]:
    """The file of each exercise that is at ``path``, by the exercise's id, in the kit's order.

    A folder gives those of its files that are called as the kit calls them; a file must have one
    of those names. Raises ``SourceError`` where there is none.
    """
    path = Path(path)
    names = {exercise.file: exercise.id for exercise in kit.load().exercises}
    if path.is_dir():
        found = {names[file]: path / file for file in names if (path / file).is_file()}
        if not found:
            raise SourceError(f"{path} has none of the exercises: {', '.join(names)}.")
        return found
    if not path.is_file():
        raise SourceError(f"There is no file or folder {path}.")
    if path.name not in names:
        raise SourceError(f"{path.name} is not an exercise; their files are {', '.join(names)}.")
    return {names[path.name]: path}


def digest(path: str | Path) -> str:
    """The SHA-256 of what is handed in at ``path``: one file, or all Python files of the folder.

    Names and contents count. Raises ``SourceError`` as ``find`` does.
    """
    found = find(path)
    files = sorted(Path(path).glob("*.py")) if Path(path).is_dir() else list(found.values())
    whole = hashlib.sha256()
    for file in files:
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.name}\0{content}\0".encode())
    return whole.hexdigest()
