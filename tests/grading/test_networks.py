"""Are the three networks those that their handouts ask for?"""

from __future__ import annotations

import pytest

from mnist_lab.data import Digits
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.networks import checks
from mnist_lab.diagnosis.networks.trained import Trained
from mnist_lab.submission.remote import Model


def each(check: str) -> pytest.MarkDecorator:
    """The check of this name of each network."""
    names = ("logistic_regression", "fnn", "cnn")
    marked = [pytest.param(n, marks=pytest.mark.check(f"{n}.{check}")) for n in names]
    return pytest.mark.parametrize("name", marked)


@each("parameters")
def test_parameters(name: str, model: Model, grader: Grader) -> None:
    checks.check_parameters(name, model, grader.generator(f"{name}.parameters"))


@each("shapes")
def test_shapes(name: str, model: Model, grader: Grader) -> None:
    checks.check_shapes(name, model, grader.generator(f"{name}.shapes"))


@each("network")
def test_network(name: str, model: Model, grader: Grader) -> None:
    checks.check_network(name, model, grader.generator(f"{name}.network"))


@each("behaviour")
def test_behaviour(name: str, model: Model, grader: Grader) -> None:
    checks.check_behaviour(name, model, grader.generator(f"{name}.behaviour"))


@each("learns")
def test_learns(name: str, model: Model, grader: Grader) -> None:
    checks.check_learns(name, model, grader.generator(f"{name}.learns"))


@each("accuracy")
@pytest.mark.usefixtures("trained_together")
def test_accuracy(
    name: str,
    model: Model,
    mnist: Digits,
    grader: Grader,
    threads: int,
    learned: dict[str, Trained],
) -> None:
    learned[name] = checks.check_accuracy(name, model, mnist, grader, threads)


@pytest.mark.gpu
@each("gpu")
def test_gpu(name: str, model: Model, grader: Grader) -> None:
    checks.check_gpu(name, model, grader.generator(f"{name}.gpu"))
