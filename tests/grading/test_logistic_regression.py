"""Is ``LogisticRegression`` the network that its handout asks for?"""

from __future__ import annotations

import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.networks import checks
from mnist_lab.diagnosis.networks.trained import Trained
from mnist_lab.submission.remote import Model


@pytest.mark.check("logistic_regression.parameters")
def test_parameters(model: Model, grader: Grader) -> None:
    checks.check_parameters(
        "logistic_regression", model, grader.generator("logistic_regression.parameters")
    )


@pytest.mark.check("logistic_regression.shapes")
def test_shapes(model: Model, grader: Grader) -> None:
    checks.check_shapes(
        "logistic_regression", model, grader.generator("logistic_regression.shapes")
    )


@pytest.mark.check("logistic_regression.network")
def test_network(model: Model, grader: Grader) -> None:
    checks.check_network(
        "logistic_regression", model, grader.generator("logistic_regression.network")
    )


@pytest.mark.check("logistic_regression.behaviour")
def test_behaviour(model: Model, grader: Grader) -> None:
    checks.check_behaviour(
        "logistic_regression", model, grader.generator("logistic_regression.behaviour")
    )


@pytest.mark.check("logistic_regression.learns")
def test_learns(model: Model, grader: Grader) -> None:
    checks.check_learns(
        "logistic_regression", model, grader.generator("logistic_regression.learns")
    )


@pytest.mark.check("logistic_regression.accuracy")
def test_accuracy(
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, Trained],
) -> None:
    learned["logistic_regression"] = checks.check_accuracy(
        "logistic_regression", model, mnist, grader, threads
    )


@pytest.mark.gpu
@pytest.mark.check("logistic_regression.gpu")
def test_gpu(model: Model, grader: Grader) -> None:
    checks.check_gpu("logistic_regression", model, grader.generator("logistic_regression.gpu"))
