"""Is ``CNN`` the network that its handout asks for?"""

from __future__ import annotations

import networks
import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.grading.learners import LearnedModel
from mnist_lab.submission.remote import Model

ID = "cnn"


@pytest.mark.check("cnn.parameters")
def test_parameters(model: Model, grader: Grader) -> None:
    networks.check_parameters(ID, model, grader.generator(f"{ID}.parameters"))


@pytest.mark.check("cnn.shapes")
def test_shapes(model: Model, grader: Grader) -> None:
    networks.check_shapes(ID, model, grader.generator("cnn.shapes"))


@pytest.mark.check("cnn.network")
def test_network(model: Model, grader: Grader) -> None:
    networks.check_network(ID, model, grader.generator("cnn.network"))


@pytest.mark.check("cnn.behaviour")
def test_behaviour(model: Model, grader: Grader) -> None:
    networks.check_behaviour(ID, model, grader.generator("cnn.behaviour"))


@pytest.mark.check("cnn.learns")
def test_learns(model: Model, grader: Grader) -> None:
    networks.check_learns(ID, model, grader.generator("cnn.learns"))


@pytest.mark.check("cnn.accuracy")
def test_accuracy(
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, LearnedModel],
) -> None:
    learned[ID] = networks.check_accuracy(ID, model, mnist, grader, threads)


@pytest.mark.gpu
@pytest.mark.check("cnn.gpu")
def test_gpu(model: Model, grader: Grader) -> None:
    networks.check_gpu(ID, model, grader.generator("cnn.gpu"))
