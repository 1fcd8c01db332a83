"""The batched augmentation is torchvision's, image by image, for the same draws."""

import contextlib

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import functional as reference

from mnist_lab import augment as lab
from mnist_lab.augment import Draws
from mnist_lab.data import load
from mnist_lab.fast import libraries as compilation

needs_a_compiler = pytest.mark.skipif(
    lab.compiled() is None, reason=f"no C compiler here: {compilation.ADVICE}"
)

BLACK = torch.zeros(1, 28, 28, dtype=torch.uint8)


@contextlib.contextmanager
def torch_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    """500 real digits, uint8 (500, 28, 28)."""
    return load("sample", train_size=500, test_size=10).train.images


@pytest.fixture(scope="module", params=[0, 1, 2])
def draws(request):
    return lab.draw(seed=request.param, epoch=3, size=500)


@pytest.fixture(params=["in tensors", pytest.param("in C", marks=needs_a_compiler)])
def way(request, monkeypatch):
    """How ``augment`` does it."""
    if request.param == "in tensors":
        monkeypatch.setattr(lab, "compiled", lambda: None)
    return request.param


def test_rotation_is_bit_for_bit_that_of_torchvision(images, draws):
    pixels = lab.scale(images)
    expected = torch.cat(
        [
            reference.rotate(image.unsqueeze(0), angle.item())
            for image, angle in zip(pixels, draws.degrees, strict=True)
        ]
    )

    assert torch.equal(lab.rotate(pixels, draws.degrees), expected)


def test_rotation_of_floats_is_that_of_the_bytes(images, draws):
    expected = torch.cat(
        [
            reference.rotate(image[None, None], angle.item())
            for image, angle in zip(images, draws.degrees, strict=True)
        ]
    )

    assert torch.equal(lab.rotate(lab.scale(images), draws.degrees), expected.float() / 255)


def test_perspective_is_within_1e_5_of_torchvision(images, draws):
    pixels = lab.scale(images)
    expected = torch.cat(
        [
            reference.perspective(
                image.unsqueeze(0), lab.CORNERS.tolist(), corners.tolist(), fill=None
            )
            for image, corners in zip(pixels, draws.corners, strict=True)
        ]
    )
    moved = (draws.corners != lab.CORNERS).flatten(1).any(1)

    warped = lab.perspective(pixels, draws.homographies)

    assert 200 < moved.sum() < 300
    assert (warped - expected)[moved].abs().max() < 1e-5
    assert torch.equal(warped[~moved], pixels[~moved])


def test_augmentation_rotates_then_distorts_then_normalises(images, draws, way):
    pixels = lab.perspective(lab.rotate(lab.scale(images), draws.degrees), draws.homographies)
    expected = reference.normalize(pixels, [lab.MEAN], [lab.STD])

    off = (lab.augment(images, draws) - expected).abs().flatten(1)
    differs = off > 5e-5  # 1.5e-5 of a pixel's range

    # A pixel read from the middle between two is either; bilinear, four others are made of it.
    assert differs.any(1).sum() <= 2
    assert differs.sum(1).max() <= 4


@needs_a_compiler
@pytest.mark.parametrize("threads", [1, 2, 3, 40])
@pytest.mark.parametrize("pool", [compilation.pool, compilation.Pool], ids=["PyTorch's", "own"])
def test_compiled_every_pixel_comes_from_where_the_rotation_says(
    images, draws, threads, pool, monkeypatch
):
    monkeypatch.setattr(compilation, "pool", pool)
    still = Draws(draws.degrees, lab.CORNERS.expand(500, 4, 2), lab.IDENTITY.expand(500, 8))
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    cos, sin = (f(torch.deg2rad(draws.degrees)).view(-1, 1, 1) for f in (torch.cos, torch.sin))
    from_x = cos * (x - 13.5) - sin * (y - 13.5) + 13.5
    from_y = sin * (x - 13.5) + cos * (y - 13.5) + 13.5
    clear = ((from_x % 1 - 0.5).abs() > 1e-4) & ((from_y % 1 - 0.5).abs() > 1e-4)
    framed = F.pad(
        lab.normalise(images), (8, 8, 8, 8), value=lab.normalise(BLACK)[0, 0, 0, 0].item()
    )
    column, row = from_x.round().long() + 8, from_y.round().long() + 8
    expected = framed[torch.arange(500).view(-1, 1, 1), 0, row, column]

    with torch_threads(threads):
        augmented = lab.augment(images, still)[:, 0]

    assert clear.float().mean() > 0.999
    assert torch.allclose(augmented[clear], expected[clear], atol=1e-6)


@needs_a_compiler
def test_compiled_perspective_is_within_1e_5_of_torchvision(images, draws):
    still = Draws(torch.zeros(500), draws.corners, draws.homographies)
    expected = torch.cat(
        [
            reference.perspective(
                image.unsqueeze(0), lab.CORNERS.tolist(), corners.tolist(), fill=None
            )
            for image, corners in zip(lab.scale(images), draws.corners, strict=True)
        ]
    )

    assert torch.allclose(lab.augment(images, still) * lab.STD + lab.MEAN, expected, atol=1e-5)


@needs_a_compiler
def test_compiled_what_is_sent_beyond_all_measure_is_background(images):
    draws = lab.draw(0, 0, 3)
    draws.homographies[:] = torch.tensor(
        [[torch.nan] * 8, [1e30, 0, 0, 0, 1e30, 0, 0, 0], [1, 0, -1e30, 0, 1, torch.inf, 0, 0]]
    )

    augmented = lab.augment(images[:3], draws)

    assert torch.allclose(augmented, lab.normalise(BLACK), atol=1e-6)


@needs_a_compiler
def test_images_in_any_layout_are_read_as_they_are(images, draws):
    turned = images.transpose(1, 2).contiguous().transpose(1, 2)

    assert torch.equal(lab.augment(turned, draws), lab.augment(images, draws))


@needs_a_compiler
def test_images_that_are_no_bytes_are_augmented_as_they_are(images, draws):
    halves = images + 0.5

    assert torch.equal(lab.augment(halves, draws), lab.in_tensors(halves, draws))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_what_pytorch_makes_by_default_changes_nothing(images, draws, dtype, way):
    expected = lab.augment(images, draws)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert torch.equal(lab.augment(images, draws), expected)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("of", [3, 5])
def test_each_image_needs_a_draw(of, way):
    with pytest.raises((RuntimeError, IndexError)):
        lab.augment(torch.zeros(of, 28, 28, dtype=torch.uint8), lab.draw(0, 0, 4))


def test_the_corners_that_a_warp_uncovers_are_background(way):
    black = torch.zeros(200, 28, 28, dtype=torch.uint8)

    augmented = lab.augment(black, lab.draw(0, 1, 200))

    assert torch.allclose(augmented, torch.tensor(-0.4242), atol=1e-4)


def test_normalising_is_scaling_then_the_mean_and_standard_deviation(images):
    expected = reference.normalize(images[:, None].float() / 255, [lab.MEAN], [lab.STD])

    assert torch.equal(lab.normalise(images), expected)


def test_an_image_is_augmented_alike_in_any_company(images, draws, way):
    whole = lab.augment(images, draws)

    for size in (1, 7, 64):
        part = slice(100, 100 + size)
        alone = lab.augment(images[part], draws[part])
        assert torch.allclose(alone, whole[part], atol=1e-5)


def test_the_draws_of_an_image_depend_on_seed_epoch_and_index_alone():
    few, many = lab.draw(5, 2, 10), lab.draw(5, 2, 1000)

    assert torch.equal(few.degrees, many.degrees[:10])
    assert torch.equal(few.corners, many.corners[:10])


@pytest.mark.parametrize("other", [(6, 2), (5, 3), (2, 5)])
def test_another_seed_or_epoch_draws_anew(other):
    a, b = lab.draw(5, 2, 1000), lab.draw(*other, 1000)

    assert not torch.isin(a.degrees, b.degrees).any()


def test_the_draws_have_the_ranges_and_shares_of_torchvision():
    draws = lab.draw(0, 0, 20_000)
    inwards = (draws.corners - lab.CORNERS).abs()
    distorted = inwards.flatten(1).any(1)

    assert -10 <= draws.degrees.min() < -9.99
    assert 9.99 < draws.degrees.max() <= 10
    assert abs(draws.degrees.mean()) < 0.2  # five standard deviations of the mean
    assert abs(distorted.float().mean() - 0.5) < 0.02
    assert draws.corners.min() == 0
    assert draws.corners.max() == 27
    assert torch.bincount(inwards[distorted].flatten()).shape == (3,)


def test_drawing_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()

    lab.draw(0, 0, 100)

    assert torch.equal(torch.get_rng_state(), before)
