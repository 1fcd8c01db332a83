"""The files of a report, made from a ``Comparison``. Importing this takes a second or two."""

from __future__ import annotations

import re
from typing import Any

import torch
from safetensors.torch import save

from mnist_lab.compare import Comparison
from mnist_lab.grade import Grade
from mnist_lab.report import drawing, notebook, results, words
from mnist_lab.report.folder import RESULTS
from mnist_lab.report.live import live
from mnist_lab.report.pages import render

COLOURS = {
    "#0072b2": "var(--accent)",
    "#e69f00": "var(--second)",
    "#ffffff": "var(--card)",
    "#dddddd": "var(--line)",
    "#000000": "currentColor",
}
"""The colours of the pictures by those of the page, which has others in the dark."""


def contents(comparison: Comparison, grade: Grade | None = None) -> dict[str, bytes]:
    """The files of the report by their path in its folder; the same input, the same bytes."""
    files: dict[str, bytes] = {}
    drawings = drawing.draw_all(comparison)
    for name, drawn in drawings.items():
        files[f"figures/{name}.svg"] = drawn.svg.encode()
        files[f"figures/{name}.png"] = drawn.png
    for result in comparison.results:
        weights = {key: value.clone().contiguous() for key, value in result.weights.items()}
        files[f"weights/{result.name}.safetensors"] = save(weights, {"model": result.name})
    answers = {result.name: torch.from_numpy(result.probabilities) for result in comparison.results}
    files[results.ANSWERS] = save(answers)
    said: dict[str, Any] = {"comparison": comparison, "grade": grade, "words": words}
    said["pictures"] = words.pictures(comparison)
    files["report.md"] = render("report.md.jinja", **said).encode()
    elements = {name: _for_page(drawn.svg) for name, drawn in drawings.items()}
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
