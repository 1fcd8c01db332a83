"""What came of one submission of a class: a grade, or the reason why there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import mnist_lab
from mnist_lab import kit, workspace
from mnist_lab.grade import Grade, GradeError
from mnist_lab.submission import source


@dataclass(frozen=True)
class Options:
    """What decides a grade besides the submission: the tier, the seed that those of the
    submissions are made of, and the kit, which is told by its version and a digest of its code,
    checks and points; and whether there is one at all where a wall is not enforced: none if
    ``strict``.
    """

    tier: Literal["quick", "full"]
    seed: int
    kit: str
    strict: bool = False

    def seed_for(self, digest: str) -> int:
        """The seed of the run of one submission, which is another's only by chance: a second
        attempt meets other draws.
        """
        drawn = hashlib.sha256(f"{self.seed}:{digest}".encode()).digest()
        return int.from_bytes(drawn[:4], "big") >> 1

    @property
    def limit(self) -> float:
        """Seconds after which a run is stuck: its checks and imports have limits of their own."""
        tiers = {"quick", "gpu", self.tier}
        checks = sum(check.limit for check in kit.load().checks if check.tier in tiers)
        return checks + 30.0 * (1 + len(kit.load().exercises))


@dataclass(frozen=True)
class Graded:
    """A grade; ``accuracy`` by exercise of the models that the lab trained on ``digits``, which is
    ``mnist`` or ``sample``.
    """

    grade: Grade
    digits: str = ""
    accuracy: Mapping[str, float] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether every check was judged, so that grading it again would give the same."""
        return not self.unjudged

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The checks that ended with an error of the kit's."""
        return tuple(check.id for check in self.grade.checks if check.outcome == "error")

    def to_json(self) -> dict[str, Any]:
        accuracy = dict(self.accuracy)
        return {"grade": self.grade.to_json(), "digits": self.digits, "accuracy": accuracy}


@dataclass(frozen=True)
class NotGraded:
    """There is no grade; ``reason`` is a sentence. ``refused``: the submission is to blame."""

    reason: str
    refused: bool = False
    settled: ClassVar = False

    @property
    def is_missing(self) -> bool:
        return self == NOTHING

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason}


NOTHING = NotGraded("Nothing was handed in.", refused=True)
"""What comes of a learner of the roster's of whom there is no submission."""

Outcome = Graded | NotGraded


def from_json(data: Mapping[str, Any]) -> Outcome:
    """The outcome that ``to_json`` made ``data`` of. Raises ``GradeError``."""
    try:
        if "reason" in data:
            return NotGraded(str(data["reason"]))
        accuracy = {str(name): float(value) for name, value in data["accuracy"].items()}
        return Graded(Grade.from_json(data["grade"]), str(data["digits"]), accuracy)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GradeError(f"an entry is missing or of the wrong kind: {error}") from error


@cache
def fingerprint() -> str:
    """The kit's version and a digest of all that decides a grade: code, checks, mistakes."""
    package, tests = Path(mnist_lab.__file__).parent, workspace.grading_tests()
    inside = package / "workspace_files"  # Where a wheel has the tests.
    code = [
        file
        for ending in ("py", "toml")
        for file in package.rglob(f"*.{ending}")
        if not file.is_relative_to(inside)
    ]
    named = {file.relative_to(package).as_posix(): file for file in code}
    named |= {f"tests/{file.name}": file for file in tests.glob("*.py")}
    whole = source.digest({name: file.read_bytes() for name, file in named.items()})
    return f"{mnist_lab.__version__}+{whole[:12]}"
