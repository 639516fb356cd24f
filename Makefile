# Two commands do all the set-up: `make demo` and `make test`.

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.venv/bin/uv)
READY := .venv/.ready
RUN := .venv/bin
MODE ?= run
# The apps are listed by name; the editor opens the folder.
NOTEBOOKS_run := notebooks/ci_health.py notebooks/access_review.py
NOTEBOOKS_edit := notebooks

.DEFAULT_GOAL := help
.PHONY: help demo dev notebook test bench soak lint audit format docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Sync an invented organization, without a token
	@$(RUN)/buildkite-assets demo

dev: $(READY) ## Open the Dagster UI; without BUILDKITE_API_TOKEN on the demo's data
	@$(RUN)/buildkite-assets dev

# marimo serves apps without a token, or with one that follows from their code: hence one of ours.
notebook: $(READY) ## Open the notebooks as apps; with MODE=edit, to change them
	@umask 077; $(RUN)/python -c 'import secrets; print(secrets.token_urlsafe())' \
		| MARIMO_SKIP_UPDATE_CHECK=1 $(RUN)/marimo $(MODE) $(NOTEBOOKS_$(MODE)) --token-password-file -

test: $(READY) ## Run the tests
	@$(RUN)/pytest

bench: $(READY) ## Measure requests, CPU, memory and rate utilisation (minutes)
	@$(UV) sync --locked --inexact --quiet --group bench
	@$(RUN)/python -m benchmarks

soak: $(READY) ## Run the long tests (kills, races, random histories)
	@$(RUN)/pytest -m soak --timeout 7200 -n 1 -s tests/soak

lint: $(READY) ## Check style, types and the lock file
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy

audit: $(READY) ## Check the code for insecure patterns, and the locked packages at osv.dev
	@$(RUN)/ruff check --select S
	@$(UV) audit --locked --preview-features audit-command || { code=$$?; test $$code = 1 || echo \
		"Nothing was looked up: https://api.osv.dev is out of reach, or uv older than $(UV_VERSION)." >&2; \
		exit $$code; }

format: $(READY) ## Format the code
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

docs: $(READY) ## Write docs/tables.md anew
	@$(RUN)/python -m buildkite_assets.data_dictionary > docs/tables.md

clean: ## Remove everything that the other targets made, the demo's data included
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist .dagster-demo
	rm -rf data/demo.duckdb data/.demo.duckdb data/demo-ci-report.html data/demo-review
	@rmdir data 2>/dev/null || true
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without uv on the machine, it is installed into the project's own .venv; `--inexact` keeps it.
$(READY): pyproject.toml uv.lock
	@test -x $(UV) || (echo "Installing uv into .venv …" \
		&& $(PYTHON) -m venv .venv && .venv/bin/python -m pip install --quiet 'uv==$(UV_VERSION)')
	@echo "Installing the packages of uv.lock …"
	@$(UV) sync --locked --inexact --quiet
	@touch $@
