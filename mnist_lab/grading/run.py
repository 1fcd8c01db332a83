"""Grade a submission by running pytest on the grading tests in another process: one that starts
from nothing, or where the system forks one that is ready (``warm``).

Nothing of the submission's folder is configuration: pytest runs in the kit's folder, with the
kit's settings and plugin alone.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_lab import grade as grades
from mnist_lab import workspace
from mnist_lab.errors import LabError
from mnist_lab.grade import Grade
from mnist_lab.grading import warm
from mnist_lab.grading.warm import KILLED, Job, Run
from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.server import default_isolation, environment

PYTEST = "import pytest; from mnist_lab import terminal; terminal.run(pytest.console_main)"
"""pytest as a process, which ends sooner than one that Python ends."""


def fresh_seed() -> int:
    """A seed that nobody can prepare for."""
    return secrets.randbelow(2**31)


def arguments(
    path: Path,
    *,
    full: bool = False,
    seed: int = 0,
    exercise: str | None = None,
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
    if exercise:
        given += ["-k", exercise]
    return [*given, str(tests)]


def grade(path: Path, *, full: bool = False) -> Grade:
    """The grade of ``path``; ``LabError`` with the last that was printed if there is none."""
    ended = Cold().grade(arguments(path, full=full))
    if "grade" not in ended.result:
        raise LabError(ended.output.strip()[-2000:])
    return Grade.from_json(ended.result["grade"])


def ready() -> Job | Cold:
    """What grades one submission after the other; it has imported everything where that forks."""
    return warm.start() if default_isolation() == "fork" else Cold()


class Cold:
    """Runs as ``warm.Job`` has them, each in a process that starts from nothing."""

    def grade(
        self, arguments: Sequence[str], limit: float | None = None, *, shown: bool = False
    ) -> Run:
        """A run of pytest with these arguments, killed after ``limit`` seconds."""
        with scratch.folder() as folder:
            file = Path(folder) / "grade.json"
            command = [sys.executable, "-P", "-c", PYTEST, *arguments]
            command += ["--grade-json", str(file)]
            try:
                done = subprocess.run(
                    command, capture_output=not shown, timeout=limit, env=environment()
                )
            except subprocess.TimeoutExpired:
                return Run(KILLED, "", {})
            said = "" if shown else (done.stdout + done.stderr).decode("utf-8", "replace")
            result = {"grade": grades.read(file).to_json()} if file.exists() else {}
            return Run(done.returncode, said, result)

    def close(self) -> None:
        """There is nothing to end."""
