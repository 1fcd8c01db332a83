"""A report as a notebook: each table and picture as the output of the code that makes it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnist_lab.handout import written
from mnist_lab.report import tables, words
from mnist_lab.report.pages import cell

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison
    from mnist_lab.grade import Grade
    from mnist_lab.report.drawing import Drawing
    from mnist_lab.report.words import Picture

FILE = "report.ipynb"

LOAD = """\
from mnist_lab import plots, report

%matplotlib inline
comparison = report.load()  # the results beside this notebook; nothing is trained"""

AGAIN = (
    "Run the cells again to draw everything anew from the files beside this notebook, or change "
    "them: `comparison` holds the digits, and each model's history, weights and answers."
)


def as_notebook(
    comparison: Comparison,
    pictures: Sequence[Picture],
    drawings: Mapping[str, Drawing],
    grade: Grade | None = None,
) -> str:
    """The JSON of the notebook. ``drawings`` has each of ``pictures`` by its name."""
    from nbformat import v4

    cells: list[Any] = []

    def prose(name: str, *paragraphs: str) -> None:
        text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
        cells.append(v4.new_markdown_cell(text, id=name))

    def code(name: str, source: str, shown: Mapping[str, str] | None = None) -> None:
        number = sum(made.cell_type == "code" for made in cells) + 1
        outputs = [v4.new_output("execute_result", shown, execution_count=number)] if shown else []
        cells.append(v4.new_code_cell(source, id=name, execution_count=number, outputs=outputs))

    prose(
        "opening",
        "# Three classifiers of handwritten digits, compared",
        words.verdict(comparison),
        *(f"**Missing.** {cell(sentence)}" for sentence in comparison.missing),
        words.why_sample(comparison),
        AGAIN,
    )
    code("load", LOAD)
    prose("models-title", "## The models", words.loss_note(comparison))
    code("models", "report.tables.of_models(comparison)", _shown(tables.of_models(comparison)))
    for picture in pictures:
        name = picture.name.replace("_", "-")
        prose(f"{name}-title", f"## {picture.title}", picture.caption)
        drawing = drawings[picture.name]
        png = base64.b64encode(drawing.png).decode()
        image = {"image/png": png, "text/plain": drawing.text}
        code(name, f"plots.{picture.name}(comparison)", image)
    if grade is not None:
        prose("grade-title", "## The grade")
        shown = _shown(tables.of_grade(grade))
        code("grade", "report.tables.of_grade(report.load_grade())", shown)
    facts = [f"| {name} | {cell(value)} |" for name, value in words.settings(comparison)]
    prose("settings", "## How it was made", "\n".join(["| | |", "|---|---|", *facts]))
    return written(cells)


def _shown(table: tables.Table) -> dict[str, str]:
    return {"text/html": table._repr_html_(), "text/plain": repr(table)}
