"""Is ``CNN`` the network that its handout asks for?"""

from __future__ import annotations

import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.networks import checks
from mnist_lab.diagnosis.networks.trained import Trained
from mnist_lab.submission.remote import Model


@pytest.mark.check("cnn.parameters")
def test_parameters(model: Model, grader: Grader) -> None:
    checks.check_parameters("cnn", model, grader.generator("cnn.parameters"))


@pytest.mark.check("cnn.shapes")
def test_shapes(model: Model, grader: Grader) -> None:
    checks.check_shapes("cnn", model, grader.generator("cnn.shapes"))


@pytest.mark.check("cnn.network")
def test_network(model: Model, grader: Grader) -> None:
    checks.check_network("cnn", model, grader.generator("cnn.network"))


@pytest.mark.check("cnn.behaviour")
def test_behaviour(model: Model, grader: Grader) -> None:
    checks.check_behaviour("cnn", model, grader.generator("cnn.behaviour"))


@pytest.mark.check("cnn.learns")
def test_learns(model: Model, grader: Grader) -> None:
    checks.check_learns("cnn", model, grader.generator("cnn.learns"))


@pytest.mark.check("cnn.accuracy")
def test_accuracy(
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, Trained],
) -> None:
    learned["cnn"] = checks.check_accuracy("cnn", model, mnist, grader, threads)


@pytest.mark.gpu
@pytest.mark.check("cnn.gpu")
def test_gpu(model: Model, grader: Grader) -> None:
    checks.check_gpu("cnn", model, grader.generator("cnn.gpu"))
