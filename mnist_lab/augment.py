"""Rotation, perspective and normalisation for a whole batch of digits at once, on CPU or GPU.

The same augmentation as torchvision's ``RandomRotation(10)`` and ``RandomPerspective(0.2, 0.5)``
on tensors: two passes, rotation by nearest neighbour and perspective by bilinear interpolation.
What is random is drawn apart from what is done, so both can be tested and repeated.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.chance import Purpose, uniform
from mnist_lab.contract import (
    DISTORTION_SCALE,
    MAX_DEGREES,
    MEAN,
    PERSPECTIVE_PROBABILITY,
    SIDE,
    STD,
)
from mnist_lab.fast.libraries import library, pool

CORNERS = torch.tensor([[0, 0], [SIDE - 1, 0], [SIDE - 1, SIDE - 1], [0, SIDE - 1]])
"""(x, y) of the top left, top right, bottom right and bottom left pixel."""
IDENTITY = torch.tensor([1, 0, 0, 0, 1, 0, 0, 0], dtype=torch.float64)
"""The coefficients of the perspective map that leaves every point where it is."""


@dataclass(frozen=True)
class Draws:
    """What chance decided for N images.

    ``degrees`` (N,) float64: rotation, anticlockwise.
    ``corners`` (N, 4, 2) int64: where perspective puts the four corner pixels, as (x, y) in the
    order of ``CORNERS``; equal to ``CORNERS`` for an image that is left undistorted.
    ``homographies`` (N, 8) float64: the maps that ``homographies`` gives for these corners.
    """

    degrees: Tensor
    corners: Tensor
    homographies: Tensor

    def __getitem__(self, images: Tensor | slice) -> Draws:
        """The draws of some of the images."""
        return Draws(self.degrees[images], self.corners[images], self.homographies[images])


def draw(seed: int, epoch: int, size: int) -> Draws:
    """Draw rotation and perspective for images 0 to ``size`` - 1 of an epoch.

    Image i takes the ten numbers from 10 i on of the stream of seed and epoch, so its draws depend
    on (seed, epoch, i) alone. The distributions are torchvision's: the angle uniform within +-10
    degrees; with probability 1/2 each corner moves inwards by 0, 1 or 2 pixels along each axis.
    """
    drawn = uniform(Purpose.AUGMENTATION, seed, epoch, size=10 * size).view(size, 10)
    degrees = (2 * drawn[:, 0] - 1) * MAX_DEGREES

    reach = int(DISTORTION_SCALE * (SIDE // 2))
    inwards = torch.where(CORNERS == 0, 1, -1)
    steps = (drawn[:, 2:].view(-1, 4, 2) * (reach + 1)).long()
    distorted = (drawn[:, 1] < PERSPECTIVE_PROBABILITY).view(-1, 1, 1)
    corners = CORNERS + inwards * steps * distorted
    return Draws(degrees, corners, homographies(corners))


def homographies(corners: Tensor) -> Tensor:
    """The coefficients a to h (N, 8) of the maps that take ``corners`` (N, 4, 2) to ``CORNERS``.

    x' = (a x + b y + c) / (g x + h y + 1), y' = (d x + e y + f) / (g x + h y + 1): two linear
    equations a corner, solved in float64 (Heckbert, "Fundamentals of texture mapping", 1989).
    """
    moved = (corners != CORNERS).flatten(1).any(1)
    source = corners[moved].double()
    target = CORNERS.double().expand(len(source), 4, 2)
    ones, zeros = torch.ones_like(source[..., :1]), torch.zeros_like(target)
    place = torch.cat([source, ones], dim=2)
    nothing = torch.cat([zeros, zeros[..., :1]], dim=2)
    for_x = torch.cat([place, nothing, -target[..., :1] * source], dim=2)
    for_y = torch.cat([nothing, place, -target[..., 1:] * source], dim=2)
    equations = torch.stack([for_x, for_y], dim=2).view(-1, 8, 8)
    solved = IDENTITY.repeat(len(corners), 1)
    solved[moved] = torch.linalg.solve(equations, target.reshape(-1, 8))
    return solved


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Rotate, distort and normalise uint8 ``images`` (N, 28, 28) -> float32 (N, 1, 28, 28).

    On a CPU by ``fast/augment.c`` where it could be compiled, else ``in_tensors``: the same to
    rounding.
    """
    bytes_here = images.device.type == "cpu" and images.dtype == torch.uint8
    if bytes_here and images.shape == (len(draws.degrees), SIDE, SIDE):
        made = compiled()
        if made is not None:
            return _in_c(made, images, draws)
    return in_tensors(images, draws)


def in_tensors(images: Tensor, draws: Draws) -> Tensor:
    """``augment`` as it is where nothing was compiled, bit for bit."""
    pixels = scale(images)
    return standardise(perspective(rotate(pixels, draws.degrees), draws.homographies))


def normalise(images: Tensor) -> Tensor:
    """Scale and normalise uint8 ``images`` (N, 28, 28) -> float32 (N, 1, 28, 28), nothing drawn."""
    return standardise(scale(images))


def scale(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) -> float32 (N, 1, 28, 28) in [0, 1]."""
    return images.unsqueeze(1).to(torch.float32, copy=True).div_(255)


def standardise(pixels: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation, in place."""
    return pixels.sub_(MEAN).div_(STD)


def rotate(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image anticlockwise about its centre by nearest neighbour; black comes in.

    ``pixels`` (N, 1, H, W) float, ``degrees`` (N,). Bit for bit torchvision's ``rotate``.
    """
    height, width = pixels.shape[-2:]
    radians = -torch.deg2rad(degrees)
    cos, sin = radians.cos(), radians.sin()
    zero = torch.zeros_like(cos)
    # The inverse rotation, from output to input coordinates, the origin at the centre.
    rows = torch.stack([cos, sin, zero, -sin, cos, zero], dim=1).view(-1, 2, 3)
    rows = rows.to(pixels.device, pixels.dtype)
    half = torch.tensor([[width / 2], [height / 2]], dtype=pixels.dtype, device=pixels.device)
    points = _pixel_centres(height, width, -width / 2, -height / 2, pixels)
    return _sample(pixels, (rows / half).flatten(0, 1) @ points, "nearest")


def perspective(pixels: Tensor, homographies: Tensor) -> Tensor:
    """Send each image through a perspective map, bilinear.

    ``pixels`` (N, 1, 28, 28) float, ``homographies`` (N, 8) as in ``Draws``. Images whose corners
    stay are returned as they are. torchvision's ``perspective(..., fill=None)`` within 1e-5.
    """
    moved = _moving(homographies).nonzero().squeeze(1)
    if not len(moved):
        return pixels
    height, width = pixels.shape[-2:]
    coefficients = homographies[moved].to(pixels.device, pixels.dtype)
    moved = moved.to(pixels.device)
    numerators, denominators = coefficients[:, :6].view(-1, 2, 3), coefficients[:, 6:]
    half = torch.tensor([[width / 2], [height / 2]], dtype=pixels.dtype, device=pixels.device)
    points = _pixel_centres(height, width, 0, 0, pixels)
    over = ((numerators / half).flatten(0, 1) @ points).view(-1, 2, height * width)
    under = denominators @ points[:2] + 1
    grid = over.div_(under.unsqueeze(1)).sub_(1)
    return pixels.index_copy(0, moved, _sample(pixels[moved], grid, "bilinear"))


def _sample(pixels: Tensor, grid: Tensor, mode: str) -> Tensor:
    """``pixels`` (N, 1, H, W) read at ``grid``, all x, then all y of each image; black outside.

    In this order, and not (x, y) by (x, y), PyTorch reads a row of the grid at once.
    """
    grid = grid.view(-1, 2, *pixels.shape[-2:]).permute(0, 2, 3, 1)
    return F.grid_sample(pixels, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _pixel_centres(height: int, width: int, left: float, top: float, like: Tensor) -> Tensor:
    """Homogeneous coordinates (3, H * W) of the pixel centres, the corner at (left, top)."""
    x = torch.linspace(left + 0.5, left + width - 0.5, width, dtype=like.dtype, device=like.device)
    y = torch.linspace(top + 0.5, top + height - 0.5, height, dtype=like.dtype, device=like.device)
    points = torch.ones(3, height, width, dtype=like.dtype, device=like.device)
    points[0], points[1] = x, y.unsqueeze(1)
    return points.flatten(1)


def _moving(homographies: Tensor) -> Tensor:
    """Which of the maps (N, 8) move any point."""
    return (homographies != IDENTITY).any(1)


def compiled() -> ctypes.CDLL | None:
    """``fast/augment.c``, where it could be compiled and agrees with ``in_tensors``."""
    return library("augment.c", _agrees)


def _agrees(made: ctypes.CDLL) -> bool:
    """Whether it makes of a few images what ``in_tensors`` makes of them.

    It may differ in a few pixels that lie in the middle between two of which either is right.
    """
    images = (torch.arange(10 * SIDE * SIDE, device="cpu") * 37 % 256).to(torch.uint8)
    images, draws = images.view(10, SIDE, SIDE), draw(0, 0, 10)
    with torch.autocast("cpu", enabled=False):
        same = (_in_c(made, images, draws) - in_tensors(images, draws)).abs() < 1e-3
    return int((~same).sum()) <= 20


def _in_c(made: ctypes.CDLL, images: Tensor, draws: Draws) -> Tensor:
    images = images.contiguous()
    radians, moving = torch.deg2rad(draws.degrees), _moving(draws.homographies)
    warp = torch.stack([radians.cos(), -radians.sin(), moving.to(radians.dtype)], dim=1)
    warps = torch.cat([warp, draws.homographies], dim=1).to(torch.float32)
    augmented = torch.empty(len(images), 1, SIDE, SIDE, dtype=torch.float32, device="cpu")
    made.augment(
        ctypes.c_void_p(images.data_ptr()),
        ctypes.c_void_p(warps.data_ptr()),
        ctypes.c_long(len(images)),
        ctypes.c_float(1 / 255 / STD),
        ctypes.c_float(-MEAN / STD),
        torch.get_num_threads(),
        pool(),
        ctypes.c_void_p(augmented.data_ptr()),
    )
    return augmented
