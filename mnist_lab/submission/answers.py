"""What a grader learns from a learner's code: plain frozen data made from one checked reply each.

Nothing here trusts a reply: a field that is missing or of another type is a ``WireError``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mnist_lab.submission.protocol import Message, WireError

__all__ = [
    "Batch",
    "Batches",
    "Confusion",
    "Drawn",
    "Epoch",
    "Evaluated",
    "Facts",
    "Gradients",
    "Learned",
    "Loaders",
    "OptimizerUsed",
    "Output",
    "Parameter",
    "Recipe",
    "Score",
    "Trained",
    "Unregistered",
    "Watched",
    "text",
]

Batch = tuple[Tensor, Tensor]
"""Images (n, 1, 28, 28) and labels (n,)."""

MAX_TEXT, MAX_INT, MAX_ITEMS, MAX_STEPS = 20_000, 1 << 63, 100_000, 100
MAX_PARAMETERS = 64
"""What is believed of a text, a number, a dataset and a training before it is refused or cut."""


@dataclass(frozen=True)
class Batches:
    """Images (N, 1, 28, 28) and labels (N,), loaded in order, ``batch_size`` at a time; the last
    batch may be short.
    """

    images: Tensor
    labels: Tensor
    batch_size: int = 10

    def split(self) -> list[Batch]:
        """The batches in order."""
        parts = zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        )
        return list(parts)


@dataclass(frozen=True)
class Recipe:
    """The model, loss and optimizer that a learner's loop is run with.

    ``kind`` is a key of ``recipes.MODELS``; ``weights`` its whole state, whose sizes and dtype are
    the model's; ``training`` the mode in which the learner gets it; ``loss`` a key of
    ``recipes.LOSSES``. ``train_epoch`` gets an SGD with ``lr`` and ``momentum`` and is called
    ``calls`` times. ``seed`` is what torch, NumPy and ``random`` are seeded with before the first.
    """

    kind: str
    weights: Mapping[str, Tensor]
    training: bool = True
    loss: str = "cross_entropy"
    lr: float = 0.1
    momentum: float = 0.0
    seed: int = 0
    calls: int = 1


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer of the learner's model, as it registered it."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool


@dataclass(frozen=True)
class Unregistered:
    """An attribute of a model with layers, or weights, that PyTorch does not find.

    ``type`` is ``list`` and the like for layers, ``Tensor`` for weights.
    """

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Output:
    """``logits`` as returned, of any shape, finite; ``images_after`` the input after the call.

    ``requires_grad``: whether the logits had a graph; ``training_after``: the model's mode after
    the call. ``made`` counts the parameters of layers that were made during the call.
    """

    logits: Tensor
    images_after: Tensor
    requires_grad: bool
    training_after: bool
    made: int = 0


@dataclass(frozen=True)
class Gradients:
    """Gradients of ``(logits * cotangent).sum()``; ``None`` where none arrived."""

    parameters: dict[str, Tensor | None]
    images: Tensor | None


@dataclass(frozen=True)
class Drawn:
    """What ``downsample`` drew: the item numbers in order, and the length that it claims.

    ``labels_kept``: whether every item still had its own label.
    """

    indices: tuple[int, ...]
    length: int
    labels_kept: bool


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


@dataclass(frozen=True)
class Facts:
    """What was seen while a learner's loop ran. For wording: verdicts rest on the arrays.

    At each forward pass: its number of examples in ``batches``, the model's mode in ``modes``,
    whether gradients were on in ``grad_enabled``. At each backward pass ``fresh`` says whether all
    gradients were still none or zero. ``passes`` counts how often the loader was gone through.
    ``reseeded``: torch's global seed is another than before.
    """

    batches: tuple[int, ...]
    modes: tuple[bool, ...]
    grad_enabled: tuple[bool, ...]
    fresh: tuple[bool, ...]
    steps: int
    passes: int
    optimizers: tuple[OptimizerUsed, ...]
    training_after: bool
    requires_grad_after: bool
    grad_after: bool
    default_dtype_after: str
    reseeded: bool


@dataclass(frozen=True)
class Score:
    """A returned ``(loss, accuracy)``, and the types of its two values.

    A type is ``"float"``, ``"float64"`` and the like, ``"Tensor"`` or ``"Tensor with a graph"``.
    """

    loss: float
    accuracy: float
    types: tuple[str, str]


@dataclass(frozen=True)
class Watched:
    """How a training went, as far as it was recorded.

    ``events``: a letter for each forward pass, backward pass and step of an optimizer, in order.
    ``states``: the parameters at the first forward passes, each time that they are others than
    before. ``inputs``: the images of those passes. ``slopes``: gradients of the loss with respect
    to the outputs, at the first backward passes. ``rates``: the learning rates, of each group of
    parameters, at each step.
    """

    events: str = ""
    states: tuple[dict[str, Tensor], ...] = ()
    inputs: tuple[Tensor, ...] = ()
    slopes: tuple[Tensor, ...] = ()
    rates: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Trained:
    """What training left: ``history`` (of ``train_epoch``: one score a call), the model's whole
    state ``weights``, and the gradients by parameter that each of the first optimizer steps found.
    """

    history: tuple[Score, ...]
    weights: dict[str, Tensor]
    gradients: tuple[dict[str, Tensor], ...]
    facts: Facts
    watched: Watched = Watched()


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
class Epoch:
    """One epoch of the lab's own training of a learner's model.

    The loss and accuracy are of the training; ``logits`` (N, 10) are of the test images after it.
    """

    loss: float
    accuracy: float
    seconds: float
    logits: Tensor


@dataclass(frozen=True)
class Learned:
    """What the lab's own training of a learner's model came to; ``stopped`` says why early."""

    epochs: tuple[Epoch, ...]
    stopped: str


def text(value: object) -> str:
    """``value`` as text that a terminal or a file can take: no control characters, not endless."""
    if not isinstance(value, str):
        raise WireError(f"{type(value).__name__} where text belongs")
    known = value[:MAX_TEXT].encode("utf-8", "replace").decode()
    return "".join(c for c in known if c.isprintable() or c in "\n\t")


def field(reply: Message, name: str, kind: type) -> Any:
    """The field ``name`` of ``reply``, which must be a ``kind``; an int will do for a float."""
    return of(reply.fields.get(name), kind, name)


def of(value: object, kind: type, name: str) -> Any:
    """``value`` if it is a ``kind``; ``WireError`` otherwise."""
    if kind is str:
        return text(value)
    if type(value) is int and abs(value) > MAX_INT:
        raise WireError(f"{name} is a number beyond all bounds")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise WireError(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value


def many(reply: Message, name: str, kind: type) -> tuple[Any, ...]:
    """The field ``name`` of ``reply``, a list of ``kind``."""
    return tuple(of(value, kind, name) for value in field(reply, name, list))


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


def number(value: object, name: str) -> float:
    """A finite number."""
    known = of(value, float, name)
    if not math.isfinite(known):
        raise WireError(f"{name} is not finite")
    return known


def parameters(reply: Message, name: str) -> list[Parameter]:
    """Descriptions of parameters or buffers."""
    found = []
    for entry in many(reply, name, dict):
        dtype = getattr(torch, of(entry.get("dtype"), str, "dtype"), None)
        if not isinstance(dtype, torch.dtype):
            raise WireError("no such dtype")
        shape = tuple(of(size, int, "shape") for size in of(entry.get("shape"), list, "shape"))
        found.append(
            Parameter(
                of(entry.get("name"), str, "name"),
                shape,
                dtype,
                of(entry.get("requires_grad"), bool, "requires_grad"),
            )
        )
    if len(found) > MAX_PARAMETERS or len({known.name for known in found}) < len(found):
        raise WireError(f"{len(found)} {name}, more than can be or some twice")
    return found


def unregistered(reply: Message) -> list[Unregistered]:
    """What a model holds where PyTorch does not find it."""
    return [
        Unregistered(
            of(entry.get("name"), str, "name"),
            of(entry.get("type"), str, "type"),
            tuple(
                tuple(of(size, int, "shape") for size in of(shape, list, "shape"))
                for shape in of(entry.get("shapes"), list, "shapes")
            ),
        )
        for entry in many(reply, "unregistered", dict)
    ]


def score(value: object) -> Score:
    """A ``(loss, accuracy)`` with its types."""
    entry = of(value, dict, "score")
    types = of(entry.get("types"), list, "types")
    if len(types) != 2:
        raise WireError("a score has two types")
    loss, accuracy = (of(entry.get(key), float, key) for key in ("loss", "accuracy"))
    return Score(loss, accuracy, (text(types[0]), text(types[1])))


def facts(reply: Message) -> Facts:
    """What was seen while a loop ran."""
    used = (
        OptimizerUsed(of(entry.get("name"), str, "name"), _options(entry.get("options")))
        for entry in many(reply, "optimizers", dict)
    )
    return Facts(
        batches=many(reply, "batches", int),
        modes=many(reply, "modes", bool),
        grad_enabled=many(reply, "grad_enabled", bool),
        fresh=many(reply, "fresh", bool),
        steps=field(reply, "steps", int),
        passes=field(reply, "passes", int),
        optimizers=tuple(used),
        training_after=field(reply, "training_after", bool),
        requires_grad_after=field(reply, "requires_grad_after", bool),
        grad_after=field(reply, "grad_after", bool),
        default_dtype_after=field(reply, "default_dtype_after", str),
        reseeded=field(reply, "reseeded", bool),
    )


def epochs(reply: Message, name: str, count: int) -> tuple[tuple[Batch, ...], ...]:
    """The batches of ``count`` epochs of the loader ``name``."""
    sizes = many(reply, f"{name}.batches", int)
    if len(sizes) != count:
        raise WireError("the wrong number of epochs")
    return tuple(
        tuple(
            (
                array(reply, f"{name}.{epoch}.{index}.images"),
                array(reply, f"{name}.{epoch}.{index}.labels"),
            )
            for index in range(size)
        )
        for epoch, size in enumerate(sizes)
    )


def learned(reply: Message, test_images: int) -> Learned:
    """The epochs of a training; its logits must be finite, (test_images, 10)."""
    found = []
    for index, entry in enumerate(many(reply, "epochs", dict)):
        logits = array(reply, f"logits.{index}")
        if logits.shape != (test_images, 10) or not bool(torch.isfinite(logits).all()):
            raise WireError(f"logits {tuple(logits.shape)} that are not ten numbers for each image")
        loss, accuracy, seconds = (
            number(entry.get(key), key) for key in ("loss", "accuracy", "seconds")
        )
        found.append(Epoch(loss, accuracy, seconds, logits))
    return Learned(tuple(found), field(reply, "stopped", str))


def drawn(reply: Message) -> Drawn:
    """The item numbers that were drawn: as many as the length says."""
    indices, length = array(reply, "indices"), field(reply, "length", int)
    if indices.dtype != torch.int64 or indices.shape != (length,) or length > MAX_ITEMS:
        raise WireError("items that are not numbered")
    kept = field(reply, "labels_kept", bool)
    return Drawn(tuple(int(index) for index in indices), length, kept)


def steps(reply: Message, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
    """The gradients at each recorded step, of the shapes of the weights."""
    recorded = min(field(reply, "recorded", int), MAX_STEPS)
    gradients = _by_number(reply, "gradients")
    return tuple(_like(gradients.get(step, {}), weights) for step in range(recorded))


def watched(reply: Message, weights: Mapping[str, Tensor]) -> Watched:
    """How a training went; nothing where it was not recorded."""
    known = _by_number(reply, "states")
    states = itertools.takewhile(
        bool, (_like(known.get(index, {}), weights) for index in range(MAX_STEPS))
    )
    rates = reply.fields.get("rates", [])
    return Watched(
        text(reply.fields.get("events", "")),
        tuple(states),
        _numbered(reply, "inputs"),
        _numbered(reply, "slopes"),
        tuple(
            tuple(of(rate, float, "a rate") for rate in of(step, list, "rates"))
            for step in of(rates, list, "rates")[:MAX_ITEMS]
        ),
    )


def _numbered(reply: Message, name: str) -> tuple[Tensor, ...]:
    names = itertools.takewhile(
        reply.arrays.__contains__, (f"{name}.{index}" for index in range(MAX_STEPS))
    )
    return tuple(reply.arrays[each] for each in names)


def _by_number(reply: Message, kind: str) -> dict[int, dict[str, Tensor]]:
    """The arrays called ``kind.number.name``, by number and name."""
    found: dict[int, dict[str, Tensor]] = {}
    for full, value in reply.arrays.items():
        first, _, rest = full.partition(".")
        number, _, name = rest.partition(".")
        if first == kind and number.isdecimal() and len(number) <= len(str(MAX_STEPS)):
            found.setdefault(int(number), {})[text(name)] = value
    return found


def _like(found: dict[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arrays ``found``, which are of some of the weights and of their shapes."""
    known = {name: value.shape for name, value in weights.items() if name in found}
    if known != {name: value.shape for name, value in found.items()}:
        raise WireError("arrays of no parameters")
    return found


def gradients(reply: Message, parameters: Sequence[Parameter], images: Tensor) -> Gradients:
    """The gradients of a model's parameters and of its input, of their shapes."""
    found = {known.name: reply.arrays.get(f"parameters.{known.name}") for known in parameters}
    of_images = reply.arrays.get("images")
    for known in parameters:
        gradient = found[known.name]
        if gradient is not None and tuple(gradient.shape) != known.shape:
            raise WireError("a gradient of another shape than its parameter")
    if of_images is not None and of_images.shape != images.shape:
        raise WireError("a gradient of another shape than the images")
    return Gradients(found, of_images)


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
