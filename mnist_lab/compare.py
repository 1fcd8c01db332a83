"""Train the three classifiers on the same digits and collect what there is to compare.

A ``Comparison`` is plain data: the report, the plots and ``results.json`` are made from it alone.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

import mnist_lab
from mnist_lab.data import Digits
from mnist_lab.models import MODELS
from mnist_lab.training import History, Settings, Watch, predict, resolve_device, train_together

TITLES = {
    "logistic_regression": "Logistic regression",
    "fnn": "Feed-forward network",
    "cnn": "Convolutional network",
}


@dataclass(frozen=True)
class Confusion:
    """``count`` of the ``of`` test digits ``true`` were read as ``predicted``."""

    true: int
    predicted: int
    count: int
    of: int


@dataclass(frozen=True)
class Result:
    """What one model learned: its history, weights and answers to the test digits.

    ``probabilities`` float32 (N, 10): softmax of the outputs for the test digits, in their order.
    ``weights``: the model's ``state_dict``, on the CPU, of its last finished epoch.
    """

    name: str
    title: str
    parameters: int
    history: History
    probabilities: np.ndarray
    confusion_matrix: np.ndarray
    weights: dict[str, Tensor]

    @property
    def tested(self) -> int:
        return int(self.confusion_matrix.sum())

    @property
    def accuracy(self) -> float:
        """The share of the test digits that were read right."""
        return int(self.confusion_matrix.trace()) / self.tested

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 % confidence interval, Wilson's, which stays inside of [0, 1]."""
        from scipy.stats import binomtest  # Plots import it as well, while models are trained.

        right = binomtest(int(self.confusion_matrix.trace()), self.tested)
        low, high = right.proportion_ci(method="wilson")
        return float(low), float(high)

    @property
    def test_loss(self) -> float:
        """The mean cross-entropy on the test digits after the last finished epoch."""
        return self.history.epochs[-1].test_loss

    @property
    def predictions(self) -> np.ndarray:
        """The digit (N,) that each test digit was read as."""
        return self.probabilities.argmax(1)

    def worst_confusions(self, most: int = 5) -> list[Confusion]:
        """The most frequent misreadings, most frequent first."""
        of = self.confusion_matrix.sum(1)
        wrong = [
            Confusion(true, predicted, int(count), int(of[true]))
            for (true, predicted), count in np.ndenumerate(self.confusion_matrix)
            if true != predicted and count
        ]
        return sorted(wrong, key=lambda c: (-c.count, c.true, c.predicted))[:most]


@dataclass(frozen=True)
class Comparison:
    """Models trained on the same digits with the same settings.

    ``results`` holds the models with at least one finished epoch, in the order asked for;
    ``missing`` has a sentence for each missing model or epoch; ``seconds`` maps what the
    time went into: ``training`` in all, ``evaluation`` of the final answers. ``beside`` holds
    models to compare these with: the kit's own, beside a learner's.
    """

    digits: Digits
    settings: Settings
    device: str
    results: tuple[Result, ...]
    missing: tuple[str, ...]
    interrupted: bool
    seconds: dict[str, float]
    versions: dict[str, str]
    machine: str
    beside: tuple[Result, ...] = ()


def compare(
    digits: Digits,
    settings: Settings = Settings(),
    models: Mapping[str, Callable[[], nn.Module]] = MODELS,
    watch: Watch | None = None,
) -> Comparison:
    """Train ``models``, by the names that ``TITLES`` has, side by side on ``digits`` and test them.

    Each model starts from ``settings.seed``, so that its result does not depend on which others
    are trained. Raises what ``train_together`` raises.
    """
    device = resolve_device(settings.device)
    started = time.perf_counter()
    networks = {}
    for name, make in models.items():
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            networks[name] = make()
    histories = train_together(networks, digits, settings, watch=watch)
    trained = time.perf_counter()
    results = tuple(
        result_of(
            name,
            history,
            predict(networks[name], digits.test, str(device)),
            digits.test.labels,
            networks[name].state_dict(),
        )
        for name, history in histories.items()
        if history.epochs
    )
    finished = time.perf_counter()
    return Comparison(
        digits=digits,
        settings=settings,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        results=results,
        missing=tuple(
            f"{TITLES[name]}: {history.stopped}"
            for name, history in histories.items()
            if history.stopped
        ),
        interrupted=any(history.interrupted for history in histories.values()),
        seconds={"training": trained - started, "evaluation": finished - trained},
        versions={
            "mnist-lab": mnist_lab.__version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "numpy", "matplotlib")},
        },
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
    )


def result_of(
    name: str, history: History, logits: Tensor, labels: Tensor, weights: Mapping[str, Tensor]
) -> Result:
    """The result of the model ``name`` from its outputs (N, 10) for digits with ``labels`` (N,)."""
    probabilities = logits.float().softmax(1)
    pairs = labels * 10 + probabilities.argmax(1)
    return Result(
        name=name,
        title=TITLES[name],
        parameters=sum(value.numel() for value in weights.values()),
        history=history,
        probabilities=probabilities.numpy(),
        confusion_matrix=torch.bincount(pairs, minlength=100).view(10, 10).numpy(),
        weights={key: value.detach().cpu().clone() for key, value in weights.items()},
    )
