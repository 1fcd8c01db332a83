"""What the text of a learner's file defines, as far as that can be told without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from operator import attrgetter, itemgetter

from mnist_lab.diagnosis.faults import tables

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Function = ast.FunctionDef | ast.AsyncFunctionDef

LOOPS = frozenset(["tqdm", "enumerate", "iter", "len", "list"])
OF_A_MODEL = frozenset(["eval", "parameters", "named_parameters", "state_dict", "forward"])
OF_AN_OPTIMIZER = frozenset(["step", "param_groups"])


@dataclass(frozen=True)
class Outline:
    """``tree`` is the text, parsed."""

    tree: ast.Module

    @cached_property
    def top(self) -> dict[str, Definition]:
        """The classes and functions at the top of the file."""
        return {node.name: node for node in self.tree.body if isinstance(node, Definition)}

    @cached_property
    def inner(self) -> dict[str, tuple[Definition, Definition]]:
        """Those that are inside of another, which comes with them."""
        return {
            node.name: (node, outer)
            for definition in self.top.values()
            for outer in ast.walk(definition)
            if isinstance(outer, Definition)
            for node in outer.body
            if isinstance(node, Definition)
        }

    @cached_property
    def assigned(self) -> dict[str, ast.expr]:
        """The values that are given to names at the top."""
        return {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }

    @cached_property
    def imported(self) -> dict[str, ast.Import | ast.ImportFrom]:
        """The lines that import names at the top."""
        return {
            each.asname or each.name.partition(".")[0]: node
            for node in self.tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for each in node.names
        }

    @cached_property
    def names(self) -> set[str]:
        """All that are used."""
        return {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}

    @cached_property
    def tuples_of_one(self) -> list[tuple[str, ast.stmt]]:
        """The names and attributes that are given a tuple with a single part, as they are written,
        and the line of each.
        """
        return [
            (ast.unparse(target), node)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Tuple)
            and len(node.value.elts) == 1
            for target in node.targets
        ]

    def returning(self, name: str, within: str) -> ast.stmt | None:
        """The first line that returns what is called ``name``, or what a call of it makes: of the
        definition ``within``, else of the whole file.
        """
        places = [*ast.walk(self.top.get(within, self.tree)), *ast.walk(self.tree)]
        for node in (each for each in places if isinstance(each, ast.Return)):
            made = node.value.func if isinstance(node.value, ast.Call) else node.value
            if name in (getattr(made, "id", ""), getattr(made, "attr", "")):
                return node
        return None

    def loops(self, line: int) -> list[ast.For | ast.While]:
        """The loops that ``line`` is in."""
        return [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.For | ast.While)
            and node.lineno <= line <= (node.end_lineno or 0)
        ]

    def part(self, line: int, first: int, last: int) -> ast.expr | ast.For | None:
        """The expression or loop that is on ``line`` from the ``first`` column to the ``last``."""
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, ast.expr | ast.For))
        place = (line, first, last)
        return next((n for n in nodes if (n.lineno, n.col_offset, n.end_col_offset) == place), None)

    def function(self, line: int) -> Function | None:
        """The innermost function that ``line`` is in."""
        around = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, Function) and node.lineno <= line <= (node.end_lineno or 0)
        ]
        return max(around, key=attrgetter("lineno"), default=None)

    def methods(self, name: str) -> dict[str, Function]:
        """Those of the class ``name``."""
        found = self.top.get(name)
        body = found.body if isinstance(found, ast.ClassDef) else []
        return {each.name: each for each in body if isinstance(each, Function)}

    def attributes(self, name: str) -> list[str]:
        """What the methods of the class ``name`` put into ``self``."""
        return [
            node.attr
            for method in self.methods(name).values()
            for node in ast.walk(method)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        ]

    def parameters(self, name: str) -> list[str]:
        """Of the function ``name``, in order; of a class those of its ``__init__``."""
        found = self._arguments(name)
        return [each.arg for each in (*found.posonlyargs, *found.args)] if found else []

    def written(self, name: str) -> str:
        """``name(a, b)``, as it is called; the name alone of what takes nothing to tell."""
        found = self._arguments(name)
        if found is None or isinstance(self.top.get(name), ast.ClassDef):
            return name
        star = [f"*{found.vararg.arg}"] if found.vararg else ["*"] * bool(found.kwonlyargs)
        rest = [each.arg for each in found.kwonlyargs]
        rest += [f"**{found.kwarg.arg}"] if found.kwarg else []
        return f"{name}({', '.join([*self.parameters(name), *star, *rest])})"

    def _arguments(self, name: str) -> ast.arguments | None:
        found = self.top.get(name, self.assigned.get(name))
        if isinstance(found, ast.ClassDef):
            found = self.methods(name).get("__init__")
        return found.args if isinstance(found, Function | ast.Lambda) else None

    def calls_itself(self, name: str) -> bool:
        """Whether the function ``name`` calls what has its own name."""
        found = self.top.get(name)
        return isinstance(found, Function) and any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
            for node in ast.walk(found)
        )

    def roles(self, name: str, asked: Sequence[str]) -> list[str]:
        """For each parameter of the function ``name`` which of those ``asked`` it stands for, by
        what is done with it and else by its name; empty where that cannot be told.
        """
        found = self.top.get(name)
        used = dict(_uses(found)) if isinstance(found, Function) else {}
        return [
            next((r for r in (used.get(each, ""), *called(each, asked)) if r in asked), "")
            for each in self.parameters(name)
        ]


def outline(text: str) -> Outline:
    """Of nothing where ``text`` is not Python."""
    try:
        return Outline(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Outline(ast.Module([], []))


def given_anew(function: Function, name: str) -> list[ast.Name]:
    """Where ``function`` gives ``name`` a value."""
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
    ]


def never_ends(loop: ast.For | ast.While) -> bool:
    """Whether nothing in a ``while`` leads out of it or changes a name in its condition."""
    if not isinstance(loop, ast.While):
        return False
    asked = [*ast.walk(loop.test)]
    if any(isinstance(each, ast.Call | ast.Attribute | ast.Subscript) for each in asked):
        return False
    names = {each.id for each in asked if isinstance(each, ast.Name)}
    inside = [each for statement in loop.body for each in ast.walk(statement)]
    return not any(
        isinstance(each, ast.Break | ast.Return | ast.Raise)
        or (isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store) and each.id in names)
        for each in inside
    )


def like(name: str, among: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """Which of the names ``among`` are spelt most nearly as ``name`` or one ``also`` meant by it.

    Capitals and underscores count for nothing; names that are numbered differently are others.
    """
    nearest = (
        max(((_likeness(meant, each), each) for each in among), key=itemgetter(0), default=(0, ""))
        for meant in (name, *also)
    )
    return list(dict.fromkeys(each for likeness, each in nearest if likeness >= NEAR))


NEAR = 0.8
"""The part of two names that is the same where one is taken for the other."""


def _likeness(one: str, other: str) -> float:
    first, second = (re.sub(r"_", "", each.lower()) for each in (one, other))
    numbers = [re.findall(r"\d+", each) for each in (first, second)]
    if all(numbers) and numbers[0] != numbers[1]:
        return 0.0
    return SequenceMatcher(None, first, second).ratio()


def called(name: str, asked: Sequence[str]) -> Iterator[str]:
    """What of ``asked`` learners call so."""
    if name in asked:
        yield name
    yield from (
        role
        for role in asked
        if re.fullmatch(tables("events")["roles"].get(role, role), name.lower())
    )


def _uses(function: Function) -> Iterator[tuple[str, str]]:
    """What a name in ``function`` stands for by what is done with it."""
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Name):
            yield node.iter.id, "loader"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in OF_A_MODEL:
                yield node.value.id, "model"
            if node.attr in OF_AN_OPTIMIZER:
                yield node.value.id, "optimizer"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in LOOPS and node.args and isinstance(node.args[0], ast.Name):
                yield node.args[0].id, "loader"
            elif len(node.args) == 2:
                yield node.func.id, "loss_fn"
