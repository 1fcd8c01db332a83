"""Ways to change a ``Loop``: what mistakes in a training are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.loops.optimizers import Optimizer
from mnist_lab.diagnosis.loops.replay import ACTIONS, Loop, Moment, Score
from mnist_lab.diagnosis.reference import Batch, Loss

Change = Callable[[Loop], Loop | None]


def changed(**fields: Any) -> Change:
    """With these fields."""
    return lambda loop: loop.but(**fields)


def only_in(function: str, change: Change) -> Change:
    """For one of the two functions."""
    return lambda loop: change(loop) if loop.function == function else None


def losing_at(wrap: Callable[[Loss, Moment], Loss], name: Any = None) -> tuple[Change, ...]:
    """Another loss, made from the one that is there or, as by ``train``, from the one given.

    Its ``name`` is the same for the same loss; None if it depends on the moment.
    """

    def outside(loop: Loop) -> Loop:
        names = None if name is None or loop.loss_name is None else (*loop.loss_name, name)
        return loop.but(loss=lambda given, at: wrap(loop.loss(given, at), at), loss_name=names)

    def inside(loop: Loop) -> Loop | None:
        if loop.loss is Loop.loss:
            return None
        names = None if name is None or loop.loss_name is None else (name, *loop.loss_name)
        return loop.but(loss=lambda given, at: loop.loss(wrap(given, at), at), loss_name=names)

    return outside, inside


def losing(wrap: Callable[[Loss], Loss]) -> tuple[Change, ...]:
    """As ``losing_at``, where the moment does not matter."""
    return losing_at(lambda loss, at: wrap(loss), wrap)


def relabelled(relabel: Callable[[Tensor], Tensor]) -> Change:
    """The loss is told other labels."""
    return lambda loop: loop.but(labels=lambda labels, at: relabel(loop.labels(labels, at)))


def redrawn(redraw: Callable[[Tensor], Tensor]) -> Change:
    """The model is given other images."""
    return lambda loop: loop.but(images=lambda images, at: redraw(loop.images(images, at)))


def using(choose: Callable[[Sequence[Batch]], Sequence[Batch]]) -> Change:
    """Other batches make an epoch."""
    return lambda loop: loop.but(batches=lambda all_, at: choose(loop.batches(all_, at)))


def altering(alter: Callable[[Tensor, Tensor, Moment], Tensor]) -> Change:
    """Something is done with the gradients before the step."""
    return lambda loop: loop.but(alter=lambda g, w, at: alter(loop.alter(g, w, at), w, at))


def skipping(action: str, when: Callable[[Moment], bool]) -> Change:
    """An action is left out at times."""
    return lambda loop: loop.but(
        skips=lambda does, at: loop.skips(does, at) or (does == action and when(at))
    )


def doing(*actions: str, at_the_end: tuple[str, ...] = ()) -> Change:
    """Other actions, or in another order; None where they are not the usual ones any more."""
    return lambda loop: (
        loop.but(actions=actions, at_the_end=at_the_end) if loop.actions == ACTIONS else None
    )


def optimizing(choose: Callable[[Optimizer, Moment], Optimizer]) -> Change:
    """Another optimizer, made from the one that is there."""
    return lambda loop: loop.but(optimizer=lambda given, at: choose(loop.optimizer(given, at), at))


def both(first: Change, second: Change) -> Change:
    """One change after the other."""

    def change(loop: Loop) -> Loop | None:
        once = first(loop)
        return None if once is None else second(once)

    return change


def of_scores(f: Callable[[Tensor], Tensor]) -> tuple[Change, ...]:
    """``f`` of the scores goes into the loss."""
    return losing(lambda loss: lambda scores, labels: loss(f(scores), labels))


def another_loss(loss: Loss) -> tuple[Change, ...]:
    """The ``loss``, whatever there was."""
    return losing(lambda _: loss)


def times(factor: Callable[[int], float]) -> tuple[Change, ...]:
    """The loss of a batch, multiplied by a number that its size decides."""
    return losing(lambda loss: lambda scores, labels: factor(len(labels)) * loss(scores, labels))


def one_hot(labels: Tensor) -> Tensor:
    """(N,) -> (N, 10)."""
    return F.one_hot(labels, 10).double()


def uniform_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with a target of 0.1 for every digit."""
    return -scores.log_softmax(1).mean()


def focal(scores: Tensor, labels: Tensor) -> Tensor:
    """Lin et al., "Focal loss for dense object detection", 2017, gamma = 2."""
    log_p = scores.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


def is_any(name: str) -> bool:
    """All parameters."""
    return True


def is_weight(name: str) -> bool:
    """Those that are no biases."""
    return name.endswith("weight")


def rated(rate: Callable[[float, Moment], float]) -> Change:
    """Another learning rate, made from the one that is there."""
    return lambda loop: loop.but(rate=lambda given, at: rate(loop.rate(given, at), at))


def given_weights_again(w: Tensor, at: Moment) -> Tensor:
    """The weights with which the model came."""
    return at.call.start


def repeated(count: Callable[[int], int]) -> Change:
    """Another number of epochs."""
    return only_in("train", changed(epochs=lambda asked, at: max(count(asked), 0)))


def lowest_loss(scores: Sequence[Score]) -> int:
    """The epoch of the lowest loss."""
    return min(range(len(scores)), key=lambda epoch: scores[epoch][0])


def highest_accuracy(scores: Sequence[Score]) -> int:
    """The first epoch of the highest accuracy."""
    return max(range(len(scores)), key=lambda epoch: scores[epoch][1])


def highest_accuracy_last(scores: Sequence[Score]) -> int:
    """The last epoch of the highest accuracy."""
    return max(range(len(scores)), key=lambda epoch: (scores[epoch][1], epoch))


Mean = Callable[[Sequence[float], Sequence[int], int], float]


def total(values: Sequence[float], sizes: Sequence[int]) -> float:
    """The sum over the examples."""
    return sum(value * size for value, size in zip(values, sizes, strict=True))


def running(rate: float) -> Mean:
    """The batches' values in turn: ``rate`` times the average plus the rest times the value."""

    def average(values: Sequence[float], sizes: Sequence[int], examples: int) -> float:
        value = values[0]
        for each in values[1:]:
            value = rate * value + (1 - rate) * each
        return value

    return average


def right_by(count: Callable[[Tensor, Tensor], float]) -> Change:
    """Right answers are counted in another way: their share of a batch."""
    return changed(right=count)


def broadcast(scores: Tensor, labels: Tensor) -> float:
    """Every prediction compared with every label of the batch, as with shapes (N,) and (N, 1)."""
    return (scores.argmax(1).unsqueeze(0) == labels.unsqueeze(1)).sum().item() / len(labels)


def in_the_top(k: int) -> Callable[[Tensor, Tensor], float]:
    """Whether the label is among the ``k`` highest scores."""

    def right(scores: Tensor, labels: Tensor) -> float:
        return (scores.topk(k, 1).indices == labels.unsqueeze(1)).any(1).double().mean().item()

    return right


def scoring(change: Callable[[float, float], Score]) -> Change:
    """Other numbers for an epoch, made from its loss and accuracy."""

    def changes(loop: Loop) -> Loop:
        return loop.but(score=lambda loss, accuracy: change(*loop.score(loss, accuracy)))

    return changes


def rounded(loss: int | None, accuracy: int | None) -> Change:
    """To so many digits; not at all where None."""
    return scoring(
        lambda a, b: (
            a if loss is None else round(a, loss),
            b if accuracy is None else round(b, accuracy),
        )
    )


def recording(change: Callable[[Sequence[Score]], Sequence[Score]]) -> Change:
    """Another history, made from that of all epochs."""
    return lambda loop: loop.but(history=lambda history, at: change(loop.history(history, at)))


def cumulative(mean: bool) -> Callable[[Sequence[Score]], Sequence[Score]]:
    """The mean or the sum of all epochs so far."""

    def change(history: Sequence[Score]) -> Sequence[Score]:
        sums, found = (0.0, 0.0), []
        for number, (loss, accuracy) in enumerate(history, start=1):
            sums = (sums[0] + loss, sums[1] + accuracy)
            found.append((sums[0] / number, sums[1] / number) if mean else sums)
        return found

    return change


def mean_of(history: Sequence[Score]) -> Sequence[Score]:
    """A single entry: the mean of all."""
    losses, accuracies = zip(*history, strict=True)
    return [(sum(losses) / len(losses), sum(accuracies) / len(accuracies))]


def halves(part: slice) -> Callable[[Sequence[Batch]], Sequence[Batch]]:
    """One half of every batch."""

    def choose(batches: Sequence[Batch]) -> Sequence[Batch]:
        first = part.start is None
        found = []
        for images, labels in batches:
            middle = len(labels) // 2
            cut = slice(None, middle) if first else slice(middle, None)
            found.append((images[cut], labels[cut]))
        return found

    return choose


def merged(batches: Sequence[Batch], k: int) -> Sequence[Batch]:
    """``k`` batches in one."""
    groups = [batches[i : i + k] for i in range(0, len(batches), k)]
    return [
        (torch.cat([x for x, _ in group]), torch.cat([y for _, y in group])) for group in groups
    ]


def cut(batches: Sequence[Batch], k: int) -> Sequence[Batch]:
    """Batches of ``k``."""
    return [
        part
        for images, labels in batches
        for part in zip(images.split(k), labels.split(k), strict=True)
    ]
