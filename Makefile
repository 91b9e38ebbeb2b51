# Every target sets up what it needs: a fresh machine with Python 3.11 and make is enough.
PYTHON ?= python3
VENV := .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
.DEFAULT_GOAL := help

PEERS := .venv-peers/.ready .venv-clip-retrieval/.ready .venv-ann/.ready

.PHONY: help demo test lowest slow fuzz kills check lint types tests bench bench-embedding bench-index \
	bench-finetuning bench-heads encoder-table examples docs doc-examples lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

# TORCH=cpu: the build of torch without CUDA, 5 GB smaller, in an environment of its own.
TORCH ?= default
ifeq ($(TORCH),cpu)
VENV := .venv-cpu
endif
TORCH_CPU ?= https://download.pytorch.org/whl/cpu
# What the CPU build replaces or does without.
CUDA := ^(torch|torchvision|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==

.venv-cpu/.ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python benchmarks/install_size.py --without '$(CUDA)' requirements.lock > $(VENV)/rest.lock
	if $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --default-index $(TORCH_CPU) \
		$$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements.lock); then \
		lock=$(VENV)/rest.lock; \
	else \
		lock=requirements.lock; \
		echo "$(TORCH_CPU) does not give the CPU build of torch: the default build is installed"; \
	fi; \
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -r $$lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

# uv installs from the same lock in seconds; where it can't be had, pip does it.
.venv/.ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install --quiet uv; then \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock && \
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

# A file's tests share fixtures and stay with one worker; more threads than cores only wait.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

tests: $(READY)
	$(PYTEST) -m "not slow"

lowest:  ## the quick tests with the lowest versions that pyproject.toml allows
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip compile --quiet --resolution lowest-direct --extra dev \
		--no-emit-index-url --no-annotate --no-header pyproject.toml -o .venv-lowest/lowest.txt
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python -r .venv-lowest/lowest.txt
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --no-deps \
		--no-build-isolation -e .
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -o filterwarnings=default -n $(WORKERS) --dist loadfile -m "not slow"

slow: $(READY)  ## the tests that take minutes: kill -9, full disks, the demo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

CLASS ?= all
COUNT ?= 1000
SEED ?= 0
TIME ?= 3600
fuzz: $(READY)  ## hostile inputs of every kind: CLASS=readers COUNT=10000 SEED=1 TIME=3600
	PYTHONPATH=tests $(BIN)/python -m fuzz $(CLASS) --count $(COUNT) --seed $(SEED) --time $(TIME) \
		$(if $(FORM),--form $(FORM)) $(if $(NUMBER),--number $(NUMBER)) $(if $(KEPT),--kept $(KEPT))

kills: $(READY)  ## every writing command killed at random moments: KILLS=50 SEED=1
	cd tests && ../$(BIN)/python -m kills --kills $(or $(KILLS),50) --seed $(SEED)

check: lint types tests  ## lint, types and tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY)  ## the documentation as a site in build/site, offline
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -m mkdocs build --quiet --strict
	@echo "open build/site/index.html"

doc-examples: $(READY)  ## run the documentation's examples and bring what they print up to date
	rm -rf build/examples && mkdir -p build/examples
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m support.doc_pages ../build/examples/start

encoder-table: $(READY)  ## each form of model directory beside its library, into docs/encoders.md
	cd tests && PYTHONPATH=..:. OMP_NUM_THREADS=1 ../$(BIN)/python -m support.encoder_table

bench: $(READY) $(PEERS)  ## the benchmarks that need no data of yours
	rm -rf build/bench
	$(BIN)/vitrina demo --catalogue-only --products 5000 --out build/bench/catalogue
	$(BIN)/python benchmarks/catalogue.py build/bench/catalogue/train.parquet \
		--test build/bench/catalogue/test.parquet \
		--images build/bench/catalogue/images.zip --work build/bench/work
	$(BIN)/python benchmarks/store.py --work build/bench/store
	$(BIN)/python benchmarks/embedding.py --work build/bench/embedding
	$(BIN)/python benchmarks/index.py --work build/bench/index-small --rows 100000 --rounds 3

bench-embedding: $(READY) $(PEERS)  ## encoders beside their peers
	$(BIN)/python benchmarks/embedding.py --work build/bench/embedding

bench-index: $(READY) .venv-ann/.ready  ## the index beside its peers, over a million products
	$(BIN)/python benchmarks/index.py --work build/bench/index

bench-finetuning: $(READY) .venv-trainer/.ready  ## fine-tuning beside transformers.Trainer: MODEL=DIR STORE=PATH
	$(BIN)/python benchmarks/finetuning.py --work build/bench/finetuning --model $(MODEL) --store $(STORE)

bench-heads: $(READY)  ## heads beside scikit-learn's logistic regression; takes half an hour
	$(BIN)/python benchmarks/heads.py --work build/bench/heads
	$(BIN)/python benchmarks/heads.py --work build/bench/heads --small

# A peer whose environment can't be made is left out, and the benchmark tells why.
define peer
	rm -rf $(@D) && mkdir -p build/peers
	{ $(BIN)/python -m venv $(@D) && \
		if test -x $(BIN)/uv; then \
			$(BIN)/uv pip install --quiet --python $(@D)/bin/python -r $<; \
		else \
			$(@D)/bin/python -m pip install --quiet -r $<; \
		fi && touch $@; } 2> build/peers/$(@D).log || \
		{ rm -rf $(@D); cat build/peers/$(@D).log; echo "$(@D) is left out"; }
endef

.venv-peers/.ready: benchmarks/peers/sentence-transformers.lock | $(READY)
	$(peer)

.venv-clip-retrieval/.ready: benchmarks/peers/clip-retrieval.lock | $(READY)
	$(peer)

.venv-ann/.ready: benchmarks/peers/ann.lock | $(READY)
	$(peer)

.venv-trainer/.ready: benchmarks/peers/trainer.lock | $(READY)
	$(peer)

examples: $(READY)  ## run the notebooks of examples/ and save them with their outputs
	$(BIN)/python examples/run.py

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

lock:  ## resolve pyproject.toml and the peers of the benchmarks anew into their locks
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --extra dev --extra docs pyproject.toml -o requirements.lock
	$(COMPILE) benchmarks/peers/sentence-transformers.in -o benchmarks/peers/sentence-transformers.lock
	$(COMPILE) benchmarks/peers/clip-retrieval.in -o benchmarks/peers/clip-retrieval.lock
	$(COMPILE) benchmarks/peers/ann.in -o benchmarks/peers/ann.lock
	$(COMPILE) benchmarks/peers/trainer.in -o benchmarks/peers/trainer.lock

clean:  ## remove what the targets made
	rm -rf .venv .venv-cpu .venv-lowest $(dir $(PEERS)) .venv-trainer demo build
