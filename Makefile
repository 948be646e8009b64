# Everything a fresh machine needs: `make demo` and `make test`. Each installs what it needs into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test nightly seeds lint format bench generate clean help

help:       ## what the targets do
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: [^#]*## /\t/' | expand -t 12

demo: $(VENV)/.run     ## a hub, three simulated clusters and their agents; applies examples/nginx and shows it arrive
	@$(BIN)/towline demo

# Three files at a time on two cores, because an end-to-end test mostly waits. Bytecode is kept, whatever the environment says: some
# hundred programs start.
test: $(VENV)/.test    ## all tests (brings its own etcd); ARGS="-k name" for some
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

nightly: $(VENV)/.test ## fifty times the cases of each property (some 10^5), and 10^6 mutated requests
	@TOWLINE_NIGHTLY=1 $(BIN)/python -m pytest -q -o faulthandler_timeout=0 --timeout 0 $(shell grep -rl "from tests.cases" tests --include=test_*.py)
	@$(BIN)/python -m tests.api.fuzzing --requests 1000000

seeds: $(VENV)/.test   ## 10,000 seeds of each scenario of the simulation; ARGS="--seeds 500 --first-seed 10000" for others
	@$(BIN)/python -m pytest -q -n 2 tests/sim --seeds 10000 $(ARGS)

lint: $(VENV)/.dev     ## formatting, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev   ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/.test   ## measures the main job and the API next to their floors; ARGS="--objects 50" for less
	@$(BIN)/python -m bench.main $(ARGS)

generate: $(VENV)/.generate  ## regenerates the protocol's stubs and the schemas' assets
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/generate_proto.sh
	@$(BIN)/python scripts/generate_schemas.py

clean:      ## removes .venv and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "installing towline into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing towline and what its tests need into $(VENV)"
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing towline and its linters into $(VENV)"
	@$(PIP) -e '.[test,dev]'
	@touch $@ $(VENV)/.test $(VENV)/.run

$(VENV)/.generate: pyproject.toml | $(BIN)/python
	@$(PIP) -e '.[generate]'
	@touch $@
