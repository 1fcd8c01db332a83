"""What the handouts ask for, written as mathematics: functions of given weights, batches, images.

Nothing here holds state or draws a random number. The arithmetic is done in the dtype that comes
in; the checks bring float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "MEAN",
    "NETWORKS",
    "RETURNED",
    "SGD",
    "STD",
    "TRAINING",
    "Adam",
    "Network",
    "Stage",
    "Weights",
    "accuracy",
    "batches",
    "confusion_matrix",
    "cross_entropy",
    "fnn",
    "normalise",
    "normed_fnn",
]

Weights = Mapping[str, Tensor]
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Stage = Callable[[Weights, Tensor], Tensor]
"""A step of a network: what comes out of it for its weights and what goes in."""

MEAN, STD = 0.1307, 0.3081


# The images


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) -> (N, 1, 28, 28): scaled to [0, 1], then standardised with MNIST's mean
    and standard deviation.
    """
    return ((images.double() / 255 - MEAN) / STD).unsqueeze(1)


# The networks: images (N, 1, 28, 28) -> (N, 10)


def linear(x: Tensor, w: Weights, layer: str) -> Tensor:
    return x.flatten(1) @ w[f"{layer}.weight"].flatten(1).T + w[f"{layer}.bias"]


def convolution(x: Tensor, w: Weights, layer: str) -> Tensor:
    return F.conv2d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], padding=1)


def linear_with(layer: str) -> Stage:
    return lambda w, x: linear(x, w, layer)


def convolution_with(layer: str) -> Stage:
    return lambda w, x: convolution(x, w, layer)


def relu(w: Weights, x: Tensor) -> Tensor:
    return F.relu(x)


def sigmoid(w: Weights, x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def max_pool(w: Weights, x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


@dataclass(frozen=True)
class Network:
    """The stages of a network in their order, and the axes of its weights.

    ``axes`` gives the sizes of each weight as (outputs, inputs...), a dense layer's inputs as the
    axes of the image or the feature maps that are flattened into it. ``changed`` names the stages
    that are no longer what is asked for.
    """

    stages: Mapping[str, Stage]
    axes: Mapping[str, tuple[int, ...]]
    changed: frozenset[str] = frozenset()

    def forward(self, w: Weights, images: Tensor) -> Tensor:
        x = images
        for stage in self.stages.values():
            x = stage(w, x)
        return x


NETWORKS = {
    "logistic_regression": Network(
        {"linear": linear_with("linear"), "sigmoid": sigmoid},
        {"linear.weight": (10, 28, 28), "linear.bias": (10,)},
    ),
    "fnn": Network(
        {"hidden": linear_with("hidden"), "relu": relu, "output": linear_with("output")},
        {
            "hidden.weight": (256, 28, 28),
            "hidden.bias": (256,),
            "output.weight": (10, 256),
            "output.bias": (10,),
        },
    ),
    "cnn": Network(
        {
            "conv1": convolution_with("conv1"),
            "relu1": relu,
            "pool1": max_pool,
            "conv2": convolution_with("conv2"),
            "relu2": relu,
            "pool2": max_pool,
            "hidden": linear_with("hidden"),
            "relu3": relu,
            "output": linear_with("output"),
        },
        {
            "conv1.weight": (16, 1, 3, 3),
            "conv1.bias": (16,),
            "conv2.weight": (32, 16, 3, 3),
            "conv2.bias": (32,),
            "hidden.weight": (128, 32, 7, 7),
            "hidden.bias": (128,),
            "output.weight": (10, 128),
            "output.bias": (10,),
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
    x = linear(images, w, "hidden")
    if training:
        mean, variance = x.mean(0), x.var(0, unbiased=False)
    else:
        mean, variance = w["norm.running_mean"], w["norm.running_var"]
    x = (x - mean) / (variance + 1e-5).sqrt() * w["norm.weight"] + w["norm.bias"]
    return linear(F.relu(x), w, "output")


def batches(images: Tensor, labels: Tensor, size: int) -> list[Batch]:
    """In order, the last one as short as it comes."""
    return list(zip(images.split(size), labels.split(size), strict=True))


class SGD:
    """Gradient descent with momentum: v = momentum v + g, w = w - lr v."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.0) -> None:
        self.parameters, self.momentum = list(parameters), momentum
        self.param_groups = [{"lr": lr}]
        self.velocity: dict[int, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        for i, w in enumerate(self.parameters):
            if w.grad is not None:
                v = w.grad
                if self.momentum:
                    v = v + self.momentum * self.velocity.get(i, torch.zeros_like(v))
                    self.velocity[i] = v
                w.sub_(v, alpha=self.param_groups[0]["lr"])


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
        self.parameters, self.betas, self.eps = list(parameters), betas, eps
        self.weight_decay, self.amsgrad, self.maximize = weight_decay, amsgrad, maximize
        self.corrected, self.eps_in_root = corrected, eps_in_root
        self.param_groups = [{"lr": lr}]
        self.m = [torch.zeros_like(w) for w in self.parameters]
        self.v = [torch.zeros_like(w) for w in self.parameters]
        self.largest = [torch.zeros_like(w) for w in self.parameters]
        self.t = 0

    @torch.no_grad()
    def step(self) -> None:
        self.t += 1
        (beta1, beta2), (lr,) = self.betas, self.param_groups[0].values()
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
``RETURNED`` needs."""

RETURNED = """\
def returned(epochs):
    history = []
    for steps in epochs:
        total, correct, examples = 0.0, 0, 0
        for step in steps:
            total += step.loss * len(step.labels)
            correct += (step.scores.argmax(1) == step.labels).sum().item()
            examples += len(step.labels)
        loss, accuracy = total / examples, correct / examples
        history.append((loss, accuracy))
    return history
"""
"""What both functions return for each epoch: the mean loss and the fraction of right answers, of
scores and losses that were computed before each step."""
