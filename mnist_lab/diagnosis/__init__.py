"""What went wrong: a failed check is raised as ``CheckFailure`` with the cause that it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mnist_lab.grade import Cause

if TYPE_CHECKING:
    from mnist_lab.submission.caller import SubmissionFailure

__all__ = ["CheckFailure", "Waiting", "fail"]


class CheckFailure(AssertionError):  # noqa: N818 - a verdict on the learner's code, no error of ours
    """The learner's code does not do what the handout asks for; ``cause`` says in what way.

    ``mistake`` is a word for an answer that says nothing (see ``degenerate``), with ``facts``.
    """

    def __init__(
        self, cause: Cause, mistake: str = "", facts: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cause.message)
        self.cause, self.mistake, self.facts = cause, mistake, facts or {}


class Waiting(Exception):  # noqa: N818 - an outcome
    """The check cannot be judged before the check with the id ``needed`` passes. If that passes all
    the same, it has failed with the ``failure``.
    """

    def __init__(
        self, needed: str, failure: CheckFailure | SubmissionFailure | None = None
    ) -> None:
        super().__init__(needed)
        self.needed, self.failure = needed, failure


def fail(message: str, evidence: str = "", hint: str = "", **details: Any) -> CheckFailure:
    """The failure to raise: one true sentence, how it is known, one hint; see ``Cause``."""
    return CheckFailure(Cause(message, evidence=evidence, hint=hint, **details))
