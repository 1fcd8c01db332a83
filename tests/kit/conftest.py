import os
import tempfile

# Several tests run at a time; threads that wait for one another are slow where cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where tests are spread over processes each has the width of a terminal, and sentences are wrapped.
os.environ.pop("COLUMNS", None)

import multiprocessing
import sys
from contextlib import closing

import leftovers
import pytest
from forks import Forks
from hypothesis import settings

from mnist_lab import compare, data, training
from mnist_lab.grading import run, warm
from mnist_lab.submission import caller
from mnist_lab.submission.server import Server

PATIENCE = 600

settings.register_profile("busy", deadline=None)  # No example is late on a busy machine.
settings.load_profile("busy")

if sys.platform == "linux":  # From Python 3.14 on a server would be left, and take its time.
    multiprocessing.set_start_method("fork", force=True)


def pytest_configure(config):
    """Have all that the tests start and leave behind where it is found; see ``leftovers``."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    # What tests keep for whoever looks at it stays where it was.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[LEFT] = leftovers.Leftovers()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    left = session.config.stash.get(LEFT, None)
    if left is not None and (found := left.found()):
        print("\n\nThe tests have left", *found, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


LEFT = pytest.StashKey[leftovers.Leftovers]()


@pytest.fixture(scope="session")
def comparison():
    """The three models after two short epochs on real digits. Read it, do not change it."""
    digits = data.load("sample", train_size=500, test_size=200)
    return compare.compare(digits, training.Settings(epochs=2, device="cpu"))


@pytest.fixture(scope="session")
def server():
    """Runs the submissions of all tests that need no server of their own."""
    with closing(Server(for_many=True)) as server:
        yield server


@pytest.fixture(scope="session")
def forks():
    """Runs ``mnist-lab`` without importing PyTorch each time."""
    with closing(Forks()) as forks:
        yield forks


@pytest.fixture(scope="session")
def job():
    with closing(warm.start()) as job:
        yield job


@pytest.fixture
def in_forks(monkeypatch, job):
    """What ``mnist_lab.grading.run`` grades is graded in forks of one process."""

    def grade(self, arguments, limit=None, *, shown=False):
        ended = job.grade(arguments, PATIENCE)
        if shown:
            print(ended.output)
        return ended

    monkeypatch.setattr(run.Cold, "grade", grade)


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
