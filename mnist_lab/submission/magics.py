"""What is Python in a notebook's cell: IPython's own lines are taken out, and no line moves."""

from __future__ import annotations

import re

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

WRITTEN = re.compile(r"%%(?:writefile|file)[ \t]++(-a[ \t]++)?+[\"']?([^\"'\n]++)[\"']?[ \t]*+")

TOKEN = re.compile(
    r"""
    \#.*
    | (?P<quotes>'{3}|"{3})
    | '(?:\\.|[^'\\])*+(?:'|\\?$) | "(?:\\.|[^"\\])*+(?:"|\\?$)
    | (?P<open>[(\[{]) | (?P<close>[)\]}])
    | (?P<joined>\\$)
    """,
    re.VERBOSE,
)
"""What decides where a statement ends. Nothing here gives back what it has matched, so that a line
takes time in proportion to its length."""

ENDS = {quotes: re.compile(rf"(?:\\.|(?!{quotes})[^\\])*+{quotes}") for quotes in ("'''", '"""')}
"""A string in three quotes up to its end, by the quotes."""


def python(source: str) -> str:
    """``source`` with each line of IPython's replaced by ``pass``, and nothing of a cell magic's.

    A line that begins with % or ! inside brackets or a string is Python and stays.
    """
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n") if source else []
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[first].startswith("%%"):
        if lines[first][2:].split(maxsplit=1)[:1] not in [[name] for name in BODIES]:
            return ""
        lines[first] = ""
    lines = _without_margin(lines, first)
    scan = _Scan()
    continued = False  # a line of IPython's that goes on after a backslash
    for number, line in enumerate(lines):
        if continued or (scan.at_start and OWN.match(line.strip())):
            continued = line.endswith("\\")
            lines[number] = f"{line[: len(line) - len(line.lstrip())]}pass"
        else:
            scan.read(line)
    return "\n".join(lines) + "\n" if lines else ""


def written_file(source: str) -> tuple[str, bool, str] | None:
    """The name of the file that a ``%%writefile`` cell writes, whether it adds to it, and the text,
    in which no line moves; ``None`` for any other cell.
    """
    text = source.replace("\r\n", "\n").replace("\r", "\n")
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


class _Scan:
    """Follows brackets, strings and joined lines, to know where a statement begins."""

    def __init__(self) -> None:
        self._depth, self._quotes, self._joined = 0, "", False

    @property
    def at_start(self) -> bool:
        """Whether the next line begins a statement."""
        return not (self._depth or self._quotes or self._joined)

    def read(self, line: str) -> None:
        """Go on to the end of ``line``."""
        self._joined, place = False, 0
        while place < len(line) or self._quotes:
            if self._quotes:
                end = ENDS[self._quotes].match(line, place)
                if end is None:
                    return
                self._quotes, place = "", end.end()
                continue
            found = TOKEN.search(line, place)
            if found is None:
                return
            place = found.end()
            self._quotes = found["quotes"] or ""
            self._depth = max(0, self._depth + bool(found["open"]) - bool(found["close"]))
            self._joined = found["joined"] is not None
