"""What the grades of a class say together: marks, hard checks, frequent mistakes, time taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from statistics import fmean, median

from mnist_lab import kit
from mnist_lab.grade import CheckGrade
from mnist_lab.grading.batch.results import Graded, NotGraded, Outcome

__all__ = [
    "Analysis",
    "Bar",
    "HardCheck",
    "Learner",
    "Mistake",
    "Reached",
    "analyse",
    "faults",
    "grades",
]

BINS = 10
"""Bars of the distribution of marks; full marks have one more of their own."""


@dataclass(frozen=True)
class Learner:
    """Whose submission, what its files of results are called, and what came of it; how ``late`` it
    was, if that counts, and the points that are deducted for it.
    """

    name: str
    slug: str
    outcome: Outcome
    digest: str = ""
    group: str = ""
    late: timedelta | None = None
    deduction: float = 0.0

    @property
    def owner(self) -> tuple[str, str]:
        """Whose the submission is: a group's, or the learner's."""
        return self.group, "" if self.group else self.slug

    @property
    def mark(self) -> float | None:
        """The points after the deduction; none where nothing could be judged."""
        if isinstance(self.outcome, Graded):
            return self.outcome.grade.score - self.deduction
        return 0.0 if self.outcome.is_missing else None


@dataclass(frozen=True)
class Bar:
    """How many learners have marks from ``low`` up to, but without, ``high``."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class HardCheck:
    """How a check ended for those for whom it was run: counts by outcome, and the parts that passed
    of those above the median of all marks, and of those below.
    """

    id: str
    title: str
    outcomes: Mapping[str, int]
    above: float | None = None
    below: float | None = None

    @property
    def tried(self) -> int:
        return sum(self.outcomes.values())

    @property
    def share(self) -> float:
        """The part that passed."""
        return self.outcomes.get("passed", 0) / self.tried


@dataclass(frozen=True)
class Mistake:
    """A known mistake in an exercise, or several that nothing tells apart, and who makes it."""

    exercise: str
    ids: tuple[str, ...]
    says: str
    learners: tuple[str, ...]


@dataclass(frozen=True)
class Reached:
    """The accuracies on the test digits that the learners' models of one exercise reached."""

    title: str
    values: tuple[float, ...]
    passed: int
    tried: int

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The lowest, the median and the highest."""
        return (min(self.values), median(self.values), max(self.values)) if self.values else ()


@dataclass(frozen=True)
class Analysis:
    """A class in numbers. ``seconds`` are those of each graded submission, by name."""

    learners: tuple[Learner, ...]
    attainable: float
    bars: tuple[Bar, ...]
    exercises: tuple[tuple[str, float, float], ...]
    checks: tuple[HardCheck, ...]
    mistakes: tuple[Mistake, ...]
    unexplained: int
    accuracy: tuple[Reached, ...]
    seconds: Mapping[str, float]
    same: tuple[tuple[str, ...], ...]

    @property
    def graded(self) -> tuple[Learner, ...]:
        return tuple(each for each in self.learners if isinstance(each.outcome, Graded))

    @property
    def not_graded(self) -> tuple[tuple[str, str], ...]:
        """Names and reasons."""
        return tuple(
            (each.name, each.outcome.reason)
            for each in self.learners
            if isinstance(each.outcome, NotGraded) and not each.outcome.is_missing
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of those on the roster who have handed in nothing."""
        return tuple(
            each.name
            for each in self.learners
            if isinstance(each.outcome, NotGraded) and each.outcome.is_missing
        )

    @property
    def unjudged(self) -> tuple[tuple[str, str], ...]:
        """Names and the checks that ended with an error of the kit's."""
        return tuple(
            (name, ", ".join(outcome.unjudged))
            for name, outcome in grades(self.learners)
            if outcome.unjudged
        )

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(outcome.grade.score for _, outcome in grades(self.learners))

    @property
    def mean(self) -> float:
        return fmean(self.scores)

    @property
    def median(self) -> float:
        return median(self.scores)

    @property
    def full_marks(self) -> int:
        return sum(score >= self.attainable for score in self.scores)


def analyse(
    learners: Sequence[Learner], attainable: float, says: Callable[[str], str | None]
) -> Analysis:
    """What ``learners`` say together, in their order; ``attainable`` are the points of the tier.

    ``says`` is the sentence of the mistake with an id, None if it is not known.
    """
    graded = grades(learners)
    checks = _checks(graded)
    return Analysis(
        learners=tuple(learners),
        attainable=attainable,
        bars=_bars([outcome.grade.score for _, outcome in graded], attainable),
        exercises=_exercises(graded),
        checks=tuple(sorted(checks, key=lambda check: check.share)),
        mistakes=_mistakes(graded, says),
        unexplained=sum(
            check.outcome == "failed" and check.cause is not None and not check.cause.fault
            for _, outcome in graded
            for check in outcome.grade.checks
        ),
        accuracy=_accuracy(graded),
        seconds={name: outcome.grade.seconds for name, outcome in graded},
        same=_same(learners),
    )


def faults(check: CheckGrade) -> tuple[tuple[str, ...], ...]:
    """The known mistakes that a check found: each is one id, or several that it could be.

    ``a+b`` are two mistakes, ``a|b`` is one of the two; of ``a+b|a+c`` only ``a`` is sure.
    """
    if check.cause is None or not check.cause.fault:
        return ()
    ways = [set(way.split("+")) for way in check.cause.fault.split("|")]
    sure = set.intersection(*ways)
    rest = sorted({"+".join(sorted(way - sure)) for way in ways} - {""})
    found: list[tuple[str, ...]] = [(each,) for each in sorted(sure)]
    if len(rest) > 1:
        found.append(tuple(rest))
    return tuple(found)


def grades(learners: Sequence[Learner]) -> list[tuple[str, Graded]]:
    """The names and grades of those who have one."""
    return [(each.name, each.outcome) for each in learners if isinstance(each.outcome, Graded)]


def _bars(scores: Sequence[float], attainable: float) -> tuple[Bar, ...]:
    width = attainable / BINS
    edges = [round(width * index, 6) for index in range(BINS + 1)]
    below = [score for score in scores if score < attainable]
    bars = [
        Bar(low, high, sum(low <= score < high for score in below)) for low, high in pairwise(edges)
    ]
    return (*bars, Bar(attainable, attainable, len(scores) - len(below)))


def _exercises(grades: Sequence[tuple[str, Graded]]) -> tuple[tuple[str, float, float], ...]:
    """Title, mean points and points of each exercise; those of the tier."""
    if not grades:
        return ()
    tier = grades[0][1].grade.tier
    runs = {"quick", tier}
    found = []
    for index, exercise in enumerate(kit.load().exercises):
        most = sum(check.points for check in exercise.checks if check.tier in runs)
        mean = fmean(outcome.grade.exercises[index].points for _, outcome in grades)
        found.append((exercise.title, mean, most))
    return tuple(found)


def _checks(grades: Sequence[tuple[str, Graded]]) -> list[HardCheck]:
    """The checks that ran for somebody."""
    found = []
    middle = median(outcome.grade.score for _, outcome in grades) if grades else 0.0
    for index, check in enumerate(kit.load().checks):
        ended = [
            (outcome.grade.score, outcome.grade.checks[index].outcome)
            for _, outcome in grades
            if outcome.grade.checks[index].outcome != "not_run"
        ]
        if ended:
            above = [end == "passed" for score, end in ended if score > middle]
            below = [end == "passed" for score, end in ended if score < middle]
            found.append(
                HardCheck(
                    check.id,
                    check.title,
                    Counter(end for _, end in ended),
                    fmean(above) if above else None,
                    fmean(below) if below else None,
                )
            )
    return found


def _mistakes(
    grades: Sequence[tuple[str, Graded]], says: Callable[[str], str | None]
) -> tuple[Mistake, ...]:
    """The most frequent first; a learner counts once for each."""
    makers: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
    for name, outcome in grades:
        for exercise in outcome.grade.exercises:
            for check in exercise.checks:
                for ids in faults(check):
                    message = check.cause.message if check.cause else ""
                    makers.setdefault((exercise.id, ids), {}).setdefault(name, message)
    found = [
        Mistake(exercise, ids, _sentence(ids, says) or next(iter(names.values())), tuple(names))
        for (exercise, ids), names in makers.items()
    ]
    return tuple(sorted(found, key=lambda each: (-len(each.learners), each.exercise, each.ids)))


def _sentence(ids: Sequence[str], says: Callable[[str], str | None]) -> str:
    """What the code with these alternatives does; empty if one of them is not known."""
    ways = []
    for way in ids:
        sentences = [says(each) for each in way.split("+")]
        if None in sentences:
            return ""
        ways.append(" ".join(sentence for sentence in sentences if sentence))
    return ways[0] if len(ways) == 1 else " Or: ".join([f"Either: {ways[0]}", *ways[1:]])


def _accuracy(grades: Sequence[tuple[str, Graded]]) -> tuple[Reached, ...]:
    found = []
    for exercise in kit.load().exercises:
        name = f"{exercise.id}.accuracy"
        ends = [
            (check, outcome.accuracy.get(exercise.id))
            for _, outcome in grades
            for check in outcome.grade.checks
            if check.id == name and check.outcome in ("passed", "failed")
        ]
        if ends:
            reached = [value if value is not None else _actual(check) for check, value in ends]
            values = tuple(sorted(value for value in reached if value is not None))
            passed = sum(check.passed for check, _ in ends)
            found.append(Reached(exercise.title, values, passed, len(ends)))
    return tuple(found)


def _actual(check: CheckGrade) -> float | None:
    """The accuracy that a failed check saw."""
    actual = check.cause.actual if check.cause else None
    return float(actual) if isinstance(actual, int | float) else None


def _same(learners: Sequence[Learner]) -> tuple[tuple[str, ...], ...]:
    """The names of those who handed in the same files."""
    owners: dict[str, list[Learner]] = {}
    for each in learners:
        if each.digest:
            owners.setdefault(each.digest, []).append(each)
    return tuple(
        tuple(each.name for each in found)
        for found in owners.values()
        if len({each.owner for each in found}) > 1
    )
