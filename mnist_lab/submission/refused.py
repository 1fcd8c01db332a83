"""The one error for what was handed in and cannot be taken, and how its files are called."""

from __future__ import annotations

from pathlib import Path


class SourceError(Exception):
    """There is nothing to grade at a path; the message says why and what belongs there."""


def shown(name: str | Path) -> str:
    """A name as it can be printed; of a path the last part."""
    text = name.name if isinstance(name, Path) else name
    return "".join(sign if sign.isprintable() else "?" for sign in text)
