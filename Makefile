# Everything starts from nothing but Python 3.11 or later and make.
#
#   make demo          mail through the whole system, on an embedded server; KEEP=1 keeps it running
#   make test          the tests, in a few minutes; ONLY=payload runs those of one subject
#   make test-all      the tests with what takes longer: kills under load, many random examples
#   make faults        the long runs: workers and brokers killed under load, for half an hour
#   make bench         mailqueue beside its peers; BENCH_ARGS=--quick only shows that it works
#   make lint          ruff and mypy
#   make django-demo   the Django example, with a form posted and mail delivered

PYTHON ?= python3
# In a checkout that is read-only, and not installed yet, elsewhere.
VENV := $(if $(shell test -w . -o -e .venv/demo.stamp && echo yes),.venv,$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mailqueue/venv)
PEERS := .venv-bench
BIN := $(VENV)/bin
KEEP ?=
ONLY ?=
# Of the random examples; printed with the command, so that a run can be had again.
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
# Two at once would install into each other's environment.
ALONE = $(PYTHON) examples/alone.py $(VENV).lock $(MAKE) --no-print-directory
TEST = $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup --durations=10

# Where it is set, every process that a test starts would compile all of mailqueue anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo for-demo for-test test test-all faults lint format bench django-demo clean

demo:
	@$(ALONE) for-demo
	$(BIN)/python examples/demo.py $(if $(KEEP),--keep)

django-demo:
	@$(ALONE) for-test
	$(BIN)/python examples/django_project/demo.py $(if $(KEEP),--keep)

for-demo: $(VENV)/demo.stamp
	@:

for-test: $(VENV)/test.stamp
	@:

test: $(VENV)/test.stamp
	$(TEST) -m "not long" $(if $(ONLY),-k "$(ONLY)") $(PYTEST_ARGS)

test-all: $(VENV)/test.stamp
	$(TEST) --hypothesis-profile=many --hypothesis-seed=$(SEED) $(if $(ONLY),-k "$(ONLY)") $(PYTEST_ARGS)

faults: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q --hypothesis-profile=long tests/contracts/test_journal_model.py
	DAY_PAIRS=all $(BIN)/python -m pytest -q tests/faults/test_day.py
	FAULT_ROUNDS=20 $(BIN)/python -m pytest -q tests/faults/test_worker.py -k test_killed_
	$(BIN)/python -m tests.faults.long $(FAULTS_ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/test.stamp $(PEERS)/peers.stamp
	$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(VENV).lock $(PEERS) build dist .mailqueue

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mailqueue needs Python 3.11 or later: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/demo.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[embedded,inbox]"
	touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[embedded,inbox]" --group dev --group test
	touch $@ $(VENV)/demo.stamp

$(PEERS)/peers.stamp: benchmarks/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement $<
	touch $@
