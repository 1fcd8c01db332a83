"""The lines of a learner's file that make a layer, that use it, or at which a forward pass departs
from what is asked. Nothing is recognised by them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TypeGuard

from torch import Tensor

from mnist_lab.diagnosis.networks import layouts
from mnist_lab.diagnosis.outline import outline
from mnist_lab.submission.answers import Step
from mnist_lab.submission.remote import Model


def made(model: Model, parameter: str) -> str:
    """``file:line`` in ``__init__``; empty where it is not found."""
    found = _assigned(model, parameter)
    return "" if found is None else f"{model.file}:{found.lineno}"


def of_class(model: Model, attribute: str) -> str:
    """``file:line`` at which the body of a class sets it; empty where it is not found."""
    bodies = (node.body for node in outline(model.text).top.values())
    for node in (each for body in bodies for each in body if isinstance(each, ast.Assign)):
        if attribute in [getattr(target, "id", "") for target in node.targets]:
            return f"{model.file}:{node.lineno}"
    return ""


def used(model: Model, parameter: str) -> str:
    """``file:line`` in ``forward``; of a layer inside of a container the one that makes it."""
    forward = outline(model.text).methods(model.name).get("forward")
    attribute, _, rest = parameter.partition(".")
    if forward is not None and not rest[:1].isdigit():
        lines = [each.lineno for each in ast.walk(forward) if _is_of_self(each, attribute)]
        if lines:
            return f"{model.file}:{min(lines)}"
    return made(model, parameter)


def forward(model: Model) -> str:
    """``file:line`` at which it begins; empty where it is not found."""
    found = outline(model.text).methods(model.name).get("forward")
    return "" if found is None else f"{model.file}:{found.lineno}"


def shown(model: Model, pattern: str, among: Sequence[str] | None = None) -> str:
    """``file:line`` in ``__init__`` of the first module that PyTorch shows so, of all or of those
    whose names are ``among`` the given ones; empty if none.
    """
    names = model.modules if among is None else among
    fitting = (n for n in names if re.match(pattern, model.modules.get(n, ""), re.IGNORECASE))
    return made(model, next(fitting, ""))


def departing(
    steps: Sequence[Step], right: Sequence[Tensor], wrong: Sequence[Tensor]
) -> list[Step]:
    """The steps behind the last that gives one of the values which are ``right``, up to the first
    that gives one of those which are ``wrong``; in whatever order the numbers of a value are,
    unless the order is all by which one of ``wrong`` differs.
    """
    in_order = any(_alike(value, wrong[0], in_order=False) for value in right)
    ends = next((n for n, step in enumerate(steps) if _gives(step, wrong, in_order)), -1)
    return list(steps[last(steps[:ends], right, in_order) + 1 : ends + 1])


def last(steps: Sequence[Step], values: Sequence[Tensor], in_order: bool) -> int:
    """The number of the last step that gives one of the ``values``, -1 if none does."""
    return max((n for n, step in enumerate(steps) if _gives(step, values, in_order)), default=-1)


def _gives(step: Step, values: Sequence[Tensor], in_order: bool) -> bool:
    return any(_alike(step.value, value, in_order) for value in values)


def dropping(images: Tensor, steps: Sequence[Step]) -> tuple[Step, float] | None:
    """The first step that sets numbers to 0 whatever they are, and makes the others so many times
    larger; and the share that it sets to 0.
    """
    values = [images.flatten(), *(step.value.flatten() for step in steps)]
    for number, step in enumerate(steps, start=1):
        after = values[number]
        for before in (each for each in values[:number] if each.shape == after.shape):
            lost = (after[before > 0] == 0).double().mean().item()
            kept = (after / before)[after != 0]
            if 0 < lost < 1 < kept[0] and layouts.equal(kept, kept[:1].expand_as(kept)):
                return step, lost
    return None


def line(model: Model, step: Step) -> str:
    """``file:line`` of a step; of a layer inside of a container of the one that makes it."""
    is_there = 0 < step.line <= len(model.text.splitlines())
    there = f"{model.file}:{step.line}" if is_there else ""
    return (made(model, step.module) if step.inside else "") or there


def _alike(value: Tensor, other: Tensor, in_order: bool) -> bool:
    first, second = value.flatten(), other.flatten()
    if first.shape != second.shape:
        return False
    if not in_order:
        first, second = first.sort().values, second.sort().values
    return layouts.equal(first, second)


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
