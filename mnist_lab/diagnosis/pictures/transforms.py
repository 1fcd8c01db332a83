"""What the checks of the two transforms share: the form of what comes out, what becomes of each
pixel, whether the whole picture is there, and how it was warped at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_lab.diagnosis import match
from mnist_lab.diagnosis.faults import preprocessing
from mnist_lab.diagnosis.faults.preprocessing import PIXELS, PLACES, VALUES, Pixels
from mnist_lab.diagnosis.findings import Findings
from mnist_lab.diagnosis.match import Explanation
from mnist_lab.diagnosis.pictures import warps
from mnist_lab.diagnosis.reference import MEAN, STD
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.remote import Transform

BLACK, WHITE = -MEAN / STD, (1 - MEAN) / STD

SIZES = ((56, 56), (40, 60), (60, 35), (20, 24))
"""Of pictures that have to be resized."""

WARPED_SIZES = SIZES[1:3]
"""The same for a transform that warps, which needs several pictures of each."""

EXACT = 1e-5
"""Part of the largest value: float32 and the order of its operations cost 1e-6, scaling by 256
instead of 255 costs 4e-3."""

IN_16_BITS = 1e-2
"""The same for 16-bit numbers."""

LEVELS = torch.tensor([0, 255, 26, 77, 128, 179, 230, 1], dtype=torch.uint8)
"""Brightnesses of pictures of one colour, from which the change of values is read."""

BACKGROUND = 0.037
"""Black filled in after normalising may be this far off, in parts of white, at the edge of a warp,
where torchvision blends it twice: (1 - w + w * w) * -0.4242. Grey is 0.13 off."""

RAMP = 0.06
"""Mean difference that interpolations of a ramp may have: nearest neighbour has some 0.03, an
image that is cropped or padded instead of resized 0.2 and more."""

WARPED_RAMP = 0.036
"""The same of the mean of eight warps of a ramp, ``INSIDE``: 300 right ones had 0.008 to 0.028, 80
that were cropped to the shorter side or to 28 pixels 0.048 to 0.070."""

INSIDE = slice(7, 21)
"""Rows and columns away from the edges, which a warp paints over."""


@dataclass(frozen=True)
class Tones:
    """The values that black and white come out with."""

    black: float = BLACK
    white: float = WHITE

    def light(self, values: Tensor) -> Tensor:
        """The brightness of ``values``, 0 black to 1 white."""
        return (values.double() - self.black) / (self.white - self.black)


class OwnTones(Tones):
    """Of pictures that were each normalised by themselves, and have black and white in them."""

    def light(self, values: Tensor) -> Tensor:
        low, high = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
        return (values.double() - low) / (high - low).clamp(min=1e-6)


@dataclass(frozen=True)
class Look:
    """What a transform made of pictures: ``planes`` (N, H, W), float64, whatever its form was;
    none if that could not be told. ``tolerance`` is what its dtype can tell, in parts; ``dtype`` is
    empty for what is no tensor.
    """

    planes: Tensor | None
    tolerance: float
    dtype: str


# Form


def look(results: Tensor, kind: str, name: str, found: Findings) -> Look:
    """The pixels of results of 28x28 pictures; what is wrong with their form goes to ``found``."""
    shape = tuple(results.shape[1:])
    tolerance = IN_16_BITS if results.dtype in (torch.float16, torch.bfloat16) else EXACT
    seen = f"{name} makes {kind or 'a tensor'} {shape} of a picture of 28x28 pixels."
    if kind:
        found.add("not-a-tensor", f"It is of the type {kind}.")
    forms: dict[tuple[int, ...], tuple[str, ...]] = {
        (1, 28, 28): (),
        (28, 28): ("no-channel",),
        (28, 28, 1): ("channel-last",),
        (3, 28, 28): ("three-channels",),
        (28, 28, 3): ("three-channels", "channel-last"),
        (1, 1, 28, 28): ("batch-dimension",),
        (784,): ("flattened",),
        (1, 784): ("flattened",),
        (784, 1): ("flattened",),
    }
    planes: Tensor | None = None
    if shape in forms:
        for wrong in forms[shape] if kind != "Image" else ():
            found.add(wrong, f"{seen} (1, 28, 28) is asked for.")
        planes = _plane(results, shape)
    elif len(shape) in (2, 3) and shape[-2] == shape[-1] and shape[:-2] in ((), (1,)):
        found.add("other-size", f"{seen} (1, 28, 28) is asked for.")
        planes = results.reshape(len(results), *shape[-2:]).double()
    else:
        found.observe(seen, "(1, 28, 28) is asked for.", expected=[1, 28, 28], actual=list(shape))
    return Look(planes, tolerance, "" if kind else str(results.dtype).removeprefix("torch."))


def _plane(results: Tensor, shape: tuple[int, ...]) -> Tensor:
    if shape == (3, 28, 28):
        results = results[:, 0]
    if shape == (28, 28, 3):
        results = results[..., 0]
    return results.reshape(len(results), 28, 28).double()


def expect_float32(seen: Look, found: Findings) -> None:
    """Whole numbers are no news of pixels that were left as they are."""
    known = {"float64": "float64", "float16": "float16", "bfloat16": "float16"}
    name = known.get(seen.dtype, "integers")
    if seen.dtype in ("", "float32") or (name == "integers" and found.has("raw-pixels")):
        return
    found.add(name, f"It is {seen.dtype}; float32 is asked for.")


# The values of pixels


def read_pixels(images: Tensor, seen: Look, found: Findings) -> Tones | None:
    """What becomes of the pixels of uint8 ``images`` (N, 28, 28), which came out as ``seen``."""
    planes = seen.planes
    assert planes is not None
    explanation = _explained(images, planes, seen.tolerance)
    if explanation is not None:
        _say_pixels(explanation, found, planes.numel())
        return _tones(explanation.plan)
    return (
        _other_numbers(images, planes, seen, found)
        or _by_brightness(images, planes, found)
        or _by_neighbours(images, planes, found)
    )


def read_levels(transform: Transform, seed: int, found: Findings, seen: Look) -> Tones | None:
    """As ``read_pixels`` of a transform that also warps: read in the middle of pictures of one
    colour, where no warp shows.
    """
    levels = LEVELS.view(-1, 1, 1)
    repeats = 6
    results, kind = transform.of_any_kind(list(levels.expand(-1, 28, 28)), repeats, seed)
    planes = look(results, kind, transform.name, Findings(preprocessing.NAMES)).planes
    if planes is None:
        return None
    planes = planes.view(len(LEVELS), repeats, *planes.shape[1:])
    values = _middle(planes).flatten(1).median(1).values.view(-1, 1, 1)
    scale = max(1.0, values.abs().max().item())
    if _is_disturbed(planes, values, scale):
        grey = LEVELS[4].expand(28, 28)
        more, _ = transform.of_any_kind([grey], 256, seed)
        _say_disturbed(more.view(256, *planes.shape[2:]).double(), values[4], scale, found)
        return None
    explanation = _explained(levels, values, seen.tolerance, VALUES)
    if explanation is not None:
        _say_pixels(explanation, found, values.numel())
        return _tones(explanation.plan)
    return _other_numbers(levels, values, seen, found) or _by_brightness(levels, values, found)


def read_warped(transform: Transform, results: Look, seed: int, found: Findings) -> Tones | None:
    """As ``read_levels``, but for pictures that are normalised by themselves: one colour has no
    standard deviation.
    """
    assert results.planes is not None
    means, stds = results.planes.mean((1, 2)), results.planes.std((1, 2))
    if means.abs().max() < 1e-3 and (stds - 1).abs().max() < 1e-2:
        found.add(
            "normalised-by-itself",
            f"The pixels of each of {len(means)} pictures have a mean of {means.mean():.4f} and a "
            f"standard deviation of {stds.mean():.4f}, which were others before.",
        )
        return OwnTones()
    return read_levels(transform, seed, found, results)


def say_unknown(transform: Transform, images: Tensor, seen: Look, found: Findings) -> Tones | None:
    """Pixels that are not where they belong, by what can be measured of it."""
    tones = read_levels(transform, 0, found, seen)
    known = bool(found)
    results, _ = transform.of_any_kind([warps.dots()])
    if tones is not None:
        traces = warps.trace(tones.light(results.view(1, 28, 28)).float())
        scale, degrees = traces.scale.item(), traces.degrees.item()
        evidence = (
            f"Five dots in a picture of 28x28 pixels are {scale:.3f} times as far from each other "
            "as they were."
        )
        if traces.similar.item() < 0.3 and abs(degrees) < 0.6:
            if scale > 1.03:
                found.add("cropped", evidence)
            elif scale < 0.97:
                found.add("padded", evidence)
            elif traces.shift.abs().item() > 0.3:
                right, up = traces.shift.real.item(), traces.shift.imag.item()
                found.observe(
                    f"{transform.name} moves the picture.",
                    f"By {right:.1f} pixels to the right and {up:.1f} up, measured on five dots.",
                )
        elif traces.similar.item() < 0.3:
            found.observe(
                f"{transform.name} turns the picture by {degrees:.1f} degrees.",
                "Measured on five dots.",
                "Everything of that kind belongs in train_transform.",
            )
    if bool(found) == known:
        _say_pixels_off(transform.name, images, seen, tones, found)
    return tones


def _say_pixels_off(
    name: str, images: Tensor, seen: Look, tones: Tones | None, found: Findings
) -> None:
    assert seen.planes is not None
    known = tones or Tones()
    expected = images.double() / 255 * (known.white - known.black) + known.black
    wrong = (seen.planes - expected).abs() > 1e-4 * max(1.0, abs(known.white))
    image, row, column = wrong.nonzero()[0].tolist() if wrong.any() else (0, 0, 0)
    rows, columns = (wrong.any(0).any(axis).nonzero().flatten() for axis in (1, 0))
    found.observe(
        f"{name} makes other pixels of a picture of 28x28 than it is asked for.",
        f"{wrong.double().mean().item():.0%} of the pixels are off, in rows {rows.min()} to "
        f"{rows.max()} and columns {columns.min()} to {columns.max()}. A brightness of "
        f"{images[image, row, column]} in row {row}, column {column} came out as "
        f"{seen.planes[image, row, column]:.4f} where {expected[image, row, column]:.4f} is asked "
        "for.",
        "Resize, scale to 0..1, normalise: nothing else.",
    )


def _is_disturbed(planes: Tensor, values: Tensor, scale: float) -> bool:
    """Whether the middle of a picture of one colour has other values now and then.

    ``planes``: (levels, repeats, height, width); ``values``: what each level came out as mostly.
    """
    off = (_middle(planes) - values.view(-1, 1, 1, 1)).abs()
    return bool((off > 1e-3 * scale).any())


def _say_disturbed(planes: Tensor, value: Tensor, scale: float, found: Findings) -> None:
    """What changes pictures (N, height, width) of one grey, which mostly come out as ``value``."""
    frame = planes.shape[-1] // 6 + 1  # inside it no warp that is asked for uncovers anything
    inner = planes[:, frame:-frame, frame:-frame]
    uneven = (inner.amax((1, 2)) - inner.amin((1, 2))) > 1e-3 * scale
    changed = (inner - value).abs() > 1e-3 * scale
    spots, evenly = _is_spot(changed), changed.all(2).all(1) & ~uneven
    evidence = (
        f"Of {len(planes)} pictures of one grey {int(uneven.sum())} were uneven in the middle, and "
        f"{int(evenly.sum())} of another brightness than most."
    )
    if not uneven.any():
        found.add("brightness-changed", evidence)
    elif changed[uneven].double().mean() > 0.9 and not evenly.any():
        found.add("noise", evidence)
    elif not evenly.any() and spots[uneven].double().mean() > 0.5:
        found.add("erased", f"{evidence} {int(spots.sum())} had one spot of other pixels.")
    else:
        found.observe(
            "The middle of pictures of one colour is not of one colour any more.",
            evidence,
            "Leave out whatever else is random than rotation and perspective.",
        )


def _is_spot(changed: Tensor) -> Tensor:
    """Of which of the pictures (N, height, width) the pixels that are changed fill most of an
    upright rectangle, which leaves some rows and columns free: bool (N,).
    """
    rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
    filled = changed.sum((1, 2)) > 0.7 * rows * columns
    return filled & (rows > 0) & (rows < changed.shape[1]) & (columns < changed.shape[2])


def _middle(planes: Tensor) -> Tensor:
    """The middle 4x4 pixels of (..., height, width)."""
    at = planes.shape[-1] // 2
    return planes[..., at - 2 : at + 2, at - 2 : at + 2]


def _explained(
    images: Tensor,
    planes: Tensor,
    tolerance: float,
    bank: Sequence[match.Fault[Pixels]] = PIXELS,
) -> Explanation[Pixels] | None:
    """The mistakes with which every pixel comes out as it did; none if it is as asked."""

    def differs(plan: Pixels) -> float:
        expected = plan(images)
        scale = max(1.0, expected.abs().max().item())
        return match.difference(planes, expected) / scale

    asked = Pixels()
    if (distance := differs(asked)) < tolerance:
        return Explanation(((),), distance, asked)
    return match.explain(asked, bank, differs, tolerance)


def _say_pixels(explanation: Explanation[Pixels], found: Findings, count: int) -> None:
    untouched = found.has("not-a-tensor") and "raw-pixels" in explanation.fault
    alternatives = [
        [fault for fault in faults if not (untouched and fault.id.endswith("raw-pixels"))]
        for faults in explanation.alternatives
    ]
    if not any(alternatives):
        return
    black, white = explanation.plan(torch.tensor([0, 255]).view(2, 1, 1)).flatten().tolist()
    ends = (
        ""
        if math.isnan(black) or math.isnan(white)
        else f"Black comes out as {black:.4f} and white as {white:.4f}; {BLACK:.4f} and "
        f"{WHITE:.4f} are asked for. "
    )
    found.explain(
        list(filter(None, alternatives)),
        f"{ends}So computed, all {count} pixels are the same to {explanation.difference:.0e}.",
    )


def _tones(plan: Pixels) -> Tones | None:
    """None where values do not tell the brightness."""
    ramp = plan(torch.tensor([0, 64, 128, 192, 255]).view(-1, 1, 1)).flatten().tolist()
    straight = all(
        abs(value - ramp[0] - (ramp[-1] - ramp[0]) * level / 255) < 1e-6 * max(1.0, abs(value))
        for level, value in zip((0, 64, 128, 192, 255), ramp, strict=True)
    )
    return Tones(ramp[0], ramp[-1]) if straight and ramp[0] != ramp[-1] else None


def _other_numbers(images: Tensor, planes: Tensor, seen: Look, found: Findings) -> Tones | None:
    """Normalised with numbers of its own; perhaps turned as well."""
    places = [
        (None, lambda each: each),
        *((f, p.place) for f in PLACES for c in f.changes if (p := c(Pixels())) is not None),
    ]
    for fault, place in places:
        x = place(images.double() / 255).expand_as(planes).flatten()
        design = torch.stack([x, torch.ones_like(x)], dim=1)
        (factor, offset), *_ = torch.linalg.lstsq(design, planes.flatten().unsqueeze(1))
        factor, offset = factor.item(), offset.item()
        off = (planes.flatten() - factor * x - offset).abs().max().item()
        if abs(factor) < 1e-6 or off > 10 * seen.tolerance * max(1.0, abs(factor) + abs(offset)):
            continue
        mean, std = -offset / factor, 1 / factor
        if fault is not None:
            found.explain(((fault,),), f"So all {planes.numel()} pixels are in their places.")
        found.add(
            "other-mean-and-std",
            f"Black comes out as {offset:.4f} and white as {factor + offset:.4f}, which is what a "
            f"mean of {mean:.4f} and a standard deviation of {std:.4f} do; {BLACK:.4f} and "
            f"{WHITE:.4f} are asked for.",
        )
        return Tones(offset, factor + offset)
    return None


def _by_brightness(images: Tensor, planes: Tensor, found: Findings) -> Tones | None:
    """Each brightness becomes one value, but not along a straight line."""
    levels = images.expand_as(planes).flatten().long()
    values = planes.flatten()
    low = torch.full((256,), math.inf, dtype=torch.float64).scatter_reduce(
        0, levels, values, "amin"
    )
    high = torch.full((256,), -math.inf, dtype=torch.float64).scatter_reduce(
        0, levels, values, "amax"
    )
    there = levels.unique()
    if ((high - low)[there] > EXACT * values.abs().max().clamp(min=1)).any():
        return None
    shown = "; ".join(
        f"{level} -> {low[level]:.4f}" for level in there[:: max(1, len(there) // 5)].tolist()
    )
    if len(low[there].unique()) == 2:
        found.add("black-or-white", f"Only two values come out: {shown}.")
        return None
    found.observe(
        "Pixels are not changed along a straight line from black to white.",
        f"Brightness before and value after: {shown}. {BLACK:.4f} for 0 and {WHITE:.4f} for 255 "
        "are asked for, and evenly between them.",
        "Scale by dividing by 255, then subtract the mean and divide by the standard deviation.",
    )
    return None


def _by_neighbours(images: Tensor, planes: Tensor, found: Findings) -> Tones | None:
    """Each pixel is a weighted mean of its neighbours and itself, the same everywhere."""
    size, inside = 5, slice(2, -2)
    if planes.shape[1:] != (28, 28):
        return None
    patches = torch.nn.functional.unfold((images.double() / 255).unsqueeze(1), size)
    x = patches.transpose(1, 2).reshape(-1, size * size)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    y = planes[:, inside, inside].reshape(-1, 1)
    weights = torch.linalg.lstsq(x, y).solution
    off = (y - x @ weights).square().mean().sqrt() / y.std()
    if off > 0.02:
        return None
    kernel = weights[:-1].view(size, size)
    factor, offset = kernel.sum().item(), weights[-1].item()
    if abs(factor) < 1e-6 or kernel.abs().max() > 0.98 * kernel.abs().sum():
        return None  # nothing is mixed
    found.add(
        "blurred",
        f"A pixel has {kernel[2, 2].item() / factor:.0%} of its own brightness and the rest of its "
        f"neighbours'; that explains the values up to {off:.1%}.",
    )
    tones = Tones(offset, factor + offset)
    if abs(tones.black - BLACK) + abs(tones.white - WHITE) > 0.1:
        found.add(
            "other-mean-and-std",
            f"Black comes out as {tones.black:.2f} and white as {tones.white:.2f}.",
        )
    return tones


# The whole picture


MOVED = (
    *(fault.id.removeprefix("preprocessing.") for fault in PLACES),
    *("cropped", "padded", "horizontal-flip", "vertical-flip", "shifted", "rescaled", "sheared"),
    *("rotation-centre", "angle-range", "fixed-angle", "few-angles", "distortion-scale"),
    *("one-sided-angle", "same-draw", "test-augmented", "noise", "erased", "brightness-changed"),
)
"""Mistakes behind which a ramp does not show whether the whole picture is there."""


def expect_resized(
    transform: Transform, tones: Tones | None, found: Findings, repeats: int = 1, seed: int = 0
) -> None:
    """Pictures of other sizes come out whole, stretched to 28x28; only their shape is looked at
    where ``tones`` are not known or something else was moved.
    """
    shapes: dict[tuple[int, int], tuple[int, ...]] = {}
    slopes: dict[tuple[int, int], tuple[float, float]] = {}
    worst, where = 0.0, (0, 0)
    sizes = SIZES if repeats == 1 else WARPED_SIZES
    for size in sizes:
        results, _ = transform.of_any_kind(_ramps(*size), repeats, seed)
        if repeats == 1 and not found.has("test-augmented"):
            again, _ = transform.of_any_kind(_ramps(*size), 1, seed + 1)
            if not torch.equal(results, again):
                height, width = size
                found.add(
                    "test-augmented",
                    f"Two calls with the same picture of {height}x{width} pixels differ.",
                )
        shapes[size] = tuple(results.shape[1:])
        if results[0].numel() != 28 * 28:
            continue
        light = (tones or Tones()).light(results.reshape(2, repeats, 28, 28).double()).mean(1)
        slopes[size] = (_slope(light[1].T), _slope(light[0]))
        inside = slice(None) if repeats == 1 else INSIDE
        off = (light - _ramps_seen(*size))[:, inside, inside].abs().mean((1, 2)).max().item()
        if off > worst:
            worst, where = off, size
    if len(slopes) < len(sizes):
        _say_shapes(transform.name, shapes, found)
        return
    readable = tones is not None and not found.has(*MOVED)
    if readable and worst >= (RAMP if repeats == 1 else WARPED_RAMP):
        part = "" if repeats == 1 else " in the middle"
        _say_resized(transform.name, slopes, f"{worst:.2f} off on average{part}", where, found)


def _ramps(height: int, width: int) -> list[Tensor]:
    """From black to white, across and down."""
    across, down = torch.linspace(0, 255, width), torch.linspace(0, 255, height)
    return [
        across.expand(height, width).round().to(torch.uint8),
        down.unsqueeze(1).expand(height, width).round().to(torch.uint8),
    ]


def _ramps_seen(height: int, width: int) -> Tensor:
    """(2, 28, 28): the ramps after resizing. The centre of pixel i is at (i + 1/2) / 28."""
    places = ((torch.arange(28) + 0.5) / 28 * torch.tensor([[width], [height]]) - 0.5).clamp(min=0)
    light = (places / torch.tensor([[width - 1], [height - 1]])).clamp(max=1)
    return torch.stack([light[0].expand(28, 28), light[1].unsqueeze(1).expand(28, 28)])


def _slope(light: Tensor) -> float:
    """How fast the middle gets brighter from left to right; 1 if all of the ramp is there."""
    middle = light[10:18, 8:20].mean(0)
    steps = torch.arange(12.0) - 5.5
    return 28 * ((middle - middle.mean()) * steps).sum().item() / steps.square().sum().item()


def _kept(height: int, width: int) -> tuple[int, int]:
    """The size with 28 for the shorter side and the aspect ratio kept, as torchvision has it."""
    short = min(height, width)
    return int(28 * height / short), int(28 * width / short)


def _say_shapes(name: str, shapes: dict[tuple[int, int], tuple[int, ...]], found: Findings) -> None:
    said = "; ".join(
        f"{height}x{width} -> {'x'.join(map(str, shape))}"
        for (height, width), shape in shapes.items()
    )
    evidence = f"{name}, size of the picture and of what comes out: {said}. 1x28x28 is asked for."
    if found.has("other-size") or (found and len(set(shapes.values())) == 1):
        return  # that is told of pictures of 28x28 pixels already
    if all(shape[-2:] == size for size, shape in shapes.items()):
        found.add("not-resized", evidence)
    elif all(shape[-2:] == _kept(*size) for size, shape in shapes.items()):
        found.add("aspect-kept", evidence)
    else:
        found.observe(f"{name} makes tensors of several sizes.", evidence, "Resize to (28, 28).")


FITTINGS: dict[tuple[str, ...], Callable[[float, float, float, float], tuple[float, float]]] = {
    ("not-resized", "cropped"): lambda h, w, short, long: (28 / h, 28 / w),
    ("aspect-kept", "cropped"): lambda h, w, short, long: (short / h, short / w),
    ("aspect-kept", "padded"): lambda h, w, short, long: (long / h, long / w),
}
"""How fast ramps get brighter down and across in pictures (h, w) that are not stretched."""


def _say_resized(
    name: str,
    slopes: dict[tuple[int, int], tuple[float, float]],
    off_by: str,
    where: tuple[int, int],
    found: Findings,
) -> None:
    evidence = (
        f"Of a picture of {where[0]}x{where[1]} pixels with a ramp from black to white, {name} "
        f"makes one that is {off_by}, on the scale from 0 to 1. The ramp rises "
        + ", ".join(
            f"{down:.2f} and {across:.2f} times as fast as asked in {height}x{width}"
            for (height, width), (down, across) in slopes.items()
        )
        + ", down and across."
    )
    off = {
        names: max(
            abs(seen / asked - 1)
            for size in slopes
            for seen, asked in zip(slopes[size], slope(*size, min(size), max(size)), strict=True)
        )
        for names, slope in FITTINGS.items()
    }
    nearest = min(off, key=lambda names: off[names])
    if off[nearest] < 0.2:
        found.add(nearest[0], evidence)
        for each in nearest[1:]:
            found.add(each, "")
        return
    found.observe(
        f"{name} does not fit the whole of a picture of {where[0]}x{where[1]} pixels into 28x28.",
        evidence,
        "Resize to (28, 28): both numbers, no cropping and no padding.",
    )


# What is random


WARPS = 512
"""Warps of one image that the statistics of rotation and perspective are taken from. The bounds
below are at least five standard deviations from what torchvision's own transforms give."""

DISTORTED = (0.35, 0.65)
"""The share of images with a perspective: 0.5, standard deviation 0.022."""

SPREAD = (4.7, 6.9)
"""The standard deviation of the angle in degrees: 10 / sqrt(3) = 5.77, give or take 0.18."""

STEEPEST = (8.3, 10.8)
"""Degrees of the steepest warp to either side; nearest neighbour shows an angle to within 0.5. In
250 tries 10 degrees showed as at least 8.5, 9 as at most 8.2 and 11 as at least 9.6."""

FEW, FEW_DISTORTED, FEW_SPREAD, FEW_STEEPEST = 160, (0.42, 0.58), (5.1, 6.5), (9.0, 10.2)
"""Warps that are enough where they leave no doubt: two standard deviations from what is asked for,
so that most are done with them and what is a little off is seen sooner than by the wide bounds."""

PLAIN = 16
"""Warps of a black and of a white picture. What is done to one in ten only is missed here in 19 %
of runs, and seen on the dots."""

SHRINKAGE = (0.88, 0.945)
"""How far the dots are from the centre after a perspective, on average, as a share of before:
0.926 by torchvision's whole pixels, 0.897 by fractions of a pixel. Distortion scales of 0.1 and
0.3 give 0.963 and 0.852. Known to within 0.002."""

SHRINKAGES = {0.1: 0.963, 0.2: 0.926, 0.3: 0.852, 0.4: 0.815, 0.5: 0.751, 0.6: 0.7}
"""By distortion scale, of torchvision's RandomPerspective."""

BENT = 0.8
"""Pixels by which the middle dot may miss the diagonals of the others after any perspective, moved
pixel by pixel; an elastic transform has more in half of the images."""

STRAIGHT, STRAIGHT_NEAREST = 0.2, 0.55
"""The same for nine of ten images with a perspective: at most 0.06 and 0.36 were seen."""

TURNED_AS_WELL = 4.0
"""The standard deviation in degrees of the angles of those with a perspective: 5.9, give or take
0.26, and 1.3 if they are not turned."""

ALIKE = 0.99
"""Of clouds that were merely turned; a perspective leaves them at most 0.988 alike."""

CLEAR = 0.6
"""Degrees to which the angle of a mere rotation is known."""

UPRIGHT = 0.98
"""Share of the mere rotations whose dots are in their order by brightness: all, without flips."""

BLUR = 0.3
"""Squared pixels by which the spread of a dot may be another than ``warps.SPREAD``."""


def expect_background(transform: Transform, tones: Tones, seed: int, found: Findings) -> float:
    """Black stays black, white has black corners, and nothing else is painted.

    What the corners are filled with, from 0 black to 1 white.
    """
    black = torch.zeros(28, 28, dtype=torch.uint8)
    results, _ = transform.of_any_kind([black, 255 - black], PLAIN, seed)
    if results[0].numel() != 28 * 28:
        return 0.0
    dark, light = tones.light(results.view(2, PLAIN, 28, 28))
    inside = light[:, 9:19, 9:19]
    painted = ((inside - 1).abs() > BACKGROUND).flatten(1).any(1).double().mean().item()
    if painted > 0:
        found.observe(
            f"{transform.name} makes pictures that are not white in the middle of white ones.",
            f"{painted:.0%} of {PLAIN} were so.",
            "Leave out whatever else is random than rotation and perspective.",
        )
        return 0.0
    if dark.abs().max() >= BACKGROUND:
        fill = dark.flatten()[dark.abs().argmax()].item()
        if not (found.has("inverted") and abs(fill - 1) < BACKGROUND):
            _say_corners(fill, tones, found)
        return fill
    if light.min() < -1e-3 or light.max() > 1 + 1e-3:
        found.observe(
            f"{transform.name} makes values that no grey between black and white has.",
            f"In warps of a white picture the brightness lies between {light.min():.4f} and "
            f"{light.max():.4f}, on the scale from 0 to 1.",
        )
    elif light[:, ::27, ::27].abs().min() >= BACKGROUND and not (light == light[:1]).all():
        found.add(
            "stretched-corners",
            f"In {PLAIN} warps of a white picture no corner was darker than "
            f"{light[:, ::27, ::27].min():.4f}, on the scale from 0 to 1.",
        )
    return 0.0


def _say_corners(fill: float, tones: Tones, found: Findings) -> None:
    evidence = (
        f"In {PLAIN} warps of a black picture there are pixels with a brightness of {fill:.4f} on "
        "the scale from 0 to 1."
    )
    if abs(fill - tones.light(torch.zeros(()))) < 1e-3:
        found.add("grey-corners", f"{evidence} That is the value 0 after normalising.")
    elif abs(fill - 1) < BACKGROUND:
        found.add("bright-corners", evidence)
    else:
        found.add("other-corners", evidence)


def expect_warps(
    transform: Transform,
    again: Callable[[], Transform],
    tones: Tones,
    fill: float,
    seed: int,
    found: Findings,
) -> None:
    """Rotation and perspective as asked, measured on dots; ``again`` makes another transform.

    The dots are on a ground of the brightness ``fill``, so that filled corners do not show.
    """
    filled = found.has("grey-corners", "bright-corners", "other-corners", "stretched-corners")

    def probe(picture: Tensor) -> Tensor:
        picture, ground = picture / 255, round(255 * fill) / 255
        on_ground = ground + picture * (1 - ground) if fill < 0.5 else ground - picture * ground
        return (255 * on_ground).round().to(torch.uint8)

    def light(values: Tensor) -> Tensor:
        seen = (tones.light(values.view(-1, 28, 28)) - fill).float()
        seen = seen / (1 - fill) if fill < 0.5 else -seen / fill
        return seen * warps.middle() if filled else seen

    results, _ = transform.of_any_kind([probe(warps.dots())], FEW, seed)
    if results[0].numel() != 28 * 28 or _beyond_doubt(warps.measure(light(results))):
        return
    more, _ = transform.of_any_kind([probe(warps.dots())], WARPS - FEW, seed + 1)
    results = torch.cat([results, more])
    if (results == results[0]).all():
        if not found.has("reseeds"):
            other, _ = again().of_any_kind([probe(warps.dots())], 1, seed + 1)
            _say_not_random(light(results)[0], light(other)[0], found)
        return
    measured = warps.measure(light(results))
    if not _right(measured):
        try:
            clouds, _ = transform.of_any_kind([probe(warps.clouds())], WARPS // 2, seed)
        except SubmissionFailure:  # There was no time left for more; the dots are known.
            clouds = results

        _say_warps(transform.name, light(results), light(clouds), measured, found)
        if found.has("fixed-angle", "no-rotation"):
            other, _ = again().of_any_kind([probe(warps.clouds())], 32, seed + 1)
            _say_drawn_once(light(clouds), light(other), found)


def _say_drawn_once(clouds: Tensor, others: Tensor, found: Findings) -> None:
    """Whether a transform that was made once more turns all pictures alike too, but otherwise."""
    (first, second) = (
        degrees[alike > ALIKE] for degrees, alike in map(warps.angles, (clouds, others))
    )
    if len(second) < 3 or (second - second.median()).abs().max() > CLEAR:
        return
    if (first.median() - second.median()).abs() > 1:
        found.replace(
            ("fixed-angle", "no-rotation"),
            "same-draw",
            f"All pictures were turned by {first.median():.1f} degrees, and by "
            f"{second.median():.1f} after the transform was made once more.",
        )


def _say_warps(
    name: str, light: Tensor, clouds: Tensor, measured: warps.Warps, found: Findings
) -> None:
    before = found.count
    traces = warps.trace(light)
    whole = traces.of(traces.whole)
    straight = (whole.bent < BENT).double().mean().item()
    if len(whole.bent) > 100 and straight > 0.85:
        degrees = _say_flips(whole, found)
        _say_moves(whole, found)
        _say_perspective(whole, measured, found, _interpolated(light))
        _say_angles(whole, degrees, clouds, measured, found)
        _say_blur(measured, found)
        _say_either(measured, found)
    if found.count == before:
        rotated = measured.rotations.double().mean().item()
        found.observe(
            f"{name} does more to a picture than to rotate and distort it.",
            f"In {WARPS} warps of five dots {rotated:.0%} were a mere rotation, and in "
            f"{straight:.0%} the middle dot stayed where the diagonals of the others cross, as it "
            "does in any perspective.",
            "Leave out whatever changes brightness or place in another way.",
        )


def _right(measured: warps.Warps) -> bool:
    """Whether the warps are those that are asked for."""
    rotations = measured.rotations
    share = 1 - rotations.double().mean().item()
    if not DISTORTED[0] < share < DISTORTED[1]:
        return False
    degrees = measured.degrees[rotations]
    shrinkage = measured.scale[~rotations].nanmean().item()
    return (
        SPREAD[0] < degrees.std().item() < SPREAD[1]
        and _steep(degrees.min().item(), degrees.max().item())
        and SHRINKAGE[0] < shrinkage < SHRINKAGE[1]
        and measured.degrees[~rotations].std().item() > TURNED_AS_WELL
        and measured.upright[rotations].double().mean().item() >= UPRIGHT
        and _blurred(measured) < 0.2
    )


def _steep(low: float, high: float) -> bool:
    """Whether the outermost angles are those that are asked for, to within what dots tell."""
    return all(STEEPEST[0] < each <= STEEPEST[1] for each in (-low, high))


def _beyond_doubt(few: warps.Warps) -> bool:
    """Whether a few warps are already clearly those that are asked for."""
    share, degrees = 1 - few.rotations.double().mean().item(), few.degrees[few.rotations]
    return (
        FEW_DISTORTED[0] < share < FEW_DISTORTED[1]
        and FEW_SPREAD[0] < degrees.std().item() < FEW_SPREAD[1]
        and FEW_STEEPEST[0] < degrees.abs().max().item() < FEW_STEEPEST[1]
        and bool(few.upright[few.rotations].all())
        and _blurred(few) == 0
        and _right(few)
    )


def _blurred(measured: warps.Warps) -> float:
    """The share of mere rotations whose centre dot is wider or narrower than it was."""
    spread = measured.spread[measured.rotations]
    return ((spread - warps.SPREAD).abs() > BLUR).double().mean().item() if len(spread) else 0.0


def _say_not_random(light: Tensor, second: Tensor, found: Findings) -> None:
    """Every call gives ``light``; the transform made once more gives ``second``."""
    traces = warps.trace(torch.stack([light, second]))
    degrees, turned = traces.degrees.tolist()
    evidence = f"{WARPS} calls gave equal results; five dots were turned by {degrees:.1f} degrees"
    still = (
        (traces.degrees.abs() < 0.6)
        & (traces.similar < 0.3)
        & ((traces.scale - 1).abs() < 0.02)
        & (traces.shift.abs() < 0.3)
        & ~traces.mirrored
    )
    if still.all():
        found.add("not-augmented", f"{evidence}.")
    elif match.difference(second, light) > 1e-3:
        found.add("same-draw", f"{evidence}, and by {turned:.1f} when it was made once more.")
    elif traces.similar[0] < 0.3 and abs(degrees) >= 0.6:
        found.add("fixed-angle", f"{evidence}, also when it was made once more.")
        found.add("no-perspective", "")
    else:
        found.observe(
            "train_transform does the same to a picture every time.",
            f"{evidence}.",
            "The angle has to be drawn at every call.",
        )


def _say_flips(traces: warps.Traces, found: Findings) -> Tensor:
    """The angles (N,), less the quarter turns that are part of a flip or of another place."""
    quarters = torch.polar(torch.ones(len(traces.degrees)), torch.deg2rad(4 * traces.degrees))
    lean = torch.rad2deg(quarters.mean().angle()).item() / 4
    turns = ((traces.degrees - lean) / 90).round().long()
    fits = traces.affine < 0.5
    share = {
        (mirrored, turn): (
            ((traces.mirrored == mirrored) & (turns % 4 == turn))[fits].double().mean().item()
        )
        for mirrored in (False, True)
        for turn in range(4)
    }
    for (mirrored, turn), part in share.items():
        name = PLACED.get((mirrored, turn))
        if name is None or part <= 0.05:
            continue
        always, sometimes = name
        evidence = f"So were five dots in {part:.0%} of {WARPS} warps."
        if part > 0.9:
            found.add(always, evidence)
        elif sometimes:
            found.add(sometimes, evidence)
    flipped = sum(part for place, part in share.items() if place in PLACED)
    wide = flipped > 0.05 and not found.has(
        *{name for pair in PLACED.values() for name in pair if name}
    )
    return traces.degrees if wide or flipped <= 0.05 else traces.degrees - 90 * turns


TURNED = ("vertical-flip", "upside-down", "transposed", "half-a-turn", "quarter-turn")
"""Places behind which an angle is known but for quarter turns."""

PLACED: dict[tuple[bool, int], tuple[str, str]] = {
    (True, 0): ("mirrored", "horizontal-flip"),
    (True, 2): ("upside-down", "vertical-flip"),
    (True, 1): ("transposed", ""),
    (True, 3): ("transposed", ""),
    (False, 2): ("half-a-turn", ""),
    (False, 1): ("quarter-turn", ""),
    (False, 3): ("quarter-turn", ""),
}
"""What a picture that is mirrored or not and turned by quarters is called, always and sometimes."""


def _say_moves(traces: warps.Traces, found: Findings) -> None:
    """Shift, scale and shear, in images that no perspective has made smaller."""
    similar = traces.similar < 0.3
    kept = (traces.scale - 1).abs() <= 0.02
    shift = traces.shift.abs()
    larger = similar & (traces.scale > 1.02)
    smaller = similar & (traces.scale < 0.98) & (shift < 0.3)
    moved = similar & kept & (shift > 0.4)
    sheared = (
        ~similar
        & (traces.affine < 0.3)
        & (traces.shear > 0.03 * traces.scale)
        & (traces.scale > 0.985)
    )
    parts = {"larger": larger, "smaller": smaller, "moved": moved, "sheared": sheared}
    share = {name: part.double().mean().item() for name, part in parts.items()}
    if share["larger"] > 0.05 or share["smaller"] > 0.25:
        changed = traces.scale[larger if share["larger"] > 0.05 else smaller]
        always = "cropped" if share["larger"] > 0.05 else "padded"
        alike = ((changed - changed.median()).abs() < 0.012).double().mean().item()
        found.add(
            always if alike > 0.75 and len(changed) > 0.25 * WARPS else "rescaled",
            f"Of {WARPS} warps of five dots {share['larger']:.0%} enlarged them and "
            f"{share['smaller']:.0%} drew them together evenly, by factors from "
            f"{changed.min():.2f} to {changed.max():.2f}.",
        )
    if share["moved"] > 0.05:
        _say_moved(traces, moved, share["moved"], found)
    if share["sheared"] > 0.1 and share["larger"] <= 0.05:
        found.add(
            "sheared",
            f"In {share['sheared']:.0%} of {WARPS} warps of five dots the square that they make "
            "became a slanted or oblong one.",
        )


def _say_moved(traces: warps.Traces, moved: Tensor, share: float, found: Findings) -> None:
    """About another point c a turn by t moves all dots by (1 - e^it) c."""
    turn = torch.polar(torch.ones(()), torch.deg2rad(traces.degrees[moved]))
    shift = traces.shift[moved]
    centre = ((1 - turn).conj() * shift).sum() / (1 - turn).abs().square().sum().clamp(min=1e-9)
    left = (shift - (1 - turn) * centre).abs().square().sum() / shift.abs().square().sum()
    if left < 0.15 and centre.abs() > 1:
        right, up = centre.real.item(), centre.imag.item()
        found.add(
            "rotation-centre",
            f"Five dots turned about a point {abs(right):.1f} pixels to the "
            f"{'right' if right > 0 else 'left'} of the centre and {abs(up):.1f} "
            f"{'above' if up > 0 else 'below'} it.",
        )
        return
    found.add(
        "shifted",
        f"In {share:.0%} of {WARPS} warps five dots moved together, by up to "
        f"{shift.abs().max():.1f} pixels.",
    )


def _interpolated(light: Tensor) -> bool:
    """Whether there are brightnesses that the dots do not have."""
    levels = (255 * light).round()
    return (~torch.isin(levels, warps.dots().float())).double().mean().item() > 0.01


def _say_perspective(
    traces: warps.Traces, measured: warps.Warps, found: Findings, interpolated: bool
) -> None:
    moves = found.has("rescaled", "cropped", "padded", "shifted", "sheared", "rotation-centre")
    if found.has("sheared"):
        even = traces.affine < 0.15
    elif found.has("rescaled", "cropped", "padded"):
        even = traces.similar < 0.3
    elif moves:
        even = (traces.similar < 0.3) & ((traces.scale - 1).abs() < 0.02)
    else:
        even = measured.rotations
    share = 1 - even.double().mean().item()
    evidence = (
        f"So many of {WARPS} warps of five dots were more than a rotation: {share:.1%}; a "
        "perspective is asked for with probability 0.5."
    )
    if share < 0.02:
        found.add("no-perspective", evidence)
        return
    bent = traces.bent[(traces.similar > 0.3) | ((traces.scale - 1).abs() > 0.01)]
    limit = STRAIGHT if interpolated else STRAIGHT_NEAREST
    if moves or (len(bent) and bent.quantile(0.9) > limit):
        return  # there is more, and it may not be a perspective
    if share > 0.98:
        found.add("perspective-always", evidence)
    elif not DISTORTED[0] < share < DISTORTED[1]:
        found.add("perspective-probability", evidence)
    shrinkage = measured.scale[~measured.rotations].nanmean().item()
    if not SHRINKAGE[0] < shrinkage < SHRINKAGE[1]:
        nearest = min(SHRINKAGES, key=lambda scale: abs(SHRINKAGES[scale] - shrinkage))
        found.add(
            "distortion-scale",
            f"It draws dots together to {shrinkage:.3f} of their distance on average; that is "
            f"0.926 with a distortion scale of 0.2, and {SHRINKAGES[nearest]:.3f} with {nearest}.",
        )


def _say_angles(
    traces: warps.Traces,
    degrees: Tensor,
    clouds: Tensor,
    measured: warps.Warps,
    found: Findings,
) -> None:
    """How far pictures are turned, told from those without a perspective if there are any.

    Clouds tell it best, where they are not moved or mirrored as well.
    """
    turned, alike = warps.angles(clouds)
    plain = (traces.similar < 0.3) & (traces.scale > 0.98)
    if (alike > ALIKE).double().mean() > 0.15:
        angles = turned[alike > ALIKE].sort().values
        if found.has(*TURNED):
            angles = (angles - 90 * (angles / 90).round()).sort().values
    elif found.has("shifted", "rotation-centre") and plain.double().mean() > 0.15:
        angles = degrees[plain].sort().values
    else:
        if not found.has("rescaled", "cropped", "padded", "shifted", "sheared", "rotation-centre"):
            _say_rough_angles(degrees, measured, found)
        return
    angles = _without_strays(angles)
    low, high, spread = angles[0].item(), angles[-1].item(), angles.std().item()
    evidence = (
        f"The angles of {len(angles)} mere rotations lie between {low:.1f} and {high:.1f} degrees, "
        f"with a standard deviation of {spread:.1f}; -10, 10 and 5.8 are asked for."
    )
    if max(abs(low), abs(high)) < CLEAR:
        found.add("no-rotation", evidence)
        return
    if high - low < 2 * CLEAR:
        found.add("fixed-angle", evidence)
        return
    groups = _groups(angles, max(1.5, 8 * (high - low) / len(angles)))
    if len(groups) > 1 and all(group[-1] - group[0] < 2 * CLEAR for group in groups):
        listed = ", ".join(f"{group.mean():.0f}" for group in groups[:8])
        found.add("few-angles", f"{evidence} They are near {listed} and nowhere else.")
        return
    if SPREAD[0] < spread < SPREAD[1] and _steep(low, high):
        return  # to within what dots tell
    even = (high - low) / math.sqrt(12)
    if low > -CLEAR or high < CLEAR:
        found.add("one-sided-angle", evidence)
    elif high - low > 8 and not 0.85 < spread / even < 1.15:
        found.add("uneven-angles", evidence)
    else:
        found.add("angle-range", evidence)


def _say_rough_angles(degrees: Tensor, measured: warps.Warps, found: Findings) -> None:
    """A perspective turns dots as well, by some 18 degrees for each part that it draws them
    together by.
    """
    angles = degrees[(degrees - degrees.median()).abs() < 60]
    noise = 18 * (1 - measured.scale[~measured.rotations].nanmean().item())
    spread = math.sqrt(max(0.0, angles.var().item() - noise**2))
    evidence = (
        f"Without the perspective's share the angles of {len(angles)} warps of five dots have a "
        f"mean of {angles.mean():.1f} degrees and a standard deviation of {spread:.1f}; 0 and 5.8 "
        "are asked for."
    )
    mean = angles.mean().item()
    if spread < 1.5:
        found.add("no-rotation" if abs(mean) < 1 else "fixed-angle", evidence)
    elif abs(mean) > 0.8 * math.sqrt(3) * spread:
        found.add("one-sided-angle", evidence)
    elif not 4.0 < spread < 7.5:
        found.add("angle-range", evidence)


def _without_strays(angles: Tensor) -> Tensor:
    """Sorted angles, but for a few beside the others: now and then a perspective is so slight that
    it passes for none.
    """
    gap = max(1.0, 8 * (angles[-1] - angles[0]).item() / len(angles))
    groups = [group for group in _groups(angles, gap) if len(group) > 0.03 * len(angles)]
    return torch.cat(groups) if groups else angles


def _groups(angles: Tensor, gap: float) -> list[Tensor]:
    """Sorted angles, parted where there are none for so many degrees."""
    ends = ((angles[1:] - angles[:-1]) > gap).nonzero().flatten() + 1
    return list(angles.tensor_split(ends.tolist()))


def _say_either(measured: warps.Warps, found: Findings) -> None:
    if found.has("no-rotation", "fixed-angle", "few-angles", "no-perspective", "same-draw"):
        return
    if not 1 < measured.rotations.sum() < WARPS - 1:
        return
    turned = measured.degrees[measured.rotations].std().item()
    as_well = measured.degrees[~measured.rotations].std().item()
    if turned > TURNED_AS_WELL > 2.5 > as_well:
        found.add(
            "rotation-or-perspective",
            f"The angles of mere rotations have a standard deviation of {turned:.1f} degrees, "
            f"those of pictures with a perspective one of {as_well:.1f}, which is the "
            "perspective's own.",
        )


def _say_blur(measured: warps.Warps, found: Findings) -> None:
    share = _blurred(measured)
    if share >= 0.2:
        found.add(
            "blurred",
            f"In {share:.0%} of the mere rotations of five dots the middle one is wider or "
            "narrower than it was.",
        )
