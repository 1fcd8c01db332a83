"""Every known mistake of evaluation shows on the examples that the checks ask about, and none looks
like another."""

import math
from itertools import combinations

import pytest
import torch

from mnist_lab.diagnosis import match
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults import evaluation
from mnist_lab.diagnosis.faults.evaluation import BANK, Counting, Matrices, Scores
from mnist_lab.diagnosis.measures import checks

SEEDS = range(5)


def calls(seed: int):
    quizzes = checks._quizzes(Grader(seed).generator("evaluation.evaluate"))
    return [quiz.scored for quiz in (*quizzes, *checks._further())]


def plans(asked, faults):
    return [(fault.id, change(asked)) for fault in faults for change in fault.changes]


def numbers(scores, plan):
    return [scores.of(plan, call) for call in range(len(scores))]


def far(one, other):
    """Whether two lists of numbers are told apart; a number that is missing is like no other."""
    return any(
        math.isnan(a) or math.isnan(b) or abs(a - b) > 1.01 * checks.IN_FLOAT32 * max(1, abs(b))
        for a, b in zip(one, other, strict=True)
    )


def tables_far(one, other):
    return any(
        match.difference(a, b) > 10 * checks.IN_FLOAT32 for a, b in zip(one, other, strict=True)
    )


def test_every_entry_has_an_id_of_its_own_a_sentence_and_a_hint():
    assert len({fault.id for fault in BANK}) == len(BANK)
    for fault in BANK:
        assert fault.id.startswith("evaluation.")
        assert fault.says.endswith(".")
        assert fault.hint.endswith(".")


NUMBERS = [
    (evaluation.LOSS, evaluation.IN_LOSS),
    (evaluation.ACCURACY, evaluation.IN_ACCURACY),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("asked", "faults"), NUMBERS, ids=["loss", "accuracy"])
def test_every_mistake_in_a_number_shows(seed, asked, faults):
    scores = Scores(calls(seed))
    right = numbers(scores, asked)

    for name, plan in plans(asked, faults):
        assert far(numbers(scores, plan), right), name


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("asked", "faults"), NUMBERS, ids=["loss", "accuracy"])
def test_no_mistake_in_a_number_looks_like_another(seed, asked, faults):
    scores = Scores(calls(seed))
    made = [(name, numbers(scores, plan)) for name, plan in plans(asked, faults)]

    for (name, one), (other_name, other) in combinations(made, 2):
        assert name == other_name or far(one, other), (name, other_name)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_mistake_in_the_matrix_shows_and_looks_like_no_other(seed):
    scored = calls(seed)[:2]
    matrices = Matrices(scored)

    def tables(plan):
        return [matrices.of(plan, call) for call in range(len(scored))]

    made = [(name, tables(plan)) for name, plan in plans(Counting(), evaluation.MATRIX)]
    right = tables(Counting())

    for name, one in made:
        assert tables_far(one, right), name
    for (name, one), (other_name, other) in combinations(made, 2):
        assert name == other_name or tables_far(one, other), (name, other_name)


def test_the_same_mistake_in_loss_and_accuracy_is_one():
    mean, percent = "mean-of-batch-means", "percent"
    ids = [f"evaluation.{each}" for each in (f"loss-{mean}", f"accuracy-{percent}")]
    faults = [fault for fault in BANK if fault.id in {*ids, f"evaluation.accuracy-{mean}"}]

    merged = {fault.id for fault in evaluation.merged(faults)}

    assert merged == {f"evaluation.{mean}", f"evaluation.accuracy-{percent}"}


def test_the_matrices_of_the_plan_are_the_counts():
    logits, labels = torch.eye(10, dtype=torch.float64)[[3, 5, 5]], torch.tensor([3, 3, 5])
    matrix = Matrices([[(logits[:2], labels[:2]), (logits[2:], labels[2:])]]).of(Counting(), 0)
    assert matrix.nonzero().tolist() == [[3, 3], [3, 5], [5, 5]]
