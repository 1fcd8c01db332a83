"""Loaders of many batches, small and large ones, and of one for many epochs: on them code shows
that is right for no more than a few. Their model looks at one pixel and computes in the guest, so
that it takes little time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, explain, fail
from mnist_lab.diagnosis.measures.bank import observed
from mnist_lab.submission.answers import Batches, Recipe


def recipe(generator: torch.Generator, **given: Any) -> Recipe:
    """Of a linear layer, in which no two digits have the same score for a grey."""
    shapes = {"output.weight": (10, 1), "output.bias": (10,)}
    weights = {name: _eighths(generator, *shape) for name, shape in shapes.items()}
    weights["output.bias"] += torch.arange(10) / 1024
    return Recipe("linear", weights, **given)


def batches(generator: torch.Generator, count: int, largest: int, one: int) -> Batches:
    """At least ``count`` batches of a dozen sizes from 1 up to ``largest``, most of them small, and
    a single one of at least ``one``; the last has one example.
    """
    count += int(torch.randint(count // 8, (), generator=generator))
    drawn = (largest ** torch.rand(12, generator=generator)).long()
    drawn[0] = 1
    sizes = drawn[torch.randint(12, (count,), generator=generator)]
    sizes[torch.randint(count - 1, (), generator=generator)] = one + sizes[0]
    sizes[-1] = 1
    examples = int(sizes.sum())
    greys = _eighths(generator, examples, 1, 1, 1)
    labels = torch.randint(10, (examples,), generator=generator)
    return Batches(greys.expand(-1, 1, 28, 28), labels, tuple(sizes.tolist()))


def known(generator: torch.Generator) -> tuple[Recipe, Batches]:
    """One batch of which a layer knows all labels already, so well that being content with a loss
    or an accuracy is seen.
    """
    weights = {name: value / 4 for name, value in recipe(generator).weights.items()}
    digit = int(torch.randint(10, (), generator=generator))
    weights["output.bias"][digit] += 12
    greys = _eighths(generator, 8, 1, 1, 1).expand(8, 1, 28, 28)
    return Recipe("linear", weights), Batches(greys, torch.full((8,), digit), 8)


def at_its_best(generator: torch.Generator) -> tuple[Recipe, Batches]:
    """One batch of images that are alike, and a layer that all but knows how often each digit
    comes: there is nothing to learn, so that Adam's first step does harm.
    """
    digits = torch.randperm(10, generator=generator)[:3]
    labels = digits[torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])]
    bias = torch.bincount(labels, minlength=10).double().clamp(min=1e-6).log()
    # None so little off that the sign of its gradient is chance.
    off = 1 + torch.rand(3, generator=generator, dtype=torch.float64) / 2
    bias[digits] += 1e-3 * off * torch.tensor([1, -1, 1])
    weights = {"output.weight": torch.zeros(10, 1, dtype=torch.float64), "output.bias": bias}
    greys = _eighths(generator, 1, 1, 1, 1).expand(9, 1, 28, 28)
    return Recipe("linear", weights), Batches(greys, labels, 9)


def _eighths(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers that no type rounds: whether weights and images are changed is asked elsewhere."""
    return torch.randint(-16, 17, shape, generator=generator).double() / 8


def parts(of: Batches) -> Iterator[tuple[str, Batches]]:
    """What code has of the batches that stops early, or that leaves out large or small ones; and
    how that is said.
    """
    sizes = [len(labels) for _, labels in of.split()]
    for count in range(1, len(sizes)):
        which = [number < count for number in range(len(sizes))]
        examples = _examples(sum(sizes[:count]))
        yield f"the first {count} of {len(sizes)} batches ({examples})", _part(of, which)
    for most in sorted(set(sizes))[:-1]:
        for kept, small in (("at most", True), ("more than", False)):
            said = f"those of {len(sizes)} batches that have {kept} {_examples(most)}"
            yield said, _part(of, [(size <= most) == small for size in sizes])


def _examples(count: int) -> str:
    return f"{count} example{'s' * (count > 1)}"


def _part(of: Batches, which: list[bool]) -> Batches:
    sizes = torch.tensor([len(labels) for _, labels in of.split()])
    kept = torch.tensor(which)
    examples = kept.repeat_interleave(sizes)
    greys = of.images[examples, :, :1, :1].expand(-1, *of.images.shape[1:])
    return Batches(greys, of.labels[examples], tuple(sizes[kept].tolist()))


def failure(name: str, of: Batches, like: Callable[[Batches], bool]) -> CheckFailure:
    """Of a function that is right on a few batches and not on these: a part of them may be what its
    answer is ``like``.
    """
    sizes = [len(labels) for _, labels in of.split()]
    many = f"{len(of.labels)} examples in {len(sizes)} batches of up to {max(sizes)}"
    said = f"The loader gives {many}."
    fault = observed("part-of-many", name)
    for used, part in parts(of):
        if like(part):
            found = replace(fault, says=f"{name} uses only {used}.")
            return explain.failure([[found]], f"{said} These alone give what was found.")
    says = f"{name} is right for a few batches, but not for {len(sizes)}."
    return fail(says, said, fault.hint)
