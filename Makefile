# `make` shows what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test bench chaos soak lint audit lock install uninstall clean

bin := .venv/bin
# Arguments for pytest: make test ARGS='tests/unit -k slot'

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv from requirements.lock, with what the system lacks (minutes, then a second)
	@.ci/setup

run: setup ## run the demo: a clip of six people as a camera, everything else real; Ctrl-C ends it
	@exec $(bin)/facend demo

test: ## run all tests, with real servers (installs them where it may)
	@.ci/setup tools servers
ifdef ARGS
	@$(bin)/python -m pytest $(ARGS)
else
	@$(bin)/python -m pytest --numprocesses 2 tests/unit
# Most of these wait for servers, so three keep two cores busy; the longest files come first.
	@$(bin)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	  tests/contract tests/end_to_end tests/integration
endif

bench: setup ## how many cameras this machine takes: a short look (two minutes); ARGS='--seconds 30 --steps 10'
	@exec $(bin)/facend bench cameras $(or $(ARGS),--seconds 6 --from 4 --steps 3)

chaos: ## a hundred random faults; FAULTS=… and SEED=… say how many, and which, FACENS=local without Milvus
	@.ci/setup tools servers
	@FAULTS=$(or $(FAULTS),100) SEED=$(or $(SEED),8) FACENS=$(or $(FACENS),milvus) $(bin)/python -m pytest -s tests/end_to_end/test_chaos.py

soak: ## hours with four cameras and visitors, a line each few minutes; MINUTES=… says how many (120)
	@.ci/setup tools servers
	@exec $(bin)/python -m tests.soak --minutes $(or $(MINUTES),120)

lint: ## ruff, mypy, import-linter
	@.ci/setup tools
	@$(bin)/python -m ruff check .
	@$(bin)/python -m ruff format --check .
	@$(bin)/python -m mypy
	@$(bin)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'

audit: ## ask the vulnerability databases about the locked packages
	@.ci/audit

lock: ## write both lock files anew; UPGRADE=1 takes newer versions
	@.ci/lock

install: ## install on this machine: /opt/facend, /etc/facend, the service (root; DESTDIR=… for a package)
	@systemd/install.sh

uninstall: ## remove what install made; settings and data stay (PURGE=1 removes them too)
	@systemd/uninstall.sh

clean: ## remove .venv and caches; data/ stays
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
