"""The learner's repository: stubs, the tests that grade them and how to begin, no solutions.

Before anything is written each file is compared with the solutions. The comparison finds lines of
theirs, in whatever file and however indented, quoted or wrapped; it cannot find a solution in other
words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from mnist_lab import check_kit, handout, stubs, workspace
from mnist_lab.errors import LabError
from mnist_lab.grading import checkout
from mnist_lab.writing import cannot_write, fill, whole

LISTED = ("exercises", "tests/grading", "conftest.py", "LICENSE", "constraints.txt")

UNKNOWN_KIT = "# mnist-lab belongs here, a wheel or a git URL: ask those who run the course."

MOST_SHOWN = 5

TELLING = 28
"""Characters from which on one line of a solution gives it away. The longest that the handouts and
the grading tests share with one is ``with torch.no_grad():``, 20 characters without blanks."""

MARGIN = re.compile(r"^(?:\s*(?:>>>|\.\.\.|[>*|#-]|\d+\.))*\s*")
"""What stands before code that is quoted: prompts, bullets, the marks of quotes and comments."""


def contents(root: Path, kit: str) -> dict[str, bytes]:
    """The files of the learner's repository by path; ``kit`` is what pip is to install, empty if
    that is not known yet.

    ``root`` is a checkout of the kit.
    """
    files = {name: (root / name).read_bytes() for name in checkout.listed(root, LISTED)}
    workflow = (root / "docs" / "examples" / "grade.yml").read_text(encoding="utf-8")
    quoted, templates = json.dumps(kit), Path(__file__).parent / "templates"
    own = {
        f"exercises/{handout.FILE}": check_kit.notebook(root, kit),
        "README.md": (templates / "learner.md").read_text(encoding="utf-8"),
        "requirements.txt": f"--constraint constraints.txt\n{kit or UNKNOWN_KIT}\n",
        "pytest.ini": workspace.SETTINGS,
        ".gitignore": (templates / "gitignore").read_text(encoding="utf-8"),
        ".github/workflows/grade.yml": re.sub(
            r"^  KIT: .*$", lambda _: f"  KIT: {quoted}", workflow, count=1, flags=re.M
        ),
    }
    return files | {name: text.encode() for name, text in own.items()}


def write(root: Path, out: Path, *, kit: str = "", allow_dirty: bool = False) -> list[str]:
    """Write the learner's repository into the new folder ``out``; the paths of its files.

    It is written whole or not at all. Raises ``LabError`` if ``out`` is in the way, something
    is not committed or not in order, a solution would leak, or it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LabError(f"{out} is not empty: name a new folder.")
    if "\n" in kit:
        raise LabError("what pip is to install must stand on one line.")
    try:
        _refuse_what_is_unfinished(root, allow_dirty)
        files = contents(root, kit)
        solved = sorted((root / "solutions").glob("*.py"))
        if found := list(leaks(files, {each.name: each.read_text("utf-8") for each in solved})):
            raise LabError(
                f"it would give away solutions: {_some(found)}. Take that out and release again."
            )
    except OSError as error:
        raise LabError(f"{error.filename or root}: {error.strerror}.") from error
    try:
        with whole(out) as scratch:
            fill(scratch, files)
            if out.exists():
                out.rmdir()
    except OSError as error:
        raise LabError(cannot_write(out, error)) from error
    return sorted(files)


def leaks(files: Mapping[str, bytes], solutions: Mapping[str, str]) -> Iterator[str]:
    """Where one of ``files`` has code of a solution's fenced regions, in words.

    A line tells if it is long, or is all of its region, or stands beside its neighbour.
    """
    telling = {name: list(_telling(solution)) for name, solution in solutions.items()}
    for path, data in files.items():
        text = _squeezed(_text(path, data))
        for name, lines in telling.items():
            if any(line in text for line in lines):
                yield f"{path} has lines of solutions/{name}"


def _telling(solution: str) -> Iterator[str]:
    lines = solution.splitlines()
    for task in stubs.tasks(solution):
        region = [_squeezed(line) for line in lines[task.first + 1 : task.last]]
        region = [line for line in region if line]
        if len(region) == 1:
            yield region[0]
        yield from (line for line in region if len(line) >= TELLING)
        pairs = (first + second for first, second in pairwise(region))
        yield from (pair for pair in pairs if len(pair) >= TELLING)


def _squeezed(text: str) -> str:
    """``text`` without margins, blanks and line ends, and with one kind of quotes."""
    lines = (MARGIN.sub("", line) for line in text.splitlines())
    return "".join("".join(lines).split()).replace("'", '"')


def _text(path: str, data: bytes) -> str:
    """What a reader of the file sees; of a notebook the cells, and not their JSON."""
    text = data.decode("utf-8", errors="replace")
    if path.endswith((".ipynb", ".json")):
        try:
            return "\n".join(_strings(json.loads(text)))
        except ValueError:
            return text.replace("\\n", "\n").replace('\\"', '"')
    return text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(entry)


def _refuse_what_is_unfinished(root: Path, allow_dirty: bool) -> None:
    if not allow_dirty and (changed := checkout.uncommitted(root)):
        raise LabError(
            f"{len(changed)} files are not committed ({_some(changed)}): commit them or put them "
            "away, so that it can be said later what was released."
        )
    if problems := check_kit.problems(root):
        raise LabError(f"the kit is not whole: {_some(problems)} See mnist-lab check-kit.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more
