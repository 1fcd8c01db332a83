"""The list of a course: who should have handed in, and its own file with the marks filled in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_lab.grading.batch.submissions import ClassError, Submission

__all__ = ["Roster"]

SCORE = "Score"
"""The column that is added for the marks where none is named."""


@dataclass(frozen=True)
class Roster:
    """A CSV file as a course's system exports it: ``columns``, a tuple of cells a row, and in which
    column a learner is told (``key``), called by name (``name``) and given the marks (``score``).
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    delimiter: str
    key: str
    name: str
    score: str

    @classmethod
    def read(
        cls,
        path: Path,
        submissions: Iterable[Submission],
        *,
        key: str | None = None,
        name: str | None = None,
        score: str | None = None,
    ) -> Roster:
        """The roster at ``path``. Without a ``key`` it is the column that fits most of the
        ``submissions``, and the ``name`` is in the same one. Raises ``ClassError``.
        """
        try:
            text = _decoded(path.read_bytes())
            delimiter = max(",;\t", key=text.partition("\n")[0].count)
            lines = csv.reader(io.StringIO(text), delimiter=delimiter)
            head, *rows = [tuple(line) for line in lines if any(line)]
        except OSError as error:
            raise ClassError(f"{path} cannot be read ({error.strerror}).") from error
        except (csv.Error, ValueError) as error:
            raise ClassError(f"{path} is no CSV file with a line of column names.") from error
        for column in (key, name, score):
            if column is not None and column not in head:
                raise ClassError(f"{path} has no column {column!r}: it has {', '.join(head)}.")
        known = {word for each in submissions for word in _words(each)}
        fits = {
            column: sum(_plain(_at(row, at)) in known for row in rows)
            for at, column in enumerate(head)
        }
        best = key or max(fits, key=lambda column: fits[column])
        if not fits[best] and known:
            raise ClassError(
                f"In {path} nobody who has handed in is found: name the column that tells them, of "
                f"{', '.join(head)}, with --roster-key."
            )
        return cls(head, tuple(rows), delimiter, best, name or best, score or SCORE)

    def matched(self, submissions: Sequence[Submission]) -> list[Submission | None]:
        """Whose submission each row is; a group's is that of several rows."""
        known = {word: each for each in submissions for word in _words(each)}
        at = self.columns.index(self.key)
        return [known.get(_plain(_at(row, at))) for row in self.rows]

    def missing(self, submissions: Sequence[Submission]) -> list[str]:
        """The names of those who have handed in nothing. A row without a key is nobody's, as
        Canvas' with the points that can be had.
        """
        key, name = self.columns.index(self.key), self.columns.index(self.name)
        return [
            _at(row, name) or _at(row, key)
            for row, submission in zip(self.rows, self.matched(submissions), strict=True)
            if submission is None and _plain(_at(row, key))
        ]

    def filled(self, submissions: Sequence[Submission], scores: Mapping[str, float]) -> str:
        """The file again, all as it was, with the marks by the submission's name in their column:
        0 for who has handed in nothing, none for what could not be judged.
        """
        columns = list(self.columns)
        if self.score not in columns:
            columns.append(self.score)
        key, score = columns.index(self.key), columns.index(self.score)
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow(columns)
        for row, submission in zip(self.rows, self.matched(submissions), strict=True):
            cells = [*row, *[""] * (len(columns) - len(row))]
            if submission is None and _plain(cells[key]):
                cells[score] = "0"
            elif submission is not None:
                cells[score] = f"{scores[submission.name]:g}" if submission.name in scores else ""
            writer.writerow(cells)
        return text.getvalue()


def _words(submission: Submission) -> set[str]:
    return {_plain(word) for word in (submission.name, *submission.ids)} - {""}


def _plain(word: str) -> str:
    """``word`` without what systems leave out: ``Lovelace, Ada`` is Canvas' ``lovelaceada``."""
    return "".join(sign for sign in word.casefold() if sign.isalnum())


def _at(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _decoded(data: bytes) -> str:
    for encoding in (
        "utf-8-sig",
        "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1",
    ):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError("no text")
