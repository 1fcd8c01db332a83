import os
import tempfile

# Several tests run at a time; threads that wait for one another are slow where cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import leftovers
import pytest

from mnist_lab import compare, data, training


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


@pytest.fixture
def undrawn(monkeypatch):
    """Reports have blanks for their pictures, which take seconds to draw."""
    from mnist_lab import plots
    from mnist_lab.report import drawing

    blank = dict.fromkeys(plots.FIGURES, drawing.Drawing("<svg></svg>", b"", ""))
    monkeypatch.setattr(drawing, "draw_all", lambda comparison: blank)
