"""Whether pictures of other sizes come out whole, stretched to 28x28."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import explain
from mnist_lab.diagnosis.explain import Explanation
from mnist_lab.diagnosis.pictures.bank import REFERENCE, computed, of_step
from mnist_lab.diagnosis.pictures.findings import Findings
from mnist_lab.diagnosis.pictures.values import Tones
from mnist_lab.submission.remote import Transform

Size = tuple[int, int]

SIZES = (((50, 62), (50, 62)), ((36, 40), (58, 64)), ((58, 64), (33, 36)), ((18, 22), (22, 26)))
"""Heights and widths, from one number to another, of which the pictures' sizes are drawn."""

WARPED_SIZES = SIZES[1:3]
"""The same for a transform that warps, which needs several pictures of each."""

APART = 0.085
"""Mean difference that interpolations of a picture may have: nearest neighbour by torch had 0.03 to
0.076 (300 seeds), any other at most 0.045; cropped to the shorter side instead of resized pictures
had 0.099 and more, padded ones 0.23."""

WARPED_APART = 0.03
"""The same of the mean of eight warps of a ramp, ``INSIDE``, and of the worst of four: 300 right
ones had 0.005 to 0.02, 120 that were cropped to the shorter side 0.043 to 0.051, 120 that were
cropped to 28 pixels 0.063 to 0.069."""

MORE = 64
"""Warps from which it is told what was done instead."""

INSIDE = slice(7, 21)
"""Rows and columns away from the edges, which a warp paints over."""


def expect_resized(
    transform: Transform, tones: Tones | None, found: Findings, repeats: int, seed: int
) -> None:
    """Only the shape is looked at where ``tones`` are not known or something else was moved."""
    warped = repeats > 1
    readable = tones is not None and not found.does("moves")
    shapes: dict[Size, tuple[int, ...]] = {}
    lights: dict[Size, Tensor] = {}
    shown = {size: _pictures(*size, seed)[: 2 if warped else None] for size in _sizes(warped, seed)}
    for size, pictures in shown.items():
        results, _ = transform.of_any_kind(pictures, repeats, seed)
        shapes[size] = tuple(results.shape[1:])
        if results[0].numel() == 28 * 28 and readable and tones is not None:
            planes = results.reshape(len(pictures), repeats, 28, 28)
            lights[size] = tones.light(planes.double()).mean(1)
        if warped or found.does("varies"):
            continue
        again, _ = transform.of_any_kind(pictures, 1, seed + 1)
        if not torch.equal(results, again):
            found.add(
                "test-augmented",
                f"Two calls with the same picture of {size[0]}x{size[1]} pixels differ.",
            )

    if readable and tones is not None and not found:
        _expect_one_grey(transform, tones, found, repeats, seed)

    @cache
    def differs(text: str) -> float:
        return max(
            _off(text, pictures, shapes[size], lights.get(size), warped)
            for size, pictures in shown.items()
        )

    allowed = WARPED_APART if warped else APART
    if differs(REFERENCE) < allowed:
        return
    if 1 < repeats < MORE:
        expect_resized(transform, tones, found, MORE, seed)
    else:
        explanation = explain.explain(REFERENCE, of_step("size"), differs, allowed)
        while explanation is not None and len(explanation.alternatives) > 1 and allowed > 1e-3:
            allowed *= 0.9  # until the nearest is left
            closer = explain.explain(REFERENCE, of_step("size"), differs, allowed)
            explanation = closer or explanation
        _say(shapes, explanation, differs(REFERENCE), found)


def warped_pictures(seed: int) -> list[Tensor]:
    """Those that a transform which warps is tried on, of two sizes."""
    return [each for size in _sizes(True, seed) for each in _pictures(*size, seed)]


def _expect_one_grey(
    transform: Transform, tones: Tones, found: Findings, repeats: int, seed: int
) -> None:
    """A picture of one grey is that grey in the middle, whatever its size."""
    generator = torch.Generator().manual_seed(seed)
    for height, width in _sizes(repeats > 1, seed):
        level = int(torch.randint(30, 226, (), generator=generator))
        grey = torch.full((height, width), level, dtype=torch.uint8)
        results, _ = transform.of_any_kind([grey], repeats, seed)
        if results[0].numel() != 28 * 28:
            return
        light = tones.light(results.reshape(repeats, 28, 28).double())[:, INSIDE, INSIDE]
        off = (light - level / 255).abs().max().item()
        if off > SAME_GREY:
            found.observe(
                "brightness-by-size",
                f"Of {height}x{width} pixels of grey {level} it makes a picture that is up to "
                f"{off:.3f} off, on the scale from 0 to 1; of 28x28 pixels it doesn't.",
            )
            return


def _sizes(warped: bool, seed: int) -> list[Size]:
    generator = torch.Generator().manual_seed(seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    ranges = WARPED_SIZES if warped else SIZES
    return [(between(*height), between(*width)) for height, width in ranges]


SAME_GREY = 0.01
"""What resizing and warping change of one grey: 0 to 0.004, a step of 255."""


def _off(
    text: str, pictures: list[Tensor], shape: tuple[int, ...], light: Tensor | None, warped: bool
) -> float:
    """How far what came out is from what ``text`` makes of the pictures of a size."""
    made = computed(text, pictures)
    if len({each.shape for each in made}) > 1:
        return math.inf
    expected = torch.stack(made)
    if light is None:
        flat = math.prod(shape) == 28 * 28 == expected[0].numel()
        return 0.0 if flat or shape[-2:] == expected.shape[1:] else math.inf
    if light.shape != expected.shape:
        return math.inf
    off = (light - Tones().light(expected)).abs()
    if warped:
        off = off[:, INSIDE, INSIDE]
    return off.mean((1, 2)).max().item()


def _pictures(height: int, width: int, seed: int) -> list[Tensor]:
    """Two ramps from black to white, across and down, white blocks on black, and soft clouds. All
    are drawn, so that no table has what becomes of them.
    """
    generator = torch.Generator().manual_seed(seed + 100 * height + width)
    across, down = _ramp(width, generator), _ramp(height, generator)
    blocks = torch.zeros(height, width, dtype=torch.uint8)
    knots = torch.rand(1, 1, 3, 3, generator=generator)
    clouds = F.interpolate(knots, (height, width), mode="bilinear", align_corners=True)[0, 0]
    clouds = (clouds - clouds.min()) / (clouds.max() - clouds.min())
    for top, left, tall, wide in torch.rand(2, 4, generator=generator).tolist():
        rows, columns = (
            slice(round(side * (0.05 + at)), round(side * (0.3 + at + 0.2 * long)))
            for side, at, long in ((height, 0.5 * top, tall), (width, 0.5 * left, wide))
        )
        blocks[rows, columns] = 255
    return [
        across.expand(height, width).round().to(torch.uint8),
        down.unsqueeze(1).expand(height, width).round().to(torch.uint8),
        blocks,
        (255 * clouds).round().to(torch.uint8),
    ]


def _ramp(length: int, generator: torch.Generator) -> Tensor:
    """Numbers from 0 up to 255, or down, in two halves of which one is steeper."""
    rises = 0.6 + 0.8 * torch.rand(2, generator=generator)
    heights = F.pad(rises.cumsum(0), (1, 0)) / rises.sum()
    ramp = F.interpolate(heights.view(1, 1, -1), length, mode="linear", align_corners=True)
    up = torch.rand((), generator=generator) < 0.5
    return 255 * (ramp if up else ramp.flip(-1)).flatten()


def _say(
    shapes: dict[Size, tuple[int, ...]],
    explanation: Explanation[str] | None,
    off: float,
    found: Findings,
) -> None:
    name = found.name
    said = "; ".join(
        f"{height}x{width} -> {'x'.join(map(str, shape))}"
        for (height, width), shape in shapes.items()
    )
    evidence = f"{name}, size of the picture and of what comes out: {said}. 1x28x28 is asked for."
    if off < math.inf:
        evidence = (
            f"Of pictures of other sizes, a ramp from black to white or blocks, {name} makes ones "
            f"that are up to {off:.2f} off on average, on the scale from 0 to 1."
        )
    elif found.does("resizes") or (found and len(set(shapes.values())) == 1):
        return  # that is told of pictures of 28x28 pixels already
    if explanation is not None:
        found.explain(explanation.alternatives, evidence)
    elif off < math.inf:
        found.observe("not-whole", evidence)
    else:
        found.observe("several-sizes", evidence)
