"""``mnist-lab watch`` in a terminal: saved files and pressed keys."""

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnist_lab.grading import watch

ROOT = Path(__file__).parents[2]
PATIENCE = 60


class Terminal:
    """A terminal in which ``mnist-lab watch`` runs; ``read_until`` gives what it has shown."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.handle, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from mnist_lab.cli import run; run()", "watch"],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm",
                "COLUMNS": "80",
                **environment,
            },
        )
        os.close(theirs)
        self.shown = ""

    def press(self, key: str) -> None:
        os.write(self.handle, key.encode())

    def read_until(self, text: str) -> str:
        """What was shown from the last reading up to ``text``, and its line."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.handle], [], [], 1)[0]:
                self.shown += os.read(self.handle, 4096).decode(errors="replace")
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        os.close(self.handle)


@pytest.fixture
def terminal(tmp_path):
    shutil.copytree(ROOT / "exercises", tmp_path / "exercises")
    terminal = Terminal(tmp_path)
    terminal.read_until("q quit")
    yield terminal
    terminal.press("q")
    terminal.close()


def test_a_saved_file_is_graded_and_keys_are_answered(terminal, tmp_path):
    shutil.copyfile(ROOT / "solutions" / "fnn.py", tmp_path / "exercises" / "fnn.py")
    shown = terminal.read_until("q quit")
    assert "fnn.py was saved." in shown
    assert "11 of 15" in shown
    assert "Warning" not in shown

    terminal.press("n")
    assert "preprocessing.test_transform" in terminal.read_until("scales and normalises")

    terminal.press("h")
    assert "resize" in terminal.read_until("2.8215")

    terminal.press("a")
    shown = terminal.read_until("q quit")
    assert "11 of 15" in shown
    assert "Score 11 of 85" in shown

    terminal.press("q")
    assert terminal.process.wait(PATIENCE) == 0


def test_a_notebook_is_graded_when_it_is_saved_if_it_is_what_is_graded(tmp_path):
    notebook = tmp_path / "lab.ipynb"
    notebook.write_bytes((ROOT / "exercises" / "mnist_lab.ipynb").read_bytes())

    assert watch._is_graded("lab.ipynb", notebook)
    assert watch._is_graded("lab.ipynb", tmp_path)
    assert not watch._is_graded("other.ipynb", tmp_path)
    assert not watch._is_graded("cnn.py", tmp_path)
    notebook.write_text("{")
    assert not watch._is_graded("lab.ipynb", tmp_path)
    assert not watch._is_graded("mnist_lab.ipynb", ROOT / "exercises")
