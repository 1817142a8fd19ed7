# make demo       run everything on this machine; needs Python 3.11 or newer and make
# make test       lint and all tests except the long ones, on real servers, which it downloads; measures branch coverage
# make test-unit  tests that need no server, in under a minute
# make test-full  lint and all tests, with the durations of the slowest
# make bench      benchmarks; writes bench.json

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(VENV)/lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links
OURSELVES := $(PIP) install --no-deps --no-build-isolation --editable .

.PHONY: setup setup-dev demo test test-unit test-full lint bench lock

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

demo: setup
	$(BIN)/vitalwire demo $(ARGS)

# Coverage has a floor, which a part of the tests would not reach: it is measured where no ARGS choose a part.
test: lint
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),--cov)

test-unit: setup-dev
	$(BIN)/python -m pytest tests/unit tests/golden $(ARGS)

# An empty -m selects all tests: pyproject.toml excludes the long ones.
test-full: lint
	$(BIN)/python -m pytest -m "" --durations=20 --durations-min=10 $(ARGS)

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	$(BIN)/python -m tests.bench $(ARGS)

# Four locks: the smaller ones use the versions of the largest, so that tests run with the versions that are shipped.
# Production installs requirements.lock; `make demo` installs requirements-demo.lock, which adds the extra `vitalwire[demo]`.
lock: $(BIN)/python
	$(BIN)/python -m venv --clear $(VENV)/lock
	$(VENV)/lock/bin/pip --disable-pip-version-check --quiet install pip-tools==7.5.3
	$(LOCK) --output-file requirements-dev.lock requirements-dev.in
	$(LOCK) --constraint requirements-dev.lock --output-file requirements.lock requirements.in
	$(LOCK) --constraint requirements-dev.lock --output-file requirements-demo.lock requirements.in requirements-demo.in
	$(LOCK) --constraint requirements-dev.lock --output-file requirements-build.lock requirements-build.in

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Vitalwire needs Python 3.11 or newer. Install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements-demo.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-build.lock
	$(PIP) install --require-hashes -r requirements-demo.lock
	$(OURSELVES)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(OURSELVES)
	@touch $@
