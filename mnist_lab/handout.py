"""The six exercises as one notebook, made from their stubs and the kit's manifest.

A cell of prose, a cell to fill in, tagged with its exercise, and a cell that checks it, six times;
at the end the learner's models are compared. The same stubs give the same bytes.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lab.kit import Exercise, Kit

FILE = "mnist_lab.ipynb"
"""The notebook's name, beside the stubs."""

INDENT = "    "
COLUMNS = re.compile(r"\S {2,}\S")
SPAN = re.compile(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", re.DOTALL)

TEXTS = tomllib.loads(Path(__file__).with_name("handout.toml").read_text(encoding="utf-8"))
"""What stands beside the handouts, by name, and ``pictures``: what is said of each."""


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

    setup = TEXTS["setup"].replace("{requirement}", json.dumps(requirement))
    cells = [prose("opening", TEXTS["opening"]), code("setup", setup)]
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
        prose("comparison-handout", TEXTS["comparison"]),
        code("comparison", TEXTS["compare"]),
    ]
    for picture, about in TEXTS["pictures"].items():
        name = picture.replace("_", "-")
        cells.append(prose(f"{name}-handout", f"### {about['title']}\n\n{about['asks']}"))
        cells.append(code(name, f'models.draw("{picture}")'))
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
