"""What happened before anything could be compared, in words: the first question that it answers.

The questions are the entries of ``mistakes/events.toml``, from "can it be read" to "does it return
the kind of thing that is asked for". What is computed is not asked here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from mnist_lab import kit
from mnist_lab.diagnosis import CheckFailure, reference
from mnist_lab.diagnosis.faults import Entry, entries
from mnist_lab.diagnosis.outline import Outline, like, outline
from mnist_lab.grade import Cause
from mnist_lab.submission.caller import Caller, Event, SubmissionFailure
from mnist_lab.submission.protocol import Message

__all__ = ["told"]

Facts = Mapping[str, Any]

SIGNATURES = {
    "test_transform": (),
    "train_transform": (),
    "downsample": ("dataset", "size", "seed"),
    "make_loaders": ("train_set", "test_set", "batch_size"),
    "train_epoch": ("model", "loader", "optimizer", "loss_fn", "device"),
    "train": ("model", "loader", "epochs", "lr", "device"),
    "evaluate": ("model", "loader", "device"),
    "confusion_matrix": ("model", "loader", "device"),
}

ALSO_CALLED = {
    "test_transform": ("transform_test", "get_test_transform", "make_test_transform"),
    "train_transform": ("transform_train", "get_train_transform", "make_train_transform"),
    "downsample": ("subsample", "sample_dataset", "get_subset", "downsample_dataset"),
    "make_loaders": ("get_loaders", "create_loaders", "make_dataloaders", "get_dataloaders"),
    "train_epoch": ("train_one_epoch", "train_loop", "train_step", "epoch_train", "run_epoch"),
    "train": ("train_model", "fit", "training", "train_network"),
    "evaluate": ("test", "eval_model", "evaluate_model", "evaluation", "test_loop", "validate"),
    "confusion_matrix": ("conf_matrix", "compute_confusion_matrix", "get_confusion_matrix", "cm"),
    "CNN": ("ConvNet", "ConvolutionalNetwork", "ConvolutionalNeuralNetwork"),
    "FNN": ("FeedForward", "FeedForwardNetwork", "MLP", "FeedforwardNeuralNetwork"),
    "LogisticRegression": ("LogReg", "Logistic", "LogisticRegressionModel", "LogisticModel"),
}
"""What learners call it, from other courses and books."""

PACKAGES = ("numpy", "torch", "torchvision", "PIL", "matplotlib", "sklearn", "scipy", "pandas")

OURS = {
    "'Model' object": "the model",
    "'Loader' object": "the loader",
    "_Forward": "the model",
}
"""The grader's objects, as a learner calls them."""

INITS = r"_*(init|int|inti|ini|intit|initialize|initialise|constructor)_*"
FORWARDS = r"_*(foward|forwad|forwards?|fordward|forwrad|froward|feedforward|__call)_*"

IMPORTS = {
    "F": "import torch.nn.functional as F",
    "nn": "from torch import nn",
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "optim": "from torch import optim",
    "v2": "from torchvision.transforms import v2",
    "transforms": "from torchvision import transforms",
    "T": "from torchvision import transforms as T",
    "datasets": "from torchvision import datasets",
    "DataLoader": "from torch.utils.data import DataLoader",
    "Subset": "from torch.utils.data import Subset",
    "Dataset": "from torch.utils.data import Dataset",
    "Tensor": "from torch import Tensor",
    "Image": "from PIL import Image",
    "partial": "from functools import partial",
    "Callable": "from collections.abc import Callable",
    **{name: f"import {name}" for name in ("torch", "torchvision", "random", "math", "copy", "os")},
}


def told(failure: SubmissionFailure | CheckFailure, caller: Caller) -> Cause:
    """Why a check of the file that ``caller`` asks did not pass: the words of the first question
    that what happened answers, else those of ``failure``.
    """
    event = failure.event if isinstance(failure, SubmissionFailure) else None
    if event is None and not isinstance(failure, CheckFailure):
        return failure.cause
    seen = Seen(event or Event("check", caller))
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
        said = re.sub(r" \(/\S+\)", "", self.event.said)
        if self.exercise.id in ("training", "evaluation"):
            for ours, theirs in OURS.items():
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
            "said": self.said.rstrip("."),
            "where": event.where or event.caller.file,
            "text": self.line.strip(),
            "bound": event.bound,
            "asked": f"{self.name}({', '.join(asked)})" if self.name in SIGNATURES else self.name,
            "has": self.outline.written(self.name),
        }


def _facts(entry: Entry, seen: Seen) -> dict[str, Any] | None:
    """What the words of ``entry`` are about, if it is what happened."""
    event, more = seen.event, entry.more
    found: dict[str, Any] = seen.facts
    whole = {
        "kind": event.kind,
        "at": event.operation,
        "raised": event.raised,
        "mistake": event.mistake,
        "bound": event.bound,
        "exercise": seen.exercise.id,
        "asks": seen.name,
    }
    for key, value in whole.items():
        if key in more and not re.fullmatch(more[key], value):
            return None
    if "inside" in more and more["inside"] != bool(event.where):
        return None
    for key, value in (("said", seen.said), ("line", seen.line)):
        if key in more:
            match = re.search(more[key], value)
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
KNOWN_NOWHERE = "Python says: {said}."


def _worded(entry: Entry, seen: Seen, cause: Cause, facts: Facts) -> Cause:
    more = entry.more
    known = more.get("known", KNOWN if facts["text"] else KNOWN_NOWHERE)
    if seen.event.kind in ("returned", "check", "lacking"):
        known = more.get("known", "")
    elif not facts["text"] and "{text}" in known:
        known = KNOWN_NOWHERE
    slug = more.get("fault", entry.id if "bank" in more else "")
    code = f"{seen.line}\n{' ' * (seen.event.column - 1)}^" if seen.event.column else ""
    return replace(
        cause,
        message=entry.says.format_map(facts),
        fault=f"{seen.exercise.id}.{slug}" if slug else None,
        evidence=known.format_map(facts),
        hint=entry.hint.format_map(facts),
        where=facts.get("at", seen.event.where or cause.where or seen.exercise.file),
        traceback="" if more.get("quiet") else cause.traceback,
        code=code,
    )


# What else is asked: each gives more facts, or None if it is not so


def _instead(seen: Seen, facts: Facts) -> Facts | None:
    files = seen.event.caller.instead
    return {"instead": ", ".join(files[:3])} if files else None


def _packages(seen: Seen, facts: Facts) -> Facts:
    return {"packages": ", ".join(name for name in PACKAGES if find_spec(name))}


def _nested(seen: Seen, facts: Facts) -> Facts | None:
    """The name is there, inside of another definition."""
    inner = seen.outline.inner.get(seen.name)
    if seen.name in seen.outline.top or inner is None:
        return None
    node, outer = inner
    return {"outer": outer.name, "at": f"{seen.exercise.file}:{node.lineno}"}


def _plainly(seen: Seen, facts: Facts) -> Facts | None:
    """One of the things that are defined is what is asked for, under another name."""
    if seen.name in seen.outline.top:
        return None
    for place in (seen.outline, seen.beside):
        taken = {name for e in kit.load().exercises for name in e.names}
        own = {name: node for name, node in place.top.items() if name not in taken}
        if found := _of_that_size(seen, place):
            return {"found": found[0], "what": f", a Module with {found[1]:,} parameters"}
        if near := like(seen.name, list(own), ALSO_CALLED.get(seen.name, ())):
            return {"found": place.written(near[0]), "what": ""}
    return None


def _of_that_size(seen: Seen, place: Outline) -> tuple[str, int] | None:
    """A class of the learner's with as many parameters as are asked for."""
    network = reference.NETWORKS.get(seen.exercise.id)
    asked = sum(map(math.prod, network.axes.values())) if network else 0
    classes = [name for name, node in place.top.items() if network and _is_class(node)]
    return next(((name, asked) for name in classes if _size(seen, name) == asked), None)


def _is_class(node: object) -> bool:
    return type(node).__name__ == "ClassDef"


def _size(seen: Seen, name: str) -> int | None:
    """How many parameters a network of the class ``name`` has; None where it cannot be made."""
    caller = seen.event.caller
    if not caller.is_there:
        return None
    try:
        made = caller.ask("build", Message({"name": name, "seed": 0}), f"{name}()")
        shapes = [each["shape"] for each in made.fields["parameters"]]
        return sum(map(math.prod, shapes))
    except (SubmissionFailure, KeyError, TypeError):
        return None


def _defines(seen: Seen, facts: Facts) -> Facts:
    """What is there instead."""
    place = seen.outline if seen.outline.top else seen.beside
    words = [_with_size(seen, place, name) for name in [*place.top][:6]]
    words += [f"{name} (imported)" for name in seen.outline.imported if name == seen.name]
    there = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return {"defines": f"It defines {there}." if there else "It defines no class or function."}


def _with_size(seen: Seen, place: Outline, name: str) -> str:
    if seen.name[0].isupper() and _is_class(place.top[name]):
        size = _size(seen, name)
        return f"{name}, a Module with {size:,} parameters" if size else name
    return place.written(name)


def _misspelt(pattern: str, meant: str) -> Callable[[Seen, Facts], Facts | None]:
    def ask(seen: Seen, facts: Facts) -> Facts | None:
        methods = seen.outline.methods(seen.name)
        for name, node in methods.items() if meant not in methods else ():
            if re.fullmatch(pattern, name.lower()) and name != meant:
                at = f"{seen.exercise.file}:{node.lineno}"
                return {"spelt": name, "meant": meant, "at": at}
        return None

    return ask


def _outside(seen: Seen, facts: Facts) -> Facts | None:
    """A method stands outside of its class, or inside of another method."""
    methods, whole = seen.outline.methods(seen.name), seen.outline
    if seen.name not in whole.top or not _is_class(whole.top[seen.name]):
        return None
    for name in ("forward", "__init__"):
        if name in methods:
            continue
        if "self" in seen.beside.parameters(name):
            at = seen.exercise.file
            return {"method": name, "place": "outside of the class", "at": at}
        if "self" in whole.parameters(name):
            at = f"{seen.exercise.file}:{whole.top[name].lineno}"
            return {"method": name, "place": "outside of the class", "at": at}
        if name in whole.inner and whole.inner[name][1].name in methods:
            node, outer = whole.inner[name]
            at = f"{seen.exercise.file}:{node.lineno}"
            return {"method": name, "place": f"inside of {outer.name}", "at": at}
    return None


def _made_already(seen: Seen, facts: Facts) -> Facts | None:
    return {} if seen.name in seen.outline.assigned else None


def _calls_itself(seen: Seen, facts: Facts) -> Facts | None:
    return {} if seen.outline.calls_itself(seen.name) else None


def _hides(seen: Seen, facts: Facts) -> Facts | None:
    source = seen.outline.imported.get(seen.name)
    return {"source": source} if source and seen.outline.calls_itself(seen.name) else None


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
    asked = SIGNATURES.get(seen.name, ())
    parameters = seen.outline.parameters(seen.name)
    roles = dict(zip(seen.outline.roles(seen.name, asked), parameters, strict=True))
    own = roles.get(facts["lacks"], facts["lacks"])
    return {"own": own} if own != facts["lacks"] else None


def _without_self(seen: Seen, facts: Facts) -> Facts | None:
    method = seen.outline.methods(seen.name).get(facts["method"])
    if method is None or not ({"staticmethod"} - set(map(_decorator, method.decorator_list))):
        return None
    names = [each.arg for each in method.args.args]
    at = f"{seen.exercise.file}:{method.lineno}"
    rest = ", ".join(["self", *names])
    return None if names[:1] == ["self"] or method.args.vararg else {"at": at, "rest": rest}


def _decorator(node: object) -> str:
    return getattr(node, "id", "")


def _in_a_while(seen: Seen, facts: Facts) -> Facts | None:
    """The line is one of a while loop."""
    _, _, line = seen.event.where.partition(":")
    loops = seen.outline.loops
    return {} if any(int(line or 0) in each for each in loops) else None


def _import_of(seen: Seen, facts: Facts) -> Facts | None:
    line = IMPORTS.get(facts["missing"])
    return {"import": line} if line else None


def _of_self(seen: Seen, facts: Facts) -> Facts | None:
    missing = facts["missing"]
    own = {*seen.outline.attributes(seen.name), *seen.outline.methods(seen.name)}
    return {} if missing in own else None


def _near_name(seen: Seen, facts: Facts) -> Facts | None:
    near = like(facts["missing"], sorted(seen.outline.names - {facts["missing"]}))
    return {"near": near[0]} if near else None


def _near_attribute(seen: Seen, facts: Facts) -> Facts | None:
    near = like(facts["missing"], seen.outline.attributes(seen.name))
    return {"near": near[0]} if near and near[0] != facts["missing"] else None


QUESTIONS: Mapping[str, Callable[[Seen, Facts], Facts | None]] = {
    "calls-itself": _calls_itself,
    "defines": _defines,
    "exchanged": _exchanged,
    "hides-import": _hides,
    "import-of": _import_of,
    "in-a-while": _in_a_while,
    "instead": _instead,
    "made-already": _made_already,
    "misspelt-forward": _misspelt(FORWARDS, "forward"),
    "misspelt-init": _misspelt(INITS, "__init__"),
    "near-attribute": _near_attribute,
    "near-name": _near_name,
    "nested": _nested,
    "of-self": _of_self,
    "other-name": _other_name,
    "outside": _outside,
    "packages": _packages,
    "plainly": _plainly,
    "without-self": _without_self,
}
