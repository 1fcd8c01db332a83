"""Submissions in which something happens before anything is compared: those of ``events.toml``."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from corpus import edited

__all__ = ["Case", "load", "materialise"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A submission of one exercise: ``text`` is its file, in a notebook if ``is_notebook``.

    ``event`` is the entry of ``mistakes/events.toml`` that must be told (or one of several, with
    ``|`` between them), of the ``check`` if that is not the first. ``says`` is in what it says and
    ``hint`` in the hint; ``line`` is in the line of the text that is pointed at. ``file`` is the
    name that the file has if it has the wrong one. ``before`` is the version of Python from which
    on it is none.
    """

    name: str
    exercise: str
    text: str
    event: str
    says: str
    hint: str
    line: str
    check: str
    file: str
    encoding: str
    is_slow: bool
    is_notebook: bool
    before: tuple[int, ...] = ()


def load(file: str = "events.toml") -> tuple[Case, ...]:
    """All of them, and each that can be in a notebook there as well."""
    tables = tomllib.loads((HERE / file).read_text(encoding="utf-8"))
    found = []
    for entry in tables["event"]:
        text = entry.get("code") or tables["base"][entry["of"]]
        text = edited(text.lstrip("\n"), entry.get("edits", []), entry["name"])
        forms = [False]
        if entry.get("notebook", "file" not in entry):
            forms = [False, True]
        found += [_case(entry, text, is_notebook) for is_notebook in forms]
    return tuple(found)


def materialise(case: Case, folder: Path) -> Path:
    """Write the submission into ``folder`` and return its path."""
    folder.mkdir()
    file = folder / (case.file or f"{case.exercise}.py")
    if case.is_notebook:
        file = folder / "lab.ipynb"
        file.write_text(json.dumps(_notebook(case.text)), encoding="utf-8")
        return file
    if case.file:
        other = "fnn" if case.exercise != "fnn" else "cnn"
        (folder / f"{other}.py").write_text("", encoding="utf-8")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(case.text.encode(case.encoding))
    return folder


def _case(entry: dict, text: str, is_notebook: bool) -> Case:
    return Case(
        f"{entry['name']}{'-in-a-notebook' * is_notebook}",
        entry["of"],
        text,
        entry["event"],
        entry["says"],
        entry.get("hint", ""),
        entry.get("line", ""),
        entry.get("check", ""),
        entry.get("file", ""),
        entry.get("bytes", "utf-8"),
        entry.get("slow", False),
        is_notebook,
        tuple(entry.get("before", ())),
    )


def _notebook(text: str) -> dict:
    """Imports in one cell and the rest in another, as far as they can be told apart."""
    head, found, rest = text.partition("\n\n\n")
    cells = [head, rest] if found else [text]
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": number,
                "id": str(number),
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells, start=1)
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
