"""Grade a submission by running pytest on the grading tests in a process of its own.

Nothing of the submission's folder is configuration: pytest runs in the kit's folder, with the
kit's settings and plugin alone.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mnist_lab import grade as grades
from mnist_lab import workspace
from mnist_lab.grade import Grade
from mnist_lab.submission.server import default_isolation

__all__ = ["GradingError", "arguments", "fresh_seed", "grade", "pytest"]


class GradingError(Exception):
    """The grader itself failed; the message is what it printed last."""


def fresh_seed() -> int:
    """A seed that nobody can prepare for."""
    return secrets.randbelow(2**31)


def pytest(arguments: Sequence[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run pytest with these ``arguments``; if ``quiet``, keep what it prints."""
    command = [sys.executable, "-P", "-m", "pytest", *arguments]
    return subprocess.run(command, capture_output=quiet, text=True)


def arguments(
    path: Path,
    *,
    full: bool = False,
    seed: int = 0,
    exercise: str | None = None,
    grade_json: Path | None = None,
    verbose: bool = False,
    strict: bool = False,
) -> list[str]:
    """What pytest is called with to grade ``path``, or one ``exercise`` of it."""
    tests = workspace.grading_tests()
    given = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    given += ["-p", "no:cacheprovider", "-p", "no:logging"]
    given += ["-p", "mnist_lab.grading.plugin", "--noconftest"]
    given += ["-c", os.devnull, f"--rootdir={tests.parent}", f"--confcutdir={tests}"]
    given += ["--submission", str(path.resolve())]
    given += ["--isolation", default_isolation(), "--grade-seed", str(seed), "--walls"]
    if strict:
        given += ["--require", "strict"]
    if full:
        given.append("--full")
    if verbose:
        given.append("-v")
    if grade_json:
        given += ["--grade-json", str(grade_json.resolve())]
    return [*given, str(tests / f"test_{exercise}.py" if exercise else tests)]


def grade(path: Path, *, full: bool = False, seed: int = 0) -> Grade:
    """The grade of the submission ``path``; ``GradingError`` if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grade.json"
        run = pytest(arguments(path, full=full, seed=seed, grade_json=file), quiet=True)
        if not file.exists():
            raise GradingError((run.stderr or run.stdout).strip()[-2000:])
        return grades.read(file)
