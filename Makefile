# `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test bench chaos soak lint audit lock man install uninstall clean

bin := .venv/bin
# Without cached bytecode, each test process and each daemon that a test starts compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE
# Arguments for pytest: make test ARGS='tests/unit -k slot'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## create .venv and install what is missing (minutes the first time, then a second)
	@.ci/setup

run: setup ## run the demo: the whole daemon on a clip of six people; Ctrl-C stops it
	@exec $(bin)/facend demo

test: ## run all tests against real servers, which are installed if allowed
	@.ci/setup tools servers
ifdef ARGS
	@$(bin)/python -m pytest $(ARGS)
else
	@$(bin)/python -m pytest --numprocesses 2 tests/unit
# Most of these wait for servers: three processes keep two cores busy. The longest files run first.
	@$(bin)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	  tests/contract tests/end_to_end tests/integration
endif

bench: setup ## measure how many cameras this machine can process (2 min; ARGS='--seconds 30')
	@exec $(bin)/facend bench cameras $(or $(ARGS),--seconds 6 --from 4 --steps 3)

chaos: ## inject 100 random faults (FAULTS=… SEED=…; FACENS=local without Milvus)
	@.ci/setup tools servers
	@FAULTS=$(or $(FAULTS),100) SEED=$(or $(SEED),8) FACENS=$(or $(FACENS),milvus) $(bin)/python -m pytest -s tests/end_to_end/test_chaos.py

soak: ## run four cameras with visitors for MINUTES=120
	@.ci/setup tools servers
	@exec $(bin)/python -m tests.soak --minutes $(or $(MINUTES),120)

lint: ## check with ruff, mypy and import-linter
	@.ci/setup tools
	@$(bin)/python -m ruff check .
	@$(bin)/python -m ruff format --check .
	@$(bin)/python -m mypy
	@$(bin)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'

audit: ## check the locked packages for known vulnerabilities
	@.ci/audit

man: setup ## write the man page to build/facend.1
	@$(bin)/python .ci/man build/facend.1

lock: ## update both lock files; UPGRADE=1 upgrades versions
	@.ci/lock

install: ## install program and service on this machine (root; DESTDIR=… for a package)
	@systemd/install.sh

uninstall: ## uninstall; settings and data stay (PURGE=1 removes them too)
	@systemd/uninstall.sh

clean: ## remove .venv, build and caches; data/ stays
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
