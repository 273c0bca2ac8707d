# `make demo` and `make test` do all the set-up themselves; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
BIN := .venv/bin
RUN := $(BIN)/python -m
READY := .venv/ready
# The embedded stack's services and credentials, for one command.
STACK_ENV = eval "$$($(RUN) whisper_retrain stack env)"

.PHONY: help install demo demo-next status stop clean test test-fast lint format bench screenshots

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY) ## Make .venv with every version pinned

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "whisper-retrain needs Python 3.11, and there is no $(PYTHON); install it, or: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and f"whisper-retrain needs Python 3.11, got {v[0]}.{v[1]} from $(PYTHON); install it, or: make PYTHON=/path/to/python3.11")'
	@echo "making .venv (2.6 GB with a CPU build of torch, 6.3 GB where it brings CUDA; minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(RUN) pip install --quiet --disable-pip-version-check torch==2.13.0 2> >(grep -v '^WARNING: Location' >&2)
	@$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' 2> >(grep -v '^WARNING: Location' >&2)
	@touch $(READY)

demo: $(READY) ## The whole chain once, on real parts, with no account and no GPU
	@$(RUN) whisper_retrain stack up
	@$(STACK_ENV) && exec $(RUN) deployments.demo

demo-next: $(READY) ## The next drop of recordings arrives, some of them faulty
	@$(RUN) whisper_retrain stack up
	@$(STACK_ENV) && exec $(RUN) deployments.demo --next

readme: $(READY) ## What the last demo printed, into README.md
	@$(STACK_ENV) && exec $(RUN) deployments.readme

status: $(READY) ## What runs, where, how big
	@$(RUN) whisper_retrain stack status

stop: ## Stop the embedded stack; all state stays in .local/
	@if [ -x $(BIN)/python ]; then $(RUN) whisper_retrain stack down; fi

clean: stop ## Stop, and remove all state of the embedded stack and the demo
	@rm -rf .local

test: $(READY) ## All tests (those of the report in a browser, where there is a Chromium)
	@if command -v chromium chromium-browser google-chrome >/dev/null; then $(RUN) pytest; \
	else echo "no Chromium on the PATH: leaving out the tests marked browser"; $(RUN) pytest -m 'not browser'; fi

test-fast: $(READY) ## The tests that take seconds
	@$(RUN) pytest -m 'not slow'

lint: $(READY) ## Style, types, layers
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(BIN)/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

format: $(READY) ## Reformat
	@$(RUN) ruff check --fix --quiet . ; $(RUN) ruff format --quiet .

bench: $(READY) ## All benchmarks, minutes each
	@for name in refresh gate training; do $(BIN)/python benchmarks/$$name.py || exit 1; done

screenshots: $(READY) ## Screenshots of the running stack into docs/screenshots (needs Chromium)
	@$(STACK_ENV) && exec $(RUN) deployments.screenshots
