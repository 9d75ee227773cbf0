# synapcc: `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
JOBS ?= 2

.PHONY: help setup demo docs bench results accuracy test test-long lint golden release clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "synapcc needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.setup: pyproject.toml | $(BIN)/python
	@echo "installing synapcc and what it needs from PyPI (about a minute)"
	@$(PIP) install -e '.[virtual,ecg,fast]' || { echo "without numba, the compiled engine of the emulator" >&2; $(PIP) install -e '.[virtual,ecg]'; }
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.setup
	@echo "installing what the tests need"
	@$(PIP) install -e '.[dev]'
	@touch $@

setup: $(VENV)/.setup ## install synapcc into .venv (PyPI only, no root)

demo: $(VENV)/.setup ## three patients on a virtual Cortex-M4: before, learning, after; writes report/ecg.html
	@$(BIN)/synapcc demo ecg --html report/ecg.html

docs: $(VENV)/.dev ## these pages as a site, in build/site, without a warning; open build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict
	@echo "build/site/index.html"

bench: $(VENV)/.setup ## count the rows of docs/BENCHMARKS.md again, some minutes; needs arm-none-eabi-gcc
	@$(BIN)/python -m synapcc.host.bench.table docs/BENCHMARKS.md

results: $(VENV)/.dev ## train again what docs/RESULTS.md tells, some hours, resumable; needs the data
	@$(BIN)/python -m synapcc.examples.learning docs/RESULTS.md

accuracy: $(VENV)/.dev ## measure the tables of docs/ACCURACY.md again, a minute or two; needs the data
	@$(BIN)/python -m synapcc.examples.accuracy docs/ACCURACY.md

test: $(VENV)/.dev ## the tests (under 12 minutes on 2 cores); says what it had to leave out
	@$(BIN)/python -m pytest -q -rs -n $(JOBS) --dist worksteal

test-long: $(VENV)/.dev ## what takes longer: thousands of random networks, the figures of the README
	@$(BIN)/python -m pytest -q -rs -n $(JOBS) --dist worksteal -m long

lint: $(VENV)/.dev ## ruff (format and lint), mypy --strict, cppcheck with MISRA over the C (docs/MISRA.md)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python tests/support/misra.py

golden: $(VENV)/.dev ## rewrite the golden C after a change that was meant
	@$(BIN)/python -m pytest -q tests/gen/emit/test_emit.py --rewrite-golden

release: $(VENV)/.dev ## wheel and sdist into dist/, each installed anew and tried outside of the repository
	@$(BIN)/python tests/support/release.py $(foreach p,$(PYTHONS),--python $(p))

clean: ## remove the environment and all outputs
	rm -rf $(VENV) build report out .pytest_cache .mypy_cache .ruff_cache .hypothesis
