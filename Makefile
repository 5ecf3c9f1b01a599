# Each target sets up what it needs; with everything installed that adds nothing.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Cores that this process may use, not those of the whole machine.
CORES ?= $(shell nproc)

.PHONY: run test check install config

run: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES)

test: $(INSTALLED)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH=$(CURDIR)/$(BIN):$$PATH snakefmt --check Snakefile workflow/rules examples
	$(BIN)/mypy
	$(BIN)/snakemake --lint

install: $(INSTALLED)

$(INSTALLED): pyproject.toml envs/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint envs/constraints.txt torch
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	touch $@

# The files that are made from the typed models (workflow/greenllm/config/models.py).
config: $(INSTALLED)
	$(BIN)/greenllm config default > config/config.yaml
	$(BIN)/greenllm config schema > config/schema.json
