"""Mistakes of ``evaluate`` that ``train_epoch`` and ``train`` make as well in the numbers that they
return. What ``training.py`` knows too has its name there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mnist_lab.diagnosis.faults import evaluation, training
from mnist_lab.diagnosis.faults.evaluation import Number
from mnist_lab.diagnosis.match import Fault

__all__ = ["BANK", "in_accuracy", "in_loss"]

OWN = {
    **{
        f"{number}-{name}": f"{number}-{own}"
        for number in ("loss", "accuracy")
        for name, own in (
            ("mean-of-batch-means", "mean-of-means"),
            ("sum-of-batch-means", "sum"),
            ("batch-means-by-examples", "per-example"),
            ("by-batches", "per-batch"),
            ("last-batch-as-if-full", "full-batches"),
        )
    },
    "loss-rounded": "rounded",
    "loss-whole-number": "rounded",
    "loss-negative": "negative-loss",
    "accuracy-rounded": "rounded",
    "accuracy-percent": "percent",
    "accuracy-argmin": "argmin",
    "accuracy-every-pair": "broadcast",
    "accuracy-top-k": "top-k",
    "accuracy-error-rate": "error-rate",
}
"""The names that the same mistakes have in ``training.py``."""

UNSEEN = {
    *("loss-carried-over", "accuracy-carried-over"),
    *("accuracy-all-or-nothing", "accuracy-whole-percent"),
}
"""What a few epochs, with several losses, do not show."""


def in_loss(function: str) -> tuple[Fault[Number], ...]:
    """Those of the loss that ``function`` returns."""
    return _returned_by(function, (*evaluation.AVERAGING[1::3], *evaluation.LOSS_FAULTS))


def in_accuracy(function: str) -> tuple[Fault[Number], ...]:
    """Those of the accuracy that ``function`` returns."""
    return _returned_by(function, (*evaluation.AVERAGING[2::3], *evaluation.ACCURACY_FAULTS))


def _returned_by(function: str, faults: Iterable[Fault[Number]]) -> tuple[Fault[Number], ...]:
    told = []
    for fault in evaluation.returned_by(function, "training", faults):
        name = fault.id.removeprefix("training.")
        if name in OWN:
            own = training.entry(OWN[name])
            told.append(replace(fault, id=own.id, says=own.says, hint=own.hint))
        elif name not in UNSEEN:
            told.append(fault)
    return tuple(told)


BANK = tuple(
    fault
    for fault in (*in_loss("train_epoch"), *in_accuracy("train_epoch"))
    if fault.id not in {known.id for known in training.BANK}
)
"""Those that ``training.py`` does not know."""
