# What a person does with a checkout. `make help` lists it.
# Works with GNU make 3.81 (macOS) and later; needs Python 3.11 or later with venv, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
# One process where there is one core: a second one would only wait.
PARALLEL := $(if $(filter-out 1,$(CORES)),-n $(CORES),)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

.DEFAULT_GOAL := help
.PHONY: help up test test-browser check lint format bench lock clean

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.installed ## Install, migrate and serve on http://localhost:8000 (PORT changes it)
	@exec $(BIN)/secguard up

test: $(VENV)/.installed-dev ## Run the whole suite, but for the browser's part
	$(BIN)/python -m pytest $(PARALLEL) -m "not browser" $(PYTEST)

test-browser: $(VENV)/.installed-dev ## Run the part of the suite that drives a real Chromium
	$(BIN)/python -m pytest $(if $(PARALLEL),$(PARALLEL) --dist loadfile,) -m browser $(PYTEST)

check: lint test ## Everything that must hold before a change goes in

lint: $(VENV)/.installed-dev ## Style, types, layers, settings and migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy secguard
	$(BIN)/lint-imports
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.installed-dev ## Bring the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure speed and memory; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

lock: $(VENV)/.installed-dev ## Resolve the dependencies anew
	echo 'setuptools>=75' | $(COMPILE) --upgrade pyproject.toml - --output-file requirements.lock
	echo 'setuptools>=75' | $(COMPILE) --upgrade pyproject.toml - --extra dev --constraints requirements.lock \
		--output-file requirements-dev.lock

clean: ## Remove the virtual environment and caches; data (var) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or later, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); SecGuard needs Python 3.11 or later. Name another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making the virtual environment in $(VENV)."
	@$(PYTHON) -m venv $(VENV)

# Stamps: a second run finds everything in place and starts at once.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what SecGuard stands on (once; about a minute)."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing what the tests and checks need."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
