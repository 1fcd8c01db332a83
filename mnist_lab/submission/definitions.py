"""Which statements of some cells define a name, and which others these need to work.

Only the text is looked at, with ``ast`` and ``symtable``; nothing is compiled or run.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

TOO_MUCH = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python raises for text that is not Python, or too deeply nested for it."""

DEFINED = re.compile(
    r"^(?:(?:\d+[.:|)]?|>>>|In \[\d*\]:) +)?"  # copied along
    r"(?:(?:async +)?(?:class|def) +|import +(?:[\w.]+ +as +)?|from +[\w.]+ +import +)(\w+)",
    re.MULTILINE,
)

LINE_END = re.compile("\r\n?")
"""The ends of lines that Windows and old Macs write."""

IMPORT = re.compile(r"(?:from|import)\s+([\w.]+)")

CHANGING = frozenset(
    [
        *("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove"),
        *("reverse", "setdefault", "sort", "update"),
    ]
)
"""Methods that change a list, a set or a dict."""

DEFINITION = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

MOST = 20_000
"""Statements of a notebook. A cell that seems to have twice as many is taken as a whole."""


@dataclass(frozen=True)
class Statement:
    """One statement at the top of a cell, or the whole of a cell that is not valid Python.

    ``first`` is its line in the cell, from 1. It ``binds`` names, ``needs`` those that it looks up
    outside of itself, and ``changes`` what another statement has bound, as ``CNN.size = 3``,
    ``setattr(CNN, "size", 3)``, ``sizes.append(3)`` and a decorator that is given ``CNN`` do, also
    inside of a loop or the like.
    ``rank`` says how good a definition of its names it is: 3 for a class or function, 2 for an
    assignment, 1 for one that still raises ``NotImplementedError``, 0 for what binds them by the
    way, as an import or a loop does.
    """

    cell: int
    first: int
    text: str
    binds: frozenset[str]
    needs: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    rank: int = 0
    is_import: bool = False
    is_star: bool = False
    is_future: bool = False
    is_broken: bool = False


def statements(cell: int, source: str) -> list[Statement]:
    """The statements of a cell. A cell that is not Python is one, which binds what it seems to."""
    source = LINE_END.sub("\n", source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A learner hears of it when it runs.
            body = parsed(source).body
            lines = [line.encode() for line in source.split("\n")]
            return [_statement(cell, lines, node) for node in body]
    except TOO_MUCH:
        seems = frozenset(DEFINED.findall(source))
        return [Statement(cell, 1, source, seems, rank=3, is_broken=True)] if source else []


def parsed(source: str) -> ast.Module:
    """The tree of ``source``. Raises one of ``TOO_MUCH``."""
    if source.count("\n") + source.count(";") > 2 * MOST:  # It would take a GB.
        raise ValueError("more statements than anybody writes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A learner hears of it when it runs.
        return ast.parse(source)


def of_a_stub(
    text: str, line: int, names: Collection[str]
) -> Literal["todo", "left-above", "raised"]:
    """What the ``raise NotImplementedError`` at ``line`` of ``text`` is: the end of one of the
    functions or classes ``names``, still to be written; above what is written; or another.
    """
    try:
        tree = ast.parse(text)
    except TOO_MUCH:
        return "raised"
    asked = [n for n in tree.body if getattr(n, "name", "") in names]
    methods = [m for n in asked if isinstance(n, ast.ClassDef) for m in n.body]
    for function in (*asked, *methods):
        body = function.body if isinstance(function, ast.FunctionDef) else []
        for number, statement in enumerate(body, start=1):
            if statement.lineno == line and _is_todo(statement):
                return "left-above" if number < len(body) else "todo"
    return "raised"


def imported(text: str) -> dict[str, str]:
    """The names that the last word on is an import at the top of ``text``, and from where."""
    found: dict[str, str] = {}
    for statement in statements(0, text):
        for name in statement.binds:
            source = IMPORT.match(statement.text) if statement.is_import else None
            found[name] = source[1] if source else ""
    return {name: source for name, source in found.items() if source}


def begun(source: str, names: Sequence[str]) -> bool:
    """Whether the code of a file defines one of ``names`` as more than a stub."""
    return any(s.rank > 1 and not s.binds.isdisjoint(names) for s in statements(0, source))


def is_stub(source: str, names: Sequence[str]) -> bool:
    """Whether all that the code of a file defines of ``names`` is still to be written."""
    return {s.rank for s in statements(0, source) if not s.binds.isdisjoint(names)} == {1}


def needed(
    roots: Iterable[Statement], chosen: Mapping[str, Statement], among: Sequence[Statement]
) -> list[Statement]:
    """The ``roots`` and all that they need of the statements ``among``, in their order.

    For a name in ``chosen`` it is that statement, for any other all that bind the name.
    """
    binding: dict[str, list[Statement]] = {}
    changing: dict[str, list[Statement]] = {}
    for statement in among:
        for name in statement.binds:
            binding.setdefault(name, []).append(statement)
        for name in statement.changes:
            changing.setdefault(name, []).append(statement)
    taken: dict[int, Statement] = {}
    needs: set[str] = set()
    bound: set[str] = set()
    unknown = False
    waiting = list(roots)
    while waiting:
        statement = waiting.pop()
        if id(statement) in taken:
            continue
        taken[id(statement)] = statement
        for name in statement.needs - needs:
            found = [chosen[name]] if name in chosen else binding.get(name, [])
            found = [each for each in found if not each.is_broken] or found
            unknown = unknown or not (found or hasattr(builtins, name))
            waiting += found
        needs |= statement.needs
        if not statement.is_import:
            for name in statement.binds - bound:
                waiting += changing.get(name, [])
            bound |= statement.binds
    kept = taken.keys() | {id(s) for s in among if s.is_future or (unknown and s.is_star)}
    return [statement for statement in among if id(statement) in kept]


def _statement(cell: int, lines: Sequence[bytes], node: ast.stmt) -> Statement:
    first, text = _text(lines, node)
    table = symtable.symtable(text, "cell", "exec")
    imported = isinstance(node, ast.Import | ast.ImportFrom)
    return Statement(
        cell,
        first,
        text,
        binds=frozenset(
            s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()
        ),
        needs=frozenset(_looked_up(table)),
        changes=frozenset(_changed(node)),
        rank=_rank(node),
        is_import=imported,
        is_star=isinstance(node, ast.ImportFrom) and node.names[0].name == "*",
        is_future=isinstance(node, ast.ImportFrom) and node.module == "__future__",
    )


def _text(lines: Sequence[bytes], node: ast.stmt) -> tuple[int, str]:
    """The line at which ``node`` begins, its decorators included, and its text."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    assert node.end_lineno is not None
    own = list(lines[first - 1 : node.end_lineno])
    # What comes before a semicolon is another's.
    start = 0 if decorators else node.col_offset
    if len(own) == 1:
        return first, own[0][start : node.end_col_offset].decode()
    own[0], own[-1] = own[0][start:], own[-1][: node.end_col_offset]
    return first, b"\n".join(own).decode()


def _looked_up(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that a statement, or a function or class in it, looks up at the top."""
    in_function = table.get_type() not in ("module", "class")  # Only there a name is local or not.
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or not in_function):
            yield symbol.get_name()
    for inside in table.get_children():
        yield from _looked_up(inside)


def _changed(node: ast.AST) -> Iterator[str]:
    changed: list[ast.expr] = []
    for call in getattr(node, "decorator_list", ()):
        changed += getattr(call, "args", ())
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called, given = node.value.func, node.value.args
        if getattr(called, "attr", "") in CHANGING:
            changed = [called]
        elif getattr(called, "id", "") == "setattr":
            changed = given[:1]
    elif isinstance(node, ast.Assign):
        changed = [target for target in node.targets if not isinstance(target, ast.Name)]
    elif isinstance(node, ast.AugAssign | ast.AnnAssign) and not isinstance(node.target, ast.Name):
        changed = [node.target]
    elif not isinstance(node, DEFINITION):  # What is in those runs later, if at all.
        for inside in ast.iter_child_nodes(node):
            if isinstance(inside, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield from _changed(inside)
    for part in changed:
        while isinstance(part, ast.Attribute | ast.Subscript):
            part = part.value
        if isinstance(part, ast.Name):
            yield part.id


def _rank(node: ast.stmt) -> int:
    if isinstance(node, DEFINITION):
        return 1 if any(map(_is_todo, ast.walk(node))) else 3
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
        return 2
    return 2 if isinstance(node, ast.AnnAssign) and node.value else 0


def _is_todo(node: ast.AST) -> bool:
    if not isinstance(node, ast.Raise):
        return False
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
