"""The batched augmentation is torchvision's, image by image, for the same draws."""

import pytest
import torch
from torchvision.transforms import functional as reference

from mnist_lab import augment as lab
from mnist_lab.data import load


@pytest.fixture(scope="module")
def images():
    """500 real digits, uint8 (500, 28, 28)."""
    return load("sample", train_size=500, test_size=10).train.images


@pytest.fixture(scope="module", params=[0, 1, 2])
def draws(request):
    return lab.draw(seed=request.param, epoch=3, size=500)


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

    warped = lab.perspective(pixels, draws.corners)

    assert 200 < moved.sum() < 300
    assert (warped - expected)[moved].abs().max() < 1e-5
    assert torch.equal(warped[~moved], pixels[~moved])


def test_augmentation_rotates_then_distorts_then_normalises(images, draws):
    pixels = lab.rotate(lab.scale(images), draws.degrees)
    expected = reference.normalize(lab.perspective(pixels, draws.corners), [lab.MEAN], [lab.STD])

    assert torch.equal(lab.augment(images, draws), expected)


def test_the_corners_that_a_warp_uncovers_are_background():
    black = torch.zeros(200, 28, 28, dtype=torch.uint8)

    augmented = lab.augment(black, lab.draw(0, 1, 200))

    assert torch.allclose(augmented, torch.tensor(-0.4242), atol=1e-4)


def test_normalising_is_scaling_then_the_mean_and_standard_deviation(images):
    expected = reference.normalize(images[:, None].float() / 255, [lab.MEAN], [lab.STD])

    assert torch.equal(lab.normalise(images), expected)


def test_an_image_is_augmented_alike_in_any_company(images, draws):
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
