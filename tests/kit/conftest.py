import os

# Several tests run at a time; threads that wait for one another are slow where cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from mnist_lab import compare, data, training


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
