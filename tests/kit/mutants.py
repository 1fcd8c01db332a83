"""Wrong submissions made by small edits of right ones, as ``mutants/*.toml`` lists them.

Each file has three tables. ``mutant``: one mistake. ``pair``: two mutants of one base at once.
``unknown``: a mistake that is in no bank and must be rejected without a name.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from corpus import edited, original

__all__ = ["Mutant", "load", "materialise"]

FOLDER = Path(__file__).parent / "mutants"


@dataclass(frozen=True)
class Mutant:
    """``edits`` (old, new) of ``file`` in ``base``, which is ``solutions`` or a right variant.

    Every old text occurs once in the file. ``check`` is the first that must fail, with ``fault``
    as the mistake's id: ``a+b`` for two, in any order; empty for an unknown one, whose message has
    to contain ``says``.
    """

    name: str
    base: str
    file: str
    edits: tuple[tuple[str, str], ...]
    check: str
    fault: str
    says: str = ""

    @property
    def exercise(self) -> str:
        return Path(self.file).stem


def load() -> tuple[Mutant, ...]:
    """All of them: those with one mistake, the pairs, the unknown ones of each file in turn."""
    return tuple(mutant for path in sorted(FOLDER.glob("*.toml")) for mutant in _read(path))


def materialise(mutant: Mutant, folder: Path) -> Path:
    """Write the mutated file into ``folder``, beside the base's other files, and return it."""
    folder.mkdir()
    for path in original(mutant.base).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name == mutant.file:
            text = edited(text, mutant.edits, mutant.name)
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder


def _read(path: Path) -> list[Mutant]:
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    singles = {entry["name"]: _mutant(entry) for entry in tables.get("mutant", [])}
    unknown = [_mutant(entry) for entry in tables.get("unknown", [])]
    pairs = [
        _together(singles[first], singles[second], checks.get("check"))
        for checks in tables.get("pair", [])
        for first, second in [checks["of"]]
    ]
    return [*singles.values(), *pairs, *unknown]


def _mutant(entry: dict) -> Mutant:
    return Mutant(
        entry["name"],
        entry.get("base", "solutions"),
        entry["file"],
        tuple((old, new) for old, new in entry["edits"]),
        entry["check"],
        entry.get("fault", ""),
        entry.get("says", ""),
    )


def _together(first: Mutant, second: Mutant, check: str | None) -> Mutant:
    """Both mistakes; the check is the first's unless said."""
    assert (first.base, first.file) == (second.base, second.file)
    return Mutant(
        f"{first.name}+{second.name}",
        first.base,
        first.file,
        first.edits + second.edits,
        check or first.check,
        f"{first.fault}+{second.fault}",
    )
