"""What the checks of training and of evaluation share: comparing weights and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from mnist_lab.diagnosis import fail
from mnist_lab.diagnosis.explain import difference
from mnist_lab.submission.answers import Batches, Recipe, Score
from mnist_lab.submission.caller import SubmissionFailure

Answer = TypeVar("Answer")

NUMBER = 1e-5
"""Losses of size 1 that are summed in float32 agree to 1e-6; a known mistake changes 1e-3."""

NUMBERS = ("int", "float", "float16", "float32", "float64", "int32", "int64")
"""Types of plain numbers, NumPy's among them."""


def in_float64(
    call: Callable[..., Answer], recipe: Recipe, batches: Batches, **given: float
) -> Answer:
    """``call`` on a float64 recipe; in float32 where the learner's code does not work otherwise."""
    try:
        return call(recipe, batches, **given)
    except SubmissionFailure as failure:
        if failure.outcome != "failed" or not failure.raised:
            raise
        weights = {name: value.float() for name, value in recipe.weights.items()}
        single = replace(recipe, weights=weights)
        return call(single, replace(batches, images=batches.images.float()), **given)


def furthest(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference of a weight, as far as the dtype of ``actual`` can tell.

    Weights that ``expected`` does not name are left out.
    """
    return max(
        difference(actual[name], value.to(actual[name].dtype)) if name in actual else math.inf
        for name, value in expected.items()
    )


def same(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Whether the weights agree as closely as their dtype lets them."""
    exact = all(value.dtype != torch.float32 for value in actual.values())
    return furthest(actual, expected) < (1e-8 if exact else 5e-4)


def expect_score(what: str, score: Score, loss: float, accuracy: float, batches: str) -> None:
    """The mean loss and the accuracy as a fraction."""
    if not close(score.loss, loss):
        raise fail(
            f"The loss that {what} returns is {score.loss:.4f}; the mean over the examples is "
            f"{loss:.4f}.",
            batches,
            expected=loss,
            actual=score.loss,
        )
    if not close(score.accuracy, accuracy):
        raise fail(
            f"The accuracy that {what} returns is {score.accuracy:.4f}; {accuracy:.4f} of the "
            "examples are right.",
            batches,
            expected=accuracy,
            actual=score.accuracy,
        )


def close(actual: float, expected: float, within: float = NUMBER) -> bool:
    """Whether two numbers agree as closely as sums in float32 do."""
    return abs(actual - expected) < within * max(1.0, abs(expected))
