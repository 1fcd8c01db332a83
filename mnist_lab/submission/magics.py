"""What is Python in a notebook's cell: in place of IPython's own lines stands what they do in
Python, or ``pass``, and no line moves.
"""

from __future__ import annotations

import re

from mnist_lab.submission.definitions import LINE_END, TOO_MUCH, parsed

BODIES = ("time", "capture", "prun", "debug")
"""Cell magics that run the rest of their cell as Python; all others take it as something else."""

OWN = re.compile(
    r"""
    [%!?]                                  # %matplotlib inline, !ls, ?print
    | [\w.,\ \[\]]++=\s*+[%!]              # files = !ls
    | (?:pip3?|conda|mamba|uv)\ ++\w       # pip install torch
    | [\w.*\ \[\]=-]++\?{1,2}+$            # print?
    """,
    re.VERBOSE,
)
"""How a line of IPython's begins, where a statement does."""

TIMED = re.compile(r"%time[ \t]++(.++)")

ENVIRONMENT = re.compile(r"%(?:set_)?env[ \t]++(\w++)(?:[ \t]*+=[ \t]*+|[ \t]++)(.++)")

RUN = re.compile(r"%run[ \t]++(?:-\w[ \t]++)*+[\"']?(\w++)(?:\.py)?[\"']?")

WRITTEN = re.compile(r"%%(?:writefile|file)[ \t]++(-a[ \t]++)?+[\"']?([^\"'\n]++)[\"']?[ \t]*+")

PARSED = 2 << 20
"""How many characters of a cell are parsed, which finds one line of IPython's each time."""


def python(source: str) -> str:
    """``source`` with what each line of IPython's does in Python in its place, or ``pass``, and
    nothing of a cell magic's.

    Such a line is one at which Python stops: what begins with % or ! inside brackets or a string
    stays.
    """
    lines = LINE_END.sub("\n", source).split("\n") if source else []
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[first].startswith("%%"):
        if lines[first][2:].split(maxsplit=1)[:1] not in [[name] for name in BODIES]:
            return ""
        lines[first] = ""
    lines = _without_margin(lines, first)
    has_own = any(OWN.match(line.strip()) for line in lines)
    for _ in range(PARSED // len(source) if has_own else 0):
        at = _not_python(lines)
        while at > 0 and lines[at - 1].endswith("\\"):  # It goes on from the line before.
            at -= 1
        line = lines[at] if 0 <= at < len(lines) else ""
        if not OWN.match(line.strip()):
            break
        lines[at] = f"{line[: len(line) - len(line.lstrip())]}{_instead(line.strip())}"
        while line.endswith("\\") and at + 1 < len(lines):
            at += 1
            line, lines[at] = lines[at], ""
    return "\n".join(lines) + "\n" if lines else ""


def _instead(line: str) -> str:
    """What Python runs in place of a line of IPython's: the import of a file that may have been
    handed in, what is timed, what is set in the environment, or nothing.
    """
    if script := RUN.fullmatch(line):
        return f"from {script[1]} import *"
    if timed := TIMED.fullmatch(line):
        return timed[1]
    if setting := ENVIRONMENT.fullmatch(line):
        return f"import os; os.environ[{setting[1]!r}] = {setting[2]!r}"
    return "pass"


def written_file(source: str) -> tuple[str, bool, str] | None:
    """The name of the file that a ``%%writefile`` cell writes, whether it adds to it, and the text,
    in which no line moves; ``None`` for any other cell.
    """
    text = LINE_END.sub("\n", source)
    first, _, rest = text.lstrip("\n").partition("\n")
    found = WRITTEN.fullmatch(first.rstrip())
    if found is None:
        return None
    above = "\n" * (1 + len(text) - len(text.lstrip("\n")))
    return found[2].strip(), found[1] is not None, above + rest


def _without_margin(lines: list[str], first: int) -> list[str]:
    """``lines`` moved left as far as the first that is not empty, as IPython does."""
    margin = re.match(r"\s*", lines[first])[0] if lines else ""  # type: ignore[index]
    return [line.removeprefix(margin) for line in lines] if margin else lines


def _not_python(lines: list[str]) -> int:
    """The first line, from 0, at which Python sees that they are none; -1 if it does not."""
    try:
        parsed("\n".join(lines))
    except SyntaxError as error:
        return (error.lineno or 0) - 1
    except TOO_MUCH:
        pass
    return -1
