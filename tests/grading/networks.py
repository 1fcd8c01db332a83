"""What is asked of all three networks; ``test_cnn.py`` and its siblings ask it.

A network is compared with the reference under weights and images of the grader's own. What does
not pass is handed to ``network_faults.py``, which says why.
"""

from __future__ import annotations

from collections.abc import Sequence

import network_faults as faults
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnist_lab.data import Digits
from mnist_lab.diagnosis import CheckFailure, draws, fail, layouts, match, reference
from mnist_lab.grading.learners import LearnedModel
from mnist_lab.submission.client import Model, SubmissionFailure

OVERFIT = {
    "logistic_regression": (64, 100, 1.60),
    "fnn": (64, 30, 0.1),
    "cnn": (8, 40, 0.3),
}
"""Digits in one batch, steps of Adam (learning rate 0.001) on it, and the loss that they reach.

The lab's own models need 21 to 25, 8 to 10 and 7 to 11 steps (40 seeds, the CNN 52). With 64 digits
the CNN needs 9 to 12, which take five times as long.
"""

NO_BETTER_THAN_GUESSING = (1.5, 10.0)
"""Where an untrained network's loss lies: ln(10) = 2.30 for even scores; large first weights are
confidently wrong. Well below 2.30 is a network that knows the digits already."""

ACCURACY = {
    "mnist": {"logistic_regression": 0.86, "fnn": 0.95, "cnn": 0.975},
    "sample": {"logistic_regression": 0.80, "fnn": 0.88, "cnn": 0.92},
}
"""The fraction of test digits to be read after the lab's ten epochs, by source of the digits.

The lab's own models reach, on average and with a standard deviation over 20 seeds: on MNIST 0.905
(0.004), 0.980 (0.002) and 0.990 (0.0015), on the sample 0.888 (0.009), 0.955 (0.008) and 0.972
(0.006). Every bound is at least seven deviations below, so that other first weights have room too.
"""


def check_parameters(exercise: str, model: Model, generator: torch.Generator) -> None:
    """One parameter for each weight of the reference, in any layout, and no others."""
    try:
        layouts.match(reference.NETWORKS[exercise], model.parameters)
    except layouts.Unmatched as unmatched:
        raise faults.other_parameters(exercise, model, unmatched, generator) from None


def check_shapes(exercise: str, model: Model, generator: torch.Generator) -> None:
    """For any number of images, and images of any brightness."""
    caught: list[CheckFailure | SubmissionFailure] = []

    @settings(
        max_examples=4,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(size=st.integers(1, 40), brightness=st.sampled_from([0.0, 1.0, 30.0]))
    @example(size=1, brightness=1.0)
    @example(size=2, brightness=1.0)
    @example(size=10, brightness=1.0)
    def any_batch(size: int, brightness: float) -> None:
        if caught:
            return
        try:
            images = brightness * draws.images(generator, size).float()
            _expect_shape(model, model(images), size)
        except (CheckFailure, SubmissionFailure) as failure:
            # Kept from Hypothesis, which would run the learner's code again to confirm it.
            caught.append(failure)

    any_batch()
    if caught:
        raise faults.other_shapes(exercise, model, caught[0])


def check_network(exercise: str, model: Model, generator: torch.Generator) -> None:
    """The reference's outputs with the same weights, in eval and in train mode."""
    network = reference.NETWORKS[exercise]
    matched = layouts.match(network, model.parameters)
    weights = layouts.draw_weights(network, matched, generator)
    images, outputs = _run(model, weights, draws.images(generator, 8))
    compared = layouts.compare(network, matched, weights, images, outputs)
    seen = faults.Seen(exercise, model, matched, weights, images, outputs, compared)
    if not layouts.equal(outputs, compared.outputs):
        raise faults.another_network(seen, generator)
    in_training = model.forward(images, training=True).logits
    if not layouts.equal(in_training, compared.outputs):
        raise faults.another_in_training(seen, in_training, generator)


def check_behaviour(exercise: str, model: Model, generator: torch.Generator) -> None:
    """A function of the weights and each image alone, in any dtype and on any device."""
    model.set_weights(_weights(exercise, model, generator))
    images = draws.images(generator, 6)
    outputs = model(images.float())
    faults.check_function(exercise, model, images.float(), outputs)
    if outputs.dtype != torch.float32:
        raise faults.wrong_dtype(exercise, model, torch.float32, outputs.dtype)
    _check_device(exercise, model)
    model.double()
    try:
        outputs = model(images)
    except SubmissionFailure as failure:
        raise faults.fails_in_float64(exercise, model, failure) from None
    if outputs.dtype != torch.float64:
        raise faults.wrong_dtype(exercise, model, torch.float64, outputs.dtype)


def check_learns(exercise: str, model: Model, generator: torch.Generator) -> None:
    """It starts near guessing, gradients reach all parameters, and it learns one batch."""
    size, steps, reached = OVERFIT[exercise]
    images, labels = draws.digits(generator, size)
    first_weights = model.weights()
    try:
        losses = model.fit(images, labels, steps + 1, until=reached)
    except SubmissionFailure as failure:
        raise faults.cannot_be_trained(exercise, model, failure) from None
    low, high = NO_BETTER_THAN_GUESSING
    if not low < losses[0] < high:
        raise fail(
            f"Before any training the loss of {model.name} is {losses[0]:.2f}; guessing gives "
            "2.30.",
            f"The mean cross-entropy on {size} digits, with its own first weights.",
            "Leave the layers' own initialisation alone.",
            expected=2.30,
            actual=losses[0],
        )
    _check_gradients(exercise, model, generator)
    if losses[-1] >= reached:
        raise faults.learns_too_little(
            exercise,
            model,
            first_weights,
            f"{steps} steps of Adam on one batch bring the loss of {model.name} to "
            f"{losses[-1]:.3f} only.",
            f"Below {reached:.2f} is asked for; the loss began at {losses[0]:.2f}. With random "
            "weights of ours every parameter gets a gradient.",
            expected=reached,
            actual=losses[-1],
        )


def check_accuracy(exercise: str, model: Model, digits: Digits, seed: int) -> LearnedModel:
    """The lab trains it, and the labels of the test digits stay here. What it learned."""
    learned = model.learn(
        digits.train.images, digits.train.labels, digits.test.images, epochs=10, seed=seed
    )
    if learned.stopped:
        raise fail(f"The training of {model.name} ended early.", learned.stopped)
    asked = ACCURACY[digits.source][exercise]
    reached = reference.accuracy(learned.epochs[-1].logits, digits.test.labels)
    if reached < asked:
        raise fail(
            f"{model.name} reads {reached:.1%} of the test digits after ten epochs; {asked:.1%} "
            "are asked for.",
            f"Trained by the lab on {len(digits.train):,} digits, tried on "
            f"{len(digits.test):,} others.",
            expected=asked,
            actual=reached,
        )
    return LearnedModel(learned, model.weights())


def check_gpu(exercise: str, model: Model, generator: torch.Generator) -> None:
    """The same outputs on a GPU, in float64."""
    images = draws.images(generator, 8)
    model.double().set_weights(_weights(exercise, model, generator))
    here, there = model(images), model.forward(images, device="cuda").logits
    if not layouts.equal(there, here):
        raise fail(
            f"{model.name} computes something else on a GPU than on the CPU.",
            f"The outputs differ by up to {match.difference(there, here):.3g}.",
        )


def _weights(exercise: str, model: Model, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights of the grader's own for the learner's parameters."""
    network = reference.NETWORKS[exercise]
    return layouts.draw_weights(network, layouts.match(network, model.parameters), generator)


def _run(model: Model, weights: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """The images and the outputs for them, in float64; in float32 where that does not work."""
    try:
        model.double().set_weights(weights)
        outputs = model(images)
    except SubmissionFailure as failure:
        if not failure.raised:
            raise
        images = images.float()
        model.float().set_weights(weights)
        outputs = model(images)
    _expect_shape(model, outputs, len(images))
    return images, outputs


def _expect_shape(model: Model, outputs: Tensor, size: int) -> None:
    if outputs.shape != (size, 10):
        raise fail(
            f"For images {_shape((size, 1, 28, 28))} the outputs of {model.name} have the shape "
            f"{_shape(outputs.shape)}.",
            f"{_shape((size, 10))} is asked for: ten numbers for each image.",
            expected=[size, 10],
            actual=list(outputs.shape),
        )


def _check_device(exercise: str, model: Model) -> None:
    try:
        _, device = model.on_fake_device()
    except SubmissionFailure as failure:
        if not failure.raised:
            raise
        raise faults.told(
            exercise,
            "names-device",
            failure.cause.message,
            where=failure.cause.where,
            traceback=failure.cause.traceback,
        ) from None
    if device.startswith("cpu"):
        raise faults.told(exercise, "back-to-cpu", f"They came back on {device}.")


def _check_gradients(exercise: str, model: Model, generator: torch.Generator) -> None:
    """Under weights of the grader's own, with which no gradient is zero by chance."""
    model.set_weights(_weights(exercise, model, generator))
    images = draws.images(generator, 16).float()
    cotangent = torch.randn(16, 10, generator=generator)
    gradients = model.gradients(images, cotangent, training=True).parameters
    frozen = [each.name for each in model.parameters if not each.requires_grad]
    if frozen:
        raise faults.told(exercise, "frozen", f"requires_grad is False for {', '.join(frozen)}.")
    without = [name for name, value in gradients.items() if value is None or not value.any()]
    if without:
        raise faults.told(
            exercise,
            "detached",
            f"After backward() the gradient of {', '.join(without)} is "
            + ("missing." if gradients[without[0]] is None else "zero.")
            + " The outputs depend on it all the same.",
        )


def _shape(shape: Sequence[int]) -> str:
    return str(tuple(shape))
