"""What is asked of a learner: the exercises and checks of ``kit.toml``, read and validated.

Who asks what is worth how much, what waits for what or which hints there are asks here.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Tier = Literal["quick", "full", "gpu"]


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
    hints: tuple[str, str]
    tier: Tier = "quick"
    needs: tuple[str, ...] = ()
    limit: float = 10.0


@dataclass(frozen=True)
class Exercise:
    """One file of a learner: the ``names`` it must define and the checks on them. ``done`` is the
    sentence for who has finished it.
    """

    id: str
    title: str
    file: str
    names: tuple[str, ...]
    minutes: float
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
    if tables.keys() != {"exercise"}:
        raise KitError("kit.toml: it must hold exercises and nothing else")
    kit = Kit(tuple(map(_exercise, tables["exercise"])))
    _distinct([exercise.id for exercise in kit.exercises], "exercise")
    _distinct([exercise.file for exercise in kit.exercises], "file")
    _distinct([check.id for check in kit.checks], "check")
    _needs_point_back(kit)
    return kit


@contextmanager
def _place(name: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise KitError(f"{name}: {str(error).rpartition('__init__() ')[2]}") from error


def _exercise(table: dict[str, Any]) -> Exercise:
    name = table.get("id", "?")
    with _place(f"exercise {name}"):
        checks = tuple(_check({**check, "exercise": name}) for check in table.pop("check", ()))
        exercise = Exercise(**_frozen(table), checks=checks)
        if not checks or not exercise.names or isinstance(exercise.names, str):
            raise ValueError("it must have checks and a list of the names in its file")
        if Path(exercise.file).name != exercise.file or not exercise.file.endswith(".py"):
            raise ValueError(f"{exercise.file!r} is not the name of a Python file")
        return exercise


def _check(table: dict[str, Any]) -> Check:
    with _place(f"check {table.get('id', '?')}"):
        check = Check(**_frozen(table))
        if not check.id.startswith(f"{check.exercise}."):
            raise ValueError(f"its id must begin with {check.exercise!r} and a dot")
        if not check.title.strip():
            raise ValueError("it has no title")
        if check.tier not in get_args(Tier):
            raise ValueError(f"{check.tier!r} is not one of the tiers {', '.join(get_args(Tier))}")
        if len(check.hints) != 2 or not all(hint.strip() for hint in check.hints):
            raise ValueError("it must have two hints, a nudge and nearly the answer")
        if not check.limit > 0:
            raise ValueError("its limit must be a positive number of seconds")
        if check.tier == "gpu" and check.points != 0:
            raise ValueError("it needs a GPU, so it must be worth nothing")
        if check.tier != "gpu" and not check.points > 0:
            raise ValueError("it must be worth something")
        return check


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    kinds: dict[type, Any] = {int: float, list: tuple}
    return {key: kinds.get(type(value), type(value))(value) for key, value in table.items()}


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
