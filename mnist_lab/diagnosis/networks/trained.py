"""What the lab's training makes of a network's first weights.

It is a function of these alone, and learners who leave PyTorch's own initialisation alone begin
with the same ones: a process trains each once. ``grading/warm.py`` hands what a run has trained to
the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_lab import models, training
from mnist_lab.data import Digits
from mnist_lab.diagnosis import reference
from mnist_lab.training import History

SETTINGS = training.Settings(device="cpu")
"""The course's. Everybody knows their seed: the learner chooses nothing but the first weights."""

MOST = 48
"""Trainings that are remembered, 2 MB each."""


@dataclass(frozen=True)
class Trained:
    """``weights`` by the reference's names and with its axes; ``logits`` (N, 10) of the test digits
    with these.
    """

    history: History
    weights: dict[str, Tensor]
    logits: Tensor

    def accuracy(self, labels: Tensor) -> float:
        """The fraction of the test digits that it reads."""
        return reference.accuracy(self.logits, labels)


_known: dict[str, Trained] = {}


def train(
    first_weights: Mapping[str, Mapping[str, Tensor]], digits: Digits, threads: int
) -> dict[str, Trained]:
    """The course's training of networks, by exercise, from ``first_weights``, which have the
    reference's names. They train together, but for those that were trained before.
    """
    started = {
        exercise: {name: value.detach().float() for name, value in weights.items()}
        for exercise, weights in first_weights.items()
    }
    keys = {exercise: _key(exercise, weights, digits) for exercise, weights in started.items()}
    new = {exercise: started[exercise] for exercise, key in keys.items() if key not in _known}
    made = _train(new, digits, threads) if new else {}
    found = {exercise: made.get(exercise) or _known[key] for exercise, key in keys.items()}
    remember({keys[exercise]: each for exercise, each in made.items()})
    return found


def known() -> dict[str, Trained]:
    """The trainings that this process remembers."""
    return dict(_known)


def remember(trained: Mapping[str, Trained]) -> None:
    """Know these as well; the oldest are forgotten where there are many."""
    _known.update(trained)
    for key in list(_known)[:-MOST]:
        del _known[key]


def _key(exercise: str, weights: Mapping[str, Tensor], digits: Digits) -> str:
    digest = hashlib.sha256(
        f"{exercise} {digits.source} {len(digits.train)} {len(digits.test)}".encode()
    )
    for name in reference.NETWORKS[exercise].axes:
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _train(
    first_weights: Mapping[str, Mapping[str, Tensor]], digits: Digits, threads: int
) -> dict[str, Trained]:
    networks = {exercise: models.MODELS[exercise]() for exercise in first_weights}
    for exercise, model in networks.items():
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        weights = first_weights[exercise]
        model.load_state_dict({name: weights[name].reshape(to) for name, to in shapes.items()})
    with _using(threads):
        histories = training.train_together(networks, digits, SETTINGS)
    return {
        exercise: Trained(
            histories[exercise],
            {
                name: value.reshape(reference.NETWORKS[exercise].axes[name])
                for name, value in model.state_dict().items()
            },
            training.predict(model, digits.test, "cpu"),
        )
        for exercise, model in networks.items()
    }


@contextmanager
def _using(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
