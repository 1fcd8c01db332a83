"""Where a network sets numbers to 0 at random, and how many of them.

With weights that make ones of every image and pass them on unchanged, dropout shows: what comes
out is 0, or larger by the same factor, 1 / (1 - rate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_lab.diagnosis.networks import layouts
from mnist_lab.diagnosis.networks.layouts import Named
from mnist_lab.diagnosis.networks.probes import Run
from mnist_lab.diagnosis.reference import Network, through

__all__ = ["Dropout", "find"]

IMAGES = 64

NEARLY = 1e-4
"""Well above what float32 does to numbers of size 1, well below any dropout."""


RATES = (*(step / 20 for step in range(1, 20)), 1 / 3, 2 / 3)
"""That are tried where a function behind the dropout hides how much larger the rest became."""


@dataclass(frozen=True)
class Dropout:
    """Dropout of the given ``rate`` somewhere behind ``layer``; before the first one if empty."""

    layer: str
    rate: float


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
        outputs = outputs.double()
        if (outputs - whole).abs().max() > NEARLY:
            rate = _rate(outputs / whole)
            if rate is None:
                rate = _hidden_rate(outputs, _behind(network), weights)
            return None if rate is None else Dropout(layer, rate)
    return None


def _rate(parts: Tensor) -> float | None:
    """From what is left of each number: nothing, or 1 / (1 - rate)."""
    dropped = parts.abs() < NEARLY
    kept = parts[~dropped]
    if not dropped.any() or not len(kept) or kept[0] < 1 + NEARLY:
        return None
    return None if (kept - kept[0]).abs().max() > NEARLY else 1 - 1 / kept[0].item()


def _hidden_rate(
    outputs: Tensor, behind: Sequence[str], weights: Mapping[str, Tensor]
) -> float | None:
    """The same where each row went through increasing functions, such as a softmax."""
    low, high = outputs.amin(1, keepdim=True), outputs.amax(1, keepdim=True)
    rows = (high - low).flatten() > NEARLY
    if not behind or not rows.any():
        return None
    outputs, kept = outputs[rows], (outputs > (low + high) / 2)[rows].double()
    for rate in RATES:
        x = through(behind, weights, kept / (1 - rate))
        if (x - outputs).abs().max() < NEARLY:
            return rate
    return None


def _behind(network: Network) -> list[str]:
    """The stages after the last layer."""
    names, last = list(network.stages), network.layers[-1]
    return [network.stages[name] for name in names[names.index(last) + 1 :]]


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
