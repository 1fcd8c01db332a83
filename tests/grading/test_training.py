"""Do ``train_epoch`` and ``train`` train as their handout asks? Each step is replayed."""

from __future__ import annotations

import math
from dataclasses import replace

import loops
import pytest
import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, draws, fail, reference
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.submission.answers import OptimizerUsed
from mnist_lab.submission.handle import Batches, ExerciseHandle, Recipe, Trained

LR = 0.05
EPOCHS, LARGE_LR = 6, 0.1
"""For ``train``: the loss rises again from the third epoch on at the latest, so that stopping early
or keeping the best epoch is seen."""

EXAMPLES, BATCH_SIZE = 23, 10
BATCHES = "On 23 examples in batches of 10, 10 and 3."

FAINT = 1e-6
"""What some pixels are multiplied with: their gradients are so small that Adam's epsilon counts
beside them, and with it the scale of the loss, which Adam hides elsewhere."""


@pytest.mark.check("training.steps")
def test_steps(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("training.steps")
    weights, batches = draws.fnn_weights(generator), _batches(generator)
    for loss, momentum in (("cross_entropy", 0.0), ("smoothed", 0.9)):
        recipe = Recipe("mlp", weights, loss=loss, lr=LR, momentum=momentum)
        trained = loops.in_float64(exercise.train_epoch, recipe, batches)
        expected = _replay(recipe, batches)
        if not loops.same(trained.weights, expected.weights):
            raise _other_weights(trained, recipe, expected)


@pytest.mark.check("training.results")
def test_results(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("training.results")
    batches = _batches(generator)
    recipe = Recipe("mlp", draws.fnn_weights(generator), lr=LR)
    score = loops.in_float64(exercise.train_epoch, recipe, batches).history[0]
    expected = _replay(recipe, batches)
    loops.expect_score("train_epoch", score, expected.loss, expected.accuracy, BATCHES)
    loops.expect_numbers("train_epoch", score)


@pytest.mark.check("training.train")
def test_train(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("training.train")
    recipe, batches = _restless(generator)
    trained = loops.in_float64(exercise.train, recipe, batches, epochs=EPOCHS, lr=LARGE_LR)
    _expect_history(trained, recipe, batches, EPOCHS, LARGE_LR, f"epochs={EPOCHS}, lr={LARGE_LR}")

    recipe, batches = Recipe("mlp", draws.fnn_weights(generator)), _batches(generator)
    by_default = loops.in_float64(exercise.train, recipe, batches)
    _expect_history(by_default, recipe, batches, 10, 1e-3, "the default epochs and lr")


@pytest.mark.check("training.state")
def test_state(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("training.state")
    recipe = Recipe("normed", draws.normed_weights(generator), training=False, lr=LR)
    batches = _batches(generator)
    epoch = loops.in_float64(exercise.train_epoch, recipe, batches)
    _expect_train_mode("train_epoch", recipe, epoch)
    loops.expect_nothing_left_behind("train_epoch", epoch.facts)

    trained = loops.in_float64(exercise.train, recipe, batches, epochs=2, lr=LR)
    _expect_train_mode("train", recipe, trained)
    loops.expect_nothing_left_behind("train", trained.facts)


@pytest.mark.gpu
@pytest.mark.check("training.gpu")
def test_gpu(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("training.gpu")
    recipe, batches = Recipe("mlp", draws.fnn_weights(generator)), _batches(generator)
    here = exercise.train(recipe, batches, epochs=2)
    there = exercise.train(recipe, batches, epochs=2, device="cuda")
    if not loops.same(there.weights, here.weights):
        raise fail(
            "train leaves other weights on a GPU than on the CPU.",
            f"They differ by up to {loops.furthest(there.weights, here.weights):.3g}.",
        )


def _batches(generator: torch.Generator) -> Batches:
    labels = torch.randint(10, (EXAMPLES,), generator=generator)
    images = 2 * draws.images(generator, EXAMPLES)
    images[..., :2] *= FAINT
    return Batches(images, labels, BATCH_SIZE)


def _restless(generator: torch.Generator) -> tuple[Recipe, Batches]:
    """Weights and batches with which the loss of ``train`` soon rises again.

    The images are almost equal, so there is nothing to learn but how often each digit occurs,
    which the weights know already.
    """
    while True:
        weights, batches = draws.fnn_weights(generator), _batches(generator)
        images = 0.02 * batches.images[:1] + 1e-4 * batches.images
        batches = replace(batches, images=images)
        weights["output.weight"] *= 0.05
        weights["output.bias"] = (torch.bincount(batches.labels, minlength=10) + 0.3).double().log()
        history = reference.train(reference.fnn, weights, batches.split(), EPOCHS, LARGE_LR)
        losses = [epoch.loss for epoch in history]
        if losses[-1] > 1.005 * min(losses) and min(losses) in losses[: EPOCHS // 2]:
            return Recipe("mlp", weights), batches


def _replay(recipe: Recipe, batches: Batches) -> reference.Epoch:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = 0.1 if recipe.loss == "smoothed" else 0.0
        return reference.cross_entropy(logits, labels, smoothing)

    step = reference.sgd(recipe.lr, recipe.momentum)
    return reference.train_epoch(reference.fnn, recipe.weights, batches.split(), step, loss)


def _other_weights(trained: Trained, recipe: Recipe, expected: reference.Epoch) -> CheckFailure:
    """Says what was seen of the steps, before what only the comparison shows."""
    facts = trained.facts
    evidence = (
        f"{BATCHES} Weights are off by up to "
        f"{loops.furthest(trained.weights, expected.weights):.3g} after the epoch."
    )
    if loops.furthest(trained.weights, recipe.weights) == 0:
        return fail("train_epoch does not change the weights of the model.", BATCHES)
    if facts.batches and sum(facts.batches) < EXAMPLES:
        used = ", ".join(map(str, facts.batches))
        return fail(
            f"train_epoch uses {sum(facts.batches)} of {EXAMPLES} examples in an epoch.",
            f"The model saw batches of {used}; the loader has batches of 10, 10 and 3.",
        )
    if facts.fresh and not all(facts.fresh):
        return fail(
            "train_epoch computes gradients while older ones are still there.",
            f"{evidence} backward() adds to what is in .grad.",
            "Clear the gradients of every batch before backward().",
        )
    if facts.steps and facts.steps != math.ceil(EXAMPLES / BATCH_SIZE):
        return fail(
            f"train_epoch takes {facts.steps} steps of the optimizer for 3 batches.", evidence
        )
    loss_fn = {
        "cross_entropy": "nn.CrossEntropyLoss()",
        "smoothed": "nn.CrossEntropyLoss(label_smoothing=0.1)",
    }[recipe.loss]
    return fail(
        "The weights after train_epoch are not those that one step a batch leads to.",
        f"{evidence} It was given loss_fn = {loss_fn} and SGD with lr={recipe.lr} and "
        f"momentum={recipe.momentum}.",
    )


def _expect_history(
    trained: Trained, recipe: Recipe, batches: Batches, epochs: int, lr: float, given: str
) -> None:
    if len(trained.history) != epochs:
        raise fail(
            f"train returns {len(trained.history)} results with {given}; one for each of {epochs} "
            "epochs is asked for.",
            expected=epochs,
            actual=len(trained.history),
        )
    history = reference.train(reference.fnn, recipe.weights, batches.split(), epochs, lr)
    after = history[-1].weights
    if loops.furthest(trained.weights, recipe.weights) == 0:
        raise fail(
            "train does not change the weights of the model that it is given.",
            f"With {given}. The model is to be trained in place.",
        )
    if not loops.same(trained.weights, after):
        raise _other_training(trained, given, loops.furthest(trained.weights, after))
    for number, (score, epoch) in enumerate(zip(trained.history, history, strict=True), start=1):
        where = f"{BATCHES} Epoch {number} of {epochs}."
        loops.expect_score("train", score, epoch.loss, epoch.accuracy, where)
        loops.expect_numbers("train", score)


def _other_training(trained: Trained, given: str, distance: float) -> CheckFailure:
    made = trained.facts.optimizers
    seen = f" The first step was one of {_described(made[0])}." if made else ""
    evidence = f"With {given}. They are off by up to {distance:.3g}.{seen}"
    if len(made) > 1:
        return fail(
            f"train makes its steps with {len(made)} optimizers; one Adam for all epochs is asked "
            "for.",
            evidence,
        )
    return fail(
        "The weights after train are not those that Adam with PyTorch's defaults leads to.",
        evidence,
    )


def _described(optimizer: OptimizerUsed) -> str:
    """The optimizer with its learning rate and whatever is not Adam's default."""
    defaults = torch.optim.Adam([torch.zeros(1)]).defaults
    default = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in defaults.items()
        if isinstance(value, int | float | tuple)
    }
    unusual = [
        f"{name}={value}"
        for name, value in optimizer.options.items()
        if name == "lr" or (name in default and value != default[name])
    ]
    return f"{optimizer.name}({', '.join(unusual)})"


def _expect_train_mode(what: str, recipe: Recipe, trained: Trained) -> None:
    """Batch normalisation moves its running averages in train mode only."""
    came = "The model came in eval mode, as from an evaluation."
    hint = "model.train() belongs at the start of every epoch."
    if loops.furthest(trained.weights, recipe.weights) == 0:
        raise fail(
            f"{what} does not train the model that it is given.",
            "Neither its weights nor the running averages of its batch normalisation changed.",
        )
    averages = {"norm.running_mean": recipe.weights["norm.running_mean"]}
    if loops.furthest(trained.weights, averages) == 0:
        raise fail(
            f"{what} does not put the model into train mode.",
            f"{came} The running averages of its batch normalisation are still the same.",
            hint,
        )
    modes = trained.facts.modes
    if not all(modes):
        raise fail(
            f"{what} has the model in eval mode for {modes.count(False)} of {len(modes)} batches.",
            came,
            hint,
        )
