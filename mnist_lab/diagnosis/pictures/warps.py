"""How augmented images were warped, measured from a probe image of five dots.

Rotation about the centre moves the four outer dots alike; what is left of their movement when
the best rotation is taken out is the work of the perspective.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CENTRE = 13.5
DOTS = torch.tensor([[6.0, 6.0], [21.0, 6.0], [21.0, 21.0], [6.0, 21.0], [CENTRE, CENTRE]])
"""(x, y) of the dots: top left, top right, bottom right, bottom left, centre."""

BRIGHTNESS = (0.4, 0.6, 0.8, 1.0, 1.0)
"""Of the dots: no two corners are alike, so that a mirrored or turned image can be told from the
original."""

MIDDLE = 12.0
"""Pixels from the centre that no warp that is asked for mixes with the corners that it uncovers."""

RADIUS = 1.3
REACH = 6.0
"""A dot is looked for within this many pixels of its place, nearer than any other dot's."""

ROTATION_ERROR = 0.3
"""Pixels by which a dot may miss its place after a mere rotation: nearest-neighbour sampling
reaches 0.18, while a perspective that moves a corner by a pixel is seen at 0.5."""

SPREAD = 3.24
"""Of the centre dot when nothing blurs it; interpolation changes it by up to 0.15, the
slightest common blur, of 3x3 pixels with a deviation of 0.5, by 0.35."""

WHOLE = 0.85
"""A dot that has less than this share of the light that it should have is partly outside."""

APART = 4.5
"""Pixels that two dots keep between them, even in a picture made half as large."""


@dataclass(frozen=True)
class Warps:
    """What N warps did, by where they took the dots.

    The picture is ``mirrored`` (N,), left for right, or not; then turned by ``degrees`` (N,),
    anticlockwise, from -180 to 180, enlarged by ``scale`` (N,) and moved by ``shift`` (N,),
    complex, in pixels to the right and up. ``similar`` (N,): the pixels by which a dot misses its
    place if that is all; ``error`` (N,): if it is only turned; ``affine`` (N,): if it may have been
    sheared as well, by ``shear`` (N,), so that a perspective is left. ``bent`` (N,): the pixels by
    which the centre dot misses the crossing of the square's diagonals, where any perspective leaves
    it. ``spread`` (N,): the mean squared distance in pixels of the centre dot's light from its own
    centre. ``upright`` (N,): whether the top left dot is the dimmest and the top right one dimmer
    than the bottom left one, as in no picture that is mirrored, transposed or turned by a quarter.
    ``whole`` (N,): whether no dot is partly outside of the image; of the others the rest is not to
    be trusted.
    """

    mirrored: Tensor
    degrees: Tensor
    scale: Tensor
    shift: Tensor
    shear: Tensor
    error: Tensor
    similar: Tensor
    affine: Tensor
    bent: Tensor
    spread: Tensor
    upright: Tensor
    whole: Tensor

    @property
    def rotations(self) -> Tensor:
        """Which of the N are rotations about the centre and nothing else: bool (N,)."""
        return self.error < ROTATION_ERROR


def dots() -> Tensor:
    """The probe image, uint8 (28, 28): five soft dots on black."""
    return (255 * _light(_complex(DOTS).unsqueeze(0))[0]).round().to(torch.uint8)


def framed_dots() -> Tensor:
    """The same with a white pixel in each corner, so that their ink fills the picture."""
    picture = dots()
    picture[::27, ::27] = 255
    return picture


def measure(images: Tensor) -> Warps:
    """The warps that made ``images`` (N, 28, 28), 0 black to 1 white, of dots that are near where
    they were.
    """
    after, mass = _found(images, _complex(DOTS).unsqueeze(0))
    return _measured(images, after, mass, torch.zeros(len(images), dtype=torch.bool))


def trace(images: Tensor) -> Warps:
    """As ``measure`` of dots that may be anywhere, and of pictures that may be mirrored."""
    return _measured(images, *_matched(*_found(images, _brightest(images))))


def _measured(images: Tensor, after: Tensor, mass: Tensor, mirrored: Tensor) -> Warps:
    """By where the five dots came (N, 5), complex, and by their light."""
    before = _complex(DOTS).expand_as(after)
    before = torch.where(mirrored.unsqueeze(1), -before.conj(), before)
    # In the complex plane a rotation about the centre is a factor of modulus 1.
    turn, shift = _factor(after, before), after.mean(1)
    rotated = (turn / turn.abs()).unsqueeze(1) * before
    similar = turn.unsqueeze(1) * before + shift.unsqueeze(1)
    # a z + b + c conj(z) is any affine map of z; c shears. The dots add up to 0, and so do their
    # squares: a, b and c can be fitted one by one.
    shear = _factor(after, before.conj())
    affine = similar + shear.unsqueeze(1) * before.conj()
    light = mass / torch.tensor(BRIGHTNESS)
    return Warps(
        mirrored=mirrored,
        degrees=torch.rad2deg(turn.angle()),
        scale=turn.abs(),
        shift=shift,
        shear=shear.abs(),
        error=(after - rotated).abs().amax(1),
        similar=(after - similar).abs().amax(1),
        affine=(after - affine).abs().amax(1),
        bent=_bent(after),
        spread=_spread(images, after[:, 4]),
        upright=(mass[:, :1] < mass[:, 1:]).all(1) & (mass[:, 1] < mass[:, 3]),
        whole=light.amin(1) > WHOLE * light.median(1).values,
    )


def _bent(after: Tensor) -> Tensor:
    a, b, c, d, centre = after.unbind(1)
    one, other = c - a, d - b
    across = (one.conj() * other).imag
    along = ((b - a).conj() * other).imag / torch.where(across == 0, 1e-6, across)
    return (a + along * one - centre).abs()


def _brightest(images: Tensor) -> Tensor:
    """The complex places (N, 5) of the brightest spots that are apart from each other."""
    z = _pixels()
    apart = (z.view(-1, 1) - z.view(1, -1)).abs() >= APART
    spot = torch.exp(-(z.view(-1, 1) - z.view(1, -1)).abs().square() / (2 * RADIUS**2))
    light = images.clamp(min=0).flatten(1) @ spot
    places = []
    for _ in DOTS:
        best = light.argmax(1)
        places.append(z.flatten()[best])
        light = light * apart[best]
    return torch.stack(places, dim=1)


def _matched(after: Tensor, mass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The places (N, 5) and the light of the dots in the order of ``DOTS``, by their own order and
    brightness; and whether the picture is mirrored.
    """
    middle = (after - after.mean(1, keepdim=True)).abs().argmin(1, keepdim=True)
    others = (after - after.gather(1, middle)).angle()
    around = others.scatter(1, middle, torch.inf).argsort(1)  # anticlockwise, the middle last
    corners = torch.tensor([3, 2, 1, 0])  # anticlockwise too
    turns = [corners.roll(by) for by in range(4)] + [corners.flip(0).roll(by) for by in range(4)]
    orders = torch.stack([torch.cat([turn, torch.tensor([4])]) for turn in turns])
    expected = torch.tensor(BRIGHTNESS)[orders]
    share = mass.gather(1, around) / mass.sum(1, keepdim=True)
    off = (share.unsqueeze(1) - expected / expected.sum(1, keepdim=True)).abs().sum(2)
    best = off.argmin(1)
    order = around.gather(1, orders[best].argsort(1))
    return after.gather(1, order), mass.gather(1, order), best >= 4


def _spread(images: Tensor, centres: Tensor) -> Tensor:
    squares = (_pixels() - centres.view(-1, 1, 1)).abs().square()
    light = images.clamp(min=0) * (squares < REACH**2 / 2)
    return (light * squares).sum((1, 2)) / light.sum((1, 2)).clamp(min=1e-6)


def clouds(seed: int = 0) -> Tensor:
    """A probe image of which angles can be told more exactly, uint8 (28, 28): clouds on black."""
    noise = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    weights = torch.exp(-torch.arange(-2.0, 3.0).square() / (2 * 0.8**2))
    smooth = F.conv2d(noise, torch.outer(weights, weights).view(1, 1, 5, 5), padding=2)[0, 0]
    inside = ((MIDDLE - _pixels().abs()) / 2).clamp(0, 1)
    return (255 * inside * (0.5 + 0.25 * smooth / smooth.std()).clamp(0, 1)).round().to(torch.uint8)


def middle() -> Tensor:
    """Where an image (28, 28) is away from its edges and corners: bool."""
    z = _pixels()
    return (z.real.abs() < MIDDLE) & (z.imag.abs() < MIDDLE) & (z.abs() < 1.25 * MIDDLE)


def angles(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The angle (N,) by which ``clouds`` of the seed were turned in each of ``images`` (N, 28, 28),
    in degrees from -180 to 180, anticlockwise, and how alike (N,) they look then, at most 1.

    A mere rotation has 0.991 and more by any interpolation, and its angle is known to half a
    degree; but nearest-neighbour sampling leaves an image as it is up to 2.2 degrees, which is told
    as 0.
    """
    degrees = torch.arange(-180.0, 180.0, 0.5)
    alike = torch.maximum(*(_alike(images, looks) for looks in _turned_clouds(degrees, seed)))
    best, at = alike.max(1, keepdim=True)
    ties = (alike > best - 1e-4).float()
    beside = (degrees - degrees[at] + 180) % 360 - 180  # around the circle
    found = degrees[at].squeeze(1) + (ties * beside).sum(1) / ties.sum(1)
    return (found + 180) % 360 - 180, best.squeeze(1)


def _alike(images: Tensor, others: Tensor) -> Tensor:
    """(N, M): the correlation of each of the images with each of the others."""

    def standardised(images: Tensor) -> Tensor:
        flat = images.flatten(1) - images.flatten(1).mean(1, keepdim=True)
        return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-6)

    return standardised(images) @ standardised(others).T


def _turned_clouds(degrees: Tensor, seed: int) -> Iterator[Tensor]:
    """Clouds turned by each angle, by nearest neighbours and bilinearly."""
    turn = torch.deg2rad(degrees)
    cos, sin, none = turn.cos(), turn.sin(), torch.zeros_like(turn)
    matrix = torch.stack([cos, -sin, none, sin, cos, none], dim=1).view(-1, 2, 3)
    size = [len(degrees), 1, 28, 28]
    grid = F.affine_grid(matrix, size, align_corners=False)
    image = (clouds(seed) / 255).expand(size)
    for mode in ("nearest", "bilinear"):
        yield F.grid_sample(image, grid, mode=mode, align_corners=False)[:, 0]


def _factor(after: Tensor, before: Tensor) -> Tensor:
    """The complex factor (N,) that takes ``before`` nearest to ``after``."""
    return (after * before.conj()).sum(-1) / before.abs().square().sum(-1)


def _found(images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The centre of the light near each of five ``places`` (N, 5), complex, and its amount."""
    axis = torch.arange(28.0) - CENTRE
    across = (axis - places.real.unsqueeze(-1)).square().unsqueeze(-2)
    down = (axis + places.imag.unsqueeze(-1)).square().unsqueeze(-1)
    squares = across + down
    near = (squares.argmin(1, keepdim=True) == torch.arange(5).view(5, 1, 1)) & (squares < REACH**2)
    light = images.clamp(min=0).unsqueeze(1) * near
    by_column, by_row = light.sum(2), light.sum(3)
    mass = by_column.sum(2)
    centre = torch.complex(by_column @ axis, -(by_row @ axis))
    return centre / mass.clamp(min=1e-6), mass


def _light(places: Tensor) -> Tensor:
    """Images (N, 28, 28) of five soft dots at complex ``places`` (N, 5)."""
    squares = (_pixels() - places.view(*places.shape, 1, 1)).abs().square()
    brightness = torch.tensor(BRIGHTNESS).view(5, 1, 1)
    return (brightness * torch.exp(-squares / (2 * RADIUS**2))).sum(1).clamp(max=1)


def _pixels() -> Tensor:
    """(28, 28): the place of each pixel."""
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    return _complex(torch.stack([x, y], dim=-1))


def _complex(points: Tensor) -> Tensor:
    """(..., 2) as (x, y) -> complex (...), the centre at 0, y upwards."""
    return torch.complex(points[..., 0] - CENTRE, CENTRE - points[..., 1])
