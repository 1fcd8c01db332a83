"""Known mistakes of the transforms, ``downsample`` and ``make_loaders``, and the text of
``test_transform`` that some of them are edits of; the others are observed.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.faults import Fault, compiled, entries

REFERENCE = """
def transform(picture):
    picture = resize(picture, (28, 28))
    pixels = picture / 255
    pixels = (pixels - 0.1307) / 0.3081
    return pixels
"""


def computed(text: str, pictures: Iterable[Tensor]) -> list[Tensor]:
    """What the transform of ``text`` makes of each picture: uint8 (H, W) -> float64 (H, W)."""
    transform = compiled(text, "transform", GIVEN)
    return [transform(picture.double()).double() for picture in pictures]


def of_step(*steps: str) -> tuple[Fault, ...]:
    """The mistakes that are edits of these steps: of ``values``, ``place`` or ``size``."""
    return tuple(fault for fault in BANK if fault.more.get("step") in steps)


def _resize(
    picture: Tensor, size: tuple[int, int] = (0, 0), *, shorter: int = 0, longer: int = 0
) -> Tensor:
    """To ``size``, or with the aspect ratio kept."""
    height, width = picture.shape
    if shorter or longer:
        side = min(height, width) if shorter else max(height, width)
        size = ((shorter or longer) * height // side, (shorter or longer) * width // side)
    if size == (height, width):
        return picture
    made: Tensor = F.interpolate(picture[None, None], size, mode="bilinear", antialias=True)
    return made[0, 0]


def _pad(picture: Tensor, size: int) -> Tensor:
    """Black on all sides, to ``size`` at least."""
    height, width = (max(0, size - side) for side in picture.shape)
    return F.pad(picture, (width // 2, width - width // 2, height // 2, height - height // 2))


def _centre_crop(picture: Tensor, size: int) -> Tensor:
    padded = _pad(picture, size)
    top, left = ((side - size) // 2 for side in padded.shape)
    return padded[top : top + size, left : left + size]


def _ink(picture: Tensor) -> Tensor:
    """Without the rows and columns at its edges that are black."""
    rows, columns = (torch.nonzero(picture.any(axis)).flatten().tolist() for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows else picture


GIVEN = {"resize": _resize, "pad": _pad, "centre_crop": _centre_crop, "ink": _ink}
"""The names in the text of the reference and its edits."""


BANK = tuple(entries("pictures").values())

NAMES = {fault.id.removeprefix("preprocessing."): fault for fault in BANK}
"""The bank by what follows ``preprocessing.`` in the ids."""
