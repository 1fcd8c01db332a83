"""Augmented digits that are made once are what each training would make; nobody changes them."""

import mmap
import os
import sys
from pathlib import Path

import pytest
import torch

from mnist_lab import augment, data, training
from mnist_lab.models import MODELS
from mnist_lab.submission import augmented
from mnist_lab.submission.client import Submission
from mnist_lab.submission.server import Server

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has memory that can be sealed"
)

DIGITS = data.load("sample", train_size=1100, test_size=50)
TRAIN = DIGITS.train
SETTINGS = training.Settings(epochs=2, seed=3, device="cpu")
SOLUTIONS = Path(__file__).parents[2] / "solutions"


@pytest.fixture
def descriptor():
    made = augmented.make(TRAIN, SETTINGS)
    yield made
    os.close(made)


@pytest.fixture
def attached(descriptor, monkeypatch):
    monkeypatch.setattr(augmented, "_attached", [])
    augmented.attach(os.dup(descriptor))


def test_it_is_the_stream_of_a_training_without_compiled_code(attached, monkeypatch):
    monkeypatch.setattr(augment, "compiled", lambda: None)
    made = augmented.made(TRAIN.images, TRAIN.labels, SETTINGS)
    for epoch in range(SETTINGS.epochs):
        expected = list(training.stream(TRAIN, epoch, SETTINGS, torch.device("cpu")))
        given = list(made(epoch))
        assert len(given) == len(expected) == 2
        for (images, labels), (same_images, same_labels) in zip(given, expected, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)


def test_what_a_model_does_to_its_images_is_gone_with_them(attached):
    made = augmented.made(TRAIN.images, TRAIN.labels, SETTINGS)
    before = [images.clone() for images, _ in made(0)]
    for images, labels in made(0):
        images.zero_()
        labels.zero_()
    assert all(torch.equal(a, b) for a, (b, _) in zip(before, made(0), strict=True))


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"epochs": 3}, {"batch_size": 32}, {"augment": False}, {"device": "cuda"}],
)
def test_other_settings_have_a_stream_of_their_own(attached, change):
    other = training.Settings(**{**vars(SETTINGS), **change})
    assert augmented.made(TRAIN.images, TRAIN.labels, SETTINGS) is not None
    assert augmented.made(TRAIN.images, TRAIN.labels, other) is None


def test_other_digits_have_a_stream_of_their_own(attached):
    assert augmented.made(TRAIN.images, TRAIN.labels.flip(0), SETTINGS) is None
    assert augmented.made(TRAIN.images.flip(0), TRAIN.labels, SETTINGS) is None


def test_nobody_can_write_to_it(descriptor):
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"0", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def test_a_learners_model_is_trained_on_it(descriptor, monkeypatch):
    # With all digits black a training that takes them cannot learn what the other one does.
    monkeypatch.setattr(
        augmented,
        "stream",
        lambda *given: ((0 * images, labels) for images, labels in training.stream(*given)),
    )
    black = augmented.make(TRAIN, SETTINGS)
    try:
        alone, same, dark = (_losses(given) for given in (None, descriptor, black))
    finally:
        os.close(black)
    assert alone == same
    assert dark != same
    assert min(dark) > max(same)


def _losses(given):
    torch.manual_seed(0)
    server = Server(given)
    try:
        with Submission(SOLUTIONS, server=server) as submission:
            exercise = submission.exercise("fnn")
            with exercise.limit(60):
                model = exercise.build("FNN")
                model.set_weights(MODELS["fnn"]().state_dict())
                learned = model.learn(
                    TRAIN.images, TRAIN.labels, DIGITS.test.images, epochs=2, seed=3
                )
        return [epoch.loss for epoch in learned.epochs]
    finally:
        server.close()
