# The two commands a newcomer needs: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PYTHON ?= python3

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-zA-Z_-]*:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements/build.txt requirements/test.txt pyproject.toml tests/setup.sh
	@PYTHON=$(PYTHON) bash tests/setup.sh python $(VENV)
	@touch $@

setup: $(STAMP) ## the Python environment in .venv

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(STAMP) ## format, lint, types, import contracts, unit tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m workerpool_operator crds --check
	$(BIN)/pytest -q -m "not servers and not apiserver and not pods"

packages:
	@bash tests/setup.sh packages

tools: packages $(STAMP) ## build Kubernetes, etcd, CoreDNS and helm: about 9 minutes the first time
	@$(BIN)/python -m tests.cluster tools

doctor: $(STAMP) ## which clusters can run here, and what is missing
	@$(BIN)/python -m tests.cluster doctor

test: packages $(STAMP) tools ## set up all that is needed and pass every test
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -q -m "servers or apiserver or pods"

demo: packages $(STAMP) ## the main job on a real Kubernetes: three pools, real jobs, from zero and back
	@$(BIN)/python -m tests.demo $(DEMO)

demo-down: $(STAMP) ## remove all that the demo made
	@$(BIN)/python -m tests.demo down

bench-latency: packages $(STAMP) ## enqueue to spec.replicas seen by a watch
	@$(BIN)/python -m tests.bench.latency

generate: $(STAMP) ## write crds/ and the chart's copy from api/
	$(BIN)/python -m workerpool_operator crds --write

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --quiet --upgrade
lock: $(STAMP) ## pin the dependencies again
	$(BIN)/pip install --quiet uv
	$(BIN)/$(LOCK) pyproject.toml --extra operator -o requirements/operator.txt
	$(BIN)/$(LOCK) pyproject.toml --extra worker -o requirements/worker.txt
	$(BIN)/$(LOCK) pyproject.toml --extra operator --extra worker --extra test -o requirements/test.txt
	@# What builds pyvips, which comes as sources only.
	printf 'cffi\npkgconfig\nsetuptools\n' | $(BIN)/$(LOCK) - -o requirements/build.txt

.PHONY: help setup format check packages tools doctor test demo demo-down bench-latency generate lock
