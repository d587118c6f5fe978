# One virtual environment for everything; `make demo` and `make test` work in either order and re-run at once. The two
# tests of the bounds have their own.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
# What the tests of the bounds install; `dev` adds PyTorch, which has no small wheel at the lowest version.
EXTRAS ?= eval,video,heic,pandas,test

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# Stamps: rewritten after an install, out of date as soon as the requirements change.
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-lowest test-newest lint format docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(CORE) ## set up without PyTorch and find the landmarks of a real portrait
	@mkdir -p "$(DEMO)"
	@picture="$$($(BIN)/python -c 'from matplotlib.cbook import get_sample_data as f; print(f("grace_hopper.jpg", asfileobj=False))')" \
		&& $(BIN)/srn detect "$$picture" --out "$(DEMO)" --json "$(DEMO)/faces.json"
	@echo "The portrait with its landmarks, and the numbers:"
	@ls -1 "$(CURDIR)/$(DEMO)"/*hopper* "$(CURDIR)/$(DEMO)/faces.json"

test: $(DEV) ## set up everything and run the tests; ARGS="-k face" selects, ARGS=--cov shows what they cover
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

test-lowest: ## run the tests with the lowest allowed versions, in .venv-lowest; EXTRAS=dev: with PyTorch
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable '.[$(EXTRAS)]'
	.venv-lowest/bin/python -m pytest --numprocesses auto $(ARGS)

test-newest: ## run the tests with the newest versions, in .venv-newest; EXTRAS=dev: with PyTorch
	@test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[$(EXTRAS)]'
	.venv-newest/bin/python -m pytest --numprocesses auto $(ARGS)

lint: $(DEV) ## check style, format, spelling and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell .
	$(BIN)/mypy

format: $(DEV) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS) ## build the documentation site into site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove caches and the demo, not the environment
	rm -rf "$(DEMO)" .pytest_cache .ruff_cache .mypy_cache .coverage build dist site

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing srn ..."
	@$(PIP) --editable '.[eval]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing srn with everything for training and tests (PyTorch among it: some minutes) ..."
	@$(PIP) --editable '.[dev]'
	@touch $(CORE) $@

$(DOCS): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what builds the documentation ..."
	@$(PIP) --editable '.[docs]'
	@touch $@
