"""Is ``FNN`` the network that its handout asks for?"""

from __future__ import annotations

import networks
import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.grading.learners import LearnedModel
from mnist_lab.submission.remote import Model

ID = "fnn"


@pytest.mark.check("fnn.parameters")
def test_parameters(model: Model, grader: Grader) -> None:
    networks.check_parameters(ID, model, grader.generator(f"{ID}.parameters"))


@pytest.mark.check("fnn.shapes")
def test_shapes(model: Model, grader: Grader) -> None:
    networks.check_shapes(ID, model, grader.generator("fnn.shapes"))


@pytest.mark.check("fnn.network")
def test_network(model: Model, grader: Grader) -> None:
    networks.check_network(ID, model, grader.generator("fnn.network"))


@pytest.mark.check("fnn.behaviour")
def test_behaviour(model: Model, grader: Grader) -> None:
    networks.check_behaviour(ID, model, grader.generator("fnn.behaviour"))


@pytest.mark.check("fnn.learns")
def test_learns(model: Model, grader: Grader) -> None:
    networks.check_learns(ID, model, grader.generator("fnn.learns"))


@pytest.mark.check("fnn.accuracy")
def test_accuracy(
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, LearnedModel],
) -> None:
    learned[ID] = networks.check_accuracy(ID, model, mnist, grader, threads)


@pytest.mark.gpu
@pytest.mark.check("fnn.gpu")
def test_gpu(model: Model, grader: Grader) -> None:
    networks.check_gpu(ID, model, grader.generator("fnn.gpu"))
