"""The one error for what was handed in and cannot be taken, how its files are called, and what they
are under a name that is not theirs.
"""

from __future__ import annotations

from pathlib import Path


class SourceError(Exception):
    """There is nothing to grade at a path; the message says why and what belongs there."""


KINDS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xfd7zX": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zst archive",
    b"%PDF": "a PDF",
    b"<<<<<<<": "an unfinished merge of two versions",
    b"<": "a web page",
}
"""What files are that begin so."""


def refuse_disguised(name: str, content: bytes) -> None:
    """Raise ``SourceError`` for what is empty or of another kind than its name says."""
    if not content:
        raise SourceError(f"{name} is empty: hand it in again.")
    begins = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, kind in KINDS.items():
        if begins.startswith(start):
            raise SourceError(
                f"{name} is {kind}, whatever its name says: hand in the exercises themselves, or a "
                "zip of them."
            )


def shown(name: str | Path) -> str:
    """A name as it can be printed; of a path the last part."""
    text = name.name if isinstance(name, Path) else name
    return "".join(sign if sign.isprintable() else "?" for sign in text)
