"""Every known mistake of evaluation shows on the examples that the checks ask about, and none looks
like another."""

import math
from itertools import combinations, zip_longest

import pytest
import torch
from torch.nn import functional as F

from mnist_lab.diagnosis import explain, reference
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults import edited
from mnist_lab.diagnosis.measures import bank, checks
from mnist_lab.diagnosis.measures.bank import BANK
from mnist_lab.diagnosis.measures.numbers import Column, explain_numbers, matrices
from mnist_lab.diagnosis.reference import ACCURACY, LOSS, MATRIX

SEEDS = range(5)


def calls(seed: int):
    quizzes = checks._quizzes(Grader(seed), "evaluate")
    return [quiz.scored for quiz in (*quizzes, *checks._further())]


def made(asked, faults):
    """Each mistake in each way: its name and the text of the reference with it."""
    return [(fault.id, edited(asked, way)) for fault in faults for way in fault.ways]


def far(one, other):
    """Whether two lists of numbers are told apart; a number that is missing is like no other."""
    return any(
        math.isnan(a) or math.isnan(b) or abs(a - b) > 1.01 * checks.IN_FLOAT32 * max(1, abs(b))
        for a, b in zip_longest(one, other, fillvalue=math.nan)
    )


def tables_far(one, other):
    return any(
        explain.difference(a, b) > 10 * checks.IN_FLOAT32 for a, b in zip(one, other, strict=True)
    )


def test_every_entry_has_an_id_of_its_own_a_sentence_and_a_hint():
    assert len({fault.id for fault in BANK}) == len(BANK)
    for fault in BANK:
        assert fault.id.startswith(("evaluation.", "training."))
        assert fault.says.endswith(".")
        assert fault.hint.endswith(".")


NUMBERS = [(LOSS, "loss"), (ACCURACY, "accuracy")]


@pytest.mark.parametrize(("asked", "number"), NUMBERS)
def test_every_mistake_in_a_number_can_be_made_and_computed(asked, number):
    in_tens = [quiz.scored for quizzes in checks._in_tens() for quiz in quizzes]
    calls = [[call] for call in in_tens]
    scores = Column(asked, calls, [F.cross_entropy] * len(calls))  # (10, 10) == (10,) is no error

    for name, text in made(asked, bank.of(number, "evaluate")):
        assert text is not None, name
        numbers = [next(scores.of(text, call)) for call in range(len(calls))]
        assert not all(map(math.isnan, numbers)), name


@pytest.mark.parametrize("seed", range(40))
def test_every_mistake_in_a_number_fails_the_check(seed):
    quizzes = checks._quizzes(Grader(seed), "evaluate")
    for asked, number in NUMBERS:
        scores = Column(asked, [[quiz.scored for quiz in quizzes]])
        right = [quiz.asked[number == "accuracy"] for quiz in quizzes]
        for name, text in made(asked, bank.of(number, "evaluate")):
            assert not all(map(checks.comparing.close, scores.of(text), right)), name


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("asked", "number"), NUMBERS)
def test_no_mistake_in_a_number_looks_like_another(seed, asked, number):
    scores = Column(asked, [calls(seed)])
    faults = bank.of(number, "evaluate")
    told = [(name, list(scores.of(text))) for name, text in made(asked, faults)]

    for (name, one), (other_name, other) in combinations(told, 2):
        assert name == other_name or far(one, other), (name, other_name)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_mistake_in_the_matrix_shows_and_looks_like_no_other(seed):
    few = calls(seed)[:2]
    right = list(matrices(MATRIX, few))
    told = [
        (name, list(matrices(text, few)))
        for name, text in made(MATRIX, bank.of("matrix", "confusion_matrix"))
    ]

    for name, one in told:
        assert tables_far(one, right), name
    for (name, one), (other_name, other) in combinations(told, 2):
        assert name == other_name or tables_far(one, other), (name, other_name)


def test_accuracies_that_are_nearly_all_0_prove_no_mistake_and_few_of_them_no_pair():
    columns = Column(LOSS, [calls(0)]), Column(ACCURACY, [calls(0)])
    losses = list(columns[0].of(LOSS))

    def told(accuracies):
        found = explain_numbers(
            "evaluate", columns[:1], columns[1:], [list(zip(losses, accuracies, strict=True))]
        )
        return found.accuracy

    faults = {fault.id.removeprefix("evaluation.accuracy-"): fault for fault in BANK}
    two = [faults["first-batch"].ways[0], faults["no-axis"].ways[0]]
    by_two = list(columns[1].of(edited(ACCURACY, *two)))

    assert told([0.0, 0.0, 0.0, 1 / 75]) is None
    assert len({*by_two} - {0.0}) < 4
    assert told(by_two) is None or len(told(by_two).alternatives[0]) == 1


def test_the_same_mistake_in_loss_and_accuracy_is_one():
    mean, percent = "mean-of-batch-means", "percent"
    ids = [f"evaluation.{each}" for each in (f"loss-{mean}", f"accuracy-{percent}")]
    faults = [fault for fault in BANK if fault.id in {*ids, f"evaluation.accuracy-{mean}"}]

    merged = {fault.id for fault in bank.merged(faults, "evaluate")}

    assert merged == {f"evaluation.{mean}", f"evaluation.accuracy-{percent}"}


def test_the_texts_without_a_mistake_compute_what_the_reference_does():
    for call, loss, accuracy, matrix in zip(
        (data := calls(0)),
        Column(LOSS, [data]).of(LOSS),
        Column(ACCURACY, [data]).of(ACCURACY),
        matrices(MATRIX, data),
        strict=True,
    ):
        logits, labels = map(torch.cat, zip(*call, strict=True))
        assert loss == pytest.approx(reference.cross_entropy(logits, labels).item(), rel=1e-12)
        assert accuracy == pytest.approx(reference.accuracy(logits, labels), rel=1e-12)
        assert torch.equal(matrix.long(), reference.confusion_matrix(logits, labels))


def test_a_loss_is_the_one_that_is_given():
    logits, labels = torch.eye(10, dtype=torch.float64), torch.arange(10)
    (told,) = Column(LOSS, [[[(logits, labels)]]], [F.multi_margin_loss]).of(LOSS)

    assert told == pytest.approx(F.multi_margin_loss(logits, labels).item())


def test_what_a_call_leaves_behind_is_there_in_the_next():
    (way, *_) = next(f for f in BANK if f.id == "evaluation.matrix-carried-over").ways
    batches = [(torch.eye(10), torch.arange(10))]

    first, second = matrices(edited(MATRIX, way), [batches, batches])

    assert (first.sum(), second.sum()) == (20, 20)
