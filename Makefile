# `make demo` and `make test` need Python 3.10 to 3.13, make and a package registry; nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
LOCK := requirements.lock
STAMP := .venv/.locked
STACK := .lockkeeper
TEST_JOBS ?= 2

# The first Python that fits and can make virtual environments; PYTHON=... on the command line wins.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3.10 python3; do \
	if $$name -c "$(FITS)" >/dev/null 2>&1; then echo $$name; break; fi; done)

.PHONY: help setup test load browser lint unit migration-test demo demo-stop lock bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv as the lock says

$(STAMP): $(LOCK) pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.10 to 3.13 with the venv module here (Debian: apt-get install python3-venv)." >&2; exit 1; fi
	@$(BIN)/python -c "$(FITS)" >/dev/null 2>&1 || { rm -rf .venv; $(PYTHON) -m venv .venv; }
	@PYTHON=$(BIN)/python LOCK=$(LOCK) ./.ci/install
	@touch $@

test: lint browser ## Everything that CI checks: style, types, import rules, tests with coverage
	$(BIN)/pytest -n $(TEST_JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(TEST_ARGS)

load: $(STAMP) ## The tests beside an application at full speed, one after the other (10 minutes)
	$(BIN)/pytest -m load tests/acceptance $(TEST_ARGS)

browser: ## Chromium for the tests of the UI, where it can be installed
	@./.ci/browser

lint: $(STAMP) ## Style, types and import rules only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP) ## The tests that need no server
	$(BIN)/pytest tests/unit

migration-test: $(STAMP) ## The demo's migrations, revision by revision: up, down and up again
	$(BIN)/lockkeeper test --alembic migrations/alembic.ini --rules migrations/rules $(MIGRATION_TEST_ARGS)

demo: $(STAMP) ## Real servers, a real migration through Prefect, and one that fails and is recovered
	$(BIN)/python -m demo --folder $(STACK)

demo-stop: ## End what `make demo` or `lockkeeper up` has started
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo --folder $(STACK) --stop; fi

lock: $(STAMP) ## Resolve the dependencies again into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group pyproject.toml:bootstrap --all-extras --universal \
		--python-version 3.10 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--upgrade --quiet --output-file $(LOCK)
	@if grep -n '://' $(LOCK); then echo "$(LOCK) must name no address" >&2; exit 1; fi

bench: $(STAMP) ## Measure backups against pg_dump | gzip (minutes)
	$(BIN)/python -m benchmarks.backup_benchmark

clean: demo-stop ## Remove the environment, the stack with its data, and caches
	rm -rf .venv $(STACK) build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache
