"""Whether a transform rotates and distorts pictures by torchvision's random numbers, as most do.

Equal pictures from the same seed prove at once what is otherwise judged from a thousand warps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from mnist_lab.augment import CORNERS
from mnist_lab.contract import DISTORTION_SCALE, MAX_DEGREES, PERSPECTIVE_PROBABILITY, SIDE
from mnist_lab.diagnosis.pictures.forms import EXACT
from mnist_lab.diagnosis.pictures.values import Tones
from mnist_lab.submission.remote import Transform

REPEATS = 8
"""Warps of each picture: of fifteen pictures, what is done to one warp in thirty shows in all but
2 % of gradings."""


def warps_as_torchvision(transform: Transform, pictures: list[Tensor], seed: int) -> bool:
    """Whether the transform makes of all pictures, uint8 (H, W), what torchvision's do. The others
    are asked only where the first is as it should be.
    """
    return _agrees(transform, pictures[:1], seed) and _agrees(transform, pictures, seed)


def _agrees(transform: Transform, pictures: list[Tensor], seed: int) -> bool:
    results, kind = transform.of_any_kind(pictures, REPEATS, seed)
    shape = (len(pictures) * REPEATS, 1, SIDE, SIDE)
    if kind or results.shape != shape or results.dtype != torch.float32:
        return False
    light = Tones().light(results.squeeze(1))
    resized = [
        Image.fromarray(each.numpy()).resize((SIDE, SIDE), Resampling.BILINEAR)
        for each in pictures
        for _ in range(REPEATS)
    ]
    ways = (
        Way(turns_first, *pair)
        for turns_first in (True, False)
        for pair in product(INTERPOLATIONS, repeat=2)
    )
    return any(
        all(
            (one - way.warped(picture, *draw)).abs().max() < EXACT
            for one, picture, draw in zip(light, resized, way.draws(seed), strict=False)
        )
        for way in ways
    )


INTERPOLATIONS = Resampling.NEAREST, Resampling.BILINEAR, Resampling.BICUBIC


@dataclass(frozen=True)
class Way:
    """One of the ways in which ``RandomRotation(10)`` and ``RandomPerspective(0.2, 0.5)`` may
    follow one another, with the interpolations of both.
    """

    turns_first: bool
    turning: Resampling
    distorting: Resampling

    def draws(self, seed: int) -> Iterator[tuple[float, Tensor | None]]:
        """What is drawn in call after call: degrees, and the coefficients (8,) of a perspective if
        there is one.
        """
        generator = torch.Generator().manual_seed(seed)
        while True:
            first = _angle(generator) if self.turns_first else 0.0
            distorted = _perspective(generator)
            yield first if self.turns_first else _angle(generator), distorted

    def warped(self, picture: Image.Image, degrees: float, distorted: Tensor | None) -> Tensor:
        """The picture, (28, 28) from 0 to 1."""
        if self.turns_first:
            picture = picture.rotate(degrees, self.turning)
        if distorted is not None:
            picture = picture.transform(
                picture.size, Image.Transform.PERSPECTIVE, distorted.tolist(), self.distorting
            )
        if not self.turns_first:
            picture = picture.rotate(degrees, self.turning)
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        return pixels.view(SIDE, SIDE).double() / 255


def _angle(generator: torch.Generator) -> float:
    return torch.empty(1).uniform_(-MAX_DEGREES, MAX_DEGREES, generator=generator).item()


def _perspective(generator: torch.Generator) -> Tensor | None:
    """As torchvision's ``RandomPerspective.get_params`` draws it, corner by corner."""
    if torch.rand(1, generator=generator) >= PERSPECTIVE_PROBABILITY:
        return None
    reach = int(DISTORTION_SCALE * (SIDE // 2))
    equations = []
    for corner in CORNERS.tolist():
        lows = (0 if at == 0 else SIDE - 1 - reach for at in corner)
        x, y = (int(torch.randint(at, at + reach + 1, (), generator=generator)) for at in lows)
        u, v = corner
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    # Solved as torchvision does it: of pixels in the middle between two the last bit decides.
    system = torch.tensor(equations, dtype=torch.float64)
    solved = torch.linalg.lstsq(system, CORNERS.double().flatten(), driver="gels").solution
    return solved.float()
