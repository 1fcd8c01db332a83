"""Text that may come from a learner's code, made fit to be shown elsewhere.

What a format escapes in its own way stands beside the format; here is what all of them need.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mnist_lab.grade import Cause, CheckGrade, Grade

LONGEST = 8_000
"""Characters that are kept of one text."""

ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
NEWLINE = re.compile("\r\n?|[\x85\u2028\u2029]")
UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""Controls, halves of surrogate pairs, what XML 1.0 forbids, and what turns text round."""

WORDS = {"todo": "to do", "not_run": "not run"}


def clean(text: str, longest: int = LONGEST) -> str:
    """``text`` without terminal sequences, with plain newlines and no character that hides."""
    text = NEWLINE.sub("\n", ESCAPE_SEQUENCE.sub("", text))
    return cut(UNFIT.sub("\ufffd", text), longest)


def one_line(text: str, longest: int = LONGEST) -> str:
    """``clean`` text with every run of white space as one space."""
    return cut(" ".join(clean(text).split()), longest)


def cut(text: str, longest: int) -> str:
    """The beginning of ``text``, and how much more there is."""
    left_out = len(text) - longest
    return text if left_out <= 0 else f"{text[:longest]} [{left_out:,} characters left out]"


def words(check: CheckGrade) -> str:
    """The outcome of ``check`` in words."""
    return WORDS.get(check.outcome, check.outcome)


def headline(grade: Grade) -> str:
    """The score in a sentence, and what was not tried."""
    sentence = f"{grade.score:g} of {grade.max_score:g} points."
    left_out = sum(check.max_points for check in grade.checks if check.outcome == "not_run")
    return f"{sentence} {left_out:g} of them were not tried." if left_out else sentence


def explained(
    cause: Cause, *, code: bool = True, printed: bool = False, traceback: bool = False
) -> str:
    """``cause`` in a few lines: what the code does, how we know, a hint, where.

    The line that is not Python follows, unless not asked for, and if asked for what the code
    printed and its frames.
    """
    lines = [clean(cause.message), *(f"{name}: {clean(text)}" for name, text in cause.facts)]
    wanted = {"Line": code, "Printed": printed, "Traceback": traceback}
    lines += [f"{name}:\n{text}" for name, text in blocks(cause) if wanted[name]]
    return "\n".join(lines)


def blocks(cause: Cause) -> list[tuple[str, str]]:
    """What takes several lines, clean: a name and a text."""
    named = [("Line", cause.code), ("Printed", cause.output), ("Traceback", cause.traceback)]
    return [(name, shown) for name, text in named if (shown := clean(text).strip("\n"))]


def place(grade: Grade, cause: Cause) -> tuple[str, int] | None:
    """The file, from the folder that holds the submission, and the line that ``cause`` names."""
    if not (found := re.fullmatch(r"([^:]+):(\d{1,7})", one_line(cause.where))):
        return None
    submission = PurePosixPath(one_line(grade.submission))
    file = submission if submission.name == found[1] else submission / found[1]
    return str(file), int(found[2])
