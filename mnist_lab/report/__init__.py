"""A ``Comparison`` as a folder: pages, a notebook, the numbers, the pictures and the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.report import tables
from mnist_lab.report.folder import ReportError, check, put
from mnist_lab.report.results import load, load_grade

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison
    from mnist_lab.grade import Grade

__all__ = ["ReportError", "check", "load", "load_grade", "tables", "write"]


def write(comparison: Comparison, out: Path, grade: Grade | None = None) -> Path:
    """Write the report on ``comparison`` into the folder ``out``, with the grade if there is one,
    and return its ``report.html``.

    A former report there is replaced, whole or not at all. Raises ``ReportError`` if no model
    finished an epoch, and as ``check`` does.
    """
    if not comparison.results:
        raise ReportError("No epoch was finished, so there is nothing to report.")
    from mnist_lab.report.files import contents

    put(contents(comparison, grade), out)
    return out / "report.html"
