"""What is asked of all three networks; ``test_cnn.py`` and its siblings ask it.

A network is compared with the reference under weights and images of the grader's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnist_lab.data import Digits
from mnist_lab.diagnosis import CheckFailure, draws, fail, match, reference
from mnist_lab.grading.learners import LearnedModel
from mnist_lab.submission.handle import Model, SubmissionFailure

LAYERS = {
    "logistic_regression": "flatten, linear, sigmoid",
    "fnn": "flatten, linear, ReLU, linear",
    "cnn": "conv, ReLU, pool, conv, ReLU, pool, flatten, linear, ReLU, linear",
}

OVERFIT = {
    "logistic_regression": (100, 1.60),
    "fnn": (30, 0.1),
    "cnn": (40, 0.3),
}
"""Steps of Adam (learning rate 0.001) on one batch of 64, and the loss that they reach."""

NO_BETTER_THAN_GUESSING = (1.5, 10.0)
"""Where an untrained network's loss lies: ln(10) = 2.30 for even scores; large first weights are
confidently wrong. Well below 2.30 is a network that knows the digits already."""

ACCURACY = {
    "mnist": {"logistic_regression": 0.86, "fnn": 0.95, "cnn": 0.975},
    "sample": {"logistic_regression": 0.80, "fnn": 0.88, "cnn": 0.92},
}
"""The fraction of test digits to be read after the lab's ten epochs, by source of the digits.

The lab's own models reach, on average and with a standard deviation over 20 seeds: on MNIST 0.905
(0.004), 0.980 (0.002) and 0.991 (2 seeds), on the sample 0.888 (0.009), 0.955 (0.008) and 0.972
(0.006). Every bound but that one is at least seven
deviations below, so that other first weights have room too; that one's is not known yet.
"""


def check_parameters(exercise: str, model: Model) -> None:
    """One parameter for each weight of the reference, in any layout, and no others."""
    network = reference.NETWORKS[exercise]
    expected = sum(math.prod(axes) for axes in network.axes.values())
    actual = sum(math.prod(each.shape) for each in model.parameters)
    try:
        match.match(network, model.parameters)
    except match.Unmatched as unmatched:
        lacks = [f"{name} {_shape(_usual(network.axes[name]))}" for name in unmatched.missing]
        extra = [f"{each.name} {_shape(each.shape)}" for each in unmatched.extra]
        raise fail(
            f"{model.name} has {actual:,} parameters that are not the {expected:,} asked for."
            if actual == expected
            else f"{model.name} has {actual:,} parameters; {expected:,} are asked for.",
            " ".join(
                f"{what} {', '.join(those)}."
                for what, those in (("It lacks", lacks), ("It has besides", extra))
                if those
            ),
            expected=expected,
            actual=actual,
        ) from None


def check_shapes(model: Model, generator: torch.Generator) -> None:
    """For any number of images, and images of any brightness."""
    caught: list[Exception] = []

    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(size=st.integers(1, 70), brightness=st.sampled_from([0.0, 1.0, 30.0]))
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
        raise caught[0]


def check_network(exercise: str, model: Model, generator: torch.Generator) -> None:
    """The reference's outputs with the same weights, in eval and in train mode."""
    network = reference.NETWORKS[exercise]
    matched = match.match(network, model.parameters)
    weights = match.draw_weights(network, matched, generator)
    images, outputs = _run(model, weights, draws.images(generator, 8))
    compared = match.compare(network, matched, weights, images, outputs)
    if not _same(outputs, compared.outputs):
        _check_function(model, images, outputs)
        raise _another_network(exercise, model, outputs, compared)
    in_training = model.forward(images, training=True).logits
    if not _same(in_training, compared.outputs):
        raise fail(
            f"In train mode {model.name} computes something else than in eval mode.",
            f"In eval mode its outputs are those of {LAYERS[exercise]}; in train mode they differ "
            f"by up to {match.difference(in_training, compared.outputs):.3g}. "
            f"Its modules are {', '.join(model.modules)}.",
            "Leave out layers that behave differently in training, such as dropout.",
        )


def check_behaviour(exercise: str, model: Model, generator: torch.Generator) -> None:
    """A function of the weights and each image alone, in any dtype and on any device."""
    model.set_weights(_weights(exercise, model, generator))
    images = draws.images(generator, 6)
    outputs = model(images.float())
    _check_function(model, images.float(), outputs)
    if outputs.dtype != torch.float32:
        raise _wrong_dtype(model, torch.float32, outputs.dtype)
    _check_device(model)
    model.double()
    outputs = model(images)
    if outputs.dtype != torch.float64:
        raise _wrong_dtype(model, torch.float64, outputs.dtype)


def check_learns(exercise: str, model: Model, generator: torch.Generator) -> None:
    """It starts near guessing, gradients reach all parameters, and it learns one batch."""
    steps, reached = OVERFIT[exercise]
    images, labels = draws.digits(generator, 64)
    losses = model.fit(images, labels, steps + 1)
    low, high = NO_BETTER_THAN_GUESSING
    if not low < losses[0] < high:
        raise fail(
            f"Before any training the loss of {model.name} is {losses[0]:.2f}; guessing gives "
            "2.30.",
            "The mean cross-entropy on 64 digits, with its own first weights.",
            "Leave the layers' own initialisation alone.",
            expected=2.30,
            actual=losses[0],
        )
    _check_gradients(exercise, model, generator)
    if losses[-1] >= reached:
        raise fail(
            f"{steps} steps of Adam on one batch bring the loss of {model.name} to "
            f"{losses[-1]:.3f} only.",
            f"Below {reached:.2f} is asked for; the loss began at {losses[0]:.2f}. With random "
            "weights of ours every parameter gets a gradient.",
            "Look at the first weights: units that start equal stay equal.",
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
    if not _same(there, here):
        raise fail(
            f"{model.name} computes something else on a GPU than on the CPU.",
            f"The outputs differ by up to {match.difference(there, here):.3g}.",
        )


def _weights(exercise: str, model: Model, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights of the grader's own for the learner's parameters."""
    network = reference.NETWORKS[exercise]
    return match.draw_weights(network, match.match(network, model.parameters), generator)


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


def _same(actual: Tensor, expected: Tensor) -> bool:
    if actual.dtype == expected.dtype == torch.float64:
        return match.difference(actual, expected) < match.EQUAL
    size = max(1.0, expected.abs().max().item())
    return match.difference(actual, expected) < match.NEARLY_EQUAL * size


def _expect_shape(model: Model, outputs: Tensor, size: int) -> None:
    if outputs.shape != (size, 10):
        raise fail(
            f"For images {_shape((size, 1, 28, 28))} the outputs of {model.name} have the shape "
            f"{_shape(outputs.shape)}.",
            f"{_shape((size, 10))} is asked for: ten numbers for each image.",
            expected=[size, 10],
            actual=list(outputs.shape),
        )


def _another_network(
    exercise: str, model: Model, outputs: Tensor, compared: match.Comparison
) -> CheckFailure:
    """Says what is seen of the outputs themselves, before what only the comparison shows."""
    low, high = outputs.min().item(), outputs.max().item()
    evidence = (
        f"With the same weights and images its outputs are off by up to {compared.difference:.3g}; "
        f"they lie between {low:.3g} and {high:.3g}, and those asked for between "
        f"{compared.outputs.min().item():.3g} and {compared.outputs.max().item():.3g}."
    )
    message = f"The outputs of {model.name} are not those of {LAYERS[exercise]}."
    if (outputs.sum(1) - 1).abs().max() < 1e-4 and low >= 0:
        message = f"The ten outputs of {model.name} sum to 1 for every image."
    elif (outputs.exp().sum(1) - 1).abs().max() < 1e-4:
        message = f"The outputs of {model.name} are logarithms of probabilities that sum to 1."
    elif exercise == "logistic_regression" and not (low >= 0 and high <= 1):
        message = f"The outputs of {model.name} are not confined to 0 to 1, as a sigmoid's are."
    elif exercise != "logistic_regression" and low >= 0:
        message = f"No output of {model.name} is negative, and raw scores are of both signs."
    return fail(message, evidence)


def _check_function(model: Model, images: Tensor, outputs: Tensor) -> None:
    """The same image gets the same output, and neither it nor others are changed by that."""
    again = model.forward(images)
    if not _same(again.logits, outputs):
        raise fail(
            f"{model.name} gives other outputs when it gets the same images again.",
            "Both times in eval mode, with the same weights. They differ by up to "
            f"{match.difference(again.logits, outputs):.3g}.",
            "Leave everything random out of forward.",
        )
    if not torch.equal(again.images_after, images):
        raise fail(
            f"{model.name} changes the images that it is given.",
            "After the call they differ by up to "
            f"{match.difference(again.images_after, images):.3g}.",
            "An operation whose name ends in _ or an assignment to images[...] works in place.",
        )
    pairs = [images[start : start + 2] for start in range(0, len(images), 2)]
    in_pairs = torch.cat([model(pair) for pair in pairs])
    if not _same(in_pairs, outputs):
        raise fail(
            f"What {model.name} answers for an image depends on the other images of the batch.",
            f"In batches of 2 its outputs are up to {match.difference(in_pairs, outputs):.3g} from "
            f"those in a batch of {len(images)}.",
            "Look for a softmax, mean or normalisation over dimension 0, the batch.",
        )


def _check_device(model: Model) -> None:
    try:
        _, device = model.on_fake_device()
    except SubmissionFailure as failure:
        if not failure.raised:
            raise
        raise fail(
            f"{model.name} does not work on the device that it was moved to.",
            failure.cause.message,
            "Make no tensors in forward, and name no device there.",
            where=failure.cause.where,
            traceback=failure.cause.traceback,
        ) from None
    if device.startswith("cpu"):
        raise fail(
            f"The outputs of {model.name} are on the CPU although it was moved to another device.",
            f"They came back on {device}.",
            "Leave .cpu() and .to(...) out of forward.",
        )


def _check_gradients(exercise: str, model: Model, generator: torch.Generator) -> None:
    """Under weights of the grader's own, with which no gradient is zero by chance."""
    model.set_weights(_weights(exercise, model, generator))
    images = draws.images(generator, 16).float()
    cotangent = torch.randn(16, 10, generator=generator)
    gradients = model.gradients(images, cotangent, training=True).parameters
    without = [name for name, value in gradients.items() if value is None or not value.any()]
    frozen = [each.name for each in model.parameters if not each.requires_grad]
    if frozen:
        raise fail(
            f"{', '.join(frozen)} of {model.name} cannot be trained.",
            "requires_grad is False there.",
            "Leave requires_grad as it is.",
        )
    if without:
        raise fail(
            f"The loss does not reach {', '.join(without)} of {model.name}.",
            "After backward() the gradient there is "
            + ("missing." if gradients[without[0]] is None else "zero."),
            "Look for .detach(), .data or torch.no_grad() in forward.",
        )


def _wrong_dtype(model: Model, given: torch.dtype, got: torch.dtype) -> CheckFailure:
    return fail(
        f"For {_name(given)} images the outputs of {model.name} are {_name(got)}.",
        "Its weights were of the images' type too.",
        "Leave .float() and .to(...) out of forward.",
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _usual(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a weight in PyTorch's own layer: a dense layer's inputs are one axis."""
    dense = len(axes) > 1 and axes[-1] != 3
    return (axes[0], math.prod(axes[1:])) if dense else axes


def _shape(shape: Sequence[int]) -> str:
    return str(tuple(shape))
