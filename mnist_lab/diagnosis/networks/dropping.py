"""Where a network sets numbers to 0 at random, and how many of them.

With weights that make ones of every image and pass them on unchanged, dropout shows: of the ten
outputs of an image some are as from 0 and the others all alike, whatever function is behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_lab.diagnosis.networks import layouts
from mnist_lab.diagnosis.networks.layouts import Named
from mnist_lab.diagnosis.networks.probes import Run
from mnist_lab.diagnosis.reference import Network

IMAGES = 64

NEARLY = 1e-4
"""Well above what float32 does to numbers of size 1, well below any dropout."""


@dataclass(frozen=True)
class Dropout:
    """Dropout of a ``share`` of the numbers somewhere behind ``layer``; before the first one if
    empty.
    """

    layer: str
    share: float


def find(
    network: Network, matched: Mapping[str, Named], run: Run, generator: torch.Generator
) -> Dropout | None:
    """The dropout nearest to the outputs, if there is any.

    ``network`` is what the learner's does without it; ``run`` is in the mode that drops.
    """
    images = torch.ones(IMAGES, 1, 28, 28, dtype=torch.float64)
    for layer in (*network.layers[::-1], ""):
        weights = _passing_on(network, layer, generator)
        outputs = run(layouts.stored(network, matched, weights), images)
        whole = network.forward(weights, images)
        if outputs is None or outputs.shape != whole.shape:
            return None
        if (outputs - whole).abs().max() > NEARLY:
            share = _share(outputs.double())
            return None if share is None else Dropout(layer, share)
    return None


def _share(outputs: Tensor) -> float | None:
    """Of the numbers that were dropped, if each image's outputs have no more than two values."""
    low, high = outputs.amin(1, keepdim=True), outputs.amax(1, keepdim=True)
    dropped, kept = ((outputs - end).abs() < NEARLY for end in (low, high))
    both = (high - low).flatten() > NEARLY
    if not (dropped | kept).all() or not both.any():
        return None
    return dropped[both].double().mean().item()


def _passing_on(network: Network, start: str, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights with which ones leave the layer ``start`` and arrive at the outputs as ones."""
    names = network.layers
    weights = {}
    for name, axes in network.axes.items():
        layer, _, kind = name.rpartition(".")
        value = torch.zeros(axes, dtype=torch.float64)
        if kind == "bias" and layer == start:
            value += 1
        elif kind == "weight" and (not start or names.index(layer) > names.index(start)):
            value = _one_each(value, generator)
        weights[name] = value
    return weights


def _one_each(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Every unit takes one input, a filter the pixel in its middle."""
    rows = weight.flatten(1)
    if weight.dim() == 4 and weight.shape[2:] == (3, 3):
        inputs = 9 * torch.randint(weight.shape[1], (len(rows),), generator=generator) + 4
    else:
        inputs = torch.randint(rows.shape[1], (len(rows),), generator=generator)
    rows[torch.arange(len(rows)), inputs] = 1
    return rows.view_as(weight)
