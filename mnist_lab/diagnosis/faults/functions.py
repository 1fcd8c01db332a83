"""The functions that learners put where none belongs or another does: tables for ``networks.py``.

Each entry has a name for a fault's id, a phrase for its sentence, and the ways to compute it,
which are one mistake all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.reference import MEAN, STD

__all__ = ["ACTIVATIONS", "AFTER_SIGMOID", "FINAL", "INPUTS", "NORMS", "POOLS", "Function"]

Pointwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Function:
    """A function of the features (N, ...), in some ways of computing it.

    What is ``increasing`` may change places with max-pooling or with a ReLU without effect.
    """

    slug: str
    phrase: str
    ways: tuple[Pointwise, ...]
    increasing: bool = False


def _scaled(factor: float) -> Pointwise:
    return lambda x: x * factor


def _normalised(mean: float, std: float) -> Pointwise:
    return lambda x: (x - mean) / std


def _clamped(low: float, high: float) -> Pointwise:
    return lambda x: x.clamp(low, high)


def _above(threshold: float) -> Pointwise:
    return lambda x: (x > threshold).to(x.dtype)


def _standardised(dims: tuple[int, ...], unbiased: bool, eps: float) -> Pointwise:
    def standardise(x: Tensor) -> Tensor:
        std = x.std(dims, unbiased=unbiased, keepdim=True)
        return (x - x.mean(dims, keepdim=True)) / (std + eps)

    return standardise


def _stretched(dims: tuple[int, ...], eps: float) -> Pointwise:
    def stretch(x: Tensor) -> Tensor:
        low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
        return (x - low) / (high - low + eps)

    return stretch


def _centred(dims: tuple[int, ...]) -> Pointwise:
    return lambda x: x - x.mean(dims, keepdim=True)


def _over_batch(x: Tensor) -> Tensor:
    """Batch normalisation by the batch's own numbers, without weights."""
    dims = (0,) if x.dim() == 2 else (0, 2, 3)
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def _one_hot(x: Tensor) -> Tensor:
    return F.one_hot(x.argmax(1), x.shape[1]).to(x.dtype)


def _log_softmax_by_hand(small: float) -> Pointwise:
    return lambda x: (x.softmax(1) + small).log()


SLOPES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1 / 5.5)

ACTIVATIONS = (
    Function("sigmoid", "a sigmoid", (torch.sigmoid,), True),
    Function("tanh", "a tanh", (torch.tanh,), True),
    Function("gelu", "a GELU", (F.gelu, partial(F.gelu, approximate="tanh"))),
    Function(
        "leaky-relu",
        "a leaky ReLU",
        tuple(partial(F.leaky_relu, negative_slope=slope) for slope in SLOPES),
        True,
    ),
    Function("elu", "an ELU", (F.elu,), True),
    Function("selu", "a SELU", (F.selu,), True),
    Function("silu", "a SiLU", (F.silu,)),
    Function("mish", "a Mish", (F.mish,)),
    Function("softplus", "a softplus", (F.softplus,), True),
    Function("relu6", "a ReLU6", (F.relu6,), True),
    Function("softsign", "a softsign", (F.softsign,), True),
    Function("hard-tanh", "a hard tanh", (F.hardtanh,), True),
    Function("hard-sigmoid", "a hard sigmoid", (F.hardsigmoid,), True),
    Function("hard-swish", "a hard swish", (F.hardswish,)),
    Function("log-sigmoid", "a log-sigmoid", (F.logsigmoid,), True),
    Function("arctan", "an arctangent", (torch.atan,), True),
    Function("erf", "an error function", (torch.erf,), True),
    Function("exp", "an exponential", (torch.exp,), True),
    Function("abs", "an absolute value", (torch.abs,)),
    Function("square", "a square", (torch.square,)),
    Function("squared-relu", "a squared ReLU", (lambda x: F.relu(x).square(),), True),
    Function("step", "a step to 0 or 1", (_above(0.0),), True),
    Function("clamp", "a clamp to 0 ... 1", (_clamped(0, 1),), True),
    Function("negative-part", "the negative part, min(x, 0),", (lambda x: x.clamp(max=0),), True),
    Function("negated-relu", "a ReLU of -x", (lambda x: F.relu(-x),)),
    Function("tanhshrink", "a tanhshrink", (F.tanhshrink,), True),
    Function("softshrink", "a softshrink", (F.softshrink,), True),
    Function("hardshrink", "a hard shrink", (F.hardshrink,), True),
    Function("softmax", "a softmax", (partial(torch.softmax, dim=1),)),
    Function("log-softmax", "a log-softmax", (partial(torch.log_softmax, dim=1),)),
    Function(
        "batch-softmax",
        "a softmax over the batch, dimension 0,",
        (partial(torch.softmax, dim=0), partial(torch.log_softmax, dim=0)),
    ),
)
"""In place of a ReLU, or of a sigmoid."""

ONTO_TEN = (
    Function("softmax", "a softmax", (partial(torch.softmax, dim=1),)),
    Function(
        "log-softmax",
        "a log-softmax",
        (
            partial(torch.log_softmax, dim=1),
            *(_log_softmax_by_hand(small) for small in (1e-7, 1e-6, 1e-5, 1e-4)),
        ),
    ),
    Function(
        "batch-softmax",
        "a softmax over the batch, dimension 0,",
        (partial(torch.softmax, dim=0), partial(torch.log_softmax, dim=0)),
    ),
    Function("softmin", "a softmin", (lambda x: torch.softmax(-x, 1),)),
    Function("two-softmaxes", "a softmax and a second one", (lambda x: x.softmax(1).softmax(1),)),
    Function("negation", "a minus sign", (torch.neg,)),
    Function(
        "scale",
        "a constant factor",
        tuple(
            _scaled(factor)
            for factor in (
                *(0.01, 0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5, 2, 3, 4, 5, 8, 10, 20, 50, 100, 255),
                *(1 / math.sqrt(size) for size in (10, 128, 256, 784)),
                *(1 / size for size in (128, 255, 256)),
            )
        ),
    ),
    Function("centring", "a subtraction of the mean of the ten", (_centred((1,)),)),
    Function(
        "max-subtraction",
        "a subtraction of the largest of the ten",
        (lambda x: x - x.amax(1, keepdim=True),),
    ),
    Function(
        "normalisation",
        "a division by the length, the sum, the range or the spread of the ten",
        (
            F.normalize,
            lambda x: x / x.sum(1, keepdim=True),
            lambda x: x / x.abs().sum(1, keepdim=True),
            lambda x: x / x.amax(1, keepdim=True),
            lambda x: F.layer_norm(x, x.shape[1:]),
            _stretched((1,), 0.0),
            _standardised((1,), True, 0.0),
            _standardised((1,), False, 0.0),
        ),
    ),
    Function(
        "batch-statistics",
        "a mean or spread of the whole batch",
        (
            _centred((0,)),
            _centred((0, 1)),
            _over_batch,
            _standardised((0,), True, 0.0),
            _standardised((0, 1), True, 0.0),
        ),
    ),
    Function(
        "batch-norm", "a batch normalisation without weights", (_scaled(1 / (1 + 1e-5) ** 0.5),)
    ),
)
"""On ten numbers of an image, whatever they are."""

_ELSEWHERE = {function.slug for function in ONTO_TEN} | {"negative-part", "negated-relu"}

FINAL = (
    Function("relu", "a ReLU", (F.relu,)),
    *(function for function in ACTIVATIONS if function.slug not in _ELSEWHERE),
    *ONTO_TEN,
    Function("rounding", "a rounding", (torch.round,)),
    Function("one-hot", "a choice of the largest as 0 and 1", (_one_hot,)),
)
"""After the last layer, where nothing belongs."""

AFTER_SIGMOID = (
    Function("tanh", "a tanh", (torch.tanh,)),
    Function("exp", "an exponential", (torch.exp,)),
    Function("square", "a square", (torch.square,)),
    Function("complement", "a subtraction from 1", (lambda x: 1 - x,)),
    Function("stretch", "a stretch to -1 ... 1", (lambda x: 2 * x - 1,)),
    *ONTO_TEN,
)
"""After the sigmoid, where nothing belongs."""

IMAGE, BATCH = (1, 2, 3), (0, 1, 2, 3)
EPS = (0.0, 1e-8, 1e-7, 1e-6, 1e-5)

INPUTS = (
    Function(
        "scaled",
        "multiplies or divides the images by a constant",
        tuple(
            _scaled(factor)
            for factor in (
                *(255, 256, 10, 2, 0.5, 0.1, STD),
                *(1 / size for size in (255, 256, 127.5, 128, 784, STD)),
            )
        ),
    ),
    Function(
        "normalised",
        "normalises the images once more",
        tuple(
            _normalised(mean, std)
            for mean, std in (
                *((MEAN, STD), (0.5, 0.5), (0.485, 0.229), (0.449, 0.226), (0.286, 0.353)),
                *((127.5, 127.5), (255 * MEAN, 255 * STD), (MEAN, 1), (0.5, 1)),
            )
        ),
    ),
    Function("unnormalised", "takes the normalisation back", (lambda x: x * STD + MEAN,)),
    Function(
        "inverted",
        "inverts the images",
        (torch.neg, lambda x: 1 - x, lambda x: 255 - x),
    ),
    Function(
        "clamped",
        "cuts the pixels off at a lowest or highest value",
        (F.relu, _clamped(0, 1), _clamped(-1, 1), lambda x: x.clamp(max=1)),
    ),
    Function("squashed", "puts the pixels through a sigmoid", (torch.sigmoid,)),
    Function("tanh", "puts the pixels through a tanh", (torch.tanh,)),
    Function("abs", "takes the absolute value of the pixels", (torch.abs,)),
    Function("binarised", "makes the pixels black or white", (_above(0), _above(0.5), torch.sign)),
    Function("rounded", "rounds the pixels", (torch.round, torch.floor, torch.trunc)),
    Function("centred", "subtracts from every image its own mean", (_centred(IMAGE),)),
    Function(
        "standardised",
        "divides every image by its own spread, range or length",
        (
            *(_standardised(IMAGE, unbiased, eps) for unbiased, eps in product((True, False), EPS)),
            *(_stretched(IMAGE, eps) for eps in EPS),
            lambda x: F.layer_norm(x, x.shape[1:]),
            lambda x: x / x.amax(IMAGE, keepdim=True),
            lambda x: F.normalize(x.flatten(1)).view_as(x),
        ),
    ),
    Function(
        "batch-statistics",
        "uses the mean, spread or range of the whole batch on the images",
        (
            _centred((0,)),
            _centred(BATCH),
            _over_batch,
            *(
                _standardised(dims, unbiased, eps)
                for dims, unbiased, eps in product(((0,), BATCH), (True, False), EPS)
            ),
            *(_stretched(BATCH, eps) for eps in EPS),
            lambda x: x / x.max(),
            lambda x: x / x.abs().max(),
        ),
    ),
    Function(
        "batch-norm",
        "puts the images through a batch normalisation without weights",
        (_scaled(1 / (1 + 1e-5) ** 0.5),),
    ),
    Function("mirrored", "mirrors the images left to right", (lambda x: x.flip(3),)),
    Function("upside-down", "turns the images upside down", (lambda x: x.flip(2),)),
    Function(
        "turned",
        "turns the images by a quarter or half a circle",
        (lambda x: x.rot90(1, (2, 3)), lambda x: x.rot90(3, (2, 3)), lambda x: x.flip(2, 3)),
    ),
)
"""On the images, before the first layer; the phrase is a verb."""


def _overlapping(size: int, padding: int, ceil: bool = False) -> Pointwise:
    return lambda x: F.max_pool2d(x, size, 2, padding, ceil_mode=ceil)


def _every_second(row: int, column: int) -> Pointwise:
    return lambda x: x[:, :, row::2, column::2]


def _quarters(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 2, W / 2, 4): the pixels of every 2x2 square."""
    rows = torch.stack([x[:, :, 0::2], x[:, :, 1::2]], -1)
    return torch.cat([rows[:, :, :, 0::2], rows[:, :, :, 1::2]], -1)


def _resized(mode: str, **options: bool) -> Pointwise:
    return lambda x: F.interpolate(x, scale_factor=0.5, mode=mode, **options)


POOLS = (
    Function("average", "averages", (partial(F.avg_pool2d, kernel_size=2),)),
    Function("minimum", "takes the minimum", (lambda x: -F.max_pool2d(-x, 2),), True),
    Function(
        "overlapping",
        "takes the maximum of windows that overlap",
        (
            _overlapping(3, 1),
            _overlapping(3, 0, ceil=True),
            _overlapping(4, 1),
            _overlapping(5, 2),
        ),
        True,
    ),
    Function(
        "stride",
        "keeps every second pixel (a stride of 2)",
        tuple(_every_second(row, column) for row, column in product((0, 1), (0, 1))),
        True,
    ),
    Function(
        "norm",
        "takes the root of the sum of squares",
        (partial(F.lp_pool2d, norm_type=2, kernel_size=2),),
    ),
    Function("sum", "adds up the pixels", (lambda x: 4 * F.avg_pool2d(x, 2),)),
    Function(
        "median",
        "takes the median",
        (lambda x: _quarters(x).median(-1).values, lambda x: _quarters(x).quantile(0.5, -1)),
    ),
    Function(
        "resizing",
        "resizes the maps",
        (
            _resized("bilinear", align_corners=True),
            _resized("bilinear", antialias=True),
            _resized("bicubic", align_corners=False),
        ),
    ),
    Function(
        "mixture",
        "mixes the maximum and the average",
        (
            lambda x: (F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)) / 2,
            lambda x: F.max_pool2d(x, 2) + F.avg_pool2d(x, 2),
        ),
    ),
    Function(
        "wide-average",
        "averages windows that overlap",
        (
            partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1),
            partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1, count_include_pad=False),
            partial(F.avg_pool2d, kernel_size=3, stride=2, ceil_mode=True),
        ),
    ),
)
"""In place of max-pooling by 2; the phrase is a verb."""


def _per_channel(x: Tensor) -> Tensor:
    """Instance normalisation."""
    return F.instance_norm(x) if x.dim() == 4 else F.layer_norm(x, x.shape[1:])


NORMS = (
    Function("batch-norm", "a batch normalisation", (_scaled(1 / (1 + 1e-5) ** 0.5),), True),
    Function(
        "batch-statistics", "a normalisation by the batch's own mean and spread", (_over_batch,)
    ),
    Function("layer-norm", "a layer normalisation", (lambda x: F.layer_norm(x, x.shape[1:]),)),
    Function("length-norm", "a division by the length of the features", (F.normalize,)),
    Function(
        "response-norm",
        "a local response normalisation",
        tuple(partial(F.local_response_norm, size=size) for size in (2, 3, 5)),
    ),
    Function("instance-norm", "an instance normalisation", (_per_channel,)),
)
"""Without weights, after a layer; the last two are for maps."""
