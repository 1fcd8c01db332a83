"""What the checks of training and of evaluation share: comparing weights and numbers, and what a
call leaves behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, fail
from mnist_lab.diagnosis.degenerate import of_scores
from mnist_lab.diagnosis.explain import difference
from mnist_lab.diagnosis.faults import tables
from mnist_lab.submission.answers import Batches, Facts, Recipe
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle
from mnist_lab.submission.protocol import APART, HERE, RECORDED, TO_NUMPY

Answer = TypeVar("Answer")

NUMBER = 1e-5
"""Losses of size 1 that are summed in float32 agree to 1e-6; a known mistake changes 1e-3."""

PER_TERM = 4e-9
"""By which they may be further off for each that is added to the sum: the mean of 8,000 to 39,000
losses that are added one by one was off by 3.3e-5 at most, 2.8e-9 for each."""

NUMBERS = ("int", "float", "float16", "float32", "float64", "int32", "int64")
"""Types of plain numbers, NumPy's among them."""


def in_float64(
    call: Callable[..., Answer], recipe: Recipe, batches: Batches, **given: float
) -> Answer:
    """``call`` on a float64 recipe; in float32 where the learner's code does not work otherwise, or
    makes float32 of the scores.
    """
    try:
        answer = call(recipe, batches, **given)
    except SubmissionFailure as failure:
        if failure.outcome != "failed" or not failure.event.raised:
            raise
    else:
        if not _are_float32(getattr(answer, "facts", Facts()).slopes):
            return answer
    return call(*in_float32(recipe, batches), **given)


def _are_float32(slopes: Sequence[Tensor]) -> bool:
    """Whether there are some, and all of their numbers could be float32 as well."""
    return bool(slopes) and all(torch.equal(each.float().double(), each) for each in slopes)


def in_float32(recipe: Recipe, batches: Batches) -> tuple[Recipe, Batches]:
    """Both as learners' own models and digits are. Images of one grey take no more memory."""
    weights = {name: value.float() for name, value in recipe.weights.items()}
    images = batches.images if batches.images.stride(-1) else batches.images[..., :1, :1]
    images = images.float().expand_as(batches.images)
    return replace(recipe, weights=weights), replace(batches, images=images)


def furthest(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference of a weight, as far as the dtype of ``actual`` can tell.

    Weights that ``expected`` does not name are left out.
    """
    return max(
        difference(actual[name], value.to(actual[name].dtype)) if name in actual else math.inf
        for name, value in expected.items()
    )


def same(
    actual: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    in_float32: float = 5e-4,
    in_float64: float = 1e-8,
) -> bool:
    """Whether the weights agree as closely as their dtype lets them."""
    exact = not any(actual[n].dtype == torch.float32 for n in expected if n in actual)
    return furthest(actual, expected) < (in_float64 if exact else in_float32)


def close(actual: float, expected: float, terms: int = 0, in_doubt: float = 0.0) -> bool:
    """Whether two numbers agree as closely as sums of so many ``terms`` in float32 do, up to what
    is ``in_doubt``.
    """
    within = (NUMBER + PER_TERM * terms) * max(1.0, abs(expected))
    return abs(actual - expected) < within + in_doubt


def first_wrong(told: Sequence[tuple[float, float]], asked: Sequence[tuple[float, float]]) -> int:
    """The place of the first loss or accuracy that is not what is asked for."""
    return next(at for at, pair in enumerate(told) if not all(map(close, pair, asked[at])))


def unknown(
    what: str,
    told: Sequence[tuple[float, float]],
    asked: Sequence[tuple[float, float]],
    evidence: Sequence[str],
) -> CheckFailure:
    """The failure for losses and accuracies ``told`` of which one is not what is ``asked`` and
    nothing known explains it; the ``evidence`` of each says what they were computed of.
    """
    first = first_wrong(told, asked)
    if same := of_scores(what, told, evidence[first]):
        return same
    wrong: list[str] = []
    hint = ""
    for number, words in enumerate(tables("measures")["unknown"].values()):
        own, right = told[first][number], asked[first][number]
        if not close(own, right):
            wrong.append(words["says"].format(what=what, told=own, asked=right))
            hint = hint or words["hint"]
            factors = [a[number] / b[number] for a, b in zip(told, asked, strict=True) if b[number]]
            if len(factors) > 1 and close(min(factors), max(factors)):
                wrong.append(f"It is {factors[0]:.6g} times that in all {len(factors)} cases.")
    both = not any(close(*each) for each in zip(told[first], asked[first], strict=True))
    other = "" if both else "The other of the two numbers is as asked."
    return fail(
        wrong[0],
        " ".join(filter(None, [evidence[first], *wrong[1:], other])),
        hint,
        expected=list(asked[first]),
        actual=list(told[first]),
    )


def left_behind(facts: Facts) -> Iterator[tuple[str, str]]:
    """The mistakes that show after a call: the name and the evidence of each."""
    if not facts.grad_after:
        yield "gradients-left-off", "torch.is_grad_enabled() is False after the call."
    if not facts.requires_grad_after:
        yield "parameters-frozen", "requires_grad of parameters is False after the call."
    if facts.default_dtype_after != "torch.float32":
        dtype = facts.default_dtype_after
        yield "default-dtype-changed", f"torch.get_default_dtype() is {dtype} after the call."
    if facts.draws_again:
        yield "reseeds", "A pass through the loader drew the same random number as an earlier one."


def reseeds(
    exercise: ExerciseHandle,
    call: Callable[..., object],
    recipe: Recipe,
    batches: Batches,
    **given: float,
) -> Iterator[tuple[str, str]]:
    """What a call seeds, as ``left_behind`` tells it: calls that begin with different random
    numbers must not end alike. Three short batches show it.
    """
    few = Batches(batches.images[:6], batches.labels[:6], batch_size=2)
    ended: list[Any] = []
    again = exercise.reseeds(
        lambda seed: ended.append(in_float64(call, replace(recipe, seed=seed), few, **given))
    )
    if not again:
        yield from (left for left in left_behind(ended[0].facts) if left[0] == "reseeds")
    else:
        names = {"torch": "PyTorch", "numpy": "NumPy", "random": "the module random"}
        of = " and ".join(names[each] for each in again)
        yield "reseeds", f"The next random numbers of {of} are the same after every call."


def elsewhere(
    call: Callable[..., object], recipe: Recipe, batches: Batches, **given: float
) -> Iterator[tuple[str, str]]:
    """That ``device`` is ignored, as ``left_behind`` tells it: where images have to be moved to
    another device, and on the CPU where there is another device.

    Nothing else that goes wrong there counts: it is not a device that computes.
    """
    few = Batches(batches.images[:6], batches.labels[:6], batch_size=2)
    for device, said in ((RECORDED, repr(RECORDED)), (HERE, "'cpu', where there is a GPU")):
        try:
            in_float64(partial(call, device=device), recipe, few, **given)
        except SubmissionFailure as failure:
            where = f" ({failure.cause.where})" * bool(failure.cause.where)
            if TO_NUMPY in failure.cause.message:
                yield (
                    "numpy-on-device",
                    f"Called with the model on the device and device={said}, it gives NumPy a "
                    f"tensor that is there{where}.",
                )
                return
            if APART in failure.cause.message:
                yield (
                    "ignores-device",
                    f"Called with the model on the device and device={said}, it computes with "
                    f"tensors that are not there{where}.",
                )
                return


def odd_images(facts: Facts, batches: Batches) -> Iterator[tuple[str, str]]:
    """How the images that the model got differ from the loader's, as ``left_behind`` tells it."""
    shape = batches.images.shape[1:]
    given = {dtype: _each(batches.images.to(dtype)) for dtype in {i.dtype for i in facts.inputs}}
    for images in facts.inputs:
        if images.shape[1:] != shape:
            yield (
                "images-reshaped",
                f"The model got a batch of the shape {tuple(images.shape)}; the loader gives "
                f"(N, {', '.join(map(str, shape))}).",
            )
            return
        if not _each(images) <= given[images.dtype]:
            yield "images-changed", "The model got pixels that are not the loader's."
            return


def _each(images: Tensor) -> set[bytes]:
    """The bytes of each image."""
    size = images[:1].nbytes
    joined = images.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return {joined[start : start + size] for start in range(0, len(joined), size or 1)}
