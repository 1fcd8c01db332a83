"""What the handouts ask for, as mathematics and as the texts in which mistakes are made.

Nothing here holds state or draws a random number. The arithmetic is done in the dtype that comes
in; the checks bring float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.contract import DENSE, DIGITS, FILTERS, HIDDEN, MEAN, SIDE, STD

Weights = Mapping[str, Tensor]
Batch = tuple[Tensor, Tensor]
Forward = Callable[[Weights, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


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
        x = _compiled(stage)(w, x)
    return x


@cache
def _compiled(stage: str) -> Forward:
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


def linear(w: Weights, images: Tensor) -> Tensor:
    """A single layer, of an image's first pixel."""
    return F.linear(images[:, 0, 0, :1], w["output.weight"], w["output.bias"])


def batches(images: Tensor, labels: Tensor, size: int) -> list[Batch]:
    """In order, the last one as short as it comes."""
    return list(zip(images.split(size), labels.split(size), strict=True))


class Adam:
    """Kingma and Ba, 2015, algorithm 1; AMSGrad: Reddi et al., 2018. PyTorch's settings.

    Not ``torch.optim.Adam``, which imports PyTorch's compiler first, for more than a second.
    ``corrected`` and ``eps_in_root`` are what those get wrong who write it themselves.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
        corrected: bool = True,
        eps_in_root: bool = False,
    ) -> None:
        self.parameters, self.eps = list(parameters), eps
        self.weight_decay, self.amsgrad, self.maximize = weight_decay, amsgrad, maximize
        self.corrected, self.eps_in_root = corrected, eps_in_root
        self.param_groups: list[dict[str, Any]] = [{"lr": lr, "betas": betas}]
        self.m = [torch.zeros_like(w) for w in self.parameters]
        self.v = [torch.zeros_like(w) for w in self.parameters]
        self.largest = [torch.zeros_like(w) for w in self.parameters]
        self.t = 0

    @torch.no_grad()
    def step(self) -> None:
        self.t += 1
        lr, (beta1, beta2) = self.param_groups[0].values()
        unbias1, unbias2 = 1 - beta1**self.t, 1 - beta2**self.t
        if not self.corrected:
            unbias1 = unbias2 = 1.0
        for w, m, v, largest in zip(self.parameters, self.m, self.v, self.largest, strict=True):
            if w.grad is None:
                continue
            g = -w.grad if self.maximize else w.grad
            g = g.add(w, alpha=self.weight_decay) if self.weight_decay else g
            m.mul_(beta1).add_(g, alpha=1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            if self.amsgrad:
                v = torch.maximum(largest, v, out=largest)
            v_hat = v / unbias2
            root = (v_hat + self.eps).sqrt() if self.eps_in_root else v_hat.sqrt() + self.eps
            w.addcdiv_(m, root, value=-lr / unbias1)


TRAINING = """\
def train_epoch(model, loader, optimizer, loss_fn):
    steps = []
    for batch, (images, labels) in enumerate(loader):
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        steps.append(record(labels, scores, loss))
    return steps


def train(model, loader, epochs, lr):
    loss_fn = cross_entropy
    optimizer = Adam(
        model.parameters(),
        lr=lr,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        maximize=False,
    )
    history = []
    for epoch in range(epochs):
        history.append(train_epoch(model, loader, optimizer, loss_fn))
    return history
"""
"""The steps of both functions, as a text in which mistakes are made; ``record`` keeps of each what
the numbers that are returned need."""

MEAN_OVER_EXAMPLES = """

def mean(batches):
    total, count = 0.0, 0
    for scores, labels in batches:
        total += value(scores, labels) * len(labels)
        count += len(labels)
    result = total / count
    return result


def history(epochs):
    return map(mean, epochs)
"""

LOSS = f"""
def loss(scores, labels):
    return loss_fn(scores, labels)
{MEAN_OVER_EXAMPLES}"""
"""The mean over all examples of the loss of a batch, which is a mean over its own. ``history`` has
one for each epoch or call."""

ACCURACY = f"""
def accuracy(scores, labels):
    predictions = scores.argmax(1)
    return (predictions == labels).double().sum() / len(scores)
{MEAN_OVER_EXAMPLES}"""
"""The mean over all examples of the share of a batch that is right."""

MATRIX = """
def confusion_matrix(batches):
    matrix = torch.zeros(10, 10, dtype=torch.float64)
    for scores, labels in batches:
        predictions = scores.argmax(1)
        matrix += counts(labels, predictions)
    return matrix
"""
"""Rows are labels, columns predictions."""
