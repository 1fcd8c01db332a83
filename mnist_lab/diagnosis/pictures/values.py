"""What becomes of the brightness of each pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.contract import MEAN, STD
from mnist_lab.diagnosis import explain
from mnist_lab.diagnosis.explain import Explanation
from mnist_lab.diagnosis.faults import edited
from mnist_lab.diagnosis.pictures.bank import (
    REFERENCE,
    computed,
    of_step,
)
from mnist_lab.diagnosis.pictures.findings import Findings
from mnist_lab.diagnosis.pictures.forms import EXACT, Look, look
from mnist_lab.submission.remote import Transform

BLACK, WHITE = -MEAN / STD, (1 - MEAN) / STD

LEVELS = torch.tensor([0, 255, 26, 77, 128, 179, 230, 1], dtype=torch.uint8)
LEVELS = LEVELS.view(-1, 1, 1).expand(-1, 28, 28)
"""Pictures of one colour, from which the change of values is read."""

GREY, PALE = 4, 5
"""Two of ``LEVELS``."""

NEARLY = 5e-4
"""So close to 0.1307 and 0.3081 are numbers that somebody computed again."""


@dataclass(frozen=True)
class Tones:
    """The values that black and white come out with."""

    black: float = BLACK
    white: float = WHITE

    @property
    def mean(self) -> float:
        return -self.black * self.std

    @property
    def std(self) -> float:
        return 1 / (self.white - self.black)

    def light(self, values: Tensor) -> Tensor:
        """The brightness of ``values``, 0 black to 1 white."""
        return (values.double() - self.black) / (self.white - self.black)


class OwnTones(Tones):
    """Of pictures that were each normalised by themselves, and have black and white in them."""

    def light(self, values: Tensor) -> Tensor:
        low, high = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
        return (values.double() - low) / (high - low).clamp(min=1e-6)


def read_pixels(pictures: Tensor, seen: Look, found: Findings) -> Tones | None:
    """What becomes of the pixels of uint8 ``pictures`` (N, 28, 28), which came out as ``seen``."""
    assert seen.planes is not None
    return _read(pictures, seen.planes, seen.tolerance, ("values", "place"), found)


def read_levels(transform: Transform, seed: int, found: Findings, seen: Look) -> Tones | None:
    """As ``read_pixels`` of a transform that also warps: read in the middle of pictures of one
    colour, where no warp shows.
    """
    repeats = 6
    results, kind = transform.of_any_kind(list(LEVELS), repeats, seed)
    planes = look(results, kind, Findings()).planes
    if planes is None:
        return None
    planes = planes.view(len(LEVELS), repeats, *planes.shape[1:])
    values = _middle(planes).flatten(1).median(1).values.view(-1, 1, 1)
    scale = max(1.0, values.abs().max().item())
    off = (_middle(planes) - values.unsqueeze(1)).abs()
    if (off > 1e-3 * scale).any():
        most = off.flatten(1).amax(1)
        level = GREY if most[GREY] > 1e-3 * scale else int(most.argmax())
        more = look(*transform.of_any_kind([LEVELS[level]], 256, seed), Findings())
        if more.planes is not None:
            _say_disturbed(more.planes, values[level], scale, found)
        return None
    before = len(found)
    own = _read_framed(transform, values.flatten(), scale, seed, found)
    if len(found) > before:
        return own
    return _read(LEVELS, values.expand(LEVELS.shape), seen.tolerance, ("values",), found)


def _read_framed(
    transform: Transform, values: Tensor, scale: float, seed: int, found: Findings
) -> Tones | None:
    """What grey becomes inside a frame of another brightness goes to ``found`` where it is not what
    it becomes alone; ``values`` are those of whole pictures of the ``LEVELS``.
    """
    pale, extreme = LEVELS[PALE].clone(), LEVELS[0].clone()
    extreme[:14] = 255
    for picture in (pale, extreme):
        picture[4:24, 4:24] = LEVELS[GREY, 0, 0]
    results, _ = transform.of_any_kind([pale, extreme], 16, seed)
    if results[0].numel() != pale.numel():
        return None
    inside = _middle(results.view(2, 16, 28, 28).double()).flatten(2).median(2).values
    low, high = sorted(values[[GREY, PALE]].tolist())  # a crop may bring pale ones to the middle
    off = torch.maximum(low - inside[0], inside[0] - high) > 1e-3 * scale
    if not off.any():
        return None
    grey = int(LEVELS[GREY, 0, 0])
    evidence = (
        f"A brightness of {grey} came out as {inside[0, off][0]:.4f} with a frame of "
        f"{int(LEVELS[PALE, 0, 0])} around it, and as {inside[1].median():.4f} with a frame of "
        "black and white."
    )
    if off.all() and (Tones().light(inside[1]) - grey / 255).abs().max() < 1e-2:
        found.add("scaled-by-own-range", evidence)
        return OwnTones()
    found.observe("by-other-pixels", evidence)
    return None


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


def explained(
    pictures: Tensor, planes: Tensor, tolerance: float, *steps: str, pairs: bool
) -> Explanation[str] | None:
    """The mistakes with which every pixel comes out as it did; none if it is as asked."""

    @cache
    def differs(text: str) -> float:
        expected = torch.stack(computed(text, pictures))
        return explain.difference(planes, expected) / max(1.0, expected.abs().max().item())

    return explain.explain(REFERENCE, of_step(*steps), differs, tolerance, pairs)


def _read(
    pictures: Tensor, planes: Tensor, tolerance: float, steps: tuple[str, ...], found: Findings
) -> Tones | None:
    """One mistake, or nearly the right numbers, or two mistakes, or what can be seen of it."""
    explanation = explained(pictures, planes, tolerance, *steps, pairs=False)
    if explanation is None:
        nearly = _line(REFERENCE, pictures, planes, tolerance)
        if nearly and max(abs(nearly.mean - MEAN), abs(nearly.std - STD)) < NEARLY:
            found.add("nearly-mean-and-std", _mean_and_std(nearly))
            return nearly
        explanation = explained(pictures, planes, tolerance, *steps, pairs=True)
    if explanation is not None:
        _say_pixels(explanation, found, planes.numel())
        return _tones(explanation.plan)
    return (
        _other_numbers(pictures, planes, tolerance, found)
        or _by_brightness(pictures, planes, found)
        or _by_neighbours(pictures, planes, found)
    )


def _say_pixels(explanation: Explanation[str], found: Findings, count: int) -> None:
    alternatives = [
        [fault for fault in faults if not (found.does("no-tensor") and fault.more.get("untouched"))]
        for faults in explanation.alternatives
    ]
    if not any(alternatives):
        return
    black, white = (made[0, 0].item() for made in computed(explanation.plan, LEVELS[:2]))
    ends = "" if math.isnan(black) or math.isnan(white) else _ends(black, white)
    found.explain(
        list(filter(None, alternatives)),
        f"{ends} Computed this way, all {count} pixels are the same to "
        f"{explanation.difference:.0e}.".lstrip(),
    )


def _mean_and_std(tones: Tones) -> str:
    ends = _ends(tones.black, tones.white)
    return f"The numbers are {tones.mean:.4f} and {tones.std:.4f}. {ends}"


def _ends(black: float, white: float) -> str:
    asked = f"{BLACK:.4f} and {WHITE:.4f} are asked for."
    return f"Black comes out as {black:.4f} and white as {white:.4f}; {asked}"


def _tones(text: str) -> Tones | None:
    """None where values do not tell the brightness."""
    made = torch.stack(computed(text, LEVELS))
    return None if made.isnan().any() else _line(REFERENCE, LEVELS, made, EXACT / 100)


def _line(text: str, pictures: Tensor, planes: Tensor, tolerance: float) -> Tones | None:
    """How black and white come out, if ``planes`` have each pixel where ``text`` has it and a value
    that lies evenly between them.
    """
    x = torch.stack(computed(text, pictures)).flatten()
    design = torch.stack([x, torch.ones_like(x)], dim=1)
    (factor, offset), *_ = torch.linalg.lstsq(design, planes.flatten().unsqueeze(1))
    off = (planes.flatten() - factor * x - offset).abs().max().item()
    tones = Tones((factor * BLACK + offset).item(), (factor * WHITE + offset).item())
    exact = off < tolerance * max(1.0, abs(tones.black), abs(tones.white))
    return tones if exact and abs(factor) > 1e-6 else None


def _other_numbers(
    pictures: Tensor, planes: Tensor, tolerance: float, found: Findings
) -> Tones | None:
    """Normalised with numbers of its own; perhaps turned as well."""
    places = ((f, edited(REFERENCE, way)) for f in of_step("place") for way in f.ways)
    for fault, text in ((None, REFERENCE), *places):
        tones = None if text is None else _line(text, pictures, planes, 10 * tolerance)
        if tones is None:
            continue
        if fault is not None:
            found.explain(((fault,),), f"So all {planes.numel()} pixels are in their places.")
        found.add("other-mean-and-std", _mean_and_std(tones))
        return tones
    return None


def _by_brightness(pictures: Tensor, planes: Tensor, found: Findings) -> Tones | None:
    """Each brightness becomes one value, but not along a straight line."""
    values = {level: planes[pictures == level] for level in pictures.unique().tolist()}
    largest = max(1.0, planes.abs().max().item())
    if any((each - each[0]).abs().max() > EXACT * largest for each in values.values()):
        return None
    levels = list(values)[:: max(1, len(values) // 5)]
    shown = "; ".join(f"{level} -> {values[level][0]:.4f}" for level in levels)
    if len({each[0].item() for each in values.values()}) == 2:
        found.add("black-or-white", f"Only two values come out: {shown}.")
        return None
    found.observe(
        "not-straight",
        f"Brightness before and value after: {shown}. {BLACK:.4f} for 0 and {WHITE:.4f} for 255 "
        "are asked for, and evenly between them.",
    )
    return None


def _by_neighbours(pictures: Tensor, planes: Tensor, found: Findings) -> Tones | None:
    """Each pixel is a weighted mean of its neighbours and itself, the same everywhere."""
    size, inside = 5, slice(2, -2)
    if planes.shape[1:] != (28, 28):
        return None
    patches = F.unfold((pictures.double() / 255).unsqueeze(1), size)
    x = patches.transpose(1, 2).reshape(-1, size * size)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    y = planes[:, inside, inside].reshape(-1, 1)
    weights = torch.linalg.lstsq(x, y).solution
    off = (y - x @ weights).square().mean().sqrt() / y.std()
    kernel, offset = weights[:-1].view(size, size), weights[-1].item()
    factor = kernel.sum().item()
    if off > 0.02 or abs(factor) < 1e-6 or kernel.abs().max() > 0.98 * kernel.abs().sum():
        return None  # something else is mixed in, or nothing
    found.add(
        "blurred",
        f"A pixel has {kernel[2, 2].item() / factor:.0%} of its own brightness and the rest of its "
        f"neighbours'; that explains the values up to {off:.1%}.",
    )
    tones = Tones(offset, factor + offset)
    if abs(tones.black - BLACK) + abs(tones.white - WHITE) > 0.1:
        found.add("other-mean-and-std", _mean_and_std(tones))
    return tones


def _say_disturbed(planes: Tensor, value: Tensor, scale: float, found: Findings) -> None:
    """What changes pictures (N, height, width) of one grey, which mostly come out as ``value``."""
    frame = planes.shape[-1] // 6 + 1  # inside it no warp that is asked for uncovers anything
    inner = planes[:, frame:-frame, frame:-frame] if planes.shape[-1] > 2 * frame else planes
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
        found.observe("uneven-middle", evidence)


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
