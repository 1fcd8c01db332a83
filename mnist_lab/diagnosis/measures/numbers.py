"""What a loss, an accuracy and a confusion matrix come to when they are computed with a mistake, an
edit of the text of the reference; and which mistakes explain the numbers that a function returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, product, zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import explain
from mnist_lab.diagnosis.explain import Explanation
from mnist_lab.diagnosis.faults import Fault, defined
from mnist_lab.diagnosis.measures import bank
from mnist_lab.diagnosis.reference import Batch, Loss

FEWEST, FEWEST_OF_PAIRS = 2, 4
"""Different accuracies above 0 from which a mistake is recognised, and two at once: of fewer some
pair gives nearly any by chance."""

IN_FLOAT32 = 2e-6
"""Part of a number by which float32 sums of a few hundred losses differ."""

Epochs = Sequence[Sequence[Batch]]
"""For each epoch, or each call, its batches of scores and labels."""

Returned = Sequence[Sequence[tuple[float, float]]]
"""For each call the loss and the accuracy of its epochs."""


class Column:
    """The losses or the accuracies that ``calls`` come to, computed as the text ``asked`` or with a
    mistake in it; each call has a ``loss_fn`` of its own.
    """

    def __init__(
        self, asked: str, calls: Sequence[Epochs], losses: Sequence[Loss] = (F.cross_entropy,)
    ) -> None:
        self.asked, self._calls = asked, calls
        self._given = [{**GIVEN, "loss_fn": loss, "whole": cache(_whole)} for loss in losses]
        self._values: dict[tuple[str, int], Callable[[Tensor, Tensor], float]] = {}

    def of(
        self, text: str, call: int = 0, kept: list[dict[str, Any]] | None = None
    ) -> Iterator[float]:
        """The number of each epoch; NaN, and no more, where ``text`` cannot be computed.

        ``kept`` has what the text defined in an earlier call, and gets it in the first.
        """
        value, rest = text.split("\n\n\n", 1)
        kept = [] if kept is None else kept
        try:
            if (value, call) not in self._values:
                self._values[value, call] = self._value(value, call)
            given = {**self._given[call], "value": self._values[value, call]}
            if not kept:
                kept.append(defined(rest, given))
            kept[0].update(given)
            yield from map(float, kept[0]["history"](self._calls[call]))
        except Exception:  # two edits together need not make sense
            yield math.nan

    def differs(self, text: str, returned: Sequence[Sequence[float]], within: float) -> float:
        """The largest part by which a number is another than was ``returned``; infinite from the
        first that is told apart.
        """
        furthest = 0.0
        kept: list[dict[str, Any]] = []
        for call, numbers in enumerate(returned):
            own = self.of(text, call, kept)
            for expected, actual in zip_longest(own, numbers, fillvalue=math.nan):
                distance = abs(actual - expected) / max(1.0, abs(expected))
                if not distance < within:
                    return math.inf
                furthest = max(furthest, distance)
        return furthest

    def _value(self, text: str, call: int) -> Callable[[Tensor, Tensor], float]:
        """Remembered by the tensors that it is given: most texts have the same."""
        names = defined(text, self._given[call])
        value = names.get("loss") or names["accuracy"]
        return cache(lambda scores, labels: float(value(scores, labels)))


@dataclass(frozen=True)
class Explained:
    """Why a function returns its losses and accuracies; None where that is not known. No fault
    explains numbers that are as asked.
    """

    function: str
    loss: Explanation[str] | None
    accuracy: Explanation[str] | None
    swapped: bool

    @property
    def alternatives(self) -> list[tuple[Fault, ...]]:
        """What explains as much as is known of both, by the fewest mistakes."""
        known = [each.alternatives for each in (self.loss, self.accuracy) if each]
        swapped = [bank.observed("swapped", self.function)] if self.swapped else []
        found = [bank.merged(chain(swapped, *chosen), self.function) for chosen in product(*known)]
        fewest = min(map(len, found))
        return [faults for faults in found if len(faults) == fewest]

    def evidence(
        self, said: str, told: tuple[float, float], asked: tuple[float, float], count: int
    ) -> str:
        """The numbers ``told`` and ``asked`` of one of ``count`` calls or epochs, which was as
        ``said``; and how well the mistakes fit.
        """
        sentences = [
            f"{said} It returns {told[0]:.6g} and {told[1]:.6g}; a loss of {asked[0]:.6g} and an "
            f"accuracy of {asked[1]:.6g} are asked for."
        ]
        for name, number in (("loss", self.loss), ("accuracy", self.accuracy)):
            if number is None:
                sentences.append(f"How the {name} comes about is not known.")
            elif number.fault:
                same = f"{number.difference:.0e}" if number.difference else "the last digit"
                sentences.append(
                    f"Computed this way, the {name} is the same to {same}, {count} times."
                )
        return " ".join(sentences)


def explain_numbers(
    function: str,
    losses: Sequence[Column],
    accuracies: Sequence[Column],
    returned: Returned,
    within: float = IN_FLOAT32,
    pairs: bool = True,
) -> Explained:
    """The mistakes with which the numbers come to what was ``returned``: those of one number
    computed as one of several columns, or two of them, also in each other's place.
    """

    def explained(number: str, place: int) -> Explanation[str] | None:
        columns = {"loss": losses, "accuracy": accuracies}[number]
        found = [[score[place] for score in call] for call in returned]
        return _explained(number, function, columns, found, within, pairs)

    loss, accuracy = explained("loss", 0), explained("accuracy", 1)
    if loss is None or accuracy is None:
        exchanged = explained("loss", 1)
        other = explained("accuracy", 0) if exchanged else None
        if exchanged and other:
            return Explained(function, exchanged, other, swapped=True)
    return Explained(function, loss, accuracy, swapped=False)


def _explained(
    number: str,
    function: str,
    columns: Sequence[Column],
    returned: Sequence[Sequence[float]],
    within: float,
    pairs: bool,
) -> Explanation[str] | None:
    """None also for numbers that are always the same, or nearly all 0, which prove nothing."""
    for column in columns:
        if (far := column.differs(column.asked, returned, within)) < within:
            return Explanation(((),), far, column.asked)
    numbers = [one for each in returned for one in each]
    if len(numbers) > 1 and len(set(numbers)) == 1:
        return None
    if number == "accuracy":
        different = len({*numbers} - {0.0})
        pairs = pairs and different >= FEWEST_OF_PAIRS
        if len(numbers) > 1 and different < FEWEST:
            return None
    explanations = [
        explain.explain(
            column.asked,
            bank.of(number, function),
            cache(lambda text, column=column: column.differs(text, returned, within)),
            within,
            pairs,
        )
        for column in columns
    ]
    known = [each for each in explanations if each]
    return min(known, key=lambda each: len(each.alternatives[0]), default=None)


def matrices(text: str, calls: Epochs) -> Iterator[Tensor]:
    """What each call returns, of any shape; NaN where ``text`` cannot be computed."""
    count: Callable[..., Any] | None = None
    for call in calls:
        try:
            count = count or defined(text, GIVEN)["confusion_matrix"]
            yield count(call)
        except Exception:  # two edits together need not make sense
            yield torch.tensor(math.nan)


def _whole(batches: Sequence[Batch]) -> Sequence[Batch]:
    """All batches as a single one."""
    scores, labels = zip(*batches, strict=True)
    return ((torch.cat(scores), torch.cat(labels)),)


def _examples(batches: Sequence[Batch]) -> int:
    return sum(len(labels) for _, labels in batches)


def _counts(rows: Tensor, columns: Tensor) -> Tensor:
    """How often each pair of digits occurs, (10, 10)."""
    return torch.bincount(10 * (rows % 10) + columns % 10, minlength=100).view(10, 10).double()


GIVEN: Mapping[str, Any] = {
    "F": F,
    "counts": _counts,
    "examples": _examples,
    "math": math,
    "torch": torch,
}
"""What the text of a reference may use, also with a mistake in it."""
