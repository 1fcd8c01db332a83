"""What the grader draws from its seed: generators, images, digits, batches and weights.

Everything is made anew for every seed, and for every check apart, so that a check gives the same
whether it runs alone or with the others.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.reference import normalise

UNITS = 16
"""Units in the hidden layer of the small networks on which training and evaluation are tried."""

SURE = 30.0
"""The loss of a mistake that the model is sure of: 1e-12 added to the probability takes 2.4 away.
scikit-learn cuts probabilities off at 2e-16 in float64, at a loss of 36."""


@dataclass(frozen=True)
class Grader:
    """The source of everything random in a grading, from its ``seed``; ``full`` as its tier."""

    seed: int = 0
    full: bool = False

    def generator(self, name: str) -> torch.Generator:
        """A generator of its own for the check ``name``."""
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def images(generator: torch.Generator, size: int) -> Tensor:
    """Normal random float64 images (N, 1, 28, 28): no border is black, no pixel idle."""
    return torch.randn(size, 1, 28, 28, generator=generator, dtype=torch.float64)


def pixels(generator: torch.Generator, height: int, width: int) -> Tensor:
    """A random uint8 image (H, W), black and white among its values."""
    image = torch.randint(256, (height, width), generator=generator, dtype=torch.uint8)
    image[0, 0], image[-1, -1] = 0, 255
    return image


def digits(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) float32 as of ``size`` digits, and their labels.

    Ten shapes of smooth strokes, each with noise on it and moved by up to two pixels; with MNIST's
    share of ink, its black borders and its normalisation.
    """
    coarse = torch.randn(10, 1, 7, 7, generator=generator)
    smooth = F.interpolate(coarse, (20, 20), mode="bicubic").flatten(1)
    ink = torch.sigmoid(12 * (smooth - smooth.quantile(0.75, dim=1, keepdim=True)))
    labels = torch.randperm(size, generator=generator) % 10
    moves = torch.randint(-2, 3, (size, 2), generator=generator).tolist()
    noise = 0.05 * torch.randn(size, 20, 20, generator=generator)
    written = F.pad((ink.view(10, 20, 20)[labels] + noise).clamp(0, 1), (4, 4, 4, 4))
    light = torch.stack(
        [each.roll(move, (0, 1)) for each, move in zip(written, moves, strict=True)]
    )
    return normalise((255 * light).to(torch.uint8)).float(), labels


def fnn_weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Normal random float64 weights of a small ``reference.fnn``, its layers' outputs near 1."""
    return {
        "hidden.weight": _normal(generator, UNITS, 784) / 28,
        "hidden.bias": _normal(generator, UNITS),
        "output.weight": _normal(generator, 10, UNITS) / math.sqrt(UNITS / 2),
        "output.bias": _normal(generator, 10),
    }


def normed_weights(generator: torch.Generator) -> dict[str, Tensor]:
    """As ``fnn_weights`` for ``reference.normed_fnn``; the running averages are far from those of
    any batch.
    """
    return fnn_weights(generator) | {
        "norm.weight": 1 + _normal(generator, UNITS).abs(),
        "norm.bias": _normal(generator, UNITS),
        "norm.running_mean": 2 * _normal(generator, UNITS),
        "norm.running_var": 2 + _normal(generator, UNITS).abs(),
    }


def near(generator: torch.Generator, value: float) -> float:
    """A number of two digits, up to a fifth from ``value``."""
    off = 0.4 * float(torch.rand((), generator=generator)) - 0.2
    return float(f"{value * (1 + off):.2g}")


def plus(generator: torch.Generator) -> Tensor:
    """What is added to a model's scores and only the grader knows: (10,), whole numbers, so that
    scores that are whole stay so.
    """
    return torch.randint(-2, 3, (10,), generator=generator).double()


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
