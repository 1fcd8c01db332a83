"""Is ``LogisticRegression`` the network that its handout asks for?"""

from __future__ import annotations

import networks
import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.grading.learners import LearnedModel
from mnist_lab.submission.remote import Model

ID = "logistic_regression"


@pytest.mark.check("logistic_regression.parameters")
def test_parameters(model: Model, grader: Grader) -> None:
    networks.check_parameters(ID, model, grader.generator(f"{ID}.parameters"))


@pytest.mark.check("logistic_regression.shapes")
def test_shapes(model: Model, grader: Grader) -> None:
    networks.check_shapes(ID, model, grader.generator("logistic_regression.shapes"))


@pytest.mark.check("logistic_regression.network")
def test_network(model: Model, grader: Grader) -> None:
    networks.check_network(ID, model, grader.generator("logistic_regression.network"))


@pytest.mark.check("logistic_regression.behaviour")
def test_behaviour(model: Model, grader: Grader) -> None:
    networks.check_behaviour(ID, model, grader.generator("logistic_regression.behaviour"))


@pytest.mark.check("logistic_regression.learns")
def test_learns(model: Model, grader: Grader) -> None:
    networks.check_learns(ID, model, grader.generator("logistic_regression.learns"))


@pytest.mark.check("logistic_regression.accuracy")
def test_accuracy(
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, LearnedModel],
) -> None:
    learned[ID] = networks.check_accuracy(ID, model, mnist, grader, threads)


@pytest.mark.gpu
@pytest.mark.check("logistic_regression.gpu")
def test_gpu(model: Model, grader: Grader) -> None:
    networks.check_gpu(ID, model, grader.generator("logistic_regression.gpu"))
