# What a person runs is what CI runs. uv is installed into .uv/ when it is not on PATH.

UV := $(shell command -v uv || echo .uv/bin/uv)
PYTHON ?= python3
# Tests call it by name.
export PATH := $(CURDIR)/.uv/bin:$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(UV) ## Generate the default project and serve it (CHECK=1: send requests, then stop; ANSWERS="preset=minimal,…")
	$(UV) run --locked python -m tests.demo $(if $(CHECK),--check) $(if $(ANSWERS),--answers '$(ANSWERS)')

.PHONY: test
test: lint ## Check this repository and every kind of project it makes (ARGS="-k questions")
	$(UV) run --locked pytest --numprocesses=auto --verbose $(ARGS)

.PHONY: case
case: $(UV) ## Generate one project and run its own checks (ANSWERS="preset=custom,layout=modular,…")
	$(UV) run --locked python -m tests.case '$(ANSWERS)'

.PHONY: bench
bench: $(UV) ## Compare a project with a hand-written floor, in requests a second (ARGS="--auth jwt")
	$(UV) run --locked python -m bench $(ARGS)

.PHONY: lint
lint: $(UV) ## Check formatting, rules and types of this repository's own Python
	$(UV) run --locked ruff format --check
	$(UV) run --locked ruff check
	$(UV) run --locked mypy

.PHONY: format
format: $(UV) ## Format this repository's own Python
	$(UV) run --locked ruff check --fix
	$(UV) run --locked ruff format

.PHONY: hooks
hooks: $(UV) ## Run these checks on every commit
	$(UV) run --locked pre-commit install

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv==0.13.9
