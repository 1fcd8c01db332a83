"""Which of the reference's weights each of a learner's parameters is, and whether both networks
compute the same.

Parameters are matched by their number of elements, which no two weights of a network share, so
neither names nor order matter. A weight may be stored in any layout: transposed, flattened in
another order, as the kernel of a convolution. A layout only relabels the weights; the network is
the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure
from mnist_lab.diagnosis.explain import EQUAL, NEARLY_EQUAL, difference
from mnist_lab.diagnosis.reference import Network
from mnist_lab.grade import Cause
from mnist_lab.submission.answers import Parameter

MISFIT = (RuntimeError, LookupError, ValueError)
"""What a network may raise where shapes do not fit."""


class Unmatched(CheckFailure):
    """The parameters are not those of the network; its cause is for where they were before.

    ``missing``: names of the reference's weights that no parameter has the size of; ``extra``:
    parameters that are none of the weights.
    """

    def __init__(self, missing: Sequence[str], extra: Sequence[Parameter]) -> None:
        message = "The network has other parameters now than when it was made for another check."
        hint = "The sizes of all layers are fixed: make the same ones each time."
        super().__init__(Cause(message, hint=hint))
        self.missing, self.extra = tuple(missing), tuple(extra)


@dataclass(frozen=True)
class Layout:
    """How a learner stores a weight: its axes in the given ``order``, then reshaped to ``shape``.

    ``axes`` are the sizes of the reference's axes.
    """

    axes: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]

    def to_reference(self, stored: Tensor) -> Tensor:
        """The weight with the reference's axes."""
        in_order = stored.reshape([self.axes[axis] for axis in self.order])
        back = [self.order.index(axis) for axis in range(len(self.axes))]
        return in_order.permute(back)

    def from_reference(self, weight: Tensor) -> Tensor:
        """The weight as the learner stores it."""
        return weight.permute(self.order).reshape(self.shape)


@dataclass(frozen=True)
class Placed:
    """Where each weight of a ``network`` is among a learner's parameters, and in what layout."""

    network: Network
    matched: Mapping[str, Parameter]
    layout: Mapping[str, Layout]

    def to_reference(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights, in float64, by the reference's names and with its axes."""
        return {
            weight: self.layout[weight].to_reference(stored[parameter.name].double())
            for weight, parameter in self.matched.items()
        }

    def from_reference(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights, or gradients, by the learner's names and as the learner stores them."""
        return {
            parameter.name: self.layout[weight].from_reference(weights[weight])
            for weight, parameter in self.matched.items()
        }


@dataclass(frozen=True)
class Comparison:
    """The reference's ``outputs`` as they are closest to the learner's, with weights so ``placed``.

    ``difference`` is the largest difference of an output; ``tried`` counts the layouts before.
    """

    outputs: Tensor
    placed: Placed
    difference: float
    tried: int = 0


def match(network: Network, parameters: Sequence[Parameter]) -> dict[str, Parameter]:
    """The learner's parameter for each of the reference's weights.

    Raises ``Unmatched`` if the two are not one to one.
    """
    left = list(parameters)
    found: dict[str, Parameter] = {}
    for weight, axes in network.axes.items():
        fitting = [each for each in left if possible(axes, each.shape)]
        beside = found.get(weight.replace("bias", "weight"))
        if fitting:
            # A row of as many numbers is another's where there is the usual shape; then its layer's
            # own comes before others.
            found[weight] = min(
                fitting,
                key=lambda each: (
                    list(each.shape) != list(axes),
                    beside is not None and each.owner != beside.owner,
                ),
            )
            left.remove(found[weight])
    missing = [weight for weight in network.axes if weight not in found]
    if missing or left:
        raise Unmatched(missing, left)
    return found


def possible(axes: Sequence[int], shape: Sequence[int]) -> list[Layout]:
    """Every way to store a weight with ``axes`` in a tensor of ``shape``, the usual one first: with
    some axes as one, or some as several.
    """
    if math.prod(shape) != math.prod(axes):
        return []
    single = tuple(axis for axis, size in enumerate(axes) if size == 1)
    others = [axis for axis, size in enumerate(axes) if size > 1]
    stored, found = _joints(shape), []
    for order in permutations(others):
        asked = _joints([axes[axis] for axis in order])
        if stored <= asked or asked <= stored:
            found.append(Layout(tuple(axes), single + order, tuple(shape)))
    return found


def draw_weights(
    network: Network, matched: Mapping[str, Parameter], generator: torch.Generator
) -> dict[str, Tensor]:
    """Normal random float64 weights for the learner's parameters, by their names.

    Their scale makes what goes into each activation some 4 in size, so that no part of the network
    is without effect and even a ReLU6 is seen.
    """
    drawn = {}
    for weight, parameter in matched.items():
        values = torch.randn(list(parameter.shape), generator=generator)  # Faster than float64.
        drawn[parameter.name] = _scale(network, weight) * values.double()
    return drawn


def neutral_weights(
    network: Network, matched: Mapping[str, Parameter], generator: torch.Generator
) -> dict[str, Tensor]:
    """As ``draw_weights``, but the same in every layout, by the reference's names.

    Of weights that may be stored in two layouts the mean of both is taken, of others with more
    than one layout the mean over all inputs.
    """
    drawn = {}
    for weight, parameter in matched.items():
        axes = network.axes[weight]
        scale = _scale(network, weight)
        values = torch.randn(list(axes), generator=generator, dtype=torch.float64)
        options = possible(axes, parameter.shape)
        stored = options[0].from_reference(values)
        mean = torch.stack([layout.to_reference(stored) for layout in options]).mean(0)
        units = values.flatten(1).mean(1) if len(axes) > 1 else values
        constant = units.view(-1, *[1] * (len(axes) - 1)).expand(axes)
        drawn[weight] = scale * (mean if is_neutral(mean, parameter) else constant)
    return drawn


def is_neutral(weight: Tensor, parameter: Parameter) -> bool:
    """Whether the weight, stored as the learner's parameter, is the same in every layout."""
    options = possible(tuple(weight.shape), parameter.shape)
    stored = options[0].from_reference(weight)
    return all(torch.allclose(each.to_reference(stored), weight) for each in options[1:])


def _scale(network: Network, weight: str) -> float:
    axes = network.axes[weight]
    if len(axes) == 1:
        return 2.0
    first = weight == next(iter(network.axes))
    return (4.0 if first else 1.2) / math.sqrt(math.prod(axes[1:]))


def compare(
    network: Network,
    matched: Mapping[str, Parameter],
    stored: Mapping[str, Tensor],
    images: Tensor,
    outputs: Tensor,
) -> Comparison:
    """The learner's ``outputs`` for ``images`` against the reference's with the same weights.

    ``stored`` are the learner's weights by the learner's names. Every layout is tried until one
    gives equal outputs; otherwise the closest is told.
    """
    closest: Comparison | None = None
    for tried, each in enumerate(placed(network, matched)):
        expected = network.forward(each.to_reference(stored), images.double())
        distance = difference(outputs, expected)
        if closest is None or distance < closest.difference:
            closest = Comparison(expected, each, distance, tried)
        if equal(outputs, expected):
            break
    assert closest is not None, "matched parameters have at least one layout"
    return closest


def equal(actual: Tensor, expected: Tensor) -> bool:
    """Whether the two come from the same computation, as far as the dtype of ``actual`` tells."""
    if not expected.numel():
        return actual.shape == expected.shape
    size = max(1.0, expected.abs().max().item())
    tolerance = EQUAL if actual.dtype == torch.float64 else NEARLY_EQUAL
    return difference(actual, expected) < tolerance * size


def usual(network: Network, matched: Mapping[str, Parameter]) -> Placed:
    """The weights in the usual layout."""
    return next(placed(network, matched))


def placed(network: Network, matched: Mapping[str, Parameter]) -> Iterator[Placed]:
    """Every way to store the weights, the usual one first."""
    options = [possible(network.axes[weight], each.shape) for weight, each in matched.items()]
    for chosen in product(*options):
        yield Placed(network, matched, dict(zip(matched, chosen, strict=True)))


def _joints(shape: Sequence[int]) -> set[int]:
    """Where one axis ends and the next begins, counted in elements; axes of size 1 have none."""
    joints, size = set(), 1
    for length in shape:
        size *= length
        joints.add(size)
    return joints - {1}
