import os

# Several tests run at a time; threads that wait for one another are slow where cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
from contextlib import closing

import pytest
from forks import Forks

from mnist_lab import compare, data, training
from mnist_lab.grading import run
from mnist_lab.grading.warm import Warm
from mnist_lab.submission import caller
from mnist_lab.submission.server import Server

PATIENCE = 600


@pytest.fixture(scope="session")
def comparison():
    """The three models after two short epochs on real digits. Read it, do not change it."""
    digits = data.load("sample", train_size=500, test_size=200)
    return compare.compare(digits, training.Settings(epochs=2, device="cpu"))


@pytest.fixture(scope="session")
def server():
    """Runs the submissions of all tests that need no server of their own."""
    with closing(Server()) as server:
        yield server


@pytest.fixture(scope="session")
def forks():
    """Runs ``mnist-lab`` without importing PyTorch each time."""
    with closing(Forks()) as forks:
        yield forks


@pytest.fixture(scope="session")
def warm():
    with Warm() as warm:
        yield warm


@pytest.fixture
def in_forks(monkeypatch, warm):
    """What ``mnist_lab.grading.run`` grades is graded in forks of one process."""

    def pytest_run(path, *, quiet=False, **options):
        ended = warm.grade(run.arguments(path, **options), PATIENCE)
        if not quiet:
            print(ended.output)
        return subprocess.CompletedProcess([], ended.status, ended.output, "")

    monkeypatch.setattr(run, "pytest", pytest_run)


@pytest.fixture
def soon(monkeypatch):
    """What does not end is stopped after two seconds."""
    limit = caller.Caller.limit
    monkeypatch.setattr(caller, "LOAD_LIMIT", 2.0)
    monkeypatch.setattr(caller.Caller, "limit", lambda self, given: limit(self, min(given, 2.0)))


@pytest.fixture
def undrawn(monkeypatch):
    """Reports have blanks for their pictures, which take seconds to draw."""
    from mnist_lab import plots
    from mnist_lab.report import drawing

    blank = dict.fromkeys(plots.FIGURES, drawing.Drawing("<svg></svg>", b"", ""))
    monkeypatch.setattr(drawing, "draw_all", lambda comparison: blank)
