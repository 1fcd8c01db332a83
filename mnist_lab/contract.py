"""Every number that the handouts ask for, once: sizes, augmentation, training and accuracy.

The lab is built with them and the diagnosis compares with them. The handouts say them in words.
"""

from __future__ import annotations

SIDE = 28
"""Pixels of an image along each side."""

DIGITS = 10

MEAN, STD = 0.1307, 0.3081
"""Mean and standard deviation of MNIST's 60,000 training images, pixels scaled to [0, 1]."""

MAX_DEGREES = 10.0
"""A rotation is uniform from minus so many degrees to as many."""

DISTORTION_SCALE = 0.2
"""The part of half a side by which a perspective moves a corner at most, along each axis."""

PERSPECTIVE_PROBABILITY = 0.5

HIDDEN = 256
"""Units of the feed-forward network's hidden layer."""

FILTERS = (16, 32)
"""Of the convolutional network's two convolutions, 3x3 each."""

DENSE = 128
"""Units of the convolutional network's hidden linear layer."""

TRAIN_SIZE, TEST_SIZE = 30_000, 5_000
"""Digits of MNIST that are trained on and tested on."""

EPOCHS, LEARNING_RATE, BATCH_SIZE = 10, 1e-3, 64

ACCURACY = {
    "mnist": {"logistic_regression": 0.86, "fnn": 0.95, "cnn": 0.975},
    "sample": {"logistic_regression": 0.80, "fnn": 0.88, "cnn": 0.92},
}
"""The fraction of test digits to be read after the lab's ten epochs, by source of the digits.

The lab's own models reach, on average and with a standard deviation over 20 seeds: on MNIST 0.905
(0.004), 0.980 (0.002) and 0.990 (0.0015), on the sample 0.888 (0.009), 0.955 (0.008) and 0.972
(0.006). Every bound is at least seven deviations below, so that other first weights have room too.
"""
