"""What is asked of a learner: the exercises and checks of ``kit.toml``, read and validated.

Who asks what is worth how much, what waits for what or which hints there are asks here.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Tier = Literal["quick", "full", "gpu"]
Kinds = tuple[type, ...]
Entries = Mapping[str, Kinds]

DEFAULT_LIMIT = 10.0
"""Seconds that a check may take unless ``kit.toml`` says otherwise."""

STRING: Kinds = (str,)
NUMBER: Kinds = (int, float)
LIST: Kinds = (list,)
WORDS = {STRING: "a string", NUMBER: "a number", LIST: "a list"}
EXERCISE_ENTRIES: Entries = {
    "id": STRING,
    "title": STRING,
    "file": STRING,
    "names": LIST,
    "minutes": NUMBER,
    "check": LIST,
}
CHECK_ENTRIES: Entries = {"id": STRING, "title": STRING, "points": NUMBER, "hints": LIST}
OPTIONAL_EXERCISE_ENTRIES: Entries = {"done": STRING}
OPTIONAL_CHECK_ENTRIES: Entries = {"tier": STRING, "needs": LIST, "limit": NUMBER}


class KitError(Exception):
    """``kit.toml`` is not what it should be; the message names the exercise or check."""


@dataclass(frozen=True)
class Check:
    """One thing that is tried on the learner's code.

    ``needs`` are the ids of checks that must pass first; ``hints`` a nudge, then nearly the
    answer; ``limit`` the seconds it may take.
    """

    id: str
    exercise: str
    title: str
    points: float
    tier: Tier
    needs: tuple[str, ...]
    hints: tuple[str, str]
    limit: float


@dataclass(frozen=True)
class Exercise:
    """One file of a learner: the ``names`` it must define and the checks on them. ``done`` is the
    sentence for who has finished it.
    """

    id: str
    title: str
    file: str
    names: tuple[str, ...]
    minutes: int
    checks: tuple[Check, ...]
    done: str = ""

    @property
    def points(self) -> float:
        return math.fsum(check.points for check in self.checks)


@dataclass(frozen=True)
class Kit:
    """All exercises, in the order in which they are worked."""

    exercises: tuple[Exercise, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check, in order."""
        return tuple(check for exercise in self.exercises for check in exercise.checks)

    @property
    def files(self) -> dict[str, Exercise]:
        """The exercises by the names of their files."""
        return {exercise.file: exercise for exercise in self.exercises}

    @property
    def max_score(self) -> float:
        return math.fsum(exercise.points for exercise in self.exercises)

    def attainable(self, tier: Literal["quick", "full"]) -> float:
        """The most points that a run of ``tier`` can give: what it leaves out gives none."""
        runs = {"quick"} if tier == "quick" else {"quick", "full"}
        return math.fsum(check.points for check in self.checks if check.tier in runs)

    def exercise(self, name: str) -> Exercise:
        """The exercise called ``name``; ``KeyError`` names those that there are."""
        for exercise in self.exercises:
            if exercise.id == name:
                return exercise
        raise KeyError(f"no exercise is called {name!r}; there are {_listed(self.exercises)}")

    def find(self, name: str) -> Exercise:
        """The exercise that ``name`` may mean: an id, how one begins, or a number from 1 on.

        Raises ``KeyError`` as ``exercise``.
        """
        if name.isdecimal() and 0 < int(name) <= len(self.exercises):
            return self.exercises[int(name) - 1]
        begun = [each for each in self.exercises if name and each.id.startswith(name.lower())]
        return begun[0] if len(begun) == 1 else self.exercise(name)

    def check(self, name: str) -> Check:
        """The check called ``name``; ``KeyError`` names those of its exercise."""
        for check in self.checks:
            if check.id == name:
                return check
        among = self.exercise(name.partition(".")[0]).checks
        raise KeyError(f"no check is called {name!r}; there are {_listed(among)}")


@cache
def load() -> Kit:
    """The kit of this package."""
    return parse(Path(__file__).with_name("kit.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Kit:
    """The kit that ``text``, in the form of ``kit.toml``, describes.

    Raises ``KitError`` for what is missing, unknown, named twice or makes no sense.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KitError(f"kit.toml is not TOML: {error}") from error
    _entries(tables, {"exercise": LIST}, {}, "kit.toml")
    kit = Kit(tuple(_exercise(table) for table in tables["exercise"]))
    _distinct([exercise.id for exercise in kit.exercises], "exercise")
    _distinct([exercise.file for exercise in kit.exercises], "file")
    _distinct([check.id for check in kit.checks], "check")
    _needs_point_back(kit)
    return kit


def _exercise(table: Mapping[str, Any]) -> Exercise:
    where = f"exercise {table.get('id', '?')}"
    _entries(table, EXERCISE_ENTRIES, OPTIONAL_EXERCISE_ENTRIES, where)
    if not table["names"]:
        raise KitError(f"{where}: its file must define at least one name")
    if Path(table["file"]).name != table["file"] or not table["file"].endswith(".py"):
        raise KitError(f"{where}: {table['file']!r} is not the name of a Python file")
    return Exercise(
        id=table["id"],
        title=table["title"],
        file=table["file"],
        names=tuple(table["names"]),
        minutes=table["minutes"],
        checks=tuple(_check(entry, table["id"]) for entry in table["check"]),
        done=table.get("done", ""),
    )


def _check(table: Mapping[str, Any], exercise: str) -> Check:
    where = f"check {table.get('id', '?')}"
    _entries(table, CHECK_ENTRIES, OPTIONAL_CHECK_ENTRIES, where)
    tier, limit = table.get("tier", "quick"), float(table.get("limit", DEFAULT_LIMIT))
    if not table["id"].startswith(f"{exercise}."):
        raise KitError(f"{where}: its id must begin with {exercise!r} and a dot")
    if not table["title"].strip():
        raise KitError(f"{where}: it has no title")
    if tier not in get_args(Tier):
        raise KitError(f"{where}: {tier!r} is not one of the tiers {', '.join(get_args(Tier))}")
    if len(table["hints"]) != 2 or not all(str(hint).strip() for hint in table["hints"]):
        raise KitError(f"{where}: it must have two hints, a nudge and nearly the answer")
    if not limit > 0:
        raise KitError(f"{where}: its limit must be a positive number of seconds")
    if tier == "gpu" and table["points"] != 0:
        raise KitError(f"{where}: it needs a GPU, so it must be worth nothing")
    if tier != "gpu" and not table["points"] > 0:
        raise KitError(f"{where}: it must be worth something")
    nudge, answer = table["hints"]
    return Check(
        id=table["id"],
        exercise=exercise,
        title=table["title"],
        points=float(table["points"]),
        tier=tier,
        needs=tuple(table.get("needs", ())),
        hints=(nudge, answer),
        limit=limit,
    )


def _entries(table: Mapping[str, Any], required: Entries, optional: Entries, where: str) -> None:
    if lacking := required.keys() - table.keys():
        raise KitError(f"{where}: it lacks {', '.join(sorted(lacking))}")
    kinds = {**required, **optional}
    for key, value in table.items():
        if key not in kinds:
            raise KitError(f"{where}: nothing is called {key}")
        if not isinstance(value, kinds[key]):
            raise KitError(f"{where}: {key} must be {WORDS[kinds[key]]}")


def _distinct(ids: list[str], kind: str) -> None:
    for index, name in enumerate(ids):
        if name in ids[:index]:
            raise KitError(f"{kind} {name}: it is there twice")


def _needs_point_back(kit: Kit) -> None:
    # Needs that only name earlier checks can't form a circle, and can be met in order.
    earlier: set[str] = set()
    for check in kit.checks:
        if unknown := set(check.needs) - earlier:
            raise KitError(
                f"check {check.id}: it needs {', '.join(sorted(unknown))}, "
                "which is not a check before it"
            )
        earlier.add(check.id)


def _listed(named: tuple[Exercise, ...] | tuple[Check, ...]) -> str:
    return ", ".join(item.id for item in named)
