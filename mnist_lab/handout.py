"""The six exercises as one notebook, made from their stubs and the kit's manifest.

A cell of prose, a cell to fill in, tagged with its exercise, and a cell that checks it, six times;
at the end the learner's models are compared. The same stubs give the same bytes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnist_lab.kit import Exercise, Kit

FILE = "mnist_lab.ipynb"
"""The notebook's name, beside the stubs."""

INDENT = "    "
COLUMNS = re.compile(r"\S {2,}\S")
SPAN = re.compile(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", re.DOTALL)

OPENING = """\
# Three classifiers of handwritten digits

Six exercises, from the loading of the digits to the evaluation of three models. Each has a cell of
prose that says what to build and why, a cell to fill in, and a cell that checks it.

- Run the first cell, then work from top to bottom; every part that is yours says `TODO`.
- `check("cnn")` tells how an exercise stands, names the mistake if there is one it knows, and gives
  a hint. `check()` shows all six. It grades the cells as you last ran them.
- The names of the functions and classes stay as they are. Imports, constants, helpers and cells of
  your own may stand anywhere; magics and shell lines, too.
- Hand in this file. From a terminal `mnist-lab grade mnist_lab.ipynb` grades it as it will be.
"""

SETUP = """\
# Imports the kit. Only where it is missing, it is installed first, and that needs a network.
# KIT is what pip installs then: the address of a wheel or of a repository, as your course names it.
KIT = {requirement}
try:
    import mnist_lab
except ImportError:
    if not KIT:
        raise ImportError("Write into KIT what your course names, and run this again.") from None
    print(f"Installing {{KIT}}: this takes a few minutes, once.")
    %pip install --quiet "{{KIT}}"
    import mnist_lab

from mnist_lab.notebook import check, compare

%matplotlib inline
print(f"mnist-lab {{mnist_lab.__version__}} is ready.")
"""

COMPARISON = """\
## The comparison

The cell below trains your three models side by side, each on the same batches of MNIST, and tests
them on digits that they have never seen. Three epochs take about a minute on a laptop; with ten the
CNN reads 99 of 100. Where MNIST is neither at hand nor to be fetched, a sample of 5,000 digits
takes its place. A model that is not written yet is left out.
"""

COMPARE = "models = compare(LogisticRegression, FNN, CNN, epochs=3)\nmodels"

PICTURES = {
    "accuracy_curves": """\
### Accuracy, epoch by epoch

Does it still rise at the end? How far is the accuracy in training from that on the test digits?""",
    "confusion_matrices": """\
### What is confused with what

A row for each true digit, a column for what it was read as. Which look alike to all three?""",
    "misread_gallery": """\
### The surest misreadings

Beside each digit the probabilities that the model gave to the ten. Would you have read it?""",
    "sample_images": """\
### The digits

As they are, and as the augmentation changes one of each from epoch to epoch.""",
    "label_distribution": """\
### How many there are of each

A classifier that always says the most frequent digit reads this share of them right.""",
}
"""The plots of the comparison, in their order, and what stands above each."""


class HandoutError(Exception):
    """A stub has no handout; the message names its file."""


def notebook(kit: Kit, stubs: Mapping[str, str], requirement: str = "") -> str:
    """The notebook's JSON. ``stubs`` are by the name of their file; ``requirement`` is what pip
    installs where the kit is missing, if that is known. Raises ``HandoutError``, and
    ``SyntaxError`` for a stub that is not Python.
    """
    import nbformat
    from nbformat import v4

    def prose(name: str, text: str) -> nbformat.NotebookNode:
        return v4.new_markdown_cell(text.strip(), id=name)

    def code(name: str, text: str, *tags: str) -> nbformat.NotebookNode:
        metadata = {"tags": list(tags)} if tags else {}
        return v4.new_code_cell(text.strip(), id=name, metadata=metadata)

    cells = [prose("opening", OPENING)]
    cells.append(code("setup", SETUP.format(requirement=_quoted(requirement))))
    for exercise in kit.exercises:
        handout, stub = _parts(exercise.file, stubs[exercise.file])
        name = exercise.id.replace("_", "-")
        cells += [
            prose(f"{name}-handout", markdown(handout, exercise)),
            code(f"{name}-code", stub, exercise.id),
            code(f"{name}-check", f'check("{exercise.id}")'),
        ]
    cells += [
        prose("all-handout", "## All six\n\nWhere you stand."),
        code("all-check", "check()"),
        prose("comparison-handout", COMPARISON),
        code("comparison", COMPARE),
    ]
    for name, text in PICTURES.items():
        cells.append(prose(f"{name}-handout".replace("_", "-"), text))
        cells.append(code(name.replace("_", "-"), f'models.draw("{name}")'))
    return written(cells)


def written(cells: Sequence[Any]) -> str:
    """The JSON of the notebook of these cells of nbformat's."""
    import nbformat
    from nbformat import v4

    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    made = v4.new_notebook(cells=cells, metadata=metadata, nbformat_minor=5)
    nbformat.validate(made)
    return nbformat.writes(made, version=4).rstrip("\n") + "\n"


def markdown(handout: str, exercise: Exercise) -> str:
    """The prose of ``handout``, the docstring of a stub, as Markdown under a heading.

    A line with an indented block right below it is a heading; an indented block in columns is
    shown as it is, and a worked example as code.
    """
    first, _, rest = handout.partition("\n")
    title = first.partition(". ")[0].rstrip(".")
    checked = f'`check("{exercise.id}")` grades it. Plan about {exercise.minutes:g} minutes.'
    body = rest.replace("``mnist-lab hint", "``!mnist-lab hint")
    parts = [f"## {title}", checked, *_sections(body)]
    return SPAN.sub(r"`\1`", "\n\n".join(parts)) + "\n"


def _parts(file: str, stub: str) -> tuple[str, str]:
    """The handout of a stub, and its code."""
    module = ast.parse(stub)
    handout = ast.get_docstring(module)
    if handout is None:
        raise HandoutError(f"{file} has no handout.")
    return handout, "\n".join(stub.splitlines()[module.body[0].end_lineno :])


def _sections(body: str) -> Iterator[str]:
    """The paragraphs of a handout, those under a heading moved to the left."""
    in_section = False
    for block in re.split(r"\n{2,}", body.strip("\n")):
        if not block.startswith(" "):
            first, _, below = block.partition("\n")
            in_section = below.startswith(INDENT)
            if in_section and not first.endswith(":"):
                yield f"### {first}"
                block = below
        yield _paragraph(_moved(block) if in_section else block)


def _paragraph(block: str) -> str:
    """A block of a handout: an example, columns that stay as they are, or prose."""
    if block.lstrip().startswith(">>>"):
        return "\n".join(["```pycon", *_moved(block).splitlines(), "```"])
    return block if COLUMNS.search(block) else _moved(block)


def _moved(block: str) -> str:
    return "\n".join(line.removeprefix(INDENT) for line in block.splitlines())


def _quoted(requirement: str) -> str:
    """``requirement`` as a Python string in double quotes where it can be."""
    return f'"{requirement}"' if not set(requirement) & set('"\\') else repr(requirement)
