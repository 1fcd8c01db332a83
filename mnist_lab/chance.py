"""Random numbers that a seed gives on every machine and with every version of NumPy.

NumPy keeps the raw stream of a bit generator as it is for ever, but not what its distributions and
permutations make of it, so both are made here. What is drawn for one purpose is independent of
what the same seed gives for another.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """What is drawn."""

    TRAIN_DIGITS = 1
    TEST_DIGITS = 2
    ORDER = 3
    AUGMENTATION = 4


def uniform(purpose: Purpose, *key: int, size: int) -> Tensor:
    """float64 (``size``,), uniform in [0, 1); the first numbers do not depend on ``size``."""
    return torch.from_numpy((_raw(purpose, *key, size=size) >> np.uint64(11)) * 2.0**-53)


def permutation(purpose: Purpose, *key: int, size: int) -> Tensor:
    """The numbers 0 to ``size`` - 1 in random order, int64."""
    return torch.from_numpy(np.argsort(_raw(purpose, *key, size=size), kind="stable"))


def _raw(purpose: Purpose, *key: int, size: int) -> np.ndarray:
    """The first numbers, uint64, of a Philox stream keyed by ``purpose`` and ``key`` (Salmon et
    al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
    """
    return np.random.Philox(np.random.SeedSequence((purpose, *key))).random_raw(size)
