"""What the text of a learner's file defines, as far as that can be told without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

__all__ = ["Outline", "like", "outline"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Function = ast.FunctionDef | ast.AsyncFunctionDef

ROLES = {
    "device": r"device|dev|place",
    "optimizer": r".*optim.*|opt|updater|trainer|sgd|adam",
    "loss_fn": r".*(loss|crit|objective|cost).*|ce|fn|error",
    "model": r".*(model|net|classifier|module|cnn|fnn)|clf|mlp|m",
    "loader": r".*(loader|data|iter|batches).*|dl|train_dl|test_dl",
    "epochs": r".*epochs?|.*iterations|n_iter|num_passes",
    "lr": r"lr|.*learning_?rate|eta|alpha|step_?size|rate",
    "batch_size": r"bs|.*batch.*|batchsize",
    "seed": r".*seed|random_state|rng",
    "size": r".*size|n|k|count|num.*|amount|length|.*samples",
    "dataset": r"data|.*dataset|ds|data_set|full|items|x",
}
"""How learners call what a handout calls by the key."""

LOOPS = frozenset(["tqdm", "enumerate", "iter", "len", "list"])
OF_A_MODEL = frozenset(["eval", "parameters", "named_parameters", "state_dict", "forward"])
OF_AN_OPTIMIZER = frozenset(["step", "param_groups"])


@dataclass(frozen=True)
class Outline:
    """``top`` are the classes and functions at the top of the file, and ``inner`` those that are
    inside of another, whose name comes with them. ``assigned`` and ``imported`` are the other names
    at the top; of the latter it says from where. ``names`` are all that are used, ``loops`` the
    lines of each while loop.
    """

    top: dict[str, Definition] = field(default_factory=dict)
    inner: dict[str, tuple[Definition, Definition]] = field(default_factory=dict)
    assigned: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    loops: tuple[range, ...] = ()

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
        found = self.top.get(name)
        if isinstance(found, ast.ClassDef):
            found = self.methods(name).get("__init__")
        if not isinstance(found, Function):
            return []
        return [each.arg for each in (*found.args.posonlyargs, *found.args.args)]

    def written(self, name: str) -> str:
        """``name(a, b)``, as it is called; the name alone of what takes nothing to tell."""
        found = self.top.get(name)
        return (
            f"{name}({', '.join(self.parameters(name))})" if isinstance(found, Function) else name
        )

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
            next((r for r in (used.get(each, ""), *_called(each, asked)) if r in asked), "")
            for each in self.parameters(name)
        ]


def outline(text: str) -> Outline:
    """Of nothing where ``text`` is not Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Outline()
    whole = list(ast.walk(tree))
    found = Outline(
        names=frozenset(n.id for n in whole if isinstance(n, ast.Name)),
        loops=tuple(
            range(n.lineno, (n.end_lineno or 0) + 1) for n in whole if isinstance(n, ast.While)
        ),
    )
    for node in tree.body:
        if isinstance(node, Definition):
            found.top[node.name] = node
            for outer in ast.walk(node):
                body = outer.body if isinstance(outer, Definition) else []
                inside = [each for each in body if isinstance(each, Definition)]
                found.inner.update({each.name: (each, outer) for each in inside})  # type: ignore[misc]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for each in targets if isinstance(each, ast.Name)]
            found.assigned.update(dict.fromkeys(names, node.value))
        if isinstance(node, ast.Import | ast.ImportFrom):
            source = getattr(node, "module", "") or ""
            for each in node.names:
                found.imported[each.asname or each.name.partition(".")[0]] = source or each.name
    return found


def like(name: str, among: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """Which of the names ``among`` are spelt nearly as ``name`` or one ``also`` meant by it."""
    plain = {_plain(each): each for each in among}
    near = [m for each in (name, *also) for m in get_close_matches(_plain(each), plain, 1, 0.8)]
    return list(dict.fromkeys(plain[each] for each in near))


def _plain(name: str) -> str:
    return re.sub(r"_|\d+$", "", name.lower())


def _called(name: str, asked: Sequence[str]) -> Iterator[str]:
    if name in asked:
        yield name
    yield from (role for role in asked if re.fullmatch(ROLES.get(role, role), name.lower()))


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
