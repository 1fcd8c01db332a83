"""The submissions on which the grading is tested.

Right ones, as ``submissions/manifest.toml`` lists them, deserve full marks. Wrong ones, the edits
of ``mutants/wrong.toml``, must not pass the checks that they name.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

__all__ = ["SOLUTIONS", "SUBMISSIONS", "Variant", "edited", "load", "materialise", "original"]

SUBMISSIONS = Path(__file__).parent / "submissions"
SOLUTIONS = Path(__file__).parents[2] / "solutions"
WRONG = Path(__file__).parent / "mutants" / "wrong.toml"


@dataclass(frozen=True)
class Variant:
    """A submission: ``solutions/`` with the texts of ``files`` put in, or added if they are the
    learner's own.

    ``fails`` are the ids of the checks that must not pass, ``"cnn.*"`` for all of an exercise;
    none if the variant is right. ``hostile`` code (it hangs, exits, ...) is for a worker only.
    """

    name: str
    right: bool
    description: str
    files: Mapping[str, str]
    fails: tuple[str, ...] = ()
    hostile: bool = False

    @property
    def exercises(self) -> tuple[str, ...]:
        """The ids of the exercises that it does not take from ``solutions/``."""
        return tuple(Path(file).stem for file in self.files if (SOLUTIONS / file).exists())

    def must_fail(self, check: str) -> bool:
        """Whether the check with this id must not pass."""
        return any(fnmatchcase(check, pattern) for pattern in self.fails)


def load() -> tuple[Variant, ...]:
    """All variants in the order of their lists, the right ones first."""
    manifest = tomllib.loads((SUBMISSIONS / "manifest.toml").read_text(encoding="utf-8"))
    right = [
        Variant(name, True, entry["description"], _files(name, entry))
        for name, entry in manifest["right"].items()
    ]
    listed = tomllib.loads(WRONG.read_text(encoding="utf-8"))["wrong"]
    return (*right, *map(_wrong, listed))


def _wrong(entry: Mapping[str, Any]) -> Variant:
    name, hostile = entry["name"], entry.get("hostile", False)
    files, fails = _files(name, entry), tuple(entry["fails"])
    return Variant(name, False, entry["description"], files, fails, hostile)


def _files(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """The ``files`` of a folder of its own; or a ``file`` with ``code``, or with ``edits`` (old,
    new) of that in ``base``, which is ``solutions`` or a right variant.
    """
    if "files" in entry:
        return {file: _text(original(name) / file) for file in entry["files"]}
    file, code = entry["file"], entry.get("code")
    if code is None:
        code = edited(_text(original(entry.get("base", "solutions")) / file), entry["edits"], name)
    return {file: code}


def original(base: str) -> Path:
    """The folder of ``solutions`` or of a right variant."""
    return SOLUTIONS if base == "solutions" else SUBMISSIONS / "right" / base


def edited(text: str, edits: Sequence[Sequence[str]], name: str) -> str:
    """``text`` with every old replaced by its new. Raises ``ValueError`` for an old text that does
    not occur once.
    """
    for old, new in edits:
        if text.count(old) != 1:
            raise ValueError(f"{name}: {old!r} occurs {text.count(old)} times")
        text = text.replace(old, new)
    return text


def materialise(variant: Variant, folder: Path, solutions: Path = SOLUTIONS) -> Path:
    """Make ``folder`` (which must not exist) the whole submission and return it."""
    shutil.copytree(solutions, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in variant.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
