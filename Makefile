# Every target sets up what it needs: a fresh machine with Python 3.11 and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help

.PHONY: help demo test slow check lint types tests bench lock clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# uv installs from the same lock in seconds; where it can't be had, pip does it.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install --quiet uv; then \
		$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
		$(BIN)/python -m pip install --quiet -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . ; \
	fi
	touch $@

demo: $(READY)  ## the whole main job on the built-in sample, offline
	rm -rf demo
	$(BIN)/vitrina demo --out demo

test: tests  ## the test suite

tests: $(READY)
	$(BIN)/python -m pytest -m "not slow"

slow: $(READY)  ## the tests that take minutes: kill -9, full disks, the demo
	$(BIN)/python -m pytest -m slow

check: lint types tests  ## lint, types and tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

bench: $(READY)  ## the benchmarks that need no data of yours
	rm -rf build/bench
	$(BIN)/vitrina demo --catalogue-only --products 5000 --out build/bench/catalogue
	$(BIN)/python benchmarks/catalogue.py build/bench/catalogue/train.parquet \
		--test build/bench/catalogue/test.parquet \
		--images build/bench/catalogue/images.zip --work build/bench/work
	$(BIN)/python benchmarks/store.py --work build/bench/store

lock:  ## resolve pyproject.toml anew into requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock

clean:  ## remove what the targets made
	rm -rf $(VENV) demo build
