"""What the grades of a class say together: marks, hard checks, frequent mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from statistics import fmean, median

from mnist_lab import kit
from mnist_lab.grade import Grade
from mnist_lab.grading.batch.results import Graded, NotGraded, Outcome

BINS = 10
"""Bars of the distribution of marks; full marks have one more of their own."""


@dataclass(frozen=True)
class Learner:
    """Whose submission, what its files of results are called, and what came of it; how ``late`` it
    was, if that counts, and the points that are deducted for it; what of it could not be read.
    """

    name: str
    slug: str
    outcome: Outcome
    digest: str = ""
    group: str = ""
    late: timedelta | None = None
    deduction: float = 0.0
    unread: str = ""

    @property
    def owner(self) -> tuple[str, str]:
        """Whose the submission is: a group's, or the learner's."""
        return self.group, "" if self.group else self.name

    @property
    def grade(self) -> Grade | None:
        return self.outcome.grade if isinstance(self.outcome, Graded) else None

    @property
    def mark(self) -> float | None:
        """The points after the deduction; none where nothing could be judged."""
        if self.grade:
            return self.grade.score - self.deduction
        return 0.0 if self.state == "nothing handed in" else None

    @property
    def state(self) -> str:
        """What came of it, in words."""
        if isinstance(self.outcome, Graded):
            return "in part" if self.outcome.unjudged or self.unread else "graded"
        return "nothing handed in" if self.outcome.is_missing else "not graded"

    @property
    def reason(self) -> str:
        """Why there is no grade, or which checks could not be judged, or what could not be read."""
        if isinstance(self.outcome, NotGraded):
            return self.outcome.reason
        return ", ".join(self.outcome.unjudged) or self.unread


@dataclass(frozen=True)
class HardCheck:
    """How a check ended for those for whom it was run: counts by outcome, and the parts that passed
    of all, of those above the median of all points, and of those below.
    """

    id: str
    title: str
    outcomes: Mapping[str, int]
    share: float
    above: float | None
    below: float | None


@dataclass(frozen=True)
class Mistake:
    """A known mistake in an exercise, or several that nothing tells apart, and who makes it."""

    exercise: str
    ids: tuple[str, ...]
    says: str
    learners: tuple[str, ...]


@dataclass(frozen=True)
class Reached:
    """The accuracies on the test digits that the learners' models of one exercise reached, from the
    lowest to the highest, and how many passed of those that were trained.
    """

    title: str
    values: tuple[float, ...]
    passed: int
    tried: int

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The lowest, the median and the highest."""
        return self.values[0], median(self.values), self.values[-1]


@dataclass(frozen=True)
class Analysis:
    """A class in numbers. ``attainable`` are the points of the tier."""

    learners: tuple[Learner, ...]
    attainable: float

    def of_state(self, *states: str) -> list[Learner]:
        """The learners with one of these states."""
        return [each for each in self.learners if each.state in states]

    @cached_property
    def grades(self) -> list[tuple[str, Grade]]:
        """Names and grades."""
        return [(each.name, each.grade) for each in self.learners if each.grade]

    @property
    def marks(self) -> list[float]:
        """Of those who have a grade, after what is deducted."""
        return [each.mark for each in self.learners if each.grade and each.mark is not None]

    @property
    def median(self) -> float:
        return median(self.marks) if self.marks else 0.0

    @property
    def bars(self) -> list[tuple[float, int]]:
        """From which marks on, and how many learners have those, up to the next."""
        edges = [round(self.attainable * at / BINS, 6) for at in range(BINS + 1)]
        counts = Counter(sum(edge <= score for edge in edges) - 1 for score in self.marks)
        return [(edge, counts[at]) for at, edge in enumerate(edges)]

    @property
    def exercises(self) -> list[tuple[str, float, float]]:
        """Title, mean points and points of the tier of each exercise."""
        if not self.grades:
            return []
        tiers = {"quick", self.grades[0][1].tier}
        return [
            (
                exercise.title,
                fmean(grade.exercises[at].points for _, grade in self.grades),
                sum(check.points for check in exercise.checks if check.tier in tiers),
            )
            for at, exercise in enumerate(kit.load().exercises)
        ]

    @cached_property
    def checks(self) -> list[HardCheck]:
        """The checks that ran for somebody, the hardest first."""
        found = []
        scores = [grade.score for _, grade in self.grades]
        middle = median(scores) if scores else 0.0
        for at, check in enumerate(kit.load().checks):
            outcomes = (grade.checks[at].outcome for _, grade in self.grades)
            ends = [each for each in zip(scores, outcomes, strict=True) if each[1] != "not_run"]
            if ends:
                passed = [(score, outcome == "passed") for score, outcome in ends]
                above = [each for score, each in passed if score > middle]
                below = [each for score, each in passed if score < middle]
                found.append(
                    HardCheck(
                        check.id,
                        check.title,
                        Counter(outcome for _, outcome in ends),
                        fmean(each for _, each in passed),
                        fmean(above) if above else None,
                        fmean(below) if below else None,
                    )
                )
        return sorted(found, key=lambda check: check.share)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The most frequent first; a learner counts once for each in an exercise. What is said of
        one is what somebody was told who made it alone, if anybody did.
        """
        told: dict[tuple[str, tuple[str, ...]], list[tuple[bool, str, str]]] = {}
        for name, grade in self.grades:
            for exercise in grade.exercises:
                for check in exercise.checks:
                    for ids in check.faults:
                        message = check.cause.message if check.cause else ""
                        together = len(check.faults) > 1
                        told.setdefault((exercise.id, ids), []).append((together, message, name))
        found = []
        for (exercise_id, ids), causes in told.items():
            _, message, _ = min(causes, key=lambda cause: cause[0])
            names = dict.fromkeys(name for _, _, name in causes)
            found.append(Mistake(exercise_id, ids, message, tuple(names)))
        return sorted(found, key=lambda each: (-len(each.learners), each.exercise, each.ids))

    def mistakes_in(self, exercise: str) -> list[list[Mistake]]:
        """The mistakes in an exercise; those that are only made together are one entry."""
        together: dict[tuple[str, tuple[str, ...]], list[Mistake]] = {}
        for each in self.mistakes:
            if each.exercise == exercise:
                together.setdefault((each.says, each.learners), []).append(each)
        return list(together.values())

    @property
    def unexplained(self) -> int:
        """How many failed checks are no known mistake."""
        checks = [check for _, grade in self.grades for check in grade.checks]
        return sum(each.outcome == "failed" and not each.faults for each in checks)

    @property
    def accuracy(self) -> list[Reached]:
        """Of the exercises whose models were trained for somebody."""
        found = []
        outcomes = [each.outcome for each in self.learners if isinstance(each.outcome, Graded)]
        for exercise in kit.load().exercises:
            values, passed = [], []
            for outcome in outcomes:
                for check in outcome.grade.checks:
                    if check.id == f"{exercise.id}.accuracy" and check.outcome != "not_run":
                        actual = check.cause.actual if check.cause else None
                        values.append(outcome.accuracy.get(exercise.id, actual))
                        passed.append(check.passed)
            reached = sorted(float(each) for each in values if isinstance(each, int | float))
            if reached:
                found.append(Reached(exercise.title, tuple(reached), sum(passed), len(passed)))
        return found

    @property
    def same(self) -> list[list[str]]:
        """The names of those who handed in the same files and are no group."""
        found: dict[str, list[Learner]] = {}
        for each in self.learners:
            if each.digest:
                found.setdefault(each.digest, []).append(each)
        return [
            [each.name for each in learners]
            for learners in found.values()
            if len({each.owner for each in learners}) > 1
        ]
