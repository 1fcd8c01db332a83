"""Mistakes of ``evaluate`` that ``train_epoch`` and ``train`` make as well in the numbers that they
return: those that ``training.py`` does not know from the replay of the steps.
"""

from __future__ import annotations

from mnist_lab.diagnosis.faults import evaluation, training
from mnist_lab.diagnosis.faults.evaluation import Number
from mnist_lab.diagnosis.match import Fault

__all__ = ["BANK", "in_accuracy", "in_loss"]

OTHERWISE = {
    f"training.accuracy-{name}"
    for name in (
        "mean-of-batch-means",
        "sum-of-batch-means",
        "batch-means-by-examples",
        "by-batches",
        "last-batch-as-if-full",
        "percent",
        "rounded",
        "whole-percent",
        "argmin",
        "every-pair",
        "top-k",
        "error-rate",
    )
}
"""What ``training.py`` has under names of its own."""

UNSEEN = {
    f"training.{name}"
    for name in (
        "loss-carried-over",
        "loss-whole-number",
        "accuracy-carried-over",
        "accuracy-all-or-nothing",
        "accuracy-of-best-score",
    )
}
"""What a few epochs do not show without doubt: an accuracy of 0 comes of many mistakes."""

KNOWN = {fault.id for fault in training.BANK} | OTHERWISE | UNSEEN


def in_loss(function: str) -> tuple[Fault[Number], ...]:
    """Those of the loss that ``function`` returns."""
    faults = (*evaluation.AVERAGING[1::3], *evaluation.LOSS_FAULTS)
    return evaluation.returned_by(function, "training", faults)


def in_accuracy(function: str) -> tuple[Fault[Number], ...]:
    """Those of the accuracy that ``function`` returns."""
    faults = (*evaluation.AVERAGING[2::3], *evaluation.ACCURACY_FAULTS)
    return evaluation.returned_by(function, "training", faults)


BANK = tuple(
    fault
    for fault in (*in_loss("train_epoch"), *in_accuracy("train_epoch"))
    if fault.id not in KNOWN
)
