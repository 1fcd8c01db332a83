"""Known mistakes of ``evaluate`` and ``confusion_matrix``, as changes of how their numbers are
computed from logits (N, 10), labels (N,) and the batches in which they come.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import reference
from mnist_lab.diagnosis.match import Fault
from mnist_lab.diagnosis.reference import Batch

__all__ = [
    "ACCURACY",
    "BANK",
    "IN_ACCURACY",
    "IN_LOSS",
    "LOSS",
    "MATRIX",
    "MATRIX_PAIRS",
    "NUMBERS",
    "STATE",
    "Counting",
    "Matrices",
    "Number",
    "Scores",
    "merged",
    "returned_by",
]

Part = tuple[int, float]
"""The number of examples of a batch and the mean over them."""


# What is asked of evaluate: two numbers, each a mean over all examples


@dataclass(frozen=True)
class Hits:
    """The fraction of ``right`` among the answers that ``predict`` reads from the logits."""

    predict: Callable[[Tensor], Tensor]
    right: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, logits: Tensor, labels: Tensor) -> float:
        return self.right(*_in_step(self.predict(logits), labels)).sum().item() / len(labels)


def _loss(logits: Tensor, labels: Tensor) -> float:
    return reference.cross_entropy(logits, labels).item()


def _best(logits: Tensor) -> Tensor:
    return logits.argmax(1)


def _equal(predictions: Tensor, labels: Tensor) -> Tensor:
    return predictions == labels


def _all(parts: Sequence[Any]) -> Sequence[Any]:
    return parts


def _same(values: Any) -> Any:
    return values


def _size(size: int, batch_size: int) -> float:
    return size


def _examples(parts: Sequence[Part]) -> float:
    return sum(size for size, _ in parts)


@dataclass(frozen=True)
class Number:
    """A number told of batches: the sum over those that are ``used`` of weight times value, divided
    by what ``divisor`` says of those that are ``counted``.

    ``value`` is the mean over the examples of a batch, of logits that ``prepare`` has changed; of
    all batches put together if ``whole``. ``carried`` are numbers that go on from the call before:
    its "sums", or its sums and its "counts".
    """

    value: Callable[[Tensor, Tensor], float]
    prepare: Callable[[Tensor], Tensor] = _same
    whole: bool = False
    carried: str = ""
    used: Callable[[Sequence[Part]], Sequence[Part]] = _all
    counted: Callable[[Sequence[Part]], Sequence[Part]] = _all
    weight: Callable[[int, int], float] = _size
    divisor: Callable[[Sequence[Part]], float] = _examples
    finish: Callable[[float], float] = _same
    rounding: Callable[[float], float] = _same


LOSS = Number(_loss)
ACCURACY = Number(Hits(_best, _equal))
"""As asked: the mean over all examples."""


class Scores:
    """The numbers that calls of ``evaluate`` return for plans; ``calls`` are their batches."""

    def __init__(self, calls: Sequence[Sequence[Batch]]) -> None:
        self._calls = calls
        self._parts: dict[tuple[Any, ...], list[Part]] = {}
        self._numbers: dict[tuple[Number, int], float] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def of(self, number: Number, call: int) -> float:
        """What a call returns for ``number``."""
        if (number, call) not in self._numbers:
            self._numbers[number, call] = self._number(number, call)
        return self._numbers[number, call]

    def terms(self, number: Number, call: int) -> tuple[float, float]:
        """The sum and what it is divided by."""
        own = self._of_batches(number, call)
        before = [part for each in range(call) for part in self._of_batches(number, each)]
        used = number.used(before + own if number.carried else own)
        counted = number.counted(before + own if "counts" in number.carried else own)
        total = sum(number.weight(size, own[0][0]) * value for size, value in used)
        return total, number.divisor(counted) if counted and used else 0.0

    def _number(self, number: Number, call: int) -> float:
        total, divisor = self.terms(number, call)
        return number.rounding(number.finish(total / divisor)) if divisor else math.nan

    def _of_batches(self, number: Number, call: int) -> list[Part]:
        key = (number.value, number.prepare, number.whole, call)
        if key not in self._parts:
            batches = self._calls[call]
            if number.whole:
                logits, labels = zip(*batches, strict=True)
                batches = [(torch.cat(logits), torch.cat(labels))]
            self._parts[key] = [
                (len(labels), number.value(number.prepare(logits), labels))
                for logits, labels in batches
            ]
        return self._parts[key]


# Mistakes in either number or in both


Plan = TypeVar("Plan", "Number", "Counting")


def _changes(*each: dict[str, Any]) -> tuple[Callable[[Any], Any], ...]:
    """The ways to change a plan, each by other values of some of its fields."""
    return tuple(partial(_changed, fields=fields) for fields in each)


def _fields(change: Any) -> dict[str, Any]:
    return dict(change.keywords["fields"])


def _changed(plan: Plan, fields: dict[str, Any]) -> Plan | None:
    """``plan`` with other ``fields``; None if one of them has been changed already.

    A coarsely rounded number shows nothing else that may be wrong with it.
    """
    already = {
        each.name
        for each in dataclasses.fields(plan)
        if getattr(plan, each.name) not in (each.default, _loss, ACCURACY.value)
    }
    coarse = getattr(plan, "rounding", _same) in COARSE or fields.get("rounding") in COARSE
    if already & set(fields) or (coarse and (already | set(fields)) - {"finish", "rounding"}):
        return None
    return replace(plan, **fields)


SUBJECTS = {
    "": "Loss and accuracy, as {function} returns them, are each",
    "loss-": "The loss that {function} returns is",
    "accuracy-": "The accuracy that {function} returns is",
}


def _family(name: str, says: str, hint: str, *fields: dict[str, Any]) -> list[Fault[Number]]:
    """A mistake that can be made in either number, or in both."""
    changes = _changes(*fields)
    return [
        Fault(f"evaluation.{prefix}{name}", f"{subject} {says}.", hint, changes)
        for prefix, subject in SUBJECTS.items()
    ]


def _one(*_: object) -> float:
    return 1.0


def _batches(parts: Sequence[Part]) -> float:
    return len(parts)


def _batch_size(parts: Sequence[Part]) -> float:
    return parts[0][0]


def _last_size(parts: Sequence[Part]) -> float:
    return parts[-1][0]


def _as_if_full(parts: Sequence[Part]) -> float:
    return len(parts) * parts[0][0]


def _full_size(_: int, batch_size: int) -> float:
    return batch_size


def _first_part(parts: Sequence[Any]) -> Sequence[Any]:
    return parts[:1]


def _last_part(parts: Sequence[Any]) -> Sequence[Any]:
    return parts[-1:]


def _after_first(parts: Sequence[Any]) -> Sequence[Any]:
    return parts[1:]


def _before_last(parts: Sequence[Any]) -> Sequence[Any]:
    return parts[:-1]


def _fixed(count: float) -> Callable[[Sequence[Part]], float]:
    return lambda parts: count


def _less(divisor: Callable[[Sequence[Part]], float], by: float) -> Callable[..., float]:
    return lambda parts: divisor(parts) - by


def _softmax_over_the_batch(logits: Tensor) -> Tensor:
    return logits.softmax(0)


def _log_softmax_over_the_batch(logits: Tensor) -> Tensor:
    return logits.log_softmax(0)


def _percent(value: float) -> float:
    return 100 * value


FINE = tuple(partial(round, ndigits=digits) for digits in (4, 3))
COARSE = (*(partial(round, ndigits=digits) for digits in (2, 1)), round, math.floor)


DIVIDE_ONCE = "Sum over the examples of all batches and divide once, by how many there were."
ALL_BATCHES = "Go through all batches first, then divide and return: look at the indentation."

AVERAGING = [
    *_family(
        "mean-of-batch-means",
        "the mean of the batches' means, in which the short last batch has as much say as a full "
        "one",
        DIVIDE_ONCE,
        {"weight": _one, "divisor": _batches},
    ),
    *_family(
        "sum",
        "a sum over the examples that is not divided by their number",
        DIVIDE_ONCE,
        {"divisor": _one},
    ),
    *_family(
        "sum-of-batch-means",
        "the sum of the batches' means",
        DIVIDE_ONCE,
        {"weight": _one, "divisor": _one},
    ),
    *_family(
        "batch-means-by-examples",
        "the sum of the batches' means divided by the number of examples, which is too small",
        "A batch's mean has been divided by its size already: take it times the size, or sum.",
        {"weight": _one},
    ),
    *_family(
        "by-batches",
        "a sum over the examples divided by the number of batches",
        "len(loader) counts batches; divide by the number of examples.",
        {"divisor": _batches},
    ),
    *_family(
        "last-batch-as-if-full",
        "computed as if the short last batch were as large as the others",
        "Take the size of each batch from the batch itself: len(labels).",
        {"divisor": _as_if_full},
        {"weight": _full_size},
    ),
    *_family(
        "wrong-divisor",
        "a sum over the examples divided by something else than their number",
        DIVIDE_ONCE,
        {"divisor": _batch_size},
        {"divisor": _last_size},
        {"divisor": _less(_examples, 1)},
        {"divisor": _less(_examples, -1)},
        {"divisor": _batches, "counted": _before_last},
        {"divisor": _less(_batches, -1)},
        {"divisor": _examples, "counted": _before_last},
        *({"divisor": _fixed(count)} for count in (2, 10, 64, 100, 128, 1000)),
        *({"divisor": _fixed(count)} for count in (5_000, 10_000, 30_000, 60_000, 70_000)),
        {"divisor": lambda parts: 10 * _examples(parts)},
        {"divisor": lambda parts: 784 * _examples(parts)},
        {"divisor": lambda parts: _examples(parts) ** 2},
        {"divisor": lambda parts: _examples(parts) * len(parts)},
    ),
    *_family(
        "wrong-divisor-of-batch-means",
        "a sum of the batches' means divided by something else than the number of batches",
        DIVIDE_ONCE,
        {"weight": _one, "divisor": _batches, "counted": _before_last},
        {"weight": _one, "divisor": _less(_batches, -1)},
        {"weight": _one, "divisor": _batch_size},
        {"weight": _one, "divisor": _last_size},
        {"weight": _one, "divisor": _as_if_full},
        *({"weight": _one, "divisor": _fixed(count)} for count in (2, 10, 64, 100, 128, 1000)),
    ),
    *_family(
        "first-batch",
        "taken from the first batch only",
        ALL_BATCHES,
        {"used": _first_part, "counted": _first_part},
        {"used": _first_part},
        {"used": _first_part, "counted": _first_part, "divisor": _one},
    ),
    *_family(
        "last-batch",
        "taken from the last batch only",
        "Sum with += over the batches, from zeros that are set before the loop.",
        {"used": _last_part, "counted": _last_part},
        {"used": _last_part},
        {"used": _last_part, "counted": _last_part, "divisor": _one},
        {"used": _last_part, "weight": _one, "divisor": _batches},
    ),
    *_family(
        "last-batch-dropped",
        "taken without the last, short batch",
        "The last batch counts like the others, however short it is.",
        {"used": _before_last, "counted": _before_last},
        {"used": _before_last},
    ),
    *_family(
        "first-batch-dropped",
        "taken without the first batch",
        "Every batch counts, the first one too.",
        {"used": _after_first, "counted": _after_first},
        {"used": _after_first},
    ),
    *_family(
        "carried-over",
        "mixed with what the call before it summed",
        "Set the sums to zero inside the function, at its beginning.",
        {"carried": "sums"},
        {"carried": "sums and counts"},
    ),
    *_family(
        "softmax-over-the-batch",
        "computed after a softmax over the images of the batch instead of the ten digits",
        "Dimension 0 is the batch: the ten scores of an image lie along dimension 1.",
        {"prepare": _softmax_over_the_batch},
        {"prepare": _log_softmax_over_the_batch},
        {"prepare": _softmax_over_the_batch, "whole": True},
        {"prepare": _log_softmax_over_the_batch, "whole": True},
    ),
    *_family(
        "percent",
        "in percent, a hundred times what is asked for",
        "Return a fraction from 0 to 1 and a loss as it is: leave out the factor 100.",
        {"finish": _percent},
    ),
    *_family(
        "rounded",
        "rounded",
        "Return the number as it is and round where it is printed.",
        *({"rounding": each} for each in (*FINE, *COARSE[:2])),
    ),
]


# Mistakes in the loss


def _loss_fault(name: str, says: str, hint: str, *fields: dict[str, Any]) -> Fault[Number]:
    subject = SUBJECTS["loss-"].removesuffix(" is")
    return Fault(f"evaluation.loss-{name}", f"{subject} {says}.", hint, _changes(*fields))


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1)


def _two_softmaxes(logits: Tensor) -> Tensor:
    return logits.softmax(1).softmax(1)


def _log_sigmoid(logits: Tensor) -> Tensor:
    return F.logsigmoid(logits)


def _nll(logits: Tensor, labels: Tensor) -> float:
    return F.nll_loss(logits, labels).item()


def _log_loss(base: float) -> Callable[[Tensor, Tensor], float]:
    return lambda logits, labels: _loss(logits, labels) / math.log(base)


def _smoothed(smoothing: float) -> Callable[[Tensor, Tensor], float]:
    return lambda logits, labels: reference.cross_entropy(logits, labels, smoothing).item()


def _of_its_predictions(logits: Tensor, _: Tensor) -> float:
    return _loss(logits, logits.argmax(1))


def _one_hot_loss(
    loss: Callable[..., Tensor], sum_over_digits: bool = False
) -> Callable[[Tensor, Tensor], float]:
    """The mean over examples and digits of a loss for one-hot targets, or the sum over digits."""
    factor = 10 if sum_over_digits else 1
    return lambda logits, labels: factor * loss(logits, F.one_hot(labels, 10).double()).item()


def _binary_of_probabilities(probabilities: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy(probabilities.clamp(0, 1), targets)


def _one_hot_losses(
    loss: Callable[..., Tensor], *preparations: Callable[[Tensor], Tensor]
) -> Sequence[dict[str, Any]]:
    values = [_one_hot_loss(loss, each) for each in (False, True)]
    return [{"value": value, "prepare": each} for value in values for each in preparations]


GIVE_RAW_SCORES = "nn.CrossEntropyLoss takes the log-softmax itself: give it the model's scores."
CROSS_ENTROPY = "Use nn.CrossEntropyLoss, with the model's scores and the labels."

LOSS_FAULTS = [
    _loss_fault(
        "softmax-first",
        "is the cross-entropy of the softmax of the scores, so the softmax is taken twice",
        GIVE_RAW_SCORES,
        {"prepare": _softmax},
    ),
    _loss_fault(
        "two-softmaxes-first",
        "is the cross-entropy of scores that went through two softmaxes before",
        GIVE_RAW_SCORES,
        {"prepare": _two_softmaxes},
    ),
    _loss_fault(
        "sigmoid-first",
        "is the cross-entropy of the sigmoid of the scores",
        GIVE_RAW_SCORES,
        {"prepare": torch.sigmoid},
        {"prepare": _log_sigmoid},
    ),
    _loss_fault(
        "nll-on-scores",
        "is minus the true digit's score: no log-softmax is taken",
        "F.nll_loss expects log-probabilities; " + CROSS_ENTROPY[0].lower() + CROSS_ENTROPY[1:],
        {"value": _nll},
    ),
    _loss_fault(
        "nll-on-probabilities",
        "is minus the true digit's probability: its logarithm is missing",
        "F.nll_loss expects log-probabilities; " + CROSS_ENTROPY[0].lower() + CROSS_ENTROPY[1:],
        {"value": _nll, "prepare": _softmax},
        {"value": _nll, "prepare": torch.sigmoid},
        {"value": _nll, "prepare": _log_sigmoid},
    ),
    _loss_fault(
        "mse",
        "is the squared distance from the one-hot label, not the cross-entropy",
        CROSS_ENTROPY,
        *_one_hot_losses(F.mse_loss, _same, _softmax, torch.sigmoid),
    ),
    _loss_fault(
        "absolute-distance",
        "is the absolute distance from the one-hot label, not the cross-entropy",
        CROSS_ENTROPY,
        *_one_hot_losses(F.l1_loss, _same, _softmax, torch.sigmoid),
    ),
    _loss_fault(
        "binary-cross-entropy",
        "is the binary cross-entropy of ten separate yes-or-no questions",
        CROSS_ENTROPY,
        *_one_hot_losses(F.binary_cross_entropy_with_logits, _same, _softmax, torch.sigmoid),
        *_one_hot_losses(_binary_of_probabilities, _softmax),
    ),
    _loss_fault(
        "hinge",
        "is a hinge loss, not the cross-entropy",
        CROSS_ENTROPY,
        {"value": lambda logits, labels: F.multi_margin_loss(logits, labels).item()},
        {
            "value": lambda logits, labels: F.multi_margin_loss(logits, labels).item(),
            "prepare": _softmax,
        },
    ),
    _loss_fault(
        "label-smoothing",
        "is the cross-entropy with smoothed labels",
        "Leave label_smoothing out.",
        *({"value": _smoothed(each)} for each in (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
    ),
    _loss_fault(
        "other-logarithm",
        "is a cross-entropy with another logarithm than the natural one",
        "math.log and torch.log are the natural logarithm; " + CROSS_ENTROPY,
        *({"value": _log_loss(base)} for base in (2, 10)),
    ),
    _loss_fault(
        "of-its-predictions",
        "compares the scores with the digits that the model reads, not with the labels",
        "The second argument of the loss is the labels.",
        {"value": _of_its_predictions},
    ),
    _loss_fault(
        "negative",
        "has the wrong sign",
        "The cross-entropy is minus the logarithm of the true digit's probability.",
        {"finish": lambda value: -value},
    ),
    _loss_fault(
        "whole-number",
        "is cut or rounded to a whole number",
        "Return the number as it is and round where it is printed.",
        {"rounding": round},
        {"rounding": math.floor},
    ),
    _loss_fault(
        "exponential",
        "is the exponential of the mean cross-entropy, the perplexity",
        "Return the mean cross-entropy itself.",
        {"finish": lambda value: math.exp(min(value, 700.0))},
    ),
]


# Mistakes in the predictions, which evaluate and confusion_matrix may both make


def _worst(logits: Tensor) -> Tensor:
    return logits.argmin(1)


def _over_images(logits: Tensor) -> Tensor:
    return logits.argmax(0)


def _in_whole_batch(logits: Tensor) -> Tensor:
    return logits.argmax().expand(len(logits))


def _second(logits: Tensor) -> Tensor:
    return logits.topk(2, dim=1).indices[:, 1]


def _next(logits: Tensor) -> Tensor:
    return logits.argmax(1) + 1


def _previous(logits: Tensor) -> Tensor:
    return logits.argmax(1) - 1


def _largest_in_size(logits: Tensor) -> Tensor:
    return logits.abs().argmax(1)


def _all_but_last(logits: Tensor) -> Tensor:
    return logits[:, :-1].argmax(1)


def _all_but_first(logits: Tensor) -> Tensor:
    return logits[:, 1:].argmax(1)


def _all_but_first_kept(logits: Tensor) -> Tensor:
    return logits[:, 1:].argmax(1) + 1


def _best_score(logits: Tensor) -> Tensor:
    return logits.amax(1)


def _first_above(level: float, prepare: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The first digit whose score is above a level, 0 if there is none."""
    return lambda logits: (prepare(logits) > level).int().argmax(1)


@dataclass(frozen=True)
class Misread:
    """A wrong way to read digits from logits: ``says`` what is taken for the digit."""

    name: str
    says: str
    hint: str
    predictions: tuple[Callable[[Tensor], Tensor], ...]


HIGHEST = "The digit that the model reads is scores.argmax(dim=1), the position of its best score."

MISREADINGS = (
    Misread("argmin", "the digit with the lowest score", HIGHEST, (_worst,)),
    Misread(
        "wrong-axis",
        "the position of the best score among the images of the batch, not among the ten digits",
        "Dimension 0 is the batch: " + HIGHEST,
        (_over_images,),
    ),
    Misread(
        "no-axis",
        "the position of the best score among all scores of the batch",
        "Without dim argmax counts through the whole batch: " + HIGHEST,
        (_in_whole_batch,),
    ),
    Misread("second-best", "the digit with the second highest score", HIGHEST, (_second,)),
    Misread(
        "off-by-one",
        "the digit beside the one with the highest score",
        "Positions are counted from 0, like digits: nothing is to be added.",
        (_next, _previous, _all_but_first),
    ),
    Misread(
        "largest-in-size",
        "the digit whose score is the largest when signs are ignored",
        HIGHEST,
        (_largest_in_size,),
    ),
    Misread(
        "nine-digits",
        "the best of nine digits, one of the ten is never considered",
        "All ten scores count: " + HIGHEST,
        (_all_but_last, _all_but_first_kept),
    ),
    Misread(
        "first-above-threshold",
        "the first digit whose score is above a threshold",
        HIGHEST,
        (
            _first_above(0.5, _same),
            _first_above(0.0, _same),
            _first_above(0.5, _softmax),
        ),
    ),
)


# Mistakes in the accuracy


def _accuracy_fault(name: str, says: str, hint: str, *fields: dict[str, Any]) -> Fault[Number]:
    return Fault(f"evaluation.accuracy-{name}", f"{says}.", hint, _changes(*fields))


def _wrong(predictions: Tensor, labels: Tensor) -> Tensor:
    return predictions != labels


def _each_with_each(predictions: Tensor, labels: Tensor) -> Tensor:
    return predictions.unsqueeze(0) == labels.unsqueeze(1)


def _mean_of_each_with_each(predictions: Tensor, labels: Tensor) -> Tensor:
    return _each_with_each(predictions, labels).double() / len(labels)


def _every_one(predictions: Tensor, labels: Tensor) -> Tensor:
    return (predictions == labels).all() * torch.ones(len(labels))


def _any_one(predictions: Tensor, labels: Tensor) -> Tensor:
    return (predictions == labels).any() * torch.ones(len(labels))


def _among_best(count: int) -> Hits:
    return Hits(
        lambda logits: logits.topk(count, dim=1).indices,
        lambda predictions, labels: (predictions == labels.unsqueeze(1)).any(1),
    )


def _above(level: float, prepare: Callable[[Tensor], Tensor], right: Any) -> Hits:
    """Each of the ten scores is a yes if it is above a level."""
    return Hits(lambda logits: prepare(logits) > level, right)


def _label_says_yes(answers: Tensor, labels: Tensor) -> Tensor:
    return answers.gather(1, labels.unsqueeze(1))


def _share_of_right_answers(answers: Tensor, labels: Tensor) -> Tensor:
    return (answers == F.one_hot(labels, 10).bool()).double().mean(1)


def _sum_of_right_answers(answers: Tensor, labels: Tensor) -> Tensor:
    return answers == F.one_hot(labels, 10).bool()


def _answers_beside_labels(answers: Tensor, labels: Tensor) -> Tensor:
    """(N, 10) == (N,) is no error where N is 10."""
    if answers.shape[0] != answers.shape[1]:
        return torch.full((1,), math.nan)
    return answers == labels


def _all_answers_right(answers: Tensor, labels: Tensor) -> Tensor:
    return (answers == F.one_hot(labels, 10).bool()).all(1)


def _probability_of_label(logits: Tensor, labels: Tensor) -> float:
    return logits.softmax(1).gather(1, labels.unsqueeze(1)).mean().item()


def _confidence(logits: Tensor, _: Tensor) -> float:
    return logits.softmax(1).amax(1).mean().item()


def _by_digit(score: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], float]:
    """The mean of a score over the digits for which it is defined."""

    def mean(logits: Tensor, labels: Tensor) -> float:
        scores = score(reference.confusion_matrix(logits, labels).double())
        return scores[~scores.isnan()].mean().item()

    return mean


def _recall(counts: Tensor) -> Tensor:
    return counts.diagonal() / counts.sum(1)


def _precision(counts: Tensor) -> Tensor:
    return counts.diagonal() / counts.sum(0)


def _f1(counts: Tensor) -> Tensor:
    return 2 * counts.diagonal() / (counts.sum(0) + counts.sum(1))


THRESHOLDS = ((0.5, _same), (0.0, _same), (0.5, _softmax))
"""The sigmoid is above 0.5 where its argument is above 0."""

DIGITS_READ = "The accuracy of {{function}} takes {} for the digit that was read"

ACCURACY_FAULTS = [
    *(
        _accuracy_fault(
            each.name,
            DIGITS_READ.format(each.says),
            each.hint,
            *({"value": Hits(predict, _equal)} for predict in each.predictions),
        )
        for each in MISREADINGS
    ),
    _accuracy_fault(
        "of-best-score",
        "The accuracy of {function} compares the labels with the highest score itself, not with "
        "its position",
        "scores.max(dim=1) gives values and positions; argmax gives the positions.",
        {"value": Hits(_best_score, _equal)},
        {"value": Hits(lambda logits: logits.amax(1).round(), _equal)},
        {"value": Hits(lambda logits: logits.amax(1).trunc(), _equal)},
    ),
    _accuracy_fault(
        "every-pair",
        "The accuracy of {function} compares every prediction of a batch with every label of it",
        "(N, 1) == (N,) is broadcast to (N, N): predictions and labels must both have the shape "
        "(N,).",
        {"value": Hits(_best, _each_with_each)},
        {"value": Hits(_best, _mean_of_each_with_each)},
        {"value": Hits(_best, _each_with_each), "whole": True},
        {"value": Hits(_best, _mean_of_each_with_each), "whole": True},
    ),
    _accuracy_fault(
        "threshold",
        "The accuracy of {function} asks of scores whether they are above a threshold, not which "
        "of the ten is the highest",
        HIGHEST,
        *(
            {"value": _above(level, prepare, right)}
            for right in (
                _label_says_yes,
                _share_of_right_answers,
                _sum_of_right_answers,
                _all_answers_right,
                _answers_beside_labels,
            )
            for level, prepare in THRESHOLDS
        ),
    ),
    _accuracy_fault(
        "top-k",
        "The accuracy of {function} counts a label as read that is merely among the best few",
        HIGHEST,
        *({"value": _among_best(count)} for count in (2, 3, 4, 5)),
    ),
    _accuracy_fault(
        "error-rate",
        "The accuracy that {function} returns is the share of the wrong answers",
        "Compare with ==, and count the right ones.",
        {"value": Hits(_best, _wrong)},
        {"finish": lambda value: 1 - value},
    ),
    _accuracy_fault(
        "whole-percent",
        "The accuracy that {function} returns is in whole percent",
        "Return a fraction from 0 to 1 and round where it is printed.",
        {"finish": _percent, "rounding": math.floor},
        {"finish": _percent, "rounding": round},
    ),
    _accuracy_fault(
        "all-or-nothing",
        "The accuracy of {function} judges a batch as a whole, not its examples",
        "Count the right answers of a batch: (predictions == labels).sum().",
        {"value": Hits(_best, _every_one)},
        {"value": Hits(_best, _any_one)},
        {"value": Hits(_best, _every_one), "whole": True},
    ),
    _accuracy_fault(
        "mean-over-digits",
        "The accuracy that {function} returns is a mean over the ten digits, each with the same "
        "say however often it occurs",
        "Divide the number of right answers by the number of examples.",
        *(
            {"value": _by_digit(score), "whole": whole}
            for score in (_recall, _precision, _f1)
            for whole in (True, False)
        ),
        {
            "value": lambda logits, labels: (
                (
                    (counts := reference.confusion_matrix(logits, labels)).diagonal()
                    / counts.sum(1).clamp(min=1)
                )
                .mean()
                .item()
            ),
            "whole": True,
        },
    ),
    _accuracy_fault(
        "probability",
        "The accuracy that {function} returns is a mean of probabilities, not a share of right "
        "answers",
        HIGHEST,
        {"value": _probability_of_label},
        {"value": _confidence},
    ),
]


# What is asked of confusion_matrix


def _every(labels: Tensor, predictions: Tensor) -> Tensor:
    return torch.ones_like(labels, dtype=torch.bool)


def _where(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return labels, predictions


def _no_shape(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return counts


@dataclass(frozen=True)
class Counting:
    """How ``confusion_matrix`` counts: of the batches that are ``used``, the pairs of label and
    prediction to ``keep``, each at the row and column that ``place`` says; ``limit`` changes the
    counts of one batch, ``overall`` those of all, ``shape`` gives them another shape.

    ``carried``: the counts go on from the call before.
    """

    predict: Callable[[Tensor], Tensor] = _best
    carried: bool = False
    used: Callable[[Sequence[Batch]], Sequence[Batch]] = _all
    keep: Callable[[Tensor, Tensor], Tensor] = _every
    place: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = _where
    limit: Callable[[Tensor], Tensor] = _same
    overall: Callable[[Tensor], Tensor] = _same
    share: Callable[[Tensor], Tensor] = _same
    rounding: Callable[[Tensor], Tensor] = _same
    shape: Callable[[Tensor, Tensor, Tensor], Tensor] = _no_shape


class Matrices:
    """The matrices that calls of ``confusion_matrix`` return for plans; ``calls`` are their
    batches.
    """

    def __init__(self, calls: Sequence[Sequence[Batch]]) -> None:
        self._calls = calls
        self._counted: dict[tuple[Any, ...], tuple[Tensor, Tensor, Tensor]] = {}

    def of(self, plan: Counting, call: int) -> Tensor:
        """float64, of any shape."""
        counts, labels, predictions = self._counts(plan, call)
        shares = plan.rounding(plan.share(plan.overall(counts).double()))
        return plan.shape(shares, labels, predictions)

    def _counts(self, plan: Counting, call: int) -> tuple[Tensor, Tensor, Tensor]:
        """The counts (10, 10), and the labels and predictions of which they are."""
        key = (plan.predict, plan.carried, plan.used, plan.keep, plan.place, plan.limit, call)
        if key not in self._counted:
            calls = self._calls[: call + 1] if plan.carried else self._calls[call : call + 1]
            batches = [batch for each in calls for batch in plan.used(each)]
            pairs = [_in_step(labels, plan.predict(logits)) for logits, labels in batches]
            counts = sum(plan.limit(_table(plan, *pair)) for pair in pairs)
            labels, predictions = (torch.cat(each) for each in zip(*pairs, strict=True))
            self._counted[key] = torch.as_tensor(counts), labels % 10, predictions % 10
        return self._counted[key]


def _table(plan: Counting, labels: Tensor, predictions: Tensor) -> Tensor:
    kept = plan.keep(labels, predictions)
    rows, columns = plan.place(labels[kept], predictions[kept])
    return torch.bincount(10 * (rows % 10) + columns % 10, minlength=100).view(10, 10)


def _in_step(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both as long as the shorter one: ``zip`` stops there."""
    size = min(len(one), len(other))
    return one[:size], other[:size]


# Mistakes in the matrix


def _matrix_fault(name: str, says: str, hint: str, *fields: dict[str, Any]) -> Fault[Counting]:
    return Fault(f"evaluation.matrix-{name}", f"{says}.", hint, _changes(*fields))


def _turned(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return predictions, labels


def _both_ways(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([labels, predictions]), torch.cat([predictions, labels])


def _from_nine(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return 9 - labels, 9 - predictions


def _moved(rows: int, columns: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda labels, predictions: (labels + rows, predictions + columns)


def _twice(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return labels.repeat(2), predictions.repeat(2)


def _read_twice(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return predictions, predictions


def _label_twice(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    return labels, labels


def _grid(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    pairs = torch.cartesian_prod(labels, predictions).view(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _errors(labels: Tensor, predictions: Tensor) -> Tensor:
    return labels != predictions


def _hits(labels: Tensor, predictions: Tensor) -> Tensor:
    return labels == predictions


def _once(counts: Tensor) -> Tensor:
    return counts.clamp(max=1)


def _by_row(counts: Tensor) -> Tensor:
    return counts / counts.sum(1, keepdim=True)


def _by_row_or_zero(counts: Tensor) -> Tensor:
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


def _by_column(counts: Tensor) -> Tensor:
    return counts / counts.sum(0, keepdim=True)


def _by_column_or_zero(counts: Tensor) -> Tensor:
    return counts / counts.sum(0, keepdim=True).clamp(min=1)


def _by_all(counts: Tensor) -> Tensor:
    return counts / counts.sum()


def _by_largest(counts: Tensor) -> Tensor:
    return counts / counts.max()


def _hundred(share: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda counts: 100 * share(counts)


def _shares(*shares: Callable[[Tensor], Tensor]) -> list[dict[str, Any]]:
    """As fractions and in percent; exact, rounded to a few digits, cut to whole numbers."""
    scaled = [*shares, *(_hundred(share) for share in shares)]
    exact = [{"share": share} for share in scaled]
    rounded = [
        {"share": share, "rounding": partial(torch.round, decimals=digits)}
        for share in scaled
        for digits in (0, 1, 2, 3, 4)
    ]
    return [*exact, *rounded, *({"share": share, "rounding": torch.floor} for share in scaled)]


def _wrapped(bits: int, signed: bool) -> Callable[[Tensor], Tensor]:
    """What is left of counts in an integer type with so few bits."""
    offset = 1 << (bits - 1) if signed else 0
    return lambda counts: (counts + offset) % (1 << bits) - offset


def _occurring(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    digits = torch.cat([labels, predictions]).unique()
    return counts[digits][:, digits]


def _occurring_in_each(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return counts[labels.unique()][:, predictions.unique()]


def _occurring_labels(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return counts[labels.unique()][:, labels.unique()]


def _up_to_largest(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    size = int(max(labels.max(), predictions.max())) + 1
    return counts[:size, :size]


def _flat(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return counts.flatten()


def _with_totals(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    below = torch.cat([counts, counts.sum(0, keepdim=True)])
    return torch.cat([below, below.sum(1, keepdim=True)], dim=1)


def _from_one(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return F.pad(counts, (1, 0, 1, 0))


def _one_more(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return F.pad(counts, (0, 1, 0, 1))


def _one_against_the_rest(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    """As scikit-learn's ``multilabel_confusion_matrix``, for the digits that occur."""
    digits = torch.cat([labels, predictions]).unique()
    hits = counts.diagonal()
    missed, taken = counts.sum(1) - hits, counts.sum(0) - hits
    rest = counts.sum() - hits - missed - taken
    return torch.stack([rest, taken, missed, hits], dim=1).view(10, 2, 2)[digits]


def _all_against_the_rest(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    full = torch.arange(10)
    return _one_against_the_rest(counts, full, full)


def _two_by_two(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    return _all_against_the_rest(counts, labels, predictions).sum(0)


def _right_and_wrong(counts: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    hits = counts.diagonal().sum()
    return torch.stack([hits, counts.sum() - hits])


ROWS_AND_COLUMNS = "matrix[true][predicted] += 1: the true digit is the row."
COUNTS = "Return the counts themselves; whoever wants shares can divide."
KEEP_ALL_TEN = "Make it 10x10 from the start, with zeros, whatever digits occur."
ADD_EACH = (
    "matrix[rows, columns] += 1 adds 1 where a pair occurs, however often it does: count in a "
    "loop, or with torch.bincount."
)

MATRIX: tuple[Fault[Counting], ...] = (
    _matrix_fault(
        "transposed",
        "confusion_matrix has the predicted digits in its rows and the true ones in its columns",
        ROWS_AND_COLUMNS,
        {"place": _turned},
    ),
    *(
        _matrix_fault(
            each.name,
            f"confusion_matrix takes {each.says} for the digit that was read",
            each.hint,
            *({"predict": predict} for predict in each.predictions),
        )
        for each in MISREADINGS
    ),
    _matrix_fault(
        "rows-normalised",
        "confusion_matrix divides each row by its sum",
        COUNTS,
        *_shares(_by_row, _by_row_or_zero),
    ),
    _matrix_fault(
        "columns-normalised",
        "confusion_matrix divides each column by its sum",
        COUNTS,
        *_shares(_by_column, _by_column_or_zero),
    ),
    _matrix_fault(
        "normalised",
        "confusion_matrix divides the counts by the number of examples",
        COUNTS,
        *_shares(_by_all),
    ),
    _matrix_fault(
        "divided-by-largest",
        "confusion_matrix divides the counts by the largest of them",
        COUNTS,
        *_shares(_by_largest),
    ),
    _matrix_fault(
        "counts-once",
        "confusion_matrix counts a pair of true and predicted digit once however often it occurs",
        ADD_EACH,
        {"limit": _once},
        {"overall": _once},
    ),
    _matrix_fault(
        "missing-digits",
        "confusion_matrix has no row and column for a digit that does not occur",
        KEEP_ALL_TEN,
        {"shape": _occurring},
        {"shape": _occurring_in_each},
        {"shape": _occurring_labels},
        {"shape": _up_to_largest},
    ),
    _matrix_fault(
        "wraps",
        "confusion_matrix counts in a type of few bits, in which large counts begin again from the "
        "smallest number",
        "Count in int64: torch.zeros(10, 10, dtype=torch.int64).",
        {"overall": _wrapped(8, signed=False)},
        {"overall": _wrapped(8, signed=True)},
    ),
    _matrix_fault(
        "saturates",
        "confusion_matrix stops counting at the largest number of a small type",
        "Count in int64: torch.zeros(10, 10, dtype=torch.int64).",
        {"overall": lambda counts: counts.clamp(max=255)},
        {"overall": lambda counts: counts.clamp(max=127)},
    ),
    _matrix_fault(
        "carried-over",
        "confusion_matrix goes on from the counts of the call before",
        "Make the matrix of zeros inside the function; a default argument and a global are made "
        "once and kept.",
        {"carried": True},
    ),
    _matrix_fault(
        "only-errors",
        "confusion_matrix leaves out what was read correctly",
        "Every example counts, on the diagonal if it was read correctly.",
        {"keep": _errors},
    ),
    _matrix_fault(
        "only-hits",
        "confusion_matrix counts only what was read correctly",
        "Every example counts: matrix[true][predicted] += 1.",
        {"keep": _hits},
    ),
    _matrix_fault(
        "labels-twice",
        "confusion_matrix uses the true digit for the row and for the column",
        ROWS_AND_COLUMNS,
        {"place": _label_twice},
    ),
    _matrix_fault(
        "predictions-twice",
        "confusion_matrix uses the predicted digit for the row and for the column",
        ROWS_AND_COLUMNS,
        {"place": _read_twice},
    ),
    _matrix_fault(
        "first-batch",
        "confusion_matrix counts the first batch only",
        ALL_BATCHES,
        {"used": _first_part},
    ),
    _matrix_fault(
        "last-batch",
        "confusion_matrix counts the last batch only",
        "Make the matrix of zeros before the loop and add to it in each batch.",
        {"used": _last_part},
    ),
    _matrix_fault(
        "last-batch-dropped",
        "confusion_matrix leaves out the last, short batch",
        "The last batch counts like the others, however short it is.",
        {"used": _before_last},
    ),
    _matrix_fault(
        "first-batch-dropped",
        "confusion_matrix leaves out the first batch",
        "Every batch counts, the first one too.",
        {"used": _after_first},
    ),
    _matrix_fault(
        "every-pair",
        "confusion_matrix counts every label of a batch with every prediction of it",
        "Go through labels and predictions together, with zip, not in two loops.",
        {"place": _grid},
    ),
    _matrix_fault(
        "both-ways",
        "confusion_matrix counts each example twice, once in its cell and once in the mirrored one",
        ROWS_AND_COLUMNS,
        {"place": _both_ways},
    ),
    _matrix_fault(
        "twice",
        "confusion_matrix counts each example twice",
        "matrix[true][predicted] += 1, once an example.",
        {"place": _twice},
    ),
    _matrix_fault(
        "reversed",
        "confusion_matrix has its digits in the order from 9 to 0",
        "Row and column 0 are those of the digit 0.",
        {"place": _from_nine},
    ),
    _matrix_fault(
        "moved",
        "confusion_matrix has its counts a row or a column beside the right one",
        "Row and column 0 are those of the digit 0: nothing is to be added.",
        *({"place": _moved(*by)} for by in ((1, 1), (-1, -1), (1, 0), (-1, 0))),
        {"shape": _from_one},
        {"shape": _one_more},
    ),
    _matrix_fault(
        "one-against-the-rest",
        "confusion_matrix makes a 2x2 table for each digit against the rest",
        "One table of 10x10 is asked for: matrix[true][predicted] += 1.",
        {"shape": _one_against_the_rest},
        {"shape": _all_against_the_rest},
    ),
    _matrix_fault(
        "two-by-two",
        "confusion_matrix tells right from wrong, not digits from each other",
        "One table of 10x10 is asked for: matrix[true][predicted] += 1.",
        {"shape": _two_by_two},
        {"shape": _right_and_wrong},
    ),
    _matrix_fault(
        "with-totals",
        "confusion_matrix adds a row and a column of totals",
        "10x10 counts are asked for, without their sums.",
        {"shape": _with_totals},
    ),
    _matrix_fault(
        "flat",
        "confusion_matrix returns its 100 counts in one line",
        "view(10, 10) or reshape(10, 10) makes a table of them.",
        {"shape": _flat},
    ),
)

MATRIX_PAIRS = tuple(
    replace(fault, changes=tuple(each for each in fault.changes if "rounding" not in _fields(each)))
    for fault in MATRIX
)
"""Tables that are rounded as well are not looked for behind two mistakes."""


# What is observed, not computed


def _seen(name: str, says: str, hint: str) -> Fault[Any]:
    return Fault(f"evaluation.{name}", says, hint, ())


STATE: dict[str, Fault[Any]] = {
    fault.id.removeprefix("evaluation."): fault
    for fault in (
        _seen(
            "swapped",
            "evaluate returns the accuracy first and the loss second.",
            "The order is (loss, accuracy).",
        ),
        _seen(
            "returns-tensors",
            "evaluate returns tensors, not plain numbers.",
            "tensor.item() gives the number of a tensor.",
        ),
        _seen(
            "matrix-not-integers",
            "confusion_matrix returns counts that are not of an integer type.",
            "Count in integers: dtype=torch.int64, or astype(int) at the end.",
        ),
        _seen(
            "no-eval-mode",
            "The model is in train mode while it is measured.",
            "model.eval() belongs before the loop.",
        ),
        _seen(
            "left-in-train-mode",
            "The model is left in train mode.",
            "Leave out model.train(): eval mode is asked for, also afterwards.",
        ),
        _seen(
            "gradients-on",
            "Gradients are recorded while the model is measured.",
            "Put the loop under `with torch.no_grad():`.",
        ),
        _seen(
            "trains",
            "The model is trained while it is measured.",
            "Measuring needs no backward and no optimizer.",
        ),
        _seen(
            "weights-changed",
            "The weights of the model are changed.",
            "Measuring must not change what is measured: no steps, no rounding.",
        ),
        _seen(
            "buffers-changed",
            "The buffers of the model are changed.",
            "Measuring must not change what is measured: no running averages, no rounding.",
        ),
        _seen(
            "gradients-left-off",
            "Gradients are switched off for good.",
            "Use `with torch.no_grad():`, which ends with its block.",
        ),
        _seen(
            "parameters-frozen",
            "The parameters of the model cannot be trained any more.",
            "Leave requires_grad alone: torch.no_grad() is enough.",
        ),
        _seen(
            "default-dtype-changed",
            "PyTorch's default dtype is changed.",
            "Leave out torch.set_default_dtype.",
        ),
        _seen(
            "reseeds",
            "PyTorch's global random numbers are seeded.",
            "Remove torch.manual_seed: whoever calls decides on the seed.",
        ),
        _seen(
            "does-not-run-the-model",
            "The model that is given is not run.",
            "Call model(images) on every batch of the loader.",
        ),
    )
}


def returned_by(
    function: str, exercise: str, faults: Iterable[Fault[Number]]
) -> tuple[Fault[Number], ...]:
    """``faults`` of the numbers that ``function`` of an exercise returns."""
    return tuple(
        replace(
            fault,
            id=f"{exercise}.{fault.id.partition('.')[2]}",
            says=fault.says.format(function=function),
        )
        for fault in faults
    )


NUMBERS = (*AVERAGING, *LOSS_FAULTS, *ACCURACY_FAULTS)
"""Mistakes in the loss and the accuracy, whichever function returns them."""

IN_BOTH = {fault.id: fault for fault in returned_by("evaluate", "evaluation", AVERAGING[::3])}
IN_LOSS = returned_by("evaluate", "evaluation", (*AVERAGING[1::3], *LOSS_FAULTS))
IN_ACCURACY = returned_by("evaluate", "evaluation", (*AVERAGING[2::3], *ACCURACY_FAULTS))

BANK: tuple[Fault[Any], ...] = (
    *returned_by("evaluate", "evaluation", NUMBERS),
    *MATRIX,
    *STATE.values(),
)


def merged(faults: Iterable[Fault[Any]]) -> tuple[Fault[Any], ...]:
    """``faults`` of loss and accuracy, those that both have as one."""
    left = {fault.id: fault for fault in faults}
    for name, both in IN_BOTH.items():
        kind = name.removeprefix("evaluation.")
        of_each = [f"evaluation.{prefix}{kind}" for prefix in ("loss-", "accuracy-")]
        if set(of_each) <= set(left):
            left = {name: both} | {each: left[each] for each in left if each not in of_each}
    return tuple(left.values())
