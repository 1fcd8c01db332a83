"""The first message names the mistake, whatever the code around it looks like."""

import pytest
from marks import first_failure
from mutants import load, materialise

from mnist_lab.submission.server import Server

MUTANTS = load()
KNOWN = [mutant for mutant in MUTANTS if mutant.fault]
UNKNOWN = [mutant for mutant in MUTANTS if not mutant.fault]


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("mutant", KNOWN, ids=lambda mutant: mutant.name)
def test_a_known_mistake_is_named(mutant, tmp_path, server):
    path = materialise(mutant, tmp_path / "submission")

    check, result = first_failure(path, mutant.exercise, 0, server)

    assert check == mutant.check, result.cause
    assert result.outcome == "failed"
    assert set((result.cause.fault or "").split("+")) == set(mutant.fault.split("+")), result.cause
    assert result.cause.evidence
    assert result.cause.hint


@pytest.mark.parametrize("mutant", UNKNOWN, ids=lambda mutant: mutant.name)
def test_a_mistake_outside_the_bank_is_told_as_observed(mutant, tmp_path, server):
    path = materialise(mutant, tmp_path / "submission")

    check, result = first_failure(path, mutant.exercise, 0, server)

    assert check == mutant.check, result.cause
    assert result.outcome == "failed"
    assert result.cause.fault is None
    assert mutant.says in f"{result.cause.message} {result.cause.evidence}"
