"""What is deducted for handing in late: by a rule, from a list or from the times of the files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

from mnist_lab.grading.batch.reading import Read
from mnist_lab.grading.batch.roster import Roster
from mnist_lab.grading.batch.submissions import ClassError, Submission, time_in

PERIODS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}

UNITS = {"second": timedelta(seconds=1), "minute": timedelta(minutes=1), **PERIODS}

RULE = re.compile(r"(\d+(?:\.\d+)?)(%?)(?:/|per)(hour|day|week)(?:upto(\d+(?:\.\d+)?)(%?))?")
"""A rule without spaces."""

CLOCK = re.compile(r"(\d+):(\d\d)(?::(\d\d))?")
"""Hours and minutes, as in Gradescope's column ``Lateness (H:M:S)``."""

AMOUNT = re.compile(r"(\d+(?:[.,]\d+)?) ?(?:(s|min|h|d|w)[a-z]*)?")

UNIT = re.compile(rf"({'|'.join(UNITS)})s?", re.IGNORECASE)
"""What the name of a column says that its numbers are, as ``seconds_late``."""

IN_TIME = re.compile(r"|[-–].*|no|none|nein|n/a|on time|in time", re.IGNORECASE)
"""What lists say of who was not late, or early."""

LATE = re.compile(r"(?<![a-z])late(?:ness|[^a-z]|$)", re.IGNORECASE)
"""What the name of a column has that says how late somebody was."""

DOWNLOAD, MOST, FEWEST = 300.0, 0.9, 3
"""Seconds around the median in which the files of a class have their times that were downloaded
together, the part of the class that has, and how many that are at least.
"""


@dataclass(frozen=True)
class Rule:
    """``amount`` is deducted for each ``period`` that has begun, ``most`` at most, both in points
    or in percent of the points that can be had.
    """

    amount: float
    is_percent: bool
    period: str
    most: float = math.inf
    most_is_percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Rule:
        """The rule that is written as ``10%/day`` or ``2/hour up to 20``."""
        if not (found := RULE.fullmatch("".join(text.casefold().split()))):
            raise ClassError(f"{text!r} is not a rule: write it as 10%/day or 2/hour up to 20.")
        amount, percent, period, most, of_all = found.groups()
        return cls(float(amount), bool(percent), period, float(most or "inf"), bool(of_all))

    def deduction(self, late: timedelta, score: float, attainable: float) -> float:
        """The points to deduct of ``score``, which is never below 0 after it."""
        begun = math.ceil(max(late, timedelta()) / PERIODS[self.period])
        points = begun * self.amount * (attainable / 100 if self.is_percent else 1)
        most = self.most * (attainable / 100 if self.most_is_percent else 1)
        return round(min(points, most, score), 2)


@dataclass(frozen=True)
class Late:
    """A rule, and how late each submission was: ``listed`` by its first file, or by the times of
    files. ``notes`` are sentences on the list.
    """

    rule: Rule
    listed: dict[Path, timedelta] = field(default_factory=dict)
    deadline: datetime | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def asked(
        cls, rule: str | None, path: Path | None, deadline: str | None
    ) -> Callable[[Sequence[Submission]], Late] | None:
        """What makes one of the options of the command. Raises ``ClassError``."""
        if rule is None and path is None and deadline is None:
            return None
        if rule is None or (path is None) == (deadline is None):
            raise ClassError("Give --late-rule, and with it either --late or --deadline.")
        parsed = Rule.parse(rule)
        if path is not None:
            return partial(cls.read, path, parsed)
        late = cls(parsed, deadline=_moment(deadline or ""))
        return lambda submissions: late

    @classmethod
    def read(cls, path: Path, rule: Rule, submissions: Sequence[Submission]) -> Late:
        """The CSV at ``path``: a column tells the learners, as that of a roster, or their groups,
        and one with "late" in its name how late they were: ``26:10:00``, ``2 days``, ``3 h``, or a
        plain number in the unit that the column is named for, or that of the rule. Raises
        ``ClassError``.
        """
        words = {word for each in submissions for word in (each.name, *each.ids)}
        called = [replace(each, ids=(*each.ids, *({each.group} - words))) for each in submissions]
        roster = Roster.read(path, called, option=None)
        columns = [each for each in roster.columns if LATE.search(each)]
        if not columns:
            raise ClassError(f'{path} has no column with "late" in its name.')
        if len(columns) > 1:
            several = ", ".join(columns)
            raise ClassError(
                f'{path} has several columns with "late": {several}. Keep one of them.'
            )
        named = UNIT.search(columns[0])
        unit = named[1].casefold() if named else rule.period
        listed: dict[Path, timedelta] = {}
        unknown = []
        keys, cells = roster.column(roster.key), roster.column(columns[0])
        rows = zip(roster.numbers, keys, cells, roster.matched(called), strict=True)
        for number, key, cell, submission in rows:
            try:
                late = _time(cell, unit)
            except OverflowError:
                late = None
            if submission and late is None:
                raise ClassError(
                    f"Row {number} of {path} ({key}) has {cell!r}, which does not say how late: "
                    "write it as 26:10:00, 2 days or 3 h."
                )
            if submission and late:
                file = _file(submission)
                listed[file] = max(late, listed.get(file, late))
            elif late != timedelta():
                unknown.append(f"{number} ({key})")
        said = f"Rows of {path.name} that fit no submission: {', '.join(unknown)}."
        return cls(rule, listed, notes=(roster.told_by, *([said] if unknown else [])))

    def by(self, read: Read) -> timedelta:
        """How late a submission was, in whole seconds."""
        if self.deadline is None:
            return self.listed.get(_file(read.submission), timedelta())
        handed_in = _told(read) or datetime.fromtimestamp(read.time, self.deadline.tzinfo)
        if handed_in.tzinfo is None:
            handed_in = handed_in.replace(tzinfo=self.deadline.tzinfo)
        late = (handed_in - self.deadline).total_seconds()
        return timedelta(seconds=max(int(late), 0))

    def warnings(self, reads: Sequence[Read]) -> Iterator[str]:
        """The notes, and a sentence where the times of the files seem to be no learners'."""
        yield from self.notes
        of_files = [read for read in reads if not (read.reason or _told(read))]
        times = {_file(read.submission): read.time for read in of_files}.values()
        if self.deadline is None or len(times) < FEWEST:
            return
        middle = median(times)
        near = [each for each in times if abs(each - middle) < DOWNLOAD]
        if len(near) >= MOST * len(times) and min(near) > self.deadline.timestamp():
            yield (
                f"{len(near)} of {len(times)} submissions have files of the same minutes after the "
                "deadline, probably those of the download: say who was late with --late instead."
            )


def _moment(text: str) -> datetime:
    """The time that ``text`` says; without a zone it is by the clock of this machine."""
    try:
        hour = re.sub(r" (?=[+-])", "", text.strip())
        moment = datetime.fromisoformat(hour if ":" in hour else "")
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError) as error:
        raise ClassError(
            f"There is no time {text!r}: write it as 2026-01-31T18:00, '2026-01-31 18:00:59' or "
            "2026-01-31T18:00+01:00."
        ) from error


def _file(submission: Submission) -> Path:
    """What all of a group have in common who have handed in the same."""
    return next(iter(submission.attempts[-1].values()))


def _told(read: Read) -> datetime | None:
    """When an attempt was handed in, as the names of its files say."""
    paths = read.submission.attempts[read.attempt].values()
    return max(filter(None, map(time_in, paths)), default=None)


def _time(cell: str, unit: str) -> timedelta | None:
    """How late ``cell`` says that somebody was, if it does; ``1 day, 2:10:00`` has two parts."""
    late = timedelta()
    for part in [] if IN_TIME.fullmatch(cell) else cell.casefold().split(", "):
        if found := CLOCK.fullmatch(part):
            hours, minutes, seconds = (int(each or 0) for each in found.groups())
            late += timedelta(hours=hours, minutes=minutes, seconds=seconds)
        elif found := AMOUNT.fullmatch(part):
            named = next(name for name in UNITS if name.startswith(found[2] or unit))
            late += float(found[1].replace(",", ".")) * UNITS[named]
        else:
            return None
    return late
