"""The lines of a learner's file that make a layer and that use it, found from the name of one of
its parameters or from how PyTorch shows it. Nothing is recognised by them.
"""

from __future__ import annotations

import ast
import re
from typing import TypeGuard

from mnist_lab.diagnosis.outline import outline
from mnist_lab.submission.remote import Model


def made(model: Model, parameter: str) -> str:
    """``file:line`` in ``__init__``; empty where it is not found."""
    found = _assigned(model, parameter)
    return "" if found is None else f"{model.file}:{found.lineno}"


def used(model: Model, parameter: str) -> str:
    """``file:line`` in ``forward``; of a layer inside of a container the one that makes it."""
    forward = outline(model.text).methods(model.name).get("forward")
    attribute, _, rest = parameter.partition(".")
    if forward is not None and not rest[:1].isdigit():
        lines = [each.lineno for each in ast.walk(forward) if _is_of_self(each, attribute)]
        if lines:
            return f"{model.file}:{min(lines)}"
    return made(model, parameter)


def shown(model: Model, pattern: str) -> str:
    """``file:line`` in ``__init__`` of the first module that PyTorch shows so; empty if none."""
    names = (name for name, text in model.modules.items() if re.match(pattern, text, re.IGNORECASE))
    return made(model, next(names, ""))


def _assigned(model: Model, parameter: str) -> ast.expr | None:
    """What is assigned to the attribute, or that element of it which has the parameter."""
    init = outline(model.text).methods(model.name).get("__init__")
    attribute, _, rest = parameter.partition(".")
    for node in ast.walk(init) if init else ():
        if isinstance(node, ast.Assign) and any(_is_of_self(t, attribute) for t in node.targets):
            number = rest.partition(".")[0]
            inside = node.value.args if isinstance(node.value, ast.Call) else []
            is_inside = number.isdigit() and int(number) < len(inside)
            return inside[int(number)] if is_inside else node.value
    return None


def _is_of_self(node: ast.AST, attribute: str) -> TypeGuard[ast.Attribute]:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == attribute
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )
