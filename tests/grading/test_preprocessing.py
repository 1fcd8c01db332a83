"""Do the transforms, ``downsample`` and ``make_loaders`` do what their handout asks for?"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mnist_lab.diagnosis import draws, fail, match, warps
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.reference import MEAN, STD, normalise
from mnist_lab.submission.handle import (
    Batch,
    ExerciseHandle,
    SubmissionFailure,
    Transform,
)

BLACK, WHITE = -MEAN / STD, (1 - MEAN) / STD

EXACT = 1e-4
"""Float32 and the order of its operations cost less than 1e-6; scaling by 256 costs 1e-2."""

BACKGROUND = 0.12
"""Black filled in after normalising may be this far off at the edge of a warp, where torchvision
blends it twice: (1 - w + w * w) * -0.4242, at most 0.106. Grey, 0, is 0.42 off."""

OTHER_SIZES = ((56, 56), (40, 60), (60, 35), (20, 24))

INTERPOLATION = 0.06
"""Mean difference that interpolations of a ramp may have: nearest neighbour has some 0.03, an
image that is cropped or padded instead of resized 0.2 and more."""

WARPS = 512
"""Warps of one image that the statistics of rotation and perspective are taken from. The bounds
below are at least five standard deviations from what torchvision's own transforms give."""

DISTORTED = (0.35, 0.65)
"""The share of images with a perspective: 0.5, standard deviation 0.022."""

SPREAD = (4.7, 6.9)
"""The standard deviation of the angle in degrees: 10 / sqrt(3) = 5.77, give or take 0.18."""

STEEPEST = 10.8
"""Degrees; nearest neighbour shows an angle to within 0.5."""

SHRINKAGE = (0.88, 0.945)
"""How far the dots are from the centre after a perspective, on average, as a share of before:
0.926 by torchvision's whole pixels, 0.897 by fractions of a pixel. Distortion scales of 0.1 and
0.3 give 0.963 and 0.852. Known to within 0.002."""


@pytest.mark.check("preprocessing.test_transform")
def test_test_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("preprocessing.test_transform")
    transform = exercise.test_transform()
    images = torch.stack([draws.pixels(generator, 28, 28) for _ in range(3)])
    results, again = transform(list(images), seed=1), transform(list(images), seed=2)
    if not torch.equal(results, again):
        raise fail(
            "test_transform gives different results for the same image.",
            f"They differ by up to {match.difference(results, again):.3g}.",
            "Everything random belongs in train_transform.",
        )
    _expect_values(transform, images, results)
    for height, width in OTHER_SIZES:
        _expect_resized(transform, height, width)


@pytest.mark.check("preprocessing.train_transform")
def test_train_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("preprocessing.train_transform")
    seed = int(torch.randint(2**31, (), generator=generator))
    transform = exercise.train_transform()
    for height, width in ((28, 28), *OTHER_SIZES):
        image = draws.pixels(generator, height, width)
        _expect_form(transform, (height, width), transform([image], 2, seed))
    seeded = transform.reseeds(draws.pixels(generator, 28, 28))
    if seeded:
        raise fail(
            f"train_transform seeds the random numbers of {' and '.join(seeded)} anew.",
            "After calls that began with different seeds the next random numbers were the same.",
            "Remove the seed: every image would be turned by the same angle.",
        )
    _expect_black_background(transform, seed)
    _expect_warps(transform, seed)
    _expect_whole_image(transform, seed)


@pytest.mark.check("preprocessing.downsample")
def test_downsample(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("preprocessing.downsample")
    items = 900 + int(torch.randint(200, (), generator=generator))
    size = items // 3
    seed = 1 + int(torch.randint(1000, (), generator=generator))
    first = _drawn(exercise, items, size, seed)
    if first == tuple(range(size)):
        raise fail(
            f"downsample takes the first {size} items instead of drawing at random.",
            f"downsample of {items} items, size={size}, seed={seed}.",
            "Shuffle the positions of all items and keep the first few of them.",
        )
    if max(first) < items // 2 or min(first) >= items // 2:
        raise fail(
            "downsample draws from one half of the dataset only.",
            f"Of {items} items the {size} drawn are all between {min(first)} and {max(first)}.",
        )
    if set(_drawn(exercise, items, size, seed)) != set(first):
        raise fail(
            "downsample draws other items when it is called again with the same seed.",
            f"Twice with size={size}, seed={seed}.",
        )
    if set(_drawn(exercise, items, size, seed + 1)) == set(first):
        raise fail(
            "downsample draws the same items whatever the seed is.",
            f"With seed={seed} and seed={seed + 1}.",
        )
    if set(_drawn(exercise, items, size, None)) != set(_drawn(exercise, items, size, 0)):
        raise fail("Without a seed downsample does not draw what it draws with seed=0.")
    _drawn(exercise, items, items, seed)
    _expect_value_error(exercise, items)


@pytest.mark.check("preprocessing.loaders")
def test_make_loaders(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("preprocessing.loaders")
    batch_size = int(torch.randint(20, 40, (), generator=generator))
    train, test = _dataset(generator, 3 * batch_size + 5), _dataset(generator, 2 * batch_size + 3)
    seed = int(torch.randint(2**31, (), generator=generator))
    loaders = exercise.make_loaders(train, test, batch_size, epochs=3, seed=seed)
    for name, dataset, epochs in (("train", train, loaders.train), ("test", test, loaders.test)):
        for epoch in epochs:
            _expect_all_items(name, dataset, epoch, batch_size)
    for epoch in loaders.test:
        if _order(epoch) != list(range(len(test[1]))):
            raise fail(
                "The test loader changes the order of the items.",
                f"Its first items are numbers {_order(epoch)[:5]} of the dataset.",
                "Leave shuffle off for test data.",
            )
    orders = [_order(epoch) for epoch in loaders.train]
    if list(range(len(train[1]))) in orders:
        raise fail(
            "The train loader does not shuffle.",
            "It gives the items in the order of the dataset.",
        )
    if any(one == other for one, other in pairwise(orders)):
        raise fail(
            "The train loader gives the same order in every epoch.",
            f"Each time it begins with numbers {orders[0][:5]} of the dataset.",
            "The order has to be drawn anew whenever the loader is gone through.",
        )
    by_default = exercise.make_loaders(_dataset(generator, 130), test, epochs=1, seed=seed)
    sizes = [len(labels) for _, labels in by_default.train[0]]
    if sizes != [64, 64, 2]:
        raise fail(
            f"Without batch_size the train loader makes batches of {_listed(sizes)} from 130 "
            "items.",
            "64 is asked for: batches of 64, 64 and 2.",
        )


def _expect_form(transform: Transform, size: tuple[int, int], results: Tensor) -> None:
    """float32 (1, 28, 28) each."""
    if results.shape[1:] != (1, 28, 28):
        raise fail(
            f"{transform.name} makes a tensor {tuple(results.shape[1:])} of an image of "
            f"{size[0]}x{size[1]} pixels.",
            "(1, 28, 28) is asked for, whatever the size and the aspect ratio of the image.",
            expected=[1, 28, 28],
            actual=list(results.shape[1:]),
        )
    if results.dtype != torch.float32:
        raise fail(
            f"{transform.name} makes a tensor of {str(results.dtype).removeprefix('torch.')}.",
            "float32 is asked for.",
        )


def _expect_values(transform: Transform, images: Tensor, results: Tensor) -> None:
    """28x28 images have nothing to be resized, so every number is known."""
    _expect_form(transform, (28, 28), results)
    expected = normalise(images)
    distance = match.difference(results, expected)
    if distance >= EXACT:
        raise fail(
            f"{transform.name} does not scale and normalise as asked.",
            f"Black comes out as {results[0, 0, 0, 0].item():.4f} and white as "
            f"{results[0, 0, -1, -1].item():.4f}; {BLACK:.4f} and {WHITE:.4f} are asked for. "
            f"The largest difference of a pixel is {distance:.3g}.",
            expected=[round(BLACK, 4), round(WHITE, 4)],
            actual=results[0, 0].flatten()[[0, -1]].tolist(),
        )


def _expect_resized(transform: Transform, height: int, width: int) -> None:
    """Ramps from black to white must reach across the result, both ways."""
    across, down = torch.linspace(0, 255, width), torch.linspace(0, 255, height)
    ramps = [
        across.expand(height, width).round().to(torch.uint8),
        down.unsqueeze(1).expand(height, width).round().to(torch.uint8),
    ]
    results = transform(ramps)
    _expect_form(transform, (height, width), results)
    # The centre of pixel i of 28 is at (i + 1/2) / 28 of the way.
    places = ((torch.arange(28) + 0.5) / 28 * torch.tensor([[width], [height]]) - 0.5).clamp(min=0)
    light = (places / torch.tensor([[width - 1], [height - 1]])).clamp(max=1)
    expected = torch.stack([light[0].expand(28, 28), light[1].unsqueeze(1).expand(28, 28)])
    off = (results[:, 0] * STD + MEAN - expected).abs().mean((1, 2)).max().item()
    if off >= INTERPOLATION:
        raise fail(
            f"{transform.name} does not fit the whole of an image of {height}x{width} pixels into "
            "28x28.",
            f"A ramp from black to white comes out {off:.2f} off on average, on the scale from 0 "
            "to 1.",
            "Resize to (28, 28): both numbers, no cropping and no padding.",
        )


def _expect_black_background(transform: Transform, seed: int) -> None:
    black = torch.zeros(28, 28, dtype=torch.uint8)
    results = transform([black, 255 - black], 64, seed)
    dark, light = results[:64], results[64:]
    if (dark - BLACK).abs().max() >= BACKGROUND:
        raise fail(
            "train_transform does not leave a black image black.",
            f"Its values lie between {dark.min().item():.4f} and {dark.max().item():.4f}; "
            f"{BLACK:.4f} is asked for everywhere.",
            "The corners that a rotation uncovers are filled: with what, and before or after "
            "normalising?",
        )
    if light.min() < BLACK - EXACT or light.max() > WHITE + EXACT:
        raise fail(
            "train_transform makes values that no grey between black and white has.",
            f"A white image's lie between {light.min().item():.4f} and "
            f"{light.max().item():.4f}; {BLACK:.4f} to {WHITE:.4f} is possible.",
        )
    corners = light[:, 0, ::27, ::27]
    if (corners - BLACK).abs().min() >= BACKGROUND:
        raise fail(
            "train_transform does not fill the corners that a warp uncovers with black.",
            f"In 64 warps of a white image no corner was darker than {corners.min().item():.4f}.",
        )


def _expect_warps(transform: Transform, seed: int) -> None:
    results = transform([warps.dots()], WARPS, seed)
    measured = warps.measure(results[:, 0] * STD + MEAN)
    if (results == results[0]).all():
        raise fail(
            "train_transform does the same to an image every time.",
            f"{WARPS} calls gave equal results.",
            "The angle has to be drawn at every call, not once.",
        )
    distorted = 1 - measured.rotations.double().mean().item()
    if distorted <= DISTORTED[0]:
        raise fail(
            f"train_transform distorts {distorted:.0%} of the images.",
            f"So many of {WARPS} warps of five dots were more than a rotation; a perspective is "
            "asked for with probability 0.5.",
            expected=0.5,
            actual=distorted,
        )
    if distorted >= DISTORTED[1]:
        raise fail(
            f"train_transform does more than rotate about the centre to {distorted:.0%} of the "
            "images.",
            f"Measured on {WARPS} warps of five dots; a perspective is asked for with probability "
            "0.5.",
            expected=0.5,
            actual=distorted,
        )
    spread = measured.degrees[measured.rotations].std().item()
    steepest = measured.degrees[measured.rotations].abs().max().item()
    if not SPREAD[0] < spread < SPREAD[1] or steepest > STEEPEST:
        raise fail(
            "train_transform's angles are not spread evenly from -10 to 10 degrees.",
            f"In {WARPS} warps they reached {steepest:.1f} degrees, with a standard deviation of "
            f"{spread:.1f}; 10 and 5.8 are asked for.",
            expected=[10.0, 5.77],
            actual=[steepest, spread],
        )
    shrinkage = measured.scale[~measured.rotations].nanmean().item()
    if not SHRINKAGE[0] < shrinkage < SHRINKAGE[1]:
        raise fail(
            "train_transform's perspective is "
            + ("weaker" if shrinkage > SHRINKAGE[1] else "stronger")
            + " than a distortion scale of 0.2.",
            f"It draws images together to {shrinkage:.3f} of their size on average; with 0.2 that "
            "is 0.926, with 0.1 0.963, with 0.3 0.852.",
            expected=0.926,
            actual=shrinkage,
        )
    if (measured.dimmest == 0).double().mean() < 0.9:
        raise fail(
            "train_transform does more to an image than to rotate and distort it.",
            "Of five dots the top left one is darker, and in the results it often is not.",
            "Leave out flips and whatever else changes brightness or place.",
        )


def _expect_whole_image(transform: Transform, seed: int) -> None:
    """The dots at twice the height and three times the width are the dots after resizing."""
    large = warps.dots().repeat_interleave(2, 0).repeat_interleave(3, 1)
    measured = warps.measure(transform([large], WARPS // 4, seed)[:, 0] * STD + MEAN)
    if measured.rotations.double().mean() < 0.25:
        height, width = large.shape
        raise fail(
            f"train_transform does not fit the whole of an image of {height}x{width} pixels into "
            "28x28.",
            "Five dots that lie across it are not found in their places.",
            "Resize to (28, 28) before anything else: both numbers, no cropping and no padding.",
        )


def _drawn(exercise: ExerciseHandle, items: int, size: int, seed: int | None) -> tuple[int, ...]:
    """The distinct items drawn; their number is right and their labels are their own."""
    drawn = exercise.downsample(items, size, seed)
    what = f"downsample of {items} items, size={size}"
    if drawn.length != size or len(drawn.indices) != size:
        raise fail(
            f"downsample gives a dataset of {drawn.length} items where {size} are asked for.",
            f"{what}, seed={seed}; {len(drawn.indices)} items can be read from it.",
            expected=size,
            actual=drawn.length,
        )
    if len(set(drawn.indices)) != size:
        raise fail(
            "downsample draws some items more than once.",
            f"{what}, seed={seed}: only {len(set(drawn.indices))} of them are different.",
            "Draw without replacement: a permutation of the positions does.",
        )
    if not drawn.labels_kept:
        raise fail("downsample gives items other labels than they had.", f"{what}, seed={seed}.")
    return drawn.indices


def _expect_value_error(exercise: ExerciseHandle, items: int) -> None:
    what = f"downsample of {items} items, size={items + 1}"
    try:
        drawn = exercise.downsample(items, items + 1)
    except SubmissionFailure as failure:
        if failure.raised == "ValueError":
            return
        if failure.outcome != "failed" or not failure.raised:
            raise
        raise fail(
            f"downsample raises {failure.raised} when more items are asked for than there are.",
            f"{what}; ValueError is asked for.",
            where=failure.cause.where,
            traceback=failure.cause.traceback,
        ) from None
    raise fail(
        "downsample raises nothing when more items are asked for than there are.",
        f"{what} gave a dataset of {drawn.length}; ValueError is asked for.",
    )


def _dataset(generator: torch.Generator, size: int) -> Batch:
    """Images filled with their own number, and labels."""
    numbers = torch.arange(size, dtype=torch.float32).view(-1, 1, 1, 1)
    return numbers.expand(size, 1, 28, 28), torch.randint(10, (size,), generator=generator)


def _expect_all_items(name: str, dataset: Batch, epoch: tuple[Batch, ...], size: int) -> None:
    items = len(dataset[1])
    sizes = [len(labels) for _, labels in epoch]
    if sum(sizes) != items:
        raise fail(
            f"The {name} loader gives {sum(sizes)} of {items} items in an epoch.",
            f"Its batches have {_listed(sizes)}.",
            "Do not drop the short last batch." if items - sum(sizes) == items % size else "",
            expected=items,
            actual=sum(sizes),
        )
    whole, rest = divmod(items, size)
    if sizes != [size] * whole + [rest]:
        raise fail(
            f"The {name} loader makes batches of {_listed(sizes)} where batch_size={size}.",
            f"{items} items are {whole} batches of {size} and a last one of {rest}.",
        )
    for images, _ in epoch:
        if images.shape[1:] != (1, 28, 28):
            raise fail(
                f"The {name} loader gives images of shape {tuple(images.shape[1:])}.",
                "The items have (1, 28, 28) and a batch puts them side by side.",
            )
    order = _order(epoch)
    if sorted(order) != list(range(items)):
        raise fail(
            f"The {name} loader does not give every item once.",
            f"Of {items} items {len(set(order))} are among the {len(order)} that it gave.",
        )
    if not torch.equal(torch.cat([labels for _, labels in epoch]), dataset[1][order]):
        raise fail(f"The {name} loader gives items other labels than they have.")


def _order(epoch: tuple[Batch, ...]) -> list[int]:
    """The numbers of an epoch's items in the dataset."""
    images = torch.cat([images for images, _ in epoch])
    return [int(number) for number in images[:, 0, 0, 0].round().tolist()]


def _listed(sizes: list[int]) -> str:
    shown = [str(size) for size in sizes[:6]] + ["..."] * (len(sizes) > 6)
    return ", ".join(shown)
