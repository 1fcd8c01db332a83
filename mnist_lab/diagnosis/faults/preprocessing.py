"""Known mistakes of the transforms, ``downsample`` and ``make_loaders``.

What becomes of the pixels of a 28x28 picture is computed exactly, so those mistakes are changes of
that computation. All others are observed, and have no changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from mnist_lab.diagnosis.match import Fault
from mnist_lab.diagnosis.reference import MEAN, STD

__all__ = ["BANK", "NAMES", "PIXELS", "PLACES", "VALUES", "Pixels"]

Step = Callable[[Tensor], Tensor]
"""Images (N, H, W) -> (N, H, W)."""


def _same(images: Tensor) -> Tensor:
    return images


def _divide(by: float) -> Step:
    return lambda images: images / by


def _standardise(mean: float, std: float) -> Step:
    return lambda images: (images - mean) / std


TO_ONE = _divide(255)
STANDARDISE = _standardise(MEAN, STD)


@dataclass(frozen=True)
class Pixels:
    """What becomes of pixels from 0 to 255: they are moved to another ``place``, their ``tone`` is
    changed, they are scaled, normalised and clipped.
    """

    place: Step = _same
    tone: Step = _same
    scale: Step = TO_ONE
    normalise: Step = STANDARDISE
    clip: Step = _same
    scale_last: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W) -> float64 (N, H, W)."""
        steps = (self.normalise, self.scale) if self.scale_last else (self.scale, self.normalise)
        images = self.tone(self.place(images.double()))
        for step in (*steps, self.clip):
            images = step(images)
        return images


def _changed(plan: Pixels, fields: dict[str, Any]) -> Pixels | None:
    """``plan`` with other ``fields``; None if one of them has been changed already."""
    already = {
        each.name
        for each in dataclasses.fields(plan)
        if getattr(plan, each.name) is not each.default
    }
    return None if already & set(fields) else replace(plan, **fields)


def _fault(name: str, says: str, hint: str, *fields: dict[str, Any]) -> Fault[Pixels]:
    changes = tuple(partial(_changed, fields=each) for each in fields)
    return Fault(f"preprocessing.{name}", says, hint, changes)


# Where the pixels go


def _rows_for_columns(images: Tensor) -> Tensor:
    return images.transpose(-2, -1)


def _over_the_other_diagonal(images: Tensor) -> Tensor:
    return images.transpose(-2, -1).flip((-2, -1))


def _left_for_right(images: Tensor) -> Tensor:
    return images.flip(-1)


def _upside_down(images: Tensor) -> Tensor:
    return images.flip(-2)


def _half_a_turn(images: Tensor) -> Tensor:
    return images.flip((-2, -1))


def _quarter_left(images: Tensor) -> Tensor:
    return images.rot90(1, (-2, -1))


def _quarter_right(images: Tensor) -> Tensor:
    return images.rot90(-1, (-2, -1))


PLACES: tuple[Fault[Pixels], ...] = (
    _fault(
        "transposed",
        "Rows and columns of the picture are exchanged.",
        "A picture's array has rows first, then columns: no transpose is needed.",
        {"place": _rows_for_columns},
        {"place": _over_the_other_diagonal},
    ),
    _fault(
        "mirrored",
        "The picture is mirrored, left for right.",
        "Leave out the flip: a mirrored digit is another shape.",
        {"place": _left_for_right},
    ),
    _fault(
        "upside-down",
        "The picture is mirrored, top for bottom.",
        "Leave out the flip: a mirrored digit is another shape.",
        {"place": _upside_down},
    ),
    _fault(
        "half-a-turn",
        "The picture is turned by 180 degrees.",
        "Leave out the turn: a 6 would become a 9.",
        {"place": _half_a_turn},
    ),
    _fault(
        "quarter-turn",
        "The picture is turned by 90 degrees.",
        "Leave out the turn.",
        {"place": _quarter_left},
        {"place": _quarter_right},
    ),
)


# What becomes of their values


def _above(level: float) -> Step:
    return lambda images: 255.0 * (images > level)


def _inverted(images: Tensor) -> Tensor:
    return 255 - images


def _affine(factor: float, offset: float) -> Step:
    return lambda images: factor * images + offset


def _own_mean(images: Tensor) -> Tensor:
    return images.mean((-2, -1), keepdim=True)


def _own_std(unbiased: bool) -> Step:
    def std(images: Tensor) -> Tensor:
        squares = _less_own_mean(images).square().sum((-2, -1), keepdim=True)
        return (squares / (images[0].numel() - unbiased)).sqrt()

    return std


def _by_own_numbers(unbiased: bool, eps: float = 0.0) -> Step:
    return lambda images: (images - _own_mean(images)) / (_own_std(unbiased)(images) + eps)


def _less_own_mean(images: Tensor) -> Tensor:
    return images - _own_mean(images)


def _by_own_largest(images: Tensor) -> Tensor:
    return images / images.amax((-2, -1), keepdim=True)


def _by_own_range(images: Tensor) -> Tensor:
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    return (images - low) / (high - low)


def _clamp(low: float, high: float) -> Step:
    return lambda images: images.clamp(low, high)


NUMBERS = "Normalise once with mean 0.1307 and standard deviation 0.3081, after scaling to 0..1."
SCALE = "Scale from 0..255 to 0..1 first: v2.ToDtype(torch.float32, scale=True), or divide by 255."
TWICE = _standardise(MEAN * (1 + STD), STD * STD)

OTHER_DATA = (
    (0.2860, 0.3530),  # Fashion-MNIST
    (0.4914, 0.2470),
    (0.4822, 0.2435),
    (0.4465, 0.2616),  # CIFAR-10
    (0.4914, 0.2023),
    (0.4822, 0.1994),
    (0.4465, 0.2010),  # CIFAR-10, another often copied line
    (0.485, 0.229),
    (0.456, 0.224),
    (0.406, 0.225),  # ImageNet
    (0.449, 0.226),  # ImageNet, the means over its colours
)
"""Means and standard deviations that tutorials have for other data, colour by colour."""

VALUES: tuple[Fault[Pixels], ...] = (
    _fault(
        "not-normalised",
        "The pixels are scaled to 0..1 but not normalised.",
        "v2.Normalize(mean=[0.1307], std=[0.3081]) comes last.",
        {"normalise": _same},
    ),
    _fault(
        "raw-pixels",
        "The pixels are left as they are, from 0 to 255.",
        SCALE + " Then normalise.",
        {"normalise": _same, "scale": _same},
    ),
    _fault(
        "not-scaled",
        "The pixels are normalised while they still go from 0 to 255.",
        SCALE,
        {"scale": _same},
    ),
    _fault(
        "scaled-by-256",
        "The pixels are divided by 256 where white is 255.",
        SCALE,
        {"scale": _divide(256)},
    ),
    _fault("scaled-twice", "The pixels are scaled twice.", SCALE, {"scale": _divide(255 * 255)}),
    _fault(
        "scaled-from-minus-1",
        "The pixels are scaled to -1..1, and then normalised.",
        SCALE,
        {"scale": _affine(2 / 255, -1)},
    ),
    _fault(
        "scaled-by-own-range",
        "Each picture is scaled by its own darkest and brightest pixel.",
        SCALE,
        {"scale": _by_own_range},
        {"scale": _by_own_largest},
        {"scale": _by_own_range, "normalise": _same},
        {"scale": _by_own_largest, "normalise": _same},
    ),
    _fault(
        "normalised-before-scaling",
        "The pixels are normalised first and scaled then.",
        "Scale to 0..1 first, then normalise.",
        {"scale_last": True},
    ),
    _fault(
        "half-half",
        "The pixels are normalised with mean 0.5 and standard deviation 0.5.",
        "0.5 and 0.5 are another tutorial's: MNIST has mean 0.1307 and standard deviation 0.3081.",
        {"normalise": _standardise(0.5, 0.5)},
    ),
    _fault(
        "mean-and-std-swapped",
        "The pixels are normalised with mean and standard deviation exchanged.",
        "The mean is 0.1307, the standard deviation 0.3081.",
        {"normalise": _standardise(STD, MEAN)},
    ),
    _fault(
        "normalised-twice",
        "The pixels are normalised twice.",
        NUMBERS,
        {"normalise": TWICE},
    ),
    _fault(
        "only-mean-subtracted",
        "The mean is subtracted, but nothing is divided by the standard deviation.",
        NUMBERS,
        {"normalise": _standardise(MEAN, 1)},
    ),
    _fault(
        "only-divided-by-std",
        "The pixels are divided by the standard deviation, but the mean is not subtracted.",
        NUMBERS,
        {"normalise": _standardise(0, STD)},
    ),
    _fault(
        "divided-by-variance",
        "The pixels are divided by the variance, the square of the standard deviation.",
        NUMBERS,
        {"normalise": _standardise(MEAN, STD * STD)},
    ),
    _fault(
        "divided-by-root-of-std",
        "The pixels are divided by the square root of the standard deviation.",
        "0.3081 is the standard deviation already, not the variance.",
        {"normalise": _standardise(MEAN, STD**0.5)},
    ),
    _fault(
        "mean-added",
        "The mean is added instead of subtracted.",
        NUMBERS,
        {"normalise": _standardise(-MEAN, STD)},
    ),
    _fault(
        "multiplied-by-std",
        "The pixels are multiplied by the standard deviation instead of divided by it.",
        NUMBERS,
        {"normalise": _standardise(MEAN, 1 / STD)},
        {"normalise": _affine(STD, -MEAN)},
        {"normalise": _affine(STD, MEAN)},
    ),
    _fault(
        "divided-before-subtracting",
        "The pixels are divided by the standard deviation before the mean is subtracted.",
        "Mind the brackets: (pixels - 0.1307) / 0.3081.",
        {"normalise": _affine(1 / STD, -MEAN)},
        {"normalise": _affine(1, -MEAN / STD)},
    ),
    _fault(
        "numbers-of-other-data",
        "The pixels are normalised with the mean and standard deviation of another data set.",
        "MNIST has mean 0.1307 and standard deviation 0.3081.",
        *({"normalise": _standardise(*numbers)} for numbers in OTHER_DATA),
    ),
    _fault(
        "numbers-for-255",
        "The pixels are scaled to 0..1, but normalised with numbers for 0..255.",
        "Of pixels from 0 to 1 the mean is 0.1307 and the standard deviation 0.3081.",
        {"normalise": _standardise(33.32, 78.57)},
        {"normalise": _standardise(33.3184, 78.5675)},
    ),
    _fault(
        "normalised-by-itself",
        "Each picture is normalised with its own mean and standard deviation.",
        "Use the data set's numbers, 0.1307 and 0.3081, for every picture.",
        *(
            {"normalise": _by_own_numbers(unbiased, eps)}
            for unbiased in (True, False)
            for eps in (0.0, 1e-8, 1e-7, 1e-6, 1e-5)
        ),
        {"normalise": _less_own_mean},
    ),
    _fault(
        "inverted",
        "Black and white are exchanged.",
        "MNIST is white ink on black: leave the picture as it is.",
        {"tone": _inverted},
    ),
    _fault(
        "black-or-white",
        "Every pixel is made either black or white.",
        "Keep the grey values: they are the smooth edges of the strokes.",
        *({"tone": _above(level)} for level in (0, 127, 128, 126, 100, 200)),
    ),
    _fault(
        "clipped",
        "The values are cut off at a smallest and a largest one after normalising.",
        "Black is -0.4242 and white 2.8215: nothing needs to be cut.",
        {"clip": _clamp(0, 1)},
        {"clip": _clamp(-1, 1)},
        {"clip": _clamp(0, float("inf"))},
    ),
)

PIXELS: tuple[Fault[Pixels], ...] = (*VALUES, *PLACES)


# What is observed


def _seen(name: str, says: str, hint: str) -> Fault[Any]:
    return Fault(f"preprocessing.{name}", says, hint, ())


FORM = (
    _seen(
        "not-a-tensor",
        "What comes out is not a tensor.",
        "v2.PILToTensor() makes a tensor of a picture; normalise after it.",
    ),
    _seen(
        "no-channel",
        "The tensor has no channel dimension.",
        "(1, 28, 28) is asked for: one channel, then rows and columns; unsqueeze(0) adds it.",
    ),
    _seen(
        "channel-last",
        "The tensor has its channel last.",
        "(1, 28, 28) is asked for: the channel comes first.",
    ),
    _seen(
        "three-channels",
        "The tensor has three channels.",
        "The pictures are grey: leave out the change to RGB.",
    ),
    _seen(
        "flattened",
        "The pixels lie in one line.",
        "(1, 28, 28) is asked for; the networks flatten it themselves.",
    ),
    _seen(
        "batch-dimension",
        "The tensor has a batch dimension.",
        "(1, 28, 28) is asked for: the loader puts pictures side by side.",
    ),
    _seen(
        "other-size",
        "The picture is resized to another size than 28x28.",
        "Resize to (28, 28).",
    ),
    _seen(
        "not-resized",
        "Pictures of other sizes are not resized.",
        "Resize to (28, 28) before anything else.",
    ),
    _seen(
        "aspect-kept",
        "Pictures are resized with their aspect ratio kept.",
        "Resize takes both numbers, (28, 28): with one it keeps the aspect ratio.",
    ),
    _seen(
        "cropped",
        "A part of the picture is cut off.",
        "Resize to (28, 28), both numbers, and leave out the crop.",
    ),
    _seen(
        "padded",
        "The picture is given a margin.",
        "Resize to (28, 28), both numbers, and leave out the padding.",
    ),
    _seen(
        "float64",
        "The tensor is of float64.",
        "float32 is asked for: torch.float32 where the tensor is made.",
    ),
    _seen(
        "float16",
        "The tensor is of a 16-bit type.",
        "float32 is asked for: torch.float32 where the tensor is made.",
    ),
    _seen(
        "integers",
        "The tensor is of an integer type.",
        "float32 is asked for: v2.ToDtype(torch.float32, scale=True).",
    ),
)

LOOK = (
    _seen(
        "other-mean-and-std",
        "The pixels are normalised with other numbers than 0.1307 and 0.3081.",
        NUMBERS,
    ),
    _seen(
        "blurred",
        "Each pixel is mixed with its neighbours.",
        "Leave out the filter: no blurring or sharpening is asked for.",
    ),
    _seen(
        "noise",
        "Random noise is added to the pixels.",
        "Leave it out: rotation and perspective are the only random changes.",
    ),
    _seen(
        "brightness-changed",
        "The brightness of pictures is changed at random.",
        "Leave it out: rotation and perspective are the only random changes.",
    ),
    _seen(
        "erased",
        "A random part of the picture is painted over.",
        "Leave it out: rotation and perspective are the only random changes.",
    ),
)

RANDOM = (
    _seen(
        "test-augmented",
        "test_transform changes pictures at random.",
        "Everything random belongs in train_transform.",
    ),
    _seen(
        "transforms-swapped",
        "test_transform changes pictures at random and train_transform does not: they are "
        "exchanged.",
        "Everything random belongs in train_transform.",
    ),
    _seen(
        "not-augmented",
        "train_transform changes nothing at random: it is a test_transform.",
        "Rotation and perspective belong between the resizing and the scaling.",
    ),
    _seen(
        "same-draw",
        "train_transform draws its random numbers once, so every picture is changed alike.",
        "Draw in the callable, at every call, not while it is made.",
    ),
    _seen(
        "reseeds",
        "The transform seeds the global random numbers.",
        "Remove the seed: every picture would be turned by the same angle.",
    ),
    _seen(
        "no-rotation",
        "Pictures are not rotated.",
        "v2.RandomRotation(10) belongs after the resizing.",
    ),
    _seen(
        "fixed-angle",
        "Every picture is rotated by the same angle.",
        "Draw the angle at every call, evenly from -10 to 10 degrees: v2.RandomRotation(10).",
    ),
    _seen(
        "one-sided-angle",
        "Pictures are rotated in one direction only.",
        "Draw the angle evenly from -10 to 10 degrees: v2.RandomRotation(10).",
    ),
    _seen(
        "few-angles",
        "Pictures are rotated by one of a few angles only.",
        "Draw the angle evenly from -10 to 10 degrees: v2.RandomRotation(10).",
    ),
    _seen(
        "angle-range",
        "Pictures are rotated within another range than -10 to 10 degrees.",
        "Draw the angle evenly from -10 to 10 degrees: v2.RandomRotation(10).",
    ),
    _seen(
        "uneven-angles",
        "The angles are not spread evenly from -10 to 10 degrees.",
        "Draw the angle evenly from -10 to 10 degrees: v2.RandomRotation(10).",
    ),
    _seen(
        "rotation-or-perspective",
        "Pictures get either a rotation or a perspective, not both.",
        "Every picture is rotated, and half of them get a perspective as well: one step after the "
        "other.",
    ),
    _seen(
        "rotation-centre",
        "Pictures are rotated about another point than their centre.",
        "Leave the centre to its default.",
    ),
    _seen(
        "no-perspective",
        "Pictures get no perspective.",
        "v2.RandomPerspective(distortion_scale=0.2, p=0.5) belongs after the rotation.",
    ),
    _seen(
        "perspective-always",
        "Every picture gets a perspective.",
        "The probability is 0.5: v2.RandomPerspective(distortion_scale=0.2, p=0.5).",
    ),
    _seen(
        "perspective-probability",
        "Pictures get a perspective with another probability than 0.5.",
        "The probability is 0.5: v2.RandomPerspective(distortion_scale=0.2, p=0.5).",
    ),
    _seen(
        "distortion-scale",
        "The perspective has another distortion scale than 0.2.",
        "v2.RandomPerspective's own default is 0.5: give distortion_scale=0.2.",
    ),
    _seen(
        "horizontal-flip",
        "Pictures are mirrored at random, left for right.",
        "Leave out the flip: a mirrored digit is another shape.",
    ),
    _seen(
        "vertical-flip",
        "Pictures are mirrored at random, top for bottom.",
        "Leave out the flip: a mirrored digit is another shape.",
    ),
    _seen(
        "shifted",
        "Pictures are moved at random.",
        "Leave it out: rotation and perspective are the only random changes.",
    ),
    _seen(
        "rescaled",
        "Pictures are enlarged or made smaller at random.",
        "Leave it out: rotation and perspective are the only random changes.",
    ),
    _seen(
        "sheared",
        "Pictures are sheared at random.",
        "Leave it out: rotation and perspective are the only random changes.",
    ),
    _seen(
        "grey-corners",
        "The corners that a warp uncovers are filled with 0 after normalising, which is grey.",
        "Warp before scaling and normalising, while black is still 0.",
    ),
    _seen(
        "bright-corners",
        "The corners that a warp uncovers are filled with white.",
        "Leave fill to its default, 0, and warp before normalising.",
    ),
    _seen(
        "other-corners",
        "The corners that a warp uncovers are filled with a grey.",
        "Leave fill to its default, 0, and warp before normalising.",
    ),
    _seen(
        "stretched-corners",
        "The corners that a warp uncovers are filled from the picture itself.",
        "They are background: fill them with black, 0 before normalising.",
    ),
)

DOWNSAMPLE = (
    _seen(
        "repeated-items",
        "downsample draws some items more than once.",
        "Draw without replacement: a permutation of the positions does.",
    ),
    _seen(
        "first-items",
        "downsample takes the first items instead of drawing at random.",
        "Shuffle the positions of all items and keep the first few of them.",
    ),
    _seen(
        "last-items",
        "downsample takes the last items instead of drawing at random.",
        "Shuffle the positions of all items and keep the first few of them.",
    ),
    _seen(
        "neighbouring-items",
        "downsample takes items that lie side by side.",
        "Draw each item at random, not only where to begin.",
    ),
    _seen(
        "every-kth-item",
        "downsample takes items at equal distances.",
        "Shuffle the positions of all items and keep the first few of them.",
    ),
    _seen(
        "part-of-the-items",
        "downsample draws from a part of the dataset only.",
        "Every item must have a chance: draw from len(dataset) positions.",
    ),
    _seen(
        "not-reproducible",
        "downsample draws other items when it is called again with the same seed.",
        "Draw with a generator of its own: torch.Generator().manual_seed(seed).",
    ),
    _seen(
        "seed-ignored",
        "downsample draws the same items whatever the seed is.",
        "Draw with a generator of its own: torch.Generator().manual_seed(seed).",
    ),
    _seen(
        "other-default-seed",
        "Without a seed downsample does not draw what it draws with seed=0.",
        "The default is in the first line: def downsample(dataset, size, seed=0).",
    ),
    _seen(
        "wrong-number-of-items",
        "downsample gives another number of items than it is asked for.",
        "A dataset of `size` items is asked for: mind the ends of a slice.",
    ),
    _seen(
        "labels-changed",
        "downsample gives items other labels than they had.",
        "Take each item as it is: torch.utils.data.Subset(dataset, positions).",
    ),
    _seen(
        "no-value-error",
        "downsample raises nothing when more items are asked for than there are.",
        "if size > len(dataset): raise ValueError(...)",
    ),
    _seen(
        "other-error",
        "downsample raises another error than ValueError when more items are asked for than there "
        "are.",
        "if size > len(dataset): raise ValueError(...)",
    ),
    _seen(
        "refuses-all-items",
        "downsample refuses to draw all items of a dataset.",
        "Only a size above len(dataset) is an error: use >, not >=.",
    ),
)

LOADERS = (
    _seen(
        "loaders-swapped",
        "make_loaders returns the test loader first and the train loader second.",
        "The order is (train_loader, test_loader).",
    ),
    _seen(
        "sets-swapped",
        "make_loaders makes the train loader of the test set and the test loader of the train set.",
        "The first loader is for train_set, the second for test_set.",
    ),
    _seen(
        "one-pass-only",
        "A loader gives nothing any more when it is gone through once more.",
        "Return the DataLoader itself: an iterator made of it lasts for one epoch.",
    ),
    _seen(
        "one-set-for-both",
        "make_loaders makes both loaders of the same dataset.",
        "The first loader is for train_set, the second for test_set.",
    ),
    _seen("train-unshuffled", "The train loader does not shuffle.", "It needs shuffle=True."),
    _seen(
        "test-shuffled",
        "The test loader changes the order of the items.",
        "Leave shuffle off for test data.",
    ),
    _seen(
        "shuffled-once",
        "The train loader gives the same order in every epoch.",
        "The order has to be drawn anew whenever the loader is gone through.",
    ),
    _seen(
        "same-batches",
        "The train loader puts the same items together in every epoch.",
        "Shuffle the items, not the batches: shuffle=True.",
    ),
    _seen(
        "train-drops-last",
        "The train loader drops the short last batch.",
        "Leave drop_last off.",
    ),
    _seen(
        "test-drops-last",
        "The test loader drops the short last batch.",
        "Leave drop_last off.",
    ),
    _seen(
        "train-batch-size",
        "The train loader makes batches of another size than batch_size.",
        "Pass batch_size on to the loader.",
    ),
    _seen(
        "test-batch-size",
        "The test loader makes batches of another size than batch_size.",
        "Pass batch_size on to the loader.",
    ),
    _seen(
        "default-batch-size",
        "Without batch_size the loaders do not make batches of 64.",
        "The default is in the first line: batch_size=64.",
    ),
    _seen(
        "with-replacement",
        "The train loader gives some items more than once in an epoch and others never.",
        "Shuffle without replacement: shuffle=True does.",
    ),
    _seen(
        "items-missing",
        "A loader does not give every item of its dataset.",
        "Make the loader of the whole dataset.",
    ),
    _seen(
        "items-twice",
        "A loader gives every item more than once in an epoch.",
        "Make the loader of the dataset as it is.",
    ),
    _seen(
        "loader-labels",
        "A loader gives items other labels than they have.",
        "Each batch is (images, labels), in step.",
    ),
)

BANK: tuple[Fault[Any], ...] = (*PIXELS, *FORM, *LOOK, *RANDOM, *DOWNSAMPLE, *LOADERS)

NAMES: dict[str, Fault[Any]] = {fault.id.removeprefix("preprocessing."): fault for fault in BANK}
"""The bank by what follows ``preprocessing.`` in the ids."""
