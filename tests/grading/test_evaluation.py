"""Do ``evaluate`` and ``confusion_matrix`` measure what their handout asks for?"""

from __future__ import annotations

import loops
import pytest
import torch
from torch import Tensor

from mnist_lab.diagnosis import draws, fail, reference
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.submission.answers import Facts
from mnist_lab.submission.handle import Batches, Confusion, Evaluated, ExerciseHandle, Recipe

EXAMPLES, BATCH_SIZE = 23, 10
BATCHES = "On 23 examples in batches of 10, 10 and 3."


@pytest.mark.check("evaluation.evaluate")
def test_evaluate(exercise: ExerciseHandle, grader: Grader) -> None:
    recipe, batches = _scripted(grader.generator("evaluation.evaluate"))
    evaluated = loops.in_float64(exercise.evaluate, recipe, batches)
    logits = recipe.weights["table"]
    loss = reference.cross_entropy(logits, batches.labels).item()
    accuracy = reference.accuracy(logits, batches.labels)
    loops.expect_score("evaluate", evaluated.score, loss, accuracy, BATCHES)
    loops.expect_numbers("evaluate", evaluated.score)


@pytest.mark.check("evaluation.confusion_matrix")
def test_confusion_matrix(exercise: ExerciseHandle, grader: Grader) -> None:
    recipe, batches = _scripted(grader.generator("evaluation.confusion_matrix"))
    confusion = loops.in_float64(exercise.confusion_matrix, recipe, batches)
    _expect_counts(confusion, reference.confusion_matrix(recipe.weights["table"], batches.labels))


@pytest.mark.check("evaluation.state")
def test_state(exercise: ExerciseHandle, grader: Grader) -> None:
    generator = grader.generator("evaluation.state")
    weights = draws.normed_weights(generator)
    recipe = Recipe("normed", weights, training=True)
    labels = torch.randint(10, (EXAMPLES,), generator=generator)
    batches = Batches(draws.images(generator, EXAMPLES), labels, BATCH_SIZE)
    logits = reference.normed_fnn(weights, batches.images, training=False)

    evaluated = loops.in_float64(exercise.evaluate, recipe, batches)
    loss = reference.cross_entropy(logits, labels).item()
    _expect_run("evaluate", evaluated.facts, loops.close(evaluated.score.loss, loss))
    _expect_state("evaluate", recipe, evaluated)

    confusion = loops.in_float64(exercise.confusion_matrix, recipe, batches)
    counts = reference.confusion_matrix(logits, labels)
    right = torch.equal(confusion.matrix.long(), counts)
    _expect_run("confusion_matrix", confusion.facts, right)
    _expect_state("confusion_matrix", recipe, confusion)


@pytest.mark.gpu
@pytest.mark.check("evaluation.gpu")
def test_gpu(exercise: ExerciseHandle, grader: Grader) -> None:
    recipe, batches = _scripted(grader.generator("evaluation.gpu"))
    logits = recipe.weights["table"]
    score = exercise.evaluate(recipe, batches, device="cuda").score
    loss = reference.cross_entropy(logits, batches.labels).item()
    accuracy = reference.accuracy(logits, batches.labels)
    loops.expect_score("evaluate on a GPU", score, loss, accuracy, BATCHES)
    confusion = exercise.confusion_matrix(recipe, batches, device="cuda")
    _expect_counts(confusion, reference.confusion_matrix(logits, batches.labels))


def _scripted(generator: torch.Generator) -> tuple[Recipe, Batches]:
    """A model whose answers are known: better in the large batches than in the small one, with
    errors that all go one way, and a digit that neither occurs nor is answered."""
    absent, confused = torch.randperm(10, generator=generator)[:2].tolist()
    present = torch.tensor([digit for digit in range(10) if digit != absent])
    labels = present[torch.randint(9, (EXAMPLES,), generator=generator)]
    labels[[0, 1, 20]] = present[present != confused][:3]
    table = torch.randn(EXAMPLES, 10, generator=generator, dtype=torch.float64)
    table[torch.arange(EXAMPLES), labels] += 3
    wrong = [0, 1, 20, 21, 22]
    table[wrong, confused] += 9
    table[:, absent] -= 20
    images = draws.images(generator, EXAMPLES)
    images[:, 0, 0, 0] = torch.arange(EXAMPLES)
    return Recipe("scripted", {"table": table}), Batches(images, labels, BATCH_SIZE)


def _expect_counts(confusion: Confusion, expected: Tensor) -> None:
    matrix = confusion.matrix
    if matrix.shape != (10, 10):
        raise fail(
            f"confusion_matrix returns counts of the shape {tuple(matrix.shape)}.",
            "(10, 10) is asked for, also where a digit does not occur.",
            expected=[10, 10],
            actual=list(matrix.shape),
        )
    if matrix.dtype.is_floating_point or matrix.dtype == torch.bool:
        raise fail(
            f"confusion_matrix returns {str(matrix.dtype).removeprefix('torch.')} numbers.",
            "Integer counts are asked for.",
        )
    wrong = (matrix.long() != expected).nonzero().tolist()
    if not wrong:
        return
    row, column = wrong[0]
    raise fail(
        f"confusion_matrix has {matrix[row, column].item()} in row {row}, column {column}; the "
        f"number of {row}s that the model reads as {column} is {expected[row, column].item()}.",
        f"{BATCHES} Its counts sum to {int(matrix.sum())}; {len(wrong)} of 100 are off.",
        expected=expected.tolist(),
        actual=matrix.tolist(),
    )


def _expect_run(what: str, facts: Facts, right: bool) -> None:
    """Whoever does not run the model has no state to keep."""
    if not facts.batches and not right:
        raise fail(
            f"{what} does not run the model that it is given.",
            "No batch of images reached it, and what is returned is not what it computes.",
        )


def _expect_state(what: str, recipe: Recipe, answer: Evaluated | Confusion) -> None:
    _expect_untouched(what, recipe, answer)
    facts = answer.facts
    if any(facts.modes):
        raise fail(
            f"{what} has the model in train mode for {sum(facts.modes)} of {len(facts.modes)} "
            "batches.",
            "It came in train mode; eval mode is asked for.",
            "model.eval() belongs before the loop.",
        )
    if facts.training_after:
        raise fail(
            f"{what} leaves the model in train mode.",
            "Eval mode is asked for, also afterwards.",
            "Leave out model.train().",
        )
    if any(facts.grad_enabled):
        raise fail(
            f"{what} records gradients.",
            f"They were on in {sum(facts.grad_enabled)} of {len(facts.grad_enabled)} batches.",
            "Put the loop under `with torch.no_grad():`.",
        )
    loops.expect_nothing_left_behind(what, facts)


def _expect_untouched(what: str, recipe: Recipe, answer: Evaluated | Confusion) -> None:
    changed = [
        name
        for name, before in recipe.weights.items()
        if loops.furthest(answer.weights, {name: before}) > 0
    ]
    if changed and all("running" in name for name in changed):
        raise fail(
            f"{what} runs the model in train mode.",
            f"That changed {' and '.join(changed)} of its batch normalisation.",
            "model.eval() belongs before the loop.",
        )
    if changed:
        raise fail(
            f"{what} changes {', '.join(changed)} of the model.",
            "Compared before and after the call.",
            "Measuring must not change what is measured: no steps, no rounding.",
        )
