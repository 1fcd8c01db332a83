# `make report` and `make test` work in a fresh clone: both make .venv when it is missing or older
# than what it is made from, and only then.
PYTHON ?= python3
# The address of a package index that has CPU builds of torch, 1 GB in place of 6: make TORCH_INDEX=...
TORCH_INDEX ?=
# The versions to install: constraints-lowest.txt for the lowest ones, /dev/null for the newest.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin

.PHONY: report test lint format clean

report: .venv/ready
	$(BIN)/mnist-lab compare

test: .venv/ready
	$(BIN)/pytest tests/kit -n auto --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mnist-lab needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	@test -z '$(TORCH_INDEX)' || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint '$(CONSTRAINTS)' --index-url '$(TORCH_INDEX)' torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint '$(CONSTRAINTS)' --editable '.[dev]'
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint '$(CONSTRAINTS)' ziglang
	@touch $@

clean:
	rm -rf .venv report .pytest_cache .mypy_cache .ruff_cache .hypothesis
