"""Which statements of some cells define a name, and which others these need to work.

Only the text is looked at, with ``ast`` and ``symtable``; nothing is compiled or run.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
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
class Called:
    """A call of ``name`` that is given ``names``, by position or keyword."""

    name: str
    names: Mapping[int | str, str]


@dataclass(frozen=True)
class Use:
    """What a statement does to names that others have bound.

    It ``needs`` those that it looks up outside of itself, ``now`` or when its functions are called.
    It ``changes`` what they are, as ``CNN.size = 3``, ``setattr(CNN, "size", 3)``,
    ``sizes.append(3)`` and a decorator that is given ``CNN`` do, also inside of a loop or the like;
    ``patches`` are those of which it sets an attribute. When the function or class that it defines
    is among what another one ``calls``, it ``alters`` names as well, and those that are given as
    its ``parameters``.
    """

    needs: frozenset[str] = frozenset()
    now: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    patches: frozenset[str] = frozenset()
    calls: tuple[Called, ...] = ()
    alters: frozenset[str] = frozenset()
    parameters: frozenset[int | str] = frozenset()


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement at the top of a cell, or the whole of a cell that is not valid Python, which
    has no ``node``.

    ``first`` is its line in the cell, from 1, ``table`` has the names of its text.
    """

    cell: int
    first: int
    text: str
    binds: frozenset[str]
    node: ast.stmt | None = None
    table: symtable.SymbolTable | None = None

    @cached_property
    def rank(self) -> int:
        """How good a definition of its names it is: 3 for a class or function, or for what is made
        of an earlier one, 2 for another assignment, 1 for one that still raises
        ``NotImplementedError``, 0 for what binds them by the way, as an import or a loop does.
        """
        return _rank(self.node) if self.node else 3

    @property
    def is_definition(self) -> bool:
        return isinstance(self.node, DEFINITION)

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def is_star(self) -> bool:
        return isinstance(self.node, ast.ImportFrom) and self.node.names[0].name == "*"

    @property
    def is_future(self) -> bool:
        return isinstance(self.node, ast.ImportFrom) and self.node.module == "__future__"

    @property
    def is_broken(self) -> bool:
        return self.node is None

    @cached_property
    def use(self) -> Use:
        if self.node is None or self.table is None:
            return Use()
        needs = frozenset(_looked_up(self.table))
        alters, parameters = _alters(self.node, needs)
        return Use(
            needs,
            frozenset(_looked_up(self.table, later=False)),
            frozenset(_changed(_running(self.node))),
            frozenset(_patched(self.node)),
            tuple(_calls(self.node)),
            alters,
            parameters,
        )


def statements(cell: int, source: str) -> list[Statement]:
    """The statements of a cell. A cell that is not Python is one, which binds what it seems to."""
    source = LINE_END.sub("\n", source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A learner hears of it when it runs.
            body = parsed(source).body
            lines = [line.encode() for line in source.split("\n")]
            return [_statement(cell, lines, *each) for node in body for each in _run(node)]
    except TOO_MUCH:
        seems = frozenset(DEFINED.findall(source))
        return [Statement(cell, 1, source, seems)] if source else []


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
    """The ``roots`` and all that they need of the statements ``among``, in their order; and what
    changes imported modules, sys.path for example.

    For a name in ``chosen`` it is that statement, and of those before it what is used ``now``; for
    any other name all that bind it.
    """
    binding: dict[str, list[Statement]] = {}
    changing: dict[str, list[Statement]] = {}
    patching: list[Statement] = []
    imports = {name for statement in among if statement.is_import for name in statement.binds}
    for statement in among:
        for name in statement.binds:
            binding.setdefault(name, []).append(statement)
    parts = {name: whole for each in among for name, whole in _part(each.node)}
    for statement in among:
        for name in _changes(statement, binding, chosen):
            reached = set[str]()
            while name and name not in reached:
                changing.setdefault(name, []).append(statement)
                reached.add(name)
                name = parts.get(name, "")
        if not imports.isdisjoint(statement.use.patches) or "sys" in statement.use.changes:
            patching.append(statement)
    place = {id(statement): at for at, statement in enumerate(among)}
    earlier = {name: [s for s in binding[name] if s.rank > 1][::-1] for name in chosen}
    taken: dict[int, Statement] = {}
    needs: set[str] = set()
    bound: set[str] = set()
    unknown = False
    waiting = [*roots, *patching]
    while waiting:
        statement = waiting.pop()
        if id(statement) in taken:
            continue
        taken[id(statement)] = statement
        for name in statement.use.now & chosen.keys():
            before = min(place[id(statement)], place[id(chosen[name])])
            while earlier[name] and place[id(earlier[name][-1])] < before:
                waiting.append(earlier[name].pop())
        for name in statement.use.needs - needs:
            bound_by = binding.get(name) or changing.get(name, [])
            found = [chosen[name]] if name in chosen else bound_by
            found = [each for each in found if not each.is_broken] or found
            unknown = unknown or not (found or hasattr(builtins, name))
            waiting += found
        needs |= statement.use.needs
        if not statement.is_import:
            for name in statement.binds - bound:
                waiting += changing.get(name, [])
            bound |= statement.binds
    kept = taken.keys() | {id(s) for s in among if s.is_future or (unknown and s.is_star)}
    return [statement for statement in among if id(statement) in kept]


def _changes(
    statement: Statement,
    binding: Mapping[str, Sequence[Statement]],
    chosen: Mapping[str, Statement],
) -> set[str]:
    """What it changes, and what functions that it calls do. Nothing where it runs a function that
    is asked for: a training that a cell tries is no definition, whatever it leaves behind.
    """
    changed = set(statement.use.changes)
    for call in statement.use.calls:
        for called in binding.get(call.name, ()):
            changed |= called.use.alters
            changed |= {call.names[each] for each in called.use.parameters & call.names.keys()}
    waiting = [*_run_for(statement, binding, chosen)] if changed else []
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in chosen and not isinstance(chosen[name].node, ast.ClassDef):
            return set()
        if name not in reached:
            reached.add(name)
            waiting += (each for called in binding.get(name, ()) for each in called.use.needs)
    return changed


def _run_for(
    statement: Statement,
    binding: Mapping[str, Sequence[Statement]],
    chosen: Mapping[str, Statement],
) -> Iterator[str]:
    """The names of the functions that are called to run it, also for the values that it needs, but
    for names that are ``chosen``: those stand for definitions.
    """
    waiting, reached = [statement], {id(statement)}
    while waiting:
        each = waiting.pop()
        yield from (call.name for call in each.use.calls)
        for name in each.use.needs - chosen.keys():
            for bound in binding.get(name, ()):
                if not bound.is_definition and id(bound) not in reached:
                    reached.add(id(bound))
                    waiting.append(bound)


def _part(node: ast.stmt | None) -> Iterator[tuple[str, str]]:
    """The name that is given to the same as another one, or to a part of it, and that other one:
    ``sizes = options["sizes"]``, ``group = parser.add_argument_group()``.
    """
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        value = node.value
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func
        if isinstance(value, ast.Name | ast.Attribute | ast.Subscript) and (whole := _root(value)):
            yield node.targets[0].id, whole


def _run(node: ast.stmt) -> list[tuple[ast.stmt, int]]:
    """``node``, or what is run in its place in a notebook, with how far that is indented."""
    asks = ast.unparse(node.test) if isinstance(node, ast.If) and not node.orelse else ""
    if isinstance(node, ast.If) and asks in ("__name__ == '__main__'", "'__main__' == __name__"):
        return [(each, node.body[0].col_offset) for each in node.body]
    return [(node, 0)]


def _statement(cell: int, lines: Sequence[bytes], node: ast.stmt, indented: int) -> Statement:
    first, text = _text(lines, node, indented)
    table = symtable.symtable(text, "cell", "exec")
    bound = (s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported())
    return Statement(cell, first, text, frozenset(bound), node, table)


def _text(lines: Sequence[bytes], node: ast.stmt, indented: int) -> tuple[int, str]:
    """The line at which ``node`` begins, its decorators included, and its text, moved left."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    assert node.end_lineno is not None
    own = list(lines[first - 1 : node.end_lineno])
    # What comes before a semicolon is another's.
    start = indented if decorators else node.col_offset
    own[-1] = own[-1][: node.end_col_offset]
    own[0] = own[0][start:]
    own[1:] = [each if each[:indented].strip() else each[indented:] for each in own[1:]]
    return first, b"\n".join(own).decode()


def _looked_up(table: symtable.SymbolTable, *, later: bool = True) -> Iterator[str]:
    """The names that a statement, or a function or class in it, looks up at the top; unless
    ``later``, without those that functions look up when they are called.
    """
    in_function = table.get_type() not in ("module", "class")  # Only there a name is local or not.
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or not in_function):
            yield symbol.get_name()
    for inside in table.get_children():
        if later or inside.get_type() == "class" or inside.get_name().endswith(("comp", "expr")):
            yield from _looked_up(inside, later=later)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and what of it is run at once, not when a function is called."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.Lambda):
            waiting.append(node.args)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, node.args]
        else:
            waiting += ast.iter_child_nodes(node)


def _changed(nodes: Iterable[ast.AST]) -> set[str]:
    """The names of what is changed where ``nodes`` are run."""
    parts: list[ast.expr] = []
    loops: list[ast.For | ast.AsyncFor | ast.comprehension] = []
    for node in nodes:
        if isinstance(node, DEFINITION):
            parts += _decorated(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in CHANGING:
            parts.append(node.func)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            # What a method gives is dropped: it is called for what it does.
            parts += [node.value.func] if _is_of_a_name(node.value) else []
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr":
            parts += node.args[:1]
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            loops.append(node)
        parts += _set(node)
    changed = set(filter(None, map(_root, parts)))
    for loop in reversed(loops):
        if not changed.isdisjoint(_names(loop.target)):
            changed |= _names(loop.iter)
    return changed


def _is_of_a_name(call: ast.Call) -> bool:
    """Whether it calls a method of what a name stands for, as ``options.load()`` does, and not of
    something new, as ``CNN().forward(images)``.
    """
    part: ast.expr = call
    while not isinstance(part, ast.Name):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            part = part.func
        elif isinstance(part, ast.Attribute | ast.Subscript):
            part = part.value
        else:
            return False
    return True


def _set(node: ast.AST) -> list[ast.expr]:
    """The attributes and entries that an assignment sets, or that are deleted."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Delete):
        return [each for each in node.targets if isinstance(each, ast.Attribute | ast.Subscript)]
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    inside = chain.from_iterable(map(ast.walk, targets))
    return [
        part
        for part in inside
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store)
    ]


def _decorated(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    """What the decorators of ``node`` are given or belong to, and in ``def forward(self: CNN)`` the
    class for which one makes a method.
    """
    parts: list[ast.expr] = []
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        parts += [called] if isinstance(called, ast.Attribute) else []
        parts += decorator.args if isinstance(decorator, ast.Call) else []
    if node.decorator_list and not isinstance(node, ast.ClassDef):
        parts += [each.annotation for each in node.args.args[:1] if each.annotation]
    return parts


def _root(part: ast.expr | None) -> str:
    """The name that an attribute, an entry or a result belongs to; empty if there is none."""
    while not isinstance(part, ast.Name):
        if isinstance(part, ast.Call):
            is_of = getattr(part.func, "id", "") in ("vars", "getattr") and part.args
            part = part.args[0] if is_of else part.func
        elif isinstance(part, ast.Attribute | ast.Subscript):
            part = part.value
        else:
            return ""
    return part.id


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _patched(node: ast.stmt) -> Iterator[str]:
    """The names of which ``node`` sets an attribute, ``torch.Tensor.flat = flat``, or an entry, as
    ``os.environ.update(UNITS="256")`` does.
    """
    parts = _set(node)
    call = node.value if isinstance(node, ast.Expr) else None
    if (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in CHANGING
        and isinstance(call.func.value, ast.Attribute)  # np.append changes nothing.
    ):
        parts.append(call.func)
    for part in parts:
        while isinstance(part, ast.Attribute | ast.Subscript):
            part = part.value
        if isinstance(part, ast.Name):
            yield part.id


def _calls(node: ast.stmt) -> Iterator[Called]:
    """The functions that are called where ``node`` is run; a class calls those that it is of."""
    for each in _running(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name):
            given: dict[int | str, ast.expr] = dict(enumerate(each.args))
            given |= {keyword.arg: keyword.value for keyword in each.keywords if keyword.arg}
            names = {key: _root(value) for key, value in given.items()}
            yield Called(each.func.id, {key: name for key, name in names.items() if name})
        elif isinstance(each, DEFINITION):
            bases = each.bases if isinstance(each, ast.ClassDef) else []
            for part in (*each.decorator_list, *bases):
                if isinstance(part, ast.Name):
                    yield Called(part.id, {})


def _alters(node: ast.stmt, needs: Set[str]) -> tuple[frozenset[str], frozenset[int | str]]:
    """The names that a function changes when it is called, and its parameters, by position and
    name; the names that the methods of a class change, its own for ``cls``.
    """
    if not isinstance(node, DEFINITION):
        return frozenset(), frozenset()
    inside = [each for part in node.body for each in ast.walk(part)]
    changed = _changed(inside)
    rebound = {name for each in inside if isinstance(each, ast.Global) for name in each.names}
    alters = (changed & needs) | rebound
    if isinstance(node, ast.ClassDef):
        own = {node.name} if changed & {"cls", node.name} else set()
        return frozenset(alters | own), frozenset()
    ordered = (*node.args.posonlyargs, *node.args.args)
    named = {each.arg for each in (*ordered, *node.args.kwonlyargs)}
    places = {at for at, each in enumerate(ordered) if each.arg in changed}
    return frozenset(alters), frozenset(places | (named & changed))


def _rank(node: ast.stmt) -> int:
    if isinstance(node, DEFINITION):
        return 1 if any(map(_is_todo, ast.walk(node))) else 3
    if isinstance(node, ast.Assign) and _is_remade(node):
        return 3
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
        return 2
    return 2 if isinstance(node, ast.AnnAssign) and node.value else 0


def _is_remade(node: ast.Assign) -> bool:
    """Whether a name is given something that is made of what it had and does not call that, as
    ``evaluate = timed(evaluate)`` is, and ``model = model()`` is not.
    """
    names = {
        each.id
        for target in node.targets
        for each in ast.walk(target)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    called = {_root(each.func) for each in ast.walk(node.value) if isinstance(each, ast.Call)}
    used = names & _names(node.value)
    return bool(used) and used.isdisjoint(called)


def _is_todo(node: ast.AST) -> bool:
    if not isinstance(node, ast.Raise):
        return False
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
