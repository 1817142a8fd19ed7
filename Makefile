# make demo    the whole job on this machine, on embedded parts; needs Python 3.11 or newer and make
# make test    every check and test, on real servers; fetches what those need
# make bench   benchmarks; writes bench.json

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
OURSELVES := $(PIP) install --no-deps --no-build-isolation --editable .

.PHONY: setup setup-dev demo test lint bench lock

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

demo: setup
	$(BIN)/vitalwire demo $(ARGS)

test: lint
	$(BIN)/python -m pytest $(ARGS)

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	$(BIN)/python -m tests.bench $(ARGS)

# Both locks at once, the smaller one bound to the versions of the larger.
lock: $(VENV)/.installed-dev
	$(PIP) install --target $(VENV)/pip-tools pip-tools==7.5.1
	for name in requirements-dev requirements; do \
		PYTHONPATH=$(VENV)/pip-tools $(BIN)/python -m piptools compile --quiet --upgrade --generate-hashes --allow-unsafe \
			--strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
			$$([ $$name = requirements ] && echo --constraint requirements-dev.lock) --output-file $$name.lock $$name.in || exit 1; \
	done

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Vitalwire needs Python 3.11 or newer. Install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-build.lock
	$(PIP) install --require-hashes -r requirements.lock
	$(OURSELVES)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(OURSELVES)
	@touch $@
