"""Do the transforms, ``downsample`` and ``make_loaders`` do what their handout asks for?"""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_lab.diagnosis import draws, explain
from mnist_lab.diagnosis.degenerate import of_images
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.pictures import augmentation, sizes, usual, values, warps
from mnist_lab.diagnosis.pictures.findings import Findings
from mnist_lab.diagnosis.pictures.forms import Look, expect_float32, look
from mnist_lab.diagnosis.pictures.loaders import check_make_loaders
from mnist_lab.diagnosis.pictures.samples import check_downsample
from mnist_lab.diagnosis.pictures.values import Tones
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle
from mnist_lab.submission.remote import Transform

__all__ = [
    "check_downsample",
    "check_make_loaders",
    "check_test_transform",
    "check_train_transform",
]


def check_test_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    """``test_transform`` resizes, scales and normalises, always alike."""
    generator = grader.generator("preprocessing.test_transform")
    transform = exercise.test_transform()
    found = Findings(transform.name)
    pictures = _pictures(generator)
    results, kind = transform.of_any_kind(list(pictures), seed=1)
    if same := of_images(transform.name, results):
        raise same
    again, _ = transform.of_any_kind(list(pictures), seed=2)
    seen = look(results, kind, found)
    tones: Tones | None = None
    exchanged = False
    if not torch.equal(results, again):
        off, exchanged = explain.difference(results, again), _is_steady(exercise, pictures)
        equal = " Two of train_transform's are equal." if exchanged else ""
        found.add(
            "transforms-swapped" if exchanged else "test-augmented",
            f"Two calls with the same picture differ by up to {off:.3g}.{equal}",
        )
        tones = values.read_levels(transform, 0, found, seen)
    elif seen.planes is not None and seen.planes.shape[1:] == pictures.shape[1:]:
        before = bool(found)
        tones = values.read_pixels(pictures, seen, found)
        if tones is None and bool(found) == before:
            tones = _say_unknown(transform, pictures, seen, found)
    elif seen.planes is not None:
        tones = values.read_levels(transform, 0, found, seen)
    expect_float32(seen, found)
    if not exchanged:
        seed = int(torch.randint(2**31, (), generator=generator))
        sizes.expect_resized(transform, tones, found, 1, seed)
    _expect_no_seed(transform, generator, found)
    found.expect_none()


def check_train_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train_transform`` rotates and distorts at random besides, within its bounds."""
    generator = grader.generator("preprocessing.train_transform")
    seed = int(torch.randint(2**31, (), generator=generator))
    transform = exercise.train_transform()
    found = Findings(transform.name)
    pictures = list(_pictures(generator))
    if usual.warps_as_torchvision(transform, [*pictures, *_more_pictures(seed)], seed):
        _expect_no_seed(transform, generator, found)
    else:
        _judge_warps(exercise, transform, pictures, generator, seed, found)
    found.expect_none()


def _more_pictures(seed: int) -> list[Tensor]:
    """One black, one white, and some of other sizes: uint8 (H, W)."""
    black = torch.zeros(28, 28, dtype=torch.uint8)
    return [black, 255 - black, *sizes.warped_pictures(seed)]


def _judge_warps(
    exercise: ExerciseHandle,
    transform: Transform,
    pictures: list[Tensor],
    generator: torch.Generator,
    seed: int,
    found: Findings,
) -> None:
    """By many warps, of whatever random numbers they are made."""
    results, kind = transform.of_any_kind(pictures, 2, seed)
    if same := of_images(transform.name, results):
        raise same
    seen = look(results, kind, found)
    tones: Tones | None = None
    if seen.planes is not None:
        tones = values.read_warped(transform, seen, seed, found)
    expect_float32(seen, found)
    _expect_no_seed(transform, generator, found)
    if tones is not None:
        fill = augmentation.expect_background(transform, tones, seed, found)
        augmentation.expect_warps(transform, exercise.train_transform, tones, fill, seed, found)
    sizes.expect_resized(transform, tones, found, 8, seed)
    if tones is not None and not found:
        augmentation.expect_any_picture(transform, tones, seed, found)
        augmentation.expect_black_corners(transform, tones, seed, found)
    if not found:
        _expect_own_draws(exercise, pictures, seed, found)


AGAIN, ALIKE = 20, 12
"""Warps of each picture by two transforms, and as many as are not the same by chance: of whole
degrees 1 in 100 is, of angles that are drawn alike every fourth that no perspective is added to.
"""


def _expect_own_draws(
    exercise: ExerciseHandle, pictures: list[Tensor], seed: int, found: Findings
) -> None:
    """Transforms that are made and called after other random numbers draw others."""
    one, two = (
        exercise.train_transform(other).of_any_kind(pictures, AGAIN, other)[0]
        for other in (seed, seed ^ 1)
    )
    alike = int((one == two).flatten(1).all(1).sum())
    if alike > ALIKE:
        found.add(
            "fixed-generator",
            f"Two transforms, made and called after different seeds were set, gave the same "
            f"picture in {alike} of {len(one)} cases.",
        )


def _pictures(generator: torch.Generator) -> Tensor:
    """uint8 (5, 28, 28): three from black to white, two of them with the same border, as
    digits have; one of greys in between, so that a picture's own extremes are not always those of
    all; and one with ink at one side only.
    """
    full = [draws.pixels(generator, 28, 28) for _ in range(3)]
    inside = full[1][4:-4, 4:-4].clone()
    full[1] = full[0].clone()
    full[1][4:-4, 4:-4] = inside
    grey = torch.randint(40, 200, (28, 28), generator=generator, dtype=torch.uint8)
    aside = torch.zeros_like(grey)
    aside[3:20, 8:26] = draws.pixels(generator, 17, 18).flip(1).clamp(min=1)
    return torch.stack([*full, grey, aside])


def _is_steady(exercise: ExerciseHandle, pictures: Tensor) -> bool:
    """Whether train_transform is there and uses no randomness."""
    try:
        train = exercise.train_transform()
        one, two = (train.of_any_kind(list(pictures), seed=seed)[0] for seed in (1, 2))
    except SubmissionFailure:
        return False
    return torch.equal(one, two)


def _say_unknown(
    transform: Transform, pictures: Tensor, seen: Look, found: Findings
) -> Tones | None:
    """Pixels that are not where they belong, by what can be measured of it."""
    known = len(found)
    tones = values.read_levels(transform, 0, found, seen)
    if tones is not None:
        _say_moved(transform, tones, found)
    if len(found) == known:
        _say_off(pictures, seen, tones or Tones(), found)
        return None  # what becomes of a ramp tells nothing of its size then
    return tones


def _say_moved(transform: Transform, tones: Tones, found: Findings) -> None:
    """What became of five dots as a whole, and of the same with ink in all corners."""
    results, _ = transform.of_any_kind([warps.dots(), warps.framed_dots()])
    traces = warps.trace(tones.light(results.view(-1, 28, 28)).float())
    (scale, framed), (degrees, _) = traces.scale.tolist(), traces.degrees.tolist()
    if traces.similar[0] >= 0.3:
        return
    evidence = (
        f"Five dots in a picture of 28x28 pixels are {scale:.3f} times as far from each other as "
        "they were"
    )
    right, up = traces.shift[0].real.item(), traces.shift[0].imag.item()
    if abs(degrees) >= 0.6:
        found.observe("turned", "Measured on five dots.", degrees=degrees)
    elif scale > 1.03 and framed < 1.02:
        found.add("cropped-to-ink", f"{evidence}, and {framed:.3f} times with ink in all corners.")
    elif scale > 1.03:
        found.add("cropped", f"{evidence}.")
    elif scale < 0.97:
        found.add("padded", f"{evidence}.")
    elif abs(right) > 0.3 or abs(up) > 0.3:
        found.observe(
            "moved", f"By {right:.1f} pixels to the right and {up:.1f} up, measured on five dots."
        )


def _say_off(pictures: Tensor, seen: Look, tones: Tones, found: Findings) -> None:
    assert seen.planes is not None
    expected = pictures.double() / 255 * (tones.white - tones.black) + tones.black
    wrong = (seen.planes - expected).abs() > 1e-4 * max(1.0, abs(tones.white))
    picture, row, column = wrong.nonzero()[0].tolist() if wrong.any() else (0, 0, 0)
    rows, columns = (wrong.any(0).any(axis).nonzero().flatten() for axis in (1, 0))
    found.observe(
        "other-pixels",
        f"{wrong.double().mean().item():.0%} of the pixels are off, in rows {rows.min()} to "
        f"{rows.max()} and columns {columns.min()} to {columns.max()}. A brightness of "
        f"{pictures[picture, row, column]} in row {row}, column {column} came out as "
        f"{seen.planes[picture, row, column]:.4f} where {expected[picture, row, column]:.4f} is "
        "asked for.",
    )


def _expect_no_seed(transform: Transform, generator: torch.Generator, found: Findings) -> None:
    called = transform.reseeds(draws.pixels(generator, 28, 28))
    for when, seeded in (("called", called), ("made", transform.reseeds_when_made())):
        if seeded:
            found.add(
                "reseeds",
                f"After {transform.name} was {when} with different seeds set before, the next "
                f"random numbers of {' and '.join(seeded)} were the same.",
            )
