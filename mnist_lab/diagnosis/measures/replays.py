"""What a loss, an accuracy and a confusion matrix come to when they are computed with a mistake.

A known mistake (``mistakes/measures.toml``) is an edit of the text of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.faults import defined
from mnist_lab.diagnosis.reference import Batch, Loss

__all__ = ["ACCURACY", "LOSS", "MATRIX", "Matrices", "Scores"]

MEAN = """
def mean(batches):
    total, count = 0.0, 0
    for scores, labels in batches:
        total += value(scores, labels) * len(labels)
        count += len(labels)
    result = total / count
    return result
"""

LOSS = f"""
def loss(scores, labels):
    return loss_fn(scores, labels)

{MEAN}"""
"""The mean over all examples of the loss of a batch, which is a mean over its own."""

ACCURACY = f"""
def accuracy(scores, labels):
    predictions = scores.argmax(1)
    return (predictions == labels).double().sum() / len(scores)

{MEAN}"""
"""The mean over all examples of the share of a batch that is right."""

MATRIX = """
def confusion_matrix(batches):
    matrix = torch.zeros(10, 10, dtype=torch.float64)
    for scores, labels in batches:
        predictions = scores.argmax(1)
        matrix += counts(labels, predictions)
    return matrix
"""
"""Rows are labels, columns predictions."""


class Scores:
    """The numbers that calls return, of which each has had these batches of scores and labels."""

    def __init__(self, calls: Sequence[Sequence[Batch]], loss_fn: Loss = F.cross_entropy) -> None:
        self._calls = calls
        self._given = {**GIVEN, "loss_fn": loss_fn, "whole": cache(_whole)}
        self._values: dict[str, Callable[[Tensor, Tensor], float]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def of(self, text: str) -> Iterator[float]:
        """What each call returns; NaN where ``text`` cannot be computed."""
        measure: Callable[..., Any] | None = None
        for call in self._calls:
            try:
                measure = measure or self._measure(text)
                yield float(measure(tuple(call)))
            except Exception:  # two edits together need not make sense
                yield math.nan

    def _measure(self, text: str) -> Callable[[Sequence[Batch]], float]:
        value, _, mean = text.rpartition("\n\n\n")
        if value not in self._values:
            self._values[value] = self._value(value)
        measure: Callable[[Sequence[Batch]], float]
        measure = defined(mean, {**self._given, "value": self._values[value]})["mean"]
        return measure

    def _value(self, text: str) -> Callable[[Tensor, Tensor], float]:
        """Remembered by the tensors that it is given: most replays have the same."""
        names = defined(text, self._given)
        value = names.get("loss") or names["accuracy"]
        return cache(lambda scores, labels: float(value(scores, labels)))


class Matrices:
    """The matrices that calls return, of which each has had these batches of scores and labels."""

    def __init__(self, calls: Sequence[Sequence[Batch]]) -> None:
        self._calls = calls

    def of(self, text: str) -> Iterator[Tensor]:
        """What each call returns, of any shape; NaN where ``text`` cannot be computed."""
        count: Callable[..., Any] | None = None
        for call in self._calls:
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


def _one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, 10).double()


def _counts(rows: Tensor, columns: Tensor) -> Tensor:
    """How often each pair of digits occurs, (10, 10)."""
    return torch.bincount(10 * (rows % 10) + columns % 10, minlength=100).view(10, 10).double()


def _in_step(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both as long as the shorter one, as with ``zip``."""
    size = min(len(one), len(other))
    return one[:size], other[:size]


def _against_the_rest(matrix: Tensor) -> Tensor:
    """(10, 2, 2), as scikit-learn's ``multilabel_confusion_matrix``."""
    hits = matrix.diagonal()
    missed, taken = matrix.sum(1) - hits, matrix.sum(0) - hits
    rest = matrix.sum() - hits - missed - taken
    return torch.stack([rest, taken, missed, hits], dim=1).view(10, 2, 2)


GIVEN: Mapping[str, Any] = {
    "F": F,
    "against_the_rest": _against_the_rest,
    "counts": _counts,
    "examples": _examples,
    "in_step": _in_step,
    "math": math,
    "one_hot": _one_hot,
    "torch": torch,
}
"""What the text of a reference may use, also with a mistake in it."""
