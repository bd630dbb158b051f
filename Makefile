# Everything runs in .venv, which is made on first use.
# Needed beforehand: make and Python 3.11 or newer (choose one with PYTHON=...).

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARITY_VENV := .venv-parity
PARITY_READY := $(PARITY_VENV)/.ready

.PHONY: help setup demo test test-quick test-only chaos lint format bench parity constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        336,776 flights over a local Dask cluster"
	@echo "make test        lint, types, import contracts and the whole suite"
	@echo "make test-quick  unit and contract tests only"
	@echo "make chaos       the long versions of the fault tests: hundreds of kills, at most an hour"
	@echo "make lint        lint, types, import contracts"
	@echo "make bench       the quick benchmarks (tables; JSON in benchmarks/results)"
	@echo "make parity      the parity suite against Prefect itself, in an environment of its own"
	@echo "make setup       only make .venv;  make clean removes it"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

demo: $(READY)
	@$(BIN)/python examples/flights.py $(ARGS)

# The suite runs even where the linters complain; either makes the command fail.
# The closing line of pytest is the last line of the output.
test: $(READY)
	@lint=0; $(MAKE) --silent --no-print-directory lint || lint=1; \
	$(BIN)/python -m pytest $(ARGS) && exit $$lint

test-only: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

test-quick: $(READY)
	@$(BIN)/python -m pytest tests/unit tests/contract $(ARGS)

chaos: $(READY)
	@DATAFLOW_CHAOS=1 timeout 3600 $(BIN)/python -m pytest tests/fault -k chaos $(ARGS)

lint: $(READY)
	@failed=0; \
	$(BIN)/python -m ruff check . || failed=1; \
	$(BIN)/python -m mypy || failed=1; \
	PYTHONUTF8=1 $(BIN)/lint-imports --no-cache >$(VENV)/lint-imports.log 2>&1 \
		&& tail -n 1 $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; failed=1; }; \
	exit $$failed

format: $(READY)
	@$(BIN)/python -m ruff check --fix .

bench: $(READY)
	@$(BIN)/python -m benchmarks $(ARGS)

# Prefect is needed for this alone; ARGS="--write docs/parity.md" writes the table of differences
parity: $(PARITY_READY)
	@PARITY=prefect PYTHONPATH=. $(PARITY_VENV)/bin/python -m pytest tests/acceptance/parity \
		-o timeout_method=signal $(ARGS)

$(PARITY_READY): tests/acceptance/parity/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	@test -x $(PARITY_VENV)/bin/python || $(PYTHON) -m venv $(PARITY_VENV)
	@echo "Installing Prefect into $(PARITY_VENV) ..."
	@$(PARITY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r tests/acceptance/parity/constraints.txt
	@touch $@

# names and versions of what is installed now, for the constraints file
constraints: $(READY)
	@$(BIN)/python -m pip freeze --exclude dataflow --exclude-editable | grep '==' | LC_ALL=C sort -f > constraints.txt
	@touch $(READY)

clean:
	rm -rf $(VENV) $(PARITY_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/results
