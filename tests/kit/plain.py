"""What each exercise asks for, worked out plainly and in this process: the second opinion on the
corpus, which owes nothing to the grading.

``verify`` raises ``AssertionError``, or what the file itself raises, unless it is right.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from mnist_lab import data
from mnist_lab.augment import normalise

__all__ = ["verify"]

EXACT = 1e-9
ROUNDED = 1e-6
"""Loss and accuracy may have been summed up or divided in float32."""


def verify(file: Path) -> None:
    """Assert that the exercise in ``file``, named after it, is solved."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    VERIFIERS[file.stem](_import(file))


def _import(file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"{file.parent.name}.{file.stem}", file)
    module = importlib.util.module_from_spec(specification)
    sys.path.append(str(file.parent))  # for a learner's helper file
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.pop()
    return module


# Networks


def logistic_regression(module: ModuleType) -> None:
    def scores(x, w, b, order):
        return torch.sigmoid(_pixels(x, order) @ w.T + b)

    shapes = [(10, 784), (10,)]
    _network(module.LogisticRegression, scores, shapes, _Learning(steps=100, below=1.60))


def fnn(module: ModuleType) -> None:
    def scores(x, w1, b1, w2, b2, order):
        return (_pixels(x, order) @ w1.T + b1).clamp(min=0) @ w2.T + b2

    shapes = [(256, 784), (256,), (10, 256), (10,)]
    _network(module.FNN, scores, shapes, _Learning(steps=30, below=0.1))


def cnn(module: ModuleType) -> None:
    def scores(x, k1, c1, k2, c2, w1, b1, w2, b2, order):
        x = F.max_pool2d(F.relu(F.conv2d(x, k1, c1, padding=1)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, k2, c2, padding=1)), 2)
        return F.relu(_pixels(x, order) @ w1.T + b1) @ w2.T + b2

    shapes = [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (128, 1568), (128,), (10, 128), (10,)]
    _network(module.CNN, scores, shapes, _Learning(steps=40, below=0.3))


def _pixels(x: Tensor, order: tuple[int, ...]) -> Tensor:
    return x.permute(0, *order).flatten(1)


def _network(
    build: Callable[[], nn.Module], scores: Callable, shapes: list[tuple], learning: _Learning
) -> None:
    model = _built(build)
    for size in (1, 3):
        assert model(torch.rand(size, 1, 28, 28)).shape == (size, 10)
    assert sorted(p.numel() for p in model.parameters()) == sorted(map(math.prod, shapes))
    assert all(p.requires_grad for p in model.parameters())
    assert not list(model.buffers())

    _computes(model, scores, shapes)
    _works_elsewhere(model.to("meta"))
    learning.verify(_built(build))


def _works_elsewhere(model: nn.Module) -> None:
    """On a device that has no numbers, unless they are what it looks at, and no autocast."""
    try:
        model(torch.empty(2, 1, 28, 28, dtype=torch.float64, device="meta"))
    except RuntimeError as error:
        numbers = ("Tensor.item()", "no data", "scalarType", "autocast")
        if not any(asked in str(error) for asked in numbers):
            raise


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    """A new model; lazy layers have seen their first batch."""
    torch.manual_seed(0)
    model = build()
    with torch.no_grad():
        model(torch.zeros(2, 1, 28, 28))
    return model


def _computes(model: nn.Module, scores: Callable, shapes: list[tuple]) -> None:
    """Values and gradients are those of ``scores`` on the model's weights, in some pixel order."""
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    parameters = list(model.parameters())
    weights = [_as(shape, parameters) for shape in shapes]
    images = torch.randn(5, 1, 28, 28, dtype=torch.float64)
    cotangent = torch.randn(5, 10, dtype=torch.float64)
    given = images.clone()

    outputs = model(images)
    assert torch.equal(images, given)
    assert outputs.dtype == torch.float64
    candidates = [scores(images, *weights, order=o) for o in itertools.permutations((1, 2, 3))]
    expected = min(candidates, key=lambda candidate: _distance(candidate, outputs))
    assert _distance(expected, outputs) < EXACT
    for theirs, ours in zip(
        torch.autograd.grad(outputs, parameters, cotangent),
        torch.autograd.grad(expected, parameters, cotangent),
        strict=True,
    ):
        assert _distance(theirs, ours) < EXACT

    model.eval()
    assert _distance(model(images), outputs) < EXACT
    assert _distance(model(images[:1]), outputs[:1]) < EXACT


def _as(shape: tuple[int, ...], parameters: list[Tensor]) -> Tensor:
    """The parameter of as many numbers, in this shape: it may be transposed or a convolution."""
    (parameter,) = (p for p in parameters if p.numel() == math.prod(shape))
    transposed = len(shape) == 2 and parameter.shape == shape[::-1]
    return parameter.T if transposed else parameter.reshape(shape)


def _distance(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


class _Learning:
    """That a model learns 64 digits by heart, from whatever weights it starts with."""

    def __init__(self, steps: int, below: float) -> None:
        self.steps, self.below = steps, below

    def verify(self, model: nn.Module) -> None:
        images, labels = _digits()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(self.steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        assert F.cross_entropy(model(images), labels).item() < self.below


@cache
def _digits() -> tuple[Tensor, Tensor]:
    split = data.load("sample").train
    return normalise(split.images[:64]), split.labels[:64]


# Preprocessing

BLACK, WHITE = -0.1307 / 0.3081, (1 - 0.1307) / 0.3081
DRAWS = 300


def preprocessing(module: ModuleType) -> None:
    _downsample(module.downsample)
    _loaders(module.make_loaders)
    for transform in (module.test_transform(), module.train_transform()):
        for size in 10 * ((28, 28), (20, 33), (64, 28), (1, 1)):
            black = transform(Image.new("L", size, 0))
            assert black.shape == (1, 28, 28)
            assert black.dtype == torch.float32
            # With an own fill torchvision blends the edge of a warp twice; grey is 0.42 off.
            assert torch.allclose(black, torch.tensor(BLACK), atol=0.12)
    _plain_transform(module.test_transform())
    _random_transform(module.train_transform())


def _plain_transform(transform: Callable) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    expected = (torch.from_numpy(pixels) / 255 - 0.1307) / 0.3081
    for _ in range(3):
        assert torch.allclose(transform(Image.fromarray(pixels))[0], expected, atol=1e-5)
    half = np.zeros((15, 40), dtype=np.uint8)
    half[:, :20] = 255
    result = transform(Image.fromarray(half))[0]
    assert torch.allclose(result[:, :10], torch.tensor(WHITE), atol=1e-4)
    assert torch.allclose(result[:, 18:], torch.tensor(BLACK), atol=1e-4)


def _random_transform(transform: Callable) -> None:
    _rotates(transform)
    _distorts(transform)
    left = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        transform(Image.new("L", (28, 28)))
        left.append(torch.get_rng_state())
    assert not torch.equal(*left)


def _rotates(transform: Callable) -> None:
    """An upright bar on the left tilts by up to 10 degrees either way and stays on the left."""
    bar = np.zeros((28, 28), dtype=np.uint8)
    bar[:, 6:10] = 255
    draws = torch.stack([_brightness(transform, bar) for _ in range(DRAWS)])
    columns = torch.arange(28.0)
    top, bottom = draws[:, 4:10].sum(1), draws[:, 18:24].sum(1)
    tilt = (top @ columns) / top.sum(1) - (bottom @ columns) / bottom.sum(1)
    assert abs(tilt.mean()) < 0.4
    assert 1.1 < tilt.std() < 1.9
    assert tilt.abs().max() < 4.5
    assert (draws.sum(1) @ columns / draws.sum((1, 2)) < 13).all()


def _distorts(transform: Callable) -> None:
    """A rotation leaves the middles of a white image's edges white; a perspective moves them in,
    half of the time and by no more than three pixels."""
    white = np.full((28, 28), 255, dtype=np.uint8)
    draws = torch.stack([_brightness(transform, white) for _ in range(DRAWS)])
    edges = torch.stack([draws[:, 0, 14], draws[:, 27, 14], draws[:, 14, 0], draws[:, 14, 27]])
    assert 0.37 < (edges.amin(0) < 0.75).float().mean() < 0.63
    assert (draws[:, 4:24, 14] > 0.9).all()
    assert (draws[:, 14, 4:24] > 0.9).all()


def _brightness(transform: Callable, pixels: np.ndarray) -> Tensor:
    return transform(Image.fromarray(pixels))[0] * 0.3081 + 0.1307


def _downsample(downsample: Callable) -> None:
    dataset = [(torch.zeros(1), item) for item in range(60)]

    def drawn(*arguments, **options):
        sample = downsample(dataset, *arguments, **options)
        return [sample[i][1] for i in range(len(sample))]

    draws = {seed: drawn(20, seed=seed) for seed in range(5)}
    for items in draws.values():
        assert len(items) == len(set(items)) == 20
        assert set(items) <= set(range(60))
    assert len({tuple(sorted(items)) for items in draws.values()}) == 5
    assert drawn(20) == drawn(20, 0) == draws[0]
    assert sorted(drawn(60)) == list(range(60))
    try:
        downsample(dataset, 61)
    except ValueError:
        return
    raise AssertionError("61 of 60 items")


def _loaders(make_loaders: Callable) -> None:
    train, test = ([(torch.full((1, 28, 28), 1.0 * i), i) for i in range(n)] for n in (70, 23))
    for options, sizes in (({}, ([64, 6], [23])), ({"batch_size": 10}, ([10] * 7, [10, 10, 3]))):
        train_loader, test_loader = make_loaders(train, test, **options)
        first, second = _epoch(train_loader, sizes[0]), _epoch(train_loader, sizes[0])
        assert sorted(first) == sorted(second) == list(range(70))
        assert first != second
        assert first != sorted(first)
        assert _epoch(test_loader, sizes[1]) == _epoch(test_loader, sizes[1]) == list(range(23))


def _epoch(loader: DataLoader, sizes: list[int]) -> list[int]:
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == sizes
    for images, labels in batches:
        assert torch.equal(images[:, 0, 0, 0], labels.float())
    return [label for _, labels in batches for label in labels.tolist()]


# Training and evaluation


def training(module: ModuleType) -> None:
    _train_epoch(module.train_epoch)
    _train(module.train)
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def _train_epoch(train_epoch: Callable) -> None:
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    theirs, ours = _probe_model(), _probe_model()
    for model in (theirs, ours):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        model.eval()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9)
    reference = torch.optim.SGD(ours.parameters(), lr=0.5, momentum=0.9)

    torch.manual_seed(1)
    expected = _plain_epoch(ours, reference, loss_fn)
    torch.manual_seed(1)
    result = train_epoch(theirs, _loader(), optimizer, loss_fn)

    _same_history([result], [expected])
    _same_weights(theirs, ours)
    assert torch.is_grad_enabled()


def _train(train: Callable) -> None:
    for arguments, epochs, lr in (({"epochs": 4, "lr": 0.02}, 4, 0.02), ({}, 10, 1e-3)):
        theirs, ours = _probe_model(), _probe_model()
        torch.manual_seed(2)
        adam = _PlainAdam(ours, lr)
        expected = [_plain_epoch(ours, adam, F.cross_entropy) for _ in range(epochs)]
        torch.manual_seed(2)
        history = train(theirs, _loader(), **arguments)

        assert isinstance(history, list)
        _same_history(history, expected)
        _same_weights(theirs, ours, within=1e-6)  # A rate that is a tensor is one of float32.


def _plain_epoch(model: nn.Module, optimizer, loss_fn: Callable) -> tuple[float, float]:
    model.train()
    total, correct = 0.0, 0
    for images, labels in _loader():
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        correct += (scores.argmax(1) == labels).sum().item()
    return total / ITEMS, correct / ITEMS


class _PlainAdam:
    """Kingma and Ba (2015), algorithm 1, with PyTorch's defaults."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.parameters = list(model.parameters())
        self.lr, self.steps = lr, 0
        self.first = [0.0] * len(self.parameters)
        self.second = [0.0] * len(self.parameters)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for i, parameter in enumerate(self.parameters):
            self.first[i] = 0.9 * self.first[i] + 0.1 * parameter.grad
            self.second[i] = 0.999 * self.second[i] + 0.001 * parameter.grad**2
            mean = self.first[i] / (1 - 0.9**self.steps)
            square = self.second[i] / (1 - 0.999**self.steps)
            parameter -= self.lr * mean / (square.sqrt() + 1e-8)


def evaluation(module: ModuleType) -> None:
    expected = _probe_model().eval()
    with torch.no_grad():
        pairs = [(expected(images), labels) for images, labels in _loader()]
    scores, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    read = scores.argmax(1).tolist()
    loss = (scores.logsumexp(1) - scores[range(ITEMS), labels]).mean().item()
    accuracy = sum(a == b for a, b in zip(read, labels.tolist(), strict=True)) / ITEMS
    counts = [[0] * 10 for _ in range(10)]
    for true, guess in zip(labels.tolist(), read, strict=True):
        counts[true][guess] += 1

    result, matrix = (
        _measures_only(function, expected)
        for function in (module.evaluate, module.confusion_matrix)
    )
    _same_history([result], [(loss, accuracy)])
    matrix = np.asarray(matrix)
    assert np.issubdtype(matrix.dtype, np.integer)
    assert matrix.tolist() == counts


def _measures_only(function: Callable, expected: nn.Module):
    """What ``function`` returns; it may not change the model, which arrives in train mode."""
    model = _probe_model().train()
    with_gradients = []
    model[1].register_forward_hook(lambda *given: with_gradients.append(given[2].requires_grad))
    result = function(model, _loader())
    assert with_gradients
    assert not any(with_gradients)
    assert torch.is_grad_enabled()
    assert not any(part.training for part in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    _same_weights(model, expected)
    return result


ITEMS = 23


def _loader() -> DataLoader:
    """23 images in batches of 10, 10 and 3, without a 7; it draws nothing from the global state."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(ITEMS, 1, 4, 4, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6, 8, 8, 9, 9, 9, 9, 1, 3, 3, 5, 6, 8])
    dataset = TensorDataset(images, labels)
    return DataLoader(dataset, batch_size=10, generator=torch.Generator())


def _probe_model() -> nn.Module:
    """A model whose numbers tell train mode from eval mode, twice over; always the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16, 12),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(12, 10),
        )
        model(torch.randn(20, 16))
    return model.double()


def _same_history(theirs: list, ours: list[tuple[float, float]]) -> None:
    assert len(theirs) == len(ours)
    for (loss, accuracy), expected in zip(theirs, ours, strict=True):
        assert isinstance(loss, float)
        assert isinstance(accuracy, float)
        assert math.isclose(loss, expected[0], rel_tol=ROUNDED)
        assert math.isclose(accuracy, expected[1], rel_tol=ROUNDED)


def _same_weights(theirs: nn.Module, ours: nn.Module, within: float = EXACT) -> None:
    expected = ours.state_dict()
    for name, value in theirs.state_dict().items():
        assert value.dtype == expected[name].dtype
        assert _distance(value, expected[name]) < within


VERIFIERS = {
    function.__name__: function
    for function in (preprocessing, logistic_regression, fnn, cnn, training, evaluation)
}
