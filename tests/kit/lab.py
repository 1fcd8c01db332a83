"""A learner's workspace, and pytest in it: each run is a fork of a process that is ready."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mnist_lab import workspace
from mnist_lab.grade import Grade
from mnist_lab.grading import warm
from mnist_lab.grading.warm import Run

__all__ = ["Lab"]

ROOT = Path(__file__).parents[2]
PATIENCE = 600


class Lab:
    """The workspace in the new ``folder``; ``environment`` is added to that of its runs."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.exercises = folder, folder / "exercises"
        workspace.create(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            # The kit's own grading tests, which the process has imported, stand for their copies.
            for name, value in {"PY_IGNORE_IMPORTMISMATCH": "1", **environment}.items():
                patch.setenv(name, value)
            self._job = warm.start()

    def pytest(self, *arguments: object) -> tuple[Run, Grade | None]:
        """The run, and its grade if there is one."""
        run = self._job.grade([str(argument) for argument in arguments], PATIENCE)
        found = run.result.get("grade")
        return run, Grade.from_json(found) if found else None

    def clear(self) -> None:
        """Have nothing written or remembered yet."""
        shutil.rmtree(self.exercises)
        for kept in (".mnist-lab", ".pytest_cache"):
            shutil.rmtree(self.folder / kept, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "exercises", self.exercises, ignore=ignored)

    def close(self) -> None:
        """End the process."""
        self._job.close()
