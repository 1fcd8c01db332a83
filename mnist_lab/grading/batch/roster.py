"""The list of a course: who should have handed in, in which groups, and the file with the marks."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from mnist_lab.grading.batch.submissions import ClassError, Names, Submission, folded
from mnist_lab.grading.formats.text import one_line

SCORE = "Score"
"""The column for the marks where none is named: it is added, with a number where learners have
other marks in one that is there.
"""

NUMBER = re.compile(r"#?0*(\d+)(?:\.0)?")
"""A number, with the zeros and the point that spreadsheets leave out or add; Brightspace adds #."""

AND = " + "
"""Joins the names of two columns that tell a learner together, such as the first and last name."""

ENCODINGS = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "cp850", "cp932", "cp949"),
    *("gb18030", "big5", "latin-1"),
)
"""What Excel saves a CSV in on computers of one language or another."""

WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""The encodings that a text begins with a mark of."""

START = re.compile(r"\ufeff?(?:(?:sep=.)?[\r\n]+)?", re.IGNORECASE)
"""What spreadsheets put before the first row: that mark, and Excel's line about the delimiter."""

WORD = re.compile(r"[^\W_]+")

LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"} | dict.fromkeys("'’`´")
)
"""Letters without an accent that other alphabets lack, and signs in names."""

LONG_NUMBER = re.compile(r"\d{5,}")
"""What tells a learner alone."""

NOBODY = {
    *("pointspossible", "studenttest", "teststudent", "maxpoints", "maximum", "minimum", "total"),
    *("sum", "average", "mean", "median", "summe", "durchschnitt", "mittelwert", "moyenne"),
}
"""What rows are called that are no learner's: Canvas' own, and what a spreadsheet computes."""

OPEN = re.compile(r"[-–.,0\s]*|n/?a", re.IGNORECASE)
"""A cell for a mark that has none, or 0."""

NAME = re.compile(r"(?:full |student )?name|student|vollständiger name|nom|nombre|nome", re.I)
"""What a column with whole names is called."""

SHORTENED = re.compile(r"\d[.,]\d+E\+\d+")
"""A long number as Excel saves it, of which the last digits are lost."""

PLAIN = re.compile(r"[\d.,]+")

DECIMAL = re.compile(r"-?\d+([.,])\d+")

NUMBERED = re.compile(r"\D+ (?=\d{3})0*(\d+)")
"""What Moodle calls a learner in its own list: ``Participant 12345``, in any language."""


@dataclass(frozen=True)
class Roster:
    """A CSV file as a course's system exports it: ``columns``, a tuple of cells a row with its
    number in a spreadsheet, and which columns have the ``key``, ``name``, ``score`` and ``group``
    of a learner. ``start`` is what stands before them, ``dialect`` how ``csv`` writes them.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    encoding: str
    start: str
    dialect: Mapping[str, Any]
    key: str
    name: str
    score: str
    group: str | None
    option: str | None

    @classmethod
    def read(
        cls,
        path: Path,
        submissions: Sequence[Submission],
        *,
        key: str | None = None,
        name: str | None = None,
        score: str | None = None,
        group: str | None = None,
        option: str | None = "--roster-key",
    ) -> Roster:
        """The roster at ``path``. Without a ``key`` it is the column that fits most of the
        ``submissions``; what only counts the rows comes last. The ``name`` is in a column that is
        called so, or in the same one. ``option`` is that of the command which names the key.
        Raises ``ClassError``.
        """
        try:
            text, encoding = _decoded(path.read_bytes(), submissions)
            start = START.match(text)[0]  # type: ignore[index]
            above = _above(text.removeprefix(start))
            start += above
            dialect = _dialect(text := text.removeprefix(start))
            lines = map(tuple, csv.reader(io.StringIO(text, newline=""), **dialect))
            numbered = enumerate(lines, 1 + len(above.splitlines()))
            (_, head), *rows = numbered
            head += ("",) * (max((len(row) for _, row in rows), default=0) - len(head))
        except OSError as error:
            raise ClassError(f"{path} cannot be read ({error.strerror}).") from error
        except (csv.Error, ValueError) as error:
            raise ClassError(
                f"{path} is no CSV file with a line of column names: save the list as CSV UTF-8."
            ) from error
        if (number := _swallowing(rows, len(head) - 1, dialect["delimiter"], text)) is not None:
            raise ClassError(
                f"{path} has a quotation mark in row {number} that is not closed: rows below it "
                "are part of a cell. Close it, or take it out."
            )
        pairs = [f"{one}{AND}{other}" for one, other in pairwise(head) if one and other]
        for column in (key, name, score, group):
            if column is not None and column not in (*head, *pairs):
                raise ClassError(f"{path} has no column {column!r}: it has {', '.join(head)}.")
        if not any(any(row) for _, row in rows):
            raise ClassError(f"{path} has a line of column names and no learner below it.")
        numbers, cells_of = zip(*rows, strict=True)
        others = _of_no_group(submissions, _column(head, cells_of, group) if group else ())
        told = [each for each in (*head, *pairs) if group not in (each, *each.split(AND))]
        fits = {each: _fit(others, _column(head, cells_of, each)) for each in told}
        best = key or max(told, key=lambda column: fits[column])
        if len(others) == len(submissions) and not any(
            _found(others, _column(head, cells_of, best))
        ):
            where = f"the column {key}" if key else f"any of its columns, {', '.join(head)}"
            short = next(
                (cell for row in cells_of for cell in row if SHORTENED.fullmatch(cell)), ""
            )
            again = f" Excel has made numbers {short}: export the list again and leave it as it is."
            raise ClassError(
                f"No row of {path} fits a submission by {where}. A column must hold the learners' "
                f"names or numbers as the submissions have them.{again if short else ''}"
            )
        if any(_found(others, [best])):
            raise ClassError(
                f"{path} begins with a learner, {best}: write the names of the columns into a line "
                "above, such as Name,ID."
            )
        if score in (best, *best.split(AND)):
            raise ClassError(f"The marks cannot go into {score}, which tells the learners.")
        marks = _column(head, cells_of, SCORE) if SCORE in head else ()
        found = _found(others, _column(head, cells_of, best))
        if any(those and not OPEN.fullmatch(m) for those, m in zip(found, marks, strict=False)):
            new = (f"{SCORE} {number}" for number in range(2, len(head) + 3))
            score = score or next(each for each in new if each not in head)
        known = best, name or next(filter(NAME.fullmatch, head), best), score or SCORE, group
        return cls(path, head, cells_of, numbers, encoding, start, dialect, *known, option)

    @property
    def told_by(self) -> str:
        """A sentence on what tells the learners."""
        return f"The column {self.key} of {self.path.name} tells whose a row is."

    def column(self, name: str) -> list[str]:
        """The cells of a column, or of two beside each other, by row."""
        return _column(self.columns, self.rows, name)

    def matched(self, submissions: Sequence[Submission]) -> list[Submission | None]:
        """Whose submission each row is. Raises ``ClassError`` where a submission is two rows' or a
        row has two.
        """
        keys = self._keys()
        matched = _found(submissions, keys)
        row_of: dict[str, int] = {}
        other = f"or name another column with {self.option}" if self.option else ""
        for number, key, found in zip(self.numbers, keys, matched, strict=True):
            if len(found) > 1:
                names = ", ".join(each.name for each in found)
                raise ClassError(
                    f"Row {number} of {self.path} ({key}) fits more than one submission: {names}. "
                    f"Keep one of them{other and ', '}{other}."
                )
            for each in found:
                first = row_of.setdefault(each.name, number)
                if first != number:
                    group = other and ", name their group's column with --roster-group, "
                    raise ClassError(
                        f"Rows {first} and {number} of {self.path} are both for {each.name}, by "
                        f"the column {self.key}. Keep one of them{group}{other}."
                    )
        return [found[0] if found else None for found in matched]

    def of_members(self, submissions: Sequence[Submission]) -> list[Submission]:
        """The submissions, and for who is in a group and has handed in nothing a copy of the
        group's: what bears its name, or is that of the first of its members who has one. Raises
        ``ClassError``.
        """
        groups = self.column(self.group) if self.group else [""] * len(self.rows)
        others = _of_no_group(submissions, groups)
        own = self.matched(others)
        of_group = {_plain(each.name): each for each in submissions if _plain(each.name)}
        for group, submission in zip(groups, own, strict=True):
            if _plain(group) and submission:
                of_group.setdefault(_plain(group), submission)
        found = {each.name: each for each in others}
        names = Names(found)
        rows = zip(self._names(), self._keys(), groups, own, strict=True)
        for name, key, group, submission in rows:
            if submission:
                found[submission.name] = replace(submission, group=group or submission.group)
            elif key and (handed_in := of_group.get(_plain(group))):
                shown = names.own(name)
                found[shown] = replace(handed_in, name=shown, ids=(key,), group=group)
        members = sorted(found.values(), key=lambda each: each.name)
        self.matched(members)
        return members

    def missing(self, submissions: Sequence[Submission]) -> list[str]:
        """The names of those who have handed in nothing, which are nobody else's."""
        names = Names(each.name for each in submissions)
        rows = zip(self._names(), self._absent(submissions), strict=True)
        return [names.own(name) for name, is_absent in rows if is_absent]

    def unlisted(self, submissions: Sequence[Submission]) -> list[str]:
        """The names of the submissions that are no row's."""
        listed = {each.name for each in self.matched(submissions) if each}
        return [each.name for each in submissions if each.name not in listed]

    def notes(self, submissions: Sequence[Submission]) -> Iterator[str]:
        """Sentences on how the rows are told, and on submissions and rows that are nobody's."""
        found = self.matched(submissions)
        yield self.told_by
        if others := self.unlisted(submissions):
            yield f"Not on the roster: {', '.join(others)}."
        rows = zip(self.numbers, self._names(), found, self._absent(submissions), strict=True)
        left = [f"row {at} ({name})" for at, name, *known in rows if name and not any(known)]
        if left:
            yield f"Left as they are in {self.path.name}, as no learner's: {', '.join(left)}."

    def filled(self, submissions: Sequence[Submission], marks: Mapping[str, float]) -> bytes:
        """The file again, all as it was, with the marks by the submission's name in their column:
        0 for who has handed in nothing, none for what could not be judged.
        """
        columns = [*self.columns, *[self.score] * (self.score not in self.columns)]
        text = io.StringIO(newline="")
        writer = csv.writer(text, **self.dialect)
        writer.writerow(columns)
        sign = self._decimal_sign()
        found, absent = self.matched(submissions), self._absent(submissions)
        for row, submission, is_absent in zip(self.rows, found, absent, strict=True):
            cells = [*row, *[""] * (len(columns) - len(row))] if row else []
            if submission:
                mark = marks.get(submission.name)
                shown = "" if mark is None else f"{mark:g}".replace(".", sign)
                cells[columns.index(self.score)] = shown
            elif is_absent:
                cells[columns.index(self.score)] = "0"
            writer.writerow(cells)
        return f"{self.start}{text.getvalue()}".encode(self.encoding)

    def _second_heads(self) -> list[tuple[str, ...]]:
        """The first row, if it has no number, and a word where all others have one."""
        first, *others = filter(any, self.rows)
        if any(map(PLAIN.fullmatch, first)):
            return []
        for cell, *column in zip_longest(first, *others, fillvalue=""):
            numbers = [each for each in column if not OPEN.fullmatch(each)]
            if (
                re.search(r"[^\W\d]", cell)
                and len(numbers) > 1
                and all(map(PLAIN.fullmatch, numbers))
            ):
                return [first]
        return []

    def _decimal_sign(self) -> str:
        """The one of most numbers, or else that of spreadsheets which set cells apart like this."""
        found = [DECIMAL.fullmatch(cell.strip()) for row in self.rows for cell in row]
        signs = [each[1] for each in found if each]
        if not signs:
            return "," if self.dialect["delimiter"] == ";" else "."
        return max(".,", key=signs.count)

    def _keys(self) -> list[str]:
        """What tells each row's learner: the key, or the first cell of who has none, as in GitHub
        Classroom's list of accounts. Canvas' row with the points begins with blanks.
        """
        keys = zip(self.column(self.key), self.rows, strict=True)
        firsts = [(key, row[0] if row else "") for key, row in keys]
        return [key or ("" if first.startswith("  ") else first.strip()) for key, first in firsts]

    def _absent(self, submissions: Sequence[Submission]) -> list[bool]:
        """Whether each row is that of a learner who has handed in nothing. It is nobody's if it is
        called so, has something for a mark already or is a second line of column names.
        """
        heads = self._second_heads()
        marks = self.column(self.score) if self.score in self.columns else [""] * len(self.rows)
        keys, found = self._keys(), self.matched(submissions)
        return [
            not submission
            and key not in ("", self.key)
            and row not in heads
            and NOBODY.isdisjoint(map(_plain, (key, name, row[0])))
            and bool(OPEN.fullmatch(mark))
            for row, key, name, mark, submission in zip(
                self.rows, keys, self._names(), marks, found, strict=True
            )
        ]

    def _names(self) -> list[str]:
        """The name of each row's learner, with the key where several share it."""
        keys = self._keys()
        names = [
            one_line(name or key) for name, key in zip(self.column(self.name), keys, strict=True)
        ]
        shared = Counter(map(folded, names))
        return [
            f"{name} ({one_line(key)})" if shared[folded(name)] > 1 and key != name else name
            for name, key in zip(names, keys, strict=True)
        ]


def _of_no_group(submissions: Sequence[Submission], groups: Iterable[str]) -> Sequence[Submission]:
    """The submissions that none of the ``groups`` has handed in under its own name."""
    named = set(map(_plain, groups)) - {""}
    return [each for each in submissions if _plain(each.name) not in named]


def _fit(submissions: Sequence[Submission], cells: Sequence[str]) -> tuple[int, ...]:
    """How well a column tells whose the submissions are. What fits comes before what counts the
    rows, which fits the numbers of anything.
    """
    found = _equal(submissions, cells)
    equal = _alone(found)
    found = _resembling(submissions, cells, found)
    names = [each.name for those in found for each in those]
    alone = _alone(found)
    words = sum(len(_words(cell)) for cell, those in zip(cells, found, strict=True) if those)
    filled = [_plain(cell) for cell in cells if cell]
    is_count = sorted(filled) == sorted(map(str, range(1, len(filled) + 1)))
    fit = len(alone), len(equal), len({*names}), -len(names)
    return bool(names) > is_count, *fit, words if len(equal) < len(alone) else 0, not is_count


def _found(submissions: Sequence[Submission], cells: Sequence[str]) -> list[list[Submission]]:
    """The submissions that each cell names, one for a group. A cell that is equal to a name goes
    before one that only resembles it.
    """
    return _resembling(submissions, cells, _equal(submissions, cells))


def _resembling(
    submissions: Sequence[Submission], cells: Sequence[str], found: list[list[Submission]]
) -> list[list[Submission]]:
    """What was ``found``, and what has the words of a cell; ``Anne-Marie`` is two, or one."""
    found = _of_words(submissions, cells, found)
    return _of_words(submissions, [cell.replace("-", "") for cell in cells], found)


def _of_words(
    submissions: Sequence[Submission], cells: Sequence[str], found: list[list[Submission]]
) -> list[list[Submission]]:
    """What was ``found``, and for a cell without a submission that which has all its words in its
    name, or its name's in it: ``Lovelace, Ada`` is ``lab1_ada_lovelace``, and ``Ada King Lovelace``
    is ``Ada Lovelace``. Cell and submission must have no other choice;
    a single word, such as a first name, is enough only where the rest is in others' names as well.
    """
    taken = {each.name for those in found for each in those}
    words = [
        _words(cell) if not those else frozenset() for cell, those in zip(cells, found, strict=True)
    ]
    same = Counter(words)
    at_word: dict[str, list[int]] = defaultdict(list)
    for at, each in enumerate(words):
        for word in each if same[each] == 1 else ():
            at_word[word].append(at)
    chosen: dict[int, list[Submission]] = defaultdict(list)
    own_words = {
        each.name: frozenset[str]().union(*map(_words, (each.name, *each.ids)))
        for each in submissions
    }
    often = Counter(word for own in own_words.values() for word in own)
    for submission in submissions:
        if submission.name not in taken:
            own = own_words[submission.name]
            rest = {word for word in own if often[word] == 1}
            name = _words(submission.name)
            near = {
                at: (len(words[at] & own), words[at] <= own)
                for word in own
                for at in at_word[word]
                if (len(name) > 1 and name <= words[at])
                or (
                    words[at] <= own
                    and (len(words[at]) > 1 or rest <= words[at] or LONG_NUMBER.fullmatch(word))
                )
            }
            most = max(near.values(), default=None)
            longest = [at for at in near if near[at] == most]
            if len(longest) == 1:
                chosen[longest[0]].append(submission)
    return [chosen[at] if len(chosen.get(at, ())) == 1 else those for at, those in enumerate(found)]


def _equal(submissions: Iterable[Submission], cells: Sequence[str]) -> list[list[Submission]]:
    """The submissions that each cell names but for what systems change."""
    all_found: list[list[Submission]] = [[] for _ in cells]
    for fold in (folded, _plain, _numbered, _bare):
        taken = {each.name for found in all_found for each in found}
        known: dict[str, list[Submission]] = defaultdict(list)
        for each in submissions:
            words = (each.name, *each.ids) if each.name not in taken else ()
            for word in {fold(word) for word in words} - {""}:
                if all(each.attempts != other.attempts for other in known[word]):
                    known[word].append(each)
        all_found = [
            found or [each for word in (fold(cell), *more) for each in known.get(word, ())]
            for found, cell in zip(all_found, cells, strict=True)
            for more in [_turned(cell) if fold is _bare else ()]
        ]
    return all_found


@cache
def _plain(word: str) -> str:
    """``word`` without what systems leave out or add: ``Lovelace, Ada`` is Canvas'
    ``lovelaceada``, ``0012`` a spreadsheet's ``12`` or ``12.0``.
    """
    plain = unicodedata.normalize("NFKC", word).casefold()
    if number := NUMBER.fullmatch(plain):
        return number[1]
    return "".join(sign for sign in plain if sign.isalnum())


@cache
def _bare(text: str) -> str:
    """The letters and numbers of ``text`` without accents, as systems write those that they lack:
    ``Jürgen`` is ``juergen`` and ``jurgen``.
    """
    apart = unicodedata.normalize("NFKD", text.casefold().translate(LETTERS))
    plain = "".join(sign for sign in apart if not unicodedata.combining(sign))
    return _plain(re.sub("(?<=[aou])e", "", plain))


def _turned(name: str) -> set[str]:
    """A name of several words with the last ones first, as in Canvas' ``lovelaceada``."""
    words = [_bare(word) for word in WORD.findall(name)] if "@" not in name else []
    turned = {"".join([*words[at:], *words[:at]]) for at in range(1, min(len(words), 6))}
    return turned - {_bare(name)}


@cache
def _words(text: str) -> frozenset[str]:
    """The words of a name, or of what stands before the @ of an address; none of a short number,
    which may be that of anything.
    """
    words = WORD.findall(unicodedata.normalize("NFKC", text.partition("@")[0]).translate(LETTERS))
    told = any(len(word) > 3 or not word.isdigit() for word in words)
    return frozenset(map(_bare, words) if told else ())


def _alone(found: Iterable[Sequence[Submission]]) -> set[str]:
    """The names of the submissions that a cell names alone."""
    return {those[0].name for those in found if len(those) == 1}


def _numbered(word: str) -> str:
    """The number of a learner that Moodle shows no name of, or a plain number."""
    found = NUMBERED.fullmatch(word)
    return found[1] if found else _plain(word)


def _column(head: Sequence[str], rows: Iterable[Sequence[str]], name: str) -> list[str]:
    """The cells of the first column with this name, or of two that ``AND`` joins."""
    pairs = enumerate(pairwise(head))
    at = (
        [head.index(name)]
        if name in head
        else next([place, place + 1] for place, pair in pairs if AND.join(pair) == name)
    )
    return [" ".join(row[each].strip() for each in at if each < len(row)).strip() for row in rows]


def _decoded(data: bytes, submissions: Iterable[Submission]) -> tuple[str, str]:
    """The text of a CSV file as spreadsheets save it, and its encoding.

    One that is neither UTF-8 nor UTF-16 is read in the encoding in which it has most names.
    """
    texts: dict[str, str] = {}
    for encoding in (WIDE[data[:2]],) if data[:2] in WIDE else ("utf-8", *ENCODINGS):
        with suppress(UnicodeDecodeError):
            if "\0" not in (text := data.decode(encoding)):
                texts[encoding] = text
            if encoding not in ENCODINGS:
                break
    if not texts:
        raise ValueError("no text")
    names = [_plain(word) for each in submissions for word in WORD.findall(each.name)]
    plain = {encoding: _plain(text) for encoding, text in texts.items()}
    encoding = max(texts, key=lambda each: sum(name in plain[each] for name in names))
    return texts[encoding], encoding


def _above(text: str) -> str:
    """The lines above the column names, such as Sakai's with the title: they end with an empty one,
    and have fewer cells that are filled.
    """
    lines = text.splitlines(keepends=True)[:10]
    cells = [sum(map(bool, map(str.strip, re.split(r'[,;\t|"]+', line)))) for line in lines]
    for at in range(1, len(lines)):
        if not cells[at - 1] and max(cells[:at]) < cells[at]:
            return "".join(lines[:at])
    return ""


def _swallowing(
    rows: Sequence[tuple[int, Sequence[str]]], delimiters: int, delimiter: str, text: str
) -> int | None:
    """The number of a row that is too short and has a cell with another row in it, on a line of its
    own; or of the last one, where its cell of several lines is all that is left of the ``text``.
    """
    for number, row in rows:
        below = [line for cell in row for line in cell.splitlines()[1:]]
        swallows = any(line.count(delimiter) >= max(delimiters, 1) for line in below)
        if below and len(row) <= delimiters and swallows:
            return number
    number, row = rows[-1] if rows else (0, ("",))
    return number if text.count('"') % 2 and "\n" in row[-1] else None


def _dialect(text: str) -> dict[str, Any]:
    """What sets cells, rows and text apart, as the first row shows."""
    plain = re.sub(r'"[^"]*"', "", text)
    first, end, _ = re.split(r"(\r\n|\n|\r|\Z)", plain, maxsplit=1)
    delimiter = max(",;\t|", key=first.count)
    in_quotes = text.startswith('"') and not first.strip(delimiter)
    quoting = csv.QUOTE_ALL if in_quotes else csv.QUOTE_MINIMAL
    return {"delimiter": delimiter, "lineterminator": end or "\n", "quoting": quoting}
