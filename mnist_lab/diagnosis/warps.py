"""How augmented images were warped, measured from a probe image of five dots.

Rotation about the centre moves the four outer dots alike; what is left of their movement when
the best rotation is taken out is the work of the perspective.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["DOTS", "Warps", "dots", "measure"]

CENTRE = 13.5
DOTS = torch.tensor([[6.0, 6.0], [21.0, 6.0], [21.0, 21.0], [6.0, 21.0], [CENTRE, CENTRE]])
"""(x, y) of the dots: top left, top right, bottom right, bottom left, centre."""

BRIGHTNESS = (0.5, 1.0, 1.0, 1.0, 1.0)
"""Of the dots; the first is darker, so that a mirrored image can be told from the original."""

RADIUS = 1.3
REACH = 6.0
"""A dot is looked for within this many pixels of its place, nearer than any other dot's."""

ROTATION_ERROR = 0.3
"""Pixels by which a dot may miss its place after a mere rotation: nearest-neighbour sampling
reaches 0.18, while a perspective that moves a corner by a pixel is seen at 0.5."""


@dataclass(frozen=True)
class Warps:
    """What N warps did.

    ``degrees`` (N,): the rotation, anticlockwise. ``error`` (N,): the pixels by which the dot that
    fits a rotation worst misses its place. ``scale`` (N,): the factor by which the dots moved
    away from the centre. ``dimmest`` (N,): the index of the dot of least brightness.
    """

    degrees: Tensor
    error: Tensor
    scale: Tensor
    dimmest: Tensor

    @property
    def rotations(self) -> Tensor:
        """Which of the N are rotations about the centre and nothing else: bool (N,)."""
        return self.error < ROTATION_ERROR


def dots() -> Tensor:
    """The probe image, uint8 (28, 28): five soft dots on black."""
    light = torch.tensor(BRIGHTNESS).view(-1, 1, 1) * torch.exp(-_squares() / (2 * RADIUS**2))
    return (255 * light.sum(0).clamp(max=1)).round().to(torch.uint8)


def measure(images: Tensor) -> Warps:
    """Measure the warps that made ``images`` (N, 28, 28), 0 black to 1 white, from the dots."""
    squares = _squares()
    near = (squares.argmin(0) == torch.arange(5).view(-1, 1, 1)) & (squares < REACH**2)
    light = images.clamp(min=0).unsqueeze(1) * near
    mass = light.sum((2, 3))
    x, y = _pixels()
    found = torch.stack([(light * x).sum((2, 3)), (light * y).sum((2, 3))], dim=2)
    found = found / mass.clamp(min=1e-6).unsqueeze(2)

    # In the complex plane a rotation about the centre is a factor of modulus 1.
    before, after = _complex(DOTS), _complex(found)
    factor = (after[:, :4] * before[:4].conj()).sum(1) / before[:4].abs().square().sum()
    rotated = (factor / factor.abs()).unsqueeze(1) * before
    return Warps(
        degrees=torch.rad2deg(factor.angle()),
        error=(after - rotated).abs().amax(1),
        scale=factor.abs(),
        dimmest=mass.argmin(1),
    )


def _pixels() -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    return x, y


def _squares() -> Tensor:
    """(5, 28, 28): the squared distance of each pixel to each dot."""
    x, y = _pixels()
    return torch.stack([(x - dot[0]).square() + (y - dot[1]).square() for dot in DOTS])


def _complex(points: Tensor) -> Tensor:
    """(..., 2) as (x, y) -> complex (...), the centre at 0, y upwards."""
    return torch.complex(points[..., 0] - CENTRE, CENTRE - points[..., 1])
