"""Is ``FNN`` the network that its handout asks for?"""

from __future__ import annotations

import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.networks import checks
from mnist_lab.diagnosis.networks.trained import Trained
from mnist_lab.submission.remote import Model


@pytest.mark.check("fnn.parameters")
def test_parameters(model: Model, grader: Grader) -> None:
    checks.check_parameters("fnn", model, grader.generator("fnn.parameters"))


@pytest.mark.check("fnn.shapes")
def test_shapes(model: Model, grader: Grader) -> None:
    checks.check_shapes("fnn", model, grader.generator("fnn.shapes"))


@pytest.mark.check("fnn.network")
def test_network(model: Model, grader: Grader) -> None:
    checks.check_network("fnn", model, grader.generator("fnn.network"))


@pytest.mark.check("fnn.behaviour")
def test_behaviour(model: Model, grader: Grader) -> None:
    checks.check_behaviour("fnn", model, grader.generator("fnn.behaviour"))


@pytest.mark.check("fnn.learns")
def test_learns(model: Model, grader: Grader) -> None:
    checks.check_learns("fnn", model, grader.generator("fnn.learns"))


@pytest.mark.check("fnn.accuracy")
def test_accuracy(
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, Trained],
) -> None:
    learned["fnn"] = checks.check_accuracy("fnn", model, mnist, grader, threads)


@pytest.mark.gpu
@pytest.mark.check("fnn.gpu")
def test_gpu(model: Model, grader: Grader) -> None:
    checks.check_gpu("fnn", model, grader.generator("fnn.gpu"))
