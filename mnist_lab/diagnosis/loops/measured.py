"""Mistakes of ``evaluate`` that ``train_epoch`` and ``train`` make as well in the numbers that they
return. What ``loops/bank.py`` knows too has its name there.
"""

from __future__ import annotations

from dataclasses import replace

from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.loops import bank
from mnist_lab.diagnosis.measures import bank as measures

__all__ = ["BANK", "in_number"]

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
"""The names that the same mistakes have among those of training."""

UNSEEN = {
    *("loss-carried-over", "accuracy-carried-over"),
    *("accuracy-all-or-nothing", "accuracy-whole-percent"),
}
"""What a few epochs, with several losses, do not show."""


def in_number(number: str, function: str, paired: bool = False) -> tuple[Fault[str], ...]:
    """Those of the "loss" or the "accuracy" that ``function`` returns; in the ways to try beside
    another mistake if ``paired``.
    """
    told = []
    for fault in measures.in_number(number, function, "training", paired):
        name = fault.id.removeprefix("training.")
        if name in OWN:
            own = bank.entry(OWN[name])
            told.append(replace(fault, id=own.id, says=own.says, hint=own.hint))
        elif name not in UNSEEN:
            told.append(fault)
    return tuple(told)


BANK = tuple(
    fault
    for fault in (*in_number("loss", "train_epoch"), *in_number("accuracy", "train_epoch"))
    if fault.id not in {known.id for known in bank.BANK}
)
"""Those that training does not know."""
