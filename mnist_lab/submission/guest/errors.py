"""What a learner's code raised, as plain data: its kind, its message, and the learner's frames."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from mnist_lab.submission.guest.learner import ReturnedError
from mnist_lab.submission.protocol import WireError

__all__ = ["report"]

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
"""How PyTorch's RuntimeErrors say it; everything else raises ``MemoryError``."""

NO_SUPER_INIT = ("before Module.__init__() call", "no attribute '_parameters'")
"""How PyTorch notices that a module's own __init__ did not run."""

NO_GPU = ("not compiled with CUDA", "No CUDA GPUs", "no NVIDIA driver", "NVIDIA GPU")
"""How PyTorch says that a GPU was asked for and is not there."""

AFTER_FORK = "Cannot re-initialize CUDA in forked subprocess"
"""How it says that a GPU is there and was asked for in a process that has none by design."""

CALLED = ("required positional argument", "positional arguments but", "unexpected keyword argument")
"""How Python says that a function takes other arguments than it was given."""


def report(error: BaseException, path: Path) -> dict[str, str]:
    """``error``, raised while the learner's file ``path`` was in use.

    ``kind`` is ``todo``, ``returned``, ``unsendable``, ``syntax``, ``memory``, ``exited`` or
    ``raised``; ``where``
    is the learner's deepest line, ``traceback`` has the lines that are in their folder.
    ``mistake`` is a key of the tables in ``mnist_lab.interface`` or empty, with its ``evidence``.
    """
    folder = path.parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename, folder)]
    kind, message = _kind(error, frames, own), _text(error)
    where = f"{_short(own[-1].filename, folder)}:{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and _is_own(error.filename or str(path), folder):
        kind, message = "syntax", error.msg
        where = f"{_short(error.filename or str(path), folder)}:{error.lineno or 1}"
    mistake, evidence = _mistake(error, bool(own))
    return {
        "mistake": mistake,
        "evidence": evidence,
        "kind": kind,
        "raised": type(error).__name__,
        "message": message,
        "where": where,
        "traceback": _traceback(error, own, folder) if kind in ("raised", "exited") else "",
    }


def _kind(
    error: BaseException, frames: traceback.StackSummary, own: list[traceback.FrameSummary]
) -> str:
    if isinstance(error, ReturnedError):
        return "returned"
    if isinstance(error, WireError):
        return "unsendable"
    if isinstance(error, SystemExit):
        return "exited"
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY):
        return "memory"
    if isinstance(error, NotImplementedError) and own and own[-1] is frames[-1]:
        # PyTorch raises it too, for an operation that a dtype lacks, from a line without `raise`.
        return "todo" if (own[-1].line or "").startswith("raise") else "raised"
    return "raised"


def _mistake(error: BaseException, in_own_code: bool) -> tuple[str, str]:
    """A mistake in the interface that PyTorch or Python has recognised, and what they said."""
    if isinstance(error, ReturnedError):
        return error.mistake, error.evidence
    said = _text(error)
    if isinstance(error, AttributeError) and any(sign in said for sign in NO_SUPER_INIT):
        return "no-super-init", f"PyTorch says: {said}."
    if isinstance(error, TypeError) and "descriptor '__init__' of 'super'" in said:
        return "no-super-init", "super.__init__() lacks the parentheses after super."
    if isinstance(error, TypeError) and not in_own_code and any(sign in said for sign in CALLED):
        kinds = {".forward()": "forward-arguments", "__init__()": "needs-arguments"}
        kind = next((kind for name, kind in kinds.items() if name in said), "other-arguments")
        return kind, f"Python says: {said}."
    if isinstance(error, NotImplementedError) and 'missing the required "forward"' in said:
        return "no-forward", f"PyTorch says: {said}."
    if AFTER_FORK in said:
        return "needs-gpu", "A GPU was asked for where everything is on the CPU."
    if any(sign in said for sign in NO_GPU):
        return "needs-gpu", f"PyTorch says: {said.splitlines()[0]}"
    return "", ""


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
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
