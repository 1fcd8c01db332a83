"""What a grader learns from a learner's code: plain frozen data made from one checked reply each.

Nothing here trusts a reply: a field that is missing or of another type is a ``WireError``.
"""

from __future__ import annotations

import math
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from mnist_lab.submission.protocol import MAX_DIMENSIONS, Message, WireError

Batch = tuple[Tensor, Tensor]
"""Images (n, 1, 28, 28) and labels (n,)."""

MAX_TEXT, MAX_INT, MAX_PARAMETERS = 20_000, 1 << 63, 64
"""What is believed of a text, a number and a network before it is refused or cut."""


@dataclass(frozen=True)
class Batches:
    """Images (N, 1, 28, 28) and labels (N,), loaded in order, ``batch_size`` at a time; the last
    batch may be short. For a model that computes in the guest the sizes of the batches are listed,
    and each image is of one grey. With a ``seed`` they come in another order each time that the
    loader is gone through, which follows from nothing that a guest knows.
    """

    images: Tensor
    labels: Tensor
    batch_size: int | tuple[int, ...] = 10
    seed: int | None = None

    def order(self, of_pass: int) -> Tensor:
        """The order of the examples, int64 (N,), the nth time that the loader is gone through."""
        if self.seed is None:
            return torch.arange(len(self.labels))
        drawn = torch.Generator().manual_seed((self.seed << 20) + of_pass)
        return torch.randperm(len(self.labels), generator=drawn)

    def of_pass(self, number: int) -> Batches:
        """What comes the nth time that the loader is gone through."""
        order = self.order(number)
        return Batches(self.images[order], self.labels[order], self.batch_size)

    def split(self) -> list[Batch]:
        """The batches in order."""
        parts = zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        )
        return list(parts)


@dataclass(frozen=True)
class Recipe:
    """The model, loss and optimizer that a learner's loop is run with.

    ``kind`` is a key of ``given.MODELS``; ``weights`` its whole state, whose sizes and dtype are
    the model's; ``training`` the mode in which the learner gets it; ``loss`` a key of
    ``given.LOSSES``. ``train_epoch`` gets an SGD with ``lr`` and ``momentum``. A loop other than
    ``train`` is called ``calls`` times, and the last time counts. ``seed`` is what torch, NumPy and
    ``random`` are seeded with before the first.
    ``with_gradient`` (10,) is added to the scores of a forward pass that records a graph.
    ``plus`` (10,) is added to all scores and is not in the guest: who computes the scores from the
    weights, and does not ask the model, has others. They are others too where a part of the model
    is in another mode than the rest. ``before`` (10,) is added in its place in all calls but the
    last.
    """

    kind: str
    weights: Mapping[str, Tensor]
    training: bool = True
    loss: str = "cross_entropy"
    lr: float = 0.1
    momentum: float = 0.0
    seed: int = 0
    calls: int = 1
    with_gradient: Tensor | None = None
    plus: Tensor | None = None
    before: Tensor | None = None


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer of the learner's model, as it registered it."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool

    @property
    def owner(self) -> str:
        """The name of the module that it belongs to."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Unregistered:
    """An attribute of a model with layers, or weights, that PyTorch does not find.

    ``type`` is ``list`` and the like for what holds several ``parts``, ``Tensor`` for a weight.
    """

    name: str
    type: str
    parts: int
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Output:
    """``logits`` as returned, of any shape, finite; ``images_after`` the input after the call.

    ``made`` counts the parameters of layers that were made during the call.
    """

    logits: Tensor
    images_after: Tensor
    made: int = 0


@dataclass(frozen=True)
class Step:
    """The ``value`` of a step of a forward pass, the ``line`` of the learner's file that it is in,
    or 0, and the name of the PyTorch ``module`` that made it, or nothing, which may be ``inside``
    of another.
    """

    value: Tensor
    line: int
    module: str
    inside: bool


@dataclass(frozen=True)
class Gradients:
    """Gradients of ``(logits * cotangent).sum()``; ``None`` where none arrived."""

    parameters: dict[str, Tensor | None]
    logits: Tensor


@dataclass(frozen=True)
class Drawn:
    """What ``downsample`` drew: the numbers of the items in order, as their images show them.

    ``labels_kept``: whether every item still had its own label.
    """

    indices: tuple[int, ...]
    labels_kept: bool

    @property
    def length(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Loaders:
    """What two loaders gave: for each epoch its batches, in order."""

    train: tuple[tuple[Batch, ...], ...]
    test: tuple[tuple[Batch, ...], ...]


@dataclass(frozen=True)
class OptimizerUsed:
    """The class and default options of an optimizer that made a step."""

    name: str
    options: dict[str, Any]


@dataclass
class Facts:
    """What was seen while a learner's loop ran. For wording: verdicts rest on the arrays.

    ``events``: a letter for each forward pass, backward pass and step of an optimizer, in order. At
    each forward pass: its number of examples in ``batches``, the model's mode in ``modes``, whether
    a layer was in another (``partly``), whether a graph was recorded in ``grad_enabled``.
    ``states``: the parameters at the first forward passes, each time that they are others than
    before. ``inputs``: the images of those passes. ``slopes``: gradients of the loss with respect
    to the outputs, at the first backward passes. ``rates``: the learning rates, of each group of
    parameters, at each step; ``betas``: their first betas, of those that have any. ``passes``
    counts how often the loader was gone through, ``whole`` are the numbers of the first passes in
    which all examples were asked for. ``averages``: the buffers of the model after the last forward
    pass that moved them.
    ``optimizers``: those that made a step, by their numbers. ``draws_again``: whether two passes
    through the loader began with the same random numbers.
    """

    events: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    modes: list[bool] = field(default_factory=list)
    partly: list[bool] = field(default_factory=list)
    grad_enabled: list[bool] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)
    rates: list[tuple[float, ...]] = field(default_factory=list)
    betas: list[tuple[float, ...]] = field(default_factory=list)
    optimizers: dict[int, OptimizerUsed] = field(default_factory=dict)
    steps: int = 0
    passes: int = 0
    whole: list[int] = field(default_factory=list)
    averages: dict[str, Tensor] = field(default_factory=dict)
    training_after: bool = False
    requires_grad_after: bool = True
    grad_after: bool = True
    default_dtype_after: str = "torch.float32"
    draws_again: bool = False


@dataclass(frozen=True)
class Raised:
    """What a learner's code raised, or returned in place of what was asked for.

    ``kind`` is the guest's word for it (see ``guest.errors``). What was ``raised`` ``is_a`` class
    of Python's own and ``said`` so. ``where`` is their ``file:line``, ``column`` that of a syntax
    error, ``part`` the first and last column of what ran in that line. ``mistake`` is a word for
    what was returned, with ``facts``. ``stack`` is what ran, in the words of ``traceback``. What
    was asked for is ``bound`` to something of that type.
    """

    kind: str
    raised: str = ""
    is_a: str = ""
    said: str = ""
    where: str = ""
    column: int = 0
    part: tuple[int, ...] = ()
    mistake: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    stack: str = ""
    bound: str = ""


@dataclass(frozen=True)
class Score:
    """A returned ``(loss, accuracy)``, and the types of its two values.

    A type is ``"float"``, ``"float64"`` and the like, ``"Tensor"`` or ``"Tensor with a graph"``.
    """

    loss: float
    accuracy: float
    types: tuple[str, str]


@dataclass(frozen=True)
class Trained:
    """What training left: ``history`` (of ``train_epoch``: one score a call), the model's whole
    state ``weights``, and the gradients by parameter that each of the first optimizer steps found.
    """

    history: tuple[Score, ...]
    weights: dict[str, Tensor]
    gradients: tuple[dict[str, Tensor], ...]
    facts: Facts


@dataclass(frozen=True)
class Evaluated:
    """What ``evaluate`` returned, and the model's whole state after it."""

    score: Score
    weights: dict[str, Tensor]
    facts: Facts


@dataclass(frozen=True)
class Confusion:
    """What ``confusion_matrix`` returned, of any shape and dtype, finite; ``type`` names its type;
    ``weights`` is the model's whole state after it.
    """

    matrix: Tensor
    type: str
    weights: dict[str, Tensor]
    facts: Facts


@dataclass(frozen=True)
class Value:
    """Something that a learner's code returned: what it ``is``, the name of its ``type``, and its
    ``number``, ``array`` or ``parts`` if it has one of these. ``whole``: the number is of an
    integer type; ``graph``: the array is part of a graph.
    """

    is_: str
    type: str
    number: float = math.nan
    array: Tensor | None = None
    parts: tuple[Value, ...] = ()
    whole: bool = False
    graph: bool = False


PLACES = sorted({*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix}, key=len)[::-1]
"""Where Python is installed on this machine, which is nobody's business."""


def text(value: object) -> str:
    """``value`` as text that a terminal or a file can take: no control characters, not endless, and
    no folder of this machine's Python.
    """
    if not isinstance(value, str):
        raise WireError(f"{type(value).__name__} where text belongs")
    if value.isprintable() and "/" not in value and len(value) <= MAX_TEXT:  # As nearly all are.
        return value
    for place in PLACES:
        value = value.replace(f"{place}/", "")
    known = value[:MAX_TEXT].encode("utf-8", "replace").decode()
    return "".join(c for c in known if c.isprintable() or c in "\n\t")


def entry(told: Message | Mapping[str, Any], name: str, kind: Any) -> Any:
    """The field ``name`` of what was told, which must be a ``kind`` as ``of`` has it."""
    fields = told.fields if isinstance(told, Message) else told
    return of(fields.get(name), kind, name)


def of(value: object, kind: Any, name: str) -> Any:
    """``value`` if it is a ``kind``; ``WireError`` otherwise. An int will do for a float.

    A ``kind`` is also a dataclass, of which the value is a dict with its fields, ``torch.dtype``,
    ``tuple[kind, ...]``, a list in JSON, and ``Mapping[str, kind]``.
    """
    if kind is str:
        return text(value)
    if type(value) is int and abs(value) > MAX_INT:
        raise WireError(f"{name} is a number beyond all bounds")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    if get_origin(kind) is tuple:
        return tuple(of(part, get_args(kind)[0], name) for part in of(value, list, name))
    if get_origin(kind) is Mapping:
        parts = of(value, dict, name).items()
        return {text(key): of(part, get_args(kind)[1], name) for key, part in parts}
    if is_dataclass(kind):
        return _made(kind, of(value, dict, name))
    if kind is torch.dtype and isinstance(known := getattr(torch, text(value), None), kind):
        return known
    raise WireError(f"{name} is {type(value).__name__}, not {kind.__name__}")


def _made(kind: Any, told: Mapping[str, Any]) -> Any:
    return kind(**{name: entry(told, name, own) for name, own in _kinds(kind).items()})


_kinds = cache(get_type_hints)


def array(reply: Message, name: str) -> Tensor:
    """The array ``name`` of ``reply``."""
    if name not in reply.arrays:
        raise WireError(f"no array {name}")
    return reply.arrays[name]


def under(reply: Message, prefix: str) -> dict[str, Tensor]:
    """The arrays of ``reply`` whose names begin with ``prefix``, by the rest of their names."""
    return {
        text(name.removeprefix(prefix)): value
        for name, value in reply.arrays.items()
        if name.startswith(prefix)
    }


def parameters(reply: Message) -> tuple[Parameter, ...]:
    """Descriptions of parameters."""
    found: tuple[Parameter, ...] = entry(reply, "parameters", tuple[Parameter, ...])
    if any(size < 0 for known in found for size in known.shape):
        raise WireError("a size below 0")
    if len(found) > MAX_PARAMETERS or len({known.name for known in found}) < len(found):
        raise WireError(f"{len(found)} parameters, more than can be or some twice")
    return found


def steps(reply: Message) -> list[Step]:
    """The steps of a forward pass, in order, whose values are floating-point numbers."""
    found = list[Step]()
    for number, place in enumerate(entry(reply, "places", list)):
        told = {**of(place, dict, "a place"), "value": array(reply, f"steps.{number}")}
        found.append(of(told, Step, "a step"))
    if not all(step.value.is_floating_point() for step in found):
        raise WireError("a step without numbers")
    return found


def optimizer(told: Message) -> OptimizerUsed:
    """The optimizer that made a step."""
    options = _options(told.fields.get("options"))
    return OptimizerUsed(entry(told, "name", str), options)


def value(tree: object, arrays: Mapping[str, Tensor]) -> Value:
    """The value that the guest describes with ``tree``."""
    told = of(tree, dict, "a value")
    kind, type_ = entry(told, "is", str), entry(told, "type", str)
    if kind == "number":
        number, whole = entry(told, "value", float), entry(told, "whole", bool)
        return Value(kind, type_, number=number, whole=whole)
    if kind in ("tensor", "array"):
        name = entry(told, "name", str)
        if name not in arrays:
            raise WireError(f"no array {name}")
        graph = of(told.get("graph", False), bool, "graph")
        return Value(kind, type_, array=arrays[name], graph=graph)
    if kind in ("list", "tuple", "dict"):
        parts = entry(told, "parts", list)
        return Value(kind, type_, parts=tuple(value(part, arrays) for part in parts))
    return Value(kind, type_)


def table(found: Value) -> Tensor | None:
    """Numbers in numbers of rows as one tensor; ``None`` where ``found`` is no such thing."""
    if found.array is not None:
        return found.array
    if found.is_ == "number":
        whole = found.whole and abs(found.number) < 2**63
        return torch.tensor(int(found.number)) if whole else torch.tensor(found.number).double()
    rows = [table(part) for part in found.parts if found.is_ != "dict"]
    known = [row for row in rows if row is not None]
    if not known or len(known) < len(rows) or len({row.shape for row in known}) > 1:
        return None
    if known[0].dim() == MAX_DIMENSIONS:
        return None
    return torch.stack(known)


def described(found: Value) -> str:
    """What a learner's code returned, in words: ``None``, ``a tuple of 4``, ``a float (0.5)``."""
    an = "an" if found.type[:1].lower() in "aeiou" or found.type == "ndarray" else "a"
    if found.is_ == "nothing":
        return "None"
    if found.is_ == "number":
        return f"{an} {found.type} ({found.number:.4g})"
    if found.array is not None:
        return f"{an} {found.type} of shape {tuple(found.array.shape)}"
    if found.is_ in ("list", "tuple", "dict"):
        kinds = {part.type for part in found.parts}
        inside = f" {kinds.pop()}s" if len(kinds) == 1 else " things" if kinds else ""
        return f"{an} {found.type} of {len(found.parts)}{inside}"
    return f"{an} {found.type}"


def gradients(reply: Message, parameters: Sequence[Parameter]) -> Gradients:
    """The gradients of a model's parameters, of their shapes."""
    found = {known.name: reply.arrays.get(f"parameters.{known.name}") for known in parameters}
    for known in parameters:
        gradient = found[known.name]
        if gradient is not None and tuple(gradient.shape) != known.shape:
            raise WireError("a gradient of another shape than its parameter")
    return Gradients(found, array(reply, "logits"))


def _options(value: object) -> dict[str, Any]:
    """Options of an optimizer: numbers, texts, none, and lists of those."""

    def option(value: object) -> Any:
        if isinstance(value, bool | None):
            return value
        if isinstance(value, int | float):
            return of(value, float, "an option")
        return text(value)

    return {
        text(name): [option(part) for part in entry] if isinstance(entry, list) else option(entry)
        for name, entry in of(value, dict, "options").items()
    }
