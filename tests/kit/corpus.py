"""The submissions on which the grading is tested, as ``submissions/manifest.toml`` lists them.

Right ones deserve full marks; wrong ones must not pass the checks that they name.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["SUBMISSIONS", "Variant", "load", "materialise"]

SUBMISSIONS = Path(__file__).parent / "submissions"
SOLUTIONS = Path(__file__).parents[2] / "solutions"


@dataclass(frozen=True)
class Variant:
    """A submission: ``solutions/`` with ``files`` replaced, or added if they are the learner's own.

    ``fails`` are the ids of the checks that must not pass, ``"cnn.*"`` for all of an exercise;
    none if the variant is right. ``hostile`` code (it hangs, exits, ...) is for a worker only.
    """

    name: str
    right: bool
    description: str
    files: tuple[str, ...]
    fails: tuple[str, ...] = ()
    hostile: bool = False

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return SUBMISSIONS / ("right" if self.right else "wrong") / self.name

    @property
    def exercises(self) -> tuple[str, ...]:
        """The ids of the exercises that it does not take from ``solutions/``."""
        return tuple(Path(file).stem for file in self.files if (SOLUTIONS / file).exists())

    def must_fail(self, check: str) -> bool:
        """Whether the check with this id must not pass."""
        return any(fnmatchcase(check, pattern) for pattern in self.fails)


def load() -> tuple[Variant, ...]:
    """All variants in the manifest's order, the right ones first."""
    manifest = tomllib.loads((SUBMISSIONS / "manifest.toml").read_text(encoding="utf-8"))
    return tuple(
        Variant(
            name,
            side == "right",
            entry["description"],
            tuple(entry["files"]),
            tuple(entry.get("fails", ())),
            entry.get("hostile", False),
        )
        for side in ("right", "wrong")
        for name, entry in manifest[side].items()
    )


def materialise(variant: Variant, folder: Path, solutions: Path = SOLUTIONS) -> Path:
    """Make ``folder`` (which must not exist) the whole submission and return it."""
    shutil.copytree(solutions, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in variant.files:
        shutil.copyfile(variant.folder / file, folder / file)
    return folder
