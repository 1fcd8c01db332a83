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
from typing import Protocol

import torch
from torch import Tensor

from mnist_lab.diagnosis.reference import Network

__all__ = [
    "EQUAL",
    "NEARLY_EQUAL",
    "Comparison",
    "Layout",
    "Named",
    "Unmatched",
    "compare",
    "difference",
    "draw_weights",
    "layouts",
    "match",
]

EQUAL = 1e-9
"""Float64 outputs of size 1 that differ by less come from the same network: correct rewrites of
a network differ by some 1e-14, known mistakes by more than 1e-6."""

NEARLY_EQUAL = 1e-3
"""The same for code that works in float32 only; part of the largest output."""


class Named(Protocol):
    """What is known of a learner's parameter."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Sequence[int]: ...


class Unmatched(Exception):  # noqa: N818 - an answer, not an error
    """The parameters are not those of the network.

    ``missing``: names of the reference's weights that no parameter has the size of; ``extra``:
    parameters that are none of the weights.
    """

    def __init__(self, missing: Sequence[str], extra: Sequence[Named]) -> None:
        super().__init__(missing, extra)
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


@dataclass(frozen=True)
class Comparison:
    """The reference's ``outputs`` in the layout in which they are closest to the learner's.

    ``difference`` is the largest difference of an output.
    """

    outputs: Tensor
    layout: dict[str, Layout]
    difference: float


def match(network: Network, parameters: Sequence[Named]) -> dict[str, Named]:
    """The learner's parameter for each of the reference's weights.

    Raises ``Unmatched`` if the two are not one to one.
    """
    left = list(parameters)
    found: dict[str, Named] = {}
    for weight, axes in network.axes.items():
        fitting = [each for each in left if layouts(axes, each.shape)]
        if fitting:
            found[weight] = fitting[0]
            left.remove(fitting[0])
    missing = [weight for weight in network.axes if weight not in found]
    if missing or left:
        raise Unmatched(missing, left)
    return found


def layouts(axes: Sequence[int], shape: Sequence[int]) -> list[Layout]:
    """Every way to store a weight with ``axes`` in a tensor of ``shape``, the usual one first."""
    if math.prod(shape) != math.prod(axes):
        return []
    single = tuple(axis for axis, size in enumerate(axes) if size == 1)
    others = [axis for axis, size in enumerate(axes) if size > 1]
    return [
        Layout(tuple(axes), single + order, tuple(shape))
        for order in permutations(others)
        if _joints(shape) <= _joints([axes[axis] for axis in order])
    ]


def draw_weights(
    network: Network, matched: Mapping[str, Named], generator: torch.Generator
) -> dict[str, Tensor]:
    """Normal random float64 weights for the learner's parameters, by their names.

    Their scale keeps every layer's outputs near 1 and its biases as large, so that no part of the
    network is without effect.
    """
    drawn = {}
    for weight, parameter in matched.items():
        axes = network.axes[weight]
        scale = math.sqrt(2 / math.prod(axes[1:])) if len(axes) > 1 else 0.5
        values = torch.randn(list(parameter.shape), generator=generator, dtype=torch.float64)
        drawn[parameter.name] = scale * values
    return drawn


def compare(
    network: Network,
    matched: Mapping[str, Named],
    stored: Mapping[str, Tensor],
    images: Tensor,
    outputs: Tensor,
) -> Comparison:
    """The learner's ``outputs`` for ``images`` against the reference's with the same weights.

    ``stored`` are the learner's weights by the learner's names. Every layout is tried until one
    gives equal outputs; otherwise the closest is told.
    """
    closest: Comparison | None = None
    for layout in _all_layouts(network, matched):
        weights = {
            weight: layout[weight].to_reference(stored[parameter.name].double())
            for weight, parameter in matched.items()
        }
        expected = network.forward(weights, images.double())
        distance = difference(outputs, expected)
        if closest is None or distance < closest.difference:
            closest = Comparison(expected, layout, distance)
        if distance < EQUAL:
            break
    assert closest is not None, "matched parameters have at least one layout"
    return closest


def difference(actual: Tensor, expected: Tensor) -> float:
    """The largest absolute difference; infinite where the shapes differ or a value is missing."""
    if actual.shape != expected.shape:
        return math.inf
    distance = (actual.double() - expected.double()).abs().max().item()
    return math.inf if math.isnan(distance) else distance


def _all_layouts(network: Network, matched: Mapping[str, Named]) -> Iterator[dict[str, Layout]]:
    options = [layouts(network.axes[weight], each.shape) for weight, each in matched.items()]
    for chosen in product(*options):
        yield dict(zip(matched, chosen, strict=True))


def _joints(shape: Sequence[int]) -> set[int]:
    """Where one axis ends and the next begins, counted in elements; axes of size 1 have none."""
    joints, size = set(), 1
    for length in shape:
        size *= length
        joints.add(size)
    return joints - {1}
