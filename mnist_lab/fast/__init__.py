"""The steps of the three reference models on a CPU: the same mathematics, many times as fast.

PyTorch spends most of such a step on anything but arithmetic: the autograd graph, small tensors,
activations that travel through memory. ``fast.c`` does a whole step in one pass; this module gives
it the models' parameters. Where it could not be compiled, PyTorch trains these models, too.
"""

from __future__ import annotations

import copy
import ctypes

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_lab.fast.libraries import ADVICE, library, pool
from mnist_lab.models import CNN, FNN, LogisticRegression


class _Network(ctypes.Structure):
    """``Network`` of ``fast.c``."""

    _fields_ = (
        ("convolutional", ctypes.c_int),
        ("hidden", ctypes.c_int),
        ("sigmoid", ctypes.c_int),
    )


_NETWORKS: dict[type[nn.Module], _Network] = {
    LogisticRegression: _Network(convolutional=0, hidden=0, sigmoid=1),
    FNN: _Network(convolutional=0, hidden=256, sigmoid=0),
    CNN: _Network(convolutional=1, hidden=128, sigmoid=0),
}

_SIZES = {
    LogisticRegression: ((10, 784), (10,)),
    FNN: ((256, 784), (256,), (10, 256), (10,)),
    CNN: (
        *((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,)),
        *((128, 1568), (128,), (10, 128), (10,)),
    ),
}
"""The parameters for which ``fast.c`` was made, in the models' order."""


def compiled() -> ctypes.CDLL | None:
    """``fast.c``, where it could be compiled and agrees with PyTorch."""
    return library("fast.c", _agrees)


def _agrees(made: ctypes.CDLL) -> bool:
    """Whether two steps and the answers after them are those of PyTorch, on images of which most
    is background; whoever asks may have set whatever PyTorch lets one set.
    """
    with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
        return all(_agrees_on(kind, made) for kind in _NETWORKS if not other_sizes(kind))


def _agrees_on(kind: type[nn.Module], made: ctypes.CDLL) -> bool:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    images = noise(5, 1, 28, 28).sub_(1).relu_().sub_(0.4)
    labels = torch.arange(5, device="cpu")
    with torch.random.fork_rng(devices=[]):
        model = kind().to("cpu", torch.float32)
    for parameter in model.parameters():
        parameter.data = noise(*parameter.shape).mul_(0.05)
    plain = copy.deepcopy(model)
    optimizer = torch.optim.Adam(plain.parameters())
    outputs = []
    for batch, answers in zip(images.split(3), labels.split(3), strict=True):
        optimizer.zero_grad()
        outputs.append(plain(batch))
        F.cross_entropy(outputs[-1], answers).backward()
        optimizer.step()
    learned = FastSteps(model, 1e-3, made).learn(images, labels, 3)
    with torch.no_grad():
        expected = torch.cat([*outputs, plain(images)])
        given = torch.cat([learned, fast_forward(model, images, made)])
        weights = zip(model.parameters(), plain.parameters(), strict=True)
        # Where a gradient is nearly nothing, Adam makes a whole step of its rounding.
        off = torch.stack([(ours - torchs).abs().mean() for ours, torchs in weights])
    return torch.allclose(given, expected, atol=1e-3) and bool((off < 2e-5).all())


def slow_because(kind: type[nn.Module]) -> str:
    """Why PyTorch trains such a model on a CPU, as a sentence; empty if C does."""
    if other_sizes(kind):
        return f"PyTorch trains {kind.__name__}, more slowly: the C code is made for other sizes."
    if compiled() is None:
        return f"PyTorch trains the models, more slowly, since no C compiler works here: {ADVICE}."
    return ""


def other_sizes(kind: type[nn.Module]) -> bool:
    """Whether such models have other sizes than those for which ``fast.c`` was made."""
    with torch.device("meta"):  # Nothing is drawn.
        return not _has_the_sizes(kind())


def _has_the_sizes(model: nn.Module) -> bool:
    return tuple(tuple(value.shape) for value in model.parameters()) == _SIZES.get(type(model))


def suits(model: nn.Module, device: torch.device) -> bool:
    """Whether ``model`` is one of the three with the sizes that C was made for, all of it trained,
    in float32 on a CPU for which C was compiled.
    """
    return (
        type(model) in _NETWORKS
        and _has_the_sizes(model)
        and all(parameter.requires_grad for parameter in model.parameters())
        and device.type == "cpu"
        and all(
            parameter.dtype == torch.float32 and parameter.device.type == "cpu"
            for parameter in model.parameters()
        )
        and compiled() is not None
    )


class FastSteps:
    """Adam with PyTorch's defaults and the mean cross-entropy, for a model that ``suits``.

    The model's parameters become views of one vector, which ``learn`` changes in place. ``mean``
    and ``square`` are Adam's, in the vector's order. ``made`` is ``compiled()`` unless given.
    """

    def __init__(
        self, model: nn.Module, learning_rate: float, made: ctypes.CDLL | None = None
    ) -> None:
        self.made = made
        self.network = _NETWORKS[type(model)]
        self.learning_rate = learning_rate
        self.vector = as_vector(model)
        for parameter, value in zip(model.parameters(), views(model, self.vector), strict=True):
            parameter.data = value
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.steps = 0

    def learn(self, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """A step for each batch of ``images`` (N, 1, 28, 28); the outputs (N, 10) before each.

        Raises ``ValueError`` for what is no batch of digits and ``MemoryError`` for one that is too
        large.
        """
        images, labels = _laid_out(images, torch.float32), _laid_out(labels, torch.int64)
        outputs = _outputs_for(images, labels)
        _call(
            self.made,
            "learn",
            self.network,
            _at(self.vector),
            _at(self.mean),
            _at(self.square),
            ctypes.c_long(self.steps),
            ctypes.c_double(self.learning_rate),
            _at(images),
            _at(labels),
            ctypes.c_long(len(images)),
            ctypes.c_long(batch_size),
            _threads(self.network),
            pool(),
            _at(outputs),
        )
        self.steps += -(-len(images) // batch_size)
        return outputs


def fast_forward(model: nn.Module, images: Tensor, made: ctypes.CDLL | None = None) -> Tensor:
    """``model(images)`` without gradients, for a model that ``suits``; raises as ``learn`` does."""
    network = _NETWORKS[type(model)]
    vector = as_vector(model)
    images = _laid_out(images, torch.float32)
    outputs = _outputs_for(images)
    _call(
        made,
        "predict",
        network,
        _at(vector),
        _at(images),
        ctypes.c_long(len(images)),
        _threads(network),
        pool(),
        _at(outputs),
    )
    return outputs


def as_vector(model: nn.Module) -> Tensor:
    """A copy of the parameters in one vector, in the order of ``Layout`` of ``fast.c``."""
    return torch.cat(
        [
            (value.t() if _is_turned(name) else value).detach().reshape(-1)
            for name, value in model.named_parameters()
        ]
    )


def views(model: nn.Module, vector: Tensor) -> list[Tensor]:
    """The parts of such a ``vector``, each in the shape of its parameter."""
    parameters = list(model.named_parameters())
    parts = vector.split([value.numel() for _, value in parameters])
    return [
        part.view(value.t().shape).t() if _is_turned(name) else part.view(value.shape)
        for (name, value), part in zip(parameters, parts, strict=True)
    ]


def _is_turned(name: str) -> bool:
    """Whether a parameter lies (inputs, units) there, not (units, inputs)."""
    return name == "hidden.weight"


def _call(made: ctypes.CDLL | None, name: str, *arguments: object) -> None:
    """Call a function of ``fast.c``; other Python threads run meanwhile."""
    made = made or compiled()
    assert made is not None
    if made[name](*arguments):
        raise MemoryError("There is no memory left to train in: close something, or train less.")


def _outputs_for(images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Room for their outputs. Raises ``ValueError`` for what C would read past the end of."""
    if images.shape[1:] != (1, 28, 28) or (labels is not None and len(labels) != len(images)):
        raise ValueError("Images (N, 1, 28, 28) and as many labels are needed.")
    return torch.empty(len(images), 10, dtype=torch.float32, device="cpu")


def _laid_out(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """As C reads it. To be held on to as long as its address is used."""
    return tensor.to(dtype).contiguous()


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _threads(network: _Network) -> int:
    """Those of PyTorch; one for logistic regression, whose step is shorter than their meeting."""
    return torch.get_num_threads() if network.hidden else 1
