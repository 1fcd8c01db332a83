"""The list of a course: who should have handed in, in which groups, and the file with the marks."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_lab.grading.batch.submissions import ClassError, Names, Submission

SCORE = "Score"
"""The column that is added for the marks where none is named."""


@dataclass(frozen=True)
class Roster:
    """A CSV file as a course's system exports it: ``columns``, a tuple of cells a row, and which
    columns have the ``key``, ``name``, ``score`` and ``group`` of a learner.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    delimiter: str
    key: str
    name: str
    score: str
    group: str | None = None

    @classmethod
    def read(
        cls,
        path: Path,
        submissions: Iterable[Submission],
        *,
        key: str | None = None,
        name: str | None = None,
        score: str | None = None,
        group: str | None = None,
    ) -> Roster:
        """The roster at ``path``. Without a ``key`` it is the column that fits most of the
        ``submissions``, and the ``name`` is in the same one. Raises ``ClassError``.
        """
        try:
            text = _decoded(path.read_bytes())
            first = re.sub(r'"[^"]*"', "", text).partition("\n")[0]
            delimiter = max(",;\t", key=first.count)
            lines = csv.reader(io.StringIO(text), delimiter=delimiter)
            head, *rows = [tuple(line) for line in lines if any(line)]
            head += ("",) * (max(map(len, rows), default=0) - len(head))
        except OSError as error:
            raise ClassError(f"{path} cannot be read ({error.strerror}).") from error
        except (csv.Error, ValueError) as error:
            raise ClassError(f"{path} is no CSV file with a line of column names.") from error
        for column in (key, name, score, group):
            if column is not None and column not in head:
                raise ClassError(f"{path} has no column {column!r}: it has {', '.join(head)}.")
        known = {word for each in submissions for word in _words(each)}
        fits = {
            column: sum(_plain(_at(row, at)) in known for row in rows)
            for at, column in reversed([*enumerate(head)])  # of several with one name the first
        }
        told = [column for column in head if column != group]
        best = key or max(told, key=lambda column: fits[column])
        if known and not fits[best] + fits.get(group or "", 0):
            raise ClassError(
                f"In {path} nobody who has handed in is found: name the column that tells them, of "
                f"{', '.join(head)}, with --roster-key."
            )
        return cls(head, tuple(rows), delimiter, best, name or best, score or SCORE, group)

    def column(self, name: str) -> list[str]:
        """The cells of a column, by row."""
        at = self.columns.index(name)
        return [_at(row, at) for row in self.rows]

    def matched(self, submissions: Sequence[Submission]) -> list[Submission | None]:
        """Whose submission each row is."""
        known = {word: each for each in submissions for word in _words(each)}
        return [known.get(_plain(key)) for key in self.column(self.key)]

    def of_members(self, submissions: Sequence[Submission]) -> list[Submission]:
        """The submissions, and for who is in a group and has handed in nothing a copy of the
        group's: what bears its name, or is that of the first of its members who has one.
        """
        if self.group is None:
            return list(submissions)
        own = self.matched(submissions)
        groups = self.column(self.group)
        named = {_plain(each.name): each for each in submissions}
        of_group = {group: named[_plain(group)] for group in groups if _plain(group) in named}
        for group, submission in zip(groups, own, strict=True):
            if group and submission:
                of_group.setdefault(group, submission)
        names = Names(each.slug for each in submissions)
        found = {each.slug: each for each in submissions}
        rows = zip(self.column(self.name), self.column(self.key), groups, own, strict=True)
        for name, key, group, submission in rows:
            if submission:
                found[submission.slug] = replace(submission, group=group or submission.group)
            elif key and group in of_group:
                shown, slug = names.own(name or key)
                shared = of_group[group]
                found[slug] = replace(shared, name=shown, slug=slug, ids=(key,), group=group)
        for group in named.keys() & {_plain(group) for group in groups}:
            found.pop(named[group].slug, None)
        return sorted(found.values(), key=lambda each: each.name)

    def missing(self, submissions: Sequence[Submission]) -> list[str]:
        """The names of those who have handed in nothing. A row without a key is nobody's, as
        Canvas' with the points that can be had.
        """
        rows = zip(
            self.column(self.name), self.column(self.key), self.matched(submissions), strict=True
        )
        return [name or key for name, key, submission in rows if not submission and _plain(key)]

    def filled(self, submissions: Sequence[Submission], marks: Mapping[str, float]) -> str:
        """The file again, all as it was, with the marks by the submission's name in their column:
        0 for who has handed in nothing, none for what could not be judged.
        """
        columns = [*self.columns, *[self.score] * (self.score not in self.columns)]
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow(columns)
        keys, found = self.column(self.key), self.matched(submissions)
        for row, key, submission in zip(self.rows, keys, found, strict=True):
            cells = [*row, *[""] * (len(columns) - len(row))]
            if submission:
                mark = marks.get(submission.name)
                cells[columns.index(self.score)] = "" if mark is None else f"{mark:g}"
            elif _plain(key):
                cells[columns.index(self.score)] = "0"
            writer.writerow(cells)
        return text.getvalue()


def _words(submission: Submission) -> set[str]:
    return {_plain(word) for word in (submission.name, *submission.ids)} - {""}


def _plain(word: str) -> str:
    """``word`` without what systems leave out: ``Lovelace, Ada`` is Canvas' ``lovelaceada``."""
    plain = unicodedata.normalize("NFKC", word).casefold()
    return "".join(sign for sign in plain if sign.isalnum())


def _at(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _decoded(data: bytes) -> str:
    """The text of a CSV file as spreadsheets save it, without Excel's line about the delimiter."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252", "latin-1"):
        try:
            text = data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return re.sub(r"\A(sep=.)?\n+", "", text, flags=re.IGNORECASE)
    raise ValueError("no text")
