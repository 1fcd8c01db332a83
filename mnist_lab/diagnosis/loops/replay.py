"""A training as data: which batches, in which order the four actions of a batch, what loss, which
step, which numbers in the end. ``Loop()`` is what the handout asks for; a mistake is another value
of a field.

``replay`` does what a loop says, from the weights and on the batches of a call of the learner's
code; the model is ``reference.fnn``. All weights are laid end to end in one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.loops.optimizers import Optimizer, Step
from mnist_lab.diagnosis.reference import Batch, Loss

__all__ = [
    "ACTIONS",
    "Call",
    "Impossible",
    "Loop",
    "Mark",
    "Moment",
    "Never",
    "Pass",
    "Replayed",
    "Score",
    "Seen",
    "replay",
    "results",
]

Score = tuple[float, float]
"""The loss and the accuracy of an epoch."""

Mark = tuple[str, int, Tensor]
"""A point of a replay that can be compared with what was seen: ``weights`` (at a forward pass, when
they are others than before), ``images`` (at a forward pass), ``slope`` (at a backward pass, the
gradient with respect to the scores) or ``gradients`` (at a step), the how manieth of them, and its
value.
"""

ACTIONS = ("clear", "forward", "backward", "alter", "step")
"""What is done with a batch. ``alter`` is what may happen to gradients before a step: nothing."""


class Impossible(Exception):  # noqa: N818 - an answer, not an error
    """A loop that cannot be what was seen."""


class Never(Impossible):
    """As ``Impossible``, whatever other mistakes are made."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a call. ``weights``, ``states`` and ``gradients`` are vectors.

    ``history``: the numbers returned. ``gradients``: at each of the first steps, 0 where there were
    none. ``states``: the weights at the forward passes, each time that they are others than before.
    ``inputs``: the images of the first forward passes; ``slopes``: gradients of the loss with
    respect to the scores. ``events``: a letter for each forward pass, backward pass and step.
    ``rates``: the learning rate of each step. ``optimizers``: class and settings of those that made
    a step. ``passes``: how often the loader was gone through.
    """

    weights: Tensor
    history: tuple[Score, ...]
    gradients: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    slopes: tuple[Tensor, ...] = ()
    events: str = ""
    rates: tuple[float, ...] = ()
    optimizers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    passes: int = 0

    def at(self, kind: str) -> tuple[Tensor, ...]:
        """What can be compared with marks of this kind.

        Images and slopes after the first ones are not: who computes scores once more, to count
        right answers, makes no mistake.
        """
        return {
            "weights": self.states,
            "gradients": self.gradients,
            "images": self.inputs[:1],
            "slope": self.slopes[:1],
        }[kind]


@dataclass(frozen=True)
class Call:
    """A call of ``train`` or ``train_epoch``, or several of ``train_epoch`` one after the other.

    ``optimizer`` is the one given, or Adam with the learning rate given; ``epochs`` the number of
    epochs or calls.
    """

    function: str
    weights: Mapping[str, Tensor]
    batches: tuple[Batch, ...]
    loss: Loss
    optimizer: Optimizer
    epochs: int
    seen: Seen

    @cached_property
    def start(self) -> Tensor:
        """The weights given, as a vector."""
        return torch.cat([value.double().flatten() for value in self.weights.values()])

    @cached_property
    def examples(self) -> int:
        return sum(len(labels) for _, labels in self.batches)

    def lasts(self, value: Tensor) -> bool:
        """Whether this tensor is the call's own, and the same in all replays."""
        return value is self.start or value is self.batches[0][0]

    @cached_property
    def compared(self) -> dict[tuple[str, int] | None, tuple[float, float]]:
        """How far what lasts is from what was seen."""
        return {}

    @cached_property
    def sizes(self) -> dict[int, float]:
        """The largest number of each tensor seen, by its id: they stay as long as the call."""
        return {}

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

    def where(self, chosen: Callable[[str], bool]) -> Tensor:
        """Which elements of a vector belong to the weights that are chosen by name: bool."""
        return torch.cat(
            [torch.full((value.numel(),), chosen(name)) for name, value in self.weights.items()]
        )

    def backward(
        self, w: Tensor, images: Tensor, labels: Tensor, loss: Loss, name: Any = ()
    ) -> Backward:
        """Of the ``loss`` of this ``name``. Loops differ in one place, so many ask for the same."""
        key = (id(images), id(labels), w[0].item(), w[-1].item(), name)
        known = self._known.get(key)
        if known is None or not torch.equal(known.w, w):
            known = Backward(self, loss, w, images, labels)
            if name is not None and key[:2] in self._batches:
                self._known.setdefault(key, known)
        return known

    @cached_property
    def _batches(self) -> frozenset[tuple[int, int]]:
        """The batches stay, so their ids do."""
        return frozenset((id(images), id(labels)) for images, labels in self.batches)

    @cached_property
    def _known(self) -> dict[Any, Backward]:
        return {}

    def scores(self, w: Tensor, images: Tensor) -> Tensor:
        """(N, 10): ``reference.fnn``."""
        if w is self.start and id(images) in self._first_scores:
            return self._first_scores[id(images)]
        hidden, hidden_bias, output, output_bias = self.split(w).values()
        x = torch.addmm(hidden_bias, images.flatten(1), hidden.T)
        return torch.addmm(output_bias, F.relu(x), output.T)

    @cached_property
    def _first_scores(self) -> dict[int, Tensor]:
        """With the weights given, by the id of the images: every loop begins with them."""
        start = self.start.clone()
        return {id(images): self.scores(start, images) for images, _ in self.batches}


class Backward:
    """A backward pass: the ``loss``, and what of it is asked for."""

    def __init__(self, call: Call, loss: Loss, w: Tensor, images: Tensor, labels: Tensor) -> None:
        self.call, self.w, self.images = call, w, images
        scores = call.scores(w, images).detach().requires_grad_()
        value = loss(scores, labels)
        (self.slope,) = torch.autograd.grad(value, scores)
        self.loss = value.item()

    @cached_property
    def gradient(self) -> Tensor:
        """With respect to the weights: the chain rule, from the scores backwards."""
        hidden, hidden_bias, output, _ = self.call.split(self.w).values()
        x = self.images.flatten(1)
        z = torch.addmm(hidden_bias, x, hidden.T)
        by_z = (self.slope @ output) * (z > 0)
        return torch.cat(
            [
                (by_z.T @ x).flatten(),
                by_z.sum(0),
                (self.slope.T @ F.relu(z)).flatten(),
                self.slope.sum(0),
            ]
        )


class Moment:
    """Where a replay is: ``batch`` of ``batches`` in the ``epoch``, the ``weights``, and how many
    steps, forward and backward passes and changes of the weights (``state``) there were. ``found``
    keeps numbers that a loop takes from what was seen.
    """

    def __init__(self, call: Call, found: dict[str, Any] | None = None) -> None:
        self.call, self.weights = call, call.start
        self.epoch = self.batch = self.step = self.forward = self.backward = self.state = 0
        self.batches = len(call.batches)
        self.found: dict[str, Any] = {} if found is None else found


@dataclass
class Pass:
    """What there is to know of a batch in the end: ``before`` and ``after`` are the weights at its
    forward pass and when it is done with; ``loss`` is the one that was minimised, ``labels`` those
    that it was told, ``true`` the right ones.
    """

    before: Tensor
    images: Tensor
    labels: Tensor
    true: Tensor
    loss: float | None
    after: Tensor
    known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def scores(self, of: str, call: Call, end: Tensor) -> Tensor:
        """With the weights ``before`` or ``after`` the step, or at the ``end`` of the epoch."""
        if of not in self.known:
            weights = {"before": self.before, "after": self.after, "end": end}
            self.known[of] = call.scores(weights[of], self.images)
        found: Tensor = self.known[of]
        return found

    def value(
        self,
        of: Callable[[Loop, Moment, Pass, Tensor], float],
        loop: Loop,
        at: Moment,
        end: Tensor,
    ) -> float:
        """A loss or an accuracy, computed once for all loops that count alike."""
        key = (of, loop.loss_of, loop.accuracy_of, loop.reports, loop.told, loop.right)
        if key not in self.known:
            self.known[key] = of(loop, at, self, end)
        found: float = self.known[key]
        return found


@dataclass(frozen=True)
class Replayed:
    """What a loop comes to: ``epochs`` are the passes of each, ``rates`` the learning rates."""

    weights: Tensor
    epochs: tuple[tuple[Pass, ...], ...]
    events: str
    rates: tuple[float, ...]
    found: dict[str, Any]


def _all(batches: Sequence[Batch], at: Moment) -> Sequence[Batch]:
    return batches


def _same(value: Any, at: Moment) -> Any:
    return value


def _unaltered(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    return g


def _never(action: str, at: Moment) -> bool:
    return False


def _last(scores: Sequence[Score]) -> int:
    return len(scores) - 1


def _everything(name: str, at: Moment) -> bool:
    return True


def _mean(values: Sequence[float], sizes: Sequence[int], examples: int) -> float:
    weighted = (value * size for value, size in zip(values, sizes, strict=True))
    return sum(weighted) / examples


def _right(scores: Tensor, labels: Tensor) -> float:
    return (scores.argmax(1) == labels).double().mean().item()


def _as_it_is(history: Sequence[Score], at: Moment) -> Sequence[Score]:
    return history


Penalty = Callable[[Tensor, Tensor, "Moment"], tuple[float, Tensor]]
"""From weights and the gradient of the loss to a penalty on weights and its gradient."""


@dataclass(frozen=True)
class Loop:
    """A training. The defaults are what is asked for."""

    function: str = "train_epoch"

    # The data of an epoch
    batches: Callable[[Sequence[Batch], Moment], Sequence[Batch]] = _all
    images: Callable[[Tensor, Moment], Tensor] = _same
    labels: Callable[[Tensor, Moment], Tensor] = _same

    # A batch
    actions: tuple[str, ...] = ACTIONS
    at_the_end: tuple[str, ...] = ()  # of an epoch
    skips: Callable[[str, Moment], bool] = _never
    loss: Callable[[Loss, Moment], Loss] = _same
    loss_name: tuple[Any, ...] | None = ()  # equal for equal losses; None where they may not be
    penalty: Penalty | None = None  # added to the loss
    alter: Callable[[Tensor, Tensor, Moment], Tensor] = _unaltered
    trains: Callable[[str, Moment], bool] = _everything

    # The optimizer and the epochs
    optimizer: Callable[[Optimizer, Moment], Optimizer] = _same
    rate: Callable[[float, Moment], float] = _same
    renews: str = "never"  # or "epoch" or "batch"
    start: Callable[[Tensor, Moment], Tensor] = _same
    epochs: Callable[[int, Moment], int] = _same
    keeps: Callable[[Sequence[Score]], int] = _last
    a_copy: bool = False

    # The numbers that are returned
    loss_of: str = "before"  # the step, or "after", or "end" of the epoch
    accuracy_of: str = "before"
    reports: Callable[[Loss, Moment], Loss] | None = None  # a loss, if not the one minimised
    told: bool = True  # the labels that the loss is told count as right
    mean_loss: Callable[[Sequence[float], Sequence[int], int], float] = _mean
    mean_accuracy: Callable[[Sequence[float], Sequence[int], int], float] = _mean
    right: Callable[[Tensor, Tensor], float] = _right
    all_examples: bool = False  # divide by the size of the dataset, not by what was used
    score: Callable[[float, float], Score] = lambda loss, accuracy: (loss, accuracy)
    history: Callable[[Sequence[Score], Moment], Sequence[Score]] = _as_it_is

    def but(self, **fields: Any) -> Loop:
        """As ``dataclasses.replace``, which takes ten times as long."""
        loop = object.__new__(Loop)
        loop.__dict__.update(self.__dict__, **fields)
        return loop


def replay(loop: Loop, call: Call) -> Generator[Mark, None, Replayed]:
    """Train as ``loop`` says. Raises ``Impossible``."""
    if loop.a_copy and "f" in call.seen.events:
        raise Never  # the model that was given computed something
    run = _Run(loop, call)
    for _ in range(loop.epochs(call.epochs, run.at)):
        yield from run.epoch()
    kept = run.at.weights
    if loop.keeps is not _last:
        scores = [_score(loop, run.at, epoch) for epoch in run.epochs]
        kept = run.ends[loop.keeps(scores)]
    weights = call.start if loop.a_copy else kept
    return Replayed(weights, tuple(run.epochs), "".join(run.events), tuple(run.rates), run.at.found)


class _Run:
    """A training under way."""

    def __init__(self, loop: Loop, call: Call) -> None:
        self.loop, self.call = loop, call
        self.at = Moment(call)
        self.gradients: Tensor | None = None
        self.events: list[str] = []
        self.rates: list[float] = []
        self.epochs: list[tuple[Pass, ...]] = []
        self.ends: list[Tensor] = []
        self.passes: list[Pass] = []
        self.shown: Tensor | None = None
        self.optimizer = call.optimizer
        self.makes_step: Step | None = None
        self.trained: Tensor | None = None

    def epoch(self) -> Iterator[Mark]:
        loop, at = self.loop, self.at
        at.epoch, at.batch = len(self.epochs), 0
        at.weights = loop.start(at.weights, at)
        if loop.renews == "epoch":
            self.makes_step = None
        self.passes = []
        batches = loop.batches(self.call.batches, at)
        at.batches = len(batches)
        for at.batch, (images, labels) in enumerate(batches):
            if loop.renews == "batch":
                self.makes_step = None
            for action in loop.actions:
                if not loop.skips(action, at):
                    yield from self.do(action, images, labels)
            if self.passes:
                self.passes[-1].after = at.weights
        for action in loop.at_the_end:
            yield from self.do(action, images, labels)
        self.epochs.append(tuple(self.passes))
        self.ends.append(at.weights)

    def do(self, action: str, images: Tensor, labels: Tensor) -> Iterable[Mark]:
        if action == "forward":
            return self.forward(images, labels)
        if action == "backward":
            return self.backward(self.passes[-1])
        if action == "backward of all":
            return chain.from_iterable(map(self.backward, reversed(self.passes)))
        if action == "step":
            return self.step()
        if action == "clear":
            self.gradients = None
        elif action == "alter" and self.gradients is not None:
            self.gradients = self.loop.alter(self.gradients, self.at.weights, self.at)
        return ()

    def forward(self, images: Tensor, labels: Tensor) -> Iterator[Mark]:
        at = self.at
        if not self.loop.a_copy:
            self.events.append("f")
            if self.shown is None or not torch.equal(self.shown, at.weights):
                yield "weights", at.state, at.weights
                self.shown = at.weights
                at.state += 1
        shown, told = self.loop.images(images, at), self.loop.labels(labels, at)
        if not self.loop.a_copy:
            yield "images", at.forward, shown
        at.forward += 1
        self.passes.append(Pass(at.weights, shown, told, labels, None, at.weights))

    def backward(self, last: Pass) -> Iterator[Mark]:
        loop, at = self.loop, self.at
        if not loop.a_copy:
            self.events.append("b")
        loss = loop.loss(self.call.loss, at)
        passed = self.call.backward(last.before, last.images, last.labels, loss, loop.loss_name)
        last.loss = passed.loss
        if not loop.a_copy:
            yield "slope", at.backward, passed.slope
        at.backward += 1
        g = passed.gradient
        if loop.penalty is not None:
            value, of_penalty = loop.penalty(last.before, g, at)
            last.loss, g = last.loss + value, g + of_penalty
        self.gradients = g if self.gradients is None else self.gradients + g

    def step(self) -> Iterator[Mark]:
        loop, at, g = self.loop, self.at, self.gradients
        self.events.append("s")
        if not loop.a_copy:
            yield "gradients", at.step, torch.zeros_like(at.weights) if g is None else g
        if g is not None:
            if self.makes_step is None:
                self.optimizer = loop.optimizer(self.call.optimizer, at)
                self.makes_step = self.optimizer.begin()
            at.found |= {"gradient": g, "weights": at.weights, "optimizer": self.optimizer}
            self.rates.append(loop.rate(self.optimizer.lr, at))
            after = self.makes_step(at.weights, g, self.rates[-1])
            if loop.trains is not _everything:
                if self.trained is None:
                    self.trained = self.call.where(lambda name: loop.trains(name, at))
                after = torch.where(self.trained, after, at.weights)
            at.weights = after
        at.step += 1


def results(loop: Loop, call: Call, replayed: Replayed) -> Sequence[Score]:
    """The history that ``loop`` returns for a training that was replayed."""
    at = Moment(call, found=replayed.found)
    return loop.history([_score(loop, at, epoch) for epoch in replayed.epochs], at)


def _score(loop: Loop, at: Moment, passes: Sequence[Pass]) -> Score:
    if not passes:
        raise Impossible
    sizes = [len(each.true) for each in passes]
    examples = at.call.examples if loop.all_examples else sum(sizes)
    end = passes[-1].after
    losses = [each.value(_loss, loop, at, end) for each in passes]
    rights = [each.value(_right_share, loop, at, end) for each in passes]
    return loop.score(
        loop.mean_loss(losses, sizes, examples), loop.mean_accuracy(rights, sizes, examples)
    )


def _loss(loop: Loop, at: Moment, each: Pass, end: Tensor) -> float:
    if loop.reports is None and loop.loss_of == "before" and each.loss is not None:
        return each.loss
    loss = (loop.reports or loop.loss)(at.call.loss, at)
    labels = each.labels if loop.told else each.true
    return loss(each.scores(loop.loss_of, at.call, end), labels).item()


def _right_share(loop: Loop, at: Moment, each: Pass, end: Tensor) -> float:
    labels = each.labels if loop.told else each.true
    return loop.right(each.scores(loop.accuracy_of, at.call, end), labels)
