"""Runs of pytest that import everything themselves, where nothing forks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_lab import grade as grades
from mnist_lab.grading.warm import Run
from mnist_lab.submission.sandbox import scratch

__all__ = ["KILLED", "Cold"]

KILLED = -9
"""The status of a run that was killed, in most cases because its time was over."""


class Cold:
    """Runs as ``warm.Job`` has them, each in a process that starts from nothing."""

    def grade(self, arguments: Sequence[str], limit: float) -> Run:
        """A run of pytest with these arguments, killed after ``limit`` seconds."""
        with scratch.folder() as folder:
            file = Path(folder) / "grade.json"
            command = [sys.executable, "-P", "-m", "pytest", *arguments]
            command += ["--grade-json", str(file)]
            try:
                done = subprocess.run(command, capture_output=True, timeout=limit)
            except subprocess.TimeoutExpired:
                return Run(KILLED, "", {})
            said = (done.stdout + done.stderr).decode("utf-8", "replace")
            result = {"grade": grades.read(file).to_json()} if file.exists() else {}
            return Run(done.returncode, said, result)

    def close(self) -> None:
        """There is nothing to end."""
