# make demo: trains the demo.  make test: runs the tests.  Both set up .venv first, where it is not there yet.
PYTHON ?= python3
MODEL ?= ngram
OUTPUT ?= demo-output
BIN := .venv/bin
READY := .venv/.ready
MEGATRON_READY := .venv-megatron/.ready
BENCH_READY := .venv-bench/.ready
BENCH ?=

export PYTHON

.PHONY: help demo bench test test-megatron lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    train a real PaddleNLP run with the guard on (MODEL=ngram or llama); results in $(OUTPUT)/"
	@echo "make bench   measure the guard beside its peers, half an hour (BENCH='--quick', BENCH='--only plan start')"
	@echo "make test    run the tests"
	@echo "make test-megatron  run the tests that need megatron-core, in an environment of its own (1 GB)"
	@echo "make lint    check style, types and the direction of imports"
	@echo "make format  format the code"
	@echo "make clean   remove .venv, caches and $(OUTPUT)/"

$(READY): pyproject.toml constraints/paddlenlp-3.0.0b4.txt constraints/tools.txt scripts/make-venv
	@scripts/make-venv
	@touch $@

$(MEGATRON_READY): constraints/megatron.txt scripts/make-megatron-venv
	@scripts/make-megatron-venv
	@touch $@

# Without the package the rows that need it say so.
$(BENCH_READY): scripts/make-bench-venv
	@scripts/make-bench-venv && touch $@ || true

demo: $(READY)
	$(BIN)/python examples/demo.py --model $(MODEL) --output $(OUTPUT)

bench: $(READY) $(BENCH_READY)
	$(BIN)/python benchmarks/run.py $(BENCH)

test: $(READY)
	$(BIN)/python -m pytest

test-megatron: $(READY) $(MEGATRON_READY)
	$(BIN)/python -m pytest tests/test_megatron.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-megatron .venv-bench $(OUTPUT) build *.egg-info .*_cache .hypothesis
