# ropo, from a checkout to a running proxy.
#
#   make run                                the proxy in front of the built-in site, with config.yaml
#   make run UPSTREAM=http://127.0.0.1:9000 in front of another site
#   make test [ARGS="-k kill -x"]           all tests; ARGS go to pytest
#   make bench [ARGS=...]                   speed as ratios, see benchmarks/
#   make fuzz [SECONDS=600]                 random attacks on the proxy, as long as you like
#   make lint                               what the style asks for, checked
#   make clean                              removes .venv and what was built; ./data stays
#
# PYTHON=/path/to/python3.12 names the interpreter the environment is made with.

PYTHON ?= python3
CONFIG ?= config.yaml
SECONDS ?= 600
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input -qq

.PHONY: help run test bench fuzz lint clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^$$/q; s/^# \{0,3\}//; p' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/installed
	@exec $(VENV)/bin/ropo serve --config $(CONFIG) $(if $(UPSTREAM),--upstream '$(UPSTREAM)')

test: $(VENV)/installed-test
	@$(VENV)/bin/python -m pytest $(ARGS)

bench: $(VENV)/installed-test
	@$(VENV)/bin/python -m benchmarks $(ARGS)

fuzz: $(VENV)/installed-test
	@FUZZ_SECONDS=$(SECONDS) $(VENV)/bin/python -m pytest -m fuzz $(ARGS)

lint: $(VENV)/installed-test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made once. Debian and Ubuntu ship python3 without the part that makes environments.
$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "ropo needs Python 3.11 or newer, and there is no '$(PYTHON)' here." >&2; \
	  echo "Debian, Ubuntu: apt-get install python3 python3-venv. Or name one: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ropo needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Install a newer one and name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make an environment: the modules venv and ensurepip are missing." >&2; \
	  echo "Debian, Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	@echo "ropo: making an environment of its own in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Stamps: installing is asked for again only when pyproject.toml changed. Whoever can test can also run.
$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo "ropo: installing what it needs to run into $(VENV)"
	@$(PIP) install -e .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	@echo "ropo: installing what it and its tests need into $(VENV)"
	@$(PIP) install -e '.[test]'
	@touch $(VENV)/installed $@
