# make demo: trains the demo.  make test: runs the tests.  Both set up .venv first, where it is not there yet; with
# HOST=paddleformers, make demo does so in .venv-paddleformers, on PaddleFormers. A Python that is named has
# environments of its own: PYTHON=python3.12 works in .venv-3.12.
PYTHON ?= python3
MODEL ?= ngram
OUTPUT ?= demo-output
HOST ?= paddlenlp
WORKERS ?= 2
ifneq ($(PYTHON),python3)
FOUND := $(shell scripts/find-python $(PYTHON))
ifeq ($(FOUND),)
$(error PYTHON=$(PYTHON) does not run. Name a Python that does, such as PYTHON=python3.11 or a path)
endif
override PYTHON := $(FOUND)
VERSION := -$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
VENV := .venv$(VERSION)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FORMERS_VENV := .venv-paddleformers$(VERSION)
FORMERS_READY := $(FORMERS_VENV)/.ready
NLP2_VENV := .venv-paddlenlp-2$(VERSION)
NLP2_READY := $(NLP2_VENV)/.ready
DEMO_VENV := $(if $(filter paddlenlp,$(HOST)),$(VENV),.venv-$(HOST)$(VERSION))
MEGATRON_READY := .venv-megatron/.ready
BENCH_READY := .venv-bench/.ready
DOCS_READY := .venv-docs/.ready
COMPILED := paddle_epoch_guard/order/_network.c paddle_epoch_guard/ledger/_sums.c
BENCH ?=
PYTHONS ?= 3.10 3.11 3.12 3.13 lowest

export PYTHON WORKERS

.PHONY: help environments demo bench test test-fast test-long test-python test-paddleformers test-paddlenlp-2 test-megatron faults docs \
	lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    train a real PaddleNLP run with the guard on (MODEL=ngram or llama); results in $(OUTPUT)/"
	@echo "             HOST=paddleformers: the same on PaddleFormers"
	@echo "make bench   measure the guard beside its peers, twenty minutes (BENCH='--quick', BENCH='--only plan start')"
	@echo "make test    run the tests, but for those that take long"
	@echo "make test-fast  run those that need neither training, other processes nor a browser; before a commit"
	@echo "make test-long  run those that take long: the demo, faults, benchmarks, several ranks"
	@echo "make test-python  run those that need no host on every Python, and with the lowest dependencies (PYTHONS='3.12')"
	@echo "make test-paddleformers  run the tests on PaddleFormers, in an environment of its own (2 GB)"
	@echo "make test-paddlenlp-2  run the tests on PaddleNLP 2.8.1, in an environment of its own (2 GB)"
	@echo "make test-megatron  run the tests that need megatron-core, in an environment of its own (1 GB)"
	@echo "make faults  bring about every fault: kills, bad disks, damaged files, races; up to half an hour"
	@echo "make docs    build the documentation site into build/site, and check its links"
	@echo "make lint    check style, types and the direction of imports"
	@echo "make format  format the code"
	@echo "make environments  make those that CI needs; with -j2 two at a time"
	@echo "make clean   remove the environments, caches and $(OUTPUT)/"

$(READY): pyproject.toml $(COMPILED) constraints/paddlenlp-3.0.0b4.txt constraints/tools.txt scripts/make-venv
	@scripts/make-venv paddlenlp $(VENV)
	@touch $@

$(FORMERS_READY): pyproject.toml $(COMPILED) constraints/paddleformers-1.2.0.txt constraints/tools.txt scripts/make-venv
	@scripts/make-venv paddleformers $(FORMERS_VENV)
	@touch $@

$(NLP2_READY): pyproject.toml $(COMPILED) constraints/paddlenlp-2.8.1.txt constraints/tools.txt scripts/make-venv
	@scripts/make-venv paddlenlp-2 $(NLP2_VENV)
	@touch $@

$(MEGATRON_READY): constraints/megatron.txt scripts/make-megatron-venv
	@scripts/make-megatron-venv
	@touch $@

# Without the package the rows that need it say so.
$(BENCH_READY): scripts/make-bench-venv
	@scripts/make-bench-venv && touch $@ || true

$(DOCS_READY): constraints/docs.txt scripts/make-docs-venv
	@scripts/make-docs-venv
	@touch $@

environments: $(READY) $(DOCS_READY)

demo: $(DEMO_VENV)/.ready
	$(DEMO_VENV)/bin/python examples/demo.py --model $(MODEL) --output $(OUTPUT)

bench: $(READY) $(BENCH_READY)
	$(BIN)/python benchmarks/run.py $(BENCH)

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not long"

test-long: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m long

test-fast: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m "not slow and not multiprocess and not browser and not host and not long"

test-python:
	@failed=; for each in $(PYTHONS); do scripts/test-python $$each || failed="$$failed $$each"; done; \
		[ -z "$$failed" ] || { echo "test-python: failed on$$failed" >&2; exit 1; }

test-paddleformers: $(FORMERS_READY)
	$(FORMERS_VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile tests/other_hosts

test-paddlenlp-2: $(NLP2_READY)
	$(NLP2_VENV)/bin/python -m pytest tests/other_hosts/test_runs.py

test-megatron: $(READY) $(MEGATRON_READY)
	$(BIN)/python -m pytest tests/test_megatron.py tests/test_plan_hosts.py

# atheris is an extra: without it, its row of the table says so.
faults: $(READY)
	-@scripts/make-atheris-venv
	$(BIN)/python -m faults

# Not --quiet: it would drop the warnings before --strict counts them.
docs: $(DOCS_READY)
	.venv-docs/bin/mkdocs build --strict

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/messages --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* $(OUTPUT) build *.egg-info .*_cache .hypothesis
