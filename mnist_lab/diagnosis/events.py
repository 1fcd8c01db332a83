"""What happened before anything could be compared, in words: the first question that it answers.

The questions are the entries of ``mistakes/events.toml``, from "can it be read" to "does it return
the kind of thing that is asked for". What is computed is not asked here.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import Any

from torch import Tensor

from mnist_lab import kit
from mnist_lab.diagnosis import CheckFailure, reference
from mnist_lab.diagnosis.faults import Fault, entries, tables
from mnist_lab.diagnosis.outline import (
    Definition,
    Outline,
    called,
    given_anew,
    like,
    never_ends,
    outline,
)
from mnist_lab.grade import Cause
from mnist_lab.submission.caller import Caller, Event, SubmissionFailure
from mnist_lab.submission.protocol import Message

Facts = Mapping[str, Any]

TABLES = tables("events")
SIGNATURES: Mapping[str, Sequence[str]] = TABLES["signatures"]

PACKAGES = ("numpy", "torch", "torchvision", "PIL", "matplotlib", "sklearn", "scipy", "pandas")


def told(failure: SubmissionFailure | CheckFailure, caller: Caller) -> Cause:
    """Why a check of the file that ``caller`` asks did not pass: the words of the first question
    that what happened answers, else those of ``failure``.
    """
    if isinstance(failure, CheckFailure):
        kind, name = "degenerate" if failure.mistake else "check", failure.facts.get("of", "")
        event = Event(kind, caller=caller, name=name, mistake=failure.mistake, facts=failure.facts)
    else:
        event = failure.event
    seen = Seen(event)
    for entry in entries("events").values():
        facts = _facts(entry, seen)
        if facts is not None:
            return _worded(entry, seen, failure.cause, facts)
    return failure.cause


@dataclass(frozen=True)
class Seen:
    """An event, and the text that it happened in."""

    event: Event

    @cached_property
    def exercise(self) -> kit.Exercise:
        return next(e for e in kit.load().exercises if e.file == self.event.caller.file)

    @property
    def name(self) -> str:
        """The class or function that was asked for."""
        return self.event.name or self.exercise.names[0]

    @cached_property
    def outline(self) -> Outline:
        return outline(self.event.caller.text(self.event.caller.file) or self.event.caller.beside)

    @cached_property
    def beside(self) -> Outline:
        """What else is in a notebook."""
        return outline(self.event.caller.beside)

    @property
    def defined(self) -> str:
        """Where what was asked for begins: of a class its ``forward``; empty if nowhere, or if it
        was not reached.
        """
        if self.event.operation == "load":
            return ""
        found = self.outline
        nodes = found.imported | found.assigned | found.top | found.methods(self.name)
        node = nodes.get("forward", nodes.get(self.name))
        return self.at(node) if node else ""

    @property
    def given(self) -> dict[str, str]:
        """What the function's arguments are called, by what the handout calls them."""
        roles = self.outline.roles(self.name, SIGNATURES.get(self.name, ()))
        return dict(zip(roles, self.outline.parameters(self.name), strict=True))

    @property
    def number(self) -> int:
        """That of the line in the exercise's file; 0 where it is in no such line."""
        file, _, line = self.event.where.partition(":")
        return int(line) if file == self.exercise.file and line.isdigit() else 0

    @property
    def loops(self) -> list[ast.For | ast.While]:
        """Those that the line is in."""
        return self.outline.loops(self.number)

    @cached_property
    def ran(self) -> ast.expr | ast.For | None:
        """The part of the line that raised."""
        return self.outline.part(self.number, *self.event.part) if self.event.part else None

    @property
    def used(self) -> tuple[str, str]:
        """The name that could not be used as it was by what raised, and how that was: an attribute,
        ``()`` for a call, ``in`` for a loop.
        """
        ran = self.ran
        used, how = (ran.iter if isinstance(ran, ast.For) else ran), "in"
        if isinstance(ran, ast.Call):
            used, how = ran.func, "()"
        elif isinstance(ran, ast.Attribute):
            used, how = ran.value, ran.attr
        return (used.id, how) if isinstance(used, ast.Name) else ("", how)

    def at(self, node: ast.stmt | ast.expr) -> str:
        """Where it is defined, as far as that can be told."""
        file = self.exercise.file
        return f"{file}:{node.lineno}" if self.event.caller.is_there else file

    @cached_property
    def line(self) -> str:
        """The text of the learner's line, as it is."""
        file, _, number = self.event.where.partition(":")
        lines = self.event.caller.text(file).splitlines()
        at = int(number) - 1 if number.isdigit() else -1
        return lines[at] if 0 <= at < len(lines) else ""

    @cached_property
    def said(self) -> str:
        """What Python or PyTorch said, without the grader's own objects and folders."""
        said = re.sub(r" \(\S*/\S+\)|, but expected one of:$", "", self.event.said)
        if self.exercise.id in ("training", "evaluation"):
            for ours, theirs in TABLES["ours"].items():
                said = said.replace(ours, theirs)
        return said

    @property
    def facts(self) -> dict[str, Any]:
        event = self.event
        asked = SIGNATURES.get(self.name, ())
        return {
            **event.facts,
            "name": self.name,
            "file": event.caller.file,
            "doing": event.doing or event.caller.file,
            "raised": event.raised,
            "said": self.said.rstrip(".?"),
            "where": event.where or event.caller.file,
            "text": self.line.strip(),
            "bound": event.bound,
            "asked": f"{self.name}({', '.join(asked)})" if self.name in SIGNATURES else self.name,
            "has": self.outline.written(self.name),
        }


def _facts(entry: Fault, seen: Seen) -> dict[str, Any] | None:
    """What the words of ``entry`` are about, if it is what happened."""
    event, more = seen.event, entry.more
    found: dict[str, Any] = seen.facts
    whole = {
        "kind": event.kind,
        "at": event.operation,
        "raised": event.raised,
        "mistake": event.mistake,
        "bound": event.bound,
        "type": event.facts.get("type", ""),
        "exercise": seen.exercise.id,
        "asks": seen.name,
    }
    if any(key in more and not re.fullmatch(more[key], value) for key, value in whole.items()):
        return None
    if more.get("inside", bool(event.where)) != bool(event.where):
        return None
    texts = {"said": seen.said, "line": seen.line, "where": event.where, "stack": event.stack}
    for key, value in (*texts.items(), ("text", event.caller.text(event.caller.file))):
        pattern = more.get(key, "").replace("{name}", seen.name)
        match = re.search(pattern.replace("{exercise}", seen.exercise.id), value, re.MULTILINE)
        if match is None:
            return None
        found |= {name: part or "" for name, part in match.groupdict().items()}
    for name in more.get("when", ()):
        facts = QUESTIONS[name](seen, found)
        if facts is None:
            return None
        found |= facts
    return found


KNOWN = "`{text}` raises {raised}: {said}."
RAISED = ("raised", "syntax", "memory", "exited", "timeout", "status")


def _worded(entry: Fault, seen: Seen, cause: Cause, facts: Facts) -> Cause:
    more = entry.more
    known = more.get("known", KNOWN if seen.event.kind in RAISED else "")
    if "{text}" in known and not facts["text"]:
        known = "It {said}." if seen.event.kind == "timeout" else "Python says: {said}."
    slug = more.get("fault", entry.id if "bank" in more else "")
    code = f"{seen.line}\n{' ' * (seen.event.column - 1)}^" if seen.event.column else ""
    return replace(
        cause,
        message=_filled(entry.says, facts),
        fault=f"{seen.exercise.id}.{slug}" if slug else None,
        evidence=_filled(known, facts),
        hint=entry.hint.format_map(facts),
        where=facts.get("at") or seen.event.where or seen.defined or cause.where,
        traceback="" if more.get("quiet") else cause.traceback,
        code=code,
    )


def _filled(words: str, facts: Facts) -> str:
    """Without the colon where Python says nothing but what was raised."""
    return (words if facts["said"] else words.replace(": {said}", "")).format_map(facts)


# What else is asked: each gives more facts, or None if it is not so


def _instead(seen: Seen, facts: Facts) -> Facts | None:
    files = seen.event.caller.instead
    return {"instead": ", ".join(files[:3])} if files else None


def _is_a_notebook(seen: Seen, facts: Facts) -> Facts | None:
    """The whole file is JSON with cells."""
    for node in seen.outline.tree.body[:1]:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Dict):
            keys = [each.value for each in node.value.keys if isinstance(each, ast.Constant)]
            return {} if "cells" in keys else None
    return None


def _packages(seen: Seen, facts: Facts) -> Facts:
    return {"packages": ", ".join(name for name in PACKAGES if find_spec(name))}


def _nested(seen: Seen, facts: Facts) -> Facts | None:
    """The name is there, inside of another definition."""
    inner = seen.outline.inner.get(seen.name)
    there = inner or seen.beside.inner.get(seen.name)
    if seen.name in seen.outline.top or there is None:
        return None
    node, outer = there
    return {"outer": outer.name, "at": seen.at(node) if inner else seen.exercise.file}


def _plainly(seen: Seen, facts: Facts) -> Facts | None:
    """One of the things that are defined is what is asked for, under another name."""
    if seen.name in seen.outline.top:
        return None
    for place in (seen.outline, seen.beside):
        taken = {name for e in kit.load().exercises for name in e.names}
        own = {name: node for name, node in place.top.items() if name not in taken}
        if found := _of_that_size(seen, place):
            what = f", a Module with {found[1]:,} parameters"
            why = f"That is the number of parameters that {seen.name} should have."
            return {"found": found[0], "what": what, "why": why}
        if near := like(seen.name, list(own), TABLES["also-called"].get(seen.name, ())):
            why = "It is spelt nearly so, or often called so."
            return {"found": place.written(near[0]), "what": "", "why": why}
    return None


def _of_that_size(seen: Seen, place: Outline) -> tuple[str, int] | None:
    """A class of the learner's with as many parameters as are asked for."""
    network = reference.NETWORKS.get(seen.exercise.id)
    asked = sum(map(math.prod, network.axes.values())) if network else 0
    classes = [name for name, node in place.top.items() if network and _is_class(node)]
    return next(((name, asked) for name in classes if _size(seen, name) == asked), None)


def _is_class(node: object) -> bool:
    return isinstance(node, ast.ClassDef)


def _size(seen: Seen, name: str) -> int | None:
    """How many parameters a network of the class ``name`` has; None where it cannot be made."""
    shapes = _shapes(seen, name)
    return None if shapes is None else sum(map(math.prod, shapes))


def _shapes(seen: Seen, name: str) -> list[tuple[int, ...]] | None:
    """Those of its parameters."""
    caller = seen.event.caller
    if not caller.is_there:
        return None
    try:
        made = caller.ask("build", Message({"name": name, "seed": 0}), f"{name}()")
        return [tuple(map(int, each["shape"])) for each in made.fields["parameters"]]
    except (SubmissionFailure, KeyError, TypeError, ValueError):
        return None


def _defines(seen: Seen, facts: Facts) -> Facts:
    """What is there instead."""
    place = seen.outline if seen.outline.top else seen.beside
    words = [_with_size(seen, place, name) for name in [*place.top][:6]]
    there = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    it = "It" if seen.event.caller.is_there else "Besides other exercises, it"
    return {"defines": f"{it} defines {there or 'no class or function'}."}


def _with_size(seen: Seen, place: Outline, name: str) -> str:
    if seen.name[0].isupper() and _is_class(place.top[name]):
        size = _size(seen, name)
        return f"{name}, a Module with {size:,} parameters" if size else name
    return place.written(name)


def _misspelt(meant: str, seen: Seen, facts: Facts) -> Facts | None:
    methods, pattern = seen.outline.methods(seen.name), TABLES["misspelt"][meant]
    for name, node in methods.items() if meant not in methods else ():
        if re.fullmatch(pattern, name.lower()) and name != meant:
            return {"spelt": name, "meant": meant, "at": seen.at(node)}
    return None


def _outside(seen: Seen, facts: Facts) -> Facts | None:
    """A method stands outside of its class, or inside of another method."""
    methods, whole = seen.outline.methods(seen.name), seen.outline
    if not _is_class(whole.top.get(seen.name)):
        return None
    for name in ("forward", "__init__"):
        if name in methods:
            continue
        facts = {"method": name, "place": "outside of the class"}
        own = whole.top.get(name)
        is_used = name in whole.names or _decorators(own)  # Code may put it into the class.
        if own and "self" in whole.parameters(name) and not is_used:
            return {**facts, "at": seen.at(own)}
        if not own and "self" in seen.beside.parameters(name):
            return {**facts, "at": seen.exercise.file}
        if name in whole.inner and whole.inner[name][1].name in methods:
            node, outer = whole.inner[name]
            return {"method": name, "place": f"inside {outer.name}", "at": seen.at(node)}
    return None


def _made_already(seen: Seen, facts: Facts) -> Facts | None:
    made = seen.outline.assigned.get(seen.name)
    return None if made is None or isinstance(made, ast.Lambda) else {}


def _is_a_class(seen: Seen, facts: Facts) -> Facts | None:
    return {} if _is_class(seen.outline.top.get(seen.name)) else None


def _calls_itself(seen: Seen, facts: Facts) -> Facts | None:
    return {} if seen.outline.calls_itself(seen.name) else None


def _hides_import(seen: Seen, facts: Facts) -> Facts | None:
    """The file also imports something of the name that is asked for."""
    hidden = getattr(seen.outline.imported.get(seen.name), "module", "")
    return {"source": hidden} if hidden else None


def _decorated(seen: Seen, facts: Facts) -> Facts | None:
    """The function that is asked for has a decorator of the learner's own."""
    node = seen.outline.top.get(seen.name)
    own = [name for name in _decorators(node) if name in seen.outline.top]
    return {"decorator": own[0], "at": seen.at(node)} if node and own else None


def _dataclass(seen: Seen, facts: Facts) -> Facts | None:
    node = seen.outline.top.get(seen.name)
    return {"at": seen.at(node)} if node and "dataclass" in _decorators(node) else None


def _forward_decorated(seen: Seen, facts: Facts) -> Facts | None:
    node = seen.outline.methods(seen.name).get("forward")
    other = {"property", "classmethod", "staticmethod"}.intersection(_decorators(node))
    return {"decorator": min(other), "at": seen.at(node)} if node and other else None


def _decorators(node: Definition | None) -> list[str]:
    """Their names, without what they are given."""
    found = [getattr(each, "func", each) for each in node.decorator_list] if node else []
    return [getattr(each, "id", getattr(each, "attr", "")) for each in found]


def _yields(seen: Seen, facts: Facts) -> Facts | None:
    top = seen.outline.top.get(seen.name)
    node = seen.outline.methods(seen.name).get("forward", top)
    return {} if node and any(isinstance(each, ast.Yield) for each in ast.walk(node)) else None


def _exchanged(seen: Seen, facts: Facts) -> Facts | None:
    """The arguments are there in another order."""
    asked = SIGNATURES.get(seen.name, ())
    roles = [role for role in seen.outline.roles(seen.name, asked) if role]
    first = list(asked[: len(roles)])
    is_order = len(set(roles)) == len(roles) > 1 and sorted(roles) == sorted(first)
    moved = [(a, b) for a, b in zip(roles, first, strict=False) if a != b]
    return {"first": moved[0][0], "second": moved[0][1]} if is_order and moved else None


def _other_name(seen: Seen, facts: Facts) -> Facts | None:
    """An argument of the handout has another name."""
    own = seen.given.get(facts["lacks"], facts["lacks"])
    return {"own": own} if own != facts["lacks"] else None


def _first_is_self(seen: Seen, facts: Facts) -> Facts | None:
    is_function = isinstance(seen.outline.top.get(seen.name), ast.FunctionDef)
    return {} if is_function and seen.outline.parameters(seen.name)[:1] == ["self"] else None


def _without_self(seen: Seen, facts: Facts) -> Facts | None:
    method = seen.outline.methods(seen.name).get(facts["method"])
    if method is None or "staticmethod" in _decorators(method):
        return None
    names = [each.arg for each in method.args.args]
    rest = ", ".join(["self", *names])
    is_there = names[:1] == ["self"] or method.args.vararg
    return None if is_there else {"at": seen.at(method), "rest": rest}


def _of_init(seen: Seen, facts: Facts) -> Facts:
    node = seen.outline.methods(seen.name).get("__init__")
    return {"at": seen.at(node)} if node else {}


def _in_a_while(seen: Seen, facts: Facts) -> Facts | None:
    """The line is, or was called by one that is in a loop that nothing can end."""
    file = seen.event.caller.file
    lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', seen.event.stack)
    around = [loop for line in lines for loop in seen.outline.loops(int(line))]
    for loop in [*filter(never_ends, around), *seen.loops]:
        if isinstance(loop, ast.While):
            at = f"{file}:{loop.lineno}"
            return {"at": at, "where": at, "asked_for": ast.unparse(loop.test)}
    return None


def _in_an_endless_for(seen: Seen, facts: Facts) -> Facts | None:
    over = [ast.unparse(loop.iter) for loop in seen.loops if isinstance(loop, ast.For)]
    endless = [each for each in over if re.match(r"[\w.]*\b(cycle|count|repeat)\(", each)]
    return {"over": endless[0]} if endless else None


def _in_no_loop(seen: Seen, facts: Facts) -> Facts | None:
    return {} if seen.number and not seen.loops else None


def _in_nested_loops(seen: Seen, facts: Facts) -> Facts | None:
    """More of them than batches and examples need."""
    usual = 1 if seen.exercise.id == "preprocessing" else 2
    return {"depth": len(seen.loops)} if len(seen.loops) > usual else None


def _made_later(seen: Seen, facts: Facts) -> Facts | None:
    """The file defines the name at its top, below the line that was reached."""
    made = (seen.outline.imported | seen.outline.assigned | seen.outline.top).get(facts["missing"])
    return {"later": seen.at(made)} if made and made.lineno > seen.number > 0 else None


def _defined_nowhere(seen: Seen, facts: Facts) -> Facts | None:
    """What is imported is nothing that the file defines itself."""
    return None if facts["missing"] in seen.outline.top | seen.outline.assigned else {}


def _import_of(seen: Seen, facts: Facts) -> Facts | None:
    line = TABLES["imports"].get(facts["missing"])
    return {"import": line} if line else None


def _of_self(seen: Seen, facts: Facts) -> Facts | None:
    own = {*seen.outline.attributes(seen.name), *seen.outline.methods(seen.name)}
    return {} if facts["missing"] in own else None


def _tuple_of_one(seen: Seen, facts: Facts) -> Facts | None:
    """What the line uses was given a tuple of one, as a comma behind a value makes it."""
    made = [
        node
        for target, node in seen.outline.tuples_of_one
        if node.lineno < seen.number and re.search(rf"(?<![\w.]){re.escape(target)}\b", seen.line)
    ]
    return {"at": seen.at(max(made, key=attrgetter("lineno")))} if made else None


def _of_a_call(seen: Seen, facts: Facts) -> Facts | None:
    """What is called raised it, and not an operator of the line."""
    return {"called": ast.unparse(seen.ran.func)} if isinstance(seen.ran, ast.Call) else None


def _of_a_loop(seen: Seen, facts: Facts) -> Facts | None:
    """What a ``for`` goes through raised it."""
    loops = [loop for loop in seen.loops if isinstance(loop, ast.For)]
    return {} if seen.ran in [*loops, *(loop.iter for loop in loops)] else None


def _overwritten(seen: Seen, facts: Facts) -> Facts | None:
    """The function has given another value, in one place, to the name of what it uses: of an
    argument, or of what it could use from outside.
    """
    function, (name, how) = seen.outline.function(seen.number), seen.used
    places = given_anew(function, name) if function else []
    if function is None or len(places) != 1:
        return None
    if name in [each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)]:
        is_another = _can_be_used(seen, function.name, name, how)
    else:
        whole = seen.outline
        is_another = name in {*dir(builtins), *whole.top, *whole.imported, *whole.assigned}
    return {"overwritten": name, "at": seen.at(places[0])} if is_another else None


def _given_otherwise(seen: Seen, facts: Facts) -> Facts | None:
    """Another function of the file calls the one that the line is in, and gives it what can't be
    used as what it is given there always can.
    """
    file, (name, how) = re.escape(seen.exercise.file), seen.used
    frames = re.findall(r'File "(.*)", line (\d+), in (\S+)', seen.event.stack)[-2:]
    if len(frames) < 2 or any(not re.fullmatch(file, each) for each, _, _ in frames):
        return None
    (_, line, giver), (_, _, taker) = frames
    function = seen.outline.top.get(taker)
    if not isinstance(function, ast.FunctionDef) or given_anew(function, name):
        return None
    if not _can_be_used(seen, taker, name, how):
        return None
    at, has = f"{seen.exercise.file}:{line}", seen.outline.written(taker)
    giver = "it" if giver.startswith("<") else giver  # as <listcomp>
    return {"giver": giver, "taker": taker, "argument": name, "at": at, "has": has}


def _can_be_used(seen: Seen, function: str, name: str, how: str) -> bool:
    """Whether the argument ``name`` stands for something that can always be used so."""
    names = seen.outline.parameters(function)
    roles = seen.outline.roles(function, SIGNATURES.get(function, [*TABLES["uses"]]))
    role = dict(zip(names, roles, strict=True)).get(name, "")
    return how in TABLES["uses"].get(role, ())


def _declared_as_asked(seen: Seen, facts: Facts) -> Facts | None:
    """All weights have the shapes of the handout's layers."""
    network = reference.NETWORKS.get(seen.exercise.id)
    shapes = _shapes(seen, seen.name) if network else None
    asked = sorted(map(_rows, network.axes.values())) if network else None
    return {} if shapes and sorted(map(_rows, shapes)) == asked else None


def _rows(shape: Sequence[int]) -> tuple[int, int]:
    return shape[0] if shape else 0, math.prod(shape[1:])


def _made_twice(seen: Seen, facts: Facts) -> Facts | None:
    """The line uses an attribute that ``__init__`` sets a second time, without a look at the first
    value.
    """
    init = seen.outline.methods(seen.name).get("__init__")
    made: dict[str, ast.stmt] = {}
    for node in init.body if init else ():
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target = ast.unparse(node.targets[0])
        if target in made and target not in ast.unparse(node.value):
            is_used = re.search(rf"{re.escape(target)}\b", seen.line)
            return {"again": target, "at": seen.at(node)} if is_used else None
        made[target] = node
    return None


MODULES = ("torchvision.transforms", "torchvision.transforms.v2", "torchvision.datasets")
"""Those that are imported for their names: learners use them, and the grader does not."""


def _near_of_module(seen: Seen, facts: Facts) -> Facts | None:
    """The module has a name that is written nearly so."""
    package = facts["package"]
    module = import_module(package) if package in MODULES else sys.modules.get(package)
    near = like(facts["missing"], [each for each in dir(module) if each[0] != "_"])
    return {"near": near[0]} if module and near else None


def _near_of_type(seen: Seen, facts: Facts) -> Facts | None:
    """A tensor, or an object of one of Python's own types, has a name that is written nearly so."""
    kind = Tensor if facts["kind_"] == "Tensor" else getattr(builtins, facts["kind_"], object)
    near = like(facts["missing"], [each for each in dir(kind) if each[0] != "_"])
    return {"near": near[0]} if near else None


def _returned_at(seen: Seen, facts: Facts) -> Facts:
    node = seen.outline.returning(facts["type"], seen.name)
    return {"at": seen.at(node)} if node else {}


def _near_name(seen: Seen, facts: Facts) -> Facts | None:
    near = like(facts["missing"], sorted(seen.outline.names - {facts["missing"]}))
    return {"near": near[0]} if near else None


def _of_an_argument(seen: Seen, facts: Facts) -> Facts | None:
    """The name is a usual one for something that the function is given."""
    roles = called(facts["missing"], [*filter(None, seen.given)])
    return next(({"near": seen.given[role]} for role in roles), None)


def _near_attribute(seen: Seen, facts: Facts) -> Facts | None:
    near = like(facts["missing"], seen.outline.attributes(seen.name))
    return {"near": near[0]} if near and near[0] != facts["missing"] else None


QUESTIONS: Mapping[str, Callable[[Seen, Facts], Facts | None]] = {
    "misspelt-init": partial(_misspelt, "__init__"),
    "misspelt-forward": partial(_misspelt, "forward"),
    **{
        name.strip("_").replace("_", "-"): question
        for name, question in list(globals().items())
        if inspect.isfunction(question)
        and [*inspect.signature(question).parameters] == ["seen", "facts"]
    },
}


def _bank() -> Iterator[Fault]:
    """The entries that docs/faults.md lists, for the kinds of exercises that have them."""
    for exercise in kit.load().exercises:
        kind = "class" if exercise.names[0][0].isupper() else "function"
        name = exercise.names[0] if kind == "class" else "a function that is asked for"
        for entry in entries("events").values():
            if kind in entry.more.get("bank", ()):
                slug = entry.more.get("fault", entry.id)
                facts = {"name": name, "file": exercise.file}
                says = entry.more.get("title", entry.says).format_map(facts)
                hint = entry.hint.format_map(facts)
                yield replace(entry, id=f"{exercise.id}.{slug}", says=says, hint=hint)


BANK = tuple(_bank())
