"""A ``Comparison`` as a folder: pages, a notebook, the numbers, the pictures and the weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.report import results, tables
from mnist_lab.report.drawing import Artists, draw_all
from mnist_lab.report.folder import RESULTS, ReportError, replaced, writing
from mnist_lab.report.loading import ANSWERS, load, load_grade
from mnist_lab.report.pages import render

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison
    from mnist_lab.grade import Grade

__all__ = [
    "Artists",
    "ReportError",
    "contents",
    "load",
    "load_grade",
    "replaced",
    "tables",
    "write",
    "write_into",
]

COLOURS = {
    "#0072b2": "var(--accent)",
    "#e69f00": "var(--second)",
    "#ffffff": "var(--card)",
    "#dddddd": "var(--line)",
    "#000000": "currentColor",
}
"""The colours of the pictures by those of the page, which has others in the dark."""


def write(comparison: Comparison, out: Path) -> Path:
    """Write the report on ``comparison`` into the folder ``out`` and return its ``report.html``.

    A former report there is replaced, whole or not at all. Raises ``ReportError`` as ``replaced``
    and ``write_into`` do.
    """
    with replaced(out) as scratch:
        write_into(scratch, comparison)
    return out / "report.html"


def write_into(
    folder: Path,
    comparison: Comparison,
    grade: Grade | None = None,
    artists: Artists | None = None,
) -> None:
    """Write the files of the report into ``folder``, with the grade if there is one; ``artists``
    draw its pictures, if there are any.

    Raises ``ReportError`` if no model finished an epoch or a file cannot be written.
    """
    if not comparison.results:
        raise ReportError("No epoch was finished, so there is nothing to report.")
    with writing(folder.parent):
        for name, content in contents(comparison, grade, artists).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def contents(
    comparison: Comparison, grade: Grade | None = None, artists: Artists | None = None
) -> dict[str, bytes]:
    """The files of the report by their path in its folder; the same input, the same bytes."""
    import torch
    from safetensors.torch import save

    from mnist_lab.report import notebook, words
    from mnist_lab.report.live import live

    files: dict[str, bytes] = {}
    drawings = artists.draw(comparison) if artists else draw_all(comparison)
    for name, drawing in drawings.items():
        files[f"figures/{name}.svg"] = drawing.svg.encode()
        files[f"figures/{name}.png"] = drawing.png
    for result in comparison.results:
        weights = {key: value.clone().contiguous() for key, value in result.weights.items()}
        files[f"weights/{result.name}.safetensors"] = save(weights, {"model": result.name})
    answers = {result.name: torch.from_numpy(result.probabilities) for result in comparison.results}
    files[ANSWERS] = save(answers)
    said: dict[str, Any] = {"comparison": comparison, "grade": grade, "words": words}
    said["pictures"] = words.pictures(comparison)
    files["report.md"] = render("report.md.jinja", **said).encode()
    elements = {name: _for_page(drawing.svg) for name, drawing in drawings.items()}
    page = render("report.html.jinja", drawings=elements, live=live(comparison), **said)
    files["report.html"] = page.encode()
    made = notebook.as_notebook(comparison, said["pictures"], drawings, grade)
    files[notebook.FILE] = made.encode()
    files[RESULTS] = results.as_json(comparison, sorted([*files, RESULTS]), grade).encode()
    return files


def _for_page(svg: str) -> str:
    """The element ``svg`` alone in the page's colours, hidden from screen readers: the page names
    it in words.
    """
    element = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    element = re.sub(r'(fill|stroke)="(#[0-9a-f]{6})"', r'style="\1: \2"', element)
    element = re.sub("|".join(COLOURS), lambda found: COLOURS[found[0]], element)
    return element.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1).strip()
