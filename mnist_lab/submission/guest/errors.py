"""What a learner's code raised, as plain data: its kind, its message, and the learner's frames."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from mnist_lab.submission.guest.learner import Learner, ReturnedError
from mnist_lab.submission.protocol import WireError

KINDS = {
    ReturnedError: "returned",
    WireError: "unsendable",
    SystemExit: "exited",
    MemoryError: "memory",
}

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
"""How PyTorch's RuntimeErrors say it; everything else raises ``MemoryError``."""


def report(error: BaseException, learner: Learner, name: str) -> dict[str, Any]:
    """``error``, raised while what the learner calls ``name`` was in use.

    ``kind`` is ``todo``, ``returned``, ``unsendable``, ``syntax``, ``memory``, ``exited`` or
    ``raised``; ``is_a`` is Python's own class of which the error is; ``where`` is the learner's
    deepest line, ``column`` that of a syntax error, ``part`` the first and last column of what ran
    in that line, and ``stack`` has the lines that are in their folder. ``bound`` is the type
    of what ``name`` is.
    """
    folder = learner.path.parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename, folder)]
    kind, message, column = _kind(error, frames, own), _text(error), 0
    where = f"{_short(own[-1].filename, folder)}:{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and _is_own(error.filename or str(learner.path), folder):
        kind, message, column = "syntax", error.msg, error.offset or 0
        where = f"{_short(error.filename or str(learner.path), folder)}:{error.lineno or 1}"
    return {
        "kind": kind,
        "raised": type(error).__name__,
        "is_a": next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"),
        "said": message,
        "where": where,
        "column": column,
        "part": [own[-1].colno or 0, own[-1].end_colno or 0] if own else [],
        "bound": learner.bound(name),
        "mistake": error.mistake if isinstance(error, ReturnedError) else "",
        "facts": error.facts if isinstance(error, ReturnedError) else {},
        "stack": _traceback(error, own, folder) if kind in ("raised", "exited", "todo") else "",
    }


def _kind(
    error: BaseException, frames: traceback.StackSummary, own: list[traceback.FrameSummary]
) -> str:
    if known := next((kind for kind in KINDS if isinstance(error, kind)), None):
        return KINDS[known]
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY):
        return "memory"
    # PyTorch raises it too, for what a dtype lacks, but never from a learner's own line.
    is_theirs = isinstance(error, NotImplementedError) and own and own[-1] is frames[-1]
    return "todo" if is_theirs else "raised"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # A learner's own class may fail at that too.
        return ""


def _traceback(error: BaseException, own: list[traceback.FrameSummary], folder: Path) -> str:
    short = [
        traceback.FrameSummary(_short(f.filename, folder), f.lineno, f.name, line=f.line)
        for f in own
    ]
    last = f"{type(error).__name__}: {_text(error)}\n"
    return "".join([*traceback.StackSummary.from_list(short).format(), last])


def _is_own(filename: str, folder: Path) -> bool:
    inside = _short(filename, folder)
    return inside != filename and "site-packages" not in Path(inside).parts


def _short(filename: str, folder: Path) -> str:
    try:
        return os.fspath(Path(filename).relative_to(folder))
    except ValueError:
        return filename
