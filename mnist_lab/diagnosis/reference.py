"""What the handouts ask for, written as mathematics: functions of given weights, batches, images.

Nothing here holds state or draws a random number. The arithmetic is done in the dtype that comes
in; the checks bring float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.contract import DENSE, DIGITS, FILTERS, HIDDEN, MEAN, SIDE, STD

__all__ = [
    "CONVOLUTION",
    "LINEAR",
    "MEAN",
    "NETWORKS",
    "STD",
    "Epoch",
    "Network",
    "Weights",
    "accuracy",
    "adam",
    "batches",
    "confusion_matrix",
    "cross_entropy",
    "fnn",
    "normalise",
    "normed_fnn",
    "sgd",
    "through",
    "train",
    "train_epoch",
]

Weights = Mapping[str, Tensor]
Batch = tuple[Tensor, Tensor]
Forward = Callable[[Weights, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Weights, Weights], dict[str, Tensor]]
"""An optimizer: from weights and gradients to the weights after its step."""


# The images


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) -> (N, 1, 28, 28): scaled to [0, 1], then standardised with MNIST's mean
    and standard deviation.
    """
    return ((images.double() / 255 - MEAN) / STD).unsqueeze(1)


# The networks: images (N, 1, 28, 28) -> (N, 10)


LINEAR = "F.linear(x.flatten(1), w['{0}.weight'].flatten(1), w['{0}.bias'])"
CONVOLUTION = "F.conv2d(x, w['{0}.weight'], w['{0}.bias'], padding=1)"


@dataclass(frozen=True)
class Network:
    """The stages of a network in their order, and the axes of its weights.

    A stage is an expression of its weights ``w`` and of what goes in, ``x``. ``axes`` gives the
    sizes of each weight as (outputs, inputs...), a dense layer's inputs as the axes of the image or
    the feature maps that are flattened into it. ``changed`` names the stages that are no longer
    what is asked for.
    """

    stages: Mapping[str, str]
    axes: Mapping[str, tuple[int, ...]]
    changed: frozenset[str] = frozenset()

    @property
    def layers(self) -> list[str]:
        """The stages that have weights."""
        return [name.removesuffix(".weight") for name in self.axes if name.endswith(".weight")]

    def forward(self, w: Weights, images: Tensor) -> Tensor:
        return through(self.stages.values(), w, images)


def through(stages: Iterable[str], w: Weights, x: Tensor) -> Tensor:
    """What comes out of the stages, one after another."""
    for stage in stages:
        x = compiled(stage)(w, x)
    return x


@cache
def compiled(stage: str) -> Forward:
    names = {"torch": torch, "F": F, "MEAN": MEAN, "STD": STD}
    function: Forward = eval(f"lambda w, x: {stage}", names)
    return function


NETWORKS = {
    "logistic_regression": Network(
        {"linear": LINEAR.format("linear"), "sigmoid": "torch.sigmoid(x)"},
        {"linear.weight": (DIGITS, SIDE, SIDE), "linear.bias": (DIGITS,)},
    ),
    "fnn": Network(
        {
            "hidden": LINEAR.format("hidden"),
            "relu": "F.relu(x)",
            "output": LINEAR.format("output"),
        },
        {
            "hidden.weight": (HIDDEN, SIDE, SIDE),
            "hidden.bias": (HIDDEN,),
            "output.weight": (DIGITS, HIDDEN),
            "output.bias": (DIGITS,),
        },
    ),
    "cnn": Network(
        {
            "conv1": CONVOLUTION.format("conv1"),
            "relu1": "F.relu(x)",
            "pool1": "F.max_pool2d(x, 2)",
            "conv2": CONVOLUTION.format("conv2"),
            "relu2": "F.relu(x)",
            "pool2": "F.max_pool2d(x, 2)",
            "hidden": LINEAR.format("hidden"),
            "relu3": "F.relu(x)",
            "output": LINEAR.format("output"),
        },
        {
            "conv1.weight": (FILTERS[0], 1, 3, 3),
            "conv1.bias": (FILTERS[0],),
            "conv2.weight": (FILTERS[1], FILTERS[0], 3, 3),
            "conv2.bias": (FILTERS[1],),
            "hidden.weight": (DENSE, FILTERS[1], SIDE // 4, SIDE // 4),
            "hidden.bias": (DENSE,),
            "output.weight": (DIGITS, DENSE),
            "output.bias": (DIGITS,),
        },
    ),
}

fnn = NETWORKS["fnn"].forward
"""Of any size: one hidden layer with as many units as there are weights for."""


# The metrics: logits (N, 10) and labels (N,)


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean over the examples of -ln softmax(logits)[label].

    ``smoothing`` mixes the one-hot target with the uniform distribution (Szegedy et al.,
    "Rethinking the Inception architecture for computer vision", 2016).
    """
    log_p = logits - logits.logsumexp(1, keepdim=True)
    of_label = log_p.gather(1, labels.unsqueeze(1)).squeeze(1)
    return -((1 - smoothing) * of_label + smoothing * log_p.mean(1)).mean()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The fraction of examples whose largest logit is that of their label."""
    return (logits.argmax(1) == labels).double().mean().item()


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 (10, 10): how many examples of the row's digit were taken for the column's."""
    return torch.bincount(10 * labels + logits.argmax(1), minlength=100).view(10, 10)


# Training, of networks with as few units as a check likes


def normed_fnn(w: Weights, images: Tensor, training: bool = True) -> Tensor:
    """As ``fnn`` with batch normalisation before the ReLU: by the batch's own mean and variance
    in training, else by the running ones (Ioffe and Szegedy, "Batch normalization", 2015).
    """
    x = F.linear(images.flatten(1), w["hidden.weight"], w["hidden.bias"])
    if training:
        mean, variance = x.mean(0), x.var(0, unbiased=False)
    else:
        mean, variance = w["norm.running_mean"], w["norm.running_var"]
    x = (x - mean) / (variance + 1e-5).sqrt() * w["norm.weight"] + w["norm.bias"]
    return F.linear(F.relu(x), w["output.weight"], w["output.bias"])


def batches(images: Tensor, labels: Tensor, size: int) -> list[Batch]:
    """In order, the last one as short as it comes."""
    return list(zip(images.split(size), labels.split(size), strict=True))


def sgd(lr: float, momentum: float = 0.0) -> Step:
    """Gradient descent with momentum: v = momentum v + g, w = w - lr v."""
    velocity: dict[str, Tensor] = {}

    def step(w: Weights, g: Weights) -> dict[str, Tensor]:
        for name in g:
            velocity[name] = momentum * velocity.get(name, 0) + g[name]
        return {**w, **{name: w[name] - lr * velocity[name] for name in g}}

    return step


def adam(lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Step:
    """Adam (Kingma and Ba, 2015, algorithm 1), PyTorch's defaults."""
    m: dict[str, Tensor] = {}
    v: dict[str, Tensor] = {}
    t = 0

    def step(w: Weights, g: Weights) -> dict[str, Tensor]:
        nonlocal t
        t += 1
        after = dict(w)
        for name in g:
            m[name] = beta1 * m.get(name, 0) + (1 - beta1) * g[name]
            v[name] = beta2 * v.get(name, 0) + (1 - beta2) * g[name] ** 2
            m_hat, v_hat = m[name] / (1 - beta1**t), v[name] / (1 - beta2**t)
            after[name] = w[name] - lr * m_hat / (v_hat.sqrt() + eps)
        return after

    return step


@dataclass(frozen=True)
class Epoch:
    """The weights after an epoch; mean loss and accuracy of the outputs before each step."""

    weights: dict[str, Tensor]
    loss: float
    accuracy: float


def train_epoch(
    forward: Forward, w: Weights, data: Iterable[Batch], step: Step, loss: Loss = cross_entropy
) -> Epoch:
    """A step for every batch of ``data``; ``running_...`` entries of ``w`` stay as they are."""
    total, right, examples = 0.0, 0.0, 0
    for images, labels in data:
        leaves = {
            name: value.clone().requires_grad_()
            for name, value in w.items()
            if "running" not in name
        }
        logits = forward({**w, **leaves}, images)
        value = loss(logits, labels)
        gradients = torch.autograd.grad(value, list(leaves.values()))
        w = step(w, dict(zip(leaves, gradients, strict=True)))
        total += value.item() * len(labels)
        right += accuracy(logits.detach(), labels) * len(labels)
        examples += len(labels)
    return Epoch(dict(w), total / examples, right / examples)


def train(
    forward: Forward, w: Weights, data: Sequence[Batch], epochs: int = 10, lr: float = 1e-3
) -> list[Epoch]:
    """``epochs`` passes over ``data`` with one Adam."""
    step, history = adam(lr), []
    for _ in range(epochs):
        history.append(train_epoch(forward, w, data, step))
        w = history[-1].weights
    return history
