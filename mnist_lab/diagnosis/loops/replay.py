"""Runs the reference's text of a training, with or without mistakes in it, from the weights and on
the batches of a call of the learner's code, and stops where it departs from what was seen of it.

All weights are one leaf, a vector. Scores and gradients are remembered by the weights and the batch
that they belong to: texts with different mistakes begin alike.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import reference
from mnist_lab.diagnosis.explain import EQUAL
from mnist_lab.diagnosis.faults import compiled
from mnist_lab.diagnosis.reference import Batch, Loss

Network = Callable[[reference.Weights, Tensor], Tensor]

Score = tuple[float, float]
"""The loss and the accuracy of an epoch."""

SINGLE = 1e-4
"""How exactly code that works in float32 only makes the steps of one in float64: the difference,
as a part of the way that the weights went."""

MOST_SEEN = {"weights": 40, "gradients": 24, "images": 1, "slope": 1, "end": 1}
"""So many were recorded at most: what is missing below that did not happen."""

REMEMBERED = 2000
"""Forward passes of a call; a megabyte holds some 25."""

KINDS = (
    *("SGD", "Adam", "AdamW", "Adamax", "NAdam"),
    *("RAdam", "RMSprop", "Adagrad", "Adadelta", "Rprop"),
)
"""Optimizers of PyTorch that a text may use."""


class Impossible(Exception):  # noqa: N818 - an answer, not an error
    """A text that cannot be what was seen."""


class Never(Impossible):
    """As ``Impossible``, whatever other mistakes are made."""


class Departs(Exception):  # noqa: N818 - an answer, not an error
    """From what was seen, at the ``point``."""

    def __init__(self, point: Point) -> None:
        self.point = point


class Point(NamedTuple):
    """What can be compared with what was seen of the call number ``call``.

    ``weights`` (at a forward pass, when they are others than before), ``images`` (of a forward
    pass), ``slope`` (at a backward pass, the gradient with respect to the scores), ``gradients``
    (at a step) or the weights at the ``end``, counted by ``number``.
    """

    call: int
    kind: str
    number: int


@dataclass(frozen=True)
class Seen:
    """What was seen of a call. ``weights``, ``states`` and ``gradients`` are vectors.

    ``history``: the numbers returned. ``gradients``: at each of the first steps, 0 where there were
    none. ``states``: the weights at the forward passes, each time that they are others than before.
    ``inputs``: the images of the first forward passes; ``slopes``: gradients of the loss with
    respect to the scores. ``events``: a letter for each forward pass, backward pass and step.
    ``rates``, ``betas``: the learning rate and first beta of each step. ``optimizers``: class and
    settings of those that made a step. ``passes``: how often the loader was gone through.
    """

    weights: Tensor
    history: tuple[Score, ...] = ()
    gradients: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    slopes: tuple[Tensor, ...] = ()
    events: str = ""
    rates: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    optimizers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    passes: int = 0

    @cached_property
    def at(self) -> Mapping[str, tuple[Tensor, ...]]:
        """What can be compared, by the kind of a point.

        Images and slopes after the first ones are not: who computes scores once more, to count
        right answers, makes no mistake.
        """
        return {
            "weights": self.states,
            "gradients": self.gradients,
            "images": self.inputs[:1],
            "slope": self.slopes[:1],
            "end": (self.weights,),
        }


@dataclass(frozen=True)
class Call:
    """A call of ``train`` or ``train_epoch``, or several of ``train_epoch`` one after the other.

    ``lr`` and ``momentum`` are of the optimizer given, or ``lr`` is given itself; ``epochs`` is the
    number of epochs or calls, both as ``train`` has them by default where ``by_default``.
    ``network`` is given where it is not ``reference.fnn``; ``plus`` is added to its scores.
    """

    function: str
    weights: Mapping[str, Tensor]
    batches: tuple[Batch, ...]
    loss: Loss
    lr: float
    epochs: int
    seen: Seen = Seen(torch.empty(0))
    momentum: float = 0.0
    network: Network | None = None
    plus: Tensor | float = 0.0
    by_default: bool = False

    @cached_property
    def start(self) -> Tensor:
        """The weights given, as a vector."""
        return torch.cat([value.double().flatten() for value in self.weights.values()])

    @cached_property
    def examples(self) -> int:
        return sum(len(labels) for _, labels in self.batches)

    @cached_property
    def known(self) -> dict[Any, Any]:
        """Distances of what is the same in all replays, and forward passes."""
        return {}

    @cached_property
    def moved(self) -> bool:
        """Whether the weights are others afterwards."""
        return not torch.equal(self.seen.weights.double(), self.start)

    @cached_property
    def exact(self) -> bool:
        """Whether the learner's code computed in float64."""
        return self.seen.weights.dtype == torch.float64

    def split(self, w: Tensor) -> dict[str, Tensor]:
        """The weights by name."""
        parts = w.split([value.numel() for value in self.weights.values()])
        return {
            name: part.view(value.shape)
            for (name, value), part in zip(self.weights.items(), parts, strict=True)
        }

    def scores(self, w: Tensor, images: Tensor) -> Tensor:
        """Of the weights ``w``, for the images."""
        if self.network is None:
            return self.forward(w, images).scores
        return self.network(self.split(w), images) + self.plus

    def forward(self, w: Tensor, images: Tensor) -> Forward:
        """Of the weights ``w``, remembered where the images are a batch as it was given."""
        key = (id(images), w[0].item(), w[-1].item())
        found: Forward | None = self.known.get(key)
        if found is None or not torch.equal(found.w, w):
            found = Forward(self, w.clone(), images)
            if len(self.known) < REMEMBERED and id(images) in self._given:
                self.known[key] = found
        return found

    @cached_property
    def _given(self) -> frozenset[int]:
        """The batches stay, so their ids do."""
        return frozenset(id(images) for images, _ in self.batches)


class Forward:
    """A forward pass of ``reference.fnn``, and the way back by the chain rule."""

    def __init__(self, call: Call, w: Tensor, images: Tensor) -> None:
        self.w, self.x = w, images.flatten(1)
        hidden, hidden_bias, self.output, output_bias = call.split(w).values()
        self.z = torch.addmm(hidden_bias, self.x, hidden.T)
        self.scores = torch.addmm(output_bias + call.plus, F.relu(self.z), self.output.T)
        self._slope: Tensor | None = None
        self._gradient = w

    def gradient(self, slope: Tensor) -> Tensor:
        """With respect to the weights, from that with respect to the scores."""
        if self._slope is None or not torch.equal(self._slope, slope):
            by_z = (slope @ self.output) * (self.z > 0)
            self._gradient = torch.cat(
                [
                    (by_z.T @ self.x).flatten(),
                    by_z.sum(0),
                    (slope.T @ F.relu(self.z)).flatten(),
                    slope.sum(0),
                ]
            )
            self._slope = slope.clone()
        return self._gradient.clone()


class _Scores(torch.autograd.Function):
    """``Forward`` as a part of a graph that tells the run of its backward pass."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, images: Tensor, run: Run) -> Tensor:
        ctx.run, ctx.passed = run, run.call.forward(w, images)
        scores: Tensor = ctx.passed.scores.clone()
        return scores

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        ctx.run.backward(slopes[0])
        return ctx.passed.gradient(slopes[0]), None, None


@dataclass(frozen=True)
class Step:
    """What there is to know of a batch in the end.

    ``loss`` is the one that was minimised and ``given`` what ``loss_fn`` gave; ``labels`` are the
    right ones and ``told`` those that the loss was told; ``weights`` are those after it.
    """

    call: Call
    images: Tensor
    labels: Tensor
    told: Tensor
    scores: Tensor
    loss: float
    given: float
    weights: Tensor


@dataclass(frozen=True)
class Replayed:
    """What a text comes to: the ``epochs`` are the steps of each."""

    weights: Tensor
    epochs: Sequence[Sequence[Step]]
    events: str


class Model:
    """What a text is given for a model."""

    def __init__(self, run: Run) -> None:
        self.run, self.weights = run, run.weights

    def __call__(self, images: Tensor) -> Tensor:
        return self.run.forward(images)

    def parameters(self) -> list[Tensor]:
        return [self.weights]


# Unwrapped, or else the first optimizer imports PyTorch's compiler, which takes seconds.
adds = inspect.unwrap(torch.optim.Optimizer.add_param_group)
vars(adds)["__dynamo_disable"] = adds


class Optimizer:
    """What a text is given for an optimizer; ``settings`` as PyTorch calls them."""

    def __init__(self, run: Run, kind: str, parameters: Sequence[Tensor], **settings: Any) -> None:
        self.run, self.kind, self.settings, self.parameters = run, kind, settings, parameters
        self.lr: float = settings.get("lr", 1e-3)
        self.beta: float | None = None
        self._makes: Any = None

    def anew(self) -> Optimizer:
        """One like it that has made no step yet."""
        return Optimizer(self.run, self.kind, self.parameters, **self.settings)

    def zero_grad(self) -> None:
        self.run.weights.grad = None

    def take_step(self) -> None:
        """One that nobody sees."""
        if self._makes is None:
            made_by = getattr(reference if self.kind == "Adam" else torch.optim, self.kind)
            self._makes = made_by(self.parameters, **{**self.settings, "lr": self.lr})
        (group,) = self._makes.param_groups
        group["lr"] = self.lr
        if self.beta is not None:
            group["betas"] = self.beta, group["betas"][1]
        with torch.no_grad():
            inspect.unwrap(type(self._makes).step)(self._makes)

    def step(self, only: Tensor | None = None, first: Callable[[], None] | None = None) -> None:
        """For all weights, or where ``only`` is true; what is done ``first`` is not seen."""
        run, w = self.run, self.run.weights
        run.events.append("s")
        g = torch.zeros_like(w) if w.grad is None else w.grad
        run.mark("gradients", g.detach(), only)
        if w.grad is None:
            return
        if first is not None:
            first()
        before = None if only is None else w.detach().clone()
        self.take_step()
        if before is not None and only is not None:
            w.data.copy_(torch.where(only, w.detach(), before))
        run.fresh = False


class Run:
    """A text at work on one call after the other. Numbers that it takes from what was seen are
    ``found`` once and hold for all calls; those that do not begin with an underscore.
    """

    def __init__(
        self,
        text: str,
        function: str,
        given: Mapping[str, Callable[..., Any]] | None = None,
        watched: Point | None = None,
        compares: bool = True,
    ) -> None:
        self.found: dict[str, Any] = {}
        self.far, self.watched, self.value = 0.0, watched, None
        self.marks: dict[tuple[str, int], Tensor] | None = None if compares else {}
        names: dict[str, Any] = {name: partial(f, self) for name, f in (given or {}).items()}
        names |= {kind: partial(Optimizer, self, kind) for kind in KINDS}
        names |= {"torch": torch, "F": F, "math": math, "record": self.record}
        names["cross_entropy"] = self.loss
        self.function = compiled(text, function, names)

    value: Tensor | None
    """What the text has at the point that is ``watched``."""

    marks: dict[tuple[str, int], Tensor] | None
    """What it has at every point of a call, if nothing is compared."""

    def __call__(self, call: Call, index: int = 0) -> Replayed:
        """Raises ``Departs``, ``Impossible``, or what the text does."""
        self.call, self.index = call, index
        self.weights = call.start.clone().requires_grad_()
        self.counts: Counter[str] = Counter()
        self.events: list[str] = []
        self.fresh, self.hidden, self.quiet = True, False, False
        self.shown: Tensor | None = None
        self.told: Tensor | None = None
        self.given: Tensor | None = None
        self.local: dict[str, Any] = {}
        model = Model(self)
        if call.function == "train":
            epochs = self.function(model, list(call.batches), call.epochs, call.lr)
        else:
            settings = {"lr": call.lr, "momentum": call.momentum}
            optimizer = Optimizer(self, "SGD", [self.weights], **settings)
            epochs = [
                self.function(model, list(call.batches), optimizer, self.loss)
                for _ in range(call.epochs)
            ]
        if self.marks is None and self.fresh and not self.hidden and call.moved:
            raise Never  # no step was made
        if self.marks is None and call.seen.slopes and not self.counts["slope"]:
            raise Never  # no backward pass was made
        end = call.start if self.hidden else self.weights.detach()
        self.mark("end", end)
        return Replayed(end, epochs, "".join(self.events))

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The one that the call was given."""
        return self.gives(self.call.loss(scores, labels), labels)

    def gives(self, loss: Tensor, labels: Tensor) -> Tensor:
        """Note what ``loss_fn`` gives for these labels."""
        self.told, self.given = labels, loss.detach()
        return loss

    def forward(self, images: Tensor) -> Tensor:
        if not self.hidden:
            self.events.append("f")
            w = self.weights.detach()
            if self.shown is None or not torch.equal(self.shown, w):
                self.mark("weights", w)
                self.shown = w.clone()
            self.mark("images", images)
        self.images = images
        if self.call.network is None:
            self.scores = _Scores.apply(self.weights, images, self)
        else:
            self.scores = self.call.scores(self.weights, images)
        return self.scores

    def backward(self, slope: Tensor) -> None:
        if not self.quiet and not self.hidden:
            self.events.append("b")
            self.mark("slope", slope)

    def record(self, labels: Tensor, scores: Tensor, loss: Tensor) -> Step:
        told = labels if self.told is None else self.told
        value = loss.item()
        given = value if self.given is None else self.given.item()
        self.told = self.given = None
        after = self.weights.detach().clone()
        return Step(self.call, self.images, labels, told, scores.detach(), value, given, after)

    def mark(self, kind: str, value: Tensor, only: Tensor | None = None) -> None:
        """Compare with what was seen; weights that are not trained are not cleared either."""
        if self.hidden and kind != "end":
            return
        number = self.counts[kind]
        self.counts[kind] += 1
        point = Point(self.index, kind, number)
        if point == self.watched:
            self.value = value.clone()
        if self.marks is not None:
            # Nothing changes images in place, and those of many batches are large.
            self.marks[kind, number] = value if kind == "images" else value.clone()
            return
        seen = self.call.seen.at[kind]
        if number >= len(seen):
            if 0 < len(seen) < MOST_SEEN[kind]:
                raise Departs(point)  # there was no such thing
            return
        actual = seen[number]
        if only is not None:
            value = torch.where(only, value, actual.double())
        lasts = (self.fresh and kind == "weights") or value is self.call.batches[0][0]
        key = (kind, number) if lasts else None
        if key in self.call.known:
            apart, allowed = self.call.known[key]
        else:
            apart, allowed = distance(self.call, kind, actual, value)
            if key:
                self.call.known[key] = apart, allowed
        if not apart < allowed:
            raise Departs(point)
        self.far = max(self.far, apart * EQUAL / allowed if self.call.exact else apart)


def distance(call: Call, kind: str, actual: Tensor, expected: Tensor) -> tuple[float, float]:
    """How far apart two tensors are, and how far they may be."""
    if kind == "images" and actual.numel() == expected.numel():
        actual = actual.view(expected.shape)  # a model may be given them flat
    if actual.shape != expected.shape:
        return math.inf, 0.0
    actual = actual.double()
    if call.exact:
        apart = (actual - expected).abs().max().item()
        if math.isnan(apart):
            return math.inf, 0.0
        if apart < EQUAL:
            return apart, EQUAL
        return apart, EQUAL * max(1.0, actual.abs().max().item())
    way = expected - call.start if kind in ("weights", "end") else expected
    apart = (actual - expected).norm().item()
    allowed = SINGLE * way.norm().item() + 1e-6 * expected.norm().item()
    return (math.inf if math.isnan(apart) else apart), allowed
