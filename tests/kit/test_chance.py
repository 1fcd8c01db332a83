"""What a seed gives stays what it is."""

import pytest
import torch

from mnist_lab.chance import Purpose, permutation, uniform


def test_the_first_numbers_of_a_stream_are_these_for_ever():
    drawn = uniform(Purpose.AUGMENTATION, 0, 0, size=3)

    assert drawn.tolist() == pytest.approx(
        [0.40480866631849866, 0.7303711524853862, 0.9187486211243265], abs=1e-15
    )
    assert permutation(Purpose.ORDER, 0, 0, size=8).tolist() == [0, 1, 2, 7, 5, 6, 4, 3]


def test_more_numbers_begin_with_the_same():
    assert torch.equal(
        uniform(Purpose.AUGMENTATION, 3, 1, size=5),
        uniform(Purpose.AUGMENTATION, 3, 1, size=50)[:5],
    )


def test_numbers_are_uniform():
    drawn = uniform(Purpose.AUGMENTATION, 1, 2, size=100_000)

    assert drawn.dtype == torch.float64
    assert 0 <= drawn.min() < 1e-4
    assert 1 - 1e-4 < drawn.max() < 1
    assert drawn.histc(10, 0, 1).div(10_000).sub(1).abs().max() < 0.05


def test_a_permutation_has_every_number_once():
    assert permutation(Purpose.ORDER, 5, 0, size=1000).sort().values.tolist() == list(range(1000))


def test_seeds_epochs_and_purposes_give_different_numbers():
    keys = [(purpose, seed, epoch) for purpose in Purpose for seed in (0, 1) for epoch in (0, 1)]
    drawn = [tuple(uniform(*key, size=4).tolist()) for key in keys]

    assert len(set(drawn)) == len(keys)
