# make setup | demo | test | check | format | bench. Needs Python 3.11+, git and make, nothing else.
#
# PYTHON       the interpreter that makes .venv                           (default python3)
# TORCH_INDEX  where torch comes from: the --index-url that the PyTorch   (default: pip's own index)
#              install page shows for your machine, CPU or CUDA
# WORKERS      processes that run tests at once                           (default 2)
PYTHON ?= python3
TORCH_INDEX ?=
WORKERS ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt
export PIP_CONSTRAINT := $(CURDIR)/.ci/constraints.txt

.PHONY: setup demo test check lint format bench clean

setup: .venv/.ready

.venv/.ready: pyproject.toml .ci/constraints.txt Makefile
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) --editable '.[train,dev]'
	$(BIN)/python -m engine.run.warm
	touch $@

demo: setup
	$(BIN)/provender demo

test: setup
	$(BIN)/python -m pytest -m "not alone" --numprocesses $(WORKERS) --dist loadfile
	$(BIN)/python -m pytest -m alone

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup .bench-venv/.ready build/trl/.ready
	$(BIN)/python -m benchmarks

# The peers live apart: their requirements and ours do not go together.
.bench-venv/.ready: pyproject.toml
	$(BIN)/python -m benchmarks.near_dup.tools
	touch $@

# TRL with our own torch, in a folder of its own.
build/trl/.ready: pyproject.toml | setup
	$(BIN)/python -m benchmarks.train_step.peer
	touch $@

clean:
	rm -rf .venv .bench-venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
