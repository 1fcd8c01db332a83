"""What a grade is: outcomes, causes and points as plain data, and their JSON.

Points are never stored by hand: a check that passed has its points, any other has none, and the
checks that are counted are the kit's, whether they ran or not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from mnist_lab import __version__, writing
from mnist_lab.kit import Check, Kit

SCHEMA = 1

ABOUT = ("kit", "submission", "sha256", "tier", "seed", "device")
"""What was graded, and how."""

Outcome = Literal["passed", "failed", "todo", "blocked", "not_run", "error"]
"""``todo``: the stub still raises ``NotImplementedError``. ``blocked``: a check that it needs did
not pass. ``not_run``: it needs a GPU or ``--full``, or was not chosen. ``error``: not the
learner's fault, or not to be judged."""


class GradeError(Exception):
    """What was read is not a grade; the message says what is wrong with it."""


@dataclass(frozen=True)
class Cause:
    """Why a check did not pass, in the learner's terms.

    ``message`` is one sentence about what the code does; ``fault`` the id of a known mistake, if
    it is one; ``evidence`` says how it is known; ``where`` is ``file:line``; ``expected`` and
    ``actual`` are plain data; ``traceback`` has the learner's own frames; ``output`` what their
    code printed; ``code`` the line that is not Python, with a caret below it.
    """

    message: str
    fault: str | None = None
    evidence: str = ""
    hint: str = ""
    where: str = ""
    expected: Any = None
    actual: Any = None
    traceback: str = ""
    output: str = ""
    code: str = ""

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is said besides the message, in one line each: a name and a text."""
        named = [("Known by", self.evidence), ("Hint", self.hint), ("Where", self.where)]
        return [(name, text) for name, text in named if text]

    def to_json(self) -> dict[str, Any]:
        always = ("fault", "message", "evidence", "hint", "where")
        known = {each.name: _plain(getattr(self, each.name)) for each in fields(self)}
        given = {name: value for name, value in known.items() if value not in (None, "")}
        return {name: known[name] for name in always} | given


@dataclass(frozen=True)
class Result:
    """How one check ended, before it is known what that is worth."""

    outcome: Outcome
    seconds: float = 0.0
    cause: Cause | None = None


@dataclass(frozen=True)
class CheckGrade:
    """How one check ended and what it is worth."""

    id: str
    title: str
    outcome: Outcome
    max_points: float
    seconds: float = 0.0
    cause: Cause | None = None

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def points(self) -> float:
        return self.max_points if self.passed else 0.0

    @property
    def faults(self) -> list[tuple[str, ...]]:
        """The known mistakes that were found: each is one id, or several that it could be.

        ``a+b`` are two mistakes, ``a|b`` is one of the two; of ``a+b|a+c`` only ``a`` is sure.
        """
        if self.cause is None or not self.cause.fault:
            return []
        ways = [set(way.split("+")) for way in self.cause.fault.split("|")]
        sure = set.intersection(*ways)
        rest = sorted({"+".join(sorted(way - sure)) for way in ways} - {""})
        return [*((each,) for each in sorted(sure)), *([tuple(rest)] if len(rest) > 1 else [])]

    def to_json(self) -> dict[str, Any]:
        names = ("id", "title", "outcome", "points", "max_points", "seconds")
        cause = {"cause": self.cause.to_json()} if self.cause else {}
        return {name: getattr(self, name) for name in names} | cause

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CheckGrade:
        if data["outcome"] not in get_args(Outcome):
            raise GradeError(f"check {data['id']}: {data['outcome']!r} is not an outcome")
        names = ("id", "title", "outcome", "max_points", "seconds")
        cause = Cause(**data["cause"]) if "cause" in data else None
        return cls(**{name: data[name] for name in names}, cause=cause)


@dataclass(frozen=True)
class ExerciseGrade:
    """The checks of one exercise, in the kit's order."""

    id: str
    title: str
    checks: tuple[CheckGrade, ...]

    @property
    def points(self) -> float:
        return math.fsum(check.points for check in self.checks)

    @property
    def max_points(self) -> float:
        return math.fsum(check.max_points for check in self.checks)

    @property
    def tried(self) -> list[CheckGrade]:
        """The checks that ran, or would have."""
        return [check for check in self.checks if check.outcome != "not_run"]

    @property
    def open(self) -> list[CheckGrade]:
        """The checks that were tried and did not pass."""
        return [check for check in self.tried if not check.passed]

    def next_step(self) -> CheckGrade | None:
        """The first open check; of those that wait for others, only where there is nothing else."""
        return next(iter(sorted(self.open, key=lambda check: check.outcome == "blocked")), None)

    def to_json(self) -> dict[str, Any]:
        about = {name: getattr(self, name) for name in ("id", "title", "points", "max_points")}
        return about | {"checks": [check.to_json() for check in self.checks]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExerciseGrade:
        checks = tuple(CheckGrade.from_json(check) for check in data["checks"])
        return cls(data["id"], data["title"], checks)


@dataclass(frozen=True)
class Grade:
    """A whole submission, graded.

    ``submission`` is what was graded and ``sha256`` the digest of its files; ``kit`` the version
    that graded it; ``seed`` decided the grader's draws; ``walls`` maps each restriction of the
    learner's process to ``enforced``, ``degraded`` or ``unavailable``; ``notes`` are sentences on
    how the submission was read.
    """

    kit: str
    submission: str
    sha256: str = ""
    tier: Literal["quick", "full"] = "quick"
    seed: int = 0
    device: str = "cpu"
    exercises: tuple[ExerciseGrade, ...] = ()
    seconds: float = 0.0
    walls: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def checks(self) -> tuple[CheckGrade, ...]:
        """Every check of the kit, in its order."""
        return tuple(check for exercise in self.exercises for check in exercise.checks)

    @property
    def score(self) -> float:
        return math.fsum(exercise.points for exercise in self.exercises)

    @property
    def max_score(self) -> float:
        return math.fsum(exercise.max_points for exercise in self.exercises)

    def next_step(self) -> CheckGrade | None:
        """What to work on now: that of the first exercise which is not done."""
        steps = (exercise.next_step() for exercise in self.exercises)
        return next((step for step in steps if step is not None), None)

    def to_json(self) -> dict[str, Any]:
        names = ("score", "max_score", "seconds")
        return {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in (*ABOUT, *names)},
            "walls": dict(self.walls),
            **({"notes": list(self.notes)} if self.notes else {}),
            "exercises": [exercise.to_json() for exercise in self.exercises],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Grade:
        """The grade that ``to_json`` made ``data`` of.

        Raises ``GradeError`` for another schema, a missing or unknown entry, an unknown outcome,
        or a score that the outcomes do not add up to.
        """
        try:
            if data["schema"] != SCHEMA:
                raise GradeError(f"its schema is {data['schema']!r}, and {SCHEMA} is understood")
            grade = cls(
                **{name: data[name] for name in (*ABOUT, "seconds", "walls")},
                exercises=tuple(ExerciseGrade.from_json(entry) for entry in data["exercises"]),
                notes=tuple(data.get("notes", ())),
            )
            claimed, counted = (data["score"], data["max_score"]), (grade.score, grade.max_score)
        except (KeyError, TypeError, AttributeError) as error:
            raise GradeError(f"an entry is missing or of the wrong kind: {error}") from error
        if claimed != counted:
            raise GradeError(
                f"it claims {claimed[0]} of {claimed[1]} points; "
                f"its outcomes add up to {counted[0]} of {counted[1]}"
            )
        return grade


def build(
    kit: Kit, results: Mapping[str, Result], *, version: str = __version__, **about: Any
) -> Grade:
    """The grade of ``results`` by check id, and ``about`` it the other fields of a ``Grade``; a
    check of ``kit`` without a result did not run.

    Raises ``KeyError`` for a result of a check that is not the kit's.
    """
    for name in results:
        kit.check(name)
    unknown = Result("not_run")
    exercises = (
        ExerciseGrade(
            each.id,
            each.title,
            tuple(graded(check, results.get(check.id, unknown)) for check in each.checks),
        )
        for each in kit.exercises
    )
    return Grade(version, exercises=tuple(exercises), **about)


def text(grade: Grade) -> str:
    """The JSON of ``grade``, the one canonical form."""
    return json.dumps(grade.to_json(), indent=2, allow_nan=False) + "\n"


def write(grade: Grade, path: Path) -> None:
    """Write the JSON of ``grade`` to ``path``, whole or not at all. Raises ``OSError``."""
    writing.write(path, text(grade))


def read(path: Path) -> Grade:
    """The grade in the file ``path``; ``GradeError`` if it holds none."""
    try:
        return Grade.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, GradeError) as error:
        raise GradeError(f"{path} is not a grade: {error}") from error


def graded(check: Check, result: Result) -> CheckGrade:
    """What a check that ended so is worth."""
    return CheckGrade(
        check.id, check.title, result.outcome, check.points, result.seconds, result.cause
    )


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: arrays as lists, what is not finite as its name."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)
