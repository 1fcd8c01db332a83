"""The first message names the mistake, whatever the code around it looks like."""

import runpy
from pathlib import Path

import pytest
from marks import first_failure
from mutants import load, materialise

ROOT = Path(__file__).parents[2]
MUTANTS = load()
KNOWN = [mutant for mutant in MUTANTS if mutant.fault]
UNKNOWN = [mutant for mutant in MUTANTS if not mutant.fault]


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


def test_the_table_in_the_docs_is_of_this_bank_and_suite(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    table = runpy.run_path(str(ROOT / "benchmarks" / "diagnosis.py"))["table"]()

    assert table == (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), (
        "docs/faults.md is stale: run python benchmarks/diagnosis.py --bank"
    )


def test_the_suite_is_as_large_as_it_says():
    single = [mutant for mutant in KNOWN if "+" not in mutant.name]

    assert len(single) >= 150
    assert len(KNOWN) - len(single) >= 40
    assert len(UNKNOWN) >= 20
    assert len({mutant.base for mutant in single}) > 10
