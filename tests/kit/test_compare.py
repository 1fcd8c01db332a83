"""A comparison holds what its models answered, and nothing depends on who else took part."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from mnist_lab.compare import compare
from mnist_lab.data import load
from mnist_lab.models import MODELS
from mnist_lab.training import Settings, Watch, predict

DIGITS = load("sample", train_size=300, test_size=150)
SHORT = Settings(epochs=1, device="cpu")


@pytest.fixture(scope="module")
def comparison():
    return compare(DIGITS, SHORT)


def test_the_models_are_compared_simplest_first(comparison):
    assert [result.name for result in comparison.results] == list(MODELS)
    assert [result.parameters for result in comparison.results] == [7_850, 203_530, 206_922]
    assert comparison.missing == ()


def test_accuracy_loss_and_confusions_are_those_of_scikit_learn(comparison):
    labels = DIGITS.test.labels.numpy()
    for result in comparison.results:
        assert result.accuracy == accuracy_score(labels, result.predictions)
        probabilities = result.probabilities.astype("float64")
        probabilities /= probabilities.sum(1, keepdims=True)
        assert result.test_loss == pytest.approx(
            log_loss(labels, probabilities, labels=range(10)), abs=1e-4
        )
        assert (
            result.confusion_matrix
            == confusion_matrix(labels, result.predictions, labels=range(10))
        ).all()
        assert result.accuracy == result.history.epochs[-1].test_accuracy


def test_the_worst_confusions_are_the_largest_counts_off_the_diagonal(comparison):
    for result in comparison.results:
        matrix = result.confusion_matrix.copy()
        worst = result.worst_confusions(3)
        for confusion in worst:
            assert matrix[confusion.true, confusion.predicted] == confusion.count
            assert confusion.of == result.confusion_matrix[confusion.true].sum()
            matrix[confusion.true, confusion.predicted] = 0
        off_diagonal = matrix - torch.from_numpy(matrix).diag().diag().numpy()
        assert off_diagonal.max() <= worst[-1].count


def test_the_weights_are_those_that_gave_the_answers(comparison):
    for result in comparison.results:
        model = MODELS[result.name]()
        model.load_state_dict(result.weights)
        assert sum(value.numel() for value in model.parameters()) == result.parameters
        outputs = torch.from_numpy(result.probabilities)
        again = predict(model, DIGITS.test, "cpu").softmax(1)
        assert torch.allclose(again, outputs, atol=1e-6)


def test_a_model_does_not_depend_on_which_others_are_compared(comparison):
    [alone] = compare(DIGITS, SHORT, {"cnn": MODELS["cnn"]}).results
    together = comparison.results[-1]

    assert (alone.confusion_matrix == together.confusion_matrix).all()
    for name, value in alone.weights.items():
        assert torch.equal(value, together.weights[name])


def test_an_interrupted_comparison_keeps_its_finished_epochs_and_says_what_is_missing():
    class Interrupting(Watch):
        def finished(self, name, number, epoch):
            if (name, number) == ("fnn", 2):
                raise KeyboardInterrupt

    models = {name: MODELS[name] for name in ("fnn", "cnn")}
    comparison = compare(DIGITS, Settings(epochs=3, device="cpu"), models, Interrupting())

    fnn, cnn = comparison.results
    assert comparison.interrupted
    assert (len(fnn.history.epochs), len(cnn.history.epochs)) == (2, 1)
    assert comparison.missing == (
        "Feed-forward network: Interrupted after 2 of 3 epochs.",
        "Convolutional network: Interrupted after 1 of 3 epochs.",
    )
    assert cnn.accuracy == cnn.history.epochs[-1].test_accuracy


def test_the_interval_is_wilsons_even_where_all_is_right(comparison):
    right = replace(comparison.results[0], confusion_matrix=10 * np.eye(10, dtype=int))

    assert right.interval == pytest.approx((1 / (1 + 1.959964**2 / 100), 1))
