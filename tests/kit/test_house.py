"""Imports point one way."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mnist_lab"

LAB = ("augment", "chance", "compare", "contract", "cuda", "data", "models", "plots")
NOT_FOR = {
    **{f"{name}.py": ("cli", "grading", "report", "submission", "diagnosis") for name in LAB},
    "fast": ("cli", "grading", "report", "submission", "diagnosis"),
    "training.py": ("cli", "grading", "report", "submission", "diagnosis"),
    "submission": ("cli", "grading", "report", "diagnosis"),
    "diagnosis": ("cli", "grading", "report"),
    "report": ("cli", "grading", "submission", "diagnosis"),
    "grading": ("cli",),
}


def imported(path):
    """What a file imports of the kit, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", NOT_FOR)
def test_a_room_imports_nothing_of_those_that_use_it(room):
    files = sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / room]
    used = {name.split(".")[1] for path in files for name in imported(path) if "mnist_lab." in name}

    assert files[0].exists()
    assert not used & set(NOT_FOR[room])
